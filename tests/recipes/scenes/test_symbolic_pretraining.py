from dataclasses import replace

import pytest
import torch

from groma.data.tokenise import answers
from groma.loop.curves import read_log
from groma.model.region_code import sinusoids
from groma.text.template import GREETING
from groma.tokens import IMAGE, PAD, REFER_FEATURE, REGION, TokenIds
from groma.train.configuration import Run
from groma.train.trainer import StageTrainer, build_optimizer, training_arguments
from groma.types import IGNORED
from recipes.scenes.objectives.language_metrics import (
    ALL_KINDS,
    columns_of,
    count_answers,
    groups_of,
    kind_indices,
)
from recipes.scenes.objectives.symbolic_pretraining import (
    ILLUSTRATED,
    SymbolicCollator,
    SymbolicConversations,
    SymbolicPretraining,
    SymbolicRegionEncoder,
    count,
)
from recipes.scenes.symbols import SymbolicScenes
from tests.groma.train import tiny_language
from tests.groma.train.shipped import SYMBOLIC
from tests.groma.train.test_trainer import QUIET, losses, stop_after


@pytest.fixture(scope="module")
def conversations() -> SymbolicConversations:
    return SymbolicConversations(
        ILLUSTRATED, SymbolicScenes(), tiny_language.template(), 64, limit=600
    )


@pytest.fixture(scope="module")
def batch(conversations) -> dict:
    return SymbolicCollator(tiny_language.tokens())([conversations[i] for i in range(8)])


def objective(seed: int = 0) -> SymbolicPretraining:
    model = tiny_language.language_model(seed)
    regions = SymbolicRegionEncoder(tiny_language.WIDTH)
    regions.speak(model.model.embed_tokens.weight, tiny_language.tokenizer())
    return SymbolicPretraining(model, regions, tiny_language.tokens())


def spelt(ids, tokens: TokenIds) -> str:
    return b"".join(
        tiny_language.template().plain.to_bytes(i) for i in ids if i < tokens.base
    ).decode()


def test_a_sample_lists_its_regions_and_points_at_the_right_ones(conversations) -> None:
    tokens = tiny_language.tokens()
    for index in range(20):
        sample = conversations[index]
        ids = sample["ids"].tolist()
        assert tokens[IMAGE] not in ids
        listed = [ids[i - 1] for i, token in enumerate(ids) if token == tokens[REGION]]
        assert len(listed) == len(sample["regions"]["boxes"]) == len(set(listed))
        assert listed == sorted(listed)
        referred = [ids[i - 2] for i, token in enumerate(ids) if token == tokens[REFER_FEATURE]]
        assert referred == [listed[row] for row in sample["referred"].tolist()]
        assert {i for i in ids if tokens.region_index(i) is not None} == set(listed)


def test_only_answers_are_supervised(conversations) -> None:
    tokens = tiny_language.tokens()
    sample = conversations[3]
    ids, labels = sample["ids"], sample["labels"]
    supervised = labels != IGNORED
    assert torch.equal(labels[supervised], ids[supervised])
    text = spelt(ids[supervised].tolist(), tokens)
    assert GREETING not in text
    assert "USER" not in text
    assert "ASSISTANT" not in text
    asked = spelt(ids[~supervised].tolist(), tokens)
    turns = int(answers(labels).max()) + 1
    assert asked.count("USER:") == asked.count("ASSISTANT:") == 1 + turns


def test_the_same_index_is_the_same_sample(conversations) -> None:
    first, second = conversations[5], conversations[5]
    regions = first.pop("regions"), second.pop("regions")
    assert all(torch.equal(first[part], second[part]) for part in first)
    assert all(torch.equal(regions[0][part], regions[1][part]) for part in regions[0])


def test_a_token_says_name_colour_size_and_place() -> None:
    encoder = SymbolicRegionEncoder(48)
    boxes = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.5, 0.2, 0.7, 0.4]])
    nothing = {
        part: torch.zeros(2, n) for part, n in (("names", 169), ("colours", 10), ("sizes", 3))
    }
    here, there = encoder(boxes, **nothing)
    assert not torch.allclose(here, there)
    assert torch.equal(encoder.place(boxes), torch.stack([here, there]))
    named = nothing["names"].clone()
    named[:, 7] = 1
    added = encoder(boxes, **(nothing | {"names": named})) - encoder(boxes, **nothing)
    torch.testing.assert_close(added, encoder.names.weight[:, 7].expand(2, -1))


def test_no_two_places_are_alike() -> None:
    corners = torch.rand(200, 2, 2, generator=torch.Generator().manual_seed(0))
    boxes = torch.cat([corners.amin(dim=1), corners.amax(dim=1)], dim=1)
    boxes = torch.cat([boxes, torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])])
    waves = sinusoids(boxes)
    torch.testing.assert_close(waves.norm(dim=1), torch.ones(202))
    apart = torch.cdist(waves, waves) / torch.cdist(boxes, boxes).clamp(min=1e-6)
    assert apart[~torch.eye(202, dtype=torch.bool)].min() > 0.1


def test_padding_changes_nothing(conversations) -> None:
    model = objective().eval()
    collate = SymbolicCollator(tiny_language.tokens())
    samples = [conversations[i] for i in (1, 2)]
    both = model(**collate(samples))["logits"]
    for row, sample in enumerate(samples):
        alone = model(**collate([sample]))["logits"][0]
        torch.testing.assert_close(both[row, : len(alone)], alone, atol=1e-4, rtol=1e-4)


def test_steps_lower_the_loss(batch) -> None:
    model = objective()
    optimizer = build_optimizer(model, replace(SYMBOLIC, lr=3e-3))
    before = model(**batch)["loss"]
    for _ in range(3):
        optimizer.zero_grad()
        model(**batch)["loss"].backward()
        optimizer.step()
    assert model(**batch)["loss"] < before


def test_exact_answers_are_counted_by_kind() -> None:
    tokens = TokenIds(20)
    labels = torch.tensor([[IGNORED, 3, 4, IGNORED, tokens.region(1), 5, IGNORED]])
    logits = torch.nn.functional.one_hot(labels.roll(-1, dims=1).clamp(min=0), 134).float()
    logits[0, 0] = 0  # the first answer's first token is wrong
    kinds = [kind_indices(["rec_name", "count", "exist"])]
    row = dict(
        zip(
            columns_of(ALL_KINDS),
            count_answers(logits, labels, kinds, tokens)[0].tolist(),
            strict=True,
        )
    )
    assert (row["tokens"], row["tokens_right"]) == (4, 3)
    assert (row["pointers"], row["pointers_right"]) == (1, 1)
    assert (row["asked_rec_name"], row["exact_rec_name"]) == (1, 0)
    assert (row["asked_rec"], row["exact_rec"]) == (1, 0)
    assert (row["asked_count"], row["exact_count"]) == (1, 1)
    assert row["asked_exist"] == 0, "the third question was cut off"
    assert len(set(groups_of(ALL_KINDS))) == len(groups_of(ALL_KINDS))


def test_a_resumed_run_equals_an_unbroken_one(conversations, tmp_path) -> None:
    stage = replace(SYMBOLIC, batch_size=2, steps=6, warmup_steps=2)

    def make(folder):
        return StageTrainer(
            stage,
            count,
            model=objective(),
            args=training_arguments(stage, folder, Run(), **(QUIET | {"eval_strategy": "no"})),
            train_dataset=conversations,
            data_collator=SymbolicCollator(tiny_language.tokens()),
        )

    make(tmp_path / "whole").train()
    first = make(tmp_path / "broken")
    stop_after(first, 5)
    first.train()
    make(tmp_path / "broken").train(
        resume_from_checkpoint=str(tmp_path / "broken" / "checkpoint-4")
    )
    assert losses(tmp_path / "broken") == losses(tmp_path / "whole")
    assert read_log(tmp_path / "whole")


def test_padding_token_is_none_of_the_words(batch) -> None:
    tokens = tiny_language.tokens()
    padding = batch["input_ids"] == tokens[PAD]
    assert (batch["labels"][padding] == IGNORED).all()
