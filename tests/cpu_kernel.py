"""Packing 4-bit weights for the CPU, on any CPU."""

import pytest
import torch
import torch.nn.functional as F
from bitsandbytes import functional
from torch import Tensor

from groma import machine
from groma.checkpoint.nf4 import _scale_blocks, _unpack_codes


def allow(monkeypatch: pytest.MonkeyPatch, allowed: bool = True) -> None:
    """Let models repack their weights or not; a CPU without the kernel computes what it would."""
    monkeypatch.setattr(machine, "packs_for_cpu", lambda _dtype: allowed)
    if not functional.has_avx512bf16():
        monkeypatch.setattr(functional, "gemv_4bit", multiply)


def multiply(inputs: Tensor, packed: Tensor, out: Tensor | None = None, state=None) -> Tensor:
    """A product with repacked weights (N, K): their rows lie in groups of 32, column by column."""
    assert out is None
    rows, columns = state.shape
    pairs = packed.view(-1, columns // 2, 32)  # per group: the low halves of bytes come first
    halves = torch.cat([pairs & 15, pairs >> 4], dim=-1).view(-1, columns // 2, 32, 2)
    codes = halves.transpose(1, 2).reshape(rows, columns // 2, 2)
    values = _unpack_codes((codes[..., 0] << 4 | codes[..., 1]).flatten(), state.code)
    scales = state.absmax.T.reshape(-1).float()
    weights = _scale_blocks(values, scales, state.blocksize).view(rows, columns)
    return F.linear(inputs.bfloat16(), weights.bfloat16()).to(inputs.dtype)
