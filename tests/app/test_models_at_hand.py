"""The models at hand: each is loaded when it is first asked for, and has a name of its own."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.shared.models_at_hand import NOTES, OTHER_NOTE, Models, title_of
from groma import embedded
from groma.chat.chat import Groma
from groma.types import GromaError
from tests.app.scripted import ScriptedGroma


def test_a_model_is_loaded_once_when_it_is_first_asked_for() -> None:
    given, other, loaded = ScriptedGroma(), ScriptedGroma(), []
    slowly = threading.Event()

    def load() -> Groma:
        loaded.append("other")
        slowly.wait(0.1)
        return other

    models = Models("given", given, {"other": load})
    assert (models.get("given"), loaded) == (given, [])
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(models.get, ["other"] * 4)) == {other}
    assert loaded == ["other"]


def test_who_cannot_be_loaded_may_be_later() -> None:
    found = ScriptedGroma()
    answers = iter([GromaError("It is damaged."), found])

    def load() -> Groma:
        answer = next(answers)
        if isinstance(answer, GromaError):
            raise answer
        return answer

    models = Models("given", ScriptedGroma(), {"other": load})
    with pytest.raises(GromaError, match="damaged"):
        models.get("other")
    assert models.get("other") is found
    with pytest.raises(GromaError, match="no such model"):
        models.get("/etc")


def test_every_model_at_hand_tells_what_it_knows() -> None:
    models = Models("mine", ScriptedGroma(), {"groma-photo": ScriptedGroma})
    assert list(models.notes.items()) == [
        ("mine", OTHER_NOTE),
        ("groma-photo", NOTES["groma-photo"]),
    ]
    assert set(NOTES) == set(embedded.NAMES)
    assert all("7B" in note and note.endswith(".") for note in NOTES.values())


def test_no_other_model_is_called_as_an_embedded_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert title_of("groma-mini") == title_of(str(embedded.WEIGHTS / "groma-mini")) == "groma-mini"
    assert title_of("somebody/groma-7b") == "groma-7b"
    (tmp_path / "groma-mini").mkdir()
    assert title_of(str(tmp_path / "groma-mini")) == "groma-mini (another)"
    monkeypatch.chdir(tmp_path / "groma-mini")
    assert title_of(".") == "groma-mini (another)"
