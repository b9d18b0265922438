"""What this machine can do, and what follows from it: device, number type, packing, compiling.

Whatever depends on the machine is decided here; nobody else asks the CPU or the GPU. So one test
can be every machine, and `ATEN_CPU_CAPABILITY=avx2` shows on any of them what an older CPU does.
"""

import ctypes
import os
import shutil
import sys

import torch

from groma.types import GromaError

NARROW = 1024
"""Language models less wide than this are small: fp32 costs little and 16 bit changes what they
answer; their 4-bit weights answer faster unpacked."""


def resolve_device(device: str) -> str:
    """Turn "auto" into a device that exists here; raises `GromaError` if there is none."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.device(device)
    except RuntimeError as error:
        raise GromaError(f"There is no device {device!r}; use auto, cpu, cuda or mps.") from error
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise GromaError(
            f"Device {device!r} was asked for, but this PyTorch sees no CUDA GPU; use --device cpu "
            "or install a CUDA build of PyTorch."
        )
    if device.startswith("mps") and not torch.backends.mps.is_available():
        raise GromaError(
            f"Device {device!r} was asked for, but this PyTorch sees no GPU of Apple's; use "
            "--device cpu."
        )
    return device


def computes_in_bf16(device: str) -> bool:
    """Whether bf16 is a fast type of a device: of a CPU that has instructions for it and uses them.

    `ATEN_CPU_CAPABILITY` and `ONEDNN_MAX_CPU_ISA` can keep PyTorch from using them.
    """
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported()
    return device == "cpu" and (
        torch.cpu._is_avx512_bf16_supported()
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def resolve_dtype(dtype: str | torch.dtype, device: str, width: int) -> torch.dtype:
    """Turn "auto" into the fastest type that is exact enough on a device of `resolve_device`.

    A language model of small width answers in fp32 on every machine. Raises `GromaError` for a name
    that is no floating point type.
    """
    if dtype == "auto":
        if width < NARROW:
            return torch.float32
        if computes_in_bf16(device):
            return torch.bfloat16
        return torch.float32 if device == "cpu" else torch.float16
    kind = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(kind, torch.dtype) or not kind.is_floating_point:
        raise GromaError(f"{dtype!r} is no floating point type; use float32, bfloat16 or float16.")
    return kind


def trains_in_bf16() -> bool:
    """Whether the stages of a training compute in bf16; their weights are kept in fp32.

    Of CPUs those with matrix units for it do (AMX). With wide instructions alone a product of two
    2048 x 2048 matrices ran at 26 to 40 GFLOPS in bf16 and at 47 to 67 in fp32 (one Xeon core).
    """
    device = resolve_device("auto")
    return computes_in_bf16(device) and (device != "cpu" or torch.cpu._is_amx_tile_supported())


def packs_for_cpu(dtype: torch.dtype) -> bool:
    """Whether 4-bit weights may be repacked for bitsandbytes' CPU kernel: it knows bf16 alone."""
    if dtype is not torch.bfloat16 or not computes_in_bf16("cpu"):
        return False
    from bitsandbytes.functional import has_avx512bf16  # late: it takes a while

    return has_avx512bf16()


def compiles() -> bool:
    """Whether there is the C++ compiler that `torch.compile` needs on a CPU."""
    return shutil.which(os.environ.get("CXX", "g++")) is not None


def trim_memory() -> None:
    """Give back what was freed in the midst of the heap, which glibc keeps by itself.

    Batches of ever other lengths leave gaps, and a training would grow from step to step.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def text_attention() -> str:
    """Attention of a language model that learns: plain is faster than SDPA on a CPU."""
    return "sdpa" if torch.cuda.is_available() else "eager"


def image_attention() -> str:
    """Attention of an image encoder that learns: plain is faster than SDPA in bf16 on a CPU."""
    return "eager" if trains_in_bf16() and not torch.cuda.is_available() else "sdpa"
