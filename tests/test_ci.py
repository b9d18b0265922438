"""What gates a change: lint and every test, those of the browser too where there is one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.paths import ROOT


@pytest.mark.parametrize("processes", [(), ("-n", "2", "--dist", "loadfile")], ids=["one", "two"])
@pytest.mark.parametrize("demand", [{}, {"GROMA_BROWSER_TESTS": "required"}], ids=["", "required"])
def test_browser_tests_that_were_not_run_are_counted_last(
    tmp_path: Path, demand: dict, processes: tuple[str, ...]
) -> None:
    tests = tmp_path / "test_some.py"
    tests.write_text(
        "import pytest\n"
        "@pytest.mark.skipif(True, reason='no chromium')\n"
        "@pytest.mark.parametrize('i', range(3))\n"
        "def test_page(i): pass\n"
        "@pytest.mark.skipif(True, reason='no Java')\n"
        "def test_other(): pass\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-c", os.devnull]
    options = ["-p", "no:cacheprovider", "--rootdir", str(tmp_path), *processes, str(tests)]
    environment = os.environ | {"GROMA_BROWSER_TESTS": "", "PYTHONPATH": str(ROOT)} | demand
    done = subprocess.run(
        [*command, *options], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    last = done.stdout.strip().splitlines()[-1]
    assert last == "3 browser tests were not run: apt-get install chromium"
    assert done.returncode == (1 if demand else 0)


def test_ci_runs_all_that_check_and_test_run() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "\ncheck: lint " in makefile
    (command,) = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1:]
    assert command == "GROMA_BROWSER_TESTS=required make lint test"


def test_other_machines_run_the_same_command() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "check.yml").read_text("utf-8"))
    steps = workflow["jobs"]["check"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == ["bash .ci/run"]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    assert [hook["entry"] for repo in hooks["repos"] for hook in repo["hooks"]] == ["make lint"]
