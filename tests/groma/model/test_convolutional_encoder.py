from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from groma.config import ConvolutionalEncoderConfig
from groma.model.coded_regions import certainty
from groma.model.convolutional_detector import ConvolutionalDetector
from groma.model.convolutional_encoder import look_twice
from groma.ops.boxes import box_area

CONFIG = ConvolutionalEncoderConfig(
    stem_width=4, width=8, num_classes=3, num_bins=5, view_size=64, num_candidates=40
)


@pytest.fixture(scope="module")
def detector() -> ConvolutionalDetector:
    torch.manual_seed(0)
    return ConvolutionalDetector(CONFIG).eval().requires_grad_(False)


def test_candidates_are_inside_the_picture_and_best_first(detector) -> None:
    sightings = look_twice(detector, torch.randn(2, 3, 128, 128), CONFIG)
    assert sightings.boxes.shape == (2, 40, 4)
    assert sightings.class_probabilities.shape == (2, 40, 3)
    assert sightings.boxes.min() >= 0
    assert sightings.boxes.max() <= 1
    assert (sightings.objectness.diff(dim=1) <= 0).all()
    assert [level.features.shape[-1] for level in sightings.levels] == [8, 4, 2]


def test_a_picture_of_the_views_size_is_looked_at_once(detector) -> None:
    picture = torch.randn(1, 3, 64, 64)
    sightings = look_twice(detector, picture, CONFIG)
    for seen, alone in zip(sightings.levels, detector(picture), strict=True):
        torch.testing.assert_close(seen.class_logits, alone.class_logits)


def stand_in(small: float, large: float):
    """A detector that sees in every view a small thing and a large one, by probability."""

    def see(pixels: Tensor) -> list:
        by_view = torch.tensor([[small, large]]) + pixels.shape[-1] / 1e4
        boxes = torch.tensor([[[0.1, 0.1, 0.15, 0.15], [0.2, 0.2, 0.9, 0.9]]])
        return [SimpleNamespace(class_logits=by_view.logit()[:, None, None], boxes=boxes)]

    return see


def test_the_second_look_is_for_small_things() -> None:
    config = ConvolutionalEncoderConfig(view_size=64, small_side=0.1, small_trust=0.5)
    sightings = look_twice(stand_in(0.3, 0.6), torch.zeros(1, 3, 128, 128), config)
    by_size: dict[bool, list[float]] = {True: [], False: []}
    for box, score in zip(sightings.boxes[0], sightings.objectness[0], strict=True):
        by_size[bool(box_area(box) < 0.01)].append(float(score))
    assert by_size[True] == pytest.approx([0.3064, 0.5 * 0.3128])
    assert by_size[False] == pytest.approx([0.6064, 0])


THING = torch.tensor([0.2, 0.2, 0.6, 0.6])
PART = torch.tensor([0.25, 0.25, 0.55, 0.4])
ELSEWHERE = torch.tensor([0.65, 0.7, 0.95, 0.85])
WEIGHTS = (2.0, -1.5, 0.25, 1.0)


def named(name: int, probability: float) -> Tensor:
    probabilities = torch.full((3,), 0.01)
    probabilities[name] = probability
    return probabilities


def certainties(*regions: tuple[Tensor, Tensor]) -> Tensor:
    boxes, probabilities = (torch.stack(column) for column in zip(*regions, strict=True))
    return certainty(boxes, probabilities, WEIGHTS)


def test_certainty_is_the_regression() -> None:
    (alone,) = certainties((THING, named(0, 0.5)))
    wanted = 2.0 * 0.0 + 0.25 * torch.tensor(0.4).log() + 1.0
    torch.testing.assert_close(alone, wanted.sigmoid())


def test_a_part_of_a_better_region_of_its_class_is_less_certain() -> None:
    thing = (THING, named(0, 0.7))
    apart = certainties(thing, (ELSEWHERE, named(0, 0.4)))
    inside = certainties(thing, (PART, named(0, 0.4)))
    other = certainties(thing, (PART, named(1, 0.4)))
    torch.testing.assert_close(apart[1], other[1])
    torch.testing.assert_close(inside[1].logit(), other[1].logit() - 1.5)
    torch.testing.assert_close(inside[0], apart[0])


def test_a_better_region_inside_makes_the_loose_one_a_repetition() -> None:
    loose, tight = certainties((THING, named(0, 0.4)), (PART, named(0, 0.7)))
    assert loose < certainties((THING, named(0, 0.4)))[0]
    torch.testing.assert_close(tight, certainties((PART, named(0, 0.7)))[0])


def test_probabilities_of_nothing_and_everything_are_finite() -> None:
    values = certainties((THING, torch.zeros(3)), (torch.zeros(4), torch.ones(3)))
    assert ((values >= 0) & (values <= 1)).all()
