"""What the handlers of the finetune tab do, without a browser and without training."""

import json
import os
import re
import signal
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from app.finetune.finetune_html import render_comparison, render_findings, render_supervised
from app.finetune.finetune_tab import BASE, Desk, FinetuneTab
from app.finetune.own_examples import Draft, OwnSet
from app.shared.models_at_hand import Models
from app.shared.request_border import is_allowed
from app.shared.sessions import Sessions
from groma.chat.chat import Groma
from groma.chat.conversation import GroundedReply
from groma.checkpoint.adapters import Fingerprint, add_lora, share, write_adapter
from groma.data.sample import QA, GroundedSample, Mention, Phrase
from groma.data.sources.groma_instruct import format_item
from groma.eval.harness.adapter_comparison import compare_replies
from groma.finetune.jobs import Jobs
from groma.finetune.run_folder import RunFolder
from groma.instruction_sets.doctor.finding import Finding
from groma.named_regions import GroundedSpan, RegionRef
from groma.types import GromaError
from tests import talk
from tests.groma.finetune import lora_case


class FakeJobs(Jobs):
    """Lays runs down, and notes what else it is asked."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked: list[tuple[str, str]] = []
        self.live = ""

    @property
    def current(self) -> RunFolder | None:
        return next((run for run in self.runs if run.name == self.live), None)

    def start(self, settings, samples, name="", force=False) -> RunFolder:
        self.asked.append(("start", f"{settings.rank} {len(samples)} {force}"))
        return RunFolder.create(self.root / (name or "run"), settings, samples)

    def cancel(self, run: RunFolder) -> None:
        self.asked.append(("cancel", run.name))

    def resume(self, run: RunFolder) -> RunFolder:
        self.asked.append(("resume", run.name))
        return run


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lora_case.save_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def groma() -> Groma:
    return talk.tiny_groma()


@pytest.fixture
def tab(tmp_path: Path, groma: Groma, base_folder: Path) -> FinetuneTab:
    jobs = FakeJobs(tmp_path / "runs")
    return FinetuneTab(
        jobs, Sessions(Models("mini", groma), 10**9), groma, lora_case.settings(base_folder)
    )


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A set of six items, as somebody would choose it in a browser."""
    folder = tmp_path / "sent"
    folder.mkdir()
    samples = lora_case.samples(folder)
    items = [
        format_item(replace(sample, picture=Path(sample.picture).name), number)
        for number, sample in enumerate(samples, start=1)
    ]
    (folder / "set.json").write_text(json.dumps(items))
    return sorted(folder.iterdir())


@pytest.fixture
def desk(tab: FinetuneTab, files: list[Path]):
    desk = tab.load(Desk(), files)
    yield desk
    desk.close()


def write_lora(groma: Groma, folder: Path) -> Path:
    """An adapter that says something else than the base."""
    adapted = add_lora(share(groma.model), 2, 4.0)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0, 0.5)
    write_adapter(adapted, folder, Fingerprint.of(groma.model, "tiny"), {})
    return folder


def finish(tab: FinetuneTab, desk: Desk, groma: Groma) -> str:
    name = tab.start(desk, {})
    write_lora(groma, tab.jobs.runs[0].adapter)
    return name


def test_a_set_is_read_from_files_or_a_zip(tab: FinetuneTab, files: list[Path], desk: Desk) -> None:
    archive = files[0].parent / "set.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for file in files:
            opened.write(file, file.name)
    zipped = tab.load(Desk(), [archive])
    assert "6 items, 6 of them can be learnt" in tab.summary(desk)
    assert tab.summary(zipped) == tab.summary(desk)
    zipped.close()
    assert zipped.folder is not None
    assert not zipped.folder.exists()


@pytest.mark.parametrize("content", ["not json", "[]", '{"a": 1}'])
def test_what_is_no_set_is_refused_in_a_sentence(
    tab: FinetuneTab, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "bad.json"
    file.write_text(content)
    with pytest.raises(GromaError):
        tab.load(Desk(), [file])
    with pytest.raises(GromaError, match="choose a zip"):
        tab.load(Desk(), [])


def test_examples_made_by_hand_are_checked_like_uploaded_ones(
    tab: FinetuneTab, files: list[Path]
) -> None:
    with pytest.raises(GromaError, match="keep an example"):
        tab.take(Desk(), OwnSet())
    own = OwnSet().keep(Draft(files[0], ((5.0, 5.0, 30.0, 40.0),), "What is [1]?", ("a dog",)))
    picture, proposals = tab.look_at(own.examples[0].draft)
    assert picture is not None
    assert proposals
    desk = tab.take(Desk(place=7), own)
    assert "1 items, 1 of them can be learnt" in tab.summary(desk)
    assert tab.look(desk).picture is not None
    own.close()


def test_findings_have_buttons_that_mend(tab: FinetuneTab, files: list[Path]) -> None:
    file = files[0].parent / "set.json"
    items = json.loads(file.read_text())
    file.write_text(json.dumps([*items, items[0] | {"file_name": "gone.png"}, items[1]]))
    desk = tab.load(Desk(), files)
    assert any(finding.severity == "error" for finding in desk.findings)
    with pytest.raises(GromaError, match="errors"):
        tab.start(desk, {})
    index = next(i for i, finding in enumerate(desk.findings) if finding.fix)
    assert f'data-fix="{index}"' in tab.summary(desk)
    fixed = tab.fix(desk, index)
    assert desk.findings[index] not in fixed.findings
    mended = tab.fix_all(desk)
    assert not any(finding.severity == "error" for finding in mended.findings)
    for wrong in (None, -1, 99, "0"):
        with pytest.raises(GromaError, match="gone"):
            tab.fix(desk, wrong)


def test_it_is_said_what_is_left_when_something_was_mended(
    tab: FinetuneTab, files: list[Path]
) -> None:
    file = files[0].parent / "set.json"
    items = json.loads(file.read_text())
    file.write_text(json.dumps([*items, items[0] | {"file_name": "gone.png"}, items[1]]))
    desk = tab.load(Desk(), files)
    count = len(desk.findings)
    assert "mended" not in tab.summary(desk)
    mended = tab.fix_all(desk)
    gone = len(items) + 2 - len(mended.examples or ())
    said = f"{count - len(mended.findings)} of {count} findings are mended ({gone} items left out)"
    assert said in tab.summary(mended)
    assert "mended" not in tab.summary(tab.load(mended, files))
    mended, zipped = tab.pack(mended)
    again = tab.load(Desk(), [zipped])
    assert len(again.examples or ()) == len(mended.examples or ())
    assert tab.pack(mended)[1] == zipped
    with pytest.raises(GromaError, match="upload"):
        tab.pack(Desk())
    for each in (desk, mended, again):
        each.close()


def test_two_files_of_one_name_are_refused(tab: FinetuneTab, files: list[Path]) -> None:
    picture = next(file for file in files if file.suffix == ".png")
    other = picture.parent / "other"
    other.mkdir()
    (other / picture.name).write_bytes(picture.read_bytes())
    with pytest.raises(GromaError, match=f"two files {picture.name}"):
        tab.load(Desk(), [*files, other / picture.name])
    assert tab.load(Desk(), [*files, picture]).examples


def test_a_base_that_is_stored_packed_leaves_no_choice(tab: FinetuneTab, base_folder: Path) -> None:
    assert not tab.is_stored_quantised
    file = base_folder / "config.json"
    plain = file.read_text()
    file.write_text(json.dumps(json.loads(plain) | {"quantization_config": {"load_in_4bit": True}}))
    assert tab.is_stored_quantised
    file.write_text(plain)


def test_items_are_stepped_through_with_what_is_learnt(tab: FinetuneTab, desk: Desk) -> None:
    first = tab.look(desk)
    assert first.picture is not None
    assert first.title == "Item 1 (1 of 6)"
    learnt = "".join(re.findall("<mark>(.*?)</mark>", first.text))
    assert "the dog" in learnt
    assert "Where is" not in learnt
    assert tab.look(tab.step(desk, -1)).title == "Item 6 (6 of 6)"
    assert tab.step(tab.step(desk, 1), -1) == desk
    assert tab.go_to(desk, 3).place == 3
    with pytest.raises(GromaError):
        tab.go_to(desk, 77)


def test_nothing_written_becomes_markup() -> None:
    bad = "<img src=x onerror=alert(1)>"
    html = render_findings([Finding("code", "error", 0, bad)]) + render_supervised([(bad, True)])
    assert "<img" not in html
    assert html.count("&lt;img") == 2


def test_memory_is_told_before_a_run(tab: FinetuneTab, desk: Desk) -> None:
    told = tab.estimate(desk, {"rank": 4, "lr": None})
    assert "min at the pace of this moment, and fits." in told
    assert "at the pace" in tab.preview(desk, {}) and tab.preview(Desk(), {}) == ""
    with pytest.raises(GromaError, match="rank"):
        tab.estimate(desk, {"rank": 0})
    with pytest.raises(GromaError, match="upload"):
        tab.estimate(Desk(), {})


def test_runs_are_started_watched_cancelled_and_resumed(tab: FinetuneTab, desk: Desk) -> None:
    assert not tab.watch(None).is_live
    name = tab.start(desk, {"rank": 8, "epochs": None, "rehearsal": False}, "mine", force=True)
    assert tab.names() == [name] == ["mine"]
    assert tab.labels() == [("mine: ready", "mine")]
    assert isinstance(tab.jobs, FakeJobs)
    assert not tab.watch(name).is_live
    tab.jobs.live = name
    tab.jobs.runs[0].write_state("starting")  # and no process holds the folder yet
    view = tab.watch(name)
    assert view.is_live
    assert "interrupted" not in view.progress
    assert "rank 8, learning rate 0.01, 3 epochs, variation 0.8, no rehearsal" in view.progress
    assert "<td>4, and 2 held out</td>" in view.progress
    with tab.jobs.runs[0].occupied():
        assert tab.labels() == [("mine: starting", "mine")]
        tab.jobs.runs[0].write_state("training", steps=9)
        tab.jobs.runs[0].note_stop()
        assert "stopping at its next checkpoint" in tab.watch(name).progress
        tab.jobs.runs[0].write_state("starting")
        assert tab.labels() == [("mine: starting", "mine")]
    tab.cancel(name)
    tab.resume(name)
    assert tab.jobs.asked == [("start", "8 6 True"), ("cancel", name), ("resume", name)]
    tab.jobs.live = ""
    tab.jobs.runs[0].write_state("failed", f"no <b>room</b> in {tab.jobs.root / name}")
    view = tab.watch(name)
    assert not view.is_live
    assert f"no &lt;b&gt;room&lt;/b&gt; in {name}<" in view.progress
    with pytest.raises(GromaError, match="choose a run"):
        tab.cancel("../mine")


def test_a_run_is_resumed_while_its_cancelled_process_is_leaving(
    tab: FinetuneTab, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    tab.start(desk, {})
    (run,) = tab.jobs.runs
    sleeping = (sys.executable, "-c", "import time; time.sleep(60)")
    jobs = Jobs(tab.jobs.root, sleeping)
    for _ in range(2):
        jobs.resume(run)
        assert jobs.current == run
        with pytest.raises(GromaError, match="being trained"):
            jobs.resume(run)
        run.write_state("cancelled")
        assert jobs.current is None
        jobs.cancel(run)
    asked = []
    monkeypatch.setattr("groma.finetune.jobs.os.kill", lambda *each: asked.append(each))
    with run.occupied():
        run.write_state("training")
        jobs.cancel(run)
        assert asked == [(os.getpid(), signal.SIGTERM)]
        assert run.state == "stopping"
    assert run.state == "interrupted"


def test_one_visitors_chat_switches_and_switches_back(
    tab: FinetuneTab, desk: Desk, groma: Groma, files: list[Path]
) -> None:
    name = finish(tab, desk, groma)
    picture = files[0]
    said = {}
    sessions = tab._sessions
    for who in ("me", "you"):
        sessions.open(who, picture)
    for adapter in (BASE, name, BASE):
        tab.use("me", desk, adapter)
        said.setdefault(adapter, []).append(answer(sessions, "me"))
        assert answer(sessions, "you") == said[BASE][0]
        assert sessions.peek("me").adapter == ("" if adapter == BASE else name)
        assert sessions.peek("you").adapter == sessions.peek("nobody").adapter == ""
    assert said[BASE][0] == said[BASE][1]
    assert said[BASE][0] != said[name][0]


def answer(sessions: Sessions, who: str) -> str:
    sessions.clear(who)
    (*_, reply) = sessions.stream(who, "Where?", (), max_new_tokens=12)
    return reply.text + str([region.id for region in reply.regions])


def test_adapters_travel_as_zips(tab: FinetuneTab, desk: Desk, groma: Groma) -> None:
    name = finish(tab, desk, groma)
    file = tab.download(desk, name)
    assert file.parent == tab.jobs.runs[0].path
    assert tab.download(desk, name) == file
    assert [path.suffix for path in file.parent.glob(f"{name}*")] == [".zip"]
    desk = tab.upload(desk, file)
    assert tab.adapters(desk) == [BASE, f"{name} (sent)", name]
    assert "(sent)" in tab.use("me", desk, f"{name} (sent)")
    with pytest.raises(GromaError, match="choose a run"):
        tab.use("you", Desk(), f"{name} (sent)")
    with pytest.raises(GromaError, match="no adapter"):
        tab.download(desk, BASE)


def test_adapters_that_do_not_fit_are_refused(tab: FinetuneTab, desk: Desk, tmp_path: Path) -> None:
    other = write_lora(talk.tiny_groma(seed=1), tmp_path / "other")
    foreign, empty, broken = (tmp_path / f"{name}.zip" for name in ("foreign", "empty", "broken"))
    outside, bomb, two = (tmp_path / f"{name}.zip" for name in ("outside", "bomb", "two"))
    for archive, folders in ((foreign, ["in/a"]), (outside, [".."]), (two, ["a", "b"])):
        with zipfile.ZipFile(archive, "w") as opened:
            for folder in folders:
                for file in other.iterdir():
                    opened.write(file, f"{folder}/{file.name}")
    with zipfile.ZipFile(empty, "w") as opened:
        opened.writestr("evil.py", "1/0")
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("adapter_model.safetensors", bytes(20_000_000))
    broken.write_bytes(b"PK")
    for file, reason in (
        (foreign, "another model"),
        (outside, "leads out"),
        (two, "more than one"),
        (bomb, "grows more than"),
        (empty, "adapter_config"),
        (broken, "no zip"),
    ):
        with pytest.raises(GromaError, match=reason):
            tab.upload(desk, file)
    assert not list(tmp_path.rglob("evil.py"))


def test_base_and_adapter_are_compared_on_what_was_held_out(
    tab: FinetuneTab, desk: Desk, groma: Groma
) -> None:
    name = tab.start(desk, {})
    with pytest.raises(GromaError, match="no adapter yet"):
        tab.begin_comparison(name)
    write_lora(groma, tab.jobs.runs[0].adapter)
    comparison = tab.begin_comparison(name)
    held_out = tab.jobs.runs[0].held_out
    assert comparison.left == len(held_out) == 2
    assert "2 examples to ask" in render_comparison((), comparison.left)
    half = tab.compare_next(comparison)
    assert half.left == 1
    done = tab.compare_next(half)
    assert done.left == 0
    assert done != half
    html = render_comparison(done.rows)
    assert html.count('"groma-compared"') == sum(len(sample.turns) for sample in held_out)
    assert "Mean IoU: base" in html
    assert tab.compare_next(half).left == 0  # it is over, whoever asks again


def test_a_comparison_is_stopped_between_two_examples(
    tab: FinetuneTab, desk: Desk, groma: Groma
) -> None:
    name = finish(tab, desk, groma)
    half = tab.compare_next(tab.begin_comparison(name))
    tab.stop_comparison(half)
    stopped = tab.compare_next(half)
    assert (stopped.left, stopped.rows) == (0, half.rows)
    other = tab.compare_next(tab.begin_comparison(name))
    assert other.left == 1
    tab.stop_comparison(None)


def test_a_comparison_shows_words_boxes_and_overlap(tmp_path: Path) -> None:
    sample = GroundedSample(
        "a.png", (60, 80), ((0.0, 0.0, 0.5, 1.0),), ("dog",), (QA((Mention(0), "?"), ("a",)),)
    )
    pointing = (GroundedSpan(0, 1, (RegionRef(0, (0.0, 0.0, 40.0, 30.0), 1.0, 1.0),)),)
    question = QA(("Where is ", Mention(0), "?"), ("At ", Phrase("<b>", (0,))))
    base = GroundedReply("a <dog>", (), (60, 80))
    adapter = GroundedReply("a cat", pointing, (60, 80))
    row = compare_replies(sample, question, base, adapter)
    talk.picture().save(tmp_path / "a.png")
    html = render_comparison([replace(row, picture=tmp_path / "a.png")])
    assert 'base</b> a <mark class="groma-base">&lt;dog&gt;</mark>' in html
    assert 'adapter</b> a <mark class="groma-adapter">cat</mark>' in html
    assert "IoU 0.00 → 0.50 (+0.50); boxes of the two agree to 0.00" in html
    assert '<rect class="groma-pointed" x="0.0" y="0.0" width="40.0" height="60.0"/>' in html
    assert ">1</text>" in html
    assert "<td>found</td><td>1 of 1, the base 0</td>" in html
    assert "the adapter is better than its base" in html


def test_public_pages_do_not_train_unless_their_owner_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("GROMA_FINETUNE", raising=False)
    assert is_allowed("GROMA_FINETUNE", is_public=False)
    assert not is_allowed("GROMA_FINETUNE", is_public=True)
    monkeypatch.setenv("GROMA_FINETUNE", "")
    assert not is_allowed("GROMA_FINETUNE", is_public=True)
    for said in ("1", "true"):
        monkeypatch.setenv("GROMA_FINETUNE", said)
        assert is_allowed("GROMA_FINETUNE", is_public=True)
    monkeypatch.setenv("GROMA_FINETUNE", "0")
    assert not is_allowed("GROMA_FINETUNE", is_public=False)
    monkeypatch.setenv("GROMA_FINETUNE", "yes")
    with pytest.raises(GromaError, match="GROMA_FINETUNE must be 1 or 0, not yes"):
        is_allowed("GROMA_FINETUNE", is_public=False)


def labelled_export(folder: Path, *missing: str) -> list[Path]:
    """A COCO file of three pictures with a dog each and a cat in one; some were not sent."""
    size = {"width": talk.SIZE[1], "height": talk.SIZE[0]}
    names = ["a.png", "b.png", "c.png"]
    rows = [(0, 0), (1, 0), (2, 0), (0, 1)]
    data = {
        "images": [{"id": i, "file_name": name, **size} for i, name in enumerate(names)],
        "categories": [{"id": 0, "name": "dog"}, {"id": 1, "name": "black_cat"}],
        "annotations": [
            {"id": i, "image_id": image, "category_id": kind, "bbox": [5 + 9 * kind, 5, 20, 20]}
            for i, (image, kind) in enumerate(rows)
        ],
    }
    (folder / "export.json").write_text(json.dumps(data))
    for seed, name in enumerate(names):
        talk.picture(seed).save(folder / name)
    return [folder / name for name in ("export.json", *names) if name not in missing]


def test_labels_are_counted_as_pictures_boxes_and_classes(tab: FinetuneTab, tmp_path: Path) -> None:
    desk = tab.load(Desk(), labelled_export(tmp_path))
    assert desk.labelled is not None
    counted = [(each.name, each.boxes, each.pictures) for each in desk.labelled.classes]
    assert counted == [("dog", 3, 3), ("black cat", 1, 1)]
    assert "COCO-like: 3 pictures with 4 boxes of 2 classes." in tab.summary(desk)
    assert tab.summary(desk).count('<img alt="" src="data:image/webp') == 2
    desk.close()


def test_pictures_that_are_missing_are_asked_for_once_and_added(
    tab: FinetuneTab, tmp_path: Path
) -> None:
    files = labelled_export(tmp_path, "b.png", "c.png")
    desk = tab.load(Desk(), files)
    assert sum(finding.code == "picture-missing" for finding in desk.findings) >= 2
    assert tab.summary(desk).count("Add the pictures above") == 1
    assert "picture-missing" not in tab.summary(desk)
    added = tab.load(desk, [tmp_path / "b.png", tmp_path / "c.png"])
    assert not any(finding.severity == "error" for finding in added.findings)
    assert added.labelled is not None and added.labelled.pictures == 3
    added.close()


def test_all_that_was_repaired_is_listed(tab: FinetuneTab, files: list[Path]) -> None:
    file = files[0].parent / "set.json"
    items = json.loads(file.read_text())
    file.write_text(json.dumps([*items, items[0] | {"file_name": "gone.png"}, items[1]]))
    desk = tab.load(Desk(), files)
    mended = tab.fix_all(desk)
    assert len(mended.repairs) == len(desk.findings) - len(mended.findings)
    assert f"What was repaired ({len(mended.repairs)})" in tab.summary(mended)
    assert "Done: leave it out." in tab.summary(mended)
    assert tab.load(mended, files).repairs == ()
