import pytest
import torch
from torch import Tensor

from groma.model.detection_loss import detection_loss
from groma.model.groma import GromaForConditionalGeneration
from groma.model.training_forward import encode_pictures, next_token_loss, splice_prompts
from groma.tokens import GROUND_BOX, IMAGE, PAD, REFER_BOX, REFER_FEATURE, REGION
from groma.types import GromaError
from tests.groma.model.tiny import tiny_config, tiny_model, tiny_pixels


def prompt(model: GromaForConditionalGeneration, *parts: str | int) -> list[int]:
    """Words are ids, placeholders their names; every prompt begins with picture and regions."""
    parts = (1, 5, IMAGE, 6, REGION, *parts)
    return [part if isinstance(part, int) else model.tokens[part] for part in parts]


def padded(model: GromaForConditionalGeneration, *rows: list[int]) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [model.tokens[PAD]] * (width - len(row)) for row in rows])


def rows_of(
    model: GromaForConditionalGeneration,
    ids: Tensor,
    labels: Tensor | None = None,
    refer: Tensor | None = None,
    ground: Tensor | None = None,
) -> list:
    """What the language model reads of one picture and one prompt."""
    given = [None if boxes is None else [boxes] for boxes in (refer, ground)]
    pictures = encode_pictures(model, model.image_features(tiny_pixels(1)), *given)
    return splice_prompts(model, pictures, ids, labels)


@pytest.fixture(scope="module")
def model() -> GromaForConditionalGeneration:
    return tiny_model()


REFER = (REFER_BOX, REFER_FEATURE)
BOXES = torch.tensor([[0.1, 0.1, 0.4, 0.5], [0.5, 0.4, 0.9, 0.9], [0.2, 0.6, 0.3, 0.8]])


@torch.no_grad()
def test_a_batch_row_equals_that_row_alone(model: GromaForConditionalGeneration) -> None:
    rows = [prompt(model, 20, *REFER, 9), prompt(model, *REFER, 11, *REFER, 12, *REFER, 13, 14)]
    ids = padded(model, *rows)
    pixels = tiny_pixels(2)
    refer = [BOXES[:1], BOXES]
    both = model(ids, pixels, refer)
    for i, row in enumerate(rows):
        alone = model(torch.tensor([row]), pixels[i : i + 1], [refer[i]])
        length = alone.logits.shape[1]
        torch.testing.assert_close(both.logits[i, :length], alone.logits[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(both.regions[i].boxes, alone.regions[0].boxes)


def test_batched_generation_equals_each_row_alone(model: GromaForConditionalGeneration) -> None:
    rows = [prompt(model, 20, 9), prompt(model, 11, 12, 13, 14, 30, 31)]
    pixels = tiny_pixels(2)
    options = {"max_new_tokens": 6, "do_sample": False}
    both = model.generate(padded(model, *rows), pixels, **options)
    for i, row in enumerate(rows):
        alone = model.generate(torch.tensor([row]), pixels[i : i + 1], **options)
        assert both[i].tolist() == alone[0].tolist()


@torch.no_grad()
def test_padding_side_and_mask_do_not_matter(model: GromaForConditionalGeneration) -> None:
    row = prompt(model, 20, 9)
    pad = [model.tokens[PAD]] * 3
    wanted = model(torch.tensor([row]), tiny_pixels(1)).logits
    right = model(torch.tensor([row + pad]), tiny_pixels(1)).logits
    left = model(torch.tensor([pad + row]), tiny_pixels(1)).logits
    junk = torch.tensor([[*row, 7, 7]])
    mask = torch.tensor([[1] * len(row) + [0, 0]])
    masked = model(junk, tiny_pixels(1), attention_mask=mask).logits
    for found in (right, left, masked):
        torch.testing.assert_close(found, wanted)


@torch.no_grad()
def test_inputs_are_left_alone(model: GromaForConditionalGeneration) -> None:
    ids = torch.tensor([prompt(model, *REFER, GROUND_BOX)])
    labels = ids.clone()
    refer, ground = [BOXES[:1]], [BOXES[1:2]]
    inputs = [ids, labels, refer[0], ground[0]]
    before = [tensor.clone() for tensor in inputs]
    model(ids, tiny_pixels(1), refer, ground, labels=labels)
    assert all(torch.equal(now, then) for now, then in zip(inputs, before, strict=True))


@torch.no_grad()
def test_user_boxes_beat_predictions(model: GromaForConditionalGeneration) -> None:
    ids = torch.tensor([prompt(model, *REFER)])
    regions = model(ids, tiny_pixels(1), [BOXES[:1]]).regions[0]
    assert regions.is_user.tolist() == [True] + [False] * (len(regions) - 1)
    torch.testing.assert_close(regions.boxes[:1], BOXES[:1])
    assert regions.scores[0] == 1


@torch.no_grad()
def test_refer_boxes_change_the_answer_only_after_them(
    model: GromaForConditionalGeneration,
) -> None:
    """`<refer_feat>` takes the token of its own box: swapping the boxes swaps the tokens."""
    ids = torch.tensor([prompt(model, *REFER, *REFER)])
    rows = rows_of(model, ids, refer=BOXES[:2])
    swapped = rows_of(model, ids, refer=BOXES[[1, 0]])
    first, second = rows[0].embeddings[-3], rows[0].embeddings[-1]
    torch.testing.assert_close(swapped[0].embeddings[-3], second)
    torch.testing.assert_close(swapped[0].embeddings[-1], first)
    assert not torch.allclose(first, second)


@torch.no_grad()
def test_ground_boxes_are_supervised_by_name(model: GromaForConditionalGeneration) -> None:
    ids = torch.tensor([prompt(model, 20, GROUND_BOX, 2)])
    labels = torch.full_like(ids, -100)
    labels[:, -2:] = ids[:, -2:]
    rows = rows_of(model, ids, labels, ground=BOXES[:1])
    regions = rows[0].regions
    label = rows[0].labels[-2]
    index = model.tokens.region_index(int(label))
    assert index is not None
    torch.testing.assert_close(regions.boxes[index], BOXES[0])
    assert (rows[0].labels[:-2] == -100).all()


def test_loss_is_the_mean_over_supervised_tokens(model: GromaForConditionalGeneration) -> None:
    ids = torch.tensor([prompt(model, 20, 9, 30, 2)])
    labels = torch.full_like(ids, -100)
    labels[:, -2:] = ids[:, -2:]
    output = model(ids, tiny_pixels(1), labels=labels)
    logits = output.logits[0, -3:-1].log_softmax(-1)
    wanted = -(logits[0, 30] + logits[1, 2]) / 2
    torch.testing.assert_close(output.loss, wanted)
    full = torch.cat([torch.full((1, output.logits.shape[1] - 2), -100), ids[:, -2:]], dim=1)
    torch.testing.assert_close(next_token_loss(output.logits, full, 2), wanted)


def test_gradients_reach_language_model_and_region_encoder_only() -> None:
    model = tiny_model().train()
    ids = torch.tensor([prompt(model, *REFER, 9, 30)])
    model(ids, tiny_pixels(1), [BOXES[:1]], labels=ids).loss.backward()
    trained = {
        name.split(".")[0] for name, value in model.named_parameters() if value.grad is not None
    }
    assert trained == {"language_model", "projector", "region_encoder"}


def detection_loss_of(model: GromaForConditionalGeneration, head: str) -> Tensor:
    truth, config = [BOXES, BOXES[:1]], model.config.proposer_config
    return detection_loss(model.detect(tiny_pixels(2)), truth, head, config)[0]


def test_detection_gradients_reach_the_proposer_only() -> None:
    model = tiny_model()
    detection_loss_of(model, "sa1b").backward()
    parts = {n.split(".")[0] for n, value in model.named_parameters() if value.grad is not None}
    assert parts == {"region_proposer"}
    model.image_encoder.frozen = False
    detection_loss_of(model, "coco").backward()
    parts = {n.split(".")[0] for n, value in model.named_parameters() if value.grad is not None}
    assert parts == {"region_proposer", "image_encoder"}


@torch.no_grad()
def test_shuffling_renames_the_same_regions(model: GromaForConditionalGeneration) -> None:
    ids = torch.tensor([prompt(model)])
    plain = model(ids, tiny_pixels(1)).regions[0]
    torch.manual_seed(3)
    mixed = model(ids, tiny_pixels(1), shuffle_regions=True).regions[0]
    assert not torch.equal(plain.boxes, mixed.boxes)
    order = mixed.scores.argsort(descending=True, stable=True)
    torch.testing.assert_close(mixed.boxes[order], plain.boxes)


def test_counts_that_disagree_are_named(model: GromaForConditionalGeneration) -> None:
    with pytest.raises(ValueError, match="2 <refer_box>"):
        model(torch.tensor([prompt(model, *REFER, *REFER)]), tiny_pixels(1), [BOXES[:1]])
    with pytest.raises(ValueError, match="1 <refer_feat>"):
        model(torch.tensor([prompt(model, REFER_FEATURE)]), tiny_pixels(1))
    with pytest.raises(ValueError, match="<image> at most once"):
        model(torch.tensor([prompt(model, IMAGE)]), tiny_pixels(1))


def test_save_and_load_round_trip(model: GromaForConditionalGeneration, tmp_path) -> None:
    model.save_pretrained(tmp_path)
    other = GromaForConditionalGeneration.from_pretrained(tmp_path).eval()
    ids = torch.tensor([prompt(model, 20)])
    with torch.no_grad():
        wanted, found = model(ids, tiny_pixels(1)), other(ids, tiny_pixels(1))
    assert torch.equal(wanted.logits, found.logits)


def test_weights_that_do_not_fit_are_named(tmp_path) -> None:
    model = tiny_model()
    model.save_pretrained(tmp_path)
    config = tiny_config()
    config.proposer_config.num_queries = 9
    config.proposer_config.decoder_layers = 1
    config.save_pretrained(tmp_path)
    with pytest.raises(
        GromaError, match=r"unexpected keys: .*decoder\.1.*mismatched keys: .*query_content"
    ):
        GromaForConditionalGeneration.from_pretrained(tmp_path)
    config = tiny_config()
    config.region_config.fuse_rounds = 2
    config.save_pretrained(tmp_path)
    with pytest.raises(GromaError, match=r"missing keys: .*rounds\.1\.conv"):
        GromaForConditionalGeneration.from_pretrained(tmp_path)


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
@torch.no_grad()
def test_every_number_of_levels_proposes(levels: int) -> None:
    changes = {"width": 32, "num_queries": 5, "num_levels": levels, "num_heads": 4}
    model = tiny_model(proposer_config=changes)
    output = model.detect(tiny_pixels(1))
    assert output.boxes_cxcywh.shape == (1, 6, 5, 4)
    assert ((output.boxes_cxcywh >= 0) & (output.boxes_cxcywh <= 1)).all()


def test_every_width_is_configurable_with_grouped_and_tied_text() -> None:
    model = tiny_model()
    head = model.get_output_embeddings().weight
    assert head is model.get_input_embeddings().weight
    assert model.config.text_config.num_key_value_heads == 2
