"""Path sums and second moments under gradients that keep their law, through the trackers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sandbox.regularisers import SynapticIntelligence

__all__ = ["Weights", "adam_path", "all_pairs", "random_batches", "second_moments"]


class Weights(nn.Module):
    """Nothing but weights, all 0 at the start."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(*shape, dtype=torch.float64))


def trackers(model: nn.Module, optimiser: torch.optim.Optimizer) -> list[SynapticIntelligence]:
    """Return the three path sums: SI, its unbiased part, its bias."""
    return [
        SynapticIntelligence(model, optimiser, "si"),
        SynapticIntelligence(model, optimiser, "siu"),
        SynapticIntelligence(model, optimiser, "sib"),
    ]


def all_pairs(
    generator: np.random.Generator, count: int, batches: Sequence[int], *, replacement: bool
) -> tuple[ndarray, ndarray]:
    """Return gradients of single samples, and path sums averaged over all pairs of batches."""
    # gradients (sample, weight); path sums (batch, variant, weight) of one step from the same
    # weights, over the learning rate
    inputs = torch.tensor(generator.normal(size=(count, 3)))
    labels = torch.tensor(generator.integers(3, size=count))
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.tensor(generator.normal(size=tuple(p.shape))))
    start = [p.detach().clone() for p in model.parameters()]
    lr = 0.125

    def loss(rows: tuple[int, ...]) -> Tensor:
        return cross_entropy(model(inputs[list(rows)]), labels[list(rows)])

    def flat(parts: Sequence[Tensor]) -> ndarray:
        return torch.cat([part.flatten() for part in parts]).numpy()

    singles = [torch.autograd.grad(loss((n,)), list(model.parameters())) for n in range(count)]
    found = []
    for size in batches:
        optimiser = torch.optim.SGD(model.parameters(), lr)
        watching = trackers(model, optimiser)
        drawn = (
            list(itertools.product(range(count), repeat=size))
            if replacement
            else list(itertools.combinations(range(count), size))
        )
        for rows, others in itertools.product(drawn, repeat=2):
            with torch.no_grad():
                for p, value in zip(model.parameters(), start, strict=True):
                    p.copy_(value)
            for one in watching[1:]:
                one.observe(loss(others))
            optimiser.zero_grad()
            torch.autograd.backward(loss(rows))
            optimiser.step()
        paths = [flat(list(one.path().values())) for one in watching]
        found.append(np.array(paths) / (lr * len(drawn) ** 2))
    return np.array([flat(one) for one in singles]), np.array(found)


def random_batches(
    generator: np.random.Generator,
    gradients: ndarray,
    batches: Sequence[int],
    *,
    seeds: int,
    steps: int,
) -> ndarray:
    """Return path sums a step and learning rate, summed over weights (batch, variant, seed)."""
    # the loss of a sample is its gradient (sample, weight) times the weights, so that the
    # gradient is the same wherever the weights are
    table, count = torch.tensor(gradients), len(gradients)
    lr, found = 0.1, []

    def drawn(size: int) -> Tensor:
        order = generator.random((seeds, count)).argsort(axis=1)
        return table[torch.from_numpy(order[:, :size])].mean(dim=1)

    for size in batches:
        model = Weights(seeds, gradients.shape[1])
        optimiser = torch.optim.SGD(model.parameters(), lr)
        watching = trackers(model, optimiser)
        for _ in range(steps):
            other = drawn(size)
            for one in watching[1:]:
                one.observe((other * model.weights).sum())
            model.weights.grad = drawn(size)
            optimiser.step()
        found.append([one.path()["weights"].sum(dim=1).numpy() / (lr * steps) for one in watching])
    return np.array(found)


def adam_path(
    generator: np.random.Generator,
    signals: Sequence[float],
    batches: Sequence[int],
    *,
    steps: int,
    weights: int = 800,
    before: int = 400,
) -> ndarray:
    """Return Adam's path sums a step and learning rate (signal, batch, variant, weight)."""
    # samples' gradients are normal with these means and variance 1; sums begin after so many
    # steps that the second moment is where it belongs
    shape = (len(signals), len(batches), weights)
    mean = torch.tensor(signals, dtype=torch.float64)[:, None, None]
    deviation = torch.tensor(batches, dtype=torch.float64)[None, :, None] ** -0.5
    draw = torch.Generator().manual_seed(int(generator.integers(2**31)))

    def gradient() -> Tensor:
        # the mean of b normal numbers
        normal = torch.randn(shape, generator=draw, dtype=torch.float64)
        return torch.addcmul(mean, deviation, normal)

    model, lr = Weights(*shape), 1e-3
    optimiser = torch.optim.Adam(model.parameters(), lr)
    for _ in range(before):
        model.weights.grad = gradient()
        optimiser.step()
    watching = trackers(model, optimiser)
    for _ in range(steps):
        other = gradient()
        for one in watching[1:]:
            one.observe((other * model.weights).sum())
        model.weights.grad = gradient()
        optimiser.step()
    paths = [one.path()["weights"].numpy() for one in watching]
    return np.stack(paths, axis=2) / (lr * steps)


def second_moments(
    generator: np.random.Generator,
    batches: Sequence[int],
    alphas: Sequence[float],
    *,
    signal: float,
    weights: int,
    steps: int = 60,
) -> ndarray:
    """Return what SOS makes of gradients of given mean and variance 1 (batch, alpha, weight)."""
    # the squared importance over the total weight of the steps; beta2 = 0.9 makes it whole in 60
    beta2, found = 0.9, []
    for size in batches:
        model = Weights(weights)
        optimiser = torch.optim.SGD(model.parameters(), 0.01)
        watching = [
            SynapticIntelligence(model, optimiser, "sos", alpha=alpha, beta2=beta2)
            for alpha in alphas
        ]
        for _ in range(steps):
            pair = signal + generator.normal(size=(2, weights)) / size**0.5
            own, other = torch.tensor(pair)
            for one in watching:
                if one.needs_independent:
                    one.observe((other * model.weights).sum())
            model.weights.grad = own
            optimiser.step()
        whole = 1 - beta2**steps
        found.append([one.importance()["weights"].numpy() ** 2 / whole for one in watching])
    return np.array(found)
