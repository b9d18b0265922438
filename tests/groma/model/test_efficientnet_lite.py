import pytest
import torch

from groma.model.efficientnet_lite import LITE0, EfficientNetLite, StageSizes

STAGES = (
    StageSizes(num_blocks=1, kernel_size=3, stride=1, expansion=1, channels=8),
    StageSizes(num_blocks=2, kernel_size=5, stride=2, expansion=2, channels=8),
    StageSizes(num_blocks=1, kernel_size=3, stride=2, expansion=2, channels=16),
)


def tiny_classifier() -> EfficientNetLite:
    torch.manual_seed(0)
    return EfficientNetLite(STAGES, num_classes=7).eval()


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (160, 32)])
def test_one_row_of_logits_a_picture(size: tuple[int, int]) -> None:
    logits = tiny_classifier()(torch.rand(3, 3, *size))
    assert logits.shape == (3, 7)
    assert logits.isfinite().all()


def test_batch_equals_single() -> None:
    classifier, pictures = tiny_classifier(), torch.rand(3, 3, 64, 64)
    single = torch.cat([classifier(picture[None]) for picture in pictures])
    torch.testing.assert_close(classifier(pictures), single)


def test_repeating_a_picture_changes_nothing_far_from_the_seam() -> None:
    """Strides and padding keep a cell over the same pixels whatever the size of the picture."""
    classifier, picture = tiny_classifier(), torch.rand(1, 3, 128, 128)
    features = classifier.blocks(classifier.stem(picture))
    wider = classifier.blocks(classifier.stem(torch.cat([picture, picture], dim=-1)))
    torch.testing.assert_close(wider[..., :12], features[..., :12])


def test_strides_look_right_and_down() -> None:
    """As TensorFlow pads: at stride 2 the first 3 x 3 window starts at the first pixel."""
    stem = tiny_classifier().stem[0]
    nothing, touched = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    touched[..., 1, 1] = 1
    changed = (stem(touched) != stem(nothing)).any(dim=1)[0]
    assert changed.nonzero().tolist() == [[0, 0]]


def test_lite0_has_the_published_number_of_parameters() -> None:
    """Tan and Le's 4.65 million are less here: a folded normalisation is one number a channel."""
    with torch.device("meta"):
        classifier = EfficientNetLite()
    assert sum(parameter.numel() for parameter in classifier.parameters()) == 4_631_000
    assert sum(sizes.num_blocks for sizes in LITE0) == 16
