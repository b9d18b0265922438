"""One work folder trains one thing at a time, whoever starts it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from groma.finetune.jobs import Jobs
from groma.types import GromaError
from tests.groma.finetune import lora_case

SLEEPING = (sys.executable, "-c", "import time; time.sleep(60)")

START = """
import sys
from pathlib import Path
from groma.finetune.jobs import Jobs
from groma.types import GromaError
from tests.attacks.test_trainings import SLEEPING
from tests.groma.finetune import lora_case
root, name = Path(sys.argv[1]), sys.argv[2]
jobs = Jobs(root / "runs", SLEEPING)
samples = lora_case.samples(root / name)
settings = lora_case.settings(root / "base")
print("ready", flush=True)
sys.stdin.readline()
try:
    print(jobs.start(settings, samples, name).name, flush=True)
except GromaError as error:
    print(f"refused: {error}", flush=True)
"""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    lora_case.save_base(tmp_path / "base")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    yield tmp_path
    end(tmp_path)


def end(root: Path) -> None:
    """End what was started there, and nothing else."""
    started = root / "runs" / ".started"
    if started.exists():
        noted = json.loads(started.read_text())
        try:
            process = psutil.Process(noted["process"])
            if str(root / "runs" / noted["run"]) in process.cmdline():
                process.kill()
                process.wait(10)
        except psutil.Error:
            pass


def test_two_applications_start_one_training(root: Path) -> None:
    applications = [
        subprocess.Popen(
            [sys.executable, "-c", START, str(root), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    for application in applications:
        assert application.stdout.readline() == "ready\n"
    for application in applications:
        application.stdin.write("go\n")
        application.stdin.flush()
    said = sorted(application.communicate(timeout=60)[0] for application in applications)
    assert [line.startswith("refused") for line in said].count(True) == 1, said
    assert any("is being trained; cancel it or wait for its end" in line for line in said)
    # A third one sees it as well, though the process holds no lock yet.
    jobs = Jobs(root / "runs", SLEEPING)
    assert jobs.current is not None
    with pytest.raises(GromaError, match="being trained"):
        jobs.start(lora_case.settings(root / "base"), lora_case.samples(root / "one"))


def test_what_a_dead_process_noted_holds_nobody_up(root: Path) -> None:
    jobs = Jobs(root / "runs", SLEEPING)
    samples = lora_case.samples(root / "one")
    first = jobs.start(lora_case.settings(root / "base"), samples, "first")
    end(root)
    assert jobs.current is None
    assert first.state == "interrupted"
    # Its number may belong to somebody else by now.
    note = {"run": first.name, "process": os.getpid(), "since": time.time() - 3600}
    (jobs.root / ".started").write_text(json.dumps(note))
    assert jobs.current is None
    for damage in ("", "[]", '{"run": 3}', '{"run": "../x", "process": -1}'):
        (jobs.root / ".started").write_text(damage)
        assert jobs.current is None
    assert jobs.resume(first).state in ("starting", "interrupted")
    assert jobs.current == first
