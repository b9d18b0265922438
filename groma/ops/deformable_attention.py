"""Multi-scale deformable attention (Zhu et al. 2021), the sampling of the region proposer."""

from collections.abc import Callable, Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor


def deformable_attention(
    values: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Weighted sum of values sampled around each query (paper 3.1, Region Proposer).

    Uses one Triton kernel for inference on CUDA, plain torch everywhere else.

    Args:
        values: (B, sum of H * W, heads, d) of all levels, one after the other, rows first.
        spatial_shapes: (H, W) of each level.
        sampling_locations: (B, Q, heads, levels, points, 2) as x, y in [0, 1] of the picture;
            what lies outside counts as zero.
        attention_weights: (B, Q, heads, levels, points).

    Returns:
        (B, Q, heads * d) in the dtype of `values`.
    """
    inputs = (values, sampling_locations, attention_weights)
    needs_grad = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    if values.is_cuda and not needs_grad and (fused := _fused_kernel()):
        return fused(values, spatial_shapes, sampling_locations, attention_weights)
    return _sample_and_sum(values, spatial_shapes, sampling_locations, attention_weights)


def _sample_and_sum(
    values: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """`deformable_attention` in plain torch, differentiable; computes in float32 at least."""
    dtype = torch.promote_types(values.dtype, torch.float32)
    level_sizes = [height * width for height, width in spatial_shapes]
    # `grid_sample` counts from -1 to 1; heads join the batch, because each has its own points.
    grid = (2 * sampling_locations.to(dtype) - 1).permute(3, 0, 2, 1, 4, 5).flatten(1, 2)
    weights = attention_weights.to(dtype).permute(3, 0, 2, 1, 4).flatten(1, 2)
    total = torch.zeros((), dtype=dtype, device=values.device)
    for level, flat_map in enumerate(values.to(dtype).split(level_sizes, dim=1)):
        maps = flat_map.permute(0, 2, 3, 1).flatten(0, 1).unflatten(2, spatial_shapes[level])
        samples = F.grid_sample(maps, grid[level], padding_mode="zeros", align_corners=False)
        total = total + (samples * weights[level, :, None]).sum(dim=-1)
    per_head = total.unflatten(0, (len(values), -1)).permute(0, 3, 1, 2)
    return per_head.flatten(2).to(values.dtype)


@cache
def _fused_kernel() -> Callable[..., Tensor] | None:
    # Triton comes with CUDA builds of PyTorch on Linux alone.
    try:
        from groma.ops.deformable_attention_triton import fused_deformable_attention
    except ImportError:
        return None
    return fused_deformable_attention
