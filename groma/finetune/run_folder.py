"""The folder of a run: what was chosen, what it learns from, how far it is.

    settings.json  examples.json  rehearsal.json  pictures/  state.json  looked.json  log.jsonl
    curves.png  scores.json  output.txt  checkpoint-N/  adapter/

Whoever trains in a folder holds its lock; a process that is killed lets go of it.
"""

import logging
import os
import shutil
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from filelock import FileLock, Timeout

from groma.atomic_file import write_json
from groma.data.sample import GroundedSample
from groma.finetune.lora_examples import split
from groma.finetune.lora_settings import LoraSettings
from groma.finetune.rehearsal import Knowledge
from groma.finetune.scores import Score
from groma.foreign import load_json
from groma.loop.curves import PLOT_NAME, read_log
from groma.loop.saved_checkpoints import all_checkpoints, is_whole
from groma.types import GromaError

_SETTINGS, _EXAMPLES, _REHEARSAL = "settings.json", "examples.json", "rehearsal.json"
_STATE, _SCORES, _PICTURES = "state.json", "scores.json", "pictures"
_LOCK, _STOP, _LOOKED = ".lock", ".stop", "looked.json"
_LOOK = 3
"""Talks that are read in the time that looking at a picture takes, about."""
_RECENT = 20

_logger = logging.getLogger(__name__)

State = Literal[
    "ready", "starting", "training", "stopping", "done", "cancelled", "failed", "interrupted"
]
"""Of a run; "stopping" is one that was asked to, "interrupted" one whose process is gone without a
word."""


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        state: of the run.
        step: last step that was logged.
        steps: of the whole run; 0 before it is known.
        loss: of the last steps logged, or None.
        held_out_loss: last measured, or None.
        tokens_per_second: read by the language model, or None.
        seconds_left: at the pace so far, or None.
        share: of all that there is to do, from 0 to 1: looking at the pictures and learning.
        memory: bytes in use, or None.
        message: why it failed; else empty.
    """

    state: State
    step: int = 0
    steps: int = 0
    loss: float | None = None
    held_out_loss: float | None = None
    tokens_per_second: float | None = None
    seconds_left: float | None = None
    share: float = 0.0
    memory: int | None = None
    message: str = ""


@dataclass(frozen=True)
class RunFolder:
    """One run.

    Attributes:
        path: its folder.
    """

    path: Path

    @classmethod
    def create(
        cls, path: Path, settings: LoraSettings, samples: Sequence[GroundedSample]
    ) -> "RunFolder":
        """Lay down what a run needs.

        Args:
            path: a folder that does not exist or is empty.
            settings: of the run.
            samples: whose `picture` is a file; the run keeps its own link to it, or a copy.

        Raises:
            GromaError: if the folder holds something already, or a picture is missing.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise GromaError(f"{path} exists already; name a new folder, or resume that run.")
        pictures = {file: Path(file) for file in dict.fromkeys(s.picture for s in samples)}
        for picture in pictures.values():
            if not picture.is_file():
                raise GromaError(f"The picture {picture} is missing.")
        (path / _PICTURES).mkdir(parents=True, exist_ok=True)
        kept = {
            file: _keep(picture, path / _PICTURES / f"{number:05}-{picture.name}")
            for number, (file, picture) in enumerate(pictures.items())
        }
        examples = [sample.to_dict() | {"picture": kept[sample.picture]} for sample in samples]
        write_json(path / _EXAMPLES, examples)
        write_json(path / _SETTINGS, settings.to_dict())
        folder = cls(path)
        folder.write_state("ready")
        return folder

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """A run that was laid down before.

        Raises:
            GromaError: if there is none.
        """
        if not (path / _SETTINGS).is_file():
            raise GromaError(f"{path} holds no run: it has no {_SETTINGS}.")
        return cls(path)

    @classmethod
    def wait_for(cls, path: Path) -> "RunFolder":
        """A run that another process of the same launch is just laying down."""
        while not (path / _STATE).is_file():
            time.sleep(0.1)
        return cls(path)

    @classmethod
    def find_all(cls, root: Path) -> "list[RunFolder]":
        """All runs in a folder, the newest first."""
        found = sorted(root.glob(f"*/{_SETTINGS}"), key=lambda file: file.stat().st_mtime)
        return [cls(file.parent) for file in reversed(found)]

    @property
    def name(self) -> str:
        """Of the folder."""
        return self.path.resolve().name

    @property
    def adapter(self) -> Path:
        """Where the adapter is once the run is done."""
        return self.path / "adapter"

    @property
    def offered(self) -> Path | None:
        """The adapter; of a run that ended before there was one, its best checkpoint so far."""
        if self.adapter.is_dir():
            return self.adapter
        whole = list(filter(is_whole, all_checkpoints(self.path)))
        if not whole or self.state not in ("cancelled", "failed", "interrupted"):
            return None
        trainer = _read_json(whole[0] / "trainer_state.json")
        best = Path(str(trainer.get("best_model_checkpoint"))).name
        return next((path for path in whole if path.name == best), whole[0])

    @property
    def output(self) -> Path:
        """What the process that trains says."""
        return self.path / "output.txt"

    @property
    def plot(self) -> Path:
        """The picture of the losses; it need not exist yet."""
        return self.path / PLOT_NAME

    @property
    def settings(self) -> LoraSettings:
        """What was chosen.

        Raises:
            GromaError: if the file was damaged.
        """
        file = self.path / _SETTINGS
        return LoraSettings.from_dict(_read_json(file), file)

    @property
    def samples(self) -> list[GroundedSample]:
        """What it learns from, its pictures by their paths.

        Raises:
            GromaError: if the file was damaged.
        """
        file = self.path / _EXAMPLES
        try:
            return [self._read_sample(row) for row in _read_json(file)]
        except (KeyError, TypeError, ValueError) as error:
            raise GromaError(f"{file} is damaged; start a new run.") from error

    @property
    def knowledge(self) -> Knowledge | None:
        """What the base knew of the pictures before it learnt; None before it was asked."""
        file = self.path / _REHEARSAL
        if not file.exists():
            return None
        try:
            noted = _read_json(file)
            talks = [self._read_sample(row) for row in noted["talks"]]
            return Knowledge(talks, tuple(noted["known"]))
        except (KeyError, TypeError, ValueError, AttributeError):
            _logger.warning("%s is damaged; the base is asked again.", file)
            return None

    def keep_knowledge(self, knowledge: Knowledge) -> None:
        """Write down what the base knew of the pictures."""
        talks = [
            talk.to_dict() | {"picture": self._within(talk.picture)} for talk in knowledge.talks
        ]
        write_json(self.path / _REHEARSAL, {"talks": talks, "known": knowledge.known})

    @property
    def scores(self) -> list[Score]:
        """Right answers of base and adapter on what was held out; empty before the end."""
        file = self.path / _SCORES
        try:
            return [Score(**row) for row in _read_json(file)] if file.exists() else []
        except (TypeError, ValueError):
            _logger.warning("%s is damaged; the run is shown without its scores.", file)
            return []

    def keep_scores(self, scores: Sequence[Score]) -> None:
        """Write down how well base and adapter answer."""
        write_json(self.path / _SCORES, [score.to_dict() for score in scores])

    def _within(self, picture: str) -> str:
        return Path(picture).relative_to(self.path).as_posix()

    def _read_sample(self, row: dict[str, Any]) -> GroundedSample:
        sample = GroundedSample.from_dict(row)
        return replace(sample, picture=str(self.path / PurePosixPath(sample.picture)))

    @property
    def held_out(self) -> list[GroundedSample]:
        """What it is only measured on.

        Raises:
            GromaError: as `samples`.
        """
        samples, settings = self.samples, self.settings
        _, chosen = split(samples, settings.held_out, settings.seed)
        return [samples[i] for i in chosen]

    @property
    def process(self) -> int | None:
        """Id of the process that trains in this folder, if one does."""
        return self._state().get("process") if self.is_busy else None

    @property
    def is_busy(self) -> bool:
        """Whether a process trains in this folder."""
        try:
            with FileLock(self.path / _LOCK, timeout=0, is_singleton=False):
                return False
        except Timeout:
            return True

    @contextmanager
    def occupied(self) -> Generator[None]:
        """Hold the folder for training.

        Raises:
            GromaError: if another process trains in it.
        """
        lock = FileLock(self.path / _LOCK, timeout=0, is_singleton=False)
        try:
            lock.acquire()
        except Timeout as error:
            raise GromaError(f"Another process is training in {self.path}.") from error
        try:
            yield
        finally:
            lock.release()

    def write_state(self, state: State, message: str = "", **more: Any) -> None:
        """Note how the run is; what was noted of its `steps` stays."""
        if state != "training":  # it may have been asked to stop before it began
            (self.path / _STOP).unlink(missing_ok=True)
        kept = {"steps": self._state().get("steps", 0)}
        fields = {"state": state, "message": message, "process": os.getpid()}
        write_json(self.path / _STATE, kept | fields | more)

    def note_looked(self, looked: int, looks: int) -> None:
        """Note how many of the pictures that are looked at before the training were."""
        began = self._looked().get("began", time.time()) if looked > 1 else time.time()
        write_json(self.path / _LOOKED, {"looked": looked, "looks": looks, "began": began})

    def note_stop(self) -> None:
        """Note that the run was asked to stop."""
        (self.path / _STOP).touch()

    @property
    def state(self) -> State:
        """How the run is."""
        noted = self._state()
        state: State = noted["state"] if noted.get("state") in get_args(State) else "ready"
        if state not in ("starting", "training"):
            return state
        if not self.is_busy:
            return "interrupted"
        return "stopping" if (self.path / _STOP).exists() else state

    @property
    def num_examples(self) -> tuple[int, int]:
        """How many it learns from, and how many it is only measured on.

        Raises:
            GromaError: as `samples`.
        """
        file = self.path / _EXAMPLES
        return _count(self, file.stat().st_mtime if file.is_file() else 0.0)

    def progress(self) -> Progress:
        """How far the run is, from what it has written."""
        noted, state = self._state(), self.state
        rows = read_log(self.path)
        steps = noted.get("steps")
        steps = steps if isinstance(steps, int) else 0
        memory = _last(rows, "memory")
        step = int(rows[-1]["step"]) if rows else 0
        share = self._share(step, steps)
        left = _seconds_left(rows, steps) if state == "training" else None
        if state == "starting" and share > 0:
            left = (time.time() - self._looked()["began"]) * (1 - share) / share
        return Progress(
            state=state,
            step=step,
            steps=steps,
            loss=_last(rows, "loss"),
            held_out_loss=_last(rows, "eval_loss"),
            tokens_per_second=_tokens_per_second(rows, self.settings),
            seconds_left=left,
            share=share,
            memory=None if memory is None else int(memory),
            message=str(noted.get("message", "")),
        )

    def _share(self, step: int, steps: int) -> float:
        """How much is done; what is to come is guessed until the training has begun."""
        noted, epochs = self._looked(), self.settings.epochs or 1.0
        looks = noted.get("looks", 0) * _LOOK
        talks = epochs * self.num_examples[0]
        looked = looks if steps else noted.get("looked", 0) * _LOOK
        return (looked + talks * (step / steps if steps else 0)) / max(1, looks + talks)

    def _state(self) -> dict[str, Any]:
        return self._noted(_STATE)

    def _looked(self) -> dict[str, Any]:
        return self._noted(_LOOKED)

    def _noted(self, name: str) -> dict[str, Any]:
        try:
            return dict(_read_json(self.path / name))
        except (GromaError, TypeError, ValueError):
            return {}


@lru_cache(maxsize=64)
def _count(run: RunFolder, _: float) -> tuple[int, int]:
    """Counted once, for as long as the file is the same: a run is looked at every other second."""
    held_out = len(run.held_out)
    return len(run.samples) - held_out, held_out


def _keep(picture: Path, kept: Path) -> str:
    """Link a picture into a run, or copy it where that cannot be; its path within the run."""
    try:
        os.link(picture.resolve(), kept)
    except OSError:
        shutil.copyfile(picture, kept)
    return f"{_PICTURES}/{kept.name}"


def _last(rows: Sequence[dict[str, float]], key: str) -> float | None:
    return next((row[key] for row in reversed(rows) if key in row), None)


def _tokens_per_second(rows: Sequence[dict[str, float]], settings: LoraSettings) -> float | None:
    tokens, pace = _last(rows, "tokens"), _last(rows, "samples_per_second")
    return None if tokens is None or pace is None else tokens * pace / settings.batch_size


def _seconds_left(rows: Sequence[dict[str, float]], steps: int) -> float | None:
    """At the median pace of the last lines: a line that waited for a resume tells nothing."""
    lines = [row for row in rows if "loss" in row][-_RECENT:]
    paces = sorted(
        (after["seconds"] - before["seconds"]) / (after["step"] - before["step"])
        for before, after in pairwise(lines)
        if after["step"] > before["step"]
    )
    return paces[len(paces) // 2] * (steps - lines[-1]["step"]) if paces else None


def _read_json(path: Path) -> Any:
    try:
        return load_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise GromaError(f"{path} is missing or damaged; start a new run.") from error
