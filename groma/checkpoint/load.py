"""Checkpoints: load the released layout or ours, quantise, convert, describe."""

import json
import logging
import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, StrictDataclassError
from safetensors.torch import load_file
from transformers import AutoTokenizer, BitsAndBytesConfig
from transformers.utils import (
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    WEIGHTS_INDEX_NAME,
    WEIGHTS_NAME,
)

from groma import embedded, machine
from groma.config import GromaConfig
from groma.foreign import load_json
from groma.model.groma import GromaForConditionalGeneration
from groma.model.quantization import (
    SIXTEEN_BIT_PARTS,
    compute_in,
    quantized_linears,
    set_cpu_packing,
    unpack_nf4,
)
from groma.types import GromaError

Quantization = Literal["none", "8bit", "4bit"]

_TOKENIZER_FILES = (
    "tokenizer.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "generation_config.json",
)


def load(
    source: str | Path,
    quantization: Quantization | None = None,
    device: str = "auto",
    dtype: str | torch.dtype = "auto",
    device_map: str | dict[str, Any] | None = None,
) -> tuple[GromaForConditionalGeneration, Any]:
    """Load a model and its tokenizer, ready to answer.

    Args:
        source: a folder, or the id of a model on the Hugging Face Hub; the released layout or ours.
        quantization: of the language model's linear layers; None keeps what the folder holds.
        device: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1", ...
        dtype: "auto" is 16 bit where the device computes in it, else fp32, which a small language
            model always gets.
        device_map: as in transformers, instead of `device`.

    Returns:
        The model in eval mode and the tokenizer of plain text.

    Raises:
        GromaError: if the source is no Groma checkpoint, is incomplete, or cannot run here.
    """
    folder = resolve(source)
    config = read_config(folder)
    target = machine.resolve_device(device)
    kind = machine.resolve_dtype(dtype, target, config.text_config.hidden_size)
    options: dict[str, Any] = {"dtype": kind, "device_map": device_map or {"": target}}
    quantization = beyond_stored(quantization, config)
    if quantization not in (None, "none"):
        options["quantization_config"] = quantization_config(quantization, kind)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # a warning per layer and call
    tokenizer = load_tokenizer(folder)
    source_of_weights: Path | None = folder
    if is_unpacked(config, quantization):
        options["state_dict"] = read_unpacked(folder, kind)
        source_of_weights, config.quantization_config = None, None
    model = GromaForConditionalGeneration.from_pretrained(
        source_of_weights, config=config, **options
    )
    compute_in(model, kind)
    if quantized_linears(model):
        set_cpu_packing(model, machine.packs_for_cpu(kind))
    return model.eval(), tokenizer


NEEDED = [
    *("config.json", "*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json"),
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt"),
]
"""Files of a checkpoint that are asked for; the others of the Hub may be missing."""


def resolve(source: str | Path) -> Path:
    """The folder of a checkpoint, downloaded from the Hub where it is not on disk.

    Raises:
        GromaError: if there is no such folder and no such model, or a shard is missing.
    """
    folder = embedded.find(source)
    if source in embedded.NAMES and source not in embedded.at_hand():
        raise GromaError(
            f"There is no embedded model in {folder}; fetch the whole repository, or name another "
            "model."
        )
    if not folder.exists():
        try:
            folder = Path(snapshot_download(str(source), allow_patterns=NEEDED))
        except (OSError, ValueError, HFValidationError) as error:
            raise GromaError(
                f"There is no model folder {str(source)!r}, and no model of that name could be "
                "downloaded; check the path or the connection."
            ) from error
    if not (folder / "config.json").is_file():
        raise GromaError(f"{folder} is not a model folder: it has no config.json.")
    weight_files(folder)
    return folder


def read_config(folder: Path) -> GromaConfig:
    """The configuration of a checkpoint folder.

    Raises:
        GromaError: if config.json is broken or describes another architecture.
    """
    try:
        raw = load_json((folder / "config.json").read_bytes())
    except ValueError as error:
        raise GromaError(f"{folder / 'config.json'} is not valid JSON; fetch it again.") from error
    found = raw.get("model_type") if isinstance(raw, dict) else None
    if found != GromaConfig.model_type:
        raise GromaError(f"{folder} holds a {found or 'nameless'} model, not a Groma model.")
    try:
        return GromaConfig.from_dict(raw)
    except GromaError:
        raise
    except (StrictDataclassError, TypeError, ValueError, AttributeError, LookupError) as error:
        raise GromaError(
            f"{folder / 'config.json'} has a value of the wrong kind; fetch it again."
        ) from error


def weight_files(folder: Path) -> list[Path]:
    """Every weight file of a checkpoint folder, safetensors before .bin.

    Raises:
        GromaError: if there is none, or a shard that the index names is missing.
    """
    for index_name, single in (
        (SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME),
        (WEIGHTS_INDEX_NAME, WEIGHTS_NAME),
    ):
        if (folder / index_name).is_file():
            files = [folder / name for name in _shard_names(folder / index_name)]
            missing = [file.name for file in files if not file.is_file()]
            if missing:
                raise GromaError(
                    f"{folder} is incomplete: {', '.join(missing)} of {len(files)} weight files "
                    "missing; download it again."
                )
            return check_complete(files)
        if (folder / single).is_file():
            return check_complete([folder / single])
    raise GromaError(f"{folder} holds no weights (no {SAFE_WEIGHTS_NAME}, no {WEIGHTS_NAME}).")


def _shard_names(index: Path) -> list[str]:
    """Weight files that an index names."""
    try:
        named = load_json(index.read_bytes())["weight_map"].values()
        return sorted({Path(name).name for name in named})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GromaError(f"{index} is damaged; download it again.") from error


def check_complete(files: list[Path]) -> list[Path]:
    """Refuse weight files that a broken download left shorter than they say, or that are none.

    Raises:
        GromaError: naming the first such file.
    """
    for file in files:
        if file.suffix == ".safetensors":
            complete = file.stat().st_size == _safetensors_size(file)
        else:
            complete = _read_bin(file) is not None
        if not complete:
            raise GromaError(f"{file} is damaged or incomplete; download it again.")
    return files


def quantization_config(quantization: str, dtype: torch.dtype) -> BitsAndBytesConfig:
    """How bitsandbytes packs the language model's linear layers, and nothing else.

    Raises:
        GromaError: if bitsandbytes is not installed, or the name is unknown.
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
        llm_int8_skip_modules=list(SIXTEEN_BIT_PARTS),
    )


def stored_quantization(config: GromaConfig) -> Quantization | None:
    """How the language model of a checkpoint is packed on disk; None if it is not."""
    stored = getattr(config, "quantization_config", None) or {}
    return next((kind for kind in ("8bit", "4bit") if stored.get(f"load_in_{kind}")), None)


def beyond_stored(quantization: Quantization | None, config: GromaConfig) -> Quantization | None:
    """What is left to do to quantise a checkpoint: None where it is stored so.

    Raises:
        GromaError: if it is quantised in another way.
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


def read_unpacked(folder: Path, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """All weights of a checkpoint folder in safetensors, 4-bit ones unpacked."""
    stored: dict[str, torch.Tensor] = {}
    for file in weight_files(folder):
        stored |= load_file(file)
    return unpack_nf4(stored, dtype)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a checkpoint folder, from slow or fast files.

    Raises:
        GromaError: if there is none or it cannot be read.
    """
    try:
        return AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise GromaError(f"{folder} holds no tokenizer that can be read: {error}") from error


def convert(
    source: str | Path,
    target: str | Path,
    quantization: Quantization | None = None,
    dtype: str | torch.dtype = "bfloat16",
    max_shard_size: str = "5GB",
    adapter: str | Path | None = None,
) -> None:
    """Write a checkpoint in our layout, quantised if asked for, that loads fast ever after.

    Args:
        source: folder or Hub id, in any layout that `load` reads.
        target: a folder that does not exist or is empty.
        quantization: of the language model's linear layers.
        dtype: of everything else.
        max_shard_size: largest weight file.
        adapter: folder of an adapter (LoRA) whose weights are added to the model's for good.

    Raises:
        GromaError: as `load`, if the target holds files already, or the adapter was made for
            another model.
    """
    target = Path(target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise GromaError(f"{target} exists already; name a new or empty folder.")
    folder = resolve(source)
    if quantization is not None and stored_quantization(read_config(folder)) == quantization:
        raise GromaError(f"{source} is stored in {quantization} already.")
    if adapter is not None:
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=target.absolute().parent) as merged:
            _merge(folder, Path(merged), adapter, dtype)
            convert(merged, target, quantization, dtype, max_shard_size)
        return
    model, _ = load(folder, quantization, device="auto" if quantization else "cpu", dtype=dtype)
    model.save_pretrained(target, max_shard_size=max_shard_size)
    _copy_tokenizer(folder, target)


def _merge(folder: Path, target: Path, adapter: str | Path, dtype: str | torch.dtype) -> None:
    """Write a plain model with an adapter's weights added."""
    from groma.checkpoint.adapters import (
        merge,  # late: peft takes a while, and most commands need none
    )

    model, _ = load(folder, "none", device="cpu", dtype=dtype)
    merged = merge(model, adapter)
    merged.config.merged_adapters = (*merged.config.merged_adapters, Path(adapter).resolve().name)
    merged.save_pretrained(target)
    _copy_tokenizer(folder, target)


def _copy_tokenizer(source: Path, target: Path) -> None:
    for name in _TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


@dataclass
class PartInfo:
    """What one part of a checkpoint holds on disk.

    Attributes:
        name: the part, in this project's words.
        parameters: how many numbers it stands for (a packed 4-bit byte counts as two).
        size: bytes on disk, which are also its bytes in memory when loaded as stored.
        dtypes: the stored types.
    """

    name: str
    parameters: int = 0
    size: int = 0
    dtypes: set[str] = field(default_factory=set)


def info(source: str | Path) -> list[PartInfo]:
    """Describe a checkpoint without loading it: parameters, bytes and types per part.

    Raises:
        GromaError: as `resolve`.
    """
    parts: dict[str, PartInfo] = {}
    for tensor in _stored_tensors(weight_files(resolve(source))):
        part = next(part for part, pattern in _PARTS.items() if re.search(pattern, tensor.name))
        entry = parts.setdefault(part, PartInfo(part))
        entry.size += tensor.size
        if not re.search(_QUANTIZATION_STATE, tensor.name):
            entry.parameters += tensor.count * (2 if tensor.dtype == "uint8" else 1)
            entry.dtypes.add("4bit" if tensor.dtype == "uint8" else tensor.dtype)
    return [parts[part] for part in _PARTS if part in parts]


def automatic(source: str | Path) -> tuple[str, str]:
    """The device and the number type that "auto" means for a checkpoint on this machine.

    Raises:
        GromaError: as `resolve` and `read_config`.
    """
    device = machine.resolve_device("auto")
    width = read_config(resolve(source)).text_config.hidden_size
    return device, str(machine.resolve_dtype("auto", device, width)).removeprefix("torch.")


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
        for name, tensor in (_read_bin(file) or {}).items():
            dtype = str(tensor.dtype).removeprefix("torch.")
            yield _StoredTensor(name, tensor.numel(), dtype, tensor.nbytes)


def _read_bin(file: Path) -> dict[str, torch.Tensor] | None:
    """Tensors of a .bin file, a zip with a pickle, without reading their values; None if damaged.

    A pickle that would run something is refused by PyTorch, and damaged as well.
    """
    try:
        found = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
        is_whole = all(isinstance(tensor, torch.Tensor) for tensor in found.values())
    except Exception:  # a broken pickle can raise anything
        return None
    return found if is_whole else None


def _safetensors_header(file: Path) -> tuple[int, dict[str, Any]]:
    """Length of a safetensors file's header, and its tensors by name."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
    header.pop("__metadata__", None)
    return 8 + length, header


def _safetensors_size(file: Path) -> int:
    """Bytes a safetensors file must have, by its own header; -1 if that is unreadable."""
    try:
        length, header = _safetensors_header(file)
    except (ValueError, OverflowError, MemoryError):
        return -1
    return length + max((entry["data_offsets"][1] for entry in header.values()), default=0)


def _safetensors_tensors(file: Path) -> Iterator[_StoredTensor]:
    for name, entry in _safetensors_header(file)[1].items():
        start, end = entry["data_offsets"]
        dtype = _SAFETENSORS_TYPES.get(entry["dtype"], entry["dtype"])
        yield _StoredTensor(name, math.prod(entry["shape"]), dtype, end - start)
