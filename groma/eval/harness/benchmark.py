"""What a public benchmark is: cases, how each is put to a model, and figures of the answers."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from groma.eval.harness.asker import Asker, Protocol, Wording
from groma.eval.statistics.intervals import Measure
from groma.run_journal import Fields
from groma.types import Box, GromaError, Size, to_box

Answers = Mapping[str, Fields]  # key of a case -> what the model answered, JSON-ready


@dataclass(frozen=True)
class Case:
    """One thing to ask a model; subclasses add the truth."""

    key: str  # unique within its benchmark
    picture: str  # file name, below the folder of pictures


@dataclass
class Score:
    """Figures of some answers."""

    measures: list[Measure]  # the figures, in the order of the table
    notes: list[str] = field(default_factory=list)  # sentences a reader of the table should know


_AnyCase = TypeVar("_AnyCase", bound=Case)


class Benchmark(ABC, Generic[_AnyCase]):
    """One benchmark with its annotations read.

    `sources` are the files that say what is asked, `cases` everything there is to ask, in their
    order, `unusable` how much in them cannot be used, by reason, and `split` the part of the files
    that is asked about; None is all.
    """

    name: ClassVar[str]  # what the command line calls it
    unit: ClassVar[str] = "cases"  # what its files hold, in the plural
    without_answer: ClassVar[str | None] = "have no answer"
    """What to tell about cases without an answer; None where figures tell it."""

    def __init__(
        self,
        sources: Sequence[Path],
        cases: Sequence[_AnyCase],
        unusable: Mapping[str, int] | None = None,
        split: str | None = None,
    ) -> None:
        self.sources = tuple(sources)
        self.cases = tuple(cases)
        self._unusable = dict(unusable or {})
        self._split = split

    max_new_tokens: ClassVar[int]  # most tokens of an answer

    @classmethod
    def protocol(cls, wording: Wording) -> Protocol:
        """How its answers are made, where nobody says otherwise."""
        return Protocol(wording, cls.max_new_tokens)

    @abstractmethod
    def answer(self, asker: Asker, case: _AnyCase, number: int) -> Fields:
        """Put a case to a model that looks at its picture; JSON-ready, for `measure`."""

    def complete(
        self,
        cases: Sequence[_AnyCase],  # noqa: ARG002
        answers: Answers,
        header: Fields,  # noqa: ARG002
        path: Path | None,  # noqa: ARG002
    ) -> Answers:
        """Add to answers what scoring needs from elsewhere; most benchmarks need nothing.

        `header` says how answers were made, `path` where they are kept. Raises `GromaError` if it
        cannot be had.
        """
        return answers

    @abstractmethod
    def measure(self, cases: Sequence[_AnyCase], answers: Answers) -> Score:
        """Compute figures; arguments and errors as in `score`."""

    def score(self, cases: Sequence[_AnyCase], answers: Answers) -> Score:
        """Measure answers, and tell what could not be asked and what was not answered.

        Where there is no answer, nothing was found. Raises `GromaError` if an answer is not one of
        this benchmark, or a tool is missing.
        """
        score = self.measure(cases, answers)
        if self._unusable:
            number = sum(self._unusable.values())
            why = "; ".join(f"{reason} ({n:,})" for reason, n in self._unusable.items())
            total = number + self.num_usable
            score.notes.append(
                f"{number:,} of the {total:,} {self.unit} in the file cannot be used: {why}."
            )
        missing = sum(case.key not in answers for case in cases)
        if missing and self.without_answer:
            score.notes.append(f"{missing:,} of {len(cases):,} cases {self.without_answer}.")
        return score

    def check_tools(self) -> None:
        """Refuse, before a model answers, what could not be scored here for lack of a tool."""

    @property
    def num_usable(self) -> int:
        """How many of what its files hold can be used."""
        return len(self.cases)

    @property
    def label(self) -> str:
        """What results call the questions: the first file, and the split where there is one.

        The folder of a split is named too, because refs of RefCOCO and RefCOCO+ are called alike.
        """
        path = self.sources[0]
        if self._split is None:
            return path.name
        return f"{path.resolve().parent.name} {self._split} of {path.name}"

    @property
    def fingerprint(self) -> str:
        """Tells whether answers belong to these files, and to this split of them."""
        digest = hashlib.sha256() if self._split is None else hashlib.sha256(self._split.encode())
        for path in self.sources:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()[:16]


def number_of(values: Sequence[Any]) -> dict[Any, int]:
    """Numbers for different values, in the order of their first occurrence."""
    return {value: number for number, value in enumerate(dict.fromkeys(values))}


def rescale(boxes: Iterable[Sequence[float]], size: Size, target: Size) -> list[list[float]]:
    """Boxes xyxy in pixels of a size (H, W) as they are at another, to a hundredth of a pixel."""
    down, across = target[0] / size[0], target[1] / size[1]
    return [
        [round(x1 * across, 2), round(y1 * down, 2), round(x2 * across, 2), round(y2 * down, 2)]
        for x1, y1, x2, y2 in boxes
    ]


def read_boxes(answer: Fields, key: str) -> list[Box]:
    """The `boxes` of an answer, xyxy; raises `GromaError`, naming the case, if they are none."""
    try:
        return [to_box(box) for box in answer["boxes"]]
    except (KeyError, TypeError, ValueError) as error:
        raise GromaError(f"The answer to case {key} has no `boxes` xyxy.") from error


def read_text(answer: Fields, field: str, key: str) -> str:
    """A text of an answer; raises `GromaError`, naming the case, if there is none."""
    text = answer.get(field)
    if not isinstance(text, str):
        raise GromaError(f"The answer to case {key} has no text `{field}`.")
    return text


def read_scores(answer: Fields, number: int, key: str) -> list[float]:
    """The `scores` of an answer, one per box; raises `GromaError`, naming the case, if not."""
    try:
        scores = [float(score) for score in answer["scores"]]
    except (KeyError, TypeError, ValueError) as error:
        raise GromaError(f"The answer to case {key} has no `scores`.") from error
    if len(scores) != number:
        raise GromaError(f"The answer to case {key} has {number} boxes, but {len(scores)} scores.")
    return scores
