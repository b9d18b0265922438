"""The statistics that pixels are normalised with: ImageNet's, as for DINOv2."""

import torch
from torch import Tensor

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


def denormalise_pixels(pixels: Tensor) -> Tensor:
    """Normalised RGB (..., 3, H, W) to [0, 1]."""
    mean, std = (
        torch.tensor(values, device=pixels.device, dtype=pixels.dtype)[:, None, None]
        for values in (IMAGE_MEAN, IMAGE_STD)
    )
    return (pixels * std + mean).clamp(0, 1)
