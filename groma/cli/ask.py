"""`groma ask IMAGE QUESTION`: one question about one picture."""

import argparse
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groma.cli.options import (
    add_adapter_option,
    add_masks_option,
    add_model_options,
    add_picture_options,
    load_model,
    read_picture,
)
from groma.cli.terminal import format_box, format_table, printable, show

if TYPE_CHECKING:
    from groma.chat.conversation import GroundedReply
    from groma.named_regions import RegionRef


def add(commands: Any) -> None:
    """`groma ask IMAGE QUESTION`."""
    parser = commands.add_parser("ask", help="ask a question about a picture")
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("question", metavar="QUESTION", help="[1], [2], … mean the regions given")
    regions = parser.add_argument_group("regions to ask about, in pixels; each may be repeated")
    for name, kind, metavar, text in (
        ("--box", _parse_box, "X1,Y1,X2,Y2", "a box"),
        ("--point", _parse_point, "X,Y", "the thing at a place"),
        ("--mask", Path, "FILE.png", "the pixels that are opaque, or bright, in a picture"),
    ):
        regions.add_argument(
            name, type=kind, action="append", default=[], dest="drawn", metavar=metavar, help=text
        )
    parser.add_argument("--max-new-tokens", type=int, default=512, metavar="N")
    parser.add_argument("--temperature", type=float, default=0.0, metavar="T", help="0 is greedy")
    parser.add_argument("--top-p", type=float, default=1.0, metavar="P")
    parser.add_argument("--seed", type=int, metavar="N", help="makes random answers repeatable")
    parser.add_argument(
        "--no-grounding", action="store_false", dest="grounding", help="do not ask for boxes"
    )
    add_masks_option(parser)
    add_picture_options(parser)
    add_model_options(parser)
    add_adapter_option(parser, "answer with what this adapter (LoRA) has learnt")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from groma.chat.conversation import check_question
    from groma.chat.settings import GenerationSettings
    from groma.image import load_mask
    from groma.masks.maker import load_maker
    from groma.shapes import Mask

    # Whatever is wrong with the question is said before a model is loaded.
    check_question(options.question, options.drawn)
    names = (field.name for field in fields(GenerationSettings))
    settings = GenerationSettings(**{name: getattr(options, name) for name in names})
    image = read_picture(options)
    maker = None
    if options.mask_maker is not None:
        maker = load_maker(options.mask_maker, options.device)
    drawn = [Mask.of(load_mask(d)) if isinstance(d, Path) else d for d in options.drawn]
    groma = load_model(options, options.adapter)
    if maker:
        groma = groma.with_masks(maker)
    chat = groma.chat(image, **asdict(settings))
    reply = chat.ask(options.question, regions=drawn)
    if maker:
        reply = chat.make_masks().turns[-1].reply
    show(reply.to_dict() if options.json else _format_reply(reply))
    if options.save:
        reply.draw(image).save(options.save)


def _format_reply(reply: "GroundedReply") -> str:
    """A reply for a terminal: the text with region names after phrases, then the regions."""
    text, at = "", 0
    for span in reply.spans:
        names = " ".join(f"[r{region.id}]" for region in span.regions)
        text += f"{reply.text[at : span.end]} {names}"
        at = span.end
    text = printable((text + reply.text[at:]).strip())
    if not reply.spans:
        return text
    rows = [_row(region, reply.phrase(span)) for span in reply.spans for region in span.regions]
    table = format_table(("id", "phrase", "box", "score", "objectness"), rows)
    masks = f"\n\nMasks by {reply.masks_by}." if reply.masks_by else ""
    return f"{text}\n\n{table}{masks}"


def _row(region: "RegionRef", phrase: str) -> tuple[str, ...]:
    name = f"r{region.id}" if region.user is None else f"r{region.id} = [{region.user}]"
    scores = f"{region.score:.3f}", f"{region.objectness:.3f}"
    return name, printable(phrase), format_box(region.box), *scores


def _parse_box(text: str) -> list[float]:
    """Read "x1,y1,x2,y2"; raises `ArgumentTypeError` if it is not four numbers."""
    return _parse_numbers(text, 4, "four numbers x1,y1,x2,y2")


def _parse_point(text: str) -> dict[str, list[float]]:
    """Read "x,y"; raises `ArgumentTypeError` if it is not two numbers."""
    return {"point": _parse_numbers(text, 2, "two numbers x,y")}


def _parse_numbers(text: str, count: int, wanted: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return numbers
