"""Small problems for the battery of optimisers: a network, a batch and its loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from synapses.layers import StochasticLinear

SAMPLES = 8
KINDS = ("linear", "mlp", "conv")


@dataclass
class Problem:
    """What an optimiser is tried on."""

    model: nn.Module
    inputs: Tensor
    targets: Tensor
    loss: str
    independent: Tensor

    def value(self, part: slice = slice(None)) -> Tensor:
        """Return the mean loss of some of the samples, with its graph."""
        outputs, targets = self.model(self.inputs[part]), self.targets[part]
        if self.loss == "squared":
            return (outputs - targets).square().sum() / (2 * len(outputs))
        return cross_entropy(outputs, targets)

    def to(self, device: str) -> Problem:
        """Return the same problem on a device."""
        parts = (self.inputs.to(device), self.targets.to(device))
        return Problem(self.model.to(device), *parts, self.loss, self.independent.to(device))

    def parameters(self) -> list[Tensor]:
        """Return copies of the parameters."""
        return [p.detach().clone() for p in self.model.parameters()]

    def put(self, parameters: list[Tensor]) -> None:
        """Give the parameters these values."""
        with torch.no_grad():
            for mine, value in zip(self.model.parameters(), parameters, strict=True):
                mine.copy_(value)


class WithSpare(nn.Module):
    """A network with a layer that nothing passes through."""

    def __init__(self, used: nn.Module) -> None:
        super().__init__()
        self.used, self.spare = used, nn.Linear(3, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.used(inputs)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))


def conv() -> nn.Module:
    first = nn.Conv2d(2, 3, 3, stride=2, padding=1)
    return nn.Sequential(first, nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(12, 3))


def stochastic() -> nn.Module:
    layers = [StochasticLinear(5, 6, release_probability=0.6), nn.Tanh(), StochasticLinear(6, 3)]
    for layer in layers[::2]:
        layer.sampling = False  # the mean network: releases are not the optimiser's doing
    return nn.Sequential(*layers)


MODELS = {
    "linear": lambda: nn.Sequential(nn.Linear(5, 3, bias=False), nn.Linear(3, 3, bias=False)),
    "mlp": mlp,
    "conv": conv,
    "stochastic": stochastic,
    "spare": lambda: WithSpare(mlp()),
    "stochastic-spare": lambda: WithSpare(stochastic()),
}


def problem(kind: str = "mlp", dtype: torch.dtype = torch.float64, seed: int = 0) -> Problem:
    """Build a problem; the same bits for the same arguments, rounded from float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(20220128 + seed)
        model = MODELS[kind]().double()
        shape = (2, 4, 4) if kind == "conv" else (5,)
        inputs, independent = torch.randn(2, SAMPLES, *shape, dtype=torch.float64)
        targets: Tensor = torch.arange(SAMPLES) % 3
        if kind == "linear":
            targets = torch.randn(SAMPLES, 3, dtype=torch.float64).to(dtype)
    loss = "squared" if kind == "linear" else "cross_entropy"
    return Problem(model.to(dtype), inputs.to(dtype), targets, loss, independent.to(dtype))
