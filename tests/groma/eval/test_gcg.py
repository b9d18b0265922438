"""Grounded descriptions: each figure against the plainest way to compute it."""

import contextlib
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from transformers import BertConfig, BertModel, BertTokenizer

from groma.chat.conversation import GroundedReply
from groma.eval.benchmarks.gcg import (
    GroundedGeneration,
    TextEncoder,
    _count_pairs,
    _pair_up,
    _read_shapes,
    _to_run_lengths,
    read_folder,
)
from groma.eval.harness.asker import Protocol
from groma.image import load_image
from groma.masks.grabcut import GrabCut
from groma.named_regions import GroundedSpan, RegionRef
from groma.shapes import Mask
from groma.types import GromaError
from tests.groma.eval import benchmark_files as files

VARIANTS = ("glamm", "nothing", "shuffled", "missing", "mixed")


def alike(first, second):
    """Phrases are alike if they end in the same word."""
    return np.array([[float(a.split()[-1] == b.split()[-1]) for b in second] for a in first])


def open_benchmark(overlap="masks", similarity=alike):
    return GroundedGeneration(files.GCG_CAPTIONS, files.GCG_MASKS, overlap, similarity)


def answers_of(variant):
    """Five prediction files: GLaMM's format, nothing shown, phrases mixed up, pictures missing."""
    answers = read_folder(files.GCG_ANSWERS)
    if variant == "nothing":
        return {key: {"caption": "", "phrases": [], "masks": []} for key in answers}
    if variant == "shuffled":
        return {key: {**a, "phrases": a["phrases"][::-1]} for key, a in answers.items()}
    if variant == "missing":
        return dict(list(answers.items())[1::2])
    if variant == "mixed":
        doubled = {key: (a["masks"] * 2, a["phrases"] * 2) for key, a in answers.items()}
        return {
            key: {"caption": "x", "masks": masks[::-1], "phrases": phrases}
            for key, (masks, phrases) in doubled.items()
        }
    return answers


def shown(score):
    return {
        figure.key: value
        for measure in score.measures
        for figure, value in zip(measure.figures, measure.values(), strict=True)
    }


def reference(benchmark, answers):
    """AP50 by pycocotools; mIoU and recall on masks of pixels, pair by pair."""
    overlaps, hits, wanted = [], 0, 0
    for case in benchmark.cases:
        truth = [coco_mask.decode(a["segmentation"]) for a in case.truth]
        answer = answers.get(case.key, {"masks": [], "phrases": []})
        found = [coco_mask.decode(mask) for mask in answer["masks"]]
        table = np.array([[(a & b).sum() / (a | b).sum() for b in truth] for a in found])
        pairs, rest = [], table.reshape(len(found), len(truth)).copy()
        while rest.size and rest.max() > 0:
            i, j = divmod(int(rest.argmax()), len(truth))
            pairs.append(rest[i, j])
            rest[i], rest[:, j] = -1, -1
        overlaps.append(np.mean(pairs) if pairs else 0)
        rest = table.reshape(len(found), len(truth)).T.copy()
        wanted += len(case.phrases)
        while rest.size:
            j, i = np.unravel_index(rest.argmax(), rest.shape)
            same = alike([case.phrases[j]], [answer["phrases"][i]])[0, 0]
            if rest[j, i] < 0.5 or not same:
                break
            hits += 1
            rest[j], rest[:, i] = 0, 0
    return {
        "ap_50": reference_ap50(answers),
        "miou": np.mean(overlaps),
        "recall": hits / wanted,
    }


def reference_ap50(answers):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(files.GCG_MASKS))
        results = [
            {"image_id": key, "category_id": 1, "segmentation": mask, "score": 1.0}
            for key, answer in sorted(answers.items())
            for mask in answer["masks"]
        ]
        if not results:
            return 0.0
        evaluation = COCOeval(truth, truth.loadRes(results), "segm")
        evaluation.params.catIds = [1]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[1]


@pytest.mark.parametrize("variant", VARIANTS)
def test_figures_are_those_of_the_reference(variant, monkeypatch):
    monkeypatch.setattr("groma.eval.benchmarks.gcg.check_java", _no_java)
    benchmark, answers = open_benchmark(), answers_of(variant)
    score = benchmark.score(benchmark.cases, answers)
    expected = reference(benchmark, answers)
    assert shown(score) == pytest.approx(expected, abs=1e-9)
    assert "no Java here" in score.notes
    if variant == "glamm":
        assert 0 < expected["recall"] < 1
        assert 0 < expected["ap_50"] < 1


def _no_java():
    raise GromaError("no Java here")


def test_boxes_are_compared_where_there_are_no_masks(monkeypatch):
    monkeypatch.setattr("groma.eval.benchmarks.gcg.check_java", _no_java)
    benchmark = open_benchmark("boxes", None)
    answers = {}
    for case in benchmark.cases:
        boxes = [annotation["bbox"] for annotation in case.truth]
        answers[case.key] = {
            "caption": case.captions[0],
            "phrases": list(case.phrases),
            "boxes": [[x, y, x + w, y + h] for x, y, w, h in boxes],
        }
    score = benchmark.score(benchmark.cases, answers)
    assert shown(score) == pytest.approx({"ap_50": 1, "miou": 1})
    assert any("text encoder" in note for note in score.notes)
    masks = _read_shapes(read_folder(files.GCG_ANSWERS)[benchmark.cases[4].key], "x", "boxes")
    assert all(len(box) == 4 for box in masks)
    with pytest.raises(GromaError, match="has no masks; say --mask-maker"):
        open_benchmark().score(benchmark.cases, answers)


def test_pairs():
    overlaps = np.array([[0.9, 0.8], [0.85, 0.1], [0.0, 0.0]])
    assert _pair_up(overlaps) == pytest.approx((0.9 + 0.1) / 2)
    assert _pair_up(np.zeros((0, 3))) == 0
    assert _pair_up(np.zeros((2, 2))) == 0
    same = np.ones((2, 3))
    assert _count_pairs(overlaps.T, same) == 1
    # The best pair's phrases differ: the search ends, as in GLaMM's own evaluation.
    same[0, 0] = 0.4
    assert _count_pairs(np.array([[0.9, 0, 0], [0, 0.8, 0]]), same) == 0
    assert _count_pairs(np.array([[0.9, 0, 0], [0, 0.8, 0]]), np.ones((1, 3))) == 0


def test_masks_in_every_form():
    polygon = [[10, 10, 50, 10, 50, 40, 10, 40]]
    mask = _to_run_lengths(polygon, files.SIZE)
    assert coco_mask.area(mask) == 40 * 30
    counts = {"size": [4, 5], "counts": [3, 4, 13]}
    assert coco_mask.area(_to_run_lengths(counts, (0, 0))) == 4
    assert _to_run_lengths(mask, (0, 0)) is mask


def test_phrases_are_compared_by_a_text_encoder(tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "dog", "cat"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = BertModel(BertConfig(vocab_size=9, intermediate_size=16, **sizes)).eval()
    model.save_pretrained(tmp_path)
    first, second = ["a red dog", "cat"], ["cat", "dog", "a red dog"]
    found = TextEncoder(str(tmp_path))(first, second)
    tokenizer = BertTokenizer.from_pretrained(tmp_path)
    vectors = {}
    for text in {*first, *second}:
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state
        vectors[text] = states[0].mean(dim=0).double()
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            expected = torch.cosine_similarity(vectors[a], vectors[b], dim=0)
            assert found[i, j] == pytest.approx(float(expected), abs=1e-6)
    assert found[0, 2] == pytest.approx(1)
    with pytest.raises(GromaError, match="cannot be loaded"):
        TextEncoder(str(tmp_path / "nowhere"))(first, second)


def test_folders_that_hold_something_else_are_refused(tmp_path):
    with pytest.raises(GromaError, match="holds no answers"):
        read_folder(tmp_path)
    (tmp_path / "1.json").write_text(json.dumps({"1.jpg": {"caption": "x", "phrases": []}}))
    with pytest.raises(GromaError, match="'pred_masks' is missing"):
        read_folder(tmp_path)
    answer = {"caption": "x", "phrases": [], "pred_masks": []}
    (tmp_path / "1.json").write_text(json.dumps({"1.jpg": answer}))
    assert read_folder(tmp_path) == {"1": {"caption": "x", "phrases": [], "masks": []}}


def test_masks_in_true_boxes_are_measured(monkeypatch):
    """GrabCut's masks of the true boxes against the true masks, which are ellipses here."""
    monkeypatch.setattr("groma.eval.benchmarks.gcg.check_java", _no_java)
    benchmark, answers = open_benchmark(), {}
    for case in benchmark.cases:
        boxes = [(x, y, x + w, y + h) for x, y, w, h in (a["bbox"] for a in case.truth)]
        refs = [RegionRef(i, box, 1.0, 1.0) for i, box in enumerate(boxes)]
        spans = tuple(GroundedSpan(i, i + 1, (ref,)) for i, ref in enumerate(refs))
        reply = GroundedReply("x" * len(refs), spans, case.size)
        picture = load_image(files.IMAGES / case.picture)
        answers[case.key] = benchmark.answer(
            Answering(reply.with_masks(picture, GrabCut())), case, 0
        ) | {"phrases": list(case.phrases)}
    score = benchmark.score(benchmark.cases, answers)
    expected = reference(benchmark, answers)
    assert shown(score) == pytest.approx(expected, abs=1e-9)
    assert expected["recall"] > 0.7
    assert expected["ap_50"] > 0.7
    assert expected["miou"] > 0.7


class Answering:
    """Answers everything with one reply."""

    def __init__(self, reply):
        self.ask = lambda *_, **__: reply
        self.protocol = Protocol("words", 1, mask_maker="grabcut")


@pytest.mark.parametrize("size", [(40, 60), (10, 15), (80, 120), (33, 47)])
def test_masks_have_the_size_of_the_annotations(size):
    pixels = np.zeros((40, 60), bool)
    pixels[10:30, 15:45] = True
    ref = RegionRef(0, (15.0, 10.0, 45.0, 30.0), 1.0, 1.0, mask=Mask.of(pixels))
    reply = GroundedReply("it", (GroundedSpan(0, 2, (ref,)),), (40, 60))
    case = replace(open_benchmark().cases[0], size=size)
    (mask,) = open_benchmark().answer(Answering(reply), case, 0)["masks"]
    assert mask["size"] == list(size)
    assert coco_mask.area(mask) / (size[0] * size[1]) == pytest.approx(0.25, abs=0.04)
