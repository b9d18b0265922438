"""Patch features -> image tokens (paper 3.1; Tab. 8 compares the ways to merge)."""

from torch import Tensor, nn

from groma.config import GromaConfig


def merge_patches(grid: Tensor) -> Tensor:
    """Concatenate every 2x2 block of (B, D, g, g) patches, g even, into one token (paper 3.1).

    Returns (B, (g/2)^2, 4D) in row-major order; channels in the order (row, column) = (even, even),
    (odd, even), (even, odd), (odd, odd).
    """
    batch, width, height, _ = grid.shape
    # The last axes are (row of blocks, row in it, column of blocks, column in it). The column in a
    # block varies slowest among the four parts, the order that the projector's weights expect.
    blocks = grid.reshape(batch, width, height // 2, 2, height // 2, 2)
    return blocks.permute(0, 2, 4, 5, 3, 1).reshape(batch, -1, 4 * width)


class Projector(nn.Sequential):
    """Maps merged patches into the language model's embedding space (paper 3.1)."""

    def __init__(self, config: GromaConfig) -> None:
        width = config.text_config.hidden_size
        super().__init__(
            nn.Linear(4 * config.vision_config.hidden_size, width),
            nn.GELU(),
            nn.Linear(width, width),
        )

    def forward(self, input: Tensor) -> Tensor:
        """(B, D, g, g) patch features to (B, (g/2)^2, D') image tokens."""
        return super().forward(merge_patches(input))
