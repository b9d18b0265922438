"""A whole model with a convolutional detector in front: one path through chat, as for any other."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from groma.chat.chat import Groma
from groma.config import ConvolutionalEncoderConfig, GromaConfig, RegionCodeConfig
from groma.model.coded_regions import FAINT, SURE, UNSURE, Findings, colour_weights
from groma.model.groma import GromaForConditionalGeneration
from groma.model.region_selection import SelectionPolicy, select_regions
from groma.ops.colours import NAMES
from groma.train.stages import Stage, freeze_for
from groma.types import GromaError
from tests.groma.train import tiny_language

NOUNS = ("person", "dog", "cat", "helmet")
SIDE = 128


def config(**changes) -> GromaConfig:
    settings = {
        "image_size": SIDE,
        "vision_config": ConvolutionalEncoderConfig(
            stem_width=4, width=8, num_classes=3, num_bins=5, view_size=64, num_candidates=60
        ),
        "region_config": RegionCodeConfig(nouns=NOUNS, colourless=("person",), num_features=4),
        "text_config": tiny_language.text_config(),
        "score_threshold": 0.05,
        "nms_threshold": 0.5,
        "region_order": "left_to_right",
        "tie_word_embeddings": True,
    }
    return GromaConfig(**(settings | changes))


@pytest.fixture(scope="module")
def model() -> GromaForConditionalGeneration:
    torch.manual_seed(0)
    return GromaForConditionalGeneration(config()).eval()


@pytest.fixture
def picture() -> Tensor:
    return torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3))


def test_an_encoded_picture_has_regions_and_no_image_tokens(model, picture):
    encoded = model.encode_image(picture, [(100, 200)] * 2)
    for image in encoded:
        assert image.image_tokens.shape == (0, tiny_language.WIDTH)
        assert (image.proposals.scores.diff() <= 0).all()
        assert image.proposals.boxes.min() >= 0
        assert image.proposals.boxes.max() <= 1
    alone = model.encode_image(picture[1:], [(100, 200)])[0]
    assert torch.allclose(alone.proposals.boxes, encoded[1].proposals.boxes, atol=1e-5)


def test_it_is_saved_and_loaded_as_it_was(model, picture, tmp_path):
    model.save_pretrained(tmp_path)
    again = GromaForConditionalGeneration.from_pretrained(tmp_path).eval()
    assert isinstance(again.config.vision_config, ConvolutionalEncoderConfig)
    assert again.config.vision_config.num_candidates == 60
    assert again.config.region_config.nouns == list(NOUNS)
    first, second = (m.encode_image(picture[:1], [(9, 9)])[0] for m in (model, again))
    boxes = first.proposals.boxes[:5]
    assert torch.equal(model.encode_regions(first, boxes), again.encode_regions(second, boxes))


def test_a_picture_is_talked_about(model):
    groma = Groma(model, tiny_language.tokenizer())
    picture = torch.randint(0, 255, (90, 120, 3), dtype=torch.uint8).numpy()
    chat = groma.chat(picture, max_new_tokens=6)
    first = chat.ask("What is here?")
    assert first.finish in ("stop", "length")
    chat.ask("What is [1]?", boxes=[(10, 10, 60, 60)])
    assert chat.conversation.turns[-1].boxes
    with pytest.raises(GromaError, match="empty"):
        chat.ask(" ")


def test_a_training_batch_has_a_loss(model, picture):
    template = tiny_language.template()
    ids, labels = (torch.tensor([row]) for row in template.training_example([(["Hi"], ["Yes"])]))
    output = model(ids, picture[:1], labels=labels)
    assert torch.isfinite(output.loss)
    centres = output.regions[0].boxes[:, [0, 2]].sum(dim=1)
    assert (centres.diff() >= 0).all()


def test_regions_are_listed_from_left_to_right():
    boxes = torch.tensor([[0.6, 0, 0.8, 0.2], [0.0, 0, 0.2, 0.2], [0.3, 0, 0.5, 0.2]])
    scores = torch.tensor([0.9, 0.5, 0.7])
    best_first = SelectionPolicy(0.5, 0.1, 2)
    assert select_regions(boxes, scores, best_first).tolist() == [0, 2]
    policy = replace(best_first, order="left_to_right")
    assert select_regions(boxes, scores, policy).tolist() == [2, 0]


def test_levels_say_at_most_one_unsure_region_of_a_name_and_none_beside_a_sure_one():
    probabilities = torch.eye(3)[[0, 0, 1, 1, 2]]
    certainty = torch.tensor([0.9, 0.3, 0.3, 0.25, 0.05])
    findings = Findings(torch.rand(5, 4), probabilities, certainty)
    levels = findings.levels(sure=0.5, unsure=0.2)
    assert levels.tolist() == [SURE, FAINT, UNSURE, FAINT, FAINT]


def said(model: GromaForConditionalGeneration, token: Tensor, part: str) -> list[float]:
    """How strongly a token says each word of a part, the code being nearly orthogonal."""
    words = model.region_encoder.code.get_submodule(part).get_parameter("weight")
    solved = torch.linalg.lstsq(_basis(model), token[:, None]).solution[:, 0]
    start = 0
    for name in model.region_encoder.code.parts:
        count = model.region_encoder.code.get_submodule(name).get_parameter("weight").shape[1]
        if name == part:
            return solved[start : start + words.shape[1]].tolist()
        start += count
    raise AssertionError(part)


def _basis(model: GromaForConditionalGeneration) -> Tensor:
    code = model.region_encoder.code
    return torch.cat(
        [code.get_submodule(part).get_parameter("weight") for part in code.parts], dim=1
    )


def findings_of(*rows: tuple[list[float], list[float]]) -> Tensor:
    return torch.tensor([[*box, *probabilities] for box, probabilities in rows])


def encode(model, found: Tensor, boxes: Tensor, pixels: Tensor | None = None) -> Tensor:
    """Region tokens without the part that tells the place."""
    encoder = model.region_encoder
    maps = [found[None], torch.randn(1, 8, 4, 4)]
    maps.append(torch.zeros(1, 3, SIDE, SIDE) if pixels is None else pixels[None])
    return encoder(maps, [boxes])[0] - encoder.code.place(boxes)


DOG, CAT = [0.1, 0.1, 0.5, 0.5], [0.6, 0.5, 0.9, 0.9]


def test_a_proposal_says_its_name_and_how_sure_it_is(model):
    found = findings_of((DOG, [0.0, 0.9, 0.1]), (CAT, [0.0, 0.1, 0.12]))
    tokens = encode(model, found, torch.tensor([DOG, CAT]))
    names = said(model, tokens[0], "names")
    assert names.index(max(names)) == NOUNS.index("dog")
    levels = [said(model, token, "certainties") for token in tokens]
    assert [level.index(max(level)) for level in levels] == [SURE, FAINT]


def test_what_may_be_two_things_says_both(model):
    found = findings_of((DOG, [0.0, 0.3, 0.25]))
    token = encode(model, found, torch.tensor([DOG]))[0]
    names = said(model, token, "names")
    assert sorted(range(4), key=lambda i: -names[i])[:2] == [1, 2]
    level = said(model, token, "certainties")
    assert level.index(max(level)) == UNSURE


def test_a_drawn_box_takes_the_name_of_what_it_covers_or_none(model):
    found = findings_of((DOG, [0.0, 0.9, 0.1]))
    boxes = torch.tensor([[0.12, 0.1, 0.5, 0.52], [0.6, 0.6, 0.9, 0.9]])
    near, far = encode(model, found, boxes)
    names = said(model, near, "names")
    assert names.index(max(names)) == 1
    assert max(said(model, far, "names"), key=abs) == pytest.approx(0, abs=1e-3)


def test_what_is_found_about_a_drawn_box_votes_for_its_name(model):
    wide, narrow = [0.1, 0.1, 0.5, 0.56], [0.1, 0.1, 0.5, 0.44]
    # The best overlap is with a cat; two dogs fit it nearly as well.
    cat = [0.1, 0.1, 0.5, 0.52]
    found = findings_of((cat, [0.0, 0.3, 0.35]), (wide, [0.0, 0.3, 0.0]), (narrow, [0.0, 0.3, 0.0]))
    (token,) = encode(model, found, torch.tensor([[0.1, 0.1, 0.5, 0.5]]))
    names = said(model, token, "names")
    assert names.index(max(names)) == NOUNS.index("dog")
    level = said(model, token, "certainties")
    assert level.index(max(level)) == SURE


def test_colour_is_told_of_things_that_have_one(model):
    red = torch.tensor([0.9, 0.1, 0.1])
    pixels = model.region_encoder.colourless.new_tensor([0.485, 0.456, 0.406], dtype=torch.float32)
    std = torch.tensor([0.229, 0.224, 0.225])
    picture = ((red - pixels) / std)[:, None, None].expand(3, SIDE, SIDE)
    found = findings_of((DOG, [0.0, 0.9, 0.0]), (CAT, [0.9, 0.0, 0.0]))
    dog, person = encode(model, found, torch.tensor([DOG, CAT]), picture)
    colours = said(model, dog, "colours")
    assert colours[0] == pytest.approx(1, abs=0.05)
    assert max(said(model, person, "colours"), key=abs) == pytest.approx(0, abs=1e-3)


def test_a_mask_tells_its_own_colour():
    left, right = torch.ones(1, 12, 12), torch.ones(1, 12, 12)
    left[..., 6:], right[..., :6] = 0, 0
    halves = torch.zeros(3, 64, 64)
    halves[0, :, :32], halves[2, :, 32:] = 5, 5
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    red, blue = (colour_weights(halves, whole, mask).argmax().item() for mask in (left, right))
    assert (NAMES[red], NAMES[blue]) == ("red", "blue")
    assert torch.equal(
        colour_weights(halves, whole, torch.ones(1, 12, 12)), colour_weights(halves, whole)
    )


def test_no_stage_trains_it(model):
    stage = Stage("instruction", ("language_model",), batch_size=1, steps=1, lr=1e-3)
    with pytest.raises(GromaError, match="groma train lora"):
        freeze_for(model, stage)
