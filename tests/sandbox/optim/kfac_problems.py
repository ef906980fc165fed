"""Networks, frozen inputs and one step of K-FAC for its tests."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sandbox.optim.kfac import KFAC

DOUBLE = torch.float64
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
        ],
    ),
]
RULES = ("heuristic", "standard", "standard-published")

# a 3-4-3 network with tanh and four samples
X = [[0.5, -1.0, 2.0], [1.5, 0.3, -0.7], [-0.8, 1.2, 0.4], [0.1, -0.6, -1.1]]
TRUE = [0, 2, 1, 2]
FIRST = [[0.2, -0.4, 0.6], [-0.5, 0.3, 0.1], [0.7, 0.2, -0.3], [-0.1, -0.6, 0.4]]
SECOND = [[0.3, -0.2, 0.5, 0.1], [-0.4, 0.6, 0.2, -0.3], [0.1, 0.4, -0.5, 0.7]]
DAMPING = 0.05


def exactly(values):
    return torch.tensor(values, dtype=DOUBLE)


def fixed_net():
    net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, 3, bias=False))
    net[0].weight.data, net[2].weight.data = exactly(FIRST), exactly(SECOND)
    return net


def stepped(net, make=KFAC, lr=1.0, damping=DAMPING, **settings):
    """Return the directions of one step, by layer, and the optimiser."""
    optimizer = make(net, lr=lr, damping=damping, **settings)
    before = [p.detach().clone() for p in net.parameters()]
    cross_entropy(net(exactly(X)), torch.tensor(TRUE)).backward()
    optimizer.step()
    moved = [(b - p.detach()) / lr for b, p in zip(before, net.parameters(), strict=True)]
    return dict(zip(("0", "2"), moved, strict=True)), optimizer


def worst(found, wanted):
    return float((found - wanted).abs().max() / wanted.abs().max())


def seeded(*layers):
    """A network of these layers with parameters that are always the same."""
    net = nn.Sequential(*layers).double()
    generator = torch.Generator().manual_seed(4)
    for p in net.parameters():
        p.data.normal_(generator=generator).mul_(p[0].numel() ** -0.5)
    return net


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def a_net(dtype, device="cpu"):
    torch.manual_seed(11)
    layers = nn.Conv2d(2, 3, 2), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(12, 3)
    return nn.Sequential(*layers).to(device, dtype)


def train(net, optimizer, steps):
    parameter = next(net.parameters())
    for seed in steps:
        optimizer.zero_grad()
        images = random(8, 2, 3, 3, seed=seed).to(parameter.device, parameter.dtype)
        labels = (torch.arange(8) % 3).to(parameter.device)
        cross_entropy(net(images), labels).backward()
        optimizer.step()
    return [p.detach().clone() for p in net.parameters()]
