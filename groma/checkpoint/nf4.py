"""4-bit NormalFloat weights (QLoRA's nf4) back to numbers, without bitsandbytes."""

import json
import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

_PACKED = re.compile(r"(.+\.weight)\.quant_state\.bitsandbytes__nf4")
_PACKED_PART = re.compile(r"\.weight\.((nested_)?(absmax|quant_map)|quant_state)\b")


def unpack_nf4(stored: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Turn a checkpoint with 4-bit weights into a plain one, without bitsandbytes.

    Tensors are named as bitsandbytes names the parts of a weight. Returns the same weights that it
    computes with, in `dtype`, and all other tensors as they are.
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
        nested = stored[f"{name}.nested_absmax"], state["nested_blocksize"]
        scales = _scale_blocks(values, *nested) + state["nested_offset"]
    values = _unpack_codes(stored[name], stored[f"{name}.quant_map"])
    return _scale_blocks(values, scales, state["blocksize"]).view(state["shape"])


def _unpack_codes(packed: Tensor, table: Tensor) -> Tensor:
    """(n,) values of two 4-bit codes per byte, the high one first, in a table of 16."""
    byte = torch.arange(256, device=table.device)
    pairs = torch.stack([table[byte >> 4], table[byte & 15]], dim=1)
    return pairs.index_select(0, packed.flatten().int()).flatten()


def _scale_blocks(values: Tensor, scales: Tensor, block: int) -> Tensor:
    """Multiply each run of `block` of (n,) values by its scale, (ceil(n / block),)."""
    padded = F.pad(values, (0, -len(values) % block)).view(-1, block)
    return (padded * scales[:, None]).flatten()[: len(values)]
