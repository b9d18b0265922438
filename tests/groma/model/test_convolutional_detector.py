import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from groma.config import ConvolutionalEncoderConfig
from groma.model.convolutional_detector import STRIDES, ConvolutionalDetector, decode_boxes

CONFIG = ConvolutionalEncoderConfig(stem_width=4, width=8, num_classes=3, num_bins=5)


@pytest.fixture(scope="module")
def detector() -> ConvolutionalDetector:
    torch.manual_seed(0)
    return ConvolutionalDetector(CONFIG).eval().requires_grad_(False)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 96), (416, 32)])
def test_a_cell_for_every_stride_of_pictures_of_any_side(detector, height, width) -> None:
    levels = detector(torch.randn(2, 3, height, width))
    for level, stride in zip(levels, STRIDES, strict=True):
        cells = (height // stride, width // stride)
        assert level.features.shape == (2, CONFIG.width, *cells)
        assert level.class_logits.shape == (2, CONFIG.num_classes, *cells)
        assert level.boxes.shape == (2, cells[0] * cells[1], 4)


def test_pictures_of_a_batch_do_not_touch_each_other(detector) -> None:
    pictures = torch.randn(3, 3, 64, 64)
    together, alone = detector(pictures), detector(pictures[1:2])
    for batch, single in zip(together, alone, strict=True):
        torch.testing.assert_close(batch.class_logits[1:2], single.class_logits)
        torch.testing.assert_close(batch.boxes[1:2], single.boxes)


def test_a_shifted_picture_is_seen_the_same_elsewhere(detector) -> None:
    picture = torch.zeros(1, 3, 512, 512)
    picture[:, :, 240:272, 240:272] = torch.randn(3, 32, 32)
    for level, moved, stride in zip(
        detector(picture), detector(picture.roll(32, dims=3)), STRIDES, strict=True
    ):
        steps = 32 // stride
        # What the border's padding reaches is left out; the middle is the thing.
        inner = slice(
            level.features.shape[3] // 2 - 2 * steps, level.features.shape[3] // 2 + steps
        )
        torch.testing.assert_close(
            moved.class_logits.roll(-steps, dims=3)[..., inner, inner],
            level.class_logits[..., inner, inner],
        )


def test_the_size_of_the_default_is_nanodets() -> None:
    with torch.device("meta"):
        detector = ConvolutionalDetector(ConvolutionalEncoderConfig())
    assert sum(weight.numel() for weight in detector.parameters()) == 3_786_068
    assert sum(isinstance(m, torch.nn.Conv2d) for m in detector.modules()) == 34


def certain(bins: Tensor, num_bins: int) -> Tensor:
    """Logits that leave no doubt about the bins (B, 4, h, w)."""
    return 1e4 * F.one_hot(bins, num_bins).float().permute(0, 1, 4, 2, 3)


def test_boxes_are_the_distances_from_the_cells_centres() -> None:
    bins = torch.zeros(1, 4, 2, 4, dtype=torch.int64)
    bins[0, :, 1, 2] = torch.tensor([1, 2, 3, 4])  # left, top, right, bottom
    boxes = decode_boxes(certain(bins, 5))
    assert boxes.shape == (1, 8, 4)
    x, y = 2.5, 1.5
    wanted = torch.tensor([(x - 1) / 4, (y - 2) / 2, (x + 3) / 4, (y + 4) / 2])
    torch.testing.assert_close(boxes[0, 1 * 4 + 2], wanted)
    torch.testing.assert_close(boxes[0, 0], torch.tensor([0.125, 0.25, 0.125, 0.25]))


def test_undecided_edges_are_half_way() -> None:
    boxes = decode_boxes(torch.zeros(1, 4, 11, 1, 1))
    torch.testing.assert_close(boxes[0, 0], torch.tensor([-4.5, -4.5, 5.5, 5.5]))
