"""What a checkpoint folder holds, told from its files without loading it."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from groma import machine
from groma.checkpoint.load import read_bin, read_config, resolve, safetensors_header, weight_files

_PARTS = {
    "image encoder": r"^(image_encoder|(perceiver\.)?vis_encoder)\.",
    "region proposer": r"^(region_proposer|perceiver|ddetr_transformer|input_proj)\.",
    "projector": r"^(projector|img_txt_bridge)\.",
    "region encoder": r"^region_encoder\.",
    "embeddings and head": r"embed_tokens|new_input_embs|lm_head",
    "language model": r"",
}
_QUANTIZATION_STATE = r"\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state|SCB)\b"
_SAFETENSORS_TYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I8": "int8",
    "U8": "uint8",
}


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
    for tensor in _stored_tensors(weight_files(resolve(source))):
        part = next(part for part, pattern in _PARTS.items() if re.search(pattern, tensor.name))
        entry = parts.setdefault(part, _PartInfo(part))
        entry.size += tensor.size
        # Scales and tables take memory but are no parameters.
        if not re.search(_QUANTIZATION_STATE, tensor.name):
            entry.parameters += tensor.count * (2 if tensor.dtype == "uint8" else 1)
            entry.dtypes.add("4bit" if tensor.dtype == "uint8" else tensor.dtype)
    return [parts[part] for part in _PARTS if part in parts]


def automatic(source: str | Path) -> tuple[str, str]:
    """The device and the number type that "auto" means for a checkpoint on this machine."""
    device = machine.resolve_device("auto")
    width = read_config(resolve(source)).text_config.hidden_size
    return device, str(machine.resolve_dtype("auto", device, width)).removeprefix("torch.")


@dataclass(frozen=True)
class _StoredTensor:
    name: str
    count: int
    dtype: str
    size: int


def _stored_tensors(files: list[Path]) -> Iterator[_StoredTensor]:
    for file in files:
        if file.suffix == ".safetensors":
            yield from _safetensors_tensors(file)
            continue
        for name, tensor in (read_bin(file) or {}).items():
            dtype = str(tensor.dtype).removeprefix("torch.")
            yield _StoredTensor(name, tensor.numel(), dtype, tensor.nbytes)


def _safetensors_tensors(file: Path) -> Iterator[_StoredTensor]:
    for name, entry in safetensors_header(file)[1].items():
        start, end = entry["data_offsets"]
        dtype = _SAFETENSORS_TYPES.get(entry["dtype"], entry["dtype"])
        yield _StoredTensor(name, math.prod(entry["shape"]), dtype, end - start)
