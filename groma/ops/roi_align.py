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
    masks: Tensor | None = None,
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
        masks: (N, M, M), 0 to 1: how much what lies in each cell of a window counts, on an even
            grid over it. A bin averages what counts in it; one where nothing counts is 0.

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
    if masks is not None:
        shares = _sample_shares(masks.to(weights), output_size, sampling_ratio)
        # Every sample reads two cells along each axis.
        weights = weights * shares.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)
        inside = inside & shares.flatten(3).any(-1)
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


def _sample_shares(masks: Tensor, output_size: int, sampling_ratio: int) -> Tensor:
    """How much each sample counts in the average of its bin, 1 where all count alike.

    Args:
        masks: (N, M, M), 0 to 1.
        output_size: bins S per side.
        sampling_ratio: samples R per bin and side.

    Returns:
        (N, S, S, R, R), whose mean over a bin's samples is 1, or 0 where nothing counts.
    """
    counts = F.adaptive_avg_pool2d(masks, output_size * sampling_ratio)
    bins = counts.unflatten(2, (output_size, sampling_ratio))
    bins = bins.unflatten(1, (output_size, sampling_ratio)).transpose(2, 3)
    return (bins / bins.mean(dim=(-2, -1), keepdim=True)).nan_to_num(0)
