import logging
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from groma.data.batches import ExampleCollator, collate_detection
from groma.data.dataset import ConversationEncoder, Examples, Source, find_picture, make_dice
from groma.data.mixture import Mixture
from groma.data.sources.items import BrokenItem, DetectionSample, Samples
from groma.tokens import GROUND_BOX, REFER_BOX
from groma.train.objectives.class_agnostic_detection import ClassAgnosticDetection
from groma.train.objectives.grounded_conversations import GroundedConversations
from groma.types import IGNORED, GromaError
from tests.groma.data.test_parsers import REASONS
from tests.groma.model.tiny import tiny_model
from tests.groma.train import tiny_language

SIDE = 112
DETECTION = ("coco", "objects365", "v3det", "openimages", "sa1b")


def talks(mixture: Mixture, batch_size: int = 2, **options) -> Examples:
    return mixture.conversations(tiny_language.template(), SIDE, batch_size, **options)


def only(mixture: Mixture, name: str) -> Mixture:
    return replace(mixture, sources=tuple(s for s in mixture.sources if s.name == name))


@pytest.fixture(scope="module")
def model():
    return tiny_model(text_config=tiny_language.text_config())


@pytest.mark.parametrize("name", REASONS)
def test_every_source_can_be_trained_on(
    model, detection: Mixture, conversations: Mixture, name: str
) -> None:
    if name in DETECTION:
        learns_in_two_steps(model, only(detection, name).detection(SIDE, 1, passes=2), True)
    else:
        learns_in_two_steps(model, talks(only(conversations, name), 1, passes=2))


def learns_in_two_steps(model, examples: Examples, finds: bool = False) -> None:
    collate = collate_detection if finds else ExampleCollator(tiny_language.tokens())
    objective = GroundedConversations(model, {"language": 1.0})
    if finds:
        objective = ClassAgnosticDetection(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    losses = []
    for step in range(2):
        torch.manual_seed(0)
        batch = collate([examples[step]])
        optimizer.zero_grad()
        loss = objective.train()(**batch)["loss"]
        loss.backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert sum(float(g.abs().sum()) for g in gradients) > 0
        optimizer.step()
        losses.append(float(loss.detach()))
    assert all(0 < loss < 1e3 for loss in losses)


def test_every_placeholder_has_its_box(conversations: Mixture) -> None:
    tokens = tiny_language.tokens()
    examples = talks(conversations)
    pointed = grounded = 0
    for example in (examples[i] for i in range(len(examples))):
        assert example["pixels"].shape == (3, SIDE, SIDE)
        assert example["pixels"].dtype == torch.uint8
        assert (example["ids"] == tokens[REFER_BOX]).sum() == len(example["refer_boxes"])
        assert (example["ids"] == tokens[GROUND_BOX]).sum() == len(example["ground_boxes"])
        learnt = example["labels"] != IGNORED
        assert learnt.any()
        assert torch.equal(example["labels"][learnt], example["ids"][learnt])
        pointed += len(example["refer_boxes"])
        grounded += len(example["ground_boxes"])
    assert min(pointed, grounded) > 10
    batch = ExampleCollator(tokens)([examples[i] for i in range(4)])
    assert batch["input_ids"].shape == batch["labels"].shape
    for i in range(4):
        length = len(examples[i]["ids"])
        assert torch.equal(batch["input_ids"][i, :length], examples[i]["ids"])
        assert (batch["labels"][i, length:] == IGNORED).all()


def test_a_batch_comes_from_one_source(detection: Mixture) -> None:
    examples = detection.detection(SIDE, 2, ranks=2)
    loader = DataLoader(examples, batch_size=2, collate_fn=collate_detection)
    heads = [batch["head"] for batch in loader]
    assert heads[::2] == heads[1::2]
    assert set(heads) == {"coco", "sa1b"}
    mixed = [{"pixels": torch.zeros(3, 1, 1), "boxes": [], "head": h} for h in ("coco", "sa1b")]
    with pytest.raises(ValueError, match="one objectness head"):
        collate_detection(mixed)


def test_an_example_depends_on_its_position_alone(conversations: Mixture) -> None:
    examples = talks(conversations)
    sent = pickle.loads(pickle.dumps(examples))
    for position in (len(examples) - 1, 0, 7):
        for part, value in examples[position].items():
            assert torch.equal(value, sent[position][part]), part
    others = talks(replace(conversations, seed=1))
    assert any(not torch.equal(others[i]["ids"], examples[i]["ids"]) for i in range(4))


def test_broken_items_are_replaced_counted_and_logged(
    conversations: Mixture, caplog: pytest.LogCaptureFixture
) -> None:
    examples = talks(only(conversations, "llava"), passes=10)
    with caplog.at_level(logging.WARNING):
        for i in range(len(examples)):
            assert examples[i]["ids"].ndim == 1
    assert {name for name, _ in examples.broken} == {"llava"}
    counted = {reason: count for (_, reason), count in examples.broken.items()}
    assert set(counted) == set(REASONS["llava"])
    assert all(count >= 10 for count in counted.values())
    assert len(caplog.records) == sum(len(str(count)) for count in counted.values())


def test_only_broken_items_stop_the_training(
    conversations: Mixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groma.data.dataset._MOST_BROKEN", 30)
    vg = only(conversations, "vg-single")
    lost = replace(vg, sources=(replace(vg.sources[0], images=tmp_path),))
    with pytest.raises(GromaError, match=r"vg-single: 30 items.*picture that is missing \("):
        talks(lost)[0]


def test_an_answer_that_does_not_fit_is_left_out(conversations: Mixture) -> None:
    source = only(conversations, "llava").opened[0]
    sample, image = source.load(0, make_dice(0))
    encode = ConversationEncoder(tiny_language.template(), SIDE, 50, conversations.augmentation)
    with pytest.raises(BrokenItem, match="too long"):
        encode(sample, image, make_dice(0))


def test_a_picture_is_found_however_it_was_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "train2017" / "1.jpg"
    path.parent.mkdir()
    path.touch()
    for name in ("train2017/1.jpg", "coco/train2017/1.jpg", "a\\coco\\train2017\\1.jpg"):
        assert find_picture(tmp_path, name) == path
    assert find_picture(path.parent, "/data/coco/train2017/1.jpg") == path
    for name in ("2.jpg", "train2017", "../train2017/1.jpg", "", "/"):
        with pytest.raises(BrokenItem):
            find_picture(tmp_path / "train2017", name)


def test_a_picture_of_another_shape_or_without_pixels_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (40, 20)).save(tmp_path / "x.png")
    (tmp_path / "y.png").write_bytes(b"no picture")

    def load(name: str, size: tuple[int, int]):
        sample = DetectionSample(name, size, ((0.0, 0.0, 1.0, 1.0),), (), "coco")
        samples = Samples([sample], lambda item, _: item, "detection")
        return Source("test", samples, tmp_path).load(0, make_dice(0))

    assert load("x.png", (200, 400))[0].size == (20, 40)
    with pytest.raises(BrokenItem, match="another shape"):
        load("x.png", (40, 20))
    with pytest.raises(BrokenItem, match="cannot be read"):
        load("y.png", (20, 40))
