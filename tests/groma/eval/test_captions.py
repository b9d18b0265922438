"""METEOR and CIDEr are those of pycocoevalcap; this needs Java."""

import random
import shutil

import numpy as np
import pytest

from groma.eval.statistics import caption_scores as captions
from groma.eval.statistics.caption_scores import (
    _measure_words,
    _meteor_counts,
    _meteor_score,
    check_java,
    measure_captions,
    tokenize,
)
from groma.types import GromaError

HAS_JAVA = shutil.which("java") is not None
KINDS = ("any", "exact", "empty")
NEEDS_JAVA = pytest.mark.skipif(not HAS_JAVA, reason="no Java")
WORDS = (
    *("a", "the", "red", "small", "dogs", "dog", "running", "runs", "on", "of", "grass", "meadow"),
    *("beside", "with", "cat", "sitting", "man", "holding", "umbrella", "big", "large", "house"),
)


@pytest.fixture(scope="module")
def meteor():
    """One Java program for all tests: it takes seconds to start."""
    module = pytest.importorskip("pycocoevalcap.meteor.meteor")
    made = module.Meteor()
    patch = pytest.MonkeyPatch()
    patch.setattr(module, "Meteor", lambda: made)
    yield made
    patch.undo()


def sentence(dice):
    return " ".join(dice.choices(WORDS, k=dice.randint(1, 9)))


def corpus(kind, number=25):
    """References and captions: any, some empty, some the reference itself, all empty."""
    dice = random.Random(kind)
    references = {
        str(i): [sentence(dice).capitalize() + "." for _ in range(dice.randint(1, 3))]
        for i in range(number)
    }
    said = {}
    for key, texts in references.items():
        said[key] = "" if kind == "empty" or dice.random() < 0.1 else sentence(dice)
        if kind == "exact" and dice.random() < 0.5:
            said[key] = dice.choice(texts)
    return references, said


@pytest.fixture(scope="module")
def words():
    """Every corpus tokenized, in one run of the Java program."""
    pytest.importorskip("pycocoevalcap")
    lines = {}
    for kind in KINDS:
        for side, texts in zip(("truth", "said"), corpus(kind), strict=True):
            for key, text in texts.items():
                lines[kind, side, key] = [text] if side == "said" else text
    found = tokenize(lines)
    return {
        kind: tuple(
            {key: found[k, s, key] for k, s, key in found if (k, s) == (kind, side)}
            for side in ("truth", "said")
        )
        for kind in KINDS
    }


@NEEDS_JAVA
@pytest.mark.parametrize("kind", KINDS)
def test_figures_are_those_of_pycocoevalcap(kind, meteor, words):
    from pycocoevalcap.cider.cider import Cider

    truth, said = words[kind]
    found = {measure.figures[0].key: measure for measure in _measure_words(truth, said)}
    single = np.eye(len(truth))
    for key, scorer in (("meteor", meteor), ("cider", Cider())):
        overall, each = scorer.compute_score(truth, said)
        assert found[key].values()[0] == pytest.approx(overall, abs=1e-9)
        assert found[key].at(single)[:, 0] == pytest.approx(list(each), abs=1e-9)
        if kind == "exact":
            assert overall > 0.1


@NEEDS_JAVA
def test_meteor_of_drawn_captions_is_meteor_of_that_corpus(meteor, words):
    truth, said = words["exact"]
    counts = _meteor_counts(truth, said)
    assert (counts[:, 20] == 0).any()
    weights = np.random.default_rng(0).integers(0, 3, len(counts)).astype(float)
    drawn = [key for key, n in zip(truth, weights.astype(int), strict=True) for _ in range(n)]
    copies = [{f"{key}-{i}": each[key] for i, key in enumerate(drawn)} for each in (truth, said)]
    expected, _ = meteor.compute_score(*copies)
    assert _meteor_score(weights @ counts)[0] == pytest.approx(expected, abs=1e-9)


@NEEDS_JAVA
def test_words_are_those_of_pycocoevalcap(words):
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    references, _ = corpus("any")
    lines = {key: [{"caption": text} for text in texts] for key, texts in references.items()}
    assert words["any"][0] == PTBTokenizer().tokenize(lines)


@NEEDS_JAVA
def test_empty_captions_at_the_end_are_kept():
    pytest.importorskip("pycocoevalcap")
    found = tokenize({"a": ["A dog, here."], "b": [""], "c": ["", ""]})
    assert found == {"a": ["a dog here"], "b": [""], "c": ["", ""]}


def test_captions_without_java_cost_one_sentence(monkeypatch):
    monkeypatch.setattr(captions, "find_spec", lambda _: object())
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(GromaError, match="need Java"):
        check_java()
    monkeypatch.setattr(captions, "find_spec", lambda _: None)
    with pytest.raises(GromaError, match="pip install pycocoevalcap"):
        measure_captions({"a": ["x"]}, {"a": "x"})
