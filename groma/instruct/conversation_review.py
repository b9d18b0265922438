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
from groma.instruct.conversation_maker import to_item
from groma.instruct.described_pictures import Material
from groma.instruct.draft_faults import QualityRules, find_faults
from groma.instruct.draft_notation import read_conversation, write_conversation
from groma.instruct.made_folder import MadeFolder
from groma.instruct.region_marks import draw_marks, resize_for_marks
from groma.types import GromaError

_UNDECIDED = "undecided"
_LONGEST_SIDE = 1280


@dataclass(frozen=True)
class _ReviewedItem:
    """One conversation in its present form."""

    picture: str  # name of the file
    text: str  # the conversation as a person edits it, see `write_conversation`
    verdict: str  # "accepted", "edited", "rejected" or "undecided"


class Review:
    """The accepted conversations of a run, and what is decided about them.

    Every decision is on disk at once; several people may decide at a time. Raises `GromaError` if
    it is no folder that `groma instruct` wrote. An index is one into `keys`.
    """

    def __init__(self, folder: Path) -> None:
        self._made = MadeFolder.open(folder)
        self._pictures = Path(self._made.settings["pictures"])
        self._journal = self._made.open_review()
        self._decisions = {entry["key"]: entry for entry in self._journal.entries}
        self._lock = threading.Lock()
        self._items = {
            key: made.item for key, made in self._made.outcomes.items() if made.item is not None
        }
        # Several threads wrote them down as they came; numbers count, file names are spelt.
        self.keys = sorted(self._items, key=lambda key: key.zfill(20) if key.isdigit() else key)

    def item(self, index: int) -> _ReviewedItem:
        """One conversation."""
        sample = self._sample(index)
        decision = self._decision(index)
        text = decision.get("text") or write_conversation(sample.turns)
        return _ReviewedItem(sample.picture, text, decision.get("verdict", _UNDECIDED))

    def picture(self, index: int) -> Image.Image:
        """Its picture with its regions' marks, reduced to what a page can show.

        Raises `GromaError` if the picture is not there any more.
        """
        sample = self._sample(index)
        image = load_image(find_picture(self._pictures, sample.picture))
        image = resize_for_marks(image, _LONGEST_SIDE)
        return draw_marks(image, _material(sample).boxes_in((image.height, image.width)))

    def accept(self, index: int, text: str) -> tuple[str, ...]:
        """Accept a conversation in the form that a person gave it.

        Returns what the rules for writers would find wrong with it, one sentence each; raises
        `BrokenDraftError` if the text is no conversation.
        """
        sample = self._sample(index)
        turns = read_conversation(text, len(sample.boxes))
        if not turns:
            raise GromaError("There is no question left; reject the conversation instead.")
        written = write_conversation(turns)
        if written == write_conversation(sample.turns):
            self._decide(index, verdict="accepted")
        else:
            item = to_item(_material(sample), turns)
            self._decide(index, verdict="edited", text=written, item=item)
        return find_faults(turns, sample.boxes, QualityRules())

    def reject(self, index: int) -> None:
        """Leave a conversation out."""
        self._decide(index, verdict="rejected", text=self._decision(index).get("text"))

    def next_undecided(self, index: int) -> int:
        """The next conversation nobody decided about, `index` itself where there is none.

        After the last comes the first, which is next to -1.
        """
        for step in range(1, len(self.keys) + 1):
            other = (index + step) % len(self.keys)
            if self.keys[other] not in self._decisions:
                return other
        return index

    def count(self) -> dict[str, int]:
        """How many conversations have which verdict."""
        decisions = map(self._decision, range(len(self.keys)))
        return dict(Counter(each.get("verdict", _UNDECIDED) for each in decisions))

    def write(self) -> Path:
        """Write the items as they are decided about; what is undecided counts as accepted.

        Returns the file; raises `GromaError` if it cannot be written.
        """
        with self._lock:
            self._made.write(self._made.outcomes)
        return self._made.items_file

    def _sample(self, index: int) -> GroundedSample:
        """The conversation as it was made: marks keep their numbers whatever is edited."""
        return parse_item(self._items[self.keys[index]])

    def _decision(self, index: int) -> dict[str, Any]:
        return self._decisions.get(self.keys[index], {})

    def _decide(self, index: int, **decision: Any) -> None:
        entry = {"key": self.keys[index], **decision}
        with self._lock:
            self._journal.append(entry)
        self._decisions[entry["key"]] = entry


def _material(sample: GroundedSample) -> Material:
    return Material(sample.picture, sample.size, sample.boxes, ((),) * len(sample.boxes))
