"""Region-text alignment: labels scored by how parts of a picture fit fine descriptions of them.

Weighted visual-text cross alignment (WCA, arXiv 2406.02915): every view of a picture meets every
description of a label; views that are like the picture, and descriptions that are like the label,
count more. The paper's views are random squares; ours may be Groma's regions.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from transformers import AutoModel, AutoProcessor, CLIPModel

from groma.named_regions import Region
from groma.types import Box, GromaError, Size

_PROMPT = "a photo of a {}."
_MOST_AT_ONCE = 64


@dataclass(frozen=True)
class AlignmentSettings:
    """How views and descriptions are drawn, weighted and summed.

    The published figures come from the authors' code, which is the default where paper and code
    differ: `smallest_crop`, `unit_sums`.
    """

    num_crops: int = 60
    # The paper's alpha; the code never passes the one of its configuration on, and takes 0.1.
    smallest_crop: float = 0.1  # of the shorter side, below it no crop's side is drawn
    largest_crop: float = 0.9
    # The paper sums weighted similarities; the code divides the sums of views and of descriptions
    # by their lengths, so that labels whose descriptions disagree lose nothing by it.
    unit_sums: bool = True
    view_sharpness: float = math.exp(4)  # how much more the views count that are like the picture
    text_sharpness: float = math.exp(2)  # the same of descriptions and their label
    seed: int = 0  # of the crops

    def __post_init__(self) -> None:
        if self.num_crops < 0:
            raise GromaError(f"num_crops must be 0 or more, not {self.num_crops}.")
        if not 0 < self.smallest_crop <= self.largest_crop <= 1:
            raise GromaError("Crops need 0 < smallest_crop <= largest_crop <= 1.")


@dataclass(frozen=True)
class _Fit:
    """A description and the view it fits best."""

    description: str
    view: int  # index into the views
    similarity: float  # cosine


@dataclass(frozen=True)
class Alignment:
    """What a picture shows, by its views."""

    views: tuple[Box, ...]  # xyxy in pixels; the whole picture where there is no other
    scores: dict[str, float]  # of every label, best first
    fits: dict[str, tuple[_Fit, ...]]  # of every label's descriptions, in their order


class Clip:
    """CLIP from a folder or by Hugging Face id; raises `GromaError` if it cannot be loaded."""

    def __init__(self, source: str) -> None:
        try:
            model = AutoModel.from_pretrained(source)
            self._processor = AutoProcessor.from_pretrained(source)
        except (OSError, ValueError) as error:
            raise GromaError(f"{source} holds no CLIP that can be loaded; name another.") from error
        if not isinstance(model, CLIPModel):
            raise GromaError(f"{source} is no CLIP but a {model.config.model_type}.")
        self._model = model.eval()

    def images(self, images: Sequence[Image.Image]) -> Tensor:
        """(N, D) features of length 1, N >= 1."""
        return self._encode(images, "images", self._model.get_image_features)

    def texts(self, texts: Sequence[str]) -> Tensor:
        """(N, D) features of length 1, N >= 1; what is longer than CLIP reads is cut."""
        return self._encode(texts, "text", self._model.get_text_features)

    @torch.inference_mode()
    def _encode(self, given: Sequence, kind: str, encode: Callable) -> Tensor:
        features = []
        longest = self._model.config.text_config.max_position_embeddings
        cut = {"padding": True, "truncation": True, "max_length": longest}
        options = cut if kind == "text" else {}
        for start in range(0, len(given), _MOST_AT_ONCE):
            some = {kind: list(given[start : start + _MOST_AT_ONCE])}
            inputs = self._processor(**some, return_tensors="pt", **options)
            features.append(encode(**inputs).pooler_output)
        return F.normalize(torch.cat(features).float(), dim=1)


def align_picture(
    image: Image.Image,
    descriptions: Mapping[str, Sequence[str]],
    clip: Clip,
    settings: AlignmentSettings,
    regions: Sequence[Region] | None = None,
) -> Alignment:
    """Score labels by the views of an RGB picture: regions, or random crops where there are none.

    `descriptions` say what things of each label look like; where there is none, the label alone
    counts. Raises `GromaError` if there is no label.
    """
    if not descriptions:
        raise GromaError("There is no label to score.")
    size = image.height, image.width
    views = crops(size, settings) if regions is None else [region.box for region in regions]
    objectness = None if regions is None else torch.tensor([r.objectness for r in regions])
    cuttings = [image.crop(square_around(box, size)) for box in views]
    whole, *parts = clip.images([image, *cuttings])
    seen = torch.stack(parts) if parts else whole[None]
    objectness = objectness if parts else None
    scores, fits = {}, {}
    for label, texts in descriptions.items():
        name, *said = clip.texts([_PROMPT.format(label), *texts])
        told = torch.stack(said) if said else name[None]
        scores[label] = float(align(whole, seen, name, told, settings, objectness))
        best = (told @ seen.T).max(dim=1)
        rows = zip(texts, best.indices.tolist(), best.values.tolist(), strict=False)
        fits[label] = tuple(_Fit(*row) for row in rows)
    ranked = dict(sorted(scores.items(), key=lambda score: -score[1]))
    everything: Box = (0.0, 0.0, float(image.width), float(image.height))
    return Alignment(tuple(views) or (everything,), ranked, fits)


def align(
    whole: Tensor,
    views: Tensor,
    label: Tensor,
    descriptions: Tensor,
    settings: AlignmentSettings,
    objectness: Tensor | None = None,
) -> Tensor:
    """How well a picture fits a label, from -1 to 1 (paper, equations of the WCA score).

    Features, all of length 1, are (D,) of the picture, (N, D) of its parts, (D,) of the label in a
    sentence and (M, D) of descriptions, N, M >= 1. `objectness`, (N,) in [0, 1], is how much each
    view is a thing; None is all alike.
    """
    of_views = weights(whole, views, settings.view_sharpness, objectness)
    of_texts = weights(label, descriptions, settings.text_sharpness)
    seen, told = of_views @ views, of_texts @ descriptions
    if settings.unit_sums:
        seen, told = F.normalize(seen, dim=0), F.normalize(told, dim=0)
    return seen @ told


def weights(
    whole: Tensor, parts: Tensor, sharpness: float, objectness: Tensor | None = None
) -> Tensor:
    """How much each of (N, D) parts counts, more if it is like the (D,) whole; the sum is 1.

    Features have length 1, and `sharpness` is a factor of the cosines before the softmax; the
    weights are multiplied by `objectness` (N,), of which all 0 is all alike.
    """
    logits = sharpness * (parts @ whole)
    if objectness is not None and objectness.any():
        logits = logits + objectness.log()
    return logits.softmax(dim=0)


def crops(size: Size, settings: AlignmentSettings) -> list[Box]:
    """Random squares xyxy in pixels of a picture (H, W); the same seed gives the same ones."""
    (height, width), dice, drawn = size, Random(settings.seed), []
    for _ in range(settings.num_crops):
        side = min(size) * dice.uniform(settings.smallest_crop, settings.largest_crop)
        x, y = dice.uniform(0, width - side), dice.uniform(0, height - side)
        drawn.append((x, y, x + side, y + side))
    return drawn


def square_around(box: Box, size: Size) -> tuple[int, int, int, int]:
    """The smallest square of whole pixels around a box that fits into a picture (H, W).

    CLIP sees squares alone, and cuts the ends of anything longer. Where the box is longer than the
    picture's other side, the square is cut there.
    """
    side = max(1, math.ceil(max(box[2] - box[0], box[3] - box[1])))
    edges = []
    for low, high, length in ((box[0], box[2], size[1]), (box[1], box[3], size[0])):
        start = min(max(0, round((low + high - side) / 2)), max(0, length - side))
        edges.append((start, min(start + side, length)))
    (x1, x2), (y1, y2) = edges
    return x1, y1, x2, y2
