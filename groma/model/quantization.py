"""What bitsandbytes quantises, when it may repack for the CPU, and how to do without it."""

import json
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from groma.ops.nf4 import scale_blocks, unpack_codes

SIXTEEN_BIT_PARTS = ("image_encoder", "region_proposer", "projector", "region_encoder", "lm_head")
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
    for weight in model.parameters():
        if weight.is_floating_point():
            weight.data = weight.data.to(dtype)
    for linear in quantized_linears(model):
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


_PACKED = re.compile(r"(.+\.weight)\.quant_state\.bitsandbytes__nf4")
_PACKED_PART = re.compile(
    r"\.weight\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state)\b"
)


def unpack_nf4(stored: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Turn a checkpoint with 4-bit weights into a plain one, without bitsandbytes.

    Args:
        stored: every tensor of the checkpoint, as bitsandbytes names the parts of a weight.
        dtype: of the unpacked weights.

    Returns:
        The same weights that bitsandbytes computes with, and all other tensors as they are.
    """
    plain = {name: tensor for name, tensor in stored.items() if not _PACKED_PART.search(name)}
    for match in filter(None, map(_PACKED.fullmatch, stored)):
        plain[match[1]] = _unpack(stored, match[1]).to(dtype)
    return plain


def _unpack(stored: Mapping[str, Tensor], name: str) -> Tensor:
    state = json.loads(bytes(stored[f"{name}.quant_state.bitsandbytes__nf4"].tolist()))
    scales = stored[f"{name}.absmax"]
    if f"{name}.nested_absmax" in stored:  # the scales themselves are stored in 8 bit
        values = stored[f"{name}.nested_quant_map"][scales.int()]
        block = state["nested_blocksize"]
        scales = scale_blocks(values, stored[f"{name}.nested_absmax"], block)
        scales += state["nested_offset"]
    values = unpack_codes(stored[name], stored[f"{name}.quant_map"])
    return scale_blocks(values, scales, state["blocksize"]).view(state["shape"])
