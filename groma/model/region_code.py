"""A fixed code for region tokens: what is known of a region, in the language model's own words.

Nothing of it learns, so that pictures and language can be learnt apart: a language model that has
learnt to talk about the code reads any visual part that speaks it.
"""

import math

import torch
from torch import Tensor, nn

from groma.ops.boxes import box_xyxy_to_cxcywh

_FALLOFF = (1.0, 0.7, 0.5, 0.35)
"""Amplitudes of the waves that tell where a region lies, slowest first."""


class RegionCode(nn.Module):
    """Region tokens as a sum of directions, one for each thing that is known, and of the place.

    `width` is D of the language model, `parts` how many directions each part of the code has, such
    as one per noun.
    """

    def __init__(self, width: int, **parts: int) -> None:
        super().__init__()
        self.parts = tuple(parts)
        for part, count in parts.items():
            self.add_module(part, nn.Linear(count, width, bias=False))
        self.position = nn.Linear(8 * len(_FALLOFF), width, bias=False)
        # A seed of its own: two models built apart must speak the same code.
        nn.init.orthogonal_(self.position.weight, generator=torch.Generator().manual_seed(0))
        self.requires_grad_(False)

    def forward(self, boxes: Tensor, **weights: Tensor) -> Tensor:
        """Region tokens (N, D) of (N, 4) boxes, xyxy in [0, 1].

        `weights` are for each part (N, count), those of its directions.
        """
        appearance = sum(getattr(self, part)(weights[part]) for part in self.parts)
        return appearance + self.place(boxes)

    def place(self, boxes: Tensor) -> Tensor:
        """The part (N, D) of the tokens that tells where (N, 4) boxes lie."""
        return self.position(sinusoids(boxes).to(self.position.weight.dtype))


def sinusoids(boxes: Tensor) -> Tensor:
    """Sines and cosines (N, 32) of the centres and sizes of (N, 4) boxes, xyxy in [0, 1].

    The slowest turn by half a circle from edge to edge, so that none comes back to where it was;
    a row's norm is 1.
    """
    falloff = torch.tensor(_FALLOFF, device=boxes.device)
    # Slow waves tell about where, quick ones exactly where; the quick ones count less, so that
    # near boxes have near tokens.
    waves = math.pi * 2.0 ** torch.arange(len(_FALLOFF), device=boxes.device)
    angles = box_xyxy_to_cxcywh(boxes.float())[..., None] * waves
    scale = falloff / (2 * falloff.norm())
    return torch.cat([scale * angles.sin(), scale * angles.cos()], dim=-1).flatten(1)
