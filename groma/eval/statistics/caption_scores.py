"""METEOR and CIDEr of captions, by pycocoevalcap, which runs Java programs.

Both are pycocoevalcap's own counts. METEOR of a corpus is not a mean over captions, so its formula
(Denkowski and Lavie 2014, English) is repeated here to say what it is on pictures drawn again.
"""

import shutil
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

import numpy as np

from groma.eval.statistics.intervals import Figure, Floats, Measure, divide, mean, sums
from groma.types import GromaError

_Captions = Mapping[str, Sequence[str]]  # key of a case -> captions

_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_STAGES = np.array([1.0, 0.6, 0.8, 0.6])
"""Weights of matches of the same word, stem, synonym and paraphrase."""
_CHUNKS = 20  # column of the number of runs of words that stand in the same order on both sides


def measure_captions(references: _Captions, captions: Mapping[str, str]) -> list[Measure]:
    """METEOR and CIDEr of one caption per case; raises `GromaError` if a tool is missing."""
    check_java()
    truth = tokenize(references)
    return _measure_words(truth, tokenize({key: [captions[key]] for key in references}))


def _measure_words(references: _Captions, captions: _Captions) -> list[Measure]:
    """METEOR and CIDEr of what `tokenize` returns; one caption per case."""
    meteor = Figure("meteor", "METEOR", len(references))
    cider = Figure("cider", "CIDEr", len(references))
    return [
        sums((meteor,), _meteor_counts(references, captions), _meteor_score),
        mean(cider, _cider_scores(references, captions)),
    ]


def check_java() -> None:
    """Make sure that captions can be scored here; raises `GromaError`, naming what is missing."""
    if find_spec("pycocoevalcap") is None:
        raise GromaError(
            "METEOR and CIDEr need the package pycocoevalcap: pip install pycocoevalcap. Answers "
            "that --save keeps can be scored later with --predictions."
        )
    if shutil.which("java") is None:
        raise GromaError(
            "METEOR and CIDEr need Java, and there is no program `java` here; install a Java "
            "runtime. Answers that --save keeps can be scored later with --predictions."
        )


def tokenize(captions: _Captions) -> dict[str, list[str]]:
    """Lower-case words without punctuation, as the Penn Treebank splits them."""
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    lines = {key: [{"caption": text} for text in texts] for key, texts in captions.items()}
    found = PTBTokenizer().tokenize(lines) if lines else {}
    # The tokenizer swallows empty captions at the very end.
    return {
        key: [*found.get(key, []), *[""] * len(texts)][: len(texts)]
        for key, texts in captions.items()
    }


def _meteor_counts(references: _Captions, captions: _Captions) -> Floats:
    """What METEOR counts in each tokenized caption, against the reference that fits it best.

    Returns (N, 23) lengths, matches and chunks in the order of METEOR 1.5.
    """
    from pycocoevalcap.meteor.meteor import Meteor

    meteor = Meteor()
    with meteor.lock:
        lines = [meteor._stat(captions[key][0], references[key]) for key in references]
    if not all(lines):
        raise GromaError("METEOR's Java program ended early; it needs 2 GB of memory.")
    counts = np.array([line.split() for line in lines], np.float64).reshape(-1, 23)
    # A caption that is its reference word for word is not fragmented at all.
    is_same = (counts[:, 21:23] == counts[:, 0:2]).all(axis=1) & (counts[:, _CHUNKS] == 1)
    counts[is_same, _CHUNKS] = 0
    return counts


def _meteor_score(counts: Floats) -> Floats:
    """METEOR, (..., 1) in [0, 1], of (..., 23) `_meteor_counts`, summed over captions."""
    # Test and reference stand in turn: lengths, of them function words, then four stages of
    # matched content words and matched function words.
    lengths, functions = counts[..., 0:2], counts[..., 2:4]
    stages = counts[..., 4:20].reshape(*counts.shape[:-1], 4, 2, 2)
    content, function = stages[..., 0, :], stages[..., 1, :]
    matched = np.einsum("s,...sk->...k", _STAGES, _DELTA * content + (1 - _DELTA) * function)
    parts = divide(matched, _DELTA * (lengths - functions) + (1 - _DELTA) * functions)
    precision, recall = np.nan_to_num(parts[..., 0]), np.nan_to_num(parts[..., 1])
    mean = divide(precision * recall, _ALPHA * precision + (1 - _ALPHA) * recall)
    fragments = divide(counts[..., _CHUNKS], counts[..., 21:23].mean(axis=-1))
    return np.nan_to_num(mean * (1 - _GAMMA * fragments**_BETA))[..., None]


def _cider_scores(references: _Captions, captions: _Captions) -> Floats:
    """(N,) CIDEr of each caption, not in percent; arguments as in `_meteor_counts`."""
    from pycocoevalcap.cider.cider import Cider

    if not references:
        return np.empty(0)
    _, scores = Cider().compute_score(
        {key: list(texts) for key, texts in references.items()},
        {key: list(texts) for key, texts in captions.items()},
    )
    return np.asarray(scores, np.float64)
