"""RoIAlign (He et al. 2017) as one weighted gather; windows may run backwards."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def roi_align(
    feature_map: Tensor,
    windows: Sequence[Tensor],
    output_size: int,
    sampling_ratio: int = 2,
) -> Tensor:
    """Average bilinear samples of a map over the bins of each window (paper 3.1, Region Encoder).

    Samples more than one cell outside the map are 0, those nearer take the value of the border.
    A window whose second corner comes before the first is walked backwards. Coordinates are
    continuous: cell i spans [i, i + 1]. Gradients flow to the map, not to the windows.

    Args:
        feature_map: (B, C, H, W).
        windows: B tensors (N_i, 4), xyxy in cells of the map, in any order of corners.
        output_size: bins S per side.
        sampling_ratio: samples per bin and side.

    Returns:
        (sum of N_i, C, S, S), channels last in memory.
    """
    batch, channels, height, width = feature_map.shape
    corners = torch.cat(list(windows)).detach().to(torch.promote_types(windows[0].dtype, torch.float32))
    picture = torch.repeat_interleave(
        torch.arange(batch, device=feature_map.device),
        torch.tensor([len(w) for w in windows], device=feature_map.device),
    )
    columns, column_weights = _axis_plan(corners[:, 0], corners[:, 2], width, output_size, sampling_ratio)
    rows, row_weights = _axis_plan(corners[:, 1], corners[:, 3], height, output_size, sampling_ratio)
    rows = rows + picture[:, None, None] * height
    cells = rows[:, :, None, :, None] * width + columns[:, None, :, None, :]
    weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
    reached = (row_weights != 0).any(2)[:, :, None] & (column_weights != 0).any(2)[:, None, :]
    table = feature_map.permute(0, 2, 3, 1).reshape(-1, channels)
    sampled = F.embedding_bag(
        cells[reached].flatten(1),
        table,
        per_sample_weights=weights[reached].flatten(1).to(table.dtype),
        mode="sum",
    )
    bins = sampled.new_zeros(len(corners), output_size, output_size, channels)
    bins[reached] = sampled
    return bins.permute(0, 3, 1, 2)


def _axis_plan(start, stop, size, bins, ratio):
    steps = (torch.arange(bins * ratio, device=start.device) + 0.5) / (bins * ratio)
    position = start[:, None] - 0.5 + (stop - start)[:, None] * steps
    inside = (position >= -1) & (position <= size)
    clamped = position.clamp(0, size - 1)
    low = clamped.floor()
    high = (low + 1).clamp(max=size - 1)
    fraction = clamped - low
    weights = torch.stack([1 - fraction, fraction], -1) * inside[..., None] / ratio
    index = torch.stack([low, high], -1).long()
    return index.unflatten(1, (bins, ratio)).flatten(2), weights.unflatten(1, (bins, ratio)).flatten(2)
