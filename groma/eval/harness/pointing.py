"""Does an answer point at the right regions? Boxes are judged by their overlap with the truth."""

from collections.abc import Sequence

from groma.chat.conversation import GroundedReply
from groma.eval.statistics.matching import IOU, num_matched, overlaps
from groma.types import Box


def pointed_boxes(reply: GroundedReply) -> list[Box]:
    """Boxes of all regions an answer points at, once each, in order of first mention."""
    return [region.box for region in reply.regions]


def points_exactly(reply: GroundedReply, boxes: Sequence[Box]) -> bool:
    """Whether an answer points at each of these once and at nothing else."""
    found = pointed_boxes(reply)
    return len(found) == len(boxes) == num_matched(found, boxes)


def points_first(reply: GroundedReply, box: Box) -> bool:
    """Whether the first region of an answer is this one (REC, paper 5.1): IoU above 0.5."""
    found = pointed_boxes(reply)[:1]
    return bool(found) and bool(overlaps(found, [box])[0, 0] > IOU)


def count_pointed(reply: GroundedReply, boxes: Sequence[Box]) -> tuple[int, int, int]:
    """Right regions, regions pointed at, and regions to point at."""
    found = pointed_boxes(reply)
    return num_matched(found, boxes), len(found), len(boxes)
