"""Networks trained with the ratio norm in the loss, many at once, and what pruning leaves."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sandbox.regularisers.ratio_norm import RatioNorm
from sandbox.training.data import load
from sandbox.training.measures import interval
from sandbox.training.models import mlp
from theory.streams import Streams

__all__ = ["WIDTHS", "Setting", "accuracy", "matrices", "mean_interval", "networks", "over_seeds"]

WIDTHS = (64, 100, 50, 10)


class Setting(NamedTuple):
    """Strengths, seeds, and how long to train.

    Parameters
    ----------
    strengths : tuple of float
        Of the ratio norm of every weight tensor.
    seeds : tuple of int
        One a network of a strength; networks of a seed start alike and see the same batches.
    epochs, batch : int
        Of Adam at the rate 1e-3.
    """

    strengths: tuple[float, ...]
    seeds: tuple[int, ...]
    epochs: int
    batch: int


@cache
def _digits(part: str, device: str) -> tuple[Tensor, Tensor]:
    """Return inputs and labels of the digits to train on or to test with."""
    samples = getattr(load("digits"), part)
    return torch.tensor(samples.inputs, device=device), torch.tensor(samples.targets, device=device)


@cache
def networks(setting: Setting, device: str = "cpu") -> tuple[tuple[nn.Module, ...], ...]:
    """Train networks; return them by strength and seed, made once in a process.

    Parameters
    ----------
    setting : Setting
        What to train.
    device : str
        Where.

    Returns
    -------
    tuple of tuple of Module
        ``found[strength][seed]``; not to be changed.
    """
    inputs, labels = _digits("train", device)
    count = len(setting.seeds)
    starts = [mlp(WIDTHS, streams=Streams(s), device=device) for s in setting.seeds]
    members = [deepcopy(start) for _ in setting.strengths for start in starts]
    trained = [p for member in members for p in member.parameters()]
    optimizer = torch.optim.Adam(trained, lr=1e-3, fused=True)
    for i, member in enumerate(members):
        strength = setting.strengths[i // count]
        if strength:
            RatioNorm(strength).attach(optimizer, member)
    generators = [Streams(s).generator("batches") for s in setting.seeds]
    for _ in range(setting.epochs):
        orders = np.array([generator.permutation(len(inputs)) for generator in generators])
        order = torch.from_numpy(np.tile(orders, (len(setting.strengths), 1))).to(device)
        for start in range(0, len(inputs) - setting.batch + 1, setting.batch):
            rows = order[:, start : start + setting.batch]
            optimizer.zero_grad()
            found = _outputs(members, inputs[rows])
            wanted = labels[rows].flatten()
            # a sum over networks: every one gets the gradient of its own mean
            torch.autograd.backward(
                cross_entropy(found.flatten(0, 1), wanted, reduction="sum") / setting.batch
            )
            optimizer.step()
    return tuple(tuple(members[i : i + count]) for i in range(0, len(members), count))


def _outputs(members: list[nn.Sequential], inputs: Tensor) -> Tensor:
    """Return outputs of networks of one shape, (member, sample, class), by products of stacks."""
    values = inputs
    for layers in zip(*members, strict=True):
        if isinstance(layers[0], nn.Linear):
            weight = torch.stack([layer.weight for layer in layers])
            bias = torch.stack([layer.bias for layer in layers])
            values = torch.baddbmm(bias[:, None], values, weight.mT)
        else:
            values = layers[0](values)
    return values


@torch.no_grad()
def accuracy(network: nn.Module) -> float:
    """Return the share of test digits that a network classifies correctly."""
    device = next(network.parameters()).device.type
    inputs, labels = _digits("test", device)
    return float((network(inputs).argmax(1) == labels).double().mean())


def matrices(network: nn.Module) -> list[ndarray]:
    """Return the weights of every layer as a vector, without biases."""
    found = [p.detach().cpu().double().numpy() for p in network.parameters() if p.ndim > 1]
    return [matrix.ravel() for matrix in found]


def over_seeds(
    trained: tuple[tuple[nn.Module, ...], ...], measure: Callable[[nn.Module], float]
) -> tuple[ndarray, ndarray, str]:
    """Return means over networks of a strength, half-widths of their intervals, and the level."""
    values = [[measure(network) for network in row] for row in trained]
    return mean_interval(np.array(values))


def mean_interval(values: ndarray) -> tuple[ndarray, ndarray, str]:
    """Return means over the last axis, half-widths of Student's intervals, and their level."""
    found = [interval(row) for row in values]
    mean = np.array([one.mean for one in found])
    half = np.array([one.high - one.mean for one in found])
    words = f"95 % interval of the mean over {values.shape[-1]} seeds, 2.5 % a side"
    return mean, half, words
