"""Follow K-FAC's path; ask at some points what other rules would do there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sandbox.claims.benzing2022neurons._experiments import batches, images, network, whole_loss
from sandbox.claims.benzing2022neurons._presets import ARMS, SETTINGS, on_record
from sandbox.optim._kronecker import (
    eigenbasis,
    factored_damping,
    joint_weights,
    published_direction,
    standard_direction,
)
from sandbox.optim.kfac import KFAC
from theory.streams import Streams

__all__ = ["Point", "along_output", "cosines", "decreases", "directions", "factors", "path"]


class Point(NamedTuple):
    """A place on the path: model, batch, gradients, and a K-FAC with its factors."""

    update: int
    model: nn.Module
    batch: tuple[Tensor, Tensor]
    gradients: list[Tensor]
    kfac: KFAC


def path(item: dict[str, Any]) -> Iterator[Point]:
    """Yield points of K-FAC's path on mini-batches, before the step is made."""
    setting = SETTINGS[item["scale"], "mini-batch"]
    streams, device = Streams(item["seed"]), item["device"]
    lr, damping = on_record(item["scale"], "mini-batch")["K-FAC"]
    inputs, labels = images(setting, device)
    model = network(setting, streams, device)
    options = {"T": 1, "S": 1, "decay": 0.95} | dict(ARMS["K-FAC"].options)
    optimiser = KFAC(model, lr, damping or 0.0, seed=streams.integer("labels") % 2**63, **options)
    for rows in batches(setting, streams, "observed", setting.observed):
        optimiser.observe(inputs[rows])
    wanted = {round(k) for k in np.linspace(0, setting.updates - 1, item["points"])}
    for update, rows in enumerate(batches(setting, streams, "batches", setting.updates)):
        batch = inputs[rows], labels[rows]
        optimiser.zero_grad()
        torch.autograd.backward(cross_entropy(model(batch[0]), batch[1]))
        if update in wanted:
            gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
            yield Point(update, model, batch, gradients, optimiser)
        optimiser.step()


def factors(kfac: KFAC) -> list[tuple[Tensor, Tensor]]:
    """Return the averages of every layer's input and output factor."""
    return [
        (own["input"].value(), own["output"].value())
        for own in (kfac.averages[layer.name] for layer in kfac.layers)
    ]


def along_output(one: Sequence[Tensor], other: Sequence[Tensor], inputs: Sequence[Tensor]) -> float:
    """Return the sum over layers of Tr(U A V'), A the covariance of the inputs."""
    return sum(
        float(((u @ a) * v).double().sum()) for u, v, a in zip(one, other, inputs, strict=True)
    )


def directions(
    rules: Sequence[str], gradient: Tensor, inputs: Tensor, outputs: Tensor, damping: float
) -> list[Tensor]:
    """Return the directions of rules of K-FAC, and of FOOF with the damping of the input factor."""
    bases = eigenbasis(inputs), eigenbasis(outputs)
    over_inputs, over_outputs = factored_damping(inputs, outputs, damping)
    right, left = bases[0].vectors, bases[1].vectors
    values_a, values_e = bases[0].values, bases[1].values
    matrix = gradient.double()
    joint = joint_weights(values_a, values_e, damping)
    split = torch.outer(1 / (values_e + over_outputs), 1 / (values_a + over_inputs))
    found = {
        "heuristic": lambda: standard_direction(matrix, right, left, split),
        "standard": lambda: standard_direction(matrix, right, left, joint),
        "standard-published": lambda: published_direction(matrix, right, left, joint),
        "foof": lambda: (matrix @ right / (values_a + over_inputs)) @ right.T / over_outputs,
    }
    return [found[rule]() for rule in rules]


def cosines(item: dict[str, Any]) -> dict[str, Any]:
    """Return the cosines of rules' directions to FOOF's, (rule, point, damping)."""
    rules, dampings = tuple(item["rules"]), tuple(item["dampings"])
    found = []
    for point in path(item):
        here = np.empty((len(rules), len(dampings)))
        both = factors(point.kfac)
        inputs = [one.double() for one, _ in both]
        for d, damping in enumerate(dampings):
            layers = [
                directions((*rules, "foof"), gradient, *pair, damping)
                for gradient, pair in zip(point.gradients, both, strict=True)
            ]
            *each, foof = zip(*layers, strict=True)
            length = math.sqrt(along_output(foof, foof, inputs))
            for r, steps in enumerate(each):
                own = math.sqrt(along_output(steps, steps, inputs))
                here[r, d] = along_output(steps, foof, inputs) / (own * length)
        found.append(here)
    return {"cosines": np.stack(found, axis=1)}


def decreases(item: dict[str, Any]) -> dict[str, Any]:
    """Return the shares of the batch's loss that K-FAC's and FOOF's steps take off, (point, 2)."""
    lr, damping = on_record(item["scale"], "mini-batch")["K-FAC"]
    found, at = [], []
    for point in path(item):
        weights = list(point.model.parameters())
        start = [w.detach().clone() for w in weights]
        before = whole_loss(point.model, *point.batch)
        both = [
            directions(("heuristic", "foof"), gradient, *pair, damping or 0.0)
            for gradient, pair in zip(point.gradients, factors(point.kfac), strict=True)
        ]
        taken = []
        for k in range(2):
            with torch.no_grad():
                for weight, old, steps in zip(weights, start, both, strict=True):
                    # both as long as K-FAC's in every layer
                    size = lr * float(steps[0].norm() / steps[k].norm())
                    weight.copy_(old - size * steps[k].to(old.dtype))
            taken.append(1 - whole_loss(point.model, *point.batch) / before)
        with torch.no_grad():
            for weight, old in zip(weights, start, strict=True):
                weight.copy_(old)
        found.append(taken)
        at.append(1 + point.update)
    return {"decreases": np.array(found), "at": np.array(at)}
