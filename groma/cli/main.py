"""The `groma` command: one function adds a subcommand's arguments, one runs it.

Heavy imports wait until a subcommand runs, so that `groma --help` is quick.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groma.cli.application import add_app
from groma.embedded import DEFAULT_MODEL

if TYPE_CHECKING:
    from PIL import Image

    from groma.chat.chat import Groma
    from groma.chat.conversation import GroundedReply
    from groma.data.sample import GroundedSample
    from groma.text.template import Template
    from groma.types import RegionRef

Subcommands = Any
"""What `ArgumentParser.add_subparsers` returns; argparse keeps its type private."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Returns:
        Exit status: 0, 2 after a mistake that one sentence on stderr explains, 130 after Ctrl-C.
    """
    options = build_parser().parse_args(arguments)
    try:
        return _run(options)
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace) -> int:
    import torch

    from groma.types import GromaError

    try:
        options.run(options)
    except GromaError as error:
        return _complain(str(error))
    except torch.OutOfMemoryError:
        return _complain(
            "The GPU's memory is full; --quantization 4bit or --device cpu needs less."
        )
    except OSError as error:
        return _complain(f"{error.filename or 'A file'} cannot be used: {error.strerror or error}.")
    return 0


def _complain(sentence: str) -> int:
    print(f"groma: {sentence}", file=sys.stderr)
    return 2


def build_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands; each sets `run` to the function that does it."""
    parser = argparse.ArgumentParser(prog="groma", description="Grounded chat about pictures.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (add_ask, add_regions, add_annotate, add_eval, add_train, add_data, add_instruct):
        add(commands)
    for add in (add_convert, add_info, add_app):
        add(commands)
    return parser


def add_ask(commands: Subcommands) -> None:
    """`groma ask IMAGE QUESTION`."""
    parser = commands.add_parser("ask", help="ask a question about a picture")
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("question", metavar="QUESTION", help="[1], [2], … mean the boxes given")
    parser.add_argument(
        "--box",
        type=parse_box,
        action="append",
        default=[],
        dest="boxes",
        metavar="X1,Y1,X2,Y2",
        help="a region to ask about, in pixels; may be repeated",
    )
    parser.add_argument("--max-new-tokens", type=int, default=512, metavar="N")
    parser.add_argument("--temperature", type=float, default=0.0, metavar="T", help="0 is greedy")
    parser.add_argument("--top-p", type=float, default=1.0, metavar="P")
    parser.add_argument("--seed", type=int, metavar="N", help="makes random answers repeatable")
    parser.add_argument(
        "--no-grounding", action="store_false", dest="grounding", help="do not ask for boxes"
    )
    _add_region_options(parser)
    _add_output_options(parser)
    _add_model_options(parser)
    _add_adapter_option(parser, "answer with what this adapter (LoRA) has learnt")
    parser.set_defaults(run=run_ask)


def run_ask(options: argparse.Namespace) -> None:
    """Answer one question about one picture."""
    from groma.chat.conversation import check_question
    from groma.chat.settings import GenerationSettings

    check_question(options.question, options.boxes)
    settings = GenerationSettings(
        max_new_tokens=options.max_new_tokens,
        temperature=options.temperature,
        top_p=options.top_p,
        seed=options.seed,
        grounding=options.grounding,
        score_threshold=options.score_threshold,
        max_regions=options.max_regions,
    )
    image = _read_image(options)
    groma = _load(options)
    if options.adapter:
        groma = groma.with_adapter(options.adapter)
    chat = groma.chat(image, **asdict(settings))
    reply = chat.ask(options.question, options.boxes)
    _print(reply.to_dict() if options.json else format_reply(reply))
    if options.save:
        reply.draw(image).save(options.save)


def add_regions(commands: Subcommands) -> None:
    """`groma regions IMAGE`."""
    parser = commands.add_parser("regions", help="show what the region proposer finds")
    parser.add_argument("image", metavar="IMAGE")
    _add_region_options(parser)
    _add_output_options(parser)
    _add_model_options(parser)
    parser.set_defaults(run=run_regions)


def run_regions(options: argparse.Namespace) -> None:
    """List the regions of one picture, best first."""
    from groma.drawing.boxes import draw_boxes, regions_to_detections

    image = _read_image(options)
    regions = _load(options).regions(
        image, score_threshold=options.score_threshold, max_regions=options.max_regions
    )
    if options.json:
        size = [image.height, image.width]
        _print({"image_size": size, "regions": [region.to_dict() for region in regions]})
    else:
        rows = [(f"r{r.id}", _format_box(r.box), f"{r.objectness:.3f}") for r in regions]
        _print(format_table(("id", "box", "objectness"), rows))
    if options.save:
        names = [f"r{region.id}" for region in regions]
        found = regions_to_detections([region.ref(region.objectness) for region in regions], names)
        labels = [f"{r.id} {r.objectness:.2f}" for r in regions]
        draw_boxes(image, found, labels).save(options.save)


def add_annotate(commands: Subcommands) -> None:
    """`groma annotate FOLDER`."""
    from groma.cli import instruct as command

    parser = commands.add_parser("annotate", help="grounded captions for a folder of pictures")
    command.add_annotate_arguments(parser)
    _add_model_options(parser)
    parser.set_defaults(run=run_annotate)


def run_annotate(options: argparse.Namespace) -> None:
    """Write grounded captions and boxes."""
    from groma.cli import instruct as command

    _print(_printable(command.run_annotate(options, lambda: _load(options))))


def add_eval(commands: Subcommands) -> None:
    """`groma eval scenes | adapter | rec | rec-mean | lvis-ground | …`."""
    from groma.cli import evaluate as public
    from groma.cli import evaluate_adapter as adapter_command
    from groma.eval.benchmarks import rec_mean
    from recipes.scenes.commands import evaluate_scenes as command

    parser = commands.add_parser("eval", help="measure how good a model is")
    benchmarks = parser.add_subparsers(title="benchmarks", metavar="BENCHMARK", required=True)
    scenes = benchmarks.add_parser("scenes", help="on illustrated scenes")
    command.add_arguments(scenes)
    _add_model_options(scenes)
    scenes.set_defaults(run=run_eval_scenes)
    adapter = benchmarks.add_parser("adapter", help="base and adapter on the same questions (A/B)")
    adapter_command.add_arguments(adapter)
    _add_model_options(adapter)
    adapter.set_defaults(run=run_eval_adapter)
    for name, what in public.BENCHMARKS.items():
        benchmark = benchmarks.add_parser(name, help=what)
        public.add_arguments(benchmark, name)
        _add_model_options(benchmark)
        benchmark.set_defaults(run=run_eval_public)
    mean = benchmarks.add_parser("rec-mean", help="results of rec on several sets, and their mean")
    rec_mean.add_arguments(mean)
    mean.set_defaults(run=run_eval_rec_mean)


def run_eval_scenes(options: argparse.Namespace) -> None:
    """Measure a model on illustrated scenes."""
    from recipes.scenes.commands import evaluate_scenes as command

    _print(command.run(options, lambda: _load(options)))


def run_eval_public(options: argparse.Namespace) -> None:
    """Measure a model on a public benchmark."""
    from groma.cli import evaluate as command

    _print(command.run(options, lambda: _load(options)))


def run_eval_rec_mean(options: argparse.Namespace) -> None:
    """Put results on several sets together."""
    from groma.eval.benchmarks import rec_mean

    _print(rec_mean.run(options))


def _held_out(folder: Path) -> "tuple[Path, list[GroundedSample]]":
    """The adapter of a run, and what it was only measured on.

    Raises:
        GromaError: if there is none.
    """
    from groma.finetune.run_folder import RunFolder
    from groma.types import GromaError

    run = RunFolder.open(folder)
    if not run.adapter.is_dir():
        raise GromaError(f"{run.name} has no adapter yet; it is {run.state}.")
    if not run.held_out:
        raise GromaError(f"{run.name} held nothing out to compare on; name a set with --data.")
    return run.adapter, run.held_out


def run_eval_adapter(options: argparse.Namespace) -> None:
    """Compare a model with and without an adapter."""
    from groma.cli import evaluate_adapter as adapter_command

    result = adapter_command.run(options, lambda: _load(options), _held_out)
    _print(_printable(result) if isinstance(result, str) else result)


def add_train(commands: Subcommands) -> None:
    """`groma train detection | alignment | instruction …`."""
    from groma.cli import train as command

    parser = commands.add_parser("train", help="train a model, stage by stage")
    command.add_arguments(parser)
    parser.set_defaults(run=run_train)


def run_train(options: argparse.Namespace) -> None:
    """Run a stage of the training."""
    from groma.cli import train as command

    result = command.run(options)
    if result is not None:
        _print(result)


def add_data(commands: Subcommands) -> None:
    """`groma data scenes | stats | show | check`."""
    from groma.cli import data as public
    from groma.cli import doctor
    from recipes.scenes.commands import write_scenes as command

    parser = commands.add_parser("data", help="make or look at what models are trained on")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    scenes = actions.add_parser("scenes", help="illustrated scenes with drawn annotations")
    command.add_arguments(scenes)
    scenes.set_defaults(run=run_data_scenes)
    stats = actions.add_parser("stats", help="what the sources of a configuration hold")
    public.add_stats_arguments(stats)
    stats.set_defaults(run=run_data_stats)
    show = actions.add_parser("show", help="one sample: its boxes, and what is learnt of its text")
    public.add_show_arguments(show)
    show.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        help="name, folder or Hugging Face id whose tokenizer spells the text",
    )
    show.set_defaults(run=run_data_show)
    check = actions.add_parser("check", help="what is wrong with an instruction set, and mend it")
    doctor.add_arguments(check)
    check.set_defaults(run=run_data_check)


def run_data_scenes(options: argparse.Namespace) -> None:
    """Write example scenes."""
    from recipes.scenes.commands import write_scenes as command

    _print(command.run(options))


def run_data_stats(options: argparse.Namespace) -> None:
    """Print what the sources of a configuration hold."""
    from groma.cli import data as command
    from groma.train.configuration import find

    options.config = find(options.config)
    _print(format_table(*command.stats(options)))


def run_data_show(options: argparse.Namespace) -> None:
    """Draw one sample, and print what is learnt of it."""
    from groma.cli import data as command
    from groma.train.configuration import find

    options.config = find(options.config)
    _print(_printable(command.show(options, lambda: _load_template(options.model))))


def run_data_check(options: argparse.Namespace) -> None:
    """Say what is wrong with an instruction set, and mend it."""
    from groma.cli import doctor as command

    for text in command.run(options, _load_template, format_table):
        _print(_printable(text))


def add_instruct(commands: Subcommands) -> None:
    """`groma instruct FOLDER`."""
    from groma.cli import instruct as command

    parser = commands.add_parser("instruct", help="make grounded conversations to learn from")
    command.add_instruct_arguments(parser)
    _add_model_options(parser)
    parser.set_defaults(run=run_instruct)


def run_instruct(options: argparse.Namespace) -> None:
    """Have conversations written."""
    from groma.cli import instruct as command

    _print(_printable(command.run_instruct(options, lambda: _load(options))))


def add_convert(commands: Subcommands) -> None:
    """`groma convert SRC DST`."""
    parser = commands.add_parser("convert", help="write a model folder that loads fast")
    parser.add_argument("source", metavar="SRC", help="folder or Hugging Face id")
    parser.add_argument("target", metavar="DST", help="new folder")
    parser.add_argument("--quantization", choices=("none", "8bit", "4bit"), default="none")
    _add_adapter_option(parser, "merge this adapter (LoRA) into the model")
    parser.set_defaults(run=run_convert)


def run_convert(options: argparse.Namespace) -> None:
    """Write a checkpoint in our own layout."""
    from groma.checkpoint import load as loading

    quantization = None if options.quantization == "none" else options.quantization
    loading.convert(options.source, options.target, quantization, adapter=options.adapter)


def add_info(commands: Subcommands) -> None:
    """`groma info FOLDER`."""
    parser = commands.add_parser("info", help="show what a model folder holds")
    parser.add_argument("source", metavar="FOLDER", help="folder or Hugging Face id")
    parser.set_defaults(run=run_info)


_CONVOLUTIONAL = (
    "Not the paper's DINOv2 and DETR head: a convolutional detector finds and names things, and a "
    "fixed code tells the language model; the idea is the paper's, to localise while tokenising."
)


def run_info(options: argparse.Namespace) -> None:
    """Print parameters, types and memory of every part of a checkpoint, and what it computes in."""
    from groma.checkpoint import load as loading

    parts = loading.info(options.source)
    device, dtype = loading.automatic(options.source)
    rows = [(p.name, p.parameters, " ".join(sorted(p.dtypes)), p.size) for p in parts]
    rows.append(("total", sum(p.parameters for p in parts), "", sum(p.size for p in parts)))
    _print(
        format_table(
            ("part", "parameters", "types", "memory"),
            [
                (name, f"{count:,}", types, f"{size / 1e6:,.1f} MB")
                for name, count, types, size in rows
            ],
        )
        + f"\n\nIt computes in {dtype} here, on {device}; --dtype chooses another type."
    )
    if loading.read_config(loading.resolve(options.source)).is_convolutional:
        _print(_CONVOLUTIONAL)


def parse_box(text: str) -> tuple[float, ...]:
    """Read "x1,y1,x2,y2".

    Raises:
        ArgumentTypeError: if it is not four numbers.
    """
    try:
        box = tuple(float(part) for part in text.split(","))
    except ValueError:
        box = ()
    if len(box) != 4:
        raise argparse.ArgumentTypeError(f"{text!r} is not four numbers x1,y1,x2,y2")
    return box


def format_reply(reply: "GroundedReply") -> str:
    """A reply for a terminal: the text with region names after phrases, then the regions."""
    text, at = "", 0
    for span in reply.spans:
        names = " ".join(f"[r{region.id}]" for region in span.regions)
        text += f"{reply.text[at : span.end]} {names}"
        at = span.end
    text = _printable((text + reply.text[at:]).strip())
    if not reply.spans:
        return text
    rows = [
        _format_region(region, reply.phrase(span))
        for span in reply.spans
        for region in span.regions
    ]
    return f"{text}\n\n{format_table(('id', 'phrase', 'box', 'score', 'objectness'), rows)}"


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of text in aligned columns."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in [head, *rows]
    ]
    return "\n".join(line.rstrip() for line in lines)


def _format_region(region: "RegionRef", phrase: str) -> tuple[str, ...]:
    name = f"r{region.id}" if region.user is None else f"r{region.id} = [{region.user}]"
    return (
        name,
        _printable(phrase),
        _format_box(region.box),
        f"{region.score:.3f}",
        f"{region.objectness:.3f}",
    )


def _printable(text: str) -> str:
    """Text without the control characters that a terminal would obey."""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)


def _format_box(box: Sequence[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in box)


def _add_region_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("regions")
    group.add_argument(
        "--score-threshold", type=float, metavar="X", help="least objectness of a region"
    )
    group.add_argument("--max-regions", type=int, metavar="N", help="most regions proposed")


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print JSON")
    group.add_argument("--save", type=Path, metavar="OUT.png", help="write the marked picture")


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        help="groma-photo, groma-mini, a folder or a Hugging Face id (%(default)s)",
    )
    group.add_argument("--quantization", choices=("none", "8bit", "4bit"))
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, …")
    group.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16")


def _add_adapter_option(parser: argparse.ArgumentParser, purpose: str) -> None:
    parser.add_argument("--adapter", type=Path, metavar="FOLDER", help=purpose)


def _load(options: argparse.Namespace) -> "Groma":
    import groma

    return groma.load(
        options.model, options.quantization, device=options.device, dtype=options.dtype
    )


def _load_template(source: str) -> "Template":
    """How the text of a model is spelt."""
    from groma.checkpoint import load as loading
    from groma.text.template import Template
    from groma.tokens import TokenIds

    folder = loading.resolve(source)
    tokens = TokenIds.of(loading.read_config(folder))
    return Template(loading.load_tokenizer(folder), tokens)


def _read_image(options: argparse.Namespace) -> "Image.Image":
    """Read the picture, and refuse a `--save` that would fail after all the work."""
    from PIL import Image

    from groma.image import load_image
    from groma.types import GromaError

    target: Path | None = options.save
    if target and target.suffix.lower() not in Image.registered_extensions():
        raise GromaError(f"{target} has no ending of a picture; try {target.stem}.png.")
    if target and not target.parent.is_dir():
        raise GromaError(f"There is no folder {target.parent}.")
    return load_image(options.image)


def _print(result: str | dict[str, Any]) -> None:
    text = result if isinstance(result, str) else json.dumps(result, indent=2, ensure_ascii=False)
    print(text)
