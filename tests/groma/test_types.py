import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from groma.chat.conversation import GroundedReply
from groma.drawing.boxes import (
    _relative_luminance,
    region_colour,
    regions_to_detections,
    text_colour,
)
from groma.named_regions import GroundedSpan, Region, RegionRef
from groma.shapes import Box, Mask, Point
from groma.types import GromaError, to_box, to_size

DOG = RegionRef(3, (10.0, 20.0, 50.5, 60.0), 0.9, 0.8)
CAT = RegionRef(7, (60.0, 20.0, 90.0, 70.0), 0.5, 1.0, user=1)
REPLY = GroundedReply(
    "There is a dog by the cat; a dog.",
    (GroundedSpan(9, 14, (DOG,)), GroundedSpan(18, 25, (CAT, DOG)), GroundedSpan(27, 32, (DOG,))),
    (80, 120),
)


def picture() -> Image.Image:
    return Image.new("RGB", (120, 80), "white")


def test_a_reply_survives_json() -> None:
    data = json.loads(json.dumps(REPLY.to_dict()))
    assert GroundedReply.from_dict(data) == REPLY
    assert [span["phrase"] for span in data["spans"]] == ["a dog", "the cat", "a dog"]
    assert data["image_size"] == [80, 120]


def test_a_region_survives_json() -> None:
    region = Region(4, (0.0, 1.0, 2.5, 3.0), (-0.1, 0.1, 0.3, 1.2), 0.25, None)
    assert Region.from_dict(json.loads(json.dumps(region.to_dict()))) == region
    assert region.ref(0.5) == RegionRef(4, region.box, 0.5, 0.25)


def test_regions_come_once_in_order_of_mention() -> None:
    assert REPLY.regions == (DOG, CAT)


def test_detections() -> None:
    found = REPLY.to_detections()
    np.testing.assert_allclose(found.xyxy, [DOG.box, CAT.box])
    assert found.confidence is not None
    assert found.class_id is not None
    assert list(found.confidence) == pytest.approx([0.9, 0.5])
    assert list(found.class_id) == [3, 7]
    assert list(found.data["class_name"]) == ["a dog", "the cat"]
    assert list(found.data["objectness"]) == pytest.approx([0.8, 1.0])
    assert list(found.data["user"]) == [0, 1]


def test_no_detections() -> None:
    reply = GroundedReply("Nothing.", (), (80, 120))
    assert len(reply.to_detections()) == 0
    assert list(reply.draw(picture()).tobytes()) == list(picture().tobytes())


def test_every_box_is_drawn_in_its_colour() -> None:
    original = picture()
    drawn = np.asarray(REPLY.draw(original))
    assert original.tobytes() == picture().tobytes()
    for region, edge in ((DOG, (60, 30)), (CAT, (70, 75))):
        colour = tuple(int(region_colour(region.id)[i : i + 2], 16) for i in (1, 3, 5))
        assert tuple(drawn[edge]) == colour


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (2000, 1500)])
def test_a_picture_of_any_size_can_be_marked(size: tuple[int, int]) -> None:
    height, width = size
    ref = RegionRef(0, (0.0, 0.0, float(width), float(height)), 0.5, 0.5)
    reply = GroundedReply("", (GroundedSpan(0, 0, (ref,)),), size)
    assert reply.draw(Image.new("RGB", (width, height))).size == (width, height)


class Halves:
    """A maker that takes the left half of every box."""

    maker, takes_points, num_bytes = "halves", False, 0

    def look(self, _: Image.Image) -> "Halves":
        return self

    def masks(self, prompts: Sequence[Box | Point]) -> list[Mask]:
        boxes = [prompt.box((80, 120)) for prompt in prompts]
        return [Mask.of(Box(x1, y1, (x1 + x2) / 2, y2).mask((80, 120))) for x1, y1, x2, y2 in boxes]


def test_an_answer_has_a_mask_for_every_region() -> None:
    masked = REPLY.with_masks(picture(), Halves())
    assert masked.masks_by == "halves"
    assert [region.mask for region in masked.regions] == Halves().masks(
        [Box(*DOG.box), Box(*CAT.box)]
    )
    assert [replace(region, mask=None) for region in masked.regions] == [DOG, CAT]
    data = json.loads(json.dumps(masked.to_dict()))
    assert GroundedReply.from_dict(data) == masked
    for span in data["spans"]:
        for region in span["regions"]:
            pixels = coco_mask.decode(region["mask"]).astype(bool)
            assert pixels.sum() == coco_mask.area(region["mask"])
            x1, y1, x2, _ = region["box"]
            assert pixels[int(y1) + 1, int(x1) + 1]
            assert not pixels[int(y1) + 1, int(x2) - 2]
    assert masked.masked(Halves()) is masked
    assert "mask" not in REPLY.to_dict()["spans"][0]["regions"][0]


def test_masks_go_to_supervision_and_onto_the_picture() -> None:
    masked = REPLY.with_masks(picture(), Halves())
    found = masked.to_detections()
    masks = [region.mask for region in masked.regions]
    assert found.mask is not None
    assert [Mask.of(pixels) for pixels in found.mask] == masks
    original = picture()
    drawn = np.asarray(masked.draw(original))
    assert original.tobytes() == picture().tobytes()
    for region, edge, covered, left in (
        (DOG, (50, 10), (50, 20), (50, 45)),
        (CAT, (60, 60), (60, 68), (60, 85)),
    ):
        colour = [int(region_colour(region.id)[i : i + 2], 16) for i in (1, 3, 5)]
        assert list(drawn[edge]) == colour
        veiled = np.array(colour) * 0.25 + 255 * 0.75
        assert list(drawn[covered]) == pytest.approx(veiled.tolist(), abs=2)
        assert list(drawn[left]) == [255, 255, 255]


def test_one_region_may_have_no_mask_where_another_has() -> None:
    masked = REPLY.with_masks(picture(), Halves())
    first = replace(masked.spans[1].regions[0], mask=None)
    spans = (masked.spans[0], replace(masked.spans[1], regions=(first,)))
    found = replace(masked, spans=spans).to_detections()
    assert found.mask is not None
    assert (found.mask[1] == Box(*CAT.box).mask((80, 120))).all()


def test_masks_of_another_picture_are_refused() -> None:
    with pytest.raises(GromaError, match=r"120 x 80 .* 80 x 120"):
        REPLY.with_masks(Image.new("RGB", (80, 120)), Halves())


def test_labels_may_hold_any_letters() -> None:
    span = GroundedSpan(0, 12, (DOG,))
    reply = GroundedReply("жаба 犬 😀 Ünï\n", (span,), (80, 120))
    assert reply.draw(picture()).size == (120, 80)


def test_another_picture_is_refused() -> None:
    with pytest.raises(GromaError, match=r"120 x 80 .* 80 x 120"):
        REPLY.draw(Image.new("RGB", (80, 120)))


def contrast(a: str, b: str) -> float:
    low, high = sorted((_relative_luminance(a), _relative_luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("region_id", range(20))
def test_colours_read_well_on_any_background(region_id: int) -> None:
    colour = region_colour(region_id)
    assert contrast(colour, "#ffffff") > 3
    assert contrast(colour, "#000000") > 3
    assert contrast(colour, text_colour(colour)) > 4.5


def test_colours_are_stable_and_neighbours_differ() -> None:
    assert region_colour(5) == region_colour(5)
    assert len({region_colour(i) for i in range(20)}) == 20
    assert all(region_colour(i).startswith("#") for i in range(100))


def test_detections_of_no_regions() -> None:
    assert regions_to_detections([], []).xyxy.shape == (0, 4)


@pytest.mark.parametrize("wrong", [[1, 2, 3], [1, 2, 3, "x"], [1, 2, 3, float("inf")]])
def test_a_box_from_a_file_is_checked(wrong: list) -> None:
    with pytest.raises(ValueError):
        to_box(wrong)


@pytest.mark.parametrize("wrong", [[1], [0, 5], [-1, 5], ["x", 1]])
def test_a_size_from_a_file_is_checked(wrong: list) -> None:
    with pytest.raises(ValueError):
        to_size(wrong)
