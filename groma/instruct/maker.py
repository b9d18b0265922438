"""From material to a conversation that is good enough, or the reasons why there is none."""

from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

from groma.data.file_names import find_picture
from groma.data.sample import QA, GroundedSample, Mention, Phrase, Piece, Pieces
from groma.data.sources.groma_instruct import UNNAMED, format_item, parse_item
from groma.endpoint import EndpointError, UnusableEndpointError
from groma.instruct.material import Material
from groma.instruct.notation import BrokenDraftError, read_draft
from groma.instruct.quality import QualityRules, find_faults
from groma.instruct.writer import Complaint, Writer
from groma.types import GromaError

Status = Literal["accepted", "rejected", "failed"]


@dataclass(frozen=True)
class Outcome:
    """What became of one picture.

    Attributes:
        key: what its source calls it.
        status: accepted; rejected for good; or failed, because its writer gave no answer.
        reasons: one sentence each, where it is not accepted.
        item: in Groma-Instruct JSON, where it is.
    """

    key: str
    status: Status
    reasons: tuple[str, ...] = ()
    item: dict[str, Any] | None = None

    def to_entry(self) -> dict[str, Any]:
        """For a `Journal`."""
        return asdict(self)


class Maker:
    """Has conversations written, and checks them (paper 4).

    Args:
        writer: writes.
        pictures: their folder.
        rules: what a conversation must be like.
        drafts: most drafts of one conversation; the writer is told what was wrong with the last.
        seed: of the numbers of rounds.
    """

    def __init__(
        self, writer: Writer, pictures: Path, rules: QualityRules, drafts: int = 2, seed: int = 0
    ) -> None:
        self._writer = writer
        self._pictures = pictures
        self._rules = rules
        self._drafts = drafts
        self._seed = seed

    def make(self, key: str, material: Material) -> Outcome:
        """Have one conversation written; may be called from several threads.

        Args:
            key: what its source calls the picture.
            material: what to write about.

        Raises:
            UnusableEndpointError: if no conversation can be written.
        """
        try:
            find_picture(self._pictures, material.picture)
            return self._make(key, material)
        except UnusableEndpointError:
            raise
        except EndpointError as error:
            return Outcome(key, "failed", (str(error),))
        except GromaError as error:
            return Outcome(key, "rejected", (str(error),))

    def rounds(self, material: Material) -> int:
        """How many questions about a picture are asked for."""
        fewest, most = self._rules.fewest_rounds, self._rules.most_rounds
        return Random(f"{self._seed}/{material.picture}").randint(fewest, most)

    def stop(self) -> None:
        """Have nothing more written."""
        self._writer.stop()

    def _make(self, key: str, material: Material) -> Outcome:
        complaints: list[Complaint] = []
        while len(complaints) < self._drafts:
            draft = self._writer.write(material, self.rounds(material), tuple(complaints))
            try:
                turns = read_draft(draft, len(material.boxes))
                faults = find_faults(turns, material.boxes, self._rules)
            except BrokenDraftError as error:
                turns, faults = (), (str(error),)
            if not faults:
                return Outcome(key, "accepted", item=to_item(material, turns))
            complaints.append(Complaint(draft, faults))
        return Outcome(key, "rejected", complaints[-1].reasons)


def to_item(material: Material, turns: tuple[QA, ...]) -> dict[str, Any]:
    """A conversation in Groma-Instruct JSON, which `parse_item` reads.

    Regions that nobody mentions are left out.

    Args:
        material: what it is about.
        turns: its regions are indices into the boxes of the material.

    Raises:
        GromaError: if it would not be read back as it is.
    """
    pieces = [piece for turn in turns for piece in (*turn.question, *turn.answer)]
    used = sorted({region for piece in pieces for region in _regions(piece)})
    row = {region: index for index, region in enumerate(used)}
    names = {
        region: piece.text
        for piece in reversed(pieces)
        if isinstance(piece, Phrase)
        for region in piece.regions
    }
    sample = GroundedSample(
        material.picture,
        material.size,
        tuple(material.boxes[region] for region in used),
        tuple(names.get(region, UNNAMED) for region in used),
        tuple(
            QA(
                _renumber(turn.question, row),
                _renumber(turn.answer, row),
                grounding=turn.grounding,
            )
            for turn in turns
        ),
    )
    item = format_item(sample)
    if parse_item(item).turns != sample.turns:
        raise GromaError("The conversation cannot be written in Groma-Instruct JSON.")
    return item


def _regions(piece: Piece) -> tuple[int, ...]:
    if isinstance(piece, Phrase):
        return piece.regions
    return (piece.region,) if isinstance(piece, Mention) else ()


def _renumber(pieces: Pieces, row: dict[int, int]) -> Pieces:
    return tuple(
        Phrase(piece.text, tuple(row[region] for region in piece.regions))
        if isinstance(piece, Phrase)
        else Mention(row[piece.region])
        if isinstance(piece, Mention)
        else piece
        for piece in pieces
    )
