"""What frozen parts see in the pictures of a training set, computed once and kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from groma.data.augment import View, redraw
from groma.dice import Dice
from groma.finetune.variation import move_boxes, vary
from groma.image import load_image, to_pixels
from groma.model.groma import GromaForConditionalGeneration
from groma.model.training_forward import TrainingPicture, encode_pictures
from groma.types import ImageFeatures

_VIEWS = 8
"""Of each picture: as many as look at least as different as what a person would try."""


@dataclass(frozen=True)
class Shown:
    """A picture and the boxes that a conversation about it names.

    Attributes:
        picture: its file.
        refer: (K, 4) xyxy in [0, 1], one for each `<refer_box>`.
        ground: (G, 4) one for each `<ground_box>`.
    """

    picture: Path
    refer: Tensor
    ground: Tensor


class TrainingVision:
    """What image encoder and region proposer see in the pictures of a training set, kept.

    A set is read round and round, so what came first stays: dropping the least recently used would
    keep nothing that is read next.

    Args:
        model: whose visual parts are used, in their current state.
        shown: one per conversation.
        learns: whether the projector or the region encoder learns.
        budget: bytes of main memory for what is kept.
        variation: how often a picture is changed a little before it is shown, from 0 to 1.
        seed: of the changes.
    """

    def __init__(
        self,
        model: GromaForConditionalGeneration,
        shown: Sequence[Shown],
        learns: bool,
        budget: int,
        variation: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._model = model
        self._shown = shown
        self._learns = learns
        self._budget = budget
        self._variation = variation
        self._seed = seed
        self._boxes: dict[Path, list[Tensor]] = {}
        for item in shown:
            self._boxes.setdefault(item.picture, []).extend((item.refer, item.ground))
        self._numbers = {picture: number for number, picture in enumerate(self._boxes)}
        self._kept: dict[tuple[Path, int], tuple[ImageFeatures, View]] = {}
        self.num_bytes = 0

    def encode(self, index: int, reading: int | None = None) -> TrainingPicture:
        """The picture of a conversation as the language model will be shown it.

        Args:
            index: of the conversation.
            reading: how many were read before in this training, which says how the picture is
                changed; None leaves it as it is.

        Raises:
            GromaError: if the picture cannot be read.
        """
        item = self._shown[index]
        refer, number = item.refer, 0
        if reading is not None:
            dice = Dice(np.random.SeedSequence((self._seed, reading)))
            if dice.maybe(self._variation):
                number, refer = 1 + dice.below(_VIEWS), redraw(refer, dice)
        features, view = self._look(item.picture, number)
        with torch.set_grad_enabled(self._learns and torch.is_grad_enabled()):
            boxes = [move_boxes(refer, view)], [move_boxes(item.ground, view)]
            return encode_pictures(self._model, features, *boxes)[0]

    @torch.no_grad()
    def _look(self, picture: Path, number: int) -> tuple[ImageFeatures, View]:
        """One of the views of a picture, 0 being the picture itself; kept as far as that goes."""
        weight = next(self._model.image_encoder.parameters())
        if (picture, number) in self._kept:
            return _move(self._kept[picture, number], weight.device)
        image, view, side = load_image(picture), View(), self._model.config.image_size
        if number:
            sequence = np.random.SeedSequence((self._seed, self._numbers[picture], number))
            varied = vary(image, torch.cat(self._boxes[picture]), side, Dice(sequence))
            image, view = varied.picture, varied.view
        pixels = to_pixels(image, side).pixels[None].to(weight.device, weight.dtype)
        looked = self._model.image_features(pixels), view
        size = _count_bytes(looked)
        if self.num_bytes + size <= self._budget:
            self._kept[picture, number] = _move(looked, torch.device("cpu"))
            self.num_bytes += size
        return looked


def _move(item: Any, device: torch.device) -> Any:
    """The same data with every tensor on a device."""
    return _map(item, lambda tensor: tensor.to(device))


def _count_bytes(item: Any) -> int:
    """Memory of all tensors of some data."""
    sizes: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        sizes.append(tensor.nbytes)
        return tensor

    _map(item, note)
    return sum(sizes)


def _map(item: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(item, Tensor):
        return change(item)
    if isinstance(item, tuple):
        return tuple(_map(part, change) for part in item)
    if is_dataclass(item) and not isinstance(item, type):
        return replace(item, **{f.name: _map(getattr(item, f.name), change) for f in fields(item)})
    return item
