"""What a set of labelled pictures holds, counted as people count: pictures, boxes, classes."""

from dataclasses import dataclass
from html import escape

from groma.data.sample import GroundedSample
from groma.finetune.label_talks import holds_labels, is_labelled, learnable
from groma.image import load_image
from groma.instruction_sets.readers.set_items import InstructionSet
from groma.types import Box, GromaError

from ..shared.picture_files import to_thumbnail

_MOST_CLASSES = 100
_PREVIEW = 64


@dataclass(frozen=True)
class LabelClass:
    """What is labelled by one name.

    Attributes:
        name: the label, as it will be spoken.
        boxes: how many have it.
        pictures: in how many pictures.
        preview: its largest box cut out, as a data URI; "" where the picture cannot be read.
    """

    name: str
    boxes: int
    pictures: int
    preview: str


@dataclass(frozen=True)
class Labelled:
    """A set of labelled pictures.

    Attributes:
        pictures: that can be learnt from.
        classes: the most frequent first.
    """

    pictures: int
    classes: tuple[LabelClass, ...]

    @property
    def boxes(self) -> int:
        """How many are labelled in all."""
        return sum(each.boxes for each in self.classes)


def count_labels(examples: InstructionSet) -> Labelled | None:
    """Count a set of labelled pictures; None where somebody wrote the talk."""
    if not holds_labels(examples):
        return None
    samples = [sample for sample in learnable(examples) if is_labelled(sample)]
    places: dict[str, list[tuple[GroundedSample, Box]]] = {}
    for sample in samples:
        for name, box in zip(sample.names, sample.boxes, strict=True):
            places.setdefault(name, []).append((sample, box))
    frequent = sorted(places, key=lambda name: -len(places[name]))
    classes = (
        LabelClass(
            name,
            len(places[name]),
            len({sample.picture for sample, _ in places[name]}),
            _preview(*max(places[name], key=_area)) if number < _MOST_CLASSES else "",
        )
        for number, name in enumerate(frequent)
    )
    return Labelled(len(samples), tuple(classes))


def _area(place: tuple[GroundedSample, Box]) -> float:
    sample, (x1, y1, x2, y2) = place
    height, width = sample.size
    return (x2 - x1) * width * (y2 - y1) * height


def _preview(sample: GroundedSample, box: Box) -> str:
    try:
        image = load_image(sample.picture)
    except GromaError:
        return ""
    edges = (edge * side for edge, side in zip(box, (*image.size, *image.size), strict=True))
    x1, y1, x2, y2 = map(round, edges)
    cut = image.crop((x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)))
    cut.thumbnail((_PREVIEW, _PREVIEW))
    return to_thumbnail(cut)


def render_labels(layout: str, labelled: Labelled) -> str:
    """Counts of a set in a sentence, and a table of its classes."""
    said = (
        f"{layout}: {_count(labelled.pictures, 'picture')} with "
        f"{_count(labelled.boxes, 'box', 'boxes')} of "
        f"{_count(len(labelled.classes), 'class', 'classes')}."
    )
    head = "<tr><th></th><th>Class</th><th>Boxes</th><th>Pictures</th></tr>"
    rows = "".join(map(_row, labelled.classes[:_MOST_CLASSES]))
    more = len(labelled.classes) - _MOST_CLASSES
    rest = f'<p class="groma-note">And {more} more.</p>' if more > 0 else ""
    table = f'<table class="groma-table groma-classes">{head}{rows}</table>'
    return f'<p class="groma-note">{escape(said)}</p><div class="groma-scroll">{table}</div>{rest}'


def _row(each: LabelClass) -> str:
    seen = f'<img alt="" src="{each.preview}">' if each.preview else ""
    cells = (seen, escape(each.name), str(each.boxes), str(each.pictures))
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _count(number: int, one: str, several: str = "") -> str:
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"
