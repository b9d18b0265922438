"""Groma: a grounded multimodal chat model that localises while it tokenises (arXiv 2404.13013)."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from groma.chat.chat import Groma
    from groma.model.quantization import Quantization


def load(
    source: "str | Path",
    quantization: "Quantization | None" = None,
    device: str = "auto",
    dtype: "str | torch.dtype" = "auto",
    device_map: str | dict[str, Any] | None = None,
    adapter: "str | Path | None" = None,
) -> "Groma":
    """Load a model that can talk about pictures.

    Args:
        source: a folder, or the id of a model on the Hugging Face Hub; the released layout or ours.
        quantization: of the language model's linear layers; None keeps what the folder holds.
        device: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1", ...
        dtype: "auto" is 16 bit where the device computes in it, else fp32, which a small language
            model always gets.
        device_map: as in transformers, instead of `device`.
        adapter: folder of an adapter (LoRA) to answer with.

    Raises:
        GromaError: if the source is no Groma checkpoint, is incomplete, or cannot run here, or the
            adapter was made for another model.
    """
    # Late, so that `groma --help` need not wait for torch.
    from groma.chat.chat import Groma
    from groma.checkpoint import load as loading

    groma = Groma(*loading.load(source, quantization, device, dtype, device_map))
    return groma if adapter is None else groma.with_adapter(adapter)
