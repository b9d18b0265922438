"""Adapters: what LoRA learnt on top of a model, attached without touching the model.

An adapted model shares every weight with its base, so that both answer side by side and the second
costs no more memory than what was learnt. The format is peft's own; peft itself is imported where
it is needed, because that takes more than a second and most talks need none.
"""

import copy
import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from groma.foreign import load_json
from groma.model.groma import GromaForConditionalGeneration
from groma.types import GromaError

if TYPE_CHECKING:
    from peft import PeftModel

CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME = "adapter_config.json", "adapter_model.safetensors"
"""peft's names of its files."""
LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The language model's linear layers, which get low-rank matrices."""
WHOLE_PARTS = ("projector", "region_encoder")  # parts that may be trained as a whole besides
_TAUGHT = "taught_names"  # the part that an adapter for new names has besides, see `TaughtNames`

_PREFIX = "base_model.model."
_METADATA = "groma"
_NUM_TENSORS, _NUM_VALUES = 64, 4
_RELATIVE, _ABSOLUTE = 0.01, 1e-6
_PLAIN_LORA = {"peft_type": "LORA", "bias": "none", "use_dora": False, "lora_bias": False}


@dataclass(frozen=True)
class Fingerprint:
    """What tells one base model from another, however it is quantised or rounded."""

    name: str  # what the base was called
    sizes: Mapping[str, int]  # some sizes in words, for people
    structure: str  # hash of the configuration and of the names and shapes of all weights
    sample: tuple[float, ...]  # some of the weights that quantisation leaves alone

    @classmethod
    def of(cls, model: GromaForConditionalGeneration, name: str = "") -> Self:
        """The fingerprint of a model that has no adapter."""
        shapes = {key: list(_shape(weight)) for key, weight in model.named_parameters()}
        described = json.dumps([_behaviour(model), sorted(shapes.items())], sort_keys=True)
        digest = hashlib.sha256(described.encode()).hexdigest()
        return cls(name, _sizes(model), digest, tuple(_sample(model)))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `dataclasses.asdict`."""
        return cls(data["name"], data["sizes"], data["structure"], tuple(data["sample"]))

    def difference(self, other: "Fingerprint") -> str | None:
        """Why `other` is not this model, as the end of a sentence; None if it is."""
        for what, size in self.sizes.items():
            if other.sizes.get(what) != size:
                return f"its {what} is {size}, but here it is {other.sizes.get(what)}"
        if self.structure != other.structure:
            return "its layers or settings are others"
        # Rounding to 16 bit changes a weight by less than a hundredth of itself.
        alike = len(self.sample) == len(other.sample) and all(
            math.isclose(a, b, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
            for a, b in zip(self.sample, other.sample, strict=True)
        )
        return None if alike else "it has the same sizes but other weights"


@dataclass(frozen=True)
class Adapter:
    """A saved adapter, as far as its files' heads tell."""

    folder: Path  # holds `adapter_config.json` and `adapter_model.safetensors`
    base: Fingerprint  # the model it belongs to
    rank: int  # of the low-rank matrices
    alpha: float  # they are scaled by alpha / rank
    linears: tuple[str, ...]  # names of the linear layers that have them
    whole: tuple[str, ...]  # which of `WHOLE_PARTS` it replaces
    names: tuple[str, ...] = ()  # all that a model with it was taught to recognise
    # What is known of its training, JSON-ready.
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What to call it: what its card says, or its folder."""
        return str(self.card.get("name") or self.folder.resolve().name)

    @property
    def size(self) -> int:
        """Bytes of its weights on disk."""
        return (self.folder / SAFETENSORS_WEIGHTS_NAME).stat().st_size


def read_adapter(folder: str | Path) -> Adapter:
    """Read what an adapter is, without its weights; nothing in its folder is ever executed.

    Raises `GromaError` if it is no adapter, is damaged, or is of a kind this program does not make.
    """
    folder = Path(folder)
    for name in (CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME):
        if not (folder / name).is_file():
            raise GromaError(f"{folder} is no adapter: it has no {name}.")
    try:
        config = load_json((folder / CONFIG_NAME).read_bytes())
        with safe_open(folder / SAFETENSORS_WEIGHTS_NAME, framework="pt") as file:
            keys, metadata = list(file.keys()), file.metadata() or {}
            taught = {file.get_slice(key).get_shape()[0] for key in keys if f"{_TAUGHT}." in key}
        described = load_json(metadata.get(_METADATA, "{}"))
    except (ValueError, SafetensorError, OSError) as error:
        raise GromaError(f"The adapter in {folder} is damaged: {error}.") from error
    if "base" not in described:
        raise GromaError(
            f"The adapter in {folder} does not say which model it is for; only adapters that "
            "`groma train lora` or the application made can be used."
        )
    try:
        named = len(described.get("names", ()))
        if taught - {named}:  # room is made before weights are read
            raise ValueError(f"it names {named} things, not {max(taught)}")
        return _describe(folder, config, keys, described)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise GromaError(f"The adapter in {folder} is of no known kind: {error}.") from error


def write_adapter(
    adapted: "PeftModel", folder: Path, base: Fingerprint, card: Mapping[str, Any]
) -> None:
    """Save what an adapter learnt, as peft does, and which model it is for.

    `base` is the fingerprint of the model without the adapter, `card` JSON-ready, what is known of
    its training. Files in the folder are replaced.
    """
    from peft import get_peft_model_state_dict

    folder.mkdir(parents=True, exist_ok=True)
    weights = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    weights = {key: weight.detach().cpu().contiguous() for key, weight in weights.items()}
    config = copy.deepcopy(adapted.peft_config["default"])
    config.inference_mode, config.base_model_name_or_path = True, base.name
    config.save_pretrained(str(folder))
    # In the weights' own header, so that weights and their origin cannot be parted.
    model: Any = adapted.get_base_model()
    names = list(model.config.taught_names)
    described = json.dumps({"base": asdict(base), "names": names, "card": dict(card)})
    # Renamed when whole: whoever reads meanwhile sees the old adapter or the new one.
    draft = folder / f"{SAFETENSORS_WEIGHTS_NAME}.draft"
    save_file(weights, draft, {"format": "pt", _METADATA: described})
    draft.replace(folder / SAFETENSORS_WEIGHTS_NAME)


def add_lora(
    model: GromaForConditionalGeneration,
    rank: int,
    alpha: float,
    dropout: float = 0.0,
    whole: Iterable[str] = (),
    names: Collection[str] = (),
) -> "PeftModel":
    """Give a model new matrices to learn, which change nothing yet; all else is frozen.

    The model is changed in place; use `share` before to keep it as it is. Of the `whole` parts, of
    `WHOLE_PARTS`, a copy learns as a whole; there is room for `names` to be taught besides, see
    `TaughtNames`. Returns peft's view of the model.
    """
    linears = [
        name
        for name, _ in model.named_modules()
        if name.startswith("language_model.") and name.rsplit(".", 1)[-1] in LINEARS
    ]
    names = (*model.config.taught_names, *names) if names else ()
    return _wrap(model, linears, rank, alpha, dropout, tuple(whole), tuple(names))


def share(model: GromaForConditionalGeneration) -> GromaForConditionalGeneration:
    """A second model of new modules around the very same weights.

    Whatever is added to or replaced in one does not show in the other.
    """
    # `deepcopy` takes what is in its memo for copied already.
    shared: dict[int, Any] = {id(t): t for t in chain(model.parameters(), model.buffers())}
    for module in model.modules():
        # What bitsandbytes keeps beside a packed weight.
        for name in ("quant_state", "state"):
            if (kept := getattr(module, name, None)) is not None:
                shared[id(kept)] = kept
    return copy.deepcopy(model, shared)


def _check_base(adapter: Adapter, base: Fingerprint) -> None:
    """Refuse an adapter that is for another model, with the reason."""
    reason = adapter.base.difference(base)
    if reason is not None:
        made_for = f" ({adapter.base.name})" if adapter.base.name else ""
        raise GromaError(
            f"The adapter {adapter.name} was made for another model{made_for}: {reason}."
        )


def attach(
    model: GromaForConditionalGeneration, adapter: str | Path | Adapter
) -> GromaForConditionalGeneration:
    """A model with an adapter, in eval mode; the given one stays as it is, and shares its weights.

    Raises `GromaError` if it is no adapter, or is for another model.
    """
    adapted = share(model)
    _load(adapted, adapter)
    return adapted.eval()


def merge(
    model: GromaForConditionalGeneration, adapter: str | Path | Adapter
) -> GromaForConditionalGeneration:
    """Add an adapter's weights to those of a model, in place, for good; returns a plain model.

    Raises `GromaError` as `attach`, or if the model is quantised.
    """
    packed = ("quant_state", "SCB")
    if any(hasattr(weight, name) for weight in model.parameters() for name in packed):
        raise GromaError("An adapter cannot be merged into quantised weights; load them unpacked.")
    merged: Any = _load(model, adapter).merge_and_unload(safe_merge=True)
    return merged.eval()


def load_weights(adapted: "PeftModel", folder: Path) -> None:
    """Fill in what an adapter in a folder learnt; the model has the same matrices, from `add_lora`.

    Raises `GromaError`, naming a tensor that is missing, unexpected, of another shape or not
    finite.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    weights = load_file(folder / SAFETENSORS_WEIGHTS_NAME)
    wanted = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    odd = sorted(set(weights) ^ set(wanted))
    odd += [key for key in wanted if key in weights and weights[key].shape != wanted[key].shape]
    odd += [key for key, weight in weights.items() if not weight.isfinite().all()]
    if odd:
        raise GromaError(f"The adapter in {folder} is damaged: {odd[0]} is not as it must be.")
    set_peft_model_state_dict(adapted, weights)


def _load(model: GromaForConditionalGeneration, adapter: str | Path | Adapter) -> "PeftModel":
    adapter = adapter if isinstance(adapter, Adapter) else read_adapter(adapter)
    _check_base(adapter, Fingerprint.of(model))
    parts = adapter.whole, adapter.names
    wrapped = _wrap(model, adapter.linears, adapter.rank, adapter.alpha, 0.0, *parts)
    load_weights(wrapped, adapter.folder)
    return wrapped


def _wrap(
    model: GromaForConditionalGeneration,
    linears: Iterable[str],
    rank: int,
    alpha: float,
    dropout: float,
    whole: tuple[str, ...],
    names: tuple[str, ...],
) -> "PeftModel":
    from peft import LoraConfig, PeftModel, get_peft_model

    if names:
        model.teach(names)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # ty: ignore[invalid-argument-type]
        lora_dropout=dropout,
        target_modules=list(linears),
        modules_to_save=[*whole, *([_TAUGHT] if names else ())] or None,
    )
    adapted = get_peft_model(model, config)
    assert isinstance(adapted, PeftModel)
    return adapted


def _describe(
    folder: Path, config: Mapping[str, Any], keys: Iterable[str], described: Mapping[str, Any]
) -> Adapter:
    """Trust the names of the tensors alone: patterns in the configuration are never evaluated."""
    for name, value in _PLAIN_LORA.items():
        if config.get(name, value) != value:
            raise ValueError(f"{name} is {config[name]!r}")
    names = [key.removeprefix(_PREFIX) for key in keys]
    linears = {name.split(".lora_")[0] for name in names if ".lora_" in name}
    whole = {name.split(".")[0] for name in names if ".lora_" not in name}
    taught = tuple(map(str, described.get("names", ()))) if _TAUGHT in whole else ()
    whole -= {_TAUGHT} if taught else set()
    unknown = whole - set(WHOLE_PARTS)
    unknown |= {name for name in linears if name.rsplit(".", 1)[-1] not in LINEARS}
    if unknown or not linears:
        raise ValueError(f"it changes {', '.join(sorted(unknown)) or 'nothing'}")
    return Adapter(
        folder,
        Fingerprint.from_dict(described["base"]),
        int(config["r"]),
        float(config["lora_alpha"]),
        tuple(sorted(linears)),
        tuple(sorted(whole)),
        taught,
        dict(described.get("card", {})),
    )


def _behaviour(model: GromaForConditionalGeneration) -> dict[str, Any]:
    """Settings that change what weights mean."""
    config = model.config
    return {
        "image_size": config.image_size,
        "image_token_layer": config.image_token_layer,
        "compat": config.compat,
        "roi_size": getattr(config.region_config, "roi_size", None),
        "rope": str(config.text_config.rope_parameters),
        "heads": config.text_config.num_attention_heads,
    }


def _sizes(model: GromaForConditionalGeneration) -> dict[str, int]:
    config = model.config
    return {
        "picture size": config.image_size,
        "width of the image encoder": config.image_width,
        "number of image encoder layers": config.image_layers,
        "width of the language model": config.text_config.hidden_size,
        "number of language model layers": config.text_config.num_hidden_layers,
        "vocabulary": config.text_config.vocab_size,
        "number of merged adapters": len(config.merged_adapters),
    }


def _shape(weight: Tensor) -> tuple[int, ...]:
    state = getattr(weight, "quant_state", None)
    return tuple(weight.shape if state is None else state.shape)


def _sample(model: GromaForConditionalGeneration) -> Iterable[float]:
    """A few numbers of a few tensors, all over the model."""
    plain = [
        weight
        for name, weight in sorted(model.named_parameters())
        if weight.ndim > 1 and not name.startswith("language_model.model.layers.")
    ]
    for i in torch.linspace(0, len(plain) - 1, min(_NUM_TENSORS, len(plain))).long().tolist():
        values = plain[i].detach().flatten()
        places = torch.linspace(0, len(values) - 1, _NUM_VALUES).long()
        yield from (float(f"{x:.6g}") for x in values[places.to(values.device)].float().tolist())
