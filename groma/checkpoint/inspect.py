"""What a checkpoint folder holds, told from its files without loading it."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import torch

from groma import machine
from groma.checkpoint.load import read_config, read_weights, resolve, weight_files

_PARTS = {
    "image encoder": r"^(image_encoder|(perceiver\.)?vis_encoder)\.",
    "region proposer": r"^(region_proposer|perceiver|ddetr_transformer|input_proj)\.",
    "projector": r"^(projector|img_txt_bridge)\.",
    "region encoder": r"^region_encoder\.",
    "embeddings and head": r"embed_tokens|new_input_embs|lm_head",
    "language model": r"",
}
_QUANTIZATION_STATE = r"\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state|SCB)\b"


@dataclass
class _PartInfo:
    """What one part of a checkpoint holds on disk."""

    name: str  # the part, in this project's words
    parameters: int = 0  # how many numbers it stands for (a packed 4-bit byte counts as two)
    size: int = 0  # bytes on disk, which are also its bytes in memory when loaded as stored
    dtypes: set[str] = field(default_factory=set)  # the stored types


def info(source: str | Path) -> list[_PartInfo]:
    """Describe a checkpoint without loading it: parameters, bytes and types per part."""
    parts: dict[str, _PartInfo] = {}
    for file in weight_files(resolve(source)):
        for name, tensor in (read_weights(file) or {}).items():
            part = next(part for part, pattern in _PARTS.items() if re.search(pattern, name))
            entry = parts.setdefault(part, _PartInfo(part))
            entry.size += tensor.nbytes
            # Scales and tables take memory but are no parameters.
            if not re.search(_QUANTIZATION_STATE, name):
                is_packed = tensor.dtype == torch.uint8
                entry.parameters += tensor.numel() * (2 if is_packed else 1)
                entry.dtypes.add("4bit" if is_packed else str(tensor.dtype).removeprefix("torch."))
    return [parts[part] for part in _PARTS if part in parts]


def automatic(source: str | Path) -> tuple[str, str]:
    """The device and the number type that "auto" means for a checkpoint on this machine."""
    device = machine.resolve_device("auto")
    width = read_config(resolve(source)).text_config.hidden_size
    return device, str(machine.resolve_dtype("auto", device, width)).removeprefix("torch.")
