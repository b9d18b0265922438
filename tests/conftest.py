"""What every test needs before torch, transformers or gradio is imported."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

from collections.abc import Generator

import pytest
from hypothesis import settings

# Two busy cores make the first example of a run slow, which says nothing about the code.
settings.register_profile("groma", deadline=None)
settings.load_profile("groma")

_NO_BROWSER = "no chromium"


@pytest.fixture(scope="session", autouse=True)
def uploads(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep each test process's uploads apart: applications that end take theirs away."""
    os.environ["GRADIO_TEMP_DIR"] = str(tmp_path_factory.mktemp("uploads"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """Say last how many browser tests were not run; where they are required, that is a failure."""
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.getreports("skipped") if reporter else []
    missed = sum(_NO_BROWSER in str(report.longrepr) for report in skipped)
    if missed:
        reporter.write_line(f"{missed} browser tests were not run: apt-get install chromium")
        if os.environ.get("GROMA_BROWSER_TESTS") == "required":
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
