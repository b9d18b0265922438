"""Runs in the background: one at a time, in a process of its own, so that the chat goes on.

The process outlives the application that started it; everything about it is read from its folder.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from groma.data.sample import GroundedSample
from groma.finetune.lora_settings import LoraSettings
from groma.finetune.planning import prepare
from groma.finetune.run_folder import RunFolder
from groma.types import GromaError

_POLITENESS = 10
"""Of the process among others: the chat goes first."""

_LOCK_NAME = ".starting"
_STARTED_NAME = ".started"
_CLOCK_ERROR = 2.0
"""Seconds."""
_PATIENCE = 10.0
"""Seconds to wait while another application starts a training."""

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
            *(sys.executable, "-m", "groma", "train", "lora", "--resume", "--out"),
        )

    @property
    def runs(self) -> list[RunFolder]:
        """Every run, the newest first."""
        return RunFolder.find_all(self.root)

    @property
    def current(self) -> RunFolder | None:
        """The run that is under way, whoever started it."""
        started = self._started()
        if started is not None and started[0].state not in _ENDED:  # else it is only leaving
            return started[0]
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
        with self._starting():
            path = self.root / f"{_clean(name) or 'run'}-{time.strftime('%Y%m%d-%H%M%S')}"
            run, _ = prepare(path, settings, samples, force)
            return self._launch(run)

    def resume(self, run: RunFolder) -> RunFolder:
        """Go on with a run that was cancelled, interrupted or failed, from its last checkpoint.

        Raises:
            GromaError: if a run is under way, or this one is done.
        """
        with self._starting():
            if run.progress().state == "done":
                raise GromaError(f"{run.name} is done; there is nothing to resume.")
            return self._launch(run)

    def cancel(self, run: RunFolder) -> None:
        """Ask a run to stop at its next checkpoint; returns at once."""
        process, started = run.process, self._started()
        if process is not None:
            run.note_stop()
            os.kill(process, signal.SIGTERM)
        elif started is not None and started[0] == run:
            started[1].terminate()

    @contextmanager
    def _starting(self) -> Generator[None]:
        """Start nothing else meanwhile, here or in another application that has this folder.

        Raises:
            GromaError: if a run is under way, or the folder cannot be written.
        """
        lock = FileLock(self.root / _LOCK_NAME, timeout=_PATIENCE, is_singleton=False)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout as error:
            raise GromaError("Another application is starting a training; try again.") from error
        except OSError as error:
            raise GromaError(f"Nothing can be written in {self.root}: {error.strerror}.") from error
        try:
            current = self.current
            if current is not None:
                raise GromaError(f"{current.name} is being trained; cancel it or wait for its end.")
            yield
        finally:
            lock.release()

    def _launch(self, run: RunFolder) -> RunFolder:
        run.write_state("starting", process=None)
        with run.output.open("ab") as output:
            process = subprocess.Popen(
                [*self._command, str(run.path)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        known = psutil.Process(process.pid)
        if os.name == "posix":
            known.nice(_POLITENESS)
        started = {"run": run.name, "process": process.pid, "since": known.create_time()}
        (self.root / _STARTED_NAME).write_text(json.dumps(started), encoding="utf-8")
        threading.Thread(target=process.wait, daemon=True).start()  # else it stays as a zombie
        return run

    def _started(self) -> tuple[RunFolder, psutil.Process] | None:
        """The run that was started last, if its process lives; it may not hold its folder yet."""
        try:
            noted = json.loads((self.root / _STARTED_NAME).read_text(encoding="utf-8"))
            run, process = RunFolder(self.root / noted["run"]), psutil.Process(noted["process"])
            # A number may mean another process by now; the system's clock may have been set.
            is_known = abs(process.create_time() - noted["since"]) < _CLOCK_ERROR
            return (run, process) if is_known else None
        except (OSError, ValueError, KeyError, TypeError, psutil.Error):
            return None


def _clean(name: str) -> str:
    """A name as part of a file name."""
    return re.sub(r"[^\w-]+", "-", name).strip("-")[:40]
