"""Descent on a few digits whose path sums are compared with what the loss really lost."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sandbox.regularisers import SynapticIntelligence
from sandbox.training.data import load
from sandbox.training.models import mlp
from theory.streams import Streams

__all__ = ["Descent", "descend", "squared_gradient"]


class Descent(NamedTuple):
    """What a stretch of training came to.

    Parameters
    ----------
    path : float
        Sum over all weights of gradient times step.
    drop : float
        Loss of all samples before, less that after.
    before, after : float
        Squared norm of the gradient on all samples.
    """

    path: float
    drop: float
    before: float
    after: float


def squared_gradient(model: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[float, float]:
    """Return the loss of all samples and the squared norm of its gradient."""
    loss = cross_entropy(model(inputs), targets)
    found = torch.autograd.grad(loss, list(model.parameters()))
    return loss.item(), sum(float(part.square().sum()) for part in found)


def descend(
    seed: int,
    rate: float,
    steps: int,
    *,
    batch: int | None = None,
    samples: int | None = 256,
    hidden: int = 16,
    method: Literal["sgd", "adam"] = "sgd",
) -> Descent:
    """Train a tanh network on digits with synaptic intelligence watching.

    Parameters
    ----------
    seed : int
        Root of weights, samples and batches.
    rate : float
        Learning rate.
    steps : int
        How many.
    batch : int or None
        Drawn without replacement in every step; None for all samples.
    samples : int or None
        Digits that the loss is the mean over.
    hidden : int
        Width of the hidden layer.
    method : {"sgd", "adam"}
        The optimiser.

    Returns
    -------
    Descent
        Path sum of the optimiser's own steps; losses from evaluations apart.
    """
    streams = Streams(seed)
    data = load("digits", dtype="float64").train
    chosen = streams.generator("samples").permutation(len(data))[:samples]
    inputs, targets = torch.tensor(data.inputs[chosen]), torch.tensor(data.targets[chosen])
    model = mlp([64, hidden, 10], activation="tanh", streams=streams).double()
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[method]
    optimizer = kind(model.parameters(), lr=rate)
    tracker = SynapticIntelligence(model, optimizer)
    start, before = squared_gradient(model, inputs, targets)
    draws, every = streams.generator("batches"), torch.arange(len(inputs))
    for _ in range(steps):
        rows = every
        if batch is not None:
            rows = torch.from_numpy(draws.choice(len(inputs), batch, replace=False))
        optimizer.zero_grad()
        torch.autograd.backward(cross_entropy(model(inputs[rows]), targets[rows]))
        optimizer.step()
    path = float(np.sum([float(part.sum()) for part in tracker.path().values()]))
    tracker.remove()
    end, after = squared_gradient(model, inputs, targets)
    return Descent(path, start - end, before, after)
