import pytest
import torch

from groma.chat.regions import list_regions, name_regions
from groma.model.region_selection import SelectionPolicy
from groma.named_regions import Region
from groma.shapes import Mask, Point, Scribble
from groma.types import EncodedImage, GromaError, Proposals

SIZE = (100, 200)
LEFT = (0.0, 0.0, 0.4, 0.5)
LEFT_AGAIN = (0.0, 0.0, 0.4, 0.48)
RIGHT = (0.6, 0.5, 1.1, 0.9)
LOW = (0.4, 0.6, 0.5, 0.9)
LEFT_PX = (0.0, 0.0, 80.0, 50.0)
POLICY = SelectionPolicy(nms_threshold=0.6, score_threshold=0.15, limit=100)


def image(*boxes: tuple[tuple, float]) -> EncodedImage:
    proposals = Proposals(
        torch.tensor([box for box, _ in boxes]), torch.tensor([score for _, score in boxes])
    )
    return EncodedImage(SIZE, torch.zeros(1, 1), (), proposals)


PICTURE = image((LEFT, 0.9), (LEFT_AGAIN, 0.8), (RIGHT, 0.5), (LOW, 0.1))


def name(
    named: tuple[Region, ...] = (),
    boxes: tuple = (),
    picture: EncodedImage = PICTURE,
    policy: SelectionPolicy = POLICY,
    capacity: int = 100,
) -> tuple[Region, ...]:
    """Everything named after one more question."""
    return (*named, *name_regions(named, picture, boxes, policy, capacity))


def shown(regions: tuple[Region, ...], mentioned: tuple = (), **policy) -> list[int]:
    return list_regions(regions, mentioned, SelectionPolicy(**policy))


def test_proposals_come_first_in_order_of_score_then_the_users() -> None:
    regions = name(boxes=((1, 2, 30, 40), LEFT_PX))
    assert [region.id for region in regions] == [0, 1, 2, 3]
    assert [region.user for region in regions] == [None, None, 1, 2]
    assert [round(region.objectness, 3) for region in regions] == [0.9, 0.5, 1.0, 1.0]
    assert regions[2].box == (1.0, 2.0, 30.0, 40.0)
    assert regions[2].extent == pytest.approx((0.005, 0.02, 0.15, 0.4))


DOG_AND_HEAD = image(
    ((0.1, 0.1, 0.6, 0.9), 0.8),  # a dog
    ((0.1, 0.1, 0.3, 0.4), 0.5),  # its head
    ((0.15, 0.15, 0.2, 0.2), 0.2),  # an eye, perhaps
    ((0.7, 0.1, 0.9, 0.3), 0.3),
)


@pytest.mark.parametrize(
    ("place", "box"),
    [
        ((34, 17), (20, 10, 60, 40)),  # too little is sure of the eye
        ((100, 60), (20, 10, 120, 90)),
        ((150, 20), (140, 10, 180, 30)),  # little is enough where nothing is surer
    ],
)
def test_a_point_takes_the_smallest_thing_under_it_that_is_sure(place: tuple, box: tuple) -> None:
    *_, region = name(picture=DOG_AND_HEAD, boxes=(Point(*place),))
    assert region.box == pytest.approx(box)
    assert region.user == 1
    assert region.shape == Point(*place)
    assert region.mask is None


def test_a_point_is_the_proposal_that_it_takes() -> None:
    regions = name(picture=DOG_AND_HEAD, boxes=({"point": [100, 60]},))
    assert regions[-1].extent == regions[0].extent


def test_where_nothing_is_found_a_point_means_nothing() -> None:
    with pytest.raises(
        GromaError, match=r"^Nothing was found at 199, 99; please draw a box around it\.$"
    ):
        name(picture=DOG_AND_HEAD, boxes=(Point(199, 99),))


def test_what_is_drawn_is_numbered_in_its_order_and_has_its_own_pixels() -> None:
    scribble = Scribble((((10, 10), (50, 30)),), width=3)
    *_, first, second, third = name(boxes=(scribble, LEFT_PX, Mask.of(scribble.mask(SIZE))))
    assert [first.user, second.user, third.user] == [1, 2, 3]
    assert first.box == third.box == scribble.box(SIZE)
    assert first.mask == third.mask == third.shape
    assert (first.shape, second.shape, second.mask) == (scribble, None, None)
    x1, y1, x2, y2 = first.box
    assert first.extent == pytest.approx((x1 / 200, y1 / 100, x2 / 200, y2 / 100))


def test_a_proposal_over_the_edge_keeps_its_extent() -> None:
    right = name()[1]
    assert right.box == pytest.approx((120, 50, 200, 90))
    assert right.extent == pytest.approx(RIGHT)


def test_a_second_question_adds_the_users_boxes_alone() -> None:
    first = name(boxes=((1, 2, 30, 40),))
    second = name(first, boxes=((5, 5, 9, 9),))
    assert second[: len(first)] == first
    assert [(region.id, region.user) for region in second[len(first) :]] == [(3, 2)]


def test_a_looser_policy_adds_proposals_without_renaming() -> None:
    first = name(boxes=((1, 2, 30, 40),))
    second = name(first, policy=SelectionPolicy(score_threshold=0.05))
    assert second[:3] == first
    assert [round(region.objectness, 3) for region in second[3:]] == [0.1]


def test_a_user_region_suppresses_a_proposal_but_not_another_user_region() -> None:
    regions = name(boxes=(LEFT_PX, LEFT_PX))
    assert shown(regions) == [1, 2, 3]
    assert shown(regions, nms_threshold=1.0) == [0, 1, 2, 3]


def test_a_proposal_that_a_reply_mentions_stays() -> None:
    regions = name(boxes=(LEFT_PX,))
    assert shown(regions, mentioned=(0,)) == [0, 1, 2]
    assert shown(regions, mentioned=(0,), score_threshold=0.99) == [0, 2]


def test_threshold_and_limit_choose_among_the_proposals() -> None:
    regions = name(policy=SelectionPolicy(score_threshold=0.0))
    assert shown(regions, score_threshold=0.0) == [0, 1, 2]
    assert shown(regions) == [0, 1]
    assert shown(regions, limit=1) == [0]
    assert shown(regions, score_threshold=0.6) == [0]


def test_there_is_always_a_region() -> None:
    faint = image((LOW, 0.01), (LEFT, 0.02))
    regions = name(picture=faint)
    assert [region.extent for region in regions] == [pytest.approx(LEFT)]
    assert shown(regions) == [0]
    assert shown(name(picture=faint, boxes=((1, 2, 30, 40),))) == [1]


def crowd(number: int) -> EncodedImage:
    width = 1 / number
    boxes = [((i * width, 0.0, (i + 0.9) * width, 0.9), 0.99 - i / 1000) for i in range(number)]
    return image(*boxes)


def test_a_crowd_leaves_names_for_the_user() -> None:
    regions = name(picture=crowd(150))
    assert len(regions) == 90
    for number in range(10):
        regions = name(regions, boxes=((number, 1, number + 5, 9),), picture=crowd(150))
    assert len(regions) == 100
    assert [region.user for region in regions[90:]] == list(range(1, 11))
    with pytest.raises(GromaError, match="at most 0"):
        name(regions, boxes=((1, 1, 5, 9),), picture=crowd(150))


def test_many_boxes_at_once_take_the_place_of_proposals() -> None:
    boxes = tuple((i, 1.0, i + 5.0, 9.0) for i in range(30))
    regions = name(boxes=boxes, picture=crowd(150))
    assert len(regions) == 100
    assert sum(region.user is not None for region in regions) == 30


def test_a_model_of_few_regions_keeps_some_too() -> None:
    regions = name(picture=crowd(30), capacity=10)
    assert len(regions) == 8
    assert (
        len(name(regions, boxes=((1, 1, 5, 9), (2, 1, 6, 9)), picture=crowd(30), capacity=10)) == 10
    )


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((300, 10, 400, 20), "outside"),
        ((50, 10, 40, 20), "inverted"),
        ((1, 2, float("nan"), 4), "finite"),
    ],
)
def test_wrong_boxes_are_refused(box: tuple, message: str) -> None:
    with pytest.raises(GromaError, match=message):
        name(boxes=(box,))
