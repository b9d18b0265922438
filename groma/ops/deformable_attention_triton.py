# ty: ignore
"""Deformable attention as one Triton kernel, for inference on CUDA."""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

_QUERIES_PER_PROGRAM = 16


def fused_deformable_attention(
    values: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """`deformable_attention` without intermediate tensors and without gradients.

    Args:
        values: (B, sum of H * W, heads, d) of all levels, one after the other, rows first.
        spatial_shapes: (H, W) of each level.
        sampling_locations: (B, Q, heads, levels, points, 2) as x, y in [0, 1] of the picture.
        attention_weights: (B, Q, heads, levels, points).

    Returns:
        (B, Q, heads * d) in the dtype of `values`; sums are taken in float32.
    """
    batch, num_values, heads, width = values.shape
    _, queries, _, levels, points, _ = sampling_locations.shape
    shapes = torch.tensor(spatial_shapes, dtype=torch.int32, device=values.device)
    output = values.new_empty(batch, queries, heads * width)
    _kernel[(triton.cdiv(queries, _QUERIES_PER_PROGRAM), batch * heads)](
        values.contiguous(),
        shapes,
        sampling_locations.contiguous(),
        attention_weights.contiguous(),
        output,
        num_values,
        queries,
        HEADS=heads,
        WIDTH=width,
        LEVELS=levels,
        POINTS=points,
        BLOCK_QUERIES=_QUERIES_PER_PROGRAM,
        BLOCK_WIDTH=triton.next_power_of_2(width),
    )
    return output


@triton.jit
def _kernel(
    values,
    shapes,
    locations,
    weights,
    output,
    num_values,
    queries,
    HEADS: tl.constexpr,  # noqa: N803
    WIDTH: tl.constexpr,  # noqa: N803
    LEVELS: tl.constexpr,  # noqa: N803
    POINTS: tl.constexpr,  # noqa: N803
    BLOCK_QUERIES: tl.constexpr,  # noqa: N803
    BLOCK_WIDTH: tl.constexpr,  # noqa: N803
):
    """One head of one picture for a block of queries."""
    query = tl.program_id(0) * BLOCK_QUERIES + tl.arange(0, BLOCK_QUERIES)
    batch, head = tl.program_id(1) // HEADS, tl.program_id(1) % HEADS
    channel = tl.arange(0, BLOCK_WIDTH)
    in_query, in_width = query < queries, channel < WIDTH
    row = (batch * queries + query) * HEADS + head
    level_start = batch * num_values
    total = tl.zeros((BLOCK_QUERIES, BLOCK_WIDTH), tl.float32)
    for level in range(LEVELS):
        height = tl.load(shapes + 2 * level)
        width = tl.load(shapes + 2 * level + 1)
        for point in range(POINTS):
            sample = (row * LEVELS + level) * POINTS + point
            weight = tl.load(weights + sample, in_query, 0.0).to(tl.float32)
            # Pixel centres are at half-integers, hence the half pixel less.
            x = tl.load(locations + 2 * sample, in_query, 0.0).to(tl.float32) * width - 0.5
            y = tl.load(locations + 2 * sample + 1, in_query, 0.0).to(tl.float32) * height - 0.5
            left, top = tl.floor(x), tl.floor(y)
            for corner in tl.static_range(4):
                column, line = left + corner % 2, top + corner // 2
                share = weight * (1 - tl.abs(x - column)) * (1 - tl.abs(y - line))
                inside = (column >= 0) & (column < width) & (line >= 0) & (line < height)
                pixel = level_start + line.to(tl.int32) * width + column.to(tl.int32)
                address = (pixel[:, None] * HEADS + head) * WIDTH + channel[None, :]
                mask = (inside & in_query)[:, None] & in_width[None, :]
                value = tl.load(values + address, mask, 0.0).to(tl.float32)
                total += share[:, None] * value
        level_start += height * width
    address = (row * WIDTH)[:, None] + channel[None, :]
    tl.store(output + address, total, in_query[:, None] & in_width[None, :])
