"""Runs in the background: one at a time, in a process of its own, so that the chat goes on.

The process outlives the application that started it; everything about it is read from its folder.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from groma.data.sample import GroundedSample
from groma.train.lora.folder import OUTPUT_NAME, RunFolder, find_runs
from groma.train.lora.planning import prepare
from groma.train.lora.settings import LoraSettings
from groma.types import GromaError

_POLITENESS = 10
"""Of the process among others: the chat goes first."""


_ENDED = ("done", "cancelled", "failed")


class Jobs:
    """The runs in a folder, of which at most one is under way.

    Args:
        root: their folder, made if need be.
        command: starts a run, its folder being the last argument; for tests.
    """

    def __init__(self, root: Path, command: Sequence[str] = ()) -> None:
        self.root = root
        self._command = command or (
            *(sys.executable, "-m", "groma.train.lora_command", "--resume", "--out"),
        )
        self._lock = threading.Lock()
        self._started: tuple[RunFolder, subprocess.Popen] | None = None

    @property
    def runs(self) -> list[RunFolder]:
        """Every run, the newest first."""
        return list(find_runs(self.root))

    @property
    def current(self) -> RunFolder | None:
        """The run that is under way, whoever started it."""
        if self._started is not None and self._started[1].poll() is None:
            run = self._started[0]
            if run.state not in _ENDED:  # else its process is only leaving
                return run
        return next((run for run in self.runs if run.is_busy), None)

    def start(
        self,
        settings: LoraSettings,
        samples: Sequence[GroundedSample],
        name: str = "",
        force: bool = False,
    ) -> RunFolder:
        """Begin a new run.

        Args:
            settings: of the run.
            samples: whose `picture` is a file.
            name: of the run; the time is added.
            force: start even what will not fit in memory.

        Raises:
            GromaError: if a run is under way, or as `prepare`.
        """
        with self._lock:
            self._check_free()
            path = self.root / f"{_clean(name) or 'run'}-{time.strftime('%Y%m%d-%H%M%S')}"
            run, _ = prepare(path, settings, samples, force)
            return self._launch(run)

    def resume(self, run: RunFolder) -> RunFolder:
        """Go on with a run that was cancelled, interrupted or failed, from its last checkpoint.

        Raises:
            GromaError: if a run is under way, or this one is done.
        """
        with self._lock:
            self._check_free()
            if run.progress().state == "done":
                raise GromaError(f"{run.name} is done; there is nothing to resume.")
            return self._launch(run)

    def cancel(self, run: RunFolder) -> None:
        """Ask a run to stop at its next checkpoint; returns at once."""
        process = run.process
        if process is not None:
            run.note_stop()
            os.kill(process, signal.SIGTERM)
        elif self._started is not None and self._started[0] == run:
            self._started[1].terminate()

    def _check_free(self) -> None:
        current = self.current
        if current is not None:
            raise GromaError(f"{current.name} is being trained; cancel it or wait for its end.")

    def _launch(self, run: RunFolder) -> RunFolder:
        run.write_state("starting", process=None)
        with (run.path / OUTPUT_NAME).open("ab") as output:
            process = subprocess.Popen(
                [*self._command, str(run.path)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        if os.name == "posix":
            psutil.Process(process.pid).nice(_POLITENESS)
        self._started = run, process
        return run


def _clean(name: str) -> str:
    """A name as part of a file name."""
    return re.sub(r"[^\w-]+", "-", name).strip("-")[:40]
