"""What the numbers of boxes mean is told where one reading fits, and asked where several do."""

import random
from collections import Counter
from pathlib import Path

import pytest

from groma.instruction_sets.doctor.box_layouts import (
    _LAYOUTS,
    DOCUMENTED,
    Framed,
    Layout,
    possible_layouts,
    to_pixels,
)
from groma.instruction_sets.doctor.checking import check, fix, repair
from groma.instruction_sets.doctor.layout_check import explain
from groma.instruction_sets.readers.set_items import to_samples
from tests.groma.instruction_sets import make

SIZES = [(240, 320), (480, 640), (427, 640), (1080, 1920)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    make.write_pictures(folder)
    return folder


def _item(
    dice: random.Random, layout: Layout, sides: tuple[float, float], sizes: list = SIZES
) -> Framed:
    """Boxes as a layout writes them."""
    size = height, width = dice.choice(sizes)
    written = []
    for _ in range(dice.randint(1, 4)):
        w, h = dice.uniform(*sides), dice.uniform(*sides)
        x, y = dice.uniform(0, 1 - w), dice.uniform(0, 1 - h)
        x, y, w, h = (round(side) for side in (x * width, y * height, w * width, h * height))
        orders = {"xywh": (x, y, w, h), "xyxy": (x, y, x + w, y + h)}
        raw = orders.get(layout.order, (x + w / 2, y + h / 2, w, h))
        across, down = layout.frame(size)
        scale = (across / width, down / height) * 2
        written.append(tuple(round(side * by, 6) for side, by in zip(raw, scale, strict=True)))
    return written, size


def _try(
    layout: Layout, items: int, sides: tuple[float, float], sizes: list = SIZES
) -> Counter[str]:
    """How often it is sure and right, asks with the right one among others, and is wrong."""
    dice = random.Random(4)
    outcomes: Counter[str] = Counter()
    for _ in range(40):
        found = possible_layouts([_item(dice, layout, sides, sizes) for _ in range(items)])
        outcomes["right" if found == (layout,) else "asked" if layout in found else "wrong"] += 1
    return outcomes


@pytest.mark.parametrize("layout", _LAYOUTS, ids=str)
def test_what_alone_fits_is_recognised(layout: Layout) -> None:
    outcomes = _try(layout, 50, (0.05, 0.9))
    assert outcomes["right"] >= 36
    assert not outcomes["wrong"]


@pytest.mark.parametrize("items", [1, 6, 50])
@pytest.mark.parametrize("order", ["xywh", "xyxy", "cxcywh"])
def test_small_boxes_in_fractions_are_asked_about_rather_than_mistaken(order, items: int) -> None:
    assert not _try(Layout(order, "fractions"), items, (0.02, 0.2))["wrong"]


@pytest.mark.parametrize("sides", [(0.02, 0.2), (0.05, 0.9)])
def test_corners_in_pixels_are_recognised(sides: tuple[float, float]) -> None:
    assert _try(Layout("xyxy"), 50, sides)["right"] >= 36


def test_documented_boxes_are_never_doubted() -> None:
    for items in (1, 6, 50):
        assert _try(DOCUMENTED, items, (0.02, 0.9))["right"] == 40


def test_boxes_that_hang_over_the_edge_are_no_other_layout() -> None:
    good = ([(10.0, 5.0, 30.0, 40.0), (150.0, 60.0, 45.0, 35.0)], (100, 200))
    assert possible_layouts([good] * 9 + [([(150.0, 60.0, 80.0, 35.0)], (100, 200))]) == (
        DOCUMENTED,
    )


def test_thousandths_of_large_pictures_are_asked_about() -> None:
    """As pixels they fit as well, but nothing would be right or below of the thousandth."""
    layout = Layout("xyxy", "thousandths")
    outcomes = _try(layout, 50, (0.02, 0.4), [(1600, 2400), (3000, 4000)])
    assert outcomes["right"] + outcomes["asked"] == 40
    assert _try(DOCUMENTED, 50, (0.02, 0.4), [(1600, 2400)])["right"] == 40


def _unclear(unit: str) -> make.Items:
    """Boxes of which nothing tells whether they are given by their centres."""
    items = make.good_items()[:2]
    scale = {"fractions": (1, 1), "pixels": (make.WIDTH, make.HEIGHT)}[unit] * 2
    boxes = [[0.5, 0.45, 0.1, 0.12], [0.4, 0.5, 0.12, 0.1], [0.45, 0.4, 0.1, 0.1]]
    for item in items:
        item["boxes"] = [[a * b for a, b in zip(box, scale, strict=True)] for box in boxes]
    return items


def test_every_layout_that_fits_has_a_fix_of_its_own(folder: Path) -> None:
    found = make.read(_unclear("fractions"), folder)
    findings = check(found)
    assert [(f.code, f.severity, f.item) for f in findings] == [("layout-open", "error", None)] * 2
    assert "both fit" in findings[0].sentence
    assert [f.fix.choice for f in findings] == ["xywh-fractions", "cxcywh-fractions"]
    # Nobody chooses unasked.
    assert repair(found).items == found.items
    for finding, left in zip(findings, (0.5, 0.45), strict=True):
        mended = fix(found, [finding])
        assert check(mended) == ()
        assert to_samples(mended)[0].boxes[0][0] == pytest.approx(left)


def test_the_documented_layout_needs_no_choice_but_is_told(folder: Path) -> None:
    found = make.read(_unclear("pixels"), folder)
    assert check(found) == ()
    assert explain(found) == (f"Boxes are read as {DOCUMENTED}; {Layout('cxcywh')} would fit too.")
    assert explain(make.read(make.good_items(), folder)) == f"Boxes are read as {DOCUMENTED}."
    assert explain(make.read(make.good_llava(), folder)) == ""
    assert explain(make.read(_unclear("fractions"), folder)) == ""


def test_a_set_that_mostly_fits_as_documented_is_asked_about(folder: Path) -> None:
    """Some boxes leave the picture, and read as centres none does."""
    items = make.good_items()
    for i, item in enumerate(items):
        item["boxes"] = [[60 + i, 50, 50, 20], [100, 50, 40, 30], [150, 50, 90, 20]]
    found = make.read(items, folder)
    doubts = [finding for finding in check(found) if finding.code == "layout-open"]
    assert [f.fix.choice for f in doubts] == ["xywh-pixels", "cxcywh-pixels"]
    assert "both fit" in doubts[0].sentence
    assert repair(found).items == found.items
    kept = fix(found, doubts[:1])
    assert [item.boxes for item in kept.items] == [item.boxes for item in found.items]
    assert "layout-open" not in {finding.code for finding in check(kept)}
    assert check(fix(found, doubts[1:])) == ()


def test_one_item_that_nobody_can_tell_is_left_out(folder: Path) -> None:
    items = make.good_items()
    items[2] = _unclear("fractions")[0] | {"file_name": "2.png"}
    found = make.read(items, folder)
    doubts = [finding for finding in check(found) if finding.code == "layout-open"]
    assert [(f.item, f.is_sure) for f in doubts] == [(2, False), (2, False), (2, True)]
    assert [item.number for item in repair(found).items] == [0, 1, 3, 4, 5]
    chosen = repair(fix(found, doubts[1:2]))
    assert to_samples(chosen)[2].boxes[0][0] == pytest.approx(0.45)


@pytest.mark.parametrize("layout", _LAYOUTS, ids=str)
def test_boxes_are_the_same_in_every_layout(layout: Layout) -> None:
    written, size = _item(random.Random(1), layout, (0.1, 0.4))
    for box in written:
        x, y, w, h = to_pixels(box, layout, size)
        assert (x, y, w, h) == pytest.approx(tuple(map(round, (x, y, w, h))), abs=2e-3)
    assert to_pixels((1.0, 2.0), layout, size) == (1.0, 2.0)
