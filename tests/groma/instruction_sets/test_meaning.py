"""What the numbers of boxes mean is told from all of a set, and asked where nothing tells it."""

import random
from collections import Counter
from pathlib import Path

import pytest

from groma.instruction_sets.doctor.checking import check, fix, repair
from groma.instruction_sets.doctor.evidence import Framed, plausible
from groma.instruction_sets.doctor.layouts import DOCUMENTED, LAYOUTS, Layout, to_pixels
from groma.instruction_sets.doctor.meaning import explain
from groma.instruction_sets.readers.set_items import COCO, GROMA, LLAVA_BOXES, to_samples
from tests.groma.instruction_sets import make

SIZES = [(240, 320), (480, 640), (427, 640), (1080, 1920)]
CENTRES, CORNERS = Layout("cxcywh", "fractions"), Layout("xyxy", "fractions")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    make.write_pictures(folder)
    return folder


def _item(
    dice: random.Random, layout: Layout, sides: tuple[float, float], spread: float, is_whole: bool
) -> Framed:
    """Boxes as a layout writes them; `spread` below 1 keeps them away from the edges."""
    size = height, width = dice.choice(SIZES)
    written = []
    for _ in range(dice.randint(1, 4)):
        w, h = dice.uniform(*sides), dice.uniform(*sides)
        x = 0.5 - w / 2 + spread * dice.uniform(w / 2 - 0.5, 0.5 - w / 2)
        y = 0.5 - h / 2 + spread * dice.uniform(h / 2 - 0.5, 0.5 - h / 2)
        box = x * width, y * height, w * width, h * height
        x, y, w, h = map(round, box) if is_whole else box
        orders = {"xywh": (x, y, w, h), "xyxy": (x, y, x + w, y + h)}
        raw = orders.get(layout.order, (x + w / 2, y + h / 2, w, h))
        across, down = layout.frame(size)
        scale = (across / width, down / height) * 2
        written.append(tuple(round(side * by, 6) for side, by in zip(raw, scale, strict=True)))
    return written, size


def _try(
    layout: Layout,
    items: int = 6,
    sides: tuple[float, float] = (0.05, 0.2),
    spread: float = 1.0,
    is_whole: bool = False,
) -> Counter[str]:
    """How often it is sure and right, asks with the right one first or later, and is wrong."""
    dice = random.Random(4)
    outcomes: Counter[str] = Counter()
    for _ in range(40):
        framed = [_item(dice, layout, sides, spread, is_whole) for _ in range(items)]
        found = plausible(framed, GROMA)
        outcomes["right"] += found == (layout,)
        outcomes["first"] += found[0] == layout
        outcomes["wrong"] += layout not in found
    return outcomes


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_layouts_are_recognised_over_a_set(layout: Layout) -> None:
    outcomes = _try(layout, sides=(0.05, 0.6))
    assert outcomes["right"] >= 36
    assert not outcomes["wrong"]


@pytest.mark.parametrize("order", ["xywh", "xyxy", "cxcywh"])
@pytest.mark.parametrize("items", [1, 6, 50])
@pytest.mark.parametrize("spread", [1.0, 0.6])
def test_small_boxes_in_fractions_are_not_mistaken(order, items: int, spread: float) -> None:
    outcomes = _try(Layout(order, "fractions"), items, spread=spread)
    assert outcomes["wrong"] <= 1
    if order == "cxcywh":
        # As detectors write them.
        assert outcomes["first"] >= 36
    if items == 50:
        assert outcomes["first"] >= 30
        assert outcomes["right"] >= (36 if spread == 1 else 0)


@pytest.mark.parametrize("spread", [1.0, 0.6])
@pytest.mark.parametrize("order", ["xywh", "cxcywh"])
def test_corners_on_whole_pixels_tell_the_order(order, spread: float) -> None:
    outcomes = _try(Layout(order, "fractions"), 6, spread=spread, is_whole=True)
    assert outcomes["right"] >= 38
    outcomes = _try(Layout(order, "pixels"), 6, spread=spread, is_whole=True)
    assert outcomes["right"] >= 34


def test_documented_boxes_are_seldom_doubted() -> None:
    for items in (1, 6, 50):
        for spread in (1.0, 0.6):
            assert _try(DOCUMENTED, items, spread=spread)["right"] >= 38


def test_formats_tell_what_is_usual() -> None:
    item = [(0.45, 0.4, 0.55, 0.6)], (480, 640)
    assert plausible([item], GROMA)[0] == CENTRES
    assert plausible([item], LLAVA_BOXES)[0] == CORNERS
    lying = [([(200.0, 100.0, 520.0, 420.0)] * 2, (480, 640))]
    assert plausible(lying, GROMA)[0] == Layout("xyxy")
    assert DOCUMENTED not in plausible(lying, GROMA)
    assert DOCUMENTED in plausible(lying, COCO)


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
    assert [f.fix.choice for f in findings] == ["cxcywh-fractions", "xywh-fractions"]
    # Nobody chooses unasked.
    assert repair(found).items == found.items
    for finding, left in zip(findings, (0.45, 0.5), strict=True):
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


def test_boxes_on_one_side_are_doubted_but_kept(folder: Path) -> None:
    """Read as documented they all lean to the right; as centres they do not."""
    items = [item for _ in range(5) for item in make.good_items()]
    for i, item in enumerate(items):
        item["boxes"] = [[76.3 + i % 9 + 20 * k, 50, 50, 20] for k in range(3)]
        item["id"] = item["conversation"][0]["value"] = f"What is there, {i}?"
    found = make.read(items, folder)
    doubts = [finding for finding in check(found) if finding.code == "layout-open"]
    assert [f.fix.choice for f in doubts] == ["xywh-pixels", "cxcywh-pixels"]
    assert {finding.severity for finding in doubts} == {"warning"}
    assert repair(found).items == found.items
    kept = fix(found, doubts[:1])
    assert [item.boxes for item in kept.items] == [item.boxes for item in found.items]
    assert "layout-open" not in {finding.code for finding in check(kept)}


def test_one_item_that_nobody_can_tell_is_left_out(folder: Path) -> None:
    items = make.good_items()
    items[2] = _unclear("fractions")[0] | {"file_name": "2.png"}
    found = make.read(items, folder)
    doubts = [finding for finding in check(found) if finding.code == "layout-open"]
    assert [(f.item, f.is_sure) for f in doubts] == [(2, False), (2, False), (2, True)]
    assert [item.number for item in repair(found).items] == [0, 1, 3, 4, 5]
    chosen = repair(fix(found, doubts[:1]))
    assert to_samples(chosen)[2].boxes[0][0] == pytest.approx(0.45)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_boxes_are_the_same_in_every_layout(layout: Layout) -> None:
    written, size = _item(random.Random(1), layout, (0.1, 0.4), 1.0, is_whole=True)
    for box in written:
        x, y, w, h = to_pixels(box, layout, size)
        assert (x, y, w, h) == pytest.approx(tuple(map(round, (x, y, w, h))), abs=2e-3)
    assert to_pixels((1.0, 2.0), layout, size) == (1.0, 2.0)
