"""`groma eval adapter | rec | lvis-ground | … | rec-mean`; heavy imports wait until one runs."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groma.cli import evaluate_adapter, evaluate_rec_mean
from groma.cli.options import (
    add_at_once_option,
    add_detail_option,
    add_masks_option,
    add_model_options,
    load_model,
)
from groma.cli.terminal import show
from groma.types import GromaError

if TYPE_CHECKING:
    from groma.chat.chat import Groma
    from groma.eval.benchmarks.chat_judge import Judge
    from groma.eval.harness.asker import Protocol
    from groma.eval.harness.benchmark import Answers, Benchmark
    from groma.eval.harness.benchmark_result import Result
    from groma.eval.harness.benchmark_run import RunSettings, Shard

_BENCHMARKS = {
    "rec": "which region do these words mean (RefCOCO, RefCOCO+, RefCOCOg)",
    "lvis-ground": "where is all of a class (LVIS-Ground)",
    "region-caption": "what is in this region (RefCOCOg, Visual Genome)",
    "chat-judge": "how good are answers, as another model judges them (LLaVA-Bench)",
    "detection": "does the region proposer find every object (COCO)",
    "gcg": "grounded descriptions (GLaMM)",
    "photos": "what is seen on photographs: found, named, pointed at, denied, described (COCO)",
}
"""Name -> what it asks."""


def add(commands: Any) -> None:
    """Add the command and its benchmarks to the parser."""
    parser = commands.add_parser("eval", help="measure how good a model is")
    benchmarks = parser.add_subparsers(title="benchmarks", metavar="BENCHMARK", required=True)
    evaluate_adapter.add(benchmarks)
    for name, what in _BENCHMARKS.items():
        _add_arguments(benchmarks.add_parser(name, help=what), name)
    evaluate_rec_mean.add(benchmarks)


def _add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    parser.set_defaults(benchmark=name, run=_run)
    data = parser.add_argument_group("data")
    data.add_argument(
        "--annotations", type=Path, required=True, metavar="FILE", help="what is asked"
    )
    data.add_argument("--images", type=Path, metavar="DIR", help="folder of the pictures")
    data.add_argument("-n", "--limit", type=int, metavar="N", help="ask a random subset")
    data.add_argument("--seed", type=int, default=0, help="picks the subset (0)")
    _add_own_arguments(data, name)
    asked = parser.add_argument_group("protocol (the published one by default)")
    asked.add_argument(
        "--wording",
        choices=("auto", "tags", "words"),
        default="auto",
        help="tags: as the released model was trained; words: as ours are",
    )
    asked.add_argument("--max-new-tokens", type=int, metavar="N")
    asked.add_argument("--score-threshold", type=float, metavar="X", help="least objectness")
    asked.add_argument("--max-regions", type=int, metavar="N", help="most regions proposed")
    add_detail_option(asked)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--save", type=Path, metavar="FILE", help="keep all answers; go on if there are some"
    )
    add_at_once_option(output, default=8)
    output.add_argument(
        "--shard", metavar="I/N", help="answer this share and do not score; torchrun sets it itself"
    )
    output.add_argument(
        "--predictions", type=Path, nargs="+", metavar="FILE", help="score saved answers instead"
    )
    output.add_argument(
        "--compare", type=Path, nargs="+", metavar="FILE", help="other answers to the same cases"
    )
    output.add_argument("--published", metavar="SET", help="figures to stand beside, or none")
    output.add_argument("--report", type=Path, metavar="FILE.md", help="write FILE.md, FILE.json")
    output.add_argument("--json", action="store_true", help="print JSON")
    add_model_options(parser)


def _add_own_arguments(data: Any, name: str) -> None:
    """Declare what only one benchmark has."""
    if name == "rec":
        data.add_argument(
            "--format",
            choices=("expressions", "refer"),
            default="expressions",
            help="as released with Groma, or refs(….).p with --instances and --split",
        )
        data.add_argument("--instances", type=Path, metavar="FILE", help="instances.json of refs")
        data.add_argument("--split", default="val", help="of refs (val)")
        data.add_argument("--cache", type=Path, metavar="DIR", help="folder of indexes")
    elif name == "detection":
        data.add_argument(
            "--objectness",
            choices=("fused", "coco", "sa1b"),
            help="what ranks proposals: both heads, as in use (fused), or one; the authors' own "
            "script for COCO takes coco",
        )
    elif name == "gcg":
        data.add_argument("--masks", type=Path, required=True, metavar="FILE", help="true masks")
        data.add_argument(
            "--overlap",
            choices=("boxes", "masks"),
            help="what is compared: boxes, or with --mask-maker masks",
        )
        add_masks_option(data, "--mask-maker")
        data.add_argument(
            "--text-encoder",
            default="bert-base-uncased",
            metavar="MODEL",
            help="compares phrases for recall; none leaves it out",
        )
    elif name == "chat-judge":
        data.add_argument("--references", type=Path, required=True, metavar="FILE")
        data.add_argument("--context", type=Path, required=True, metavar="FILE")
        data.add_argument("--rules", type=Path, metavar="FILE", help="LLaVA's rule.json")
        data.add_argument("--grounding", action="store_true", help="ask for regions too")
        data.add_argument("--judge-url", metavar="URL", help="OpenAI-compatible endpoint")
        data.add_argument("--judge-model", default="gpt-4-0613", metavar="NAME")
        data.add_argument("--requests-per-minute", type=float, default=60.0, metavar="N")


def _run(options: argparse.Namespace) -> None:
    """Answer a benchmark, or read answers, and score them."""
    from groma.eval.harness.benchmark_run import Shard

    _check(options)
    benchmark = _open(options)
    if not (options.predictions or options.save):
        benchmark.check_tools()
    if options.predictions:
        settings, answers, path = _read(benchmark, options.predictions)
    else:
        shard = Shard.read(options.shard)
        settings = _settings(options, benchmark)
        answers, path = _predict(options, benchmark, settings, shard)
        if shard.of > 1:
            show(
                f"Shard {shard.rank} of {shard.of} is done: {len(answers):,} answers in {path}. "
                "Score the files of all shards with --predictions."
            )
            return
    result = _score(options, benchmark, settings, answers, path)
    if options.report:
        result.save(options.report)
    show(result.to_dict() if options.json else result.to_text())


def _check(options: argparse.Namespace) -> None:
    """Refuse options that contradict each other before anything is done."""
    if options.predictions and (options.save or options.shard):
        raise GromaError("--predictions scores saved answers; --save and --shard make new ones.")
    if not (options.predictions or options.images):
        raise GromaError("--images must name the folder of the pictures.")
    if options.benchmark == "chat-judge" and not (options.predictions or options.save):
        raise GromaError("Judgements are kept beside the answers; say --save FILE.")
    if options.report and options.report.suffix != ".md":
        raise GromaError(f"--report names a Markdown file such as {options.report.stem}.md.")


def _open(options: argparse.Namespace) -> "Benchmark":
    """Read the annotations of the chosen benchmark."""
    from groma.eval.benchmarks.detection_benchmark import Detection
    from groma.eval.benchmarks.gcg import GroundedGeneration, TextEncoder
    from groma.eval.benchmarks.lvis_ground import LvisGround
    from groma.eval.benchmarks.photos.photo_benchmark import Photos
    from groma.eval.benchmarks.region_caption import RegionCaption

    if options.benchmark == "rec":
        return _open_rec(options)
    if options.benchmark == "chat-judge":
        return _open_chat_judge(options)
    if options.benchmark == "gcg":
        encoder = None if options.text_encoder == "none" else TextEncoder(options.text_encoder)
        overlap = options.overlap or ("masks" if options.mask_maker else "boxes")
        return GroundedGeneration(options.annotations, options.masks, overlap, encoder)
    kinds = {each.name: each for each in (Detection, LvisGround, Photos, RegionCaption)}
    return kinds[options.benchmark](options.annotations)


def _open_rec(options: argparse.Namespace) -> "Benchmark":
    from groma.data.sources.coco import open_expressions
    from groma.data.sources.refer import open_refer
    from groma.eval.benchmarks.rec import Rec

    file, instances, cache = options.annotations, options.instances, options.cache
    if options.format == "expressions":
        return Rec([file], open_expressions(file, cache))
    if instances is None:
        raise GromaError("--format refer needs --instances, the file beside the refs.")
    items = open_refer(file, cache, instances=instances, split=options.split)
    return Rec([file, instances], items, options.split)


def _open_chat_judge(options: argparse.Namespace) -> "Benchmark":
    from groma.endpoint import ChatEndpoint
    from groma.eval.benchmarks.chat_judge import JUDGE_SETTINGS, ChatJudge

    def connect(folder: Path) -> "Judge":
        address, name, pace = options.judge_url, options.judge_model, options.requests_per_minute
        return ChatEndpoint(
            address, name, folder, settings=JUDGE_SETTINGS, requests_per_minute=pace
        ).complete

    files = options.annotations, options.references, options.context, options.rules
    return ChatJudge(*files, options.judge_model, connect if options.judge_url else None)


def _settings(options: argparse.Namespace, benchmark: "Benchmark") -> "RunSettings":
    from groma.eval.harness.benchmark_run import RunSettings

    return RunSettings(
        benchmark=benchmark.name,
        annotations=benchmark.label,
        fingerprint=benchmark.fingerprint,
        limit=options.limit,
        seed=options.seed,
        model=str(options.model),
        quantization=options.quantization,
        dtype=options.dtype,
        protocol=_protocol(options, benchmark),
    )


def _protocol(options: argparse.Namespace, benchmark: "Benchmark") -> "Protocol":
    """The published protocol, but for what the options say."""
    from groma.checkpoint import load as loading
    from groma.train.configuration import change

    wording = options.wording
    if wording == "auto":
        is_released = loading.read_config(loading.resolve(options.model)).compat
        wording = "tags" if is_released else "words"
    return change(benchmark.protocol(wording), vars(options) | {"wording": wording})


def _predict(
    options: argparse.Namespace, benchmark: "Benchmark", settings: "RunSettings", shard: "Shard"
) -> tuple["Answers", Path | None]:
    from groma.eval.harness.benchmark_run import predict
    from groma.serve.engine import Engine

    if shard.of > 1 and options.save is None:
        raise GromaError("A shard keeps its answers for the others; say --save FILE.")
    if options.device == "auto" and (rank := os.environ.get("LOCAL_RANK")):
        import torch

        options.device = f"cuda:{rank}" if torch.cuda.is_available() else "cpu"
    path = shard.path(options.save) if options.save else None

    def load() -> "Groma":
        return Engine(load_model(options), options.at_once).groma

    asked = benchmark, settings, options.images, load, path, shard
    return predict(*asked, options.at_once), path


def _read(benchmark: "Benchmark", paths: list[Path]) -> tuple["RunSettings", "Answers", Path]:
    """Answers that were saved, or that GLaMM wrote."""
    from groma.eval.benchmarks.gcg import read_folder
    from groma.eval.harness.benchmark_run import RunSettings, read_predictions

    path = paths[0]
    if benchmark.name == "gcg" and path.is_dir():
        about = benchmark.name, benchmark.label, benchmark.fingerprint
        return RunSettings(*about, None, 0, path.name, None, "auto", None), read_folder(path), path
    settings, answers = read_predictions(paths)
    settings.check_belongs(benchmark, path)
    return settings, answers, path


def _score(
    options: argparse.Namespace,
    benchmark: "Benchmark",
    settings: "RunSettings",
    answers: "Answers",
    path: Path | None,
) -> "Result":
    from groma.eval.harness.benchmark_result import Result, make_lines
    from groma.eval.harness.benchmark_run import choose
    from groma.eval.harness.published_figures import find_set

    beside = find_set(benchmark.name, settings.annotations, options.published)
    chosen = choose(len(benchmark.cases), settings.limit, settings.seed)
    cases = [benchmark.cases[index] for index in chosen]
    if not options.compare:
        answers = benchmark.complete(cases, answers, settings.to_dict(), path)
        score = benchmark.score(cases, answers)
        return Result(settings, make_lines(score), tuple(score.notes), beside)
    other_settings, others, other_path = _read(benchmark, options.compare)
    if other_settings.about != settings.about:
        raise GromaError(
            f"{other_path} holds answers to another subset; --limit and --seed differ."
        )
    cases = [case for case in cases if case.key in answers and case.key in others]
    if not cases:
        raise GromaError(f"{other_path} answers none of the same cases.")
    answers = benchmark.complete(cases, answers, settings.to_dict(), path)
    others = benchmark.complete(cases, others, other_settings.to_dict(), other_path)
    score, other = benchmark.score(cases, answers), benchmark.score(cases, others)
    lines = make_lines(score, other)
    return Result(settings, lines, tuple(score.notes), beside, other_settings)
