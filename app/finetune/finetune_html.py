"""What the finetune tab shows, as HTML in which nothing that anybody wrote becomes markup."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Literal

from groma.data.sample import Phrase
from groma.eval.harness.adapter_comparison import ComparedReply
from groma.finetune.lora_settings import LoraSettings
from groma.finetune.memory_estimate import Estimate
from groma.finetune.run_folder import Progress
from groma.finetune.scores import Score, score_replies, verdict
from groma.image import load_image
from groma.instruction_sets.doctor.finding import Finding
from groma.types import Box, Size

from ..canvas.shown_boxes import user_colours
from ..shared.picture_files import to_thumbnail
from .own_examples import Kept, OwnSet

MOST_FINDINGS = 200
"""Rows of the table; a page with more helps nobody."""

MISSING = "picture-missing"
"""What the doctor calls a picture that is not there."""

_WORDS = {
    "ready": "ready to start",
    "starting": "starting: the model is loaded, and asked what it knows of the pictures",
    "training": "training",
    "stopping": "stopping at its next checkpoint; it can be resumed then",
    "done": "done",
    "cancelled": "cancelled; it can be resumed",
    "failed": "failed",
    "interrupted": "interrupted; it can be resumed",
}


def render_findings(findings: Sequence[Finding]) -> str:
    """A table of what is wrong; its buttons carry the position in `findings`."""
    if not findings:
        return '<p class="groma-note">The doctor finds nothing wrong.</p>'
    absent = [finding for finding in findings if finding.code == MISSING]
    listed = [
        (i, finding)
        for i, finding in enumerate(findings)
        if finding.code != MISSING or len(absent) == 1
    ]
    rows = _absent(absent) if len(absent) > 1 else ""
    rows += "".join(_finding(i, finding) for i, finding in listed[:MOST_FINDINGS])
    more = len(listed) - MOST_FINDINGS
    rest = f'<p class="groma-note">And {more} more.</p>' if more > 0 else ""
    head = "<tr><th>Item</th><th>How bad</th><th>What</th><th>Fix</th></tr>"
    return f'<div class="groma-scroll">{_table(head + rows)}</div>{rest}'


def _absent(findings: Sequence[Finding]) -> str:
    """One row for all pictures that are not there: they can be added together."""
    said = (
        f"{len(findings)} items have no picture, such as item {(findings[0].item or 0) + 1}: "
        f"{findings[0].sentence} Add the pictures above, all at once; what is sent already stays."
    )
    severity = '<span class="groma-error">error</span>'
    cells = (f"{len(findings)} items", severity, escape(said), "")
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def render_repairs(repairs: Sequence[str]) -> str:
    """All that was mended, folded away."""
    if not repairs:
        return ""
    rows = "".join(f"<li>{escape(sentence)}</li>" for sentence in repairs)
    what = f"What was repaired ({len(repairs)})"
    return f'<details class="groma-repairs"><summary>{what}</summary><ul>{rows}</ul></details>'


def _finding(index: int, finding: Finding) -> str:
    item = "all"
    if finding.item is not None:
        item = f'<button type="button" data-item="{finding.item}">{finding.item + 1}</button>'
    fix = ""
    if finding.fix:
        fix = f'<button type="button" data-fix="{index}">{escape(finding.fix.label)}</button>'
    cells = (
        item,
        f'<span class="groma-{finding.severity}">{finding.severity}</span>',
        escape(finding.sentence),
        fix,
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def render_supervised(parts: Iterable[tuple[str, bool]]) -> str:
    """The text of an item with what is learnt marked."""
    text = "".join(
        f"<mark>{escape(text)}</mark>" if is_learnt else escape(text) for text, is_learnt in parts
    )
    return f'<pre class="groma-learnt">{text}</pre>'


def render_note(sentence: str) -> str:
    """A sentence of its own."""
    return f'<p class="groma-note">{escape(sentence)}</p>'


def render_estimate(estimate: Estimate, seconds: float) -> str:
    """What a training will need, and whether that is there."""
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(size)}</td></tr>" for name, size in estimate.rows()
    )
    verdict = "fits" if estimate.fits else f"will not fit; {estimate.advice}"
    said = (
        f"It takes about {_duration(_rounded(seconds))} at the pace of this moment, and {verdict}."
    )
    return render_note(said) + _table(rows)


def _rounded(seconds: float) -> float:
    """To minutes, where a guess has no more to say."""
    return 60 * max(1, round(seconds / 60))


def render_progress(
    name: str,
    progress: Progress,
    settings: LoraSettings,
    examples: tuple[int, int],
    checkpoint: Path | None = None,
) -> str:
    """How far a run is, in one table row after another.

    Args:
        name: of the run.
        progress: of the run.
        settings: that were chosen.
        examples: how many it learns from, and how many it is only measured on.
        checkpoint: the best one of a run that ended early, to be used meanwhile.
    """
    best = f"the best so far, {checkpoint.name}, can be used in step 4" if checkpoint else ""
    facts = {
        "run": name,
        "state": _WORDS[progress.state],
        "step": f"{progress.step} of {progress.steps}" if progress.steps else "",
        "loss": _number(progress.loss, "{:.4f}"),
        "held-out loss": _number(progress.held_out_loss, "{:.4f}"),
        "tokens per second": _number(progress.tokens_per_second, "{:,.0f}"),
        "time left": _duration(progress.seconds_left),
        "memory": _number(progress.memory and progress.memory / 1e9, "{:.1f} GB"),
        "why": progress.message,
        "adapter": best,
        "settings": _chosen(settings),
        "examples": f"{examples[0]}, and {examples[1]} held out",
    }
    bar = f'<progress max="1" value="{progress.share:.3f}" aria-label="Progress"></progress>'
    rows = (
        f"<tr><td>{label}</td><td>{escape(fact)}</td></tr>" for label, fact in facts.items() if fact
    )
    return bar + _table("".join(rows))


def _examples(count: int) -> str:
    return f"{count} {'example' if count == 1 else 'examples'}"


def _chosen(settings: LoraSettings) -> str:
    parts = (
        f"rank {settings.rank}",
        _number(settings.lr, "learning rate {:g}"),
        _number(settings.epochs, "{:g} epochs"),
        f"variation {settings.variation:g}",
        "with rehearsal" if settings.rehearsal else "no rehearsal",
        ", ".join(f"{part.replace('_', ' ')} as a whole" for part in settings.whole),
        f"base in {settings.quantization}" if settings.quantization else "",
    )
    return ", ".join(filter(None, parts))


def render_comparison(rows: Sequence[ComparedReply], left: int = 0) -> str:
    """Base and adapter on the same questions: answers, what differs, boxes, overlap.

    Args:
        rows: so far.
        left: how many examples are still to be asked.
    """
    if not rows:
        return render_note(f"{_examples(left)} to ask …")
    pairs = [(r.base_iou, r.adapter_iou) for r in rows if r.iou_gain is not None]
    said = f"{len(rows)} questions."
    if pairs:
        base, adapter = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
        said += f" Mean IoU: base {base:.2f}, adapter {adapter:.2f} ({adapter - base:+.2f})."
    scores = score_replies(
        (row.wanted, row.wanted_boxes, bool(row.pointed), row.base, row.adapter) for row in rows
    )
    if left:
        said += f" Left to ask: {_examples(left)} …"
    legend = (
        '<p class="groma-note">Boxes: <b class="groma-wanted">wanted</b> · '
        '<b class="groma-base">base</b> · <b class="groma-adapter">adapter</b> · '
        '<b class="groma-pointed">pointed at in the question</b>. Words that only one of the two '
        "says are marked. IoU: how well its boxes cover those that are wanted.</p>"
    )
    return render_note(said) + render_scores(scores) + legend + "".join(map(_compared, rows))


def render_scores(scores: Sequence[Score]) -> str:
    """How many answers of base and adapter are right, and whether that is better or worse."""
    rows = "".join(
        f"<tr><td>{escape(what)}</td><td>{escape(right)}</td></tr>"
        for what, right in (str(score).split(": ", 1) for score in scores)
    )
    return render_note(verdict(scores)) + _table(rows) if scores else ""


def _compared(row: ComparedReply) -> str:
    image = load_image(row.picture)
    size = image.height, image.width
    found = (
        ("wanted", row.wanted_boxes),
        ("base", [region.box for region in row.base.regions]),
        ("adapter", [region.box for region in row.adapter.regions]),
    )
    boxes = "".join(_rectangle(box, kind) for kind, several in found for box in several)
    boxes += "".join(_pointed(number, box, size) for number, box in row.pointed)
    answers = (
        ("wanted", escape(row.wanted)),
        ("base", _words(row, "base")),
        ("adapter", _words(row, "adapter")),
    )
    said = "".join(f'<p><b class="groma-{kind}">{kind}</b> {text}</p>' for kind, text in answers)
    return (
        f'<div class="groma-compared">{_seen(to_thumbnail(image), size, boxes)}'
        f"<div><p><strong>{escape(row.question)}</strong></p>{said}{_overlaps(row)}</div></div>"
    )


def _words(row: ComparedReply, who: Literal["base", "adapter"]) -> str:
    """An answer whose words that the other does not have are marked."""
    own = [(said, escape(words)) for said, words in row.changes if said in ("same", who)]
    return " ".join(
        words if said == "same" else f'<mark class="groma-{who}">{words}</mark>'
        for said, words in own
    )


def _overlaps(row: ComparedReply) -> str:
    """How well both point, and how much the same they mean."""
    said = []
    if row.base_iou is not None or row.adapter_iou is not None:
        before, after = (
            _number(iou, "{:.2f}") or "no boxes" for iou in (row.base_iou, row.adapter_iou)
        )
        said.append(f"IoU {before} → {after}{_number(row.iou_gain, ' ({:+.2f})')}")
    if row.agreement is not None:
        said.append(f"boxes of the two agree to {row.agreement:.2f}")
    return f'<p class="groma-note">{escape("; ".join(said))}</p>' if said else ""


def _pointed(number: int, box: Box, size: Size) -> str:
    """A box of the question with its number in its corner."""
    x1, y1, *_ = box
    height = max(size) / 18
    text = (
        f'<text class="groma-pointed" x="{x1 + height / 4:.1f}" y="{y1 + height:.1f}" '
        f'font-size="{height:.1f}">{number}</text>'
    )
    return _rectangle(box, "pointed") + text


def render_made(own: OwnSet) -> str:
    """What somebody made by hand; its buttons carry the number of an example."""
    if not own.examples:
        return render_note("No examples yet.")
    count = len(own.examples)
    said = f"Your set has {_examples(count)}."
    rows = "".join(_made(kept, kept.number == own.editing) for kept in own.examples)
    return f'{render_note(said)}<ul class="groma-made">{rows}</ul>'


def _made(kept: Kept, is_edited: bool) -> str:
    colours = [each["colour"] for each in user_colours()[: len(kept.draft.boxes)]]
    boxes = "".join(
        _rectangle(box, "own", f' style="stroke: {colour}"')
        for box, colour in zip(kept.draft.boxes, colours, strict=True)
    )
    answer = "".join(
        f'<b style="border-color: {colours[piece.regions[0]]}">{escape(piece.text)}</b>'
        if isinstance(piece, Phrase)
        else escape(str(piece))
        for piece in kept.draft.answer
    )
    number, earlier = kept.number, kept.draft.earlier
    after = ""
    if earlier and kept.draft.has_earlier:
        turns = len(earlier.turns)
        after = f"<p>after {turns} earlier {'turn' if turns == 1 else 'turns'}</p>"
    edit = "<em>being edited</em>" if is_edited else _button("edit", number, "Edit")
    return (
        f"<li>{_seen(kept.thumbnail, kept.size, boxes)}<div>{after}"
        f"<p><strong>{escape(kept.draft.question)}</strong></p><p>{answer}</p>"
        f"<p>{edit} {_button('delete', number, 'Delete')}</p></div></li>"
    )


def _button(action: str, number: int, label: str) -> str:
    name = f'aria-label="{label} example {number}"'
    return f'<button type="button" data-{action}="{number}" {name}>{label}</button>'


def _seen(thumbnail: str, size: Size, boxes: str) -> str:
    """A picture with boxes on it."""
    image = f'<img alt="" src="{thumbnail}">'
    return f'<div class="groma-seen">{image}{_drawing(size, boxes)}</div>'


def _drawing(size: Size, content: str) -> str:
    height, width = size
    view = f'viewBox="0 0 {width} {height}" preserveAspectRatio="none"'
    return f'<svg {view} aria-hidden="true">{content}</svg>'


def _rectangle(box: Box, kind: str, more: str = "") -> str:
    x1, y1, x2, y2 = box
    return (
        f'<rect class="groma-{kind}" x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" '
        f'height="{y2 - y1:.1f}"{more}/>'
    )


def _table(rows: str) -> str:
    return f'<table class="groma-table">{rows}</table>'


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"
