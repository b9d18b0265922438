"""What frozen parts see in the pictures of a training set, computed once and kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from groma.dice import Dice
from groma.finetune.variation import vary
from groma.image import load_image, to_pixels
from groma.model.groma import GromaForConditionalGeneration
from groma.model.training_forward import TrainingPicture, encode_pictures
from groma.types import ImageFeatures

T = TypeVar("T")


class Keeper(Generic[T]):
    """Keeps results in main memory up to a budget; those beyond it are computed anew.

    A training set is read round and round, so what came first stays: dropping the least recently
    used would keep nothing that is read next.

    Args:
        budget: most bytes.
    """

    def __init__(self, budget: int) -> None:
        self.num_bytes = 0
        self._budget = budget
        self._kept: dict[int, T] = {}

    def get(self, key: int, make: Callable[[], T], device: torch.device) -> T:
        """What `make` gives for a key, its tensors on a device."""
        if key in self._kept:
            return move(self._kept[key], device)
        made = make()
        size = count_bytes(made)
        if self.num_bytes + size <= self._budget:
            self._kept[key] = move(made, torch.device("cpu"))
            self.num_bytes += size
        return made


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
    """Everything about the pictures of a training set that its words do not change.

    Where projector and region encoder are frozen, even the region tokens are computed once; where
    one of them learns, image encoder and region proposer still are.

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
        self._variation = variation
        self._seed = seed
        self._encoded: Keeper[TrainingPicture] = Keeper(budget)
        self._features: Keeper[ImageFeatures] = Keeper(budget)
        files = {item.picture for item in shown}
        self._numbers = {file: number for number, file in enumerate(sorted(files))}

    @property
    def num_bytes(self) -> int:
        """Memory that is kept."""
        return self._encoded.num_bytes + self._features.num_bytes

    def encode(self, index: int, reading: int | None = None) -> TrainingPicture:
        """The picture of a conversation as the language model will be shown it.

        Args:
            index: of the conversation.
            reading: how many were read before in this training, which says how the picture is
                changed; None leaves it as it is.

        Raises:
            GromaError: if the picture cannot be read.
        """
        with torch.set_grad_enabled(self._learns and torch.is_grad_enabled()):
            if reading is not None:
                dice = Dice(np.random.SeedSequence((self._seed, reading)))
                if dice.maybe(self._variation):
                    return self._encode_varied(self._shown[index], dice)
            if self._learns:
                return self._encode(index)
            return self._encoded.get(index, lambda: self._encode(index), self._device)

    @property
    def _device(self) -> torch.device:
        return next(self._model.image_encoder.parameters()).device

    def _encode(self, index: int) -> TrainingPicture:
        item = self._shown[index]
        features = self._features_of(item.picture)
        return encode_pictures(self._model, features, [item.refer], [item.ground])[0]

    def _encode_varied(self, item: Shown, dice: Dice) -> TrainingPicture:
        side = self._model.config.image_size
        varied = vary(load_image(item.picture), item.refer, item.ground, side, dice)
        features = self._compute(varied.picture)
        return encode_pictures(self._model, features, [varied.refer], [varied.ground])[0]

    def _features_of(self, picture: Path) -> ImageFeatures:
        if not self._learns:
            return self._compute(load_image(picture))
        number = self._numbers[picture]
        return self._features.get(number, lambda: self._compute(load_image(picture)), self._device)

    @torch.no_grad()
    def _compute(self, image: Image.Image) -> ImageFeatures:
        weight = next(self._model.image_encoder.parameters())
        pixels = to_pixels(image, self._model.config.image_size).pixels
        return self._model.image_features(pixels[None].to(weight.device, weight.dtype))


def move(item: T, device: torch.device) -> T:
    """The same data with every tensor on a device."""
    return _map(item, lambda tensor: tensor.to(device))


def count_bytes(item: Any) -> int:
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
