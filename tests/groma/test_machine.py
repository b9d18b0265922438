"""What follows from the machine, on any machine."""

import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import psutil
import pytest
import torch
from bitsandbytes import functional

from groma import embedded, machine
from groma.checkpoint.load import read_config
from groma.types import GromaError
from tests.paths import ROOT

SMALL, LARGE = machine.NARROW - 1, 4096


@pytest.mark.parametrize("answers", list(product([True, False], repeat=3)))
def test_a_cpu_computes_in_bf16_that_can_and_may(monkeypatch, answers: tuple[bool, ...]) -> None:
    can, may, does = answers
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: can)
    capability = "AVX512" if may else "AVX2"
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: does)
    assert machine.computes_in_bf16("cpu") is all(answers)


@pytest.mark.parametrize(
    "limit", [{"ATEN_CPU_CAPABILITY": "avx2"}, {"ONEDNN_MAX_CPU_ISA": "AVX2"}], ids=str
)
def test_every_cpu_can_be_an_older_one(limit: dict[str, str]) -> None:
    code = (
        "import torch; from groma import machine; "
        "assert not machine.computes_in_bf16('cpu'); "
        f"assert machine.resolve_dtype('auto', 'cpu', {LARGE}) is torch.float32; "
        "assert not machine.packs_for_cpu(torch.bfloat16)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | limit)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("device", "bf16", "wanted"),
    [
        ("cpu", True, torch.bfloat16),
        ("cpu", False, torch.float32),
        ("cuda", True, torch.bfloat16),
        ("cuda:1", False, torch.float16),
    ],
)
def test_auto_is_sixteen_bit_for_large_models_where_it_is_fast(
    monkeypatch, device: str, bf16: bool, wanted: torch.dtype
) -> None:
    monkeypatch.setattr(machine, "computes_in_bf16", lambda _device: bf16)
    assert machine.resolve_dtype("auto", device, LARGE) is wanted
    assert machine.resolve_dtype("auto", device, SMALL) is torch.float32
    for width in (SMALL, LARGE):
        assert machine.resolve_dtype("float16", device, width) is torch.float16
        assert machine.resolve_dtype(torch.bfloat16, device, width) is torch.bfloat16


@pytest.mark.parametrize("device", ["mps", "mps:0"])
def test_a_gpu_of_apple_is_taken_where_there_is_one(monkeypatch, device: str) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert machine.resolve_device(device) == device
    assert machine.resolve_dtype("auto", device, LARGE) is torch.float16
    assert machine.resolve_dtype("auto", device, SMALL) is torch.float32
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(GromaError, match="no GPU of Apple"):
        machine.resolve_device(device)


def test_the_embedded_model_is_small() -> None:
    assert read_config(embedded.find("groma-mini")).text_config.hidden_size < machine.NARROW


@pytest.mark.parametrize("has_kernel", [True, False])
@pytest.mark.parametrize("bf16", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_only_bf16_is_packed_for_a_cpu_with_the_kernel(
    monkeypatch, has_kernel: bool, bf16: bool, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(functional, "has_avx512bf16", lambda: has_kernel)
    monkeypatch.setattr(machine, "computes_in_bf16", lambda _device: bf16)
    assert machine.packs_for_cpu(dtype) == (has_kernel and bf16 and dtype is torch.bfloat16)


def test_nothing_is_compiled_without_a_compiler(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", sys.executable)
    assert machine.compiles()
    monkeypatch.setenv("CXX", str(tmp_path / "g++"))
    assert not machine.compiles()


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps what was freed")
def test_what_was_freed_is_given_back() -> None:
    process = psutil.Process()
    blocks = [b"x" * 2**16 for _ in range(3000)]
    blocks = blocks[-1:]  # the heap cannot shrink below it
    kept = process.memory_info().rss
    machine.trim_memory()
    assert kept - process.memory_info().rss > 100 * 2**20


def test_training_follows_the_fast_type(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for bf16, amx, attention in (
        (True, True, "eager"),
        (True, False, "sdpa"),
        (False, False, "sdpa"),
    ):
        monkeypatch.setattr(machine, "computes_in_bf16", lambda _device, bf16=bf16: bf16)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx)
        assert machine.trains_in_bf16() is (bf16 and amx)
        assert machine.image_attention() == attention
