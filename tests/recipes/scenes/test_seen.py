"""Pictures that are looked at once show what looking again would."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from groma.image import normalise_pixels
from groma.model.groma import GromaForConditionalGeneration
from groma.model.training_forward import encode_pictures
from groma.train.stages import freeze_for
from groma.train.trainer import build_optimizer
from groma.types import IGNORED, Proposals
from recipes.scenes.objectives.scene_conversations import SceneInstruction
from recipes.scenes.objectives.scene_samples import to_planes
from recipes.scenes.objectives.seen_instruction import (
    SeenCollator,
    SeenConversations,
    SeenInstruction,
    SeenScenes,
    passing,
    sight_of,
)
from recipes.scenes.pictures.generator import SceneGenerator
from tests.groma.train import tiny_language
from tests.groma.train.conftest import SIDE, losses_of_steps
from tests.groma.train.shipped import READING

PICTURES = 6
WEIGHTS = {"language": 1.0}


@pytest.fixture(scope="module")
def model(small_config) -> GromaForConditionalGeneration:
    torch.manual_seed(0)
    return GromaForConditionalGeneration(small_config).eval()


@pytest.fixture(scope="module")
def seen(model, tmp_path_factory) -> SeenScenes:
    scenes = SceneGenerator("train", 0, SIDE, style="noto")
    kept = SeenScenes(scenes, tmp_path_factory.mktemp("seen"), PICTURES)
    kept.prepare(model)
    return kept


@pytest.fixture(scope="module")
def conversations(seen) -> SeenConversations:
    return SeenConversations(seen, tiny_language.template(), 100, limit=500)


@pytest.mark.parametrize("index", range(4))
def test_what_was_kept_is_what_is_seen(model, seen, conversations, index) -> None:
    sample = conversations[index]
    kept = sight_of(model, sample)
    pixels = to_planes(seen.scenes[seen.index(index)])
    features = model.image_features(normalise_pixels(pixels[None]))
    again = encode_pictures(model, features, [sample["refer_boxes"]], [sample["ground_boxes"]])[0]
    torch.testing.assert_close(kept.regions.boxes, again.regions.boxes)
    torch.testing.assert_close(kept.regions.scores, again.regions.scores)
    assert torch.equal(kept.regions.is_user, again.regions.is_user)
    torch.testing.assert_close(kept.regions.tokens, again.regions.tokens, atol=1e-2, rtol=1e-2)
    torch.testing.assert_close(kept.image_tokens, again.image_tokens, atol=1e-2, rtol=1e-2)


def test_what_was_kept_is_shown_alike_in_bf16(model, conversations) -> None:
    kept = sight_of(model, conversations[0])
    with torch.autocast("cpu", torch.bfloat16):
        shown = sight_of(model, conversations[0])
    assert torch.equal(shown.regions.tokens, kept.regions.tokens)
    assert torch.equal(shown.image_tokens, kept.image_tokens)


def test_each_pass_asks_something_else_about_the_same_picture(conversations) -> None:
    first, second = conversations[1], conversations[1 + PICTURES]
    assert torch.equal(first["tokens"], second["tokens"])
    assert first["ids"].tolist() != second["ids"].tolist()
    assert conversations[1]["ids"].tolist() == first["ids"].tolist()


def test_only_what_lacks_is_looked_at(model, seen: SeenScenes) -> None:
    file = next(seen.folder.glob("*.safetensors"))
    written = file.stat().st_mtime_ns
    seen.prepare(model)
    assert file.stat().st_mtime_ns == written


def test_what_another_model_saw_is_forgotten(model, small_config, tmp_path) -> None:
    seen = SeenScenes(SceneGenerator("train", 0, SIDE, style="noto"), tmp_path / "seen", 2)
    torch.manual_seed(1)
    seen.prepare(GromaForConditionalGeneration(small_config).eval())
    others = load_file(tmp_path / "seen" / "00000.safetensors")
    seen.prepare(model)
    own = load_file(tmp_path / "seen" / "00000.safetensors")
    assert not torch.equal(others["image_tokens"], own["image_tokens"])


def test_the_best_proposal_stays_even_below_the_threshold() -> None:
    proposals = Proposals(torch.rand(3, 4), torch.tensor([0.5, 0.2, 0.1]))
    assert len(passing(proposals, 0.15).boxes) == 2
    assert len(passing(proposals, 0.9).boxes) == 1


def test_steps_lower_the_loss_of_the_language_model_alone(model, conversations) -> None:
    stage = replace(READING, lr=3e-3)
    freeze_for(model, stage)
    objective = SeenInstruction(model, None, WEIGHTS).train()
    optimizer = build_optimizer(objective, stage)
    batch = SeenCollator(model.tokens)([conversations[i] for i in range(4)])
    totals = losses_of_steps(objective, optimizer, batch)
    assert totals[-1] < totals[0]
    learning = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert learning == {"language_model"}


def test_the_loss_is_that_of_pictures(model, seen, conversations) -> None:
    sample = conversations[2]
    batch = SeenCollator(model.tokens)([sample])
    pixels = to_planes(seen.scenes[seen.index(2)])
    whole = {name: batch[name] for name in ("input_ids", "labels")} | {
        "pixels": pixels[None],
        "refer_boxes": [sample["refer_boxes"]],
        "ground_boxes": [sample["ground_boxes"]],
    }
    kept = SeenInstruction(model, None, WEIGHTS).eval()
    plain = SceneInstruction(model, None, WEIGHTS).eval()
    kept.shuffle_regions = plain.shuffle_regions = False
    with torch.no_grad():
        ours, theirs = kept(**batch), plain(**whole)
    assert torch.equal(ours["labels"], theirs["labels"])
    assert (ours["labels"] != IGNORED).any()
    torch.testing.assert_close(ours["loss"], theirs["loss"], atol=1e-3, rtol=1e-3)
