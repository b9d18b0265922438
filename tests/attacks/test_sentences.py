"""Whatever breaks is told in one sentence."""

import errno
import os
from pathlib import Path

import pytest
import torch

from app.shared.error_border import UNFORESEEN, sentence_about, told
from groma.checkpoint import load as loading
from groma.checkpoint.inspect import info
from groma.finetune.jobs import Jobs
from groma.types import GromaError
from tests import talk
from tests.attacks.caller import SETTINGS, Caller
from tests.attacks.test_trainings import SLEEPING
from tests.groma.finetune import lora_case


def begun(caller: Caller, scene: Path, tab: str) -> dict:
    """A talk in a tab; what names its picture."""
    sent = caller.upload(scene)
    canvas = {"image": sent, "regions": []}
    caller.fire(caller.canvas, canvas, *SETTINGS, tab=tab)
    caller.fire(caller.number("Question", "submit"), canvas, "What", *SETTINGS, tab=tab)
    return sent


def test_saving_after_the_picture_was_removed(caller: Caller, scene: Path) -> None:
    sent, save = begun(caller, scene, "removed"), caller.number("Make files of this talk", "click")
    Path(sent["path"]).unlink()
    assert caller.warnings(save, 0, 0.5, tab="removed") == [
        "The picture is gone; please choose it again."
    ]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_saving_on_a_full_disk_leaves_nothing(
    caller: Caller, scene: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    from gradio.utils import get_upload_folder

    begun(caller, scene, f"full{code}")
    before = set(Path(get_upload_folder()).iterdir())

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("app.chat.talk_files.mark", fail)
    save = caller.number("Make files of this talk", "click")
    (warning,) = caller.warnings(save, 0, 0.5, tab=f"full{code}")
    assert (
        warning
        == f"A file cannot be read or written here: {os.strerror(code)}; nothing was changed."
    )
    assert set(Path(get_upload_folder()).iterdir()) == before


@pytest.mark.parametrize(
    "regions", [5, -1.5, True, "x", {"a": 1}, [5], [[1, 2, 3]], [None], [["a"] * 4]]
)
def test_boxes_of_every_kind(caller: Caller, scene: Path, regions: object) -> None:
    assert "four numbers" in caller.fault("ask", caller.upload(scene), "Hi", regions, {})


@pytest.mark.parametrize("settings", [5, "x", [1], {"max_regions": []}, {"seed": "x"}, {"a": {}}])
def test_settings_of_every_kind(caller: Caller, scene: Path, settings: object) -> None:
    for endpoint, given in (("ask", ["Hi", [], settings]), ("regions", [settings])):
        said = caller.fault(endpoint, caller.upload(scene), *given)
        assert said
        assert said != UNFORESEEN


def damaged(kind: str, folder: Path) -> bytes:
    """A file that is called pytorch_model.bin, and is not."""
    file = folder / "pytorch_model.bin"
    whole = file.read_bytes()
    if kind == "pickle":
        at = whole.find(b"data.pkl") + 200
        return whole[:at] + b"\xff" * 60 + whole[at + 60 :]
    if kind == "cut":
        return whole[: len(whole) // 2]
    content: object = [1, 2]
    if kind == "runs something":
        content = {"a": Running(folder / "ran")}
    torch.save(content, file)
    return file.read_bytes()


class Running:
    """Unpickled, it would run something."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("kind", ["pickle", "cut", "a list", "runs something", "empty"])
def test_damaged_weights(tmp_path: Path, kind: str) -> None:
    groma = talk.groma()
    groma.model.config.save_pretrained(tmp_path)
    file = tmp_path / "pytorch_model.bin"
    torch.save(groma.model.state_dict(), file)
    assert info(tmp_path)
    file.write_bytes(b"" if kind == "empty" else damaged(kind, tmp_path))
    for use in (loading.load, info):
        with pytest.raises(GromaError, match=r"pytorch_model.bin is damaged or incomplete"):
            use(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("index", ["", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": 1}}'])
def test_a_damaged_index_of_weights(tmp_path: Path, index: str) -> None:
    talk.groma().model.config.save_pretrained(tmp_path)
    (tmp_path / "pytorch_model.bin.index.json").write_text(index)
    with pytest.raises(GromaError, match=r"index.json is damaged"):
        info(tmp_path)


def test_a_work_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings, samples = lora_case.settings(tmp_path), lora_case.samples(tmp_path)
    with pytest.raises(GromaError, match=r"^Nothing can be written in .*runs: Not a directory\.$"):
        Jobs(tmp_path / "file" / "runs", SLEEPING).start(settings, samples)


def test_a_review_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("gradio.Warning", said.append)

    def write() -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "/secret/made.json")

    def grow() -> object:
        yield 1
        write()

    told(write)()
    assert next(told(grow)()) == 1
    assert len(list(told(grow)())) == 2
    assert set(said) == {
        "A file cannot be read or written here: Read-only file system; nothing was changed."
    }


def test_no_sentence_names_a_place_here() -> None:
    assert sentence_about(GromaError("/home/me/runs/a.json is damaged.")) == "a.json is damaged."
    assert sentence_about(RuntimeError("/home/me/secret")) == UNFORESEEN
