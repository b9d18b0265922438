"""How the language model is packed by bitsandbytes: on disk, as asked for, and as it is run."""

from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import nn
from transformers import BitsAndBytesConfig

from groma import machine
from groma.config import GromaConfig
from groma.types import GromaError

Quantization = Literal["none", "8bit", "4bit"]

_SIXTEEN_BIT_PARTS = ("image_encoder", "region_proposer", "projector", "region_encoder", "lm_head")
"""What quantisation leaves alone: everything visual, and the language model's head."""
_PACKED_ROWS = 32


def quantized_linears(model: nn.Module) -> list[Any]:
    """The 4-bit linear layers of a model."""
    return [module for module in model.modules() if hasattr(module, "support_avx512bf16_for_cpu")]


def compute_in(model: nn.Module, dtype: torch.dtype) -> None:
    """Have every part of a model compute in one type.

    transformers leaves parts of a quantised checkpoint in the type they are stored in, which other
    machines may not be fast with.
    """
    # `.to(dtype)` of a quantised model is refused by transformers, so weight by weight.
    for weight in model.parameters():
        if weight.is_floating_point():
            weight.data = weight.data.to(dtype)
    for linear in quantized_linears(model):
        # Without it bitsandbytes computes in the type that the checkpoint was saved with.
        linear.compute_dtype = dtype


def set_cpu_packing(model: nn.Module, allowed: bool) -> None:
    """Say whether the first answer may repack 4-bit weights into the CPU's fast layout.

    bitsandbytes 0.50 repacks in place and does not restore the block scales when it saves, so a
    model that will be saved or trained must not repack. Layers that do not fit the layout stay as
    they are: it needs outputs in groups of 32, and inputs in whole blocks.
    """
    for linear in quantized_linears(model):
        fits = linear.out_features % _PACKED_ROWS == 0
        fits &= linear.in_features % linear.weight.blocksize == 0
        setattr(linear, "support_avx512bf16_for_cpu", allowed and fits)  # noqa: B010


def is_cpu_packed(model: nn.Module) -> bool:
    """Whether any 4-bit layer was repacked."""
    states = [getattr(linear.weight, "quant_state", None) for linear in quantized_linears(model)]
    return any(getattr(state, "packing_format_for_cpu", False) for state in states)


def quantization_config(quantization: str, dtype: torch.dtype) -> BitsAndBytesConfig:
    """How bitsandbytes packs the language model's linear layers, and nothing else.

    Raises `GromaError` if bitsandbytes is not installed, or the name is unknown.
    """
    if quantization not in ("8bit", "4bit"):
        raise GromaError(f"Quantization {quantization!r} is unknown; use none, 8bit or 4bit.")
    if find_spec("bitsandbytes") is None:
        raise GromaError(
            f"{quantization} needs the package bitsandbytes; pip install bitsandbytes, or load "
            "without quantization."
        )
    return BitsAndBytesConfig(
        load_in_8bit=quantization == "8bit",
        load_in_4bit=quantization == "4bit",
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(_SIXTEEN_BIT_PARTS),
    )


def stored_quantization(config: GromaConfig) -> Quantization | None:
    """How the language model of a checkpoint is packed on disk; None if it is not."""
    stored = getattr(config, "quantization_config", None) or {}
    return next((kind for kind in ("8bit", "4bit") if stored.get(f"load_in_{kind}")), None)


def beyond_stored(quantization: Quantization | None, config: GromaConfig) -> Quantization | None:
    """What is left to do to quantise a checkpoint: None where it is stored so.

    Raises `GromaError` if it is quantised in another way.
    """
    stored = stored_quantization(config)
    if stored is None or quantization in (None, "none"):
        return quantization
    if quantization != stored:
        raise GromaError(
            f"This model is stored in {stored} and cannot become {quantization}; choose no "
            "quantization, which keeps it as it is."
        )
    return None


def is_unpacked(config: GromaConfig, quantization: Quantization | None) -> bool:
    """Whether the 4-bit weights of a checkpoint become plain ones when they are loaded.

    So it is if the caller wants no quantisation, if bitsandbytes is missing, and for a language
    model so narrow that 4-bit kernels are slower than 16-bit ones.
    """
    stored = getattr(config, "quantization_config", None) or {}
    if not stored.get("load_in_4bit") or stored.get("bnb_4bit_quant_type") != "nf4":
        return False
    narrow = config.text_config.hidden_size < machine.NARROW
    return quantization == "none" or narrow or find_spec("bitsandbytes") is None
