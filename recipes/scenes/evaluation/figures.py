"""The figures: how good regions, pointing, names, descriptions, answers and conversations are.

Each function turns records into the rows of one table; no model, no I/O.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from groma.eval.statistics.intervals import (
    Estimate,
    Floats,
    divide,
    estimate,
    proportion,
    ratio,
)
from groma.eval.statistics.matching import IOU, num_matched
from groma.types import Box
from recipes.scenes.evaluation.figure_table import Row
from recipes.scenes.evaluation.records import Answer, SceneRecord
from recipes.scenes.evaluation.scene_judging import (
    Description,
    count_pointed,
    judge_caption,
    judge_description,
    points_first,
)
from recipes.scenes.nouns import SIZES

REC_KINDS: dict[str, str] = {
    "rec_name": "by name",
    "rec_colour": "by colour",
    "rec_size": "by size",
    "rec_position": "by position",
    "rec_relation": "by relation",
    "rec_ordinal": "by order",
    "rec_stuff": "background",
}
HARDER = ("rec_colour", "rec_size", "rec_position", "rec_relation")
"""REC that needs more than the noun."""
TOPICS: dict[str, tuple[str, tuple[str, ...]]] = {
    "exist": ("is there …?", ("exist",)),
    "colours": ("colour", ("colour", "region_colour", "follow_colour", "follow_colours")),
    "sizes": ("size", ("size", "region_size", "follow_size", "check_size")),
    "places": ("place in words", ("where", "region_where", "follow_place")),
    "relations": (
        "what is beside, above, nearest",
        ("what_related", "what_from", "nearest", "check_relation", "follow_related"),
    ),
    "several": (
        "several regions at once",
        ("region_names", "select", *(f"compare_{x}" for x in ("size", "place", "same", "colour"))),
    ),
    "background": ("background", ("background",)),
    "outside": ("beyond its world", ("chat_outside", "chat_unknowable")),
    "talk": (
        "small talk",
        (
            *("chat_greeting", "chat_thanks", "chat_goodbye", "chat_abilities", "chat_identity"),
            *("chat_complaint", "chat_acknowledgement"),
        ),
    ),
}
"""Key -> label and the kinds of questions it pools."""

Records = Sequence[SceneRecord]


def proposals(records: Records) -> Iterator[Row]:
    """Average recall of the regions that the language model is shown (paper 5.1)."""
    for threshold in (0.5, 0.75):
        key, label = f"proposals_{threshold * 100:.0f}", f"AR@{threshold}"
        every = _recall(records, lambda record: _thing_boxes(record, *SIZES), threshold)
        yield Row(key, label, every)
        for size in SIZES:
            found = _recall(records, lambda record, s=size: _thing_boxes(record, s), threshold)
            yield Row(f"{key}_{size}", f"{label}, {size}", found)
    stuff = _recall(records, lambda record: [box for _, box in record.stuff], IOU)
    yield Row("proposals_50_stuff", "AR@0.5, background", stuff)
    counts = [
        (num_matched(record.proposals, boxes := _thing_boxes(record, *SIZES)), len(boxes))
        for record in records
    ]
    yield Row("proposals_50_all", "AR@0.5 of all proposals", _ratio(counts))
    shown = [(len(record.shown), 1) for record in records]
    yield Row("regions", "regions shown per picture", estimate(np.array(shown), ratio, len(shown)))


def _recall(
    records: Records, truth: Callable[[SceneRecord], list[Box]], threshold: float
) -> Estimate:
    pairs = [(record.shown, truth(record)) for record in records]
    return _ratio([(num_matched(shown, boxes, threshold), len(boxes)) for shown, boxes in pairs])


def _thing_boxes(record: SceneRecord, *sizes: str) -> list[Box]:
    return [thing.box for thing in record.things if thing.size in sizes]


def pointing(records: Records) -> Iterator[Row]:
    """REC by kind (first region, IoU above 0.5), finding all, and finding what is not there."""
    for kind, label in REC_KINDS.items():
        yield Row(kind, f"REC {label}", _share(_points_first(records, kind)))
    harder = [right for kind in HARDER for right in _points_first(records, kind)]
    yield Row("rec_harder", "REC by colour, size, position, relation", _share(harder))
    exact = [answer.verdict.pointed is True for answer in answers_to(records, *REC_KINDS)]
    yield Row("rec_exact", "REC of any kind, no region besides", _share(exact))
    asked = answers_to(records, "find_all")
    counts = [count_pointed(answer.reply, answer.expected_boxes) for answer in asked]
    yield Row("find_all_precision", "find all: precision", _ratio([row[:2] for row in counts]))
    yield Row("find_all_recall", "find all: recall", _ratio([row[::2] for row in counts]))
    yield Row(
        "find_all_f1", "find all: F1", estimate(np.array(counts), f1, len(counts), is_share=True)
    )
    absent = [answer.verdict.right for answer in answers_to(records, "find_absent")]
    yield Row("absent", "not there: says so, no box", _share(absent))


def _points_first(records: Records, kind: str) -> list[bool]:
    asked = answers_to(records, kind)
    return [points_first(answer.reply, answer.expected_boxes[0]) for answer in asked]


def naming(records: Records) -> Iterator[Row]:
    """Names (short captions) and descriptions (long captions) of regions the user marks."""
    asked = answers_to(records, "region_name")
    things = [answer.verdict.right for answer in asked if answer.marked_thing]
    stuff = [answer.verdict.right for answer in asked if not answer.marked_thing]
    yield Row("names", "name of a thing", _share(things))
    yield Row("names_stuff", "name of background", _share(stuff))
    captions = [
        judge_caption(answer.reply.text, answer.marked_thing)
        for answer in answers_to(records, "region_describe")
        if answer.marked_thing
    ]
    for fact in ("name", "colour", "size"):
        outcomes = [caption[fact] for caption in captions if fact in caption]
        yield Row(f"caption_{fact}", f"description: {fact}", _share(outcomes))
    whole = [answer.verdict.right for answer in answers_to(records, "region_describe")]
    yield Row("caption", "description: name, colour and place", _share(whole))


def describing(records: Records) -> Iterator[Row]:
    """Precision and recall of phrases: the right box for the right noun."""
    brief, long = "describe_brief", "describe_long"
    kinds = {"": (brief, long), "_brief": (brief,), "_long": (long,)}
    for suffix, chosen in kinds.items():
        pairs = _descriptions(records, chosen)
        label = f"{suffix[1:] or 'all'}: "
        precision = _by_scene([(scene, (d.right, d.grounded)) for scene, d in pairs])
        recall = _by_scene([(scene, (d.covered, d.wanted)) for scene, d in pairs])
        yield Row(f"description{suffix}_precision", f"{label}precision", _ratio(precision))
        yield Row(f"description{suffix}_recall", f"{label}recall", _ratio(recall))
    every = [description for _, description in _descriptions(records, (brief, long))]
    colours = sum(d.colours_right for d in every), sum(d.colours for d in every)
    sizes = sum(d.sizes_right for d in every), sum(d.sizes for d in every)
    yield Row("description_colours", "colours named right", proportion(*colours))
    yield Row("description_sizes", "sizes named right", proportion(*sizes))


def _descriptions(records: Records, kinds: Iterable[str]) -> list[tuple[int, Description]]:
    """Index of the scene, and what its description is worth."""
    return [
        (
            answer.scene.index,
            judge_description(
                answer.reply,
                answer.scene.names,
                answer.scene.boxes,
                answer.turn.expected.regions or (),
                answer.scene.things,
            ),
        )
        for answer in answers_to(records, *kinds)
    ]


def answering(records: Records) -> Iterator[Row]:
    """Counts, and other questions by topic; but for counts, boxes must be right too."""
    counted = [answer.verdict.said is True for answer in answers_to(records, "count")]
    yield Row("count", "count (number said)", _share(counted))
    right = [answer.verdict.right for answer in answers_to(records, "count")]
    yield Row("count_boxes", "count, boxes too", _share(right))
    for key, (label, kinds) in TOPICS.items():
        yield Row(key, label, _share(a.verdict.right for a in answers_to(records, *kinds)))
    every = [answer for record in records for answer in record.singles]
    endless = [answer.reply.finish == "length" for answer in every]
    yield Row("endless", "answers that were cut off", _share(endless))


def conversing(records: Records) -> Iterator[Row]:
    """Follow-ups after one turn, and whole conversations of several turns."""
    singles = [answer for record in records for answer in record.singles]
    follow_ups = [a.verdict.right for a in singles if a.turn.kind.startswith("follow_")]
    yield Row("follow_ups", "follow-up after one turn", _share(follow_ups))
    talks = [answers for record in records for answers in record.conversations]
    turns = [answer for answers in talks for answer in answers]
    places = {"first turn": (0, 1), "second turn": (1, 2), "later turns": (2, 99)}
    for label, (start, end) in places.items():
        outcomes = [answer.verdict.right for answer in turns if start <= answer.number < end]
        yield Row(label.replace(" ", "_"), label, _share(outcomes))
    refused = [answer.reply.finish == "cancelled" for answer in turns]
    yield Row("refused", "turns the model could not take", _share(refused))
    whole = [all(answer.verdict.right for answer in answers) for answers in talks]
    yield Row("conversations", "conversations without a fault", _share(whole))


def by_kind(records: Records) -> dict[str, dict[str, Estimate]]:
    """Kind -> share of answers in which all ("right"), the words ("said"), the regions are right.

    Only single questions count; what is not judged counts in neither.
    """
    grouped: dict[str, list[Answer]] = {}
    for record in records:
        for answer in record.singles:
            grouped.setdefault(answer.turn.kind, []).append(answer)
    figures = {}
    for kind in sorted(grouped):
        verdicts = [answer.verdict for answer in grouped[kind]]
        figures[kind] = {
            "right": _share(verdict.right for verdict in verdicts),
            "said": _share(v.said for v in verdicts if v.said is not None),
            "pointed": _share(v.pointed for v in verdicts if v.pointed is not None),
        }
    return figures


def answers_to(records: Records, *kinds: str) -> list[Answer]:
    """Answers to single questions of some kinds."""
    return [a for record in records for a in record.singles if a.turn.kind in kinds]


def _share(outcomes: Iterable[bool]) -> Estimate:
    listed = list(outcomes)
    return proportion(sum(listed), len(listed))


def _ratio(counts: Sequence[Sequence[int]]) -> Estimate:
    """First sum over second, a share with as many cases as the second."""
    return estimate(np.array(counts), ratio, sum(row[1] for row in counts), is_share=True)


def f1(sums: Floats) -> Floats:
    """Harmonic mean of precision and recall from sums of hits, found and wanted."""
    return divide(2 * sums[..., 0], sums[..., 1] + sums[..., 2])


def _by_scene(counts: Sequence[tuple[int, Sequence[int]]]) -> list[list[int]]:
    """Sum of the counts of each scene."""
    sums: dict[int, list[int]] = {}
    for scene, row in counts:
        sums[scene] = [a + b for a, b in zip(sums.get(scene, [0] * len(row)), row, strict=True)]
    return list(sums.values())
