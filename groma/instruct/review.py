"""What a person thinks of the conversations of a run: accept, edit or reject each (paper 4)."""

import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from groma.data.file_names import find_picture
from groma.data.sample import GroundedSample
from groma.data.sources.groma_instruct import parse_item
from groma.image import load_image
from groma.instruct.journal import Journal, read_lines
from groma.instruct.maker import to_item
from groma.instruct.marks import draw_marks, resize_for_marks
from groma.instruct.material import Material
from groma.instruct.notation import read_conversation, write_conversation
from groma.instruct.output import ITEMS, JOURNAL, REVIEW, read_settings, write_items
from groma.instruct.quality import QualityRules, find_faults
from groma.types import GromaError, Size

UNDECIDED = "undecided"
_LONGEST_SIDE = 1280


@dataclass(frozen=True)
class ReviewedItem:
    """One conversation in its present form.

    Attributes:
        picture: name of the file.
        text: the conversation as a person edits it, see `write_conversation`.
        verdict: "accepted", "edited", "rejected" or `UNDECIDED`.
    """

    picture: str
    text: str
    verdict: str


class Review:
    """The accepted conversations of a run, and what is decided about them.

    Every decision is on disk at once; several people may decide at a time.

    Args:
        folder: that `groma instruct` wrote.

    Raises:
        GromaError: if it is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pictures = Path(read_settings(folder)["pictures"])
        lines = read_lines(folder / JOURNAL)[1:]
        self._entries = {entry["key"]: entry for entry in lines}
        self._journal = Journal(folder / REVIEW, {"review": 1})
        self._lock = threading.Lock()
        accepted = (key for key, entry in self._entries.items() if entry["status"] == "accepted")
        # Several threads wrote them down as they came; numbers count, file names are spelt.
        self.keys = sorted(accepted, key=lambda key: key.zfill(20) if key.isdigit() else key)

    def item(self, index: int) -> ReviewedItem:
        """One conversation.

        Args:
            index: into `keys`.
        """
        sample = self._sample(index)
        decision = self._decision(index)
        text = decision.get("text") or write_conversation(sample.turns)
        return ReviewedItem(sample.picture, text, decision.get("verdict", UNDECIDED))

    def picture(self, index: int) -> Image.Image:
        """Its picture with its regions' marks, reduced to what a page can show.

        Raises:
            GromaError: if the picture is not there any more.
        """
        sample = self._sample(index)
        image = load_image(find_picture(self._pictures, sample.picture))
        image = resize_for_marks(image, _LONGEST_SIDE)
        return draw_marks(image, _material(sample, (image.height, image.width)).boxes_px)

    def accept(self, index: int, text: str) -> tuple[str, ...]:
        """Accept a conversation in the form that a person gave it.

        Args:
            index: into `keys`.
            text: the conversation.

        Returns:
            What the rules for writers would find wrong with it, one sentence each.

        Raises:
            BrokenDraftError: if the text is no conversation.
        """
        sample = self._sample(index)
        turns = read_conversation(text, len(sample.boxes))
        if not turns:
            raise GromaError("There is no question left; reject the conversation instead.")
        written = write_conversation(turns)
        if written == write_conversation(sample.turns):
            self._decide(index, verdict="accepted")
        else:
            item = to_item(_material(sample, sample.size), turns)
            self._decide(index, verdict="edited", text=written, item=item)
        return find_faults(turns, sample.boxes, QualityRules())

    def reject(self, index: int) -> None:
        """Leave a conversation out."""
        self._decide(index, verdict="rejected", text=self._decision(index).get("text"))

    def next_undecided(self, index: int) -> int:
        """The next conversation nobody decided about; after the last comes the first.

        Args:
            index: into `keys`, or -1 to begin with the first.

        Returns:
            `index` itself where there is none.
        """
        for step in range(1, len(self.keys) + 1):
            other = (index + step) % len(self.keys)
            if self.keys[other] not in self._journal.entries:
                return other
        return index

    def count(self) -> dict[str, int]:
        """How many conversations have which verdict."""
        decisions = map(self._decision, range(len(self.keys)))
        return dict(Counter(each.get("verdict", UNDECIDED) for each in decisions))

    def write(self) -> Path:
        """Write the items as they are decided about; what is undecided counts as accepted.

        Returns:
            The file.

        Raises:
            GromaError: if it cannot be written.
        """
        with self._lock:
            write_items(self._folder, self._entries, self._entries)
        return self._folder / ITEMS

    def _sample(self, index: int) -> GroundedSample:
        """The conversation as it was made: marks keep their numbers whatever is edited."""
        return parse_item(self._entries[self.keys[index]]["item"])

    def _decision(self, index: int) -> dict[str, Any]:
        return self._journal.entries.get(self.keys[index], {})

    def _decide(self, index: int, **decision: Any) -> None:
        with self._lock:
            self._journal.append({"key": self.keys[index], **decision})


def _material(sample: GroundedSample, size: Size) -> Material:
    return Material(sample.picture, size, sample.boxes, ((),) * len(sample.boxes))
