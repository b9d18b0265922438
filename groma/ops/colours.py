"""Names of colours, by simple rules on hue, saturation and value."""

import torch
from torch import Tensor

NAMES = (
    *("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown"),
    *("black", "grey", "white"),
)
_HUES = ((0.04, 0), (0.11, 1), (0.18, 2), (0.45, 3), (0.71, 4), (0.82, 5), (0.94, 6), (1.01, 0))
"""Upper ends of hues in turns of the circle, and the name up to there."""
_RED, _ORANGE, _PINK, _BROWN = (NAMES.index(name) for name in ("red", "orange", "pink", "brown"))
_BLACK, _GREY, _WHITE = (NAMES.index(name) for name in ("black", "grey", "white"))


def name_colours(rgb: Tensor) -> Tensor:
    """Name each pixel's colour.

    Args:
        rgb: (..., 3) in [0, 1].

    Returns:
        (...) indices into `NAMES`.
    """
    value, low = rgb.amax(dim=-1), rgb.amin(dim=-1)
    spread = value - low
    saturation = spread / value.clamp(min=1e-6)
    edges = torch.tensor([edge for edge, _ in _HUES], device=rgb.device)
    labels = torch.tensor([label for _, label in _HUES], device=rgb.device)
    name = labels[torch.bucketize(_hue(rgb, value, spread), edges, right=True)]
    # Pink is a pale red and brown a dull orange: neither is a hue.
    red, orange = name == _RED, name == _ORANGE
    name = torch.where(red & (saturation < 0.5) & (value > 0.7), _PINK, name)
    dull = (value < 0.65) | (saturation < 0.55)
    name = torch.where((orange & dull) | (red & (value < 0.4)), _BROWN, name)
    # Dark pixels are noisy in hue, and need more saturation to be called by it.
    plain = saturation < torch.where(value > 0.4, 0.16, 0.3)
    name = torch.where(plain, torch.where(value > 0.8, _WHITE, _GREY), name)
    return torch.where(value < 0.2, _BLACK, name)


def _hue(rgb: Tensor, value: Tensor, spread: Tensor) -> Tensor:
    """(...) hue of (..., 3) in turns of the circle, red at 0."""
    red, green, blue = rgb.unbind(dim=-1)
    safe = spread.clamp(min=1e-6)
    turned = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    return (turned / 6) % 1
