"""The detector's conversion, on graphs made up from a small detector of our own."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from groma.config import ConvolutionalEncoderConfig
from groma.model.convolutional_detector import ConvolutionalDetector
from groma.types import GromaError
from recipes.photographs.detector import convert, main

CONFIG = ConvolutionalEncoderConfig(stem_width=4, width=8, num_classes=3, num_bins=5)


def make_graph(detector: ConvolutionalDetector, folder: Path) -> Path:
    """Write a detector as TensorFlow.js would: BGR, channels last, biases as nodes of their own."""
    nodes: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = [{"name": "axis", "shape": [2], "dtype": "int32"}]
    data = [np.array([1, 3], "<i4").tobytes()]

    def keep(name: str, values: Tensor) -> str:
        half = {"dtype": "float16", "original_dtype": "float32"}
        entries.append(
            {"name": name, "shape": list(values.shape), "dtype": "float32", "quantization": half}
        )
        data.append(values.numpy().astype("<f2").tobytes())
        return name

    convolutions = [m for m in detector.modules() if isinstance(m, nn.Conv2d)]
    for number, conv in enumerate(convolutions):
        weight = conv.weight.flip(1) if number == 0 else conv.weight
        name = f"call/convolution_{number}" if number else "call/convolution"
        kernel = keep(f"call/split_{number}", weight.permute(2, 3, 1, 0).contiguous())
        bias = keep(f"unknown_{number * 2}", conv.bias)
        nodes.append({"name": name, "op": "Conv2D", "input": ["x", kernel]})
        nodes.append({"name": f"call/Add_{number}", "op": "Add", "input": [name, bias]})
    # Graphs come in the order in which they are computed, not in that of their numbers.
    graph = {
        "modelTopology": {"node": nodes[::-1]},
        "weightsManifest": [{"paths": ["net.bin"], "weights": entries}],
    }
    (folder / "net.bin").write_bytes(b"".join(data))
    (folder / "net.json").write_text(json.dumps(graph))
    return folder / "net.json"


@pytest.fixture(scope="module")
def detector() -> ConvolutionalDetector:
    torch.manual_seed(0)
    return ConvolutionalDetector(CONFIG).eval().requires_grad_(False)


def test_a_converted_graph_is_the_detector(detector, tmp_path) -> None:
    state = convert(make_graph(detector, tmp_path), CONFIG)
    assert state.keys() == detector.state_dict().keys()
    for name, weight in detector.state_dict().items():
        assert state[name].dtype == torch.float16
        assert torch.equal(state[name], weight.half()), name


def test_the_command_writes_what_loads(tmp_path, monkeypatch) -> None:
    torch.manual_seed(0)
    detector = ConvolutionalDetector(ConvolutionalEncoderConfig()).requires_grad_(False)
    graph, out = make_graph(detector, tmp_path), tmp_path / "detector.safetensors"
    monkeypatch.setattr(sys, "argv", ["detector", str(graph), str(out)])
    main()
    detector.load_state_dict(load_file(out))


def test_another_networks_graph_is_refused(detector, tmp_path) -> None:
    graph = make_graph(detector, tmp_path)
    with pytest.raises(GromaError, match="convolutions, not"):
        convert(
            graph, ConvolutionalEncoderConfig(**CONFIG.to_dict() | {"stage_blocks": (1, 1, 1, 1)})
        )
    with pytest.raises(GromaError, match="another shape"):
        convert(graph, ConvolutionalEncoderConfig(**CONFIG.to_dict() | {"width": 16}))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"modelTopology": {"node": []}}', base64.b64encode(b"x").decode()]
)
def test_what_is_no_graph_is_refused(text: str, tmp_path) -> None:
    (tmp_path / "net.json").write_text(text)
    with pytest.raises(GromaError, match="no TensorFlow"):
        convert(tmp_path / "net.json", CONFIG)


def test_a_cut_off_file_of_weights_is_refused(detector, tmp_path) -> None:
    graph = make_graph(detector, tmp_path)
    (tmp_path / "net.bin").write_bytes((tmp_path / "net.bin").read_bytes()[:-10])
    with pytest.raises(GromaError, match="no TensorFlow"):
        convert(graph, CONFIG)
