"""`groma train lora`: its arguments, and what it does; heavy imports wait until it runs."""

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groma.cli.terminal import log_progress, show
from groma.types import GromaError

if TYPE_CHECKING:
    from groma.data.sample import GroundedSample
    from groma.finetune.lora_settings import LoraSettings
    from groma.finetune.run_folder import RunFolder

_DESCRIPTION = """\
Teach a model from a handful of examples: low-rank matrices (LoRA) on the language model's linear
layers. The run's folder holds settings, log, plot, checkpoints and in the end FOLDER/adapter, for
`groma ask --adapter`. Ctrl-C stops it where --resume goes on; so does a killed process.

Several GPUs: accelerate launch -m groma train lora …
"""

_logger = logging.getLogger(__name__)


def add(stages: Any) -> None:
    """Add the command to the parser."""
    parser = stages.add_parser(
        "lora",
        help="an adapter from a handful of examples (LoRA, QLoRA)",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=_run)
    parser.add_argument("--model", metavar="FOLDER", help="the base: folder or Hugging Face id")
    parser.add_argument("--data", type=Path, metavar="FILE", help="instruction set: JSON, zip, …")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="where its pictures are")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="of the run")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--estimate", action="store_true", help="only say what memory it takes")
    parser.add_argument(
        "--force", action="store_true", help="start even if it does not fit or data are broken"
    )
    learning = parser.add_argument_group("learning")
    learning.add_argument("--rank", type=int, metavar="N", help="of the matrices (16)")
    learning.add_argument("--alpha", type=float, metavar="X", help="their scale (twice the rank)")
    learning.add_argument("--dropout", type=float, metavar="P", help="of their input (0.05)")
    learning.add_argument(
        "--whole",
        nargs="+",
        choices=("projector", "region_encoder"),
        metavar="PART",
        help="train these as a whole besides: projector, region_encoder",
    )
    learning.add_argument("--lr", type=float, metavar="X", help="learning rate (by model width)")
    learning.add_argument("--epochs", type=float, metavar="N", help="times round (by set size)")
    learning.add_argument("--batch-size", type=int, metavar="N", help="examples at once (1)")
    learning.add_argument("--accumulation", type=int, metavar="N", help="batches per step (4)")
    learning.add_argument("--held-out", type=float, metavar="SHARE", help="to measure on (0.1)")
    learning.add_argument(
        "--variation",
        type=float,
        metavar="SHARE",
        help="how often a picture is changed a little before it is shown (0.8)",
    )
    learning.add_argument(
        "--rehearsal",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="learn what the base says of the pictures along, so that it forgets less (on)",
    )
    learning.add_argument("--limit", type=int, metavar="N", help="tokens per example (1024)")
    learning.add_argument("--seed", type=int, metavar="N")
    machine = parser.add_argument_group("machine")
    machine.add_argument("--quantization", choices=("none", "8bit", "4bit"), help="4bit is QLoRA")
    machine.add_argument("--device", help="auto, cpu, cuda, …")
    machine.add_argument("--dtype", help="auto, float32, bfloat16 or float16")
    machine.add_argument(
        "--checkpointing",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="compute activations twice, which saves memory (wide models do)",
    )


def _run(options: argparse.Namespace) -> None:
    """Train an adapter, or say what memory that takes."""
    from groma.finetune.lora_run import stop_on_signals, train
    from groma.finetune.run_folder import RunFolder
    from groma.finetune.scores import verdict

    log_progress()
    if int(os.environ.get("RANK", 0)) and not options.resume:
        folder = RunFolder.wait_for(options.out)
    elif options.resume:
        folder = RunFolder.open(options.out)
    else:
        folder = _begin(options)
        if folder is None:
            return
    with stop_on_signals() as stop:
        done = train(folder, stop)
    if not done:
        show(f"Stopped; go on with: groma train lora --resume --out {options.out}")
        return
    scores = folder.scores
    said = [*map(str, scores), verdict(scores), f"The adapter is in {folder.adapter}."]
    show("\n".join(filter(None, said)))


def _begin(options: argparse.Namespace) -> "RunFolder | None":
    """Lay down a new run, or only say what memory it takes."""
    from groma.finetune.planning import plan, prepare

    settings, samples = _read_settings(options), _read_samples(options)
    _, needed = plan(settings, samples)
    width = max(len(name) for name, _ in needed.rows())
    sys.stderr.writelines(f"{name:<{width}}  {size:>10}\n" for name, size in needed.rows())
    if options.estimate:
        return None
    return prepare(options.out, settings, samples, options.force)[0]


def _read_settings(options: argparse.Namespace) -> "LoraSettings":
    from dataclasses import fields

    from groma.finetune.lora_settings import LoraSettings

    if not options.model or not options.data:
        raise GromaError("A new run needs --model and --data; or go on with one: --resume.")
    said = {field.name: getattr(options, field.name) for field in fields(LoraSettings)}
    given = {name: value for name, value in said.items() if value is not None}
    return LoraSettings.from_dict(given, "The command line")


def _read_samples(options: argparse.Namespace) -> "list[GroundedSample]":
    from groma.finetune.label_talks import learnable
    from groma.instruction_sets.doctor.checking import check
    from groma.instruction_sets.readers.reading import read_set
    from groma.instruction_sets.readers.set_items import left_out

    instructions = read_set(options.data, options.images)
    wrong = [finding.sentence for finding in check(instructions) if finding.severity == "error"]
    if wrong and not options.force:
        raise GromaError(
            f"{options.data} has {len(wrong)} errors, such as: {wrong[0]} `groma data check` lists "
            "them and mends what it can; --force trains on the rest."
        )
    for item, reason in left_out(instructions).items():
        _logger.warning("Item %d is left out: %s", item + 1, reason)
    return learnable(instructions)
