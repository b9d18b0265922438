"""`groma eval adapter`: base and adapter on the same held-out questions."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groma.cli.options import add_model_options, load_model
from groma.cli.terminal import printable, show
from groma.types import GromaError

if TYPE_CHECKING:
    from groma.data.sample import GroundedSample
    from groma.eval.harness.adapter_comparison import ComparedReply

_WORDS = {"same": "{}", "base": "[-{}-]", "adapter": "{{+{}+}}"}


def add(benchmarks: Any) -> None:
    """Add the command to the parser."""
    parser = benchmarks.add_parser("adapter", help="base and adapter on the same questions (A/B)")
    parser.add_argument(
        "--run",
        dest="lora_run",
        type=Path,
        metavar="FOLDER",
        help="of `groma train lora`: its adapter on what it held out",
    )
    parser.add_argument("--adapter", type=Path, metavar="FOLDER", help="or an adapter …")
    parser.add_argument("--data", type=Path, metavar="FILE", help="… on an instruction set")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="where its pictures are")
    parser.add_argument("--max-new-tokens", type=int, default=256, metavar="N")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_model_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    """Answer every question of a set twice."""
    from groma.chat.settings import GenerationSettings
    from groma.eval.harness.adapter_comparison import compare

    folder, samples = _choose_questions(options)
    base = load_model(options)
    adapter = base.with_adapter(folder)
    settings = GenerationSettings(max_new_tokens=options.max_new_tokens)
    rows = list(compare(base, adapter, samples, settings))
    if options.json:
        show({"adapter": str(folder), "replies": [row.to_dict() for row in rows]})
    else:
        show(printable("\n\n".join([*map(_describe, rows), _summary(rows)])))


def _choose_questions(options: argparse.Namespace) -> "tuple[Path, list[GroundedSample]]":
    """The adapter and the examples that options name, or those that a run held out."""
    from groma.finetune.run_folder import RunFolder
    from groma.instruction_sets.readers.reading import read_set
    from groma.instruction_sets.readers.set_items import to_samples

    samples = to_samples(read_set(options.data, options.images)) if options.data else None
    if options.lora_run is None:
        if options.adapter is None or samples is None:
            raise GromaError("Name --run, or --adapter and --data.")
        return options.adapter, samples
    run = RunFolder.open(options.lora_run)
    if not run.adapter.is_dir():
        raise GromaError(f"{run.name} has no adapter yet; it is {run.state}.")
    if samples is None and not run.held_out:
        raise GromaError(f"{run.name} held nothing out to compare on; name a set with --data.")
    return options.adapter or run.adapter, samples or run.held_out


def _describe(row: "ComparedReply") -> str:
    words = " ".join(_WORDS[who].format(said) for who, said in row.changes)
    lines = [
        f"{row.picture.name}: {row.question}",
        f"  wanted:  {row.wanted}",
        f"  base:    {row.base.text}{_say(row.base_iou)}",
        f"  adapter: {row.adapter.text}{_say(row.adapter_iou)}",
        f"  changes: {words}",
    ]
    return "\n".join(lines)


def _summary(rows: list["ComparedReply"]) -> str:
    """How many answers are right, by kind of question, and how well both point."""
    from groma.finetune.scores import score_replies, verdict

    judged = [row for row in rows if row.base_iou is not None and row.adapter_iou is not None]
    base = sum(row.base_iou or 0.0 for row in judged) / max(1, len(judged))
    adapter = sum(row.adapter_iou or 0.0 for row in judged) / max(1, len(judged))
    scores = score_replies(
        (row.wanted, row.wanted_boxes, bool(row.pointed), row.base, row.adapter) for row in rows
    )
    overlap = f"mean IoU {base:.3f} before, {adapter:.3f} with the adapter."
    lines = [*map(str, scores), verdict(scores), f"{len(rows)} questions; {overlap}"]
    return "\n".join(filter(None, lines))


def _say(iou: float | None) -> str:
    return "" if iou is None else f"  (IoU {iou:.2f})"
