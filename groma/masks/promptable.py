"""Masks by a promptable segmenter of transformers: SAM 2 or EdgeTAM, by id or folder."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from groma.image import normalise_pixels
from groma.limits import LONGEST_NAME
from groma.machine import resolve_device
from groma.shapes import Box, Mask, Point
from groma.types import GromaError, Size


class PromptableSegmenter:
    """A model that finds the thing in a box, or at a point.

    Args:
        model: Sam2Model or EdgeTamModel, in eval mode.
        name: for people.
    """

    def __init__(self, model: Any, name: str) -> None:
        self._model = model
        self._name = name

    @classmethod
    def load(cls, source: str, device: str = "auto") -> Self:
        """Load a segmenter.

        Args:
            source: folder, or id on the Hugging Face Hub.
            device: see `groma.machine.resolve_device`.

        Raises:
            GromaError: if it cannot be loaded, or is another model.
        """
        from transformers import AutoModelForMaskGeneration, EdgeTamModel, Sam2Model

        target = resolve_device(device)
        try:
            model = AutoModelForMaskGeneration.from_pretrained(source).eval().to(target)
        except (OSError, ValueError, ImportError, RuntimeError) as error:
            raise GromaError(
                f"The segmenter {source} cannot be loaded; give a folder or an id of SAM 2 or "
                "EdgeTAM (which needs timm), or leave it out for GrabCut."
            ) from error
        if not isinstance(model, Sam2Model | EdgeTamModel):
            raise GromaError(f"{source} is neither SAM 2 nor EdgeTAM.")
        return cls(model, source.rstrip("/").rpartition("/")[2][:LONGEST_NAME])

    def look(self, picture: Image.Image) -> "_EmbeddedPicture":
        """See `MaskMaker`."""
        return _EmbeddedPicture(self._model, self._name, picture)


class _EmbeddedPicture:
    """One picture; its embedding is computed when the first mask is asked for, and kept.

    Args:
        model: the segmenter.
        maker: its name.
        picture: RGB.
    """

    takes_points = True

    def __init__(self, model: Any, maker: str, picture: Image.Image) -> None:
        self._model = model
        self.maker = maker
        self._picture = picture
        self._size: Size = (picture.height, picture.width)
        self._embeddings: list[Tensor] = []

    @property
    def num_bytes(self) -> int:
        """Memory that it holds."""
        height, width = self._size
        return 3 * height * width + sum(level.nbytes for level in self._embeddings)

    @torch.inference_mode()
    def masks(self, prompts: Sequence[Box | Point]) -> list[Mask]:
        """See `PictureMasks`."""
        return [self._mask(prompt) for prompt in prompts]

    def _mask(self, prompt: Box | Point) -> Mask:
        self._embed()
        place = torch.tensor(list(prompt.box(self._size)))
        if isinstance(prompt, Point):
            place = torch.tensor([prompt.x, prompt.y])
        height, width = self._size
        side = self._side
        place = place.unflatten(0, (-1, 2)) * torch.tensor([side / width, side / height])
        place = place.to(self._embeddings[-1])
        # A box means one thing; a point may mean a thing or a part of it, and the surest counts.
        is_point = isinstance(prompt, Point)
        given = (
            {"input_points": place[None, None]}
            if is_point
            else {"input_boxes": place.flatten()[None, None]}
        )
        found = self._model(
            image_embeddings=list(self._embeddings), multimask_output=is_point, **given
        )
        best = found.iou_scores[0, 0].argmax()
        logits = found.pred_masks[0, 0, best].float()[None, None]
        whole = F.interpolate(logits, self._size, mode="bilinear", align_corners=False)
        pixels = (whole[0, 0] > 0).cpu().numpy()
        return Mask.of(pixels if pixels.any() else prompt.mask(self._size))

    @property
    def _side(self) -> int:
        side = self._model.config.prompt_encoder_config.image_size
        return side if isinstance(side, int) else side[0]

    def _embed(self) -> None:
        if self._embeddings:
            return
        square = self._picture.resize((self._side, self._side), Image.Resampling.BILINEAR)
        pixels = normalise_pixels(torch.from_numpy(np.array(square)).permute(2, 0, 1))
        self._embeddings = self._model.get_image_embeddings(pixels[None].to(self._model.device))
