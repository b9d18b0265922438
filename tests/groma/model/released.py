"""Builds the released layout from the recorded recipe, and reads the recorded numbers."""

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import sentencepiece
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.paths import DATA

PARITY = DATA / "parity"


def recipe() -> ModuleType:
    spec = spec_from_file_location("weights_recipe", PARITY / "weights_recipe.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fixture() -> tuple[dict[str, Any], dict[str, Tensor]]:
    record = json.loads((PARITY / "fixture_a.json").read_text())
    return record, load_file(PARITY / "fixture_a.safetensors")


def official_weights(record: dict[str, Any]) -> dict[str, Tensor]:
    make = recipe().tensor
    return {
        key: torch.from_numpy(make(key, shape, record["seed"]))
        for key, shape in record["state_dict"].items()
    }


def write_released(folder: Path, record: dict[str, Any], *, shards: int, tied: str) -> Path:
    """Write the released layout.

    Args:
        folder: where to.
        record: the fixture's json.
        shards: 0 for one safetensors file, else that many .bin shards with an index.
        tied: which of the heads' two names to store: "both", "decoder" or "plain".
    """
    weights = official_weights(record)
    doubled = record["tied_keys"]
    if tied == "decoder":
        weights = {k: v for k, v in weights.items() if k not in doubled.values()}
    if tied == "plain":
        weights = {k: v for k, v in weights.items() if k not in doubled}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(record["config_json"]))
    if shards == 0:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return folder
    names = list(weights)
    index = {}
    for i in range(shards):
        file = f"pytorch_model-{i + 1:05d}-of-{shards:05d}.bin"
        part = {name: weights[name] for name in names[i::shards]}
        torch.save(part, folder / file)
        index |= dict.fromkeys(part, file)
    size = sum(weight.nbytes for weight in weights.values())
    (folder / "pytorch_model.bin.index.json").write_text(
        json.dumps({"metadata": {"total_size": size}, "weight_map": index})
    )
    return folder


def write_tokenizer(folder: Path, vocabulary: int = 320) -> None:
    """The slow tokenizer files of a Vicuna folder, over a vocabulary of `vocabulary` pieces."""
    with (folder / "tokenizer.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["What is left of the dog? USER: ASSISTANT: a cat."] * 50),
            model_writer=file,
            vocab_size=vocabulary,
            model_type="bpe",
            byte_fallback=True,
            hard_vocab_limit=False,
            pad_id=-1,
            minloglevel=2,
        )
    settings = {"tokenizer_class": "LlamaTokenizer", "legacy": False, "add_bos_token": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
