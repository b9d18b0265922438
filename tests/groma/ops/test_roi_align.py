import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from torch import Tensor

from groma.ops.roi_align import roi_align

seeds = st.integers(0, 2**31)


def random_map(seed: int = 0, batch: int = 1, height: int = 9, width: int = 11) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, height, width, generator=generator)


def random_windows(count: int, seed: int, ordered: bool = False) -> Tensor:
    """Windows that reach up to three cells beyond a map of about ten."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, 2, generator=generator) * 16 - 3
    return (corners.sort(dim=1).values if ordered else corners).flatten(1)


def align(feature_map: Tensor, windows: Tensor, output_size: int = 4, ratio: int = 2) -> Tensor:
    owners = torch.zeros(len(windows), dtype=torch.int64)
    return roi_align(feature_map, windows, owners, output_size, ratio)


def onnx_roi_align(feature_maps: Tensor, windows: Tensor, owners: Tensor, size: int) -> Tensor:
    node = helper.make_node(
        "RoiAlign",
        ["maps", "windows", "owners"],
        ["out"],
        coordinate_transformation_mode="half_pixel",
        output_height=size,
        output_width=size,
        sampling_ratio=2,
    )
    names = {"maps": TensorProto.FLOAT, "windows": TensorProto.FLOAT, "owners": TensorProto.INT64}
    inputs = [helper.make_tensor_value_info(name, kind, None) for name, kind in names.items()]
    output = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "roi_align", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    tensors = {"maps": feature_maps, "windows": windows, "owners": owners}
    outputs = session.run(None, {name: tensor.numpy() for name, tensor in tensors.items()})
    return torch.from_numpy(outputs[0])


@pytest.mark.parametrize("size", [1, 7, 14])
def test_equals_onnxruntime(size: int) -> None:
    maps = random_map(batch=2)
    windows = random_windows(50, seed=1, ordered=True)
    owners = torch.arange(50) % 2
    wanted = onnx_roi_align(maps, windows, owners, size)
    torch.testing.assert_close(roi_align(maps, windows, owners, size), wanted)


@given(seeds)
def test_swapped_corners_flip_the_bins(seed: int) -> None:
    feature_map, windows = random_map(seed), random_windows(5, seed)
    plain = align(feature_map, windows)
    torch.testing.assert_close(align(feature_map, windows[:, [2, 1, 0, 3]]), plain.flip(3))
    torch.testing.assert_close(align(feature_map, windows[:, [0, 3, 2, 1]]), plain.flip(2))


@given(seeds)
def test_a_transposed_map_gives_transposed_bins(seed: int) -> None:
    feature_map, windows = random_map(seed), random_windows(5, seed)
    turned = align(feature_map.mT, windows[:, [1, 0, 3, 2]])
    torch.testing.assert_close(turned, align(feature_map, windows).mT)


@given(seeds, st.integers(1, 5), st.integers(1, 3))
def test_a_ramp_gives_the_centre_of_each_bin(seed: int, size: int, ratio: int) -> None:
    ramp = torch.arange(12.0).expand(1, 1, 10, 12) + 0.5
    windows = random_windows(5, seed).clamp(0.5, 9.5)
    start, stop = windows[:, 0, None], windows[:, 2, None]
    centres = start + (stop - start) * (torch.arange(size) + 0.5) / size
    found = align(ramp, windows, size, ratio)
    torch.testing.assert_close(found, centres[:, None, None].expand_as(found))


@pytest.mark.parametrize(
    ("centre", "value"),
    [(-0.5, 1.0), (-0.51, 0.0), (0.0, 1.0), (3.9, 4.0), (4.5, 4.0), (4.51, 0.0)],
)
def test_samples_up_to_a_cell_outside_take_the_border(centre: float, value: float) -> None:
    row = torch.tensor([1.0, 2.0, 3.0, 4.0]).expand(1, 1, 4, 4)
    window = torch.tensor([[centre, 2.0, centre, 2.0]])
    assert align(row, window, output_size=1, ratio=1).item() == value


def test_each_window_looks_at_its_own_map() -> None:
    maps, windows = random_map(batch=3), random_windows(6, seed=0)
    owners = torch.tensor([2, 0, 1, 1, 2, 0])
    together = roi_align(maps, windows, owners, 4)
    for owner, window, found in zip(owners, windows, together, strict=True):
        torch.testing.assert_close(found, align(maps[owner, None], window[None])[0])


def test_memory_layout_does_not_matter() -> None:
    feature_map, windows = random_map(), random_windows(6, seed=0)
    last = feature_map.contiguous(memory_format=torch.channels_last)
    assert torch.equal(align(feature_map, windows), align(last, windows))


def test_gradient_flows_to_the_map() -> None:
    feature_map = random_map(height=4, width=5).double().requires_grad_()
    windows = random_windows(3, seed=0).double()
    assert torch.autograd.gradcheck(lambda cells: align(cells, windows, 2), [feature_map])


def test_sixteen_bit_maps() -> None:
    feature_map, windows = random_map().bfloat16(), random_windows(20, seed=0)
    found = align(feature_map, windows)
    assert found.dtype == torch.bfloat16
    wanted = align(feature_map.float(), windows)
    torch.testing.assert_close(found.float(), wanted, atol=0.03, rtol=0.03)


@pytest.mark.parametrize("windows", [torch.zeros(0, 4), torch.full((2, 4), 50.0)])
def test_nothing_to_sample(windows: Tensor) -> None:
    assert torch.equal(align(random_map(), windows), torch.zeros(len(windows), 3, 4, 4))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu() -> None:
    maps, windows, owners = random_map(batch=2), random_windows(9, seed=0), torch.arange(9) % 2
    found = roi_align(maps.cuda(), windows.cuda(), owners.cuda(), 7)
    torch.testing.assert_close(found.cpu(), roi_align(maps, windows, owners, 7))


@given(seeds, st.integers(1, 4), st.integers(1, 3))
def test_a_mask_weighs_the_samples_of_each_bin(seed: int, size: int, ratio: int) -> None:
    feature_map, windows = random_map(seed), random_windows(5, seed)
    samples = align(feature_map, windows, size * ratio, 1)
    masks = (torch.rand(5, size * ratio, size * ratio) > 0.5).float()
    bins = torch.nn.functional.unfold(samples * masks[:, None], ratio, stride=ratio)
    counts = torch.nn.functional.unfold(masks[:, None], ratio, stride=ratio)
    wanted = bins.unflatten(1, (3, -1)).sum(2) / counts.sum(1, keepdim=True).clamp(min=1)
    owners = torch.zeros(5, dtype=torch.int64)
    found = roi_align(feature_map, windows, owners, size, ratio, masks)
    torch.testing.assert_close(found, wanted.unflatten(2, (size, size)))


def test_a_mask_of_everything_changes_nothing() -> None:
    feature_map, windows = random_map(), random_windows(9, seed=0)
    owners, everything = torch.zeros(9, dtype=torch.int64), torch.ones(9, 12, 12)
    plain = roi_align(feature_map, windows, owners, 4)
    torch.testing.assert_close(roi_align(feature_map, windows, owners, 4, 2, everything), plain)
