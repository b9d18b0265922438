"""The folder of a run: what became of every picture, and the files made of it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

from groma.atomic_file import write_json
from groma.data.found_things import FoundIn, FoundThing, to_coco
from groma.run_journal import Fields, RunJournal
from groma.types import GromaError, to_size

_JOURNAL = "journal.jsonl"
_REVIEW = "review.jsonl"


@dataclass(frozen=True)
class Outcome:
    """What became of one picture."""

    key: str  # what its source calls it
    # Accepted; rejected for good; or failed, because its writer gave no answer.
    status: Literal["accepted", "rejected", "failed"]
    reasons: tuple[str, ...] = ()  # one sentence each, where it is not accepted
    item: Fields | None = None  # in Groma-Instruct JSON, where it is
    # Its `size`, `caption` and `boxes`, where a model of ours told them.
    annotation: Fields | None = None


class MadeFolder:
    """What becomes of a picture is on disk at once.

    Attributes:
        settings: how the run was started.
        outcomes: what became of the pictures, by key.
        items_file: the accepted conversations in Groma-Instruct JSON.
        refused_file: the other pictures, with reasons.
    """

    def __init__(self, path: Path, journal: RunJournal) -> None:
        self._path, self._journal = path, journal
        self.settings = journal.settings
        try:
            outcomes = [Outcome(**entry) for entry in journal.entries]
        except TypeError as error:
            raise GromaError(f"{path / _JOURNAL} is damaged: {error}.") from error
        self.outcomes = {outcome.key: outcome for outcome in outcomes}
        self.items_file, self.refused_file = path / "groma_instruct.json", path / "refused.json"

    @classmethod
    def begin(cls, path: Path, settings: Fields) -> Self:
        """Begin a run, or go on with it; raises `GromaError` if the folder's has other settings."""
        path.mkdir(parents=True, exist_ok=True)
        return cls(path, RunJournal.resume(path / _JOURNAL, settings))

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read what a run has made so far; raises `GromaError` if there is none."""
        if not (path / _JOURNAL).exists():
            raise GromaError(f"{path} holds nothing that `groma instruct` made.")
        return cls(path, RunJournal.read(path / _JOURNAL))

    def add(self, outcome: Outcome) -> None:
        """Keep what became of a picture."""
        self._journal.append(asdict(outcome))
        self.outcomes[outcome.key] = outcome

    def left(self, keys: Iterable[str], retry: bool = False) -> list[str]:
        """Pictures that are still to do, on `retry` also those whose writer failed."""
        done = {
            key for key, made in self.outcomes.items() if not (retry and made.status == "failed")
        }
        return [key for key in keys if key not in done]

    def open_review(self) -> RunJournal:
        """What people decided about the pictures; an entry has its `key` and `verdict`."""
        return RunJournal.resume(self._path / _REVIEW, {"review": 1})

    def write(self, keys: Iterable[str]) -> None:
        """Write accepted items, as somebody may have reviewed them, and the list of refused ones.

        The order is that of the keys; raises `GromaError` if the folder cannot be written.
        """
        items: list[Fields] = []
        refused: list[Fields] = []
        verdicts = self._verdicts()
        for outcome in self._done(keys):
            verdict = verdicts.get(outcome.key, {})
            item = verdict.get("item") or outcome.item
            if outcome.status == "accepted" and verdict.get("verdict") != "rejected" and item:
                items.append(item | {"id": len(items) + 1})
                continue
            reasons = ["It was rejected in review."] if verdict else outcome.reasons
            refused.append({"key": outcome.key, "status": outcome.status, "reasons": reasons})
        write_json(self.items_file, items)
        write_json(self.refused_file, refused)

    def write_coco(self, keys: Iterable[str]) -> None:
        """Write annotations; see `groma.data.found_things`."""
        pictures = [
            FoundIn(
                outcome.key,
                to_size(told["size"]),
                [FoundThing(**thing) for thing in told["boxes"]],
                told["caption"],
            )
            for outcome in self._done(keys)
            if (told := outcome.annotation) is not None
        ]
        write_json(self._path / "coco.json", to_coco(pictures, "Groma's annotations"))

    def summary(self, keys: Iterable[str]) -> str:
        """How many pictures ended how, and the most frequent reasons why not."""
        keys = list(keys)
        done = list(self._done(keys))
        statuses = Counter(outcome.status for outcome in done)
        reasons = Counter(reason for outcome in done for reason in outcome.reasons)
        counts = ", ".join(f"{count} {status}" for status, count in statuses.items())
        lines = [f"{len(keys)} pictures: {counts or 'none done'}; see {self.items_file}."]
        if reasons:
            lines.append(f"Most frequent reasons ({self.refused_file} has all):")
            lines += [f"{count:6}  {reason}" for reason, count in reasons.most_common(10)]
        return "\n".join(lines)

    def _done(self, keys: Iterable[str]) -> list[Outcome]:
        return [self.outcomes[key] for key in keys if key in self.outcomes]

    def _verdicts(self) -> Mapping[str, Fields]:
        path = self._path / _REVIEW
        entries = RunJournal.read(path).entries if path.exists() else []
        return {entry["key"]: entry for entry in entries}
