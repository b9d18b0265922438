"""How much memory a training will take, part by part, before it starts."""

from dataclasses import dataclass

import psutil
import torch

from groma.checkpoint.adapters import LINEARS
from groma.config import NUM_REGION_TOKENS, GromaConfig
from groma.finetune.lora_settings import LoraSettings
from groma.machine import resolve_device, resolve_dtype
from groma.model.groma import GromaForConditionalGeneration
from groma.model.quantization import is_unpacked
from groma.types import GromaError

_BYTES = {"8bit": 1.0, "4bit": 0.53}
"""Per number of a quantised matrix, its scales included."""
_LEARNT = 16
"""Bytes per number that learns: weight, gradient and AdamW's two moments, all in fp32."""
_WIDTHS_PER_LAYER, _FFN_WIDTHS_PER_LAYER = 26, 6
"""What a layer keeps per token, in multiples of its two widths; measured in 16 bit with dropout."""
_LOGIT_BYTES = 12
_RUNTIME = {"cuda": 900_000_000, "cpu": 700_000_000}
"""Libraries, the CUDA context and what allocators do not give back."""
_KEPT_SHARE = 0.2
_VIEWS_KEPT = 9
"""Of each picture: itself, and changed a little."""


@dataclass(frozen=True)
class Estimate:
    """What a training is expected to need.

    Attributes:
        parts: bytes by what takes them.
        available: bytes that are free now.
        device: where.
        advice: what would make it smaller.
    """

    parts: dict[str, int]
    available: int
    device: str
    advice: str

    @property
    def total(self) -> int:
        """Bytes in all."""
        return sum(self.parts.values())

    @property
    def fits(self) -> bool:
        """Whether that is free."""
        return self.total <= self.available

    def check(self) -> None:
        """Refuse what will not fit.

        Raises:
            GromaError: with the figures, and what would help.
        """
        if self.fits:
            return
        largest = max(self.parts, key=lambda name: self.parts[name])
        raise GromaError(
            f"This training needs about {_gigabytes(self.total)} ({largest}: "
            f"{_gigabytes(self.parts[largest])}), but only {_gigabytes(self.available)} are free "
            f"on {self.device}; {self.advice}."
        )

    def rows(self) -> list[tuple[str, str]]:
        """The parts, their sum and what is free, for a table."""
        rows = [(name, _gigabytes(size)) for name, size in self.parts.items()]
        rows.append(("in all, about", _gigabytes(self.total)))
        return [*rows, (f"free on {self.device}", _gigabytes(self.available))]


def estimate(config: GromaConfig, settings: LoraSettings, tokens: int, pictures: int) -> Estimate:
    """Say what a training will take.

    Args:
        config: of the base.
        settings: complete.
        tokens: of the longest conversation, before picture and regions are expanded.
        pictures: how many there are.
    """
    device = resolve_device(settings.device)
    width = resolve_dtype(settings.dtype, device, config.text_config.hidden_size).itemsize
    sizes = _count_parameters(config)
    length = settings.batch_size * (tokens + config.num_image_tokens + 2 * config.max_regions)
    whole = sum(sizes[part] for part in settings.whole)
    pictured = pictures * _VIEWS_KEPT * 4 * config.grid_size**2 * config.image_width * width
    parts = {
        "language model": round(
            sizes["linears"] * (_linear_bytes(config, settings) or width) + sizes["words"] * width
        ),
        "image encoder and regions": width * sum(sizes[part] for part in _VISUAL),
        "adapter and its optimiser": _LEARNT * _count_lora(config, settings.rank),
        "parts trained as a whole": _LEARNT * whole,
        "activations": _activations(config, settings, length, width)
        + _region_activations(config, settings, width),
        "words' probabilities": _LOGIT_BYTES * length * config.text_config.vocab_size,
        "runtime": _RUNTIME["cuda" if device.startswith("cuda") else "cpu"],
    }
    if not device.startswith("cuda"):
        parts["pictures seen"] = min(pictured, kept_budget())
    return Estimate(parts, _available_memory(device), device, _advice(settings, device))


_VISUAL = ("image_encoder", "region_proposer", "projector", "region_encoder")
"""Some of which hold no numbers in a model with a convolutional detector."""


def _count_parameters(config: GromaConfig) -> dict[str, int]:
    """Numbers in each part of a model; of the language model, its linear layers and the rest."""
    with torch.device("meta"):
        model = GromaForConditionalGeneration(config)
    sizes = dict.fromkeys(("linears", "words", *_VISUAL), 0)
    for name, weight in model.named_parameters():
        part = name.split(".")[0]
        if part == "language_model":
            part = "linears" if name.split(".")[-2] in LINEARS else "words"
        sizes[part] = sizes.get(part, 0) + weight.numel()
    return sizes


def _count_lora(config: GromaConfig, rank: int) -> int:
    """Numbers in the low-rank matrices of an adapter."""
    text = config.text_config
    head = text.head_dim or text.hidden_size // text.num_attention_heads
    queries, keys = text.num_attention_heads * head, text.num_key_value_heads * head
    width, inner = text.hidden_size, text.intermediate_size
    sides = 2 * (width + queries) + 2 * (width + keys) + 3 * (width + inner)
    return rank * sides * text.num_hidden_layers


def kept_budget() -> int:
    """Bytes of main memory for what was seen in pictures."""
    return round(_KEPT_SHARE * psutil.virtual_memory().available)


def _available_memory(device: str) -> int:
    """Bytes that are free on a device."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(torch.device(device))[0]
    return psutil.virtual_memory().available


def _linear_bytes(config: GromaConfig, settings: LoraSettings) -> float | None:
    """Bytes per number of the language model's linear layers; None if they are not quantised."""
    if is_unpacked(config, settings.quantization):
        return None
    stored = getattr(config, "quantization_config", None) or {}
    kind = next((kind for kind in _BYTES if stored.get(f"load_in_{kind}")), None)
    if settings.quantization in _BYTES:
        kind = settings.quantization
    return None if kind is None else _BYTES[kind]


def _activations(config: GromaConfig, settings: LoraSettings, length: int, width: int) -> int:
    """What the language model keeps for the backward pass."""
    text = config.text_config
    layer = _WIDTHS_PER_LAYER * text.hidden_size + _FFN_WIDTHS_PER_LAYER * text.intermediate_size
    if settings.checkpointing:
        return width * length * (text.num_hidden_layers * text.hidden_size + layer)
    return width * length * text.num_hidden_layers * layer


def _region_activations(config: GromaConfig, settings: LoraSettings, width: int) -> int:
    """What a region encoder that learns keeps, or what its maps take while it does not."""
    channels, region = config.image_width, config.region_config
    maps = 21 * config.grid_size**2 * channels * width
    if "region_encoder" not in settings.whole or config.is_convolutional:
        return 3 * maps
    pooled = NUM_REGION_TOKENS * channels * region.roi_size**2 * width
    return settings.batch_size * (3 * maps * (1 + region.fuse_rounds) + 10 * pooled)


def _advice(settings: LoraSettings, device: str) -> str:
    """What would make a training smaller, the most effective first."""
    steps = {
        "a base in 4 bit": settings.quantization != "4bit" and device.startswith("cuda"),
        "checkpointing": not settings.checkpointing,
        "a batch of 1": settings.batch_size > 1,
        "no part trained as a whole": bool(settings.whole),
        "shorter conversations": settings.limit > 256,
        "a lower rank": settings.rank > 8,
    }
    helpful = [step for step, helps in steps.items() if helps][:3]
    return f"less is needed with {', or '.join(helpful)}" if helpful else "free some memory"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
