"""Has a model answer a benchmark once: a seeded subset, shared by processes, kept, resumed."""

import logging
import os
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import Any, Self

from tqdm import tqdm

from groma.at_once import as_finished
from groma.chat.chat import Groma
from groma.data.file_names import find_picture
from groma.eval.harness.asker import Asker, Protocol
from groma.eval.harness.benchmark import Answers, Benchmark
from groma.run_journal import Fields, RunJournal
from groma.types import GromaError

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunSettings:
    """Everything that answers depend on; the header of their file."""

    benchmark: str  # its name
    annotations: str  # what results call the questions, `Benchmark.label`
    fingerprint: str  # of their files and split
    limit: int | None  # how many cases are asked; None is all
    seed: int  # picks them
    model: str  # folder or Hugging Face id
    quantization: str | None  # how it was loaded
    dtype: str  # as it was asked for
    # How answers were made; None where it is not known, as of another model's.
    protocol: Protocol | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the inverse of `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], path: Path) -> Self:
        """The inverse of `to_dict`; raises `GromaError`, naming the file, where there is none."""
        try:
            fields: dict[str, Any] = {**data, "protocol": Protocol(**data["protocol"])}
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise GromaError(f"{path} holds no answers to a public benchmark.") from error

    def check_belongs(self, benchmark: Benchmark, path: Path) -> None:
        """Raise `GromaError`, naming the file of the answers, if they are to other questions."""
        found = f"{path} holds answers to"
        if self.benchmark != benchmark.name:
            raise GromaError(f"{found} {self.benchmark}, not to {benchmark.name}.")
        if self.fingerprint == benchmark.fingerprint:
            return
        if self.annotations != benchmark.label:
            raise GromaError(f"{found} {self.annotations}, not to {benchmark.label}.")
        source = benchmark.sources[0]
        raise GromaError(f"{found} {self.annotations}, which was another file than {source} is.")

    @property
    def about(self) -> tuple[str, str, int | None, int]:
        """What was asked, whoever answered."""
        return self.benchmark, self.fingerprint, self.limit, self.seed


@dataclass(frozen=True)
class Shard:
    """One process's share of the cases."""

    rank: int = 0  # number of the process, from 0
    of: int = 1  # how many there are

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.of:
            raise GromaError(f"There is no shard {self.rank}/{self.of}; count from 0/{self.of}.")

    @classmethod
    def read(cls, text: str | None) -> Self:
        """Of "i/n"; where there is none, as torchrun or accelerate says, or all."""
        if text is None:
            return cls(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))
        rank, slash, of = text.partition("/")
        if not (slash and rank.isdecimal() and of.isdecimal()):
            raise GromaError(f"--shard is i/n such as 0/8, not {text!r}.")
        return cls(int(rank), int(of))

    def take(self, indices: Sequence[int]) -> Sequence[int]:
        """A stretch of the indices, because neighbours are about the same picture."""
        start, stop = (len(indices) * part // self.of for part in (self.rank, self.rank + 1))
        return indices[start:stop]

    def path(self, path: Path) -> Path:
        """Where this process keeps its answers."""
        if self.of == 1:
            return path
        return path.with_name(f"{path.stem}.{self.rank}-of-{self.of}{path.suffix}")


def choose(number: int, limit: int | None, seed: int) -> list[int]:
    """Indices, in order, of the cases that are asked; None is all, and `seed` picks fewer.

    Raises `GromaError` if there is nothing to ask.
    """
    if not number or (limit is not None and limit < 1):
        raise GromaError("There is no case to ask about.")
    if limit is None or limit >= number:
        return list(range(number))
    return sorted(random.Random(seed).sample(range(number), limit))


def predict(
    benchmark: Benchmark,
    settings: RunSettings,
    images: Path,
    load: Callable[[], Groma],
    path: Path | None,
    shard: Shard,
    at_once: int = 1,
) -> Answers:
    """Have a model answer, about so many pictures at once.

    A case whose picture is missing or damaged is left out, with a warning at the end; it is asked
    again when the run is resumed. What stands in `path` already is not asked for again, and `load`
    not called if that is everything. Raises `GromaError` if a setting makes no sense or the file
    holds answers of another run.
    """
    indices = shard.take(choose(len(benchmark.cases), settings.limit, settings.seed))
    file = RunJournal.resume(path, settings.to_dict()) if path else None
    answers = dict(map(_read_case, file.entries)) if file else {}
    cases = benchmark.cases
    missing = [index for index in indices if cases[index].key not in answers]
    if not missing:
        return answers
    assert settings.protocol is not None
    groma, protocol, lock = load(), settings.protocol, Lock()
    failed: Counter[str] = Counter()

    def answer(about_one: Sequence[int]) -> None:
        """Answer questions about one picture; each answer is kept as soon as it is there."""
        asker = Asker(groma, protocol)
        try:
            asker.look(str(find_picture(images, cases[about_one[0]].picture)))
        except GromaError as error:
            failed.update([str(error)] * len(about_one))
            return
        for index in about_one:
            case, given = cases[index], benchmark.answer(asker, cases[index], index)
            with lock:
                bar.update()
                answers[case.key] = given
                if file:
                    file.append({"key": case.key, "answer": given})

    groups = [list(group) for _, group in groupby(missing, lambda index: cases[index].picture)]
    done = len(indices) - len(missing)
    with tqdm(desc=settings.benchmark, total=len(indices), initial=done) as bar:
        list(as_finished(answer, groups, at_once))
    for reason, count in failed.most_common():
        _logger.warning("%d of %d cases have no answer: %s", count, len(indices), reason)
    return answers


def _read_case(case: Fields) -> tuple[str, Fields]:
    """Key and answer of one line."""
    key, answer = case.get("key"), case.get("answer")
    if not isinstance(key, str) or not isinstance(answer, dict):
        raise GromaError("A line of the answers has no `key` or no `answer`.")
    return key, answer


def read_predictions(paths: Sequence[Path]) -> tuple[RunSettings, Answers]:
    """Read answers, perhaps of several processes; what stands in several files counts once.

    Raises `GromaError` if files are of different runs, or contradict each other.
    """
    files = [RunJournal.read(path) for path in paths]
    if any(file.settings != files[0].settings for file in files):
        raise GromaError("These files hold answers of different runs; score them one by one.")
    answers: dict[str, Fields] = {}
    for file in files:
        for key, answer in map(_read_case, file.entries):
            if answers.setdefault(key, answer) != answer:
                raise GromaError(f"Case {key} was answered twice, and not alike; leave one out.")
    return RunSettings.from_dict(files[0].settings, paths[0]), answers
