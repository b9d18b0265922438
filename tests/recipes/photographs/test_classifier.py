import copy
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from groma.model.efficientnet_lite import EfficientNetLite, StageSizes
from groma.types import GromaError
from recipes.photographs.classifier import convert, main

STAGES = (
    StageSizes(num_blocks=1, kernel_size=3, stride=1, expansion=1, channels=8),
    StageSizes(num_blocks=2, kernel_size=5, stride=2, expansion=2, channels=8),
)


def normalised(classifier: EfficientNetLite) -> EfficientNetLite:
    """The same network with random batch normalisations after its convolutions, without biases."""
    network = copy.deepcopy(classifier)
    for parent in list(network.modules()):
        for name, module in list(parent.named_children()):
            if isinstance(module, nn.Conv2d):
                module.bias = None
                norm = nn.BatchNorm2d(module.out_channels, eps=1e-3)
                for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                    nn.init.uniform_(value, 0.5, 1.5)
                setattr(parent, name, nn.Sequential(module, norm))
    return network.eval()


def package_names(network: nn.Module) -> dict[str, Tensor]:
    """What the package calls the last layer; the others it tells by their order alone."""
    return {name.replace("classes.", "_fc."): value for name, value in network.state_dict().items()}


@pytest.fixture
def classifier() -> EfficientNetLite:
    torch.manual_seed(0)
    return EfficientNetLite(STAGES, num_classes=7).eval()


def test_folded_equals_normalised(classifier: EfficientNetLite) -> None:
    network, pictures = normalised(classifier), torch.rand(2, 3, 64, 64)
    expected = network(pictures)
    assert not torch.allclose(classifier(pictures), expected)
    classifier.load_state_dict(convert(package_names(network), classifier))
    torch.testing.assert_close(classifier(pictures), expected)


def test_other_networks_are_refused(classifier: EfficientNetLite) -> None:
    other = normalised(EfficientNetLite(STAGES[:1], num_classes=7))
    with pytest.raises(GromaError, match="not those of EfficientNet-Lite0"):
        convert(package_names(other), classifier)


@pytest.mark.parametrize("content", ["text", [1], {"layer": torch.zeros(3, 3, 1, 1)}])
def test_other_files_are_refused_in_a_sentence(
    content: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, out = tmp_path / "weights.pth", tmp_path / "out.safetensors"
    if isinstance(content, str):
        weights.write_text(content)
    else:
        torch.save(content, weights)
    monkeypatch.setattr(sys, "argv", ["classifier", str(weights), str(out)])
    with pytest.raises(SystemExit, match=r"\.$"):
        main()
    assert not out.exists()
