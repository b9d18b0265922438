import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from groma.data.augment import Augmentation, View, _is_mirrorable
from groma.data.dataset import make_dice
from groma.data.sample import QA, GroundedSample, Phrase
from groma.data.sources.items import BrokenItem, DetectionSample, Head

SIDE = 64
BOX = (0.25, 0.5, 0.5, 0.875)


def picture() -> Image.Image:
    """Black, but for `BOX`, which is white."""
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    x1, y1, x2, y2 = (round(SIDE * edge) for edge in BOX)
    pixels[y1:y2, x1:x2] = 255
    return Image.fromarray(pixels)


def detected(*boxes, head: Head = "sa1b") -> DetectionSample:
    return DetectionSample("x.jpg", (SIDE, SIDE), boxes, (), head)


def talk(*texts: str, kind: str = "rec") -> GroundedSample:
    turns = tuple(QA((text,), (Phrase(text, (0,)),), kind) for text in texts)
    return GroundedSample("x.jpg", (SIDE, SIDE), (BOX,), ("dog",), turns)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30)
def test_a_box_stays_around_what_it_held(seed: int) -> None:
    view = Augmentation(flip=0.5, crop=1.0).draw(detected(BOX), make_dice(seed))
    view, (box,) = view.keep(detected(BOX))
    white = np.array(view.picture(picture(), 256))[..., 0] > 127
    rows, columns = np.where(white.any(1))[0], np.where(white.any(0))[0]
    found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    assert found == pytest.approx([256 * edge for edge in box], abs=6)


def test_a_flip_mirrors_and_the_whole_view_changes_nothing() -> None:
    assert View(flip=True).box(BOX) == (0.5, 0.5, 0.75, 0.875)
    assert View().box(BOX) == BOX
    mirrored = np.array(View(flip=True).picture(picture(), SIDE))
    assert (mirrored[:, ::-1] == np.array(View().picture(picture(), SIDE))).all()
    assert (np.array(View().picture(picture(), SIDE)) == np.array(picture())).all()


def test_boxes_out_of_view_are_dropped_but_never_all() -> None:
    window = View((0.0, 0.0, 0.5, 0.5))
    inside, half, outside = (0.1, 0.1, 0.3, 0.3), (0.4, 0.0, 0.6, 0.2), (0.6, 0.6, 0.9, 0.9)
    view, boxes = window.keep(detected(inside, half, outside))
    assert view == window
    assert boxes == [
        pytest.approx((0.2, 0.2, 0.6, 0.6)),
        pytest.approx((0.8, 0.0, 1.0, 0.4)),
    ]
    view, boxes = window.keep(detected(outside))
    assert boxes == [outside]
    assert view == View()


def test_segments_are_learnt_by_their_size_in_the_view() -> None:
    speck, wall = (0.2, 0.2, 0.22, 0.22), (0.0, 0.0, 1.0, 0.9)
    assert View().keep(detected(speck, BOX, wall)) == (View(), [BOX])
    assert View().keep(detected(speck, wall, head="coco")) == (View(), [speck, wall])
    # Cut out, the speck is as large as a patch, and the wall is all there is.
    window = View((0.1, 0.1, 0.6, 0.6))
    assert window.keep(detected(speck, wall)) == (window, [window.box(speck)])
    with pytest.raises(BrokenItem, match="no segment of a size"):
        View().keep(detected(speck, wall))


@pytest.mark.parametrize(
    "text", ["Leftmost dog", "the one at right.", "3 o'clock", "r", "the sign", "player 7", "LEFT"]
)
def test_words_that_a_mirror_makes_untrue(text: str) -> None:
    assert not _is_mirrorable(talk("a dog", text))


def test_everything_else_may_be_mirrored() -> None:
    assert _is_mirrorable(talk("a bright upright dog", "the cleft stick"))
    assert _is_mirrorable(detected(BOX))
    assert not _is_mirrorable(talk("a dog", kind="chat"))


def test_probabilities_are_kept() -> None:
    views = [Augmentation(0.3, 0.6).draw(detected(BOX), make_dice(i)) for i in range(500)]
    assert 0.2 < sum(view.flip for view in views) / 500 < 0.4
    assert 0.5 < sum(view.window != View().window for view in views) / 500 < 0.7
    assert all(Augmentation().draw(detected(BOX), make_dice(i)) == View() for i in range(20))
    talks = [Augmentation(0.0, 1.0).draw(talk("a dog"), make_dice(i)) for i in range(20)]
    assert set(talks) == {View()}
