"""Muon for hidden matrices and AdamW for the rest, as one optimiser."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

_SMALLEST_SIDE = 32
"""Matrices with a shorter side are read-outs (a logit, a box) rather than hidden layers."""
_LARGEST_RATIO = 16
"""Orthogonalising a much wider matrix (RoI features, flattened) costs more than it brings."""
_MOMENTUM, _RMS_OF_ADAMW, _TINY = 0.95, 0.2, 1e-7
_NEWTON_SCHULZ = (3.4445, -4.775, 2.0315)


class Muon(torch.optim.Optimizer):
    """torch.optim.Muon in the parameters' own precision.

    torch's orthogonalises in bf16, which takes a fifth of a step on CPUs without bf16 units. Rates
    are those of AdamW, for updates of the same size (`adjust_lr_fn="match_rms_adamw"` in torch).
    """

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        """Take 2-D parameters, a rate and a decay, which is decoupled from the gradient."""
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # ty: ignore[incompatible-method-override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group["lr"], group["weight_decay"])

    def _update(self, parameter: Tensor, lr: float, weight_decay: float) -> None:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        momentum = state["momentum_buffer"].lerp_(gradient, 1 - _MOMENTUM)
        direction = _orthogonalise(gradient.lerp(momentum, _MOMENTUM))
        parameter.mul_(1 - lr * weight_decay)
        parameter.add_(direction, alpha=-lr * _RMS_OF_ADAMW * max(parameter.shape) ** 0.5)


def _orthogonalise(matrix: Tensor) -> Tensor:
    """Push all singular values of (M, N) towards 1 by five Newton-Schulz steps (Jordan, 2024)."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if tall else matrix
    x = x / x.norm().clamp(min=_TINY)
    linear, cubic, quintic = _NEWTON_SCHULZ
    for _ in range(5):
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=cubic, alpha=quintic), x, beta=linear)
    return x.mT if tall else x


class MuonAdamW(torch.optim.Optimizer):
    """Two optimisers behind one interface, for schedulers, clipping and checkpoints.

    `param_groups` and `state` belong to this object; `Muon` and `torch.optim.AdamW` step on
    shares of them.
    """

    def __init__(
        self,
        matrices: Iterable[Tensor],
        others: Iterable[Tensor],
        muon_lr: float,
        lr: float,
        weight_decay: float,
    ) -> None:
        """Assign each parameter to its optimiser: 2-D weights to Muon, everything else to AdamW.

        Biases, norms and other vectors are not decayed. Muon's updates are scaled to the size
        AdamW's would have.
        """
        others = list(others)
        groups = [
            {"params": [p for p in others if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self._muon = Muon(matrices, muon_lr, weight_decay)
        self._adamw = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.99))
        super().__init__([*self._muon.param_groups, *self._adamw.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Let both optimisers work on this object's groups and state."""
        for part, groups in ((self._muon, slice(0, 1)), (self._adamw, slice(1, None))):
            part.param_groups = self.param_groups[groups]
            part.state = self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore groups and state, which replaces both."""
        super().load_state_dict(state_dict)
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # ty: ignore[incompatible-method-override]
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._muon.step()
        self._adamw.step()
        return loss


def split_parameters(
    module: nn.Module, read_outs: nn.Module | None = None
) -> tuple[list[Tensor], list[Tensor]]:
    """Tell hidden matrices, for Muon, from everything else among the parameters that learn.

    The linear layers of `read_outs` are no hidden layers.
    """
    excluded = {id(p) for p in read_outs.parameters()} if read_outs is not None else set()
    hidden = {
        id(layer.weight)
        for layer in module.modules()
        if isinstance(layer, nn.Linear) and _is_hidden(layer)
    } - excluded
    learning: list[Tensor] = [p for p in module.parameters() if p.requires_grad]
    matrices = [p for p in learning if id(p) in hidden]
    return matrices, [p for p in learning if id(p) not in hidden]


def _is_hidden(layer: nn.Linear) -> bool:
    short, long = sorted(layer.weight.shape)
    return short >= _SMALLEST_SIDE and long <= _LARGEST_RATIO * short
