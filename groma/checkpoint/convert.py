"""Write a checkpoint in our own layout, quantised or with an adapter merged."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from groma.checkpoint.adapters import merge
from groma.checkpoint.load import load, read_config, resolve
from groma.model.quantization import Quantization, stored_quantization
from groma.types import GromaError

_TOKENIZER_FILES = (
    *("tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.json", "merges.txt", "generation_config.json"),
)


def convert(
    source: str | Path,
    target: str | Path,
    quantization: Quantization | None = None,
    dtype: str | torch.dtype = "bfloat16",
    max_shard_size: str = "5GB",
    adapter: str | Path | None = None,
) -> None:
    """Write a checkpoint in our layout, quantised if asked for, that loads fast ever after.

    The source is in any layout that `load` reads, the target a folder that does not exist or is
    empty. `quantization` is of the language model's linear layers, `dtype` of everything else; the
    weights of an adapter (LoRA) are added to the model's for good. Raises `GromaError` as `load`,
    if the target holds files already, or the adapter was made for another model.
    """
    target = Path(target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise GromaError(f"{target} exists already; name a new or empty folder.")
    folder = resolve(source)
    if quantization is not None and stored_quantization(read_config(folder)) == quantization:
        raise GromaError(f"{source} is stored in {quantization} already.")
    if adapter is not None:
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
        # Merged in plain numbers first: a quantised model cannot take an adapter in. Beside the
        # target, because the disk of temporary files may be too small for a model.
        with TemporaryDirectory(dir=target.absolute().parent) as merged:
            _merge(folder, Path(merged), adapter, dtype)
            convert(merged, target, quantization, dtype, max_shard_size)
        return
    model, _ = load(folder, quantization, device="auto" if quantization else "cpu", dtype=dtype)
    model.save_pretrained(target, max_shard_size=max_shard_size)
    _copy_tokenizer(folder, target)


def _merge(folder: Path, target: Path, adapter: str | Path, dtype: str | torch.dtype) -> None:
    """Write a plain model with an adapter's weights added."""
    model, _ = load(folder, "none", device="cpu", dtype=dtype)
    merged = merge(model, adapter)
    merged.config.merged_adapters = (*merged.config.merged_adapters, Path(adapter).resolve().name)
    merged.save_pretrained(target)
    _copy_tokenizer(folder, target)


def _copy_tokenizer(source: Path, target: Path) -> None:
    for name in _TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
