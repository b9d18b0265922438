import torch
from transformers import EvalPrediction

from groma.types import IGNORED
from recipes.scenes.objectives.detection_metrics import (
    COUNTS,
    count,
    count_boxes,
    count_right,
    summarise,
)
from recipes.scenes.objectives.detection_pretraining import DetectionPretraining
from recipes.scenes.objectives.scene_samples import KINDS, collate


def test_boxes_are_counted_by_kind():
    truth = torch.tensor([[0.0, 0.0, 0.4, 0.4], [0.5, 0.5, 0.9, 0.9], [0.0, 0.6, 1.0, 1.0]])
    kinds = torch.tensor([KINDS.index(kind) for kind in ("small", "large", "stuff")])
    found = torch.tensor([[0.0, 0.0, 0.4, 0.41], [0.5, 0.5, 0.9, 0.77]])
    row = {k: int(v) for k, v in count_boxes(found, torch.tensor([1]), truth, kinds).items()}
    assert (row["things"], row["things_50"], row["things_75"]) == (2, 2, 1)
    assert (row["small_75"], row["large_75"], row["stuff"], row["stuff_50"]) == (1, 0, 1, 0)
    assert (row["selected"], row["selected_50"]) == (1, 1)


def test_labels_that_are_not_given_do_not_count():
    row = count_right("names", torch.tensor([4, 5, 6]), torch.tensor([4, 0, IGNORED]))
    assert (int(row["names"]), int(row["names_right"])) == (2, 1)


def test_metrics_are_ratios_of_sums():
    counts = torch.zeros(2, len(COUNTS))
    counts[:, COUNTS.index("things")] = torch.tensor([3.0, 1.0])
    counts[:, COUNTS.index("things_50")] = torch.tensor([2.0, 1.0])
    metrics = summarise(EvalPrediction(counts.numpy(), counts.numpy()))
    assert metrics["recall50"] == 0.75
    assert metrics["names"] == 0


def test_a_batch_gives_one_row_per_picture(tiny_model, words, scenes):
    objective = DetectionPretraining(tiny_model, words, {}).eval()
    rows = count(objective, collate([scenes[0], scenes[1]]))
    assert rows.shape == (2, len(COUNTS))
    things = [len(scenes.generator[i].things) for i in (0, 1)]
    assert rows[:, COUNTS.index("things")].tolist() == things
