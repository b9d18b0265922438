import pytest
import supervision as sv
import torch
from hypothesis import given
from hypothesis import strategies as st

from groma.ops.boxes import nms
from tests.groma.ops.test_boxes import random_boxes


@given(st.integers(0, 2**31), st.sampled_from([0.1, 0.5, 0.6, 0.9]))
def test_equals_supervision(seed: int, threshold: float) -> None:
    boxes = random_boxes(60, seed)
    scores = torch.rand(60, generator=torch.Generator().manual_seed(seed))
    rows = torch.cat([boxes, scores[:, None]], dim=1).numpy()
    wanted = torch.from_numpy(sv.box_non_max_suppression(rows, threshold)).nonzero()[:, 0]
    found = nms(boxes, scores, threshold)
    assert found.sort().values.tolist() == wanted.tolist()
    assert scores[found].tolist() == sorted(scores[found].tolist(), reverse=True)


def test_a_box_at_the_threshold_stays() -> None:
    boxes = torch.tensor([[0.0, 0.0, 4.0, 1.0], [2.0, 0.0, 4.0, 1.0]])
    scores = torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, 0.5).tolist() == [0, 1]
    assert nms(boxes, scores, 0.49).tolist() == [0]


def test_ties_keep_their_order() -> None:
    same = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(3, 4)
    apart = same + 10 * torch.arange(3)[:, None]
    assert nms(apart, torch.ones(3), 0.5).tolist() == [0, 1, 2]
    assert nms(same, torch.ones(3), 0.5).tolist() == [0]


@pytest.mark.parametrize(("limit", "kept"), [(None, 20), (5, 5), (0, 0)])
def test_limit(limit: int | None, kept: int) -> None:
    corners = torch.arange(20.0)[:, None].expand(-1, 2)
    found = nms(torch.cat([corners, corners + 1], dim=1), torch.rand(20), 0.5, limit)
    assert len(found) == kept
    assert found.dtype == torch.int64


def test_no_boxes() -> None:
    assert nms(torch.zeros(0, 4), torch.zeros(0), 0.5).tolist() == []
