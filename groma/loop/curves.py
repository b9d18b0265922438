"""Metrics of a run, as its log has them, and a plot of them."""

from contextlib import suppress
from pathlib import Path

from groma.atomic_file import replacing
from groma.foreign import load_json

LOG_NAME = "log.jsonl"
PLOT_NAME = "curves.png"
_NOT_PLOTTED = (
    *("step", "seconds", "epoch", "learning_rate", "grad_norm"),
    *("samples_per_second", "tokens", "memory", "total_flos"),
)
_HELD_OUT_LOSS = "eval_loss"


def read_log(folder: Path) -> list[dict[str, float]]:
    """Every whole line of a run's log; none if there is no log."""
    path = folder / LOG_NAME
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    rows: list[dict[str, float]] = []
    for line in lines:
        # The end of a process may have cut one off.
        with suppress(ValueError):
            rows.append(load_json(line))
    return [row for row in rows if isinstance(row, dict) and "step" in row]


def plot(rows: list[dict[str, float]], path: Path) -> None:
    """Draw losses and evaluation metrics of a log's rows against steps, as a PNG."""
    from matplotlib.figure import Figure  # late: it takes long to import
    from matplotlib.ticker import FuncFormatter

    names = [name for name in dict.fromkeys(key for row in rows for key in row)]
    metrics = [name for name in names if name.startswith("eval_") and name != _HELD_OUT_LOSS]
    metrics = [name for name in metrics if not name.endswith(("runtime", "per_second"))]
    losses = [n for n in names if not n.startswith(("eval_", "train_")) and n not in _NOT_PLOTTED]
    losses += [_HELD_OUT_LOSS] * (_HELD_OUT_LOSS in names)
    figure = Figure(figsize=(14, 5), layout="constrained")
    for axes, group in zip(figure.subplots(1, 2), (losses, metrics), strict=True):
        for name in group:
            points = [(row["step"], row[name]) for row in rows if name in row]
            label = "held-out loss" if name == _HELD_OUT_LOSS else name.removeprefix("eval_")
            axes.plot(*zip(*points, strict=True), label=label)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        if group:
            axes.legend(fontsize=9, ncols=2)
    loss_axes, metric_axes = figure.axes
    loss_axes.set_yscale("log")
    for which in (loss_axes.yaxis.set_major_formatter, loss_axes.yaxis.set_minor_formatter):
        which(FuncFormatter(lambda value, _: f"{value:g}"))
    loss_axes.set_title("losses")
    metric_axes.set_ylim(0, 1)
    metric_axes.set_title("evaluation")
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=80)
