"""DINOv2 -> hidden states on the patch grid (paper 3.1, Image Encoder)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Dinov2Model

from groma.config import GromaConfig


class ImageEncoder(nn.Module):
    """Encodes a picture into one feature vector per patch and layer (paper 3.1, Image Encoder).

    The final layer norm of DINOv2 belongs to its weights and is not used by Groma.
    """

    def __init__(self, config: GromaConfig) -> None:
        super().__init__()
        self.vit = Dinov2Model(config.vision_config)
        self.grid_size = config.grid_size
        self.compat = config.compat
        self.frozen = True
        """No gradients in any stage of the paper; a training from scratch sets this to False."""

    def forward(self, pixel_values: Tensor) -> list[Tensor]:
        """Encode a batch of pictures.

        Args:
            pixel_values: (B, 3, S, S) normalised pixels.

        Returns:
            L + 1 hidden states, each (B, D, g, g) on the patch grid without CLS: the embedding
            first, the raw output of the last block last.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return [self._to_grid(state) for state in self._hidden_states(pixel_values)]

    def _hidden_states(self, pixel_values: Tensor) -> list[Tensor]:
        embeddings = self.vit.embeddings
        patches = embeddings.patch_embeddings(pixel_values)
        cls = embeddings.cls_token.expand(len(patches), -1, -1)
        position_table = self.position_table().to(patches.dtype)
        hidden = embeddings.dropout(torch.cat([cls, patches], dim=1) + position_table)
        states = [hidden]
        for block in self.vit.encoder.layer:
            states.append(block(states[-1]))
        return states

    def position_table(self) -> Tensor:
        """The learned positions on this model's patch grid.

        Returns:
            (1, 1 + g * g, D). A table of another size is resized bicubically; with `compat` at
            DINOv2's own sampling step, which adds 0.1 to the target size.
        """
        table = self.vit.embeddings.position_embeddings
        side = round((table.shape[1] - 1) ** 0.5)
        if side == self.grid_size:
            return table
        grid = table[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2).float()
        scale = (self.grid_size + 0.1) / side if self.compat else None
        size = None if self.compat else (self.grid_size, self.grid_size)
        grid = F.interpolate(grid, size, scale, mode="bicubic", align_corners=False)
        return torch.cat([table[:, :1], grid.flatten(2).mT.to(table.dtype)], dim=1)

    def _to_grid(self, hidden: Tensor) -> Tensor:
        grid = (self.grid_size, self.grid_size)
        return hidden[:, 1:].mT.unflatten(2, grid)
