"""The finetune tab: what happens when somebody does something, as functions of what they gave.

Handlers raise GromaError with a sentence for people; nothing of one visitor is kept here.
"""

import re
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any
from uuid import uuid4
from weakref import WeakValueDictionary

from PIL import Image

from groma.atomic_file import replacing
from groma.chat.chat import Groma
from groma.chat.settings import GenerationSettings
from groma.checkpoint import load as loading
from groma.data.sample import GroundedSample
from groma.data.sources.items import BrokenItem
from groma.eval.harness.adapter_comparison import ComparedReply, compare
from groma.finetune.jobs import Jobs
from groma.finetune.label_talks import holds_labels, learnable
from groma.finetune.lora_settings import LoraSettings
from groma.finetune.planning import guess_seconds, plan
from groma.finetune.run_folder import RunFolder, State
from groma.finetune.scores import is_worse
from groma.image import PICTURE_ENDINGS
from groma.instruction_sets.doctor.checking import check, fix, repair, worst_first
from groma.instruction_sets.doctor.finding import Finding
from groma.instruction_sets.doctor.showing import overlay, supervised_text
from groma.instruction_sets.readers.reading import read_set
from groma.instruction_sets.readers.set_items import InstructionSet, left_out, to_sample
from groma.instruction_sets.readers.unpacking import Limits, unpack
from groma.instruction_sets.readers.writing import write_set
from groma.model.quantization import stored_quantization
from groma.named_regions import Region
from groma.types import GromaError

from ..shared.error_border import without_folders
from ..shared.picture_files import displayable, read_picture
from ..shared.sessions import Sessions
from .finetune_html import (
    render_estimate,
    render_findings,
    render_note,
    render_progress,
    render_repairs,
    render_scores,
    render_supervised,
)
from .own_examples import Draft, OwnSet
from .set_summary import Labelled, count_labels, render_labels

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "README.md")
BASE = "The base model"
MOST_COMPARED = 12
"""Held-out examples of one comparison."""
LONGEST_COMPARED = 128
"""Most tokens of an answer in a comparison."""

MENDED_NAME = "mended-examples.zip"

_TALK_OF_LABELS = "Marked: the labels; the training makes talk of them, in the model's own words."
_ADAPTER_LIMITS = Limits(files=100, size=4 << 30)
_MOST_COMPARISONS = 32


@dataclass(frozen=True)
class Desk:
    """What one visitor works on.

    Attributes:
        folder: where uploads were unpacked, to be removed with the desk.
        examples: the set, as mended so far; None before there is one.
        findings: of the doctor about it, worst first.
        place: of the item that is looked at.
        uploads: adapters that this visitor sent, by name.
        news: what was mended last, a sentence.
        source: where that set was read from.
        labelled: what the set holds if it is of labels.
        repairs: sentences about all that was mended so far.
    """

    folder: Path | None = None
    examples: InstructionSet | None = None
    findings: tuple[Finding, ...] = ()
    place: int = 0
    uploads: tuple[tuple[str, Path], ...] = ()
    news: str = ""
    source: Path | None = None
    labelled: Labelled | None = None
    repairs: tuple[str, ...] = ()

    def close(self) -> None:
        """Remove what was uploaded; runs have copies of their own."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class ItemView:
    """One item to look at.

    Attributes:
        title: which it is.
        picture: with its boxes, or None where there is none.
        text: what would be learnt, as HTML.
    """

    title: str
    picture: Image.Image | None
    text: str


@dataclass(frozen=True)
class RunView:
    """A run to look at.

    Attributes:
        progress: as HTML.
        plot: file of the losses, or None before there is one.
        is_live: whether it goes on changing.
    """

    progress: str
    plot: str | None
    is_live: bool


@dataclass(frozen=True)
class Comparison:
    """A/B under way: base and adapter on what a run held out, one example after another.

    Attributes:
        run: name of the run.
        count: examples to ask.
        asked: of these, how many were.
        rows: a reply of both to every question so far.
        key: of this comparison among all.
    """

    run: str
    count: int
    asked: int = 0
    rows: tuple[ComparedReply, ...] = ()
    key: str = field(default_factory=lambda: uuid4().hex)

    @property
    def left(self) -> int:
        """Examples still to be asked."""
        return self.count - self.asked


class FinetuneTab:
    """Handlers of the finetune tab.

    Args:
        jobs: the runs.
        sessions: of the chat, whose answers an adapter may take over.
        base: the model that is taught.
        settings: what runs have in common; names the base.
    """

    def __init__(self, jobs: Jobs, sessions: Sessions, base: Groma, settings: LoraSettings) -> None:
        self.jobs = jobs
        self._sessions = sessions
        self._base = base
        self._settings = settings
        self._adapted: WeakValueDictionary[Path, Groma] = WeakValueDictionary()
        self._comparing: dict[str, Groma] = {}
        # Gradio keeps a visitor's set, for an hour longer than their page.
        self._own: WeakValueDictionary[str, OwnSet] = WeakValueDictionary()
        self._lock = Lock()

    def load(self, desk: Desk, files: Sequence[Path]) -> Desk:
        """Read an uploaded set: one zip, or files; pictures alone are added to the set there is."""
        if not files:
            raise GromaError("Please choose a zip, or a JSON file together with its pictures.")
        desk = self._with_folder(desk)
        assert desk.folder is not None
        if desk.source is not None and all(_is_picture(file) for file in files):
            source = desk.source
            _copy(files, source if source.is_dir() else source.parent)
            examples = read_set(source)
        else:
            source = Path(tempfile.mkdtemp(dir=desk.folder))
            if any(file.suffix.lower() == ".zip" for file in files):
                if len(files) > 1:
                    raise GromaError("Please choose one zip alone, or files without a zip.")
                examples = read_set(files[0], folder=source)
            else:
                _copy(files, source)
                source = source / files[0].name if len(files) == 1 else source
                examples = read_set(source)
        return self._checked(replace(desk, place=0, repairs=(), source=source), examples)

    def remember(self, tab: str, own: OwnSet) -> None:
        """Know what somebody made by hand, for as long as it is kept, for `come_back`."""
        self._own[tab] = own

    def come_back(self, ticket: str) -> OwnSet:
        """A copy of what was made by hand on the page that a browser tab showed before.

        Args:
            ticket: of that page, see `Sessions.ticket`; "" if there was none.
        """
        former = self._own.get(self._sessions.tab_before(ticket) or "")
        return former.copy() if former else OwnSet()

    def take(self, desk: Desk, own: OwnSet) -> Desk:
        """Read what somebody made by hand, as if it had been uploaded."""
        if own.folder is None or not own.examples:
            raise GromaError("Please keep an example first.")
        return self._checked(replace(desk, place=0, repairs=()), read_set(own.folder))

    def look_at(self, draft: Draft) -> tuple[Path | None, tuple[Region, ...]]:
        """A picture as browsers show it, and what the region proposer finds in it."""
        if draft.picture is None:
            return None, ()
        proposals = self._base.regions(read_picture(draft.picture))
        return displayable(draft.picture), proposals

    def correct(self, tab: str, own: OwnSet, draft: Draft, place: Any = -1) -> OwnSet:
        """Put a turn of a visitor's chat on their workbench, see `OwnSet.correct`."""
        session = self._sessions.get(tab)
        return own.correct(draft, session.picture, session.conversation, place)

    def fix(self, desk: Desk, index: Any) -> Desk:
        """Mend one finding, by its position in the table."""
        examples = _examples(desk)
        if not isinstance(index, int) or not 0 <= index < len(desk.findings):
            raise GromaError("This finding is gone already.")
        return self._mended(desk, fix(examples, [desk.findings[index]]))

    def fix_all(self, desk: Desk) -> Desk:
        """Mend whatever can be mended."""
        template, limit = self._base.template, self._settings.limit
        return self._mended(desk, repair(_examples(desk), template, limit))

    def pack(self, desk: Desk) -> tuple[Desk, Path]:
        """A zip with the set as it is now, mended; written whole or not at all."""
        examples, desk = _examples(desk), self._with_folder(desk)
        assert desk.folder is not None
        draft, target = desk.folder / f"{uuid4().hex}.zip", desk.folder / MENDED_NAME
        try:
            write_set(examples, draft)
            return desk, draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)

    def step(self, desk: Desk, by: int) -> Desk:
        """Go on to another item; after the last comes the first."""
        count = len(_examples(desk).items)
        return replace(desk, place=(desk.place + by) % max(1, count))

    def go_to(self, desk: Desk, number: Any) -> Desk:
        """Look at the item of this number."""
        numbers = [item.number for item in _examples(desk).items]
        if number not in numbers:
            raise GromaError("This item is gone already.")
        return replace(desk, place=numbers.index(number))

    def summary(self, desk: Desk) -> str:
        """What there is, as HTML."""
        examples = desk.examples
        if examples is None:
            return render_note("Nothing to check yet: keep examples in step 1, or upload a set.")
        if desk.labelled is not None:
            said = render_labels(examples.layout, desk.labelled)
        else:
            usable = len(examples) - len(left_out(examples))
            count = f"{len(examples)} items, {usable} of them can be learnt"
            said = render_note(f"{examples.layout}: {count}.")
        news = render_note(desk.news) if desk.news else ""
        return said + news + render_repairs(desk.repairs) + render_findings(desk.findings)

    def look(self, desk: Desk) -> ItemView:
        """The item at this place: its boxes, and exactly what would be learnt."""
        examples = desk.examples
        if examples is None or not examples.items:
            return ItemView("", None, "")
        item = examples.items[desk.place]
        title = f"Item {item.number + 1} ({desk.place + 1} of {len(examples)})"
        try:
            picture = overlay(examples, item.number)
        except GromaError:
            picture = None
        try:
            sample = to_sample(examples, item)
            parts = supervised_text(sample, self._base.template, self._settings.limit)
            note = _TALK_OF_LABELS if holds_labels(examples) else "Marked: what is learnt."
            text = render_note(note) + render_supervised(parts)
        except BrokenItem as error:
            text = render_note(f"This item cannot be learnt: {error}.")
        return ItemView(title, picture, text)

    def estimate(self, desk: Desk, choices: Mapping[str, Any]) -> str:
        """What time and memory a training would take, as HTML."""
        samples = self._samples(desk)
        settings, estimate = plan(self._chosen(choices), samples)
        return render_estimate(estimate, guess_seconds(self._base, settings, samples))

    def preview(self, desk: Desk, choices: Mapping[str, Any]) -> str:
        """The same unasked: nothing is said of a set that cannot be learnt yet."""
        if desk.examples is None or any(f.severity == "error" for f in desk.findings):
            return ""
        return self.estimate(desk, choices)

    def start(
        self, desk: Desk, choices: Mapping[str, Any], name: str = "", force: bool = False
    ) -> str:
        """Begin a run, and tell its name."""
        return self.jobs.start(self._chosen(choices), self._samples(desk), name, force).name

    def cancel(self, name: str | None) -> None:
        """Ask a run to stop; it can be resumed."""
        self.jobs.cancel(self._run(name))

    def resume(self, name: str | None) -> None:
        """Go on with a run."""
        self.jobs.resume(self._run(name))

    def names(self) -> list[str]:
        """Of all runs, the newest first."""
        return [run.name for run in self.jobs.runs]

    def labels(self) -> list[tuple[str, str]]:
        """What to call each run in a list, with how it is; and its name."""
        live, runs = self.jobs.current, self.jobs.runs
        return [(f"{run.name}: {_state(run.state, run == live)}", run.name) for run in runs]

    @property
    def is_stored_quantised(self) -> bool:
        """Whether the base is packed on disk, so that there is nothing to choose."""
        folder = loading.resolve(self._settings.model)
        return stored_quantization(loading.read_config(folder)) is not None

    def watch(self, name: str | None) -> RunView:
        """How a run is doing."""
        if not name:
            return RunView(render_note("No run yet."), None, is_live=False)
        run = self._run(name)
        is_live = self.jobs.current == run
        progress = run.progress()
        state, message = _state(progress.state, is_live), without_folders(progress.message)
        progress = replace(progress, state=state, message=message)
        plot = str(run.plot) if run.plot.is_file() else None
        best = run.offered if run.offered != run.adapter else None
        html = render_progress(run.name, progress, run.settings, run.num_examples, best)
        html += render_scores(run.scores)
        return RunView(html, plot, is_live)

    def adapters(self, desk: Desk) -> list[str]:
        """Whose answers can be had: the base, finished runs, and what this visitor sent."""
        done = [run for run in self.jobs.runs if run.offered]
        done = [run.name for run in sorted(done, key=lambda run: is_worse(run.scores))]
        return [BASE, *(name for name, _ in desk.uploads), *done]

    def use(self, tab: str, desk: Desk, name: str | None) -> str:
        """Let an adapter or the base answer in this visitor's chat; tells who does, as HTML."""
        adapted = None if name == BASE else self._load(self._adapter(desk, name), str(name))
        self._sessions.switch(tab, adapted, "" if name == BASE else str(name))
        return render_note(f"Your chat is now answered by: {name}.")

    def upload(self, desk: Desk, file: Path) -> Desk:
        """Take an adapter as `download` gives it; one for another base is refused."""
        desk = self._with_folder(desk)
        assert desk.folder is not None
        name = _clean(file.stem)
        folder = Path(tempfile.mkdtemp(dir=desk.folder)) / name
        folder.mkdir()
        _unpack_adapter(file, folder)
        self._load(folder, f"{name} (sent)")
        others = [(known, path) for known, path in desk.uploads if known != f"{name} (sent)"]
        return replace(desk, uploads=((f"{name} (sent)", folder), *others))

    def download(self, desk: Desk, name: str | None) -> Path:
        """A zip with an adapter, beside it; written whole or not at all."""
        adapter = self._adapter(desk, name)
        target = adapter.with_name(f"{_clean(str(name))}.zip")
        with replacing(target) as file, zipfile.ZipFile(file, "w") as archive:
            for part in ADAPTER_FILES:
                if (adapter / part).is_file():
                    archive.write(adapter / part, part)
        return target

    def begin_comparison(self, name: str | None) -> Comparison:
        """What `compare_next` begins with."""
        run, adapter = self._run(name), self._adapter(Desk(), name)
        if not run.held_out:
            raise GromaError(f"{run.name} held nothing out to compare on.")
        comparison = Comparison(run.name, min(MOST_COMPARED, len(run.held_out)))
        adapted = self._load(adapter, run.name)
        with self._lock:
            while len(self._comparing) >= _MOST_COMPARISONS:  # somebody closed the page
                self._comparing.pop(next(iter(self._comparing)))
            self._comparing[comparison.key] = adapted
        return comparison

    def compare_next(self, comparison: Comparison) -> Comparison:
        """Ask base and adapter about one more example; nothing is left of one that was stopped."""
        adapted = self._comparing.get(comparison.key)
        if adapted is None:
            return replace(comparison, count=comparison.asked)
        sample = self._run(comparison.run).held_out[comparison.asked]
        settings = GenerationSettings(max_new_tokens=LONGEST_COMPARED)
        rows = (*comparison.rows, *compare(self._base, adapted, [sample], settings))
        comparison = replace(comparison, asked=comparison.asked + 1, rows=rows)
        if comparison.key not in self._comparing:
            return replace(comparison, count=comparison.asked)
        if not comparison.left:
            self.stop_comparison(comparison)
        return comparison

    def stop_comparison(self, comparison: Comparison | None) -> None:
        """Ask nothing more after this example."""
        if comparison is not None:
            self._comparing.pop(comparison.key, None)

    def _checked(self, desk: Desk, examples: InstructionSet) -> Desk:
        findings = check(examples, self._base.template, self._settings.limit)
        place = min(desk.place, max(0, len(examples) - 1))
        found = tuple(worst_first(findings))
        labelled = count_labels(examples)
        desk = replace(desk, examples=examples, findings=found, place=place, labelled=labelled)
        return replace(desk, news="")

    def _mended(self, desk: Desk, examples: InstructionSet) -> Desk:
        """The desk with a set that was changed, and how much that helped."""
        mended = self._checked(desk, examples)
        left = {(finding.item, finding.code) for finding in mended.findings}
        gone = (each for each in desk.findings if (each.item, each.code) not in left)
        repairs = (*desk.repairs, *map(_repair, gone))
        return replace(mended, news=_news(desk, mended), repairs=repairs)

    def _chosen(self, choices: Mapping[str, Any]) -> LoraSettings:
        """Settings with what was typed; an empty field keeps its default."""
        given = {name: value for name, value in choices.items() if value is not None}
        return LoraSettings.from_dict(self._settings.to_dict() | given)

    def _samples(self, desk: Desk) -> list[GroundedSample]:
        samples = learnable(_examples(desk))
        if not samples:
            raise GromaError("None of the items can be learnt; see what the doctor found.")
        if any(finding.severity == "error" for finding in desk.findings):
            raise GromaError("The doctor found errors; fix them first, or leave those items out.")
        return samples

    def _run(self, name: str | None) -> RunFolder:
        """A run by its name, never by a path."""
        for run in self.jobs.runs:
            if run.name == name:
                return run
        raise GromaError("Please choose a run first.")

    def _adapter(self, desk: Desk, name: str | None) -> Path:
        if name in dict(desk.uploads):
            return dict(desk.uploads)[name]
        if name == BASE:
            raise GromaError("The base model is no adapter; please choose one.")
        run = self._run(name)
        if run.offered is None:
            raise GromaError(f"{run.name} has no adapter yet.")
        return run.offered

    def _load(self, adapter: Path, name: str) -> Groma:
        """The base with an adapter; shared by all who use it, gone with the last of them."""
        with self._lock:
            adapted = self._adapted.get(adapter)
            if adapted is None:
                adapted = self._adapted[adapter] = self._base.with_adapter(adapter)
                adapted.adapter = name
            return adapted

    def _with_folder(self, desk: Desk) -> Desk:
        return desk if desk.folder else replace(desk, folder=Path(tempfile.mkdtemp()))


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in PICTURE_ENDINGS


def _copy(files: Sequence[Path], folder: Path) -> None:
    """Put files into a folder, none in the place of another."""
    for file in dict.fromkeys(files):
        target = folder / file.name
        if target.exists():
            raise GromaError(
                f"There are two files {file.name}; rename one, or send a zip with folders."
            )
        shutil.copyfile(file, target)


def _clean(name: str) -> str:
    """A name as part of a file name."""
    return re.sub(r"[^\w-]+", "-", name).strip("-")[:60] or "adapter"


def _examples(desk: Desk) -> InstructionSet:
    if desk.examples is None:
        raise GromaError("Please upload examples first.")
    return desk.examples


def _state(state: State, is_live: bool) -> State:
    """How a run is whose process may not have taken over yet."""
    return "starting" if is_live and state == "interrupted" else state


def _repair(finding: Finding) -> str:
    """What was wrong, and what was done about it."""
    where = "" if finding.item is None else f"Item {finding.item + 1}: "
    return f"{where}{finding.sentence}{f' Done: {finding.fix.label}.' if finding.fix else ''}"


def _news(before: Desk, after: Desk) -> str:
    """What became of the findings, and of the items, when something was mended."""
    mended = len(before.findings) - len(after.findings)
    said = f"{max(0, mended)} of {len(before.findings)} findings are mended"
    if before.examples and after.examples and len(before.examples) > len(after.examples):
        said += f" ({len(before.examples) - len(after.examples)} items left out)"
    if not after.findings:
        return f"{said}; nothing is left."
    errors = sum(finding.severity == "error" for finding in after.findings)
    wrong = len({finding.item for finding in after.findings} - {None})
    said += f"; {len(after.findings)} are left in {wrong} {'item' if wrong == 1 else 'items'}"
    return f"{said}, {errors} of them errors that must go first." if errors else f"{said}."


def _unpack_adapter(file: Path, folder: Path) -> None:
    """Take the files of an adapter out of a zip, and nothing else."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as unpacked:
        unpack(file, Path(unpacked), _ADAPTER_LIMITS, _is_of_adapter)
        found = sorted(Path(unpacked).rglob(ADAPTER_FILES[0]))
        if len(found) > 1:
            raise GromaError("The zip holds more than one adapter; send one alone.")
        for name in ADAPTER_FILES:
            source = found[0].with_name(name) if found else Path(unpacked) / name
            if source.is_file():
                source.replace(folder / name)
    for name in ADAPTER_FILES[:2]:
        if not (folder / name).is_file():
            raise GromaError(f"The zip holds no adapter: there is no {name} in it.")


def _is_of_adapter(entry: zipfile.ZipInfo) -> bool:
    return PurePosixPath(entry.filename).name in ADAPTER_FILES
