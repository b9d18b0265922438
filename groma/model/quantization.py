"""What bitsandbytes quantises, and when it may repack 4-bit weights for the CPU."""

from torch import nn

SIXTEEN_BIT_PARTS = ("image_encoder", "region_proposer", "projector", "region_encoder", "lm_head")
"""What quantisation leaves alone: everything visual, and the language model's head."""


def quantized_linears(model: nn.Module) -> list[nn.Module]:
    """The 4-bit linear layers of a model."""
    return [module for module in model.modules() if hasattr(module, "support_avx512bf16_for_cpu")]


def set_cpu_packing(model: nn.Module, allowed: bool) -> None:
    """Say whether the first answer may repack 4-bit weights into the CPU's fast layout.

    bitsandbytes 0.50 repacks in place and does not restore the block scales when it saves, so a
    model that will be saved or trained must not repack.
    """
    for linear in quantized_linears(model):
        setattr(linear, "support_avx512bf16_for_cpu", allowed)  # noqa: B010


def is_cpu_packed(model: nn.Module) -> bool:
    """Whether any 4-bit layer was repacked."""
    states = [getattr(linear.weight, "quant_state", None) for linear in quantized_linears(model)]
    return any(getattr(state, "packing_format_for_cpu", False) for state in states)
