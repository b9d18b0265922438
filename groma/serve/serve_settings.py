"""What is served."""

from pathlib import Path

from pydantic import BaseModel, Field

import groma
from groma.embedded import DEFAULT_MODEL
from groma.masks.maker import load_maker
from groma.model.quantization import Quantization
from groma.serve.engine import Engine
from groma.serve.openai_routes import Service


class ServeSettings(BaseModel):
    """A model, and how it answers programs.

    Attributes:
        model: as `groma.load`.
        quantization: as `groma.load`.
        device: as `groma.load`.
        dtype: as `groma.load`.
        adapter: folder of an adapter (LoRA) that answers.
        mask_maker: who makes masks, see `load_maker`; None is GrabCut.
        name: what programs call the model; None is the last part of `model`.
        at_once: most answers that are made together.
        requests_per_minute: of one caller; 0 is any number.
        remote_pictures: whether pictures may be fetched from public addresses.
    """

    model: str = DEFAULT_MODEL
    quantization: Quantization | None = None
    device: str = "auto"
    dtype: str = "auto"
    adapter: Path | None = None
    mask_maker: str | None = None
    name: str | None = None
    at_once: int = Field(default=16, ge=1)
    requests_per_minute: int = Field(default=0, ge=0)
    remote_pictures: bool = False

    def service(self) -> Service:
        """Load the model.

        Raises:
            GromaError: if it cannot be loaded, or the adapter is of another one.
        """
        model = groma.load(
            self.model, self.quantization, self.device, self.dtype, adapter=self.adapter
        )
        if self.mask_maker:
            model = model.with_masks(load_maker(self.mask_maker, self.device))
        name = self.name or Path(self.model).name
        return Service(Engine(model, self.at_once), name, self.remote_pictures)
