"""Which box of a picture is called `<rN>`, and which of them the model is shown (paper 3.1, 3.2).

A name never changes its meaning within a conversation: names are only ever added, and a region is
left out of the list, where non-maximum suppression would drop it, without giving up its name.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from groma.image import boxes_to_pixels, normalise_boxes
from groma.model.region_selection import SelectionPolicy, select_regions
from groma.named_regions import Region
from groma.ops.boxes import box_area, pairwise_iou
from groma.shapes import Box as DrawnBox
from groma.shapes import Mask, Point, Shape, read_shapes
from groma.types import Box, EncodedImage, GromaError

if TYPE_CHECKING:
    from groma.masks.maker import PictureMasks

_USER_SLOTS = 10
"""Names kept free for user regions, so that a crowded picture leaves some."""

_SURE_SHARE = 0.5
"""Of the objectness of the surest proposal under a point: what the model is as sure of counts."""


def name_regions(
    named: Sequence[Region],
    image: EncodedImage,
    drawn: Sequence[Any],
    policy: SelectionPolicy,
    capacity: int,
) -> tuple[Region, ...]:
    """Name what a new question adds: proposals that have no name yet, then what the user drew.

    With the first question these are all proposals that pass the policy, best first; later only
    what a looser policy adds.

    Args:
        named: every region that has a name; row N is `<rN>`.
        image: the picture.
        drawn: K regions drawn with the question, see `groma.shapes.read_shape`.
        policy: which proposals become regions.
        capacity: most names in one conversation.

    Returns:
        The new regions in order of their ids.

    Raises:
        GromaError: naming what was drawn wrong or outside the picture, or at a place where nothing
            was found; or if the names run out.
    """
    shapes = read_shapes(drawn, image.original_size, capacity - len(named))
    room = capacity - len(named) - len(shapes)
    proposals = _new_proposals(named, image, policy, capacity)[:room]
    first_user = 1 + sum(region.user is not None for region in named)
    users = [
        replace(_drawn_region(shape, image, policy), user=number)
        for number, shape in enumerate(shapes, start=first_user)
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


def _drawn_region(shape: Shape, image: EncodedImage, policy: SelectionPolicy) -> Region:
    """A region of the user, without its numbers: what is under a point, or just what was drawn."""
    source: PictureMasks | None = image.masks
    if isinstance(shape, Point) and not (source and source.takes_points):
        extent = _thing_under(shape, image, policy)
        (box,) = boxes_to_pixels(extent[None], image.original_size)
        return Region(0, box, _to_extent(extent.tolist()), objectness=1.0, shape=shape)
    mask = None
    if source and isinstance(shape, Point):
        (mask,) = source.masks([shape])
    elif not isinstance(shape, DrawnBox):
        mask = Mask.of(shape.mask(image.original_size))
    box = (mask or shape).box(image.original_size)
    extent = _to_extent(normalise_boxes([box], image.original_size)[0].tolist())
    if isinstance(shape, DrawnBox):
        return Region(0, box, extent, objectness=1.0)
    return Region(0, box, extent, objectness=1.0, shape=shape, mask=mask)


def _thing_under(point: Point, image: EncodedImage, policy: SelectionPolicy) -> Tensor:
    """(4,) xyxy in [0, 1]: the smallest proposal around a point that the model is sure of.

    Raises:
        GromaError: if there is none.
    """
    boxes, scores = image.proposals.boxes.float(), image.proposals.scores.float()
    chosen = select_regions(boxes, scores, policy)
    boxes, scores = boxes[chosen], scores[chosen]
    height, width = image.original_size
    place = boxes.new_tensor([point.x / width, point.y / height])
    around = ((boxes[:, :2] <= place) & (place <= boxes[:, 2:])).all(dim=1)
    if not around.any():
        raise GromaError(
            f"Nothing was found at {point.x:g}, {point.y:g}; please draw a box around it."
        )
    boxes, scores = boxes[around], scores[around]
    # How high scores are differs between models, so that the best one here is the measure.
    boxes = boxes[scores >= _SURE_SHARE * scores.max()]
    return boxes[box_area(boxes).argmin()]


def _new_proposals(
    named: Sequence[Region], image: EncodedImage, policy: SelectionPolicy, capacity: int
) -> list[Region]:
    """Proposals that pass the policy and lie apart from every region that has a name."""
    slots = min(_USER_SLOTS, max(1, capacity // 5))
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
