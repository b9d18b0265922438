"""Load a model and its tokenizer: the released layout or ours, from disk or from the Hub."""

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoConfig, AutoTokenizer
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
    Quantization,
    beyond_stored,
    compute_in,
    is_unpacked,
    quantization_config,
    quantized_linears,
    set_cpu_packing,
)
from groma.types import GromaError


def load(
    source: str | Path,
    quantization: Quantization | None = None,
    device: str = "auto",
    dtype: str | torch.dtype = "auto",
    device_map: str | dict[str, Any] | None = None,
) -> tuple[GromaForConditionalGeneration, Any]:
    """Load a model in eval mode, and its tokenizer of plain text; arguments as in `groma.load`.

    Raises `GromaError` if the source is no Groma checkpoint, is incomplete, or cannot run here.
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
    # Before the weights: it costs little, and may be what is wrong with the folder.
    tokenizer = load_tokenizer(folder)
    source_of_weights: Path | None = folder
    if is_unpacked(config, quantization):
        options["state_dict"] = _read_unpacked(folder, kind)
        source_of_weights, config.quantization_config = None, None
    model = GromaForConditionalGeneration.from_pretrained(
        source_of_weights, config=config, **options
    )
    # transformers keeps some stored types, whatever `dtype` says.
    compute_in(model, kind)
    if quantized_linears(model):
        set_cpu_packing(model, machine.packs_for_cpu(kind))
    return model.eval(), tokenizer


_WANTED = [
    *("config.json", "*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json"),
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt"),
    "wording.json",
]
"""Files of a checkpoint that are asked for; where the Hub is out of reach, some may be missing."""


def resolve(source: str | Path) -> Path:
    """The folder of a checkpoint, downloaded from the Hub where it is not on disk.

    Raises `GromaError` if there is no such folder and no such model, or a shard is missing.
    """
    folder = embedded.find(source)
    if source in embedded.NAMES and source not in embedded.at_hand():
        raise GromaError(
            f"There is no embedded model in {folder}; fetch the whole repository, or name another "
            "model."
        )
    if not folder.exists():
        folder = _download(str(source))
    if not (folder / "config.json").is_file():
        raise GromaError(f"{folder} is not a model folder: it has no config.json.")
    # A shard that is missing is told now, not after gigabytes were read.
    weight_files(folder)
    return folder


def _download(name: str) -> Path:
    """The folder of a model of the Hub, or what was downloaded of it; raises `GromaError`."""
    try:
        return Path(snapshot_download(name, allow_patterns=_WANTED))
    except (OSError, ValueError, HFValidationError) as error:
        # What is here may do: the same weights are in several files, and others are optional.
        with suppress(OSError, ValueError, HFValidationError):
            return Path(
                snapshot_download(name, allow_patterns=["config.json"], local_files_only=True)
            )
        raise GromaError(
            f"There is no model folder {name!r}, and no model of that name could be downloaded; "
            "check the path or the connection."
        ) from error


def read_config(folder: Path) -> GromaConfig:
    """The configuration of a folder; raises `GromaError` if it is broken, or of something else."""
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


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a checkpoint folder, from slow or fast files; raises `GromaError`."""
    # transformers finds the class of a tokenizer by the type of its model.
    AutoConfig.register(GromaConfig.model_type, GromaConfig, exist_ok=True)
    try:
        return AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise GromaError(
            f"{folder} holds no tokenizer that can be read; download it again."
        ) from error


def _read_unpacked(folder: Path, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """All weights of a checkpoint folder in safetensors, 4-bit ones unpacked."""
    from groma.checkpoint.nf4 import unpack_nf4  # late: only small models are unpacked

    stored: dict[str, torch.Tensor] = {}
    for file in weight_files(folder):
        stored |= load_file(file)
    return unpack_nf4(stored, dtype)


def weight_files(folder: Path) -> list[Path]:
    """Every weight file of a checkpoint folder, safetensors before .bin.

    Raises `GromaError` if there is none, or a shard that the index names is missing.
    """
    for index_name, single in (
        (SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME),
        (WEIGHTS_INDEX_NAME, WEIGHTS_NAME),
    ):
        if (folder / index_name).is_file():
            files = [folder / name for name in _shard_names(folder / index_name)]
            missing = [file.name for file in files if not _is_there(file)]
            if missing:
                raise GromaError(
                    f"{folder} is incomplete: {', '.join(missing)} of {len(files)} weight files "
                    "missing; download it again."
                )
            return _check_complete(files)
        if (folder / single).is_file():
            return _check_complete([folder / single])
    raise GromaError(f"{folder} holds no weights (no {SAFE_WEIGHTS_NAME}, no {WEIGHTS_NAME}).")


def _is_there(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # no file can be called so
        return False


def _shard_names(index: Path) -> list[str]:
    """Weight files that an index names."""
    try:
        named = load_json(index.read_bytes())["weight_map"].values()
        return sorted({Path(name).name for name in named})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GromaError(f"{index} is damaged; download it again.") from error


def _check_complete(files: list[Path]) -> list[Path]:
    """Refuse weight files that a broken download left shorter than they say, or that are none."""
    for file in files:
        if read_weights(file) is None:
            raise GromaError(f"{file} is damaged or incomplete; download it again.")
    return files


def read_weights(file: Path) -> dict[str, torch.Tensor] | None:
    """Tensors of a weight file, whose values are not read yet; None if it is damaged.

    A .bin file is a zip with a pickle; one that would run something is refused by PyTorch, and
    damaged as well.
    """
    if file.suffix == ".safetensors":
        try:
            return load_file(file)
        except SafetensorError:
            return None
    try:
        found = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
        is_whole = all(isinstance(tensor, torch.Tensor) for tensor in found.values())
    except Exception:  # a broken pickle can raise anything
        return None
    return found if is_whole else None
