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
        # DINOv2's mask token and final norm are loaded with the rest, so that a released file has
        # no key left over; neither is ever used.
        self.vit = Dinov2Model(config.vision_config)
        self.grid_size = config.grid_size
        self.compat = config.compat
        self.frozen = True
        """No gradients in any stage of the paper; a training from scratch sets this to False."""

    def forward(self, pixel_values: Tensor) -> list[Tensor]:
        """Encode (B, 3, S, S) normalised pixels.

        Returns L + 1 hidden states, each (B, D, g, g) on the patch grid without CLS: the embedding
        first, the raw output of the last block last.
        """
        # The paper keeps the encoder frozen in all three stages, hence no graph is built for it.
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return [self._to_grid(state) for state in self._hidden_states(pixel_values)]

    def _hidden_states(self, pixel_values: Tensor) -> list[Tensor]:
        embeddings = self.vit.embeddings
        patches = embeddings.patch_embeddings(pixel_values)
        cls = embeddings.cls_token.expand(len(patches), -1, -1)
        position_table = self.position_table().to(patches.dtype)
        hidden = embeddings.dropout(torch.cat([cls, patches], dim=1) + position_table)
        # Every state is kept: the proposer takes the mean of the last four, the region encoder the
        # last three, the language model one.
        states = [hidden]
        for block in self.vit.encoder.layer:
            states.append(block(states[-1]))
        return states

    def position_table(self) -> Tensor:
        """The learned positions (1, 1 + g * g, D) on this model's patch grid.

        A table of another size is resized bicubically; with `compat` at DINOv2's own sampling step,
        which adds 0.1 to the target size.
        """
        table = self.vit.embeddings.position_embeddings
        side = round((table.shape[1] - 1) ** 0.5)
        # A table of the right size is used as it is, also with `compat`.
        if side == self.grid_size:
            return table
        grid = table[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2).float()
        # DINOv2 asks for a scale, not a size, and adds 0.1 against rounding: it samples in steps of
        # 37 / 32.1 instead of 37 / 32, and the released weights have learnt with that.
        scale = (self.grid_size + 0.1) / side if self.compat else None
        size = None if self.compat else (self.grid_size, self.grid_size)
        grid = F.interpolate(grid, size, scale, mode="bicubic", align_corners=False)
        return torch.cat([table[:, :1], grid.flatten(2).mT.to(table.dtype)], dim=1)

    def _to_grid(self, hidden: Tensor) -> Tensor:
        grid = (self.grid_size, self.grid_size)
        # The first position is CLS, which has no place on the grid.
        return hidden[:, 1:].mT.unflatten(2, grid)
