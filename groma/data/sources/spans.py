"""Captions whose phrases are given as character positions."""

from collections.abc import Iterable

from groma.data.sample import Phrase, Piece, Pieces, join_pieces
from groma.data.sources.items import BrokenItem

_Span = tuple[int, int, int]  # first character, the one after the last, and a region


def grounded_pieces(
    caption: str, spans: Iterable[_Span], num_regions: int
) -> tuple[Pieces, tuple[str, ...]]:
    """Make phrases of the spans of a caption: its pieces, and the phrase of every region.

    Spans with the same characters are one phrase; of those that overlap the longer one stays.
    Raises `BrokenItem` if a span lies outside the caption or none is left.
    """
    phrases = group_spans(caption, spans)
    names = ["region"] * num_regions
    for (start, stop), regions in phrases.items():
        for region in regions:
            names[region] = caption[start:stop]
    pieces: list[Piece] = []
    at = 0
    for start, stop in _apart(phrases):
        pieces += [caption[at:start], Phrase(caption[start:stop], tuple(phrases[start, stop]))]
        at = stop
    return join_pieces([*pieces, caption[at:]]), tuple(names)


def group_spans(caption: str, spans: Iterable[_Span]) -> dict[tuple[int, int], list[int]]:
    """Regions by the characters that mean them, spaces at the ends left out.

    Raises `BrokenItem` if a span lies outside the caption, or there is none.
    """
    phrases: dict[tuple[int, int], list[int]] = {}
    for start, stop, region in spans:
        text = caption[start:stop] if 0 <= start < stop <= len(caption) else ""
        if not text.strip():
            raise BrokenItem("a phrase outside its caption")
        start += len(text) - len(text.lstrip())
        stop = start + len(text.strip())
        regions = phrases.setdefault((start, stop), [])
        if region not in regions:
            regions.append(region)
    if not phrases:
        raise BrokenItem("no phrase with a box")
    return phrases


def _apart(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest of spans that overlap, in reading order."""
    kept: list[tuple[int, int]] = []
    for start, stop in sorted(spans, key=lambda span: (span[0] - span[1], span)):
        if all(stop <= other[0] or start >= other[1] for other in kept):
            kept.append((start, stop))
    return sorted(kept)
