"""`groma data check`; heavy imports wait until it runs."""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from groma.cli.options import load_template
from groma.cli.terminal import format_table, printable, show
from groma.types import GromaError

if TYPE_CHECKING:
    from groma.instruction_sets.doctor.finding import Finding
    from groma.instruction_sets.readers.set_items import InstructionSet, RawBox
    from groma.text.template import Template

_HEAD = ("item", "", "kind", "what is wrong", "fix")
_OF_A_KIND = 5  # so many findings of a kind are listed


def add(actions: Any) -> None:
    """Add the action to the parser."""
    parser = actions.add_parser("check", help="what is wrong with an instruction set, and mend it")
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="Groma-Instruct or LLaVA JSON, or boxes of COCO, YOLO, Pascal VOC, CVAT, LabelMe, "
        "Label Studio, Supervisely or VIA; or a zip or folder with one set",
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="folder of the pictures (beside FILE)"
    )
    parser.add_argument(
        "--boxes",
        metavar="LAYOUT",
        help="what the numbers of boxes are: xywh, xyxy or cxcywh, alone or with -pixels, "
        "-fractions or -thousandths (recognised)",
    )
    parser.add_argument("--fix", action="store_true", help="write a set with all of it mended")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="where to; .json or .zip (NAME-fixed beside FILE, a .zip for a zip or folder)",
    )
    parser.add_argument(
        "--model", metavar="FOLDER", help="also say what this model's tokens leave no room for"
    )
    parser.add_argument(
        "--limit", type=int, default=1024, metavar="N", help="most tokens of a conversation (1024)"
    )
    parser.add_argument(
        "--show",
        type=int,
        metavar="N",
        help="draw item N, from 1, and with --model spell what is learnt of it",
    )
    parser.add_argument("--save", type=Path, metavar="OUT.png", help="picture of --show (item-N)")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    """Check a set, and mend it where that is asked for."""
    for text in _said(options):
        show(printable(text))


def _said(options: argparse.Namespace) -> Iterator[str]:
    """What there is to read."""
    from groma.instruction_sets.doctor.layout_check import explain, read_as
    from groma.instruction_sets.readers.reading import read_set

    _check_options(options)
    template = load_template(options.model) if options.model else None
    with TemporaryDirectory(prefix="groma-set-") as folder:
        found = read_set(options.file, options.images, Path(folder))
        yield _describe(found)
        if options.boxes:
            found, layout = read_as(found, options.boxes)
            yield f"Boxes are read as {layout}, as you say."
        elif explained := explain(found):
            yield explained
        if options.show is None:
            yield from _check(found, options, template)
        else:
            yield _show(found, options, template)


def _describe(instructions: "InstructionSet") -> str:
    """A set in one sentence."""
    questions = sum(len(item.exchanges) for item in instructions.items)
    pictures = len({item.picture for item in instructions.items})
    return (
        f"{instructions.layout} set: {_count(len(instructions), 'item', 'items')}, "
        f"{_count(pictures, 'picture', 'pictures')}, {_count(questions, 'question', 'questions')}, "
        f"{_count(_count_boxes(instructions), 'box', 'boxes')}."
    )


def _count_boxes(instructions: "InstructionSet") -> int:
    """Boxes on all pictures; several items may have the same ones."""
    boxes: Counter[tuple[str, RawBox]] = Counter()
    for item in instructions.items:
        boxes |= Counter((item.picture, box) for box in item.boxes)
    return boxes.total()


def _check_options(options: argparse.Namespace) -> None:
    if options.limit < 1:
        raise GromaError("--limit must be at least 1.")
    if options.show is not None and options.show < 1:
        raise GromaError("Items count from 1: --show 1 draws the first.")
    if options.out and not options.fix:
        raise GromaError("--out says where --fix writes to; give --fix too.")
    if options.out and options.out.exists():
        raise GromaError(f"{options.out} exists already; name a new file.")


def _check(
    found: "InstructionSet", options: argparse.Namespace, template: "Template | None"
) -> Iterator[str]:
    """List what is wrong, and mend it where that is asked for."""
    from groma.instruction_sets.doctor.checking import check, repair, worst_first
    from groma.instruction_sets.readers.writing import write_set

    findings = check(found, template, options.limit)
    if findings:
        yield format_table(_HEAD, list(_rows(worst_first(findings))))
    yield _summarise(findings)
    if options.fix:
        mended = repair(found, template, options.limit)
        _check_choices(check(mended, template, options.limit))
        target = options.out or _default_target(options.file)
        write_set(mended, target)
        yield (
            f"{target} is written with {_count(len(mended), 'item', 'items')}; "
            f"{_count(len(found) - len(mended), 'item is', 'items are')} left out."
        )
    elif any(finding.severity == "error" for finding in findings):
        _check_choices(findings)
        raise GromaError(f"{_spell_use(found)}; --fix writes a set without errors.")


def _check_choices(findings: "Sequence[Finding]") -> None:
    """Ask what only somebody who knows the set can say, where it cannot be used without."""
    names = [
        finding.fix.choice
        for finding in findings
        if finding.severity == "error" and finding.item is None
        if finding.fix and finding.fix.choice
    ]
    if names:
        options = " or ".join(f"--boxes {name}" for name in names)
        raise GromaError(
            f"What its boxes mean is not certain; look with --show, and give {options}."
        )


def _spell_use(found: "InstructionSet") -> str:
    """What would become of a set with errors."""
    from groma.instruction_sets.readers.set_items import left_out

    count = len(left_out(found))
    if count == 0:
        return "As it is, this set would teach wrong places"
    return f"Of {_count(len(found), 'item', 'items')}, {count:,} cannot be learnt"


def _show(found: "InstructionSet", options: argparse.Namespace, template: "Template | None") -> str:
    """Draw one item, and spell what is learnt of it."""
    from groma.data.set_preview import mark_learnt
    from groma.data.tokenise import write
    from groma.instruction_sets.doctor.showing import overlay
    from groma.instruction_sets.readers.set_items import to_sample

    item = found.find(options.show - 1)
    target = options.save or Path(f"item-{options.show}.png")
    overlay(found, item.number).save(target)
    lines = [f"Item {options.show} is drawn in {target}."]
    if template is None:
        lines.append("Give --model FOLDER as well to see what is learnt of it.")
    else:
        lines.append(mark_learnt(write(to_sample(found, item), template, options.limit), template))
    return "\n".join(lines)


def _rows(findings: "Sequence[Finding]") -> Iterator[tuple[str, ...]]:
    """A line per finding, of which only some of a kind are listed."""
    kinds = Counter(finding.code for finding in findings)
    listed: Counter[str] = Counter()
    for finding in findings:
        listed[finding.code] += 1
        if listed[finding.code] <= _OF_A_KIND:
            item = "all" if finding.item is None else str(finding.item + 1)
            mend = finding.fix.label if finding.fix else ""
            yield item, finding.severity, finding.code, finding.sentence, mend
        if listed[finding.code] == kinds[finding.code] > _OF_A_KIND:
            more = kinds[finding.code] - _OF_A_KIND
            yield "…", finding.severity, finding.code, f"and {more:,} more", ""


def _summarise(findings: "Sequence[Finding]") -> str:
    if not findings:
        return "Nothing is wrong with it."
    severities = {(f.code, f.item): f.severity for f in findings}
    counts = Counter(severities.values())
    parts = [
        _count(counts[severity], severity, f"{severity}s")
        for severity in ("error", "warning", "note")
        if counts[severity]
    ]
    mended = len({(f.code, f.item) for f in findings if f.is_sure})
    return f"{', '.join(parts)}; {_share(mended, len(severities))} can be mended with --fix."


def _share(count: int, total: int) -> str:
    """How many of several, in words where there is a word for it."""
    if count == total:
        return "it" if total == 1 else "all of them"
    return f"{count:,} of them" if count else "none of it"


def _default_target(file: Path) -> Path:
    """A place from which pictures are found: beside a file, or in a zip together with them."""
    if file.is_dir():
        # Its name, even where it is given as a dot.
        file = file.resolve()
        return file.with_name(f"{file.name}-fixed.zip")
    ending = ".zip" if file.suffix.lower() == ".zip" else ".json"
    return file.with_name(f"{file.stem}-fixed{ending}")


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
