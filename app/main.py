"""Starts the application: arguments and environment, model, page, server."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import gradio as gr

    from groma.chat import Groma
    from groma.train.lora.settings import LoraSettings

DEFAULT_MODEL = Path(__file__).parents[1] / "weights" / "groma-mini"
RUNS = Path("runs") / "lora"
"""Of trainings in the browser, below the working folder."""
FONTS = ("system-ui", "sans-serif")
"""Those of the system: a page that loads none tells nobody who reads it."""

NO_FINETUNING = (
    "Finetuning is switched on, but ZeroGPU lends a GPU for one short call at a time; it needs a "
    "Space with a GPU of its own."
)

NOTES = {
    "groma-mini": "knows illustrated scenes only; photographs are beyond it.",
    "other": "can name, and point at, things that are not there; a score is no proof.",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the application until it is interrupted.

    Returns:
        Exit status: 0, or 2 after a mistake that one sentence explains.
    """
    options = build_parser().parse_args(arguments)
    # Before gradio is imported: nothing is reported to anybody.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    if is_space():
        import spaces  # noqa: F401  (before torch, which it prepares for borrowed GPUs)
    from groma.types import GromaError

    try:
        serve(options)
    except GromaError as error:
        sys.stderr.write(f"groma: {error}\n")
        return 2
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Arguments; their defaults come from the environment, as on a Hugging Face Space."""
    parser = argparse.ArgumentParser(prog="app.py", description="Groma in the browser.")
    env = os.environ.get
    parser.add_argument(
        "--model",
        default=env("GROMA_MODEL", str(DEFAULT_MODEL)),
        help="folder or Hugging Face id ($GROMA_MODEL)",
    )
    parser.add_argument(
        "--quantization",
        choices=("none", "8bit", "4bit"),
        default=env("GROMA_QUANTIZATION"),
        help="of the language model ($GROMA_QUANTIZATION)",
    )
    parser.add_argument("--device", default=env("GROMA_DEVICE", "auto"), help="auto, cpu, cuda, …")
    parser.add_argument("--dtype", default=env("GROMA_DTYPE", "auto"), help="auto, bfloat16, …")
    parser.add_argument(
        "--memory",
        type=float,
        default=float(env("GROMA_MEMORY_GB", "2")),
        metavar="GB",
        help="for encoded pictures and caches of all visitors ($GROMA_MEMORY_GB)",
    )
    parser.add_argument("--host", default=env("GRADIO_SERVER_NAME", "127.0.0.1"))
    parser.add_argument("--port", type=int, default=None, help="the first free one from 7860")
    parser.add_argument("--share", action="store_true", help="make a public link")
    parser.add_argument(
        "--review",
        type=Path,
        metavar="FOLDER",
        help="add a page to review the conversations that `groma instruct` saved there",
    )
    parser.add_argument("--open", action="store_true", help="open a browser")
    return parser


def is_space() -> bool:
    """Whether this is a Hugging Face Space."""
    return "SPACE_ID" in os.environ


def serve(options: argparse.Namespace) -> None:
    """Load the model and serve the page until it is interrupted.

    Raises:
        GromaError: if the model cannot be loaded.
    """
    import groma
    from groma.types import GromaError

    if options.model == str(DEFAULT_MODEL) and not DEFAULT_MODEL.is_dir():
        raise GromaError(
            f"There is no embedded model in {DEFAULT_MODEL}; name another one with --model."
        )
    from app.finetune_tab import is_allowed
    from app.zero_gpu import is_zero_gpu
    from groma.train.lora.settings import LoraSettings

    finetune, notice = None, ""
    if is_allowed() and is_zero_gpu():
        notice = NO_FINETUNING
        logging.getLogger(__name__).warning(notice)
    elif is_allowed():
        finetune = LoraSettings(
            options.model, options.quantization, device=options.device, dtype=options.dtype
        )
    model = groma.load(
        options.model, options.quantization, device=options.device, dtype=options.dtype
    )
    launch(
        model,
        Path(options.model).name,
        budget=int(options.memory * 1e9),
        review=options.review,
        finetune=finetune,
        notice=notice,
        server_name=options.host,
        server_port=options.port,
        share=options.share,
        inbrowser=options.open,
    )


def launch(
    model: "Groma",
    name: str,
    budget: int = 2_000_000_000,
    review: Path | None = None,
    finetune: "LoraSettings | None" = None,
    runs: Path = RUNS,
    notice: str = "",
    **options: Any,
) -> str:
    """Serve a model that is loaded.

    Args:
        model: what answers.
        name: what it is called.
        budget: bytes for encoded pictures and caches of all visitors.
        review: folder of conversations to review, on a page of its own.
        finetune: what trainings have in common, for a tab to teach the model; None makes none.
        runs: folder of the trainings.
        notice: a sentence for everybody who opens the page.
        options: of `gradio.Blocks.launch`.

    Returns:
        The page's address, once the server ends or at once if `prevent_thread_lock` is given.
    """
    import gradio as gr

    from app.chat_tab import ChatTab
    from app.examples import FOLDER, read_examples
    from app.finetune_tab import FinetuneTab
    from app.pictures import MOST_BYTES
    from app.render import read_styles
    from app.review_tab import add_page, open_review
    from app.state import Sessions
    from app.status import describe
    from app.ui import Page
    from app.zero_gpu import ZeroGpuSessions, is_zero_gpu
    from groma.train.lora.jobs import Jobs

    sessions = ZeroGpuSessions(model) if is_zero_gpu() else Sessions(model, budget)
    teaching = None
    if finetune is not None:
        runs = runs.resolve()
        teaching = FinetuneTab(Jobs(runs), sessions, model, finetune)
    page = Page(model, ChatTab(sessions), read_examples(), teaching)
    note = f"{NOTES.get(name, NOTES['other'])} {notice}".strip()
    blocks = page.build(name, note, lambda: describe(model.model, sessions))
    if review is not None:
        add_page(blocks, open_review(review))
    return start(
        blocks,
        theme=gr.themes.Default(primary_hue="indigo", secondary_hue="indigo", font=FONTS),
        head=f"<style>{read_styles()}</style>",
        allowed_paths=[str(FOLDER), *([str(runs)] if finetune else [])],
        max_file_size="2gb" if finetune else MOST_BYTES,
        run_history=False,
        ssr_mode=False,
        footer_links=["api", "settings"],
        **options,
    )


def start(blocks: "gr.Blocks", **options: Any) -> str:
    """Launch a page.

    Returns:
        Its address.

    Raises:
        GromaError: if no port is free, or the page does not answer.
    """
    from groma.types import GromaError

    try:
        return blocks.launch(**options)[1]
    except OSError as error:
        port = options.get("server_port") or "7860 to 7959"
        raise GromaError(
            f"Nothing can be served at port {port}; name another one with --port, or check --host."
        ) from error
    except ValueError as error:
        if "localhost" not in str(error):
            raise
        blocks.close()
        raise GromaError(
            "The page was started but did not answer within three seconds: this machine is very "
            "busy, or a proxy stands before it (then set NO_PROXY=localhost,127.0.0.1). Try again."
        ) from error
