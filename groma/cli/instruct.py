"""`groma instruct FOLDER`; heavy imports wait until it runs."""

import argparse
import sys
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from groma.cli.options import add_model_options, load_model
from groma.cli.terminal import printable, show
from groma.types import GromaError

if TYPE_CHECKING:
    from groma.instruct.conversation_maker import Maker
    from groma.instruct.described_pictures import Source
    from groma.instruct.endpoint_writer import EndpointWriter, Estimate
    from groma.instruct.region_choice import RegionChoice
    from groma.instruct.template_writer import TemplateWriter

_SAMPLE = 8  # requests that are written out to estimate all of them


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("instruct", help="make grounded conversations to learn from")
    parser.set_defaults(run=_run)
    parser.add_argument("pictures", type=Path, metavar="FOLDER", help="of the pictures")
    parser.add_argument("--save", type=Path, required=True, metavar="FOLDER", help="for the run")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N pictures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=_range, default=(3, 5), metavar="A-B", help="(3-5)")
    parser.add_argument("--drafts", type=int, default=2, help="most for one conversation (2)")
    parser.add_argument(
        "--retry", action="store_true", help="do again what failed, sending requests anew"
    )
    group = parser.add_argument_group("regions", "without --regions the model proposes them")
    group.add_argument("--regions", type=Path, metavar="FILE", help="region_descriptions.json")
    group.add_argument("--image-data", type=Path, metavar="FILE", help="image_data.json")
    group.add_argument("--questions", type=Path, metavar="FILE", help="question_answers.json")
    group.add_argument("--captions", type=Path, metavar="FILE", help="COCO captions")
    group.add_argument("--count", type=_range, default=(3, 10), metavar="A-B", help="(3-10)")
    group.add_argument("--max-iou", type=float, default=0.3, metavar="X", help="(0.3)")
    _add_writer_arguments(parser)
    add_model_options(parser)


def _add_writer_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("writer", "without --endpoint templates write, offline")
    group.add_argument("--endpoint", metavar="URL", help="an OpenAI-compatible address")
    group.add_argument("--writer", metavar="NAME", help="the model there; it must see pictures")
    group.add_argument(
        "--key-variable",
        default="GROMA_API_KEY",
        metavar="NAME",
        help="environment variable that holds the key (GROMA_API_KEY)",
    )
    group.add_argument("--per-minute", type=float, default=60.0, help="most requests (60)")
    group.add_argument("--threads", type=int, default=4, help="conversations at a time (4)")
    group.add_argument("--timeout", type=float, default=120.0, help="of one request, in s (120)")
    group.add_argument("--attempts", type=int, default=6, help="most for one request (6)")
    group.add_argument("--max-tokens", type=int, default=2000, help="of an answer (2000)")
    group.add_argument(
        "--prices",
        type=_prices,
        metavar="IN,OUT",
        help="of a million tokens read and written, to estimate the cost",
    )
    group.add_argument("--dry-run", action="store_true", help="estimate, and send nothing")


def _run(options: argparse.Namespace) -> None:
    show(printable(_make(options)))


def _make(options: argparse.Namespace) -> str:
    """Make a Groma Instruct data set, and say what became of the pictures."""
    from groma.instruct.conversation_maker import Maker
    from groma.instruct.draft_faults import QualityRules
    from groma.instruct.endpoint_writer import EndpointWriter
    from groma.instruct.made_folder import MadeFolder
    from groma.instruct.region_choice import RegionChoice

    _check(options)
    folder = MadeFolder.begin(options.save, _settings(options))
    rules = QualityRules(*options.rounds)
    choice = RegionChoice(*options.count, max_iou=options.max_iou)
    source = _source(options, choice)
    if options.limit is not None:
        source.keys = source.keys[: options.limit]
    writer = _writer(options)
    maker = Maker(writer, options.pictures, rules, options.drafts, options.seed)
    left = folder.left(source.keys, options.retry)
    if isinstance(writer, EndpointWriter):
        cost = _describe(_estimate(writer, source, maker, left, options.seed), options.prices)
        if options.dry_run:
            return cost
        sys.stderr.write(f"{cost}\n")
    try:
        maker.make_all(source, left, folder, options.threads)
    finally:
        folder.write(source.keys)
    return folder.summary(source.keys)


def _check(options: argparse.Namespace) -> None:
    if bool(options.regions) != bool(options.image_data):
        raise GromaError("--regions and --image-data go together.")
    if (options.questions or options.captions) and not options.regions:
        raise GromaError("--questions and --captions need --regions.")
    if bool(options.endpoint) != bool(options.writer):
        raise GromaError("--endpoint and --writer go together.")
    if min(options.drafts, options.threads) < 1:
        raise GromaError("--drafts and --threads must be 1 at least.")
    if not options.pictures.is_dir():
        raise GromaError(f"There is no folder {options.pictures}.")


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """What must not change while a run goes on."""
    files = {
        name: str(path.resolve()) if (path := getattr(options, name)) else None
        for name in ("pictures", "regions", "image_data", "questions", "captions")
    }
    names = ("seed", "rounds", "count", "max_iou", "drafts", "endpoint", "writer", "max_tokens")
    proposer = {} if options.regions else {"model": options.model}
    return files | {name: getattr(options, name) for name in names} | proposer


def _source(options: argparse.Namespace, choice: "RegionChoice") -> "Source":
    from groma.data.records.derived_files import FOLDER_NAME
    from groma.instruct.described_pictures import ProposalSource, VisualGenomeSource

    if options.regions is None:
        return ProposalSource(options.pictures, load_model(options), choice)
    files = (options.questions, options.captions)
    # The data may lie where nobody can write; the folder of the run is there.
    cache = options.save / FOLDER_NAME
    return VisualGenomeSource(options.regions, options.image_data, choice, *files, cache)


def _writer(options: argparse.Namespace) -> "EndpointWriter | TemplateWriter":
    from groma.endpoint import ChatEndpoint
    from groma.instruct.endpoint_writer import EndpointWriter
    from groma.instruct.template_writer import TemplateWriter

    if options.endpoint is None:
        return TemplateWriter(options.seed)
    endpoint = ChatEndpoint(
        options.endpoint,
        options.writer,
        options.save / "replies",
        settings={"max_tokens": options.max_tokens},
        key_variable=options.key_variable,
        requests_per_minute=options.per_minute,
        timeout=options.timeout,
        attempts=options.attempts,
        resend=options.retry,
    )
    return EndpointWriter(endpoint, options.pictures)


def _estimate(
    writer: "EndpointWriter", source: "Source", maker: "Maker", keys: list[str], seed: int
) -> "Estimate":
    """What first drafts would take, from a few of them."""
    from groma.instruct.endpoint_writer import Estimate

    sample = Random(seed).sample(keys, min(_SAMPLE, len(keys)))
    found = []
    for key in sample:
        with suppress(GromaError):
            material = source.material(key)
            found.append(writer.estimate(material, maker.rounds(material)))
    return Estimate.total(found).scaled(len(keys) / max(1, len(sample)))


def _describe(estimate: "Estimate", prices: tuple[float, float] | None) -> str:
    sentence = (
        f"About {estimate.requests:,} requests with {estimate.input_tokens:,} tokens to read and "
        f"{estimate.output_tokens:,} to write at most, without second drafts"
    )
    if prices is None:
        return f"{sentence}."
    return f"{sentence}: a cost of {estimate.cost(*prices):,.2f} at most."


def _range(text: str) -> tuple[int, int]:
    """Read "3-10", or "5" for "5-5"."""
    low, _, high = text.partition("-")
    try:
        return int(low), int(high or low)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not two numbers A-B") from None


def _prices(text: str) -> tuple[float, float]:
    """Read "2.5,10"."""
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not two prices IN,OUT") from None
    return low, high
