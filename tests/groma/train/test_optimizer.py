import copy

import pytest
import torch
from torch import nn

from groma.train.optimizer import Muon, MuonAdamW, _orthogonalise, split_parameters
from groma.train.trainer import build_optimizer
from tests.groma.train.shipped import DETECTION


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 64)
        self.hidden = nn.Linear(64, 48)
        self.logit = nn.Linear(48, 1)
        self.heads = nn.Linear(48, 40)

    def forward(self, ids):
        states = torch.relu(self.hidden(self.embedding(ids)))
        return self.logit(states).mean() + self.heads(states).square().mean()


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


def run(net, optimizer, steps):
    for step in range(steps):
        net(torch.arange(step % 3, 8)).backward()
        optimizer.step()
        optimizer.zero_grad()


def test_only_hidden_matrices_go_to_muon(net):
    net.embedding.requires_grad_(False)
    matrices, others = split_parameters(net, net.heads)
    assert [id(p) for p in matrices] == [id(net.hidden.weight)]
    wanted = {id(p) for p in net.parameters() if p.requires_grad} - {id(net.hidden.weight)}
    assert {id(p) for p in others} == wanted


def test_it_steps_as_muon_and_adamw_do(net):
    twin = copy.deepcopy(net)
    run(net, build_optimizer(net, DETECTION), 4)
    muon = Muon([twin.hidden.weight], DETECTION.muon_lr, DETECTION.weight_decay)
    rest = [(n, p) for n, p in twin.named_parameters() if n != "hidden.weight"]
    adamw = torch.optim.AdamW(
        [
            {"params": [p], "weight_decay": DETECTION.weight_decay if p.ndim > 1 else 0.0}
            for _, p in rest
        ],
        lr=DETECTION.lr,
        betas=(0.9, 0.99),
    )
    for step in range(4):
        twin(torch.arange(step % 3, 8)).backward()
        muon.step()
        adamw.step()
        twin.zero_grad()
    for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(48, 64), (96, 32)])
def test_muon_is_torchs_but_for_its_rounding(shape):
    torch.manual_seed(0)
    ours = torch.randn(shape, requires_grad=True)
    theirs = ours.detach().clone().requires_grad_()
    reference = torch.optim.Muon(
        [theirs], lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"
    )
    muon = Muon([ours], 1e-2, 0.1)
    before = ours.detach().clone()
    for _ in range(4):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        muon.step()
        reference.step()
    assert (ours - before).abs().mean() > 5e-3
    torch.testing.assert_close(ours, theirs, rtol=0, atol=5e-4)


def test_orthogonalising_keeps_directions_and_evens_out_their_lengths():
    torch.manual_seed(0)
    left, values, right = torch.linalg.svd(torch.randn(48, 32), full_matrices=False)
    for matrix in (left @ torch.diag(values) @ right, (left @ torch.diag(values) @ right).mT):
        found = left.mT @ (
            _orthogonalise(matrix) if len(matrix) == 48 else _orthogonalise(matrix).mT
        )
        lengths = (found @ right.mT).diagonal()
        assert 0.5 < lengths.min() < lengths.max() < 1.5


def test_its_state_survives_a_checkpoint(net, tmp_path):
    optimizer = build_optimizer(net, DETECTION)
    run(net, optimizer, 3)
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    twin = copy.deepcopy(net)
    restored = build_optimizer(twin, DETECTION)
    restored.load_state_dict(torch.load(tmp_path / "optimizer.pt", weights_only=True))
    run(net, optimizer, 3)
    run(twin, restored, 3)
    for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_schedule_moves_both_rates(net):
    optimizer = build_optimizer(net, DETECTION)
    optimizer.load_state_dict(optimizer.state_dict())
    before = copy.deepcopy(net.state_dict())
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 0.0)
    run(net, optimizer, 2)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert isinstance(optimizer, MuonAdamW)
