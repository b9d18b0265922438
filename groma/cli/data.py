"""`groma data stats | show | check`; heavy imports wait until one runs."""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groma.cli import doctor
from groma.cli.options import load_template
from groma.cli.terminal import format_table, printable, show
from groma.embedded import DEFAULT_MODEL
from groma.types import GromaError

if TYPE_CHECKING:
    from groma.data.dataset import Source
    from groma.data.mixture import Mixture

_HEAD = (
    *("source", "format", "items", "a pass", "read", "boxes", "lost boxes", "turns"),
    *("left out", "broken", "why"),
)
_REASONS = 3
_UNSEEN = "validation: "  # stands before the name of a source that is never learnt from


def add(commands: Any) -> None:
    """Add the command and its actions to the parser."""
    parser = commands.add_parser("data", help="look at what models are trained on")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    stats = actions.add_parser("stats", help="what the sources of a configuration hold")
    _add_config(stats, _stats)
    stats.add_argument(
        "--limit", type=int, default=1000, metavar="N", help="items read per source (1000); 0: all"
    )
    stats.add_argument(
        "--no-pictures", action="store_false", dest="pictures", help="do not look for the pictures"
    )
    sample = actions.add_parser(
        "show", help="one sample: its boxes, and what is learnt of its text"
    )
    _add_config(sample, _show)
    sample.add_argument(
        "number", type=int, metavar="N", help="position in the mixture, or item of --source"
    )
    sample.add_argument(
        "--source",
        metavar="NAME",
        help="show an item of this source, as `groma data stats` names it",
    )
    sample.add_argument(
        "--save", type=Path, metavar="OUT.png", help="picture to write (NAME-N.png)"
    )
    sample.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        help="name, folder or Hugging Face id whose tokenizer spells the text",
    )
    doctor.add(actions)


def _add_config(parser: argparse.ArgumentParser, run: Callable[..., None]) -> None:
    parser.add_argument(
        "config", metavar="CONFIG", help="TOML file with [[sources]], or name of a shipped one"
    )
    parser.add_argument("--root", type=Path, metavar="FOLDER", help="where relative paths start")
    parser.set_defaults(run=run)


def _read(options: argparse.Namespace) -> "Mixture":
    from groma.data.mixture import read_mixture
    from groma.train.configuration import find

    return read_mixture(find(options.config), options.root)


def _stats(options: argparse.Namespace) -> None:
    """A table of what a configuration's sources hold; those that are never learnt from come last.

    A lost box is broken while the rest of its item is not; left out is an item for its picture.
    """
    mixture = _read(options)
    if options.limit < 0:
        raise GromaError("--limit must not be negative.")
    mixture.prepare()
    rows = list(_rows(mixture, "", options))
    if mixture.validation is not None:
        rows += _rows(mixture.validation, _UNSEEN, options)
    show(format_table(_HEAD, rows))


def _show(options: argparse.Namespace) -> None:
    """Draw one sample, and spell what is learnt of it."""
    from groma.data.dataset import make_dice
    from groma.data.sample import GroundedSample
    from groma.data.set_preview import describe_sample, draw_sample, mark_learnt
    from groma.data.tokenise import write

    mixture = _read(options)
    source, item = _choose(mixture, options)
    try:
        sample, image = source.load(item, make_dice(mixture.seed, options.number))
    except GromaError as error:
        raise GromaError(f"Item {item} of {source.name} cannot be used: {error}.") from error
    target = options.save or Path(f"{source.name}-{item}.png")
    draw_sample(image, sample).save(target)
    lines = [f"{source.name} {item} -> {target}", describe_sample(sample)]
    if isinstance(sample, GroundedSample):
        template = load_template(options.model)
        lines.append(mark_learnt(write(sample, template, 1 << 30), template))
    show(printable("\n".join(lines)))


def _choose(mixture: "Mixture", options: argparse.Namespace) -> "tuple[Source, int]":
    """The item that the command line names."""
    if options.source is None:
        order = mixture.order(1)
        if not 0 <= options.number < len(order):
            raise GromaError(f"N must be from 0 to {len(order) - 1}, not {options.number}.")
        source, item = order[options.number]
        return mixture.opened[source], item
    found = {source.name: source for source in mixture.opened}
    if mixture.validation is not None:
        found |= {_UNSEEN + source.name: source for source in mixture.validation.opened}
    source = found.get(options.source) or found.get(_UNSEEN + options.source)
    if source is None:
        raise GromaError(f"There is no source {options.source!r}, only {', '.join(found)}.")
    if not 0 <= options.number < len(source.samples):
        raise GromaError(f"N must be from 0 to {len(source.samples) - 1}, not {options.number}.")
    return source, options.number


def _rows(
    mixture: "Mixture", prefix: str, options: argparse.Namespace
) -> Iterator[tuple[str, ...]]:
    """A row for each source."""
    for config, source, share in zip(
        mixture.sources, mixture.opened, mixture.order(1).steps, strict=True
    ):
        total = f"{len(source.samples):,}"
        counts = _count(source, options.limit, options.pictures)
        yield prefix + config.name, config.format, total, f"{share:,}", *counts


def _count(source: "Source", limit: int, pictures: bool) -> tuple[str, ...]:
    """Items read, boxes, lost ones, turns, items left out, broken ones and why, of a source."""
    from groma.data.file_names import find_picture
    from groma.data.order import permute
    from groma.data.sample import GroundedSample
    from groma.data.sources.items import BrokenItem, LeftOut

    length = len(source.samples)
    read = min(limit or length, length)
    boxes = turns = left_out = 0
    broken: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for position in range(read):
        index = position if read == length else permute(position, length, 0)
        try:
            parts: Counter[str] = Counter()
            sample = source.samples.read(index, parts)
            if pictures:
                find_picture(source.images, sample.picture)
        except LeftOut:
            left_out += 1
            continue
        except BrokenItem as error:
            broken[str(error)] += 1
            continue
        boxes += len(sample.boxes)
        lost += parts
        turns += len(sample.turns) if isinstance(sample, GroundedSample) else 0
    numbers = (read, boxes, lost.total(), turns, left_out, broken.total())
    why = (_reasons("items", broken), _reasons("boxes", lost))
    return (*(f"{number:,}" for number in numbers), " | ".join(filter(None, why)))


def _reasons(what: str, counts: Counter[str]) -> str:
    """The most frequent reasons; nothing where there are none."""
    if not counts:
        return ""
    listed = "; ".join(f"{reason} ({count})" for reason, count in counts.most_common(_REASONS))
    return f"{what}: {listed}" + ("; …" if len(counts) > _REASONS else "")
