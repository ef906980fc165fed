"""Importances from answers, of single inputs and of trained networks."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy import ndarray
from torch import nn

from sandbox.claims.benzing2022importance._path import flat_importance, images
from sandbox.claims.benzing2022importance._settings import ONE_TASK
from sandbox.claims.benzing2022importance._stacked import Stacked
from sandbox.claims.benzing2022importance._statistics import correlations
from sandbox.regularisers import absolute_fisher, memory_aware, root_fisher

if TYPE_CHECKING:
    from sandbox.bench import Run

__all__ = ["OneInput", "agreement", "one_input"]


class OneInput(NamedTuple):
    """Importances for single inputs.

    Parameters
    ----------
    top, least : ndarray
        The largest and the smallest probability (scale, input).
    absolute, masx, mas, root : ndarray
        Absolute Fisher, MASX, MAS and root Fisher (scale, input, parameter).
    """

    top: ndarray
    least: ndarray
    absolute: ndarray
    masx: ndarray
    mas: ndarray
    root: ndarray


def one_input(
    generator: np.random.Generator, *, classes: int, scales: Sequence[float], inputs: int
) -> OneInput:
    """Measure at single inputs: the absolute Fisher label by label, the rest by the estimators."""
    points = torch.tensor(generator.normal(size=(inputs, 5)))
    start = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, classes)).double()
    with torch.no_grad():
        for p in start.parameters():
            p.copy_(torch.tensor(generator.normal(size=tuple(p.shape))))
        # at factor 1 no two outputs of an input differ by more than 5
        outputs = start(points)
        spread = (outputs.max(dim=1).values - outputs.min(dim=1).values).max()
        for p in start[-1].parameters():
            p.mul_(5 / spread)
    found: dict[str, list[list[ndarray]]] = {name: [] for name in OneInput._fields}
    for scale in scales:
        model = scaled(start, scale)
        rows: dict[str, list[ndarray]] = {name: [] for name in OneInput._fields}
        for point in points[:, None]:
            chances = model(point)[0].softmax(dim=0)
            total: Any = 0.0
            for chance in chances:
                slopes = torch.autograd.grad(
                    chance.log(), list(model.parameters()), retain_graph=True
                )
                flat = torch.cat([slope.flatten() for slope in slopes])
                total = total + chance.item() * flat.abs().numpy()
            rows["top"].append(chances.max().detach().numpy())
            rows["least"].append(chances.min().detach().numpy())
            rows["absolute"].append(total)
            measured = {
                "masx": memory_aware(model, point, reduce="max"),
                "mas": memory_aware(model, point),
                "root": root_fisher(model, point),
            }
            for name, values in measured.items():
                rows[name].append(torch.cat([v.flatten() for v in values.values()]).numpy())
        for name, values_of_inputs in rows.items():
            found[name].append(values_of_inputs)
    return OneInput(**{name: np.array(values) for name, values in found.items()})


def scaled(model: nn.Module, factor: float) -> Any:
    """Return a copy of a network whose outputs are multiplied, by its last layer."""
    other: Any = copy.deepcopy(model)
    last = (
        [other.weights[-1], other.biases[-1]]
        if isinstance(other, Stacked)
        else list(other[-1].parameters())
    )
    with torch.no_grad():
        for p in last:
            p.mul_(factor)
    return other


def agreement(run: Run, model: Stacked, factor: float = 1.0) -> dict[str, ndarray]:
    """Return correlations (member,) of importances from answers, by pair."""
    setting = ONE_TASK[run.scale, "small"]
    inputs, labels = images(setting.data, setting.images, run.device)
    few = (inputs[: setting.measured], labels[: setting.measured])
    other = scaled(model, factor)

    def measured(estimator: Any, **options: Any) -> ndarray:
        return flat_importance(other, estimator, *few, **options)

    found = {
        "MAS": measured(memory_aware),
        "MASX": measured(memory_aware, reduce="max"),
        "MAS of logits": measured(memory_aware, output="logit"),
        "AF": measured(absolute_fisher),
        "root Fisher": measured(root_fisher),
    }
    pairs = [(one, "AF") for one in ("MAS", "MASX")]
    pairs += [(one, "root Fisher") for one in ("MAS", "AF", "MAS of logits")]
    return {f"{one} & {two}": correlations(found[one], found[two]) for one, two in pairs}
