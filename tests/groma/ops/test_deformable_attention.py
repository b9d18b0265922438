import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor
from transformers.models.deformable_detr.modeling_deformable_detr import (
    MultiScaleDeformableAttention,
)

from groma.ops.deformable_attention import _sample_and_sum, deformable_attention
from tests.paths import ROOT

SHAPES = ((6, 5), (3, 4))


def random_inputs(dtype: torch.dtype = torch.float32, width: int = 12) -> tuple:
    """Two pictures, three heads, two levels, four points; some of them outside the picture."""
    generator = torch.Generator().manual_seed(0)
    cells = sum(height * width for height, width in SHAPES)
    values = torch.randn(2, cells, 3, width, generator=generator)
    locations = torch.rand(2, 21, 3, 2, 4, 2, generator=generator) * 1.6 - 0.3
    weights = torch.rand(2, 21, 3, 8, generator=generator).softmax(-1).unflatten(-1, (2, 4))
    return values.to(dtype), SHAPES, locations.to(dtype), weights.to(dtype)


def theirs(values: Tensor, shapes: tuple, locations: Tensor, weights: Tensor) -> Tensor:
    sizes = torch.tensor(shapes)
    starts = torch.cat([sizes.new_zeros(1), sizes.prod(1).cumsum(0)[:-1]])
    attention = MultiScaleDeformableAttention()
    return attention(values, sizes, list(shapes), starts, locations, weights, 64)


def test_equals_transformers() -> None:
    inputs = random_inputs()
    torch.testing.assert_close(deformable_attention(*inputs), theirs(*inputs))


def test_sixteen_bit_values_are_mixed_in_float32() -> None:
    values, shapes, locations, weights = random_inputs(torch.bfloat16)
    found = deformable_attention(values, shapes, locations, weights)
    exact = _sample_and_sum(values.float(), shapes, locations.float(), weights.float())
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, exact.bfloat16())


def test_gradients() -> None:
    values, shapes, locations, weights = random_inputs(torch.float64, width=2)
    inputs = [tensor[:1].requires_grad_() for tensor in (values, locations, weights)]
    assert torch.autograd.gradcheck(
        lambda v, loc, w: _sample_and_sum(v, shapes, loc, w),
        [inputs[0], inputs[1][:, :2], inputs[2][:, :2]],
    )


INTERPRETED = """
import torch
from groma.ops.deformable_attention import _sample_and_sum
from groma.ops.deformable_attention_triton import fused_deformable_attention
from tests.groma.ops.test_deformable_attention import random_inputs

for dtype, gate in ((torch.float32, 1e-5), (torch.bfloat16, 1e-2)):
    for width in (12, 32):
        inputs = random_inputs(dtype, width)
        found, wanted = fused_deformable_attention(*inputs), _sample_and_sum(*inputs)
        torch.testing.assert_close(found, wanted, atol=gate, rtol=gate)
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
def test_kernel_in_the_interpreter_equals_plain_torch() -> None:
    run = subprocess.run(
        [sys.executable, "-c", INTERPRETED],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_kernel_on_cuda_equals_plain_torch(dtype: torch.dtype) -> None:
    values, shapes, locations, weights = random_inputs(dtype)
    wanted = _sample_and_sum(values, shapes, locations, weights)
    found = deformable_attention(values.cuda(), shapes, locations.cuda(), weights.cuda())
    torch.testing.assert_close(found.cpu(), wanted, atol=1e-2, rtol=1e-2)
