"""RoIAlign (He et al. 2017) as one weighted gather; windows may run backwards."""

import torch
import torch.nn.functional as F
from torch import Tensor


def roi_align(
    feature_maps: Tensor,
    windows: Tensor,
    owners: Tensor,
    output_size: int,
    sampling_ratio: int = 2,
) -> Tensor:
    """Average bilinear samples over the bins of each window (paper 3.1, Region Encoder).

    A sample whose position lies more than a cell outside the map is 0; a nearer one takes the
    border's value. Where a window's second corner precedes its first, its bins run backwards.

    Args:
        feature_maps: (B, C, H, W), quickest when channels last in memory.
        windows: (N, 4) first and second corner (x, y, x, y) in cells of the map: cell i spans
            i to i + 1. They get no gradient.
        owners: (N,) which of the B maps each window looks at, int64.
        output_size: bins S per side.
        sampling_ratio: samples per bin and side.

    Returns:
        (N, C, S, S) in the dtype of the maps, channels last in memory.
    """
    channels, height, width = feature_maps.shape[1:]
    # Boxes are chosen, not learnt here; in 16 bit a corner is off by pixels.
    windows = windows.detach().to(torch.promote_types(windows.dtype, torch.float32))
    steps = (torch.arange(output_size * sampling_ratio, device=windows.device) + 0.5) / output_size
    steps = steps.unflatten(0, (output_size, sampling_ratio)) / sampling_ratio
    columns, column_weights = _axis_cells(windows[:, 0::2], steps, width)
    rows, row_weights = _axis_cells(windows[:, 1::2], steps, height)
    rows = rows + height * owners[:, None, None]
    cells = rows[:, :, None, :, None] * width + columns[:, None, :, None, :]
    weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
    # Bins outside the map stay 0 without being summed: most of a released checkpoint's are.
    inside = row_weights.any(-1)[:, :, None] & column_weights.any(-1)[:, None, :]
    # A weighted sum of rows by index is just what an embedding bag computes, in one kernel.
    sampled = F.embedding_bag(
        cells[inside].flatten(1),
        feature_maps.permute(0, 2, 3, 1).reshape(-1, channels).contiguous(),
        per_sample_weights=weights[inside].flatten(1).to(feature_maps.dtype),
        mode="sum",
    )
    bins = sampled.new_zeros(*inside.shape, channels)
    bins[inside] = sampled
    return bins.permute(0, 3, 1, 2)


def _axis_cells(corners: Tensor, steps: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Which cells, and how much of each, make up every bin along one axis.

    Args:
        corners: (N, 2) first and second corner on this axis, in cells.
        steps: (S, R) samples of every bin as a share of the window, 0 to 1.
        size: cells of the map on this axis.

    Returns:
        Cell indices and their weights, both (N, S, 2R); the weights of a bin sum to the share
        of its samples that lie inside.
    """
    start, stop = corners[:, :, None, None].unbind(dim=1)
    # A cell's value sits at its centre, hence the half cell less.
    position = start + (stop - start) * steps - 0.5
    # A closed interval, as in mmcv, whose kernel the released weights were trained with.
    inside = (position >= -1) & (position <= size)
    position = position.clamp(0, size - 1)
    low = position.floor()
    high = (low + 1).clamp(max=size - 1)
    upper_share = position - low
    shares = torch.stack([1 - upper_share, upper_share], dim=-1) * inside[..., None]
    cells = torch.stack([low, high], dim=-1).long()
    return cells.flatten(2), shares.flatten(2) / steps.shape[1]
