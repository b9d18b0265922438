"""Samples of public data as what is trained on: pictures, tokens and boxes (paper 3.3)."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from groma.data.augment import Augmentation
from groma.data.batches import Example
from groma.data.file_names import find_picture
from groma.data.geometry import is_same_shape
from groma.data.order import Order, Place, hash_numbers
from groma.data.questions import pose
from groma.data.sample import GroundedSample
from groma.data.sources.items import UNKNOWN_SIZE, BrokenItem, DetectionSample, Sample, Samples
from groma.data.tokenise import write
from groma.dice import Dice
from groma.image import load_image
from groma.text.template import Template
from groma.types import GromaError

_MOST_BROKEN = 1000
"""So many broken items in a row mean that it is not the items: pictures lie elsewhere, say."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """An opened source."""

    name: str  # what messages call it
    samples: Samples  # about its pictures
    images: Path  # folder of its pictures

    def load(self, index: int, dice: Dice) -> tuple[Sample, Image.Image]:
        """A sample with worded questions, and its picture; raises `BrokenItem`, with the reason."""
        sample = self.samples[index]
        if isinstance(sample, GroundedSample):
            sample = pose(sample, dice, self.samples.turns)
        path = find_picture(self.images, sample.picture)
        try:
            image = load_image(path)
        except GromaError as error:
            raise BrokenItem("a picture that cannot be read") from error
        size = image.height, image.width
        if sample.size != UNKNOWN_SIZE and not is_same_shape(sample.size, size):
            raise BrokenItem("a picture of another shape than its annotations say")
        return replace(sample, size=size), image


Encoder = Callable[[Sample, Image.Image, Dice], Example]
"""Makes an example of a sample and its picture; raises `BrokenItem` where there cannot be one."""


@dataclass(frozen=True)
class DetectionEncoder:
    """Examples for detection pretraining."""

    image_size: int  # S, side of the pictures in pixels
    augmentation: Augmentation  # how often they are changed

    def __call__(self, sample: Sample, image: Image.Image, dice: Dice) -> Example:
        """`pixels` (3, S, S) uint8, `boxes` (R, 4) xyxy in [0, 1], and the `head` they train."""
        assert isinstance(sample, DetectionSample)
        view, boxes = self.augmentation.draw(sample, dice).keep(sample)
        return {
            "pixels": _to_tensor(view.picture(image, self.image_size)),
            "boxes": torch.tensor(boxes).reshape(-1, 4),
            "head": sample.head,
        }


@dataclass(frozen=True)
class ConversationEncoder:
    """Examples of conversations."""

    template: Template  # of the language model
    image_size: int  # S, side of the pictures in pixels
    limit: int  # most tokens, before image and regions are expanded
    augmentation: Augmentation  # how often pictures are changed

    def __call__(self, sample: Sample, image: Image.Image, dice: Dice) -> Example:
        """One example; raises `BrokenItem` if not even the first answer fits.

        `pixels` (3, S, S) uint8; `ids` and `labels` (T,) with placeholders; `refer_boxes` (K, 4)
        and `ground_boxes` (G, 4) xyxy in [0, 1], one per placeholder.
        """
        assert isinstance(sample, GroundedSample)
        view = self.augmentation.draw(sample, dice)
        sample = view.apply(sample)
        written = write(sample, self.template, self.limit)
        if len(written.ids) > self.limit:
            raise BrokenItem("a first answer that is too long")
        boxes = torch.tensor(sample.boxes).reshape(-1, 4)
        return {
            "pixels": _to_tensor(view.picture(image, self.image_size)),
            "ids": written.ids,
            "labels": written.labels,
            "refer_boxes": boxes[written.refer],
            "ground_boxes": boxes[written.ground],
        }


@dataclass(frozen=True)
class Examples(Dataset):
    """A mixture as examples by position; read it in sequence, in batches of `order.batch_size`.

    Order, phrasing and augmentation depend on the position alone: any process may read any part,
    and a run that skips what it has had goes on exactly. A broken item is replaced by another one
    of its source.
    """

    sources: Sequence[Source]  # where items come from
    order: Order  # which comes when
    encode: Encoder  # what is made of them
    seed: int = 0  # of phrasings and augmentation
    # How often an item of a source was broken for a reason, as far as this process saw.
    broken: Counter[tuple[str, str]] = field(default_factory=Counter, compare=False)

    def __len__(self) -> int:
        """Examples of all passes."""
        return len(self.order)

    def __getitem__(self, index: int) -> Example:
        """The example at a position; raises `GromaError` if too many items in a row are broken."""
        place = self.order[index]
        source = self.sources[place.source]
        for attempt in range(_MOST_BROKEN):
            try:
                return self._make(place, index)
            except GromaError as error:
                self._count(place, str(error))
            # Not its neighbour: in some files thousands that cannot be used stand together.
            item = hash_numbers(self.seed, index, attempt) % len(source.samples)
            place = Place(place.source, item)
        raise GromaError(
            f"Source {source.name}: {_MOST_BROKEN} items in a row cannot be used; "
            f"{self._reasons(source.name)}."
        )

    def _make(self, place: Place, position: int) -> Example:
        dice = make_dice(self.seed, position)
        sample, image = self.sources[place.source].load(place.item, dice)
        return self.encode(sample, image, dice)

    def _count(self, place: Place, reason: str) -> None:
        """Count a broken item, and log the first, the tenth, the hundredth … for a reason."""
        name = self.sources[place.source].name
        self.broken[name, reason] += 1
        count = self.broken[name, reason]
        if count == 10 ** (len(str(count)) - 1):
            _logger.warning("%s: item %d has %s; %d so far.", name, place.item, reason, count)

    def _reasons(self, name: str) -> str:
        found = [(count, reason) for (of, reason), count in self.broken.items() if of == name]
        return ", ".join(f"{reason} ({count})" for count, reason in sorted(found, reverse=True)[:3])


def make_dice(*numbers: int) -> Dice:
    """Randomness that depends on these numbers alone."""
    return Dice(np.random.SeedSequence(numbers))


def _to_tensor(image: Image.Image) -> Tensor:
    """(3, H, W) uint8."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
