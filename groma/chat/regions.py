"""Which box of a picture is called `<rN>`, and which of them the model is shown (paper 3.1, 3.2).

A name never changes its meaning within a conversation: names are only ever added, and a region is
left out of the list, where non-maximum suppression would drop it, without giving up its name.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from groma.image import boxes_to_pixels, check_boxes, normalise_boxes
from groma.model.region_selection import SelectionPolicy, select_regions
from groma.ops.boxes import pairwise_iou
from groma.types import Box, EncodedImage, Region

USER_SLOTS = 10
"""Names kept free for user regions, so that a crowded picture leaves some."""


def name_regions(
    named: Sequence[Region],
    image: EncodedImage,
    boxes_px: Sequence[Sequence[float]],
    policy: SelectionPolicy,
    capacity: int,
) -> tuple[Region, ...]:
    """Name what a new question adds: proposals that have no name yet, then the user's boxes.

    With the first question these are all proposals that pass the policy, best first; later only
    what a looser policy adds.

    Args:
        named: every region that has a name; row N is `<rN>`.
        image: the picture.
        boxes_px: K boxes xyxy in pixels, drawn with the question.
        policy: which proposals become regions.
        capacity: most names in one conversation.

    Returns:
        The new regions in order of their ids.

    Raises:
        GromaError: if a box is outside the picture, inverted or not finite, or the names run out.
    """
    boxes = check_boxes(boxes_px, image.original_size, capacity - len(named))
    room = capacity - len(named) - len(boxes)
    proposals = _new_proposals(named, image, policy, capacity)[:room]
    first_user = 1 + sum(region.user is not None for region in named)
    users = [
        Region(0, box, _to_extent(extent), objectness=1.0, user=first_user + k)
        for k, (box, extent) in enumerate(
            zip(boxes, normalise_boxes(boxes, image.original_size).tolist(), strict=True)
        )
    ]
    return tuple(
        replace(region, id=len(named) + i) for i, region in enumerate([*proposals, *users])
    )


def list_regions(
    regions: Sequence[Region], mentioned: Collection[int], policy: SelectionPolicy
) -> list[int]:
    """Choose the regions the model is shown with a question.

    Always the user's and those a reply points to; other proposals if they pass the policy and no
    user region suppresses them, as it would in NMS with its score of 1.0.

    Args:
        regions: every region that has a name, at least one; row N is `<rN>`.
        mentioned: ids of regions that a reply points to.
        policy: which proposals are shown.

    Returns:
        Ids in ascending order, or in the policy's from left to right; never empty.
    """
    users = [region for region in regions if region.user is not None]
    kept = [region for region in regions if region.user is not None or region.id in mentioned]
    others = _apart([region for region in regions if region not in kept], users, policy)
    shown = [*kept, *_select(others, policy, at_least=0 if kept else 1)]
    if policy.order == "left_to_right":
        shown = sorted(shown, key=lambda region: region.extent[0] + region.extent[2])
        return [region.id for region in shown]
    return sorted(region.id for region in shown)


def _new_proposals(
    named: Sequence[Region], image: EncodedImage, policy: SelectionPolicy, capacity: int
) -> list[Region]:
    """Proposals that pass the policy and lie apart from every region that has a name."""
    slots = min(USER_SLOTS, max(1, capacity // 5))
    limit = max(1, capacity - slots)
    boxes, scores = image.proposals.boxes.float(), image.proposals.scores.float()
    chosen = select_regions(boxes, scores, replace(policy, limit=min(policy.limit, limit)))
    extents = boxes[chosen]
    candidates = [
        Region(0, box, _to_extent(extent), objectness)
        for box, extent, objectness in zip(
            boxes_to_pixels(extents, image.original_size),
            extents.tolist(),
            scores[chosen].tolist(),
            strict=True,
        )
    ]
    new = _apart(candidates, named, policy)
    return new[: max(0, limit - sum(region.user is None for region in named))]


def _select(regions: Sequence[Region], policy: SelectionPolicy, at_least: int) -> list[Region]:
    """Those that the policy chooses among proposals with names."""
    if not regions:
        return []
    scores = torch.tensor([region.objectness for region in regions])
    chosen = select_regions(_extents(regions), scores, policy, at_least)
    return [regions[i] for i in chosen.tolist()]


def _apart(
    regions: Sequence[Region], others: Sequence[Region], policy: SelectionPolicy
) -> list[Region]:
    """Those that none of the others covers by more than the NMS threshold."""
    if not regions or not others:
        return list(regions)
    overlaps = pairwise_iou(_extents(regions), _extents(others)) > policy.nms_threshold
    return [
        r for r, covered in zip(regions, overlaps.any(dim=1).tolist(), strict=True) if not covered
    ]


def _extents(regions: Sequence[Region]) -> Tensor:
    return torch.tensor([region.extent for region in regions])


def _to_extent(values: Sequence[float]) -> Box:
    x1, y1, x2, y2 = values
    return x1, y1, x2, y2
