"""Moves what one stage learnt into the model of the next."""

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn
from transformers.utils import SAFE_WEIGHTS_NAME

from groma.model.groma import GromaForConditionalGeneration
from groma.types import GromaError

_VISUAL_PARTS = ("image_encoder", "region_proposer", "region_encoder")


def load_visual_parts(model: GromaForConditionalGeneration, folder: Path) -> None:
    """Fill the parts that detection pretraining trains from a checkpoint of it, or what it left.

    The projection of regions to the width of the language model stays as it is where that width is
    another one than in detection pretraining. Raises `GromaError` if the folder has no weights, or
    they do not fit.
    """
    if not (folder / SAFE_WEIGHTS_NAME).is_file():
        raise GromaError(f"{folder} holds no {SAFE_WEIGHTS_NAME}.")
    weights = load_file(folder / SAFE_WEIGHTS_NAME)
    for name in _VISUAL_PARTS:
        prefix = f"{name}."
        part = {
            key.removeprefix(prefix): value
            for key, value in weights.items()
            if key.startswith(prefix)
        }
        if name == "region_encoder" and not _fits(part, model.region_encoder.projection):
            own = model.region_encoder.projection.state_dict()
            part |= {f"projection.{key}": value for key, value in own.items()}
        try:
            getattr(model, name).load_state_dict(part)
        except RuntimeError as error:
            raise GromaError(f"The {name} in {folder} does not fit: {error}") from error


def _fits(weights: dict[str, Tensor], projection: nn.Linear) -> bool:
    stored = weights.get("projection.weight")
    return stored is None or stored.shape == projection.weight.shape
