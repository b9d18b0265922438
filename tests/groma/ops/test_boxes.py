import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from groma.ops.boxes import (
    box_area,
    box_cxcywh_to_xyxy,
    box_xyxy_to_cxcywh,
    generalised_iou,
    pairwise_iou,
    pairwise_overlap,
)

seeds = st.integers(0, 2**31)


def pairwise_giou(a, b):
    return generalised_iou(a[:, None], b[None])


def random_boxes(count: int, seed: int) -> Tensor:
    corners = torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(seed))
    return corners.sort(dim=1).values.flatten(1)


def test_known_overlaps() -> None:
    a = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    b = torch.tensor([[1.0, 1.0, 3.0, 3.0], [0.0, 0.0, 2.0, 2.0], [3.0, 0.0, 4.0, 2.0]])
    torch.testing.assert_close(box_area(b), torch.tensor([4.0, 4.0, 2.0]))
    torch.testing.assert_close(pairwise_iou(a, b), torch.tensor([[1 / 7, 1.0, 0.0]]))
    torch.testing.assert_close(pairwise_overlap(a, b), torch.tensor([[1 / 4, 1.0, 0.0]]))
    wanted = torch.tensor([[1 / 7 - 2 / 9, 1.0, -2 / 8]])
    torch.testing.assert_close(pairwise_giou(a, b), wanted)


@given(seeds)
def test_formats_invert_each_other(seed: int) -> None:
    boxes = random_boxes(7, seed)
    torch.testing.assert_close(box_cxcywh_to_xyxy(box_xyxy_to_cxcywh(boxes)), boxes)


@given(seeds)
def test_overlaps_are_symmetric_and_bounded(seed: int) -> None:
    a, b = random_boxes(5, seed), random_boxes(6, seed + 1)
    iou, giou = pairwise_iou(a, b), pairwise_giou(a, b)
    torch.testing.assert_close(iou, pairwise_iou(b, a).T)
    torch.testing.assert_close(giou, pairwise_giou(b, a).T)
    assert iou.min() >= 0
    assert iou.max() <= 1
    assert giou.min() >= -1
    assert (giou <= iou + 1e-6).all()
    torch.testing.assert_close(pairwise_iou(a, a).diagonal(), torch.ones(5))


@given(seeds)
def test_partners_are_the_diagonal_of_all_pairs(seed: int) -> None:
    a, b = random_boxes(5, seed), random_boxes(5, seed + 1)
    torch.testing.assert_close(generalised_iou(a, b), pairwise_giou(a, b).diagonal())


def test_degenerate_boxes_give_finite_values_and_gradients() -> None:
    boxes = torch.tensor(
        [[0.5, 0.5, 0.5, 0.5], [0.2, 0.1, 0.2, 0.9], [0.9, 0.9, 0.1, 0.1], [0.0, 0.0, 1.0, 1.0]],
        requires_grad=True,
    )
    total = pairwise_iou(boxes, boxes).sum() + pairwise_giou(boxes, boxes).sum()
    total.backward()
    assert total.isfinite()
    assert boxes.grad.isfinite().all()


def test_sixteen_bit_boxes_are_compared_in_float32() -> None:
    boxes = random_boxes(4, 0).bfloat16()
    torch.testing.assert_close(pairwise_giou(boxes, boxes), pairwise_giou(*[boxes.float()] * 2))


@given(seeds)
def test_what_lies_inside_overlaps_wholly(seed: int) -> None:
    boxes = random_boxes(4, seed)
    centres = (boxes[:, :2] + boxes[:, 2:]).repeat(1, 2) / 2
    inner = centres + (boxes - centres) / 2
    torch.testing.assert_close(pairwise_overlap(boxes, inner).diagonal(), torch.ones(4))
    torch.testing.assert_close(pairwise_overlap(inner, boxes).diagonal(), torch.ones(4))
    assert (pairwise_overlap(boxes, boxes[:1] * 0) == 0).all()
