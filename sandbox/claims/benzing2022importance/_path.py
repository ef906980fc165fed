"""Train networks on one task with every tracker watching; what they saw."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor
from torch.nn.functional import cross_entropy

from sandbox.claims.benzing2022importance._settings import OneTask
from sandbox.claims.benzing2022importance._stacked import (
    Stacked,
    fresh,
    loss_sum,
    member,
    rows_of_an_epoch,
    vectors,
)
from sandbox.regularisers import SynapticIntelligence, root_fisher
from sandbox.training.data import load
from theory.streams import Streams

__all__ = ["Seen", "flat_importance", "follow", "images", "known", "whole_loss"]

WATCHING: dict[str, dict[str, Any]] = {
    "SI": {"variant": "si"},
    "SIU": {"variant": "siu"},
    "SOS, α = 0": {"variant": "sos"},
    "SOS, α = 1": {"variant": "sos", "alpha": 1.0},
}
"""What watches the training; SIB is the difference of the first two."""


class Seen(NamedTuple):
    """What was seen along the way, and at its end.

    Parameters
    ----------
    steps : ndarray
        When (moment,): after so many steps.
    sums : dict
        Sums over all weights (moment, member): SI, SIU, integral, loss drop.
    importance : dict
        Importance (member, parameter) at the end, path sums neither clamped nor divided.
    model : Stacked
        The networks as trained.
    """

    steps: ndarray
    sums: dict[str, ndarray]
    importance: dict[str, ndarray]
    model: Stacked


@cache
def images(data: str, count: int, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Return training images and labels, the same for all."""
    train = load(data).train
    chosen = Streams(42).generator("images").permutation(len(train))[:count]
    inputs, labels = train.inputs[chosen], train.targets[chosen]
    return torch.tensor(inputs, device=device), torch.tensor(labels, device=device)


def whole_loss(model: Stacked, inputs: Tensor, labels: Tensor) -> Tensor:
    """Return every member's mean loss over all images (member,), with its graph."""
    count = len(model.weights[0])
    outputs = model(inputs.expand(count, *inputs.shape)).flatten(0, 1)
    losses = cross_entropy(outputs, labels.repeat(count), reduction="none")
    return losses.view(count, -1).mean(dim=1)


def full_gradient(model: Stacked, inputs: Tensor, labels: Tensor) -> list[Tensor]:
    """Return the gradient of every member's loss over all images."""
    total = [torch.zeros_like(p) for p in model.parameters()]
    for x, y in zip(torch.split(inputs, 2000), torch.split(labels, 2000), strict=True):
        part = whole_loss(model, x, y).sum() * (len(x) / len(inputs))
        for sums, slope in zip(
            total, torch.autograd.grad(part, list(model.parameters())), strict=True
        ):
            sums += slope
    return total


@torch.no_grad()
def losses(model: Stacked, inputs: Tensor, labels: Tensor) -> ndarray:
    """Return every member's mean loss over all images."""
    parts = zip(torch.split(inputs, 2000), torch.split(labels, 2000), strict=True)
    total = sum(whole_loss(model, x, y).double() * len(x) for x, y in parts)
    return np.asarray(torch.as_tensor(total).cpu()) / len(inputs)


def follow(setting: OneTask, seeds: tuple[int, ...], moments: int = 6, device: str = "cpu") -> Seen:
    """Train; return path sums at equal distances, and importances of all weights."""
    inputs, labels = images(setting.data, setting.images, device)
    model = fresh(setting.widths, seeds, device=device)
    optimiser = torch.optim.Adam(model.parameters(), setting.lr)
    watching = {
        name: SynapticIntelligence(model, optimiser, **told) for name, told in WATCHING.items()
    }
    start = losses(model, inputs, labels)
    integral = torch.zeros(len(seeds), device=device)
    sums: dict[str, list[ndarray]] = {"SI": [], "SIU": [], "integral": [], "loss drop": []}
    total = setting.epochs * (setting.images // setting.batch)
    when = np.unique(np.linspace(0, total, moments).round().astype(int)[1:])
    step = 0
    for epoch in range(setting.epochs):
        own, other = (
            rows_of_an_epoch(seeds, name, epoch, setting.images, setting.batch, device)
            for name in ("order", "independent")
        )
        for rows, independent in zip(own, other, strict=True):
            for tracker in watching.values():
                if tracker.needs_independent:
                    tracker.observe(loss_sum(model, inputs[independent], labels[independent]))
            optimiser.zero_grad()
            torch.autograd.backward(loss_sum(model, inputs[rows], labels[rows]))
            whole = step % setting.every == setting.every // 2
            if whole:
                slopes = full_gradient(model, inputs, labels)
                before = [p.detach().clone() for p in model.parameters()]
            optimiser.step()
            step += 1
            if whole:
                for p, old, slope in zip(model.parameters(), before, slopes, strict=True):
                    moved = (slope * (old - p.detach())).flatten(1).sum(dim=1)
                    integral += setting.every * moved
            if step in when:
                for name in ("SI", "SIU"):
                    path = watching[name].path().values()
                    summed = torch.stack([p.flatten(1).sum(dim=1) for p in path]).sum(dim=0)
                    sums[name].append(summed.cpu().numpy())
                sums["integral"].append(integral.cpu().numpy().copy())
                sums["loss drop"].append(start - losses(model, inputs, labels))
    found = {
        name: vectors(tracker.path() if name in {"SI", "SIU"} else tracker.importance())
        for name, tracker in watching.items()
    }
    found["SIB"] = found["SI"] - found["SIU"]
    for tracker in watching.values():
        tracker.remove()
    return Seen(when, {name: np.array(values) for name, values in sums.items()}, found, model)


def flat_importance(
    model: Stacked, estimator: Any, inputs: Tensor, labels: Tensor, **options: Any
) -> ndarray:
    """Return an estimator's importance of every member's weights (member, parameter)."""
    found = []
    for number in range(len(model.weights[0])):
        network = member(model, number)
        values = estimator(network, (inputs, labels), **options).values()
        found.append(torch.cat([value.flatten() for value in values]).cpu().numpy())
    return np.array(found)


@cache
def known(setting: OneTask, seeds: tuple[int, ...], device: str = "cpu") -> Seen:
    """Return what :func:`follow` does with the root Fisher at the end; made once in a process."""
    seen = follow(setting, seeds, device=device)
    inputs, labels = images(setting.data, setting.images, device)
    few = (inputs[: setting.measured], labels[: setting.measured])
    seen.importance["root Fisher"] = flat_importance(seen.model, root_fisher, *few)
    return seen
