"""Learn streams of permuted tasks, methods and seeds side by side on stacked weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from sandbox.claims.benzing2022importance._path import images
from sandbox.claims.benzing2022importance._settings import Stream
from sandbox.claims.benzing2022importance._stacked import (
    Stacked,
    fresh,
    loss_sum,
    rows_of_an_epoch,
    vectors,
)
from sandbox.regularisers import QuadraticPenalty, SynapticIntelligence
from sandbox.training.data import load
from sandbox.training.tasks import TaskStream, permuted_tasks
from theory.streams import Streams

__all__ = ["Arm", "Learned", "learn_together"]

TOLD = {
    "SI": {"variant": "si"},
    "SIU": {"variant": "siu"},
    "SIB": {"variant": "sib"},
    "SOS, α = 0": {"variant": "sos"},
    "SOS, α = 1": {"variant": "sos", "alpha": 1.0},
}
"""Methods that sum along the path, and what their trackers are told."""


@dataclass(frozen=True)
class Arm:
    """A method against forgetting with its settings.

    Parameters
    ----------
    method : str
        A key of :data:`TOLD`, or ``"none"``.
    strength : float
        Of the penalty.
    re_init : bool
        Whether weights are drawn anew at every task's start, while the penalty pulls to
        where they were.
    """

    method: str
    strength: float = 0.0
    re_init: bool = True


class Learned(NamedTuple):
    """What was learned.

    Parameters
    ----------
    accuracy : ndarray
        On test images after the last task (arm, seed, task).
    importance : dict
        By tracker, of the last task (arm, seed, parameter), path sums neither clamped nor divided.
    """

    accuracy: ndarray
    importance: dict[str, ndarray]


def learn_together(
    setting: Stream,
    arms: Sequence[Arm],
    seeds: tuple[int, ...],
    watching: Sequence[str] = (),
    device: str = "cpu",
) -> Learned:
    """Let every arm learn every seed's stream; all arms see the same batches of a seed."""
    inputs, labels = images(setting.data, setting.images, device)
    data, copies = load(setting.data), len(arms)
    streams = [permuted_tasks(data, setting.tasks, streams=Streams(seed)) for seed in seeds]
    named = sorted({arm.method for arm in arms if arm.method != "none"} | set(watching))

    def spread(values: Tensor) -> Tensor:
        """Repeat what belongs to seeds for every arm."""
        return values.repeat(copies, *[1] * (values.ndim - 1))

    def drawn(task: int) -> Stacked:
        """Return networks at their start, the same ones for all arms."""
        model = fresh(setting.widths, seeds, task, device)
        for p in model.parameters():
            p.data = spread(p.data)
        return model

    model = drawn(0)
    optimiser = torch.optim.Adam(model.parameters(), setting.lr)
    trackers = {
        name: SynapticIntelligence(model, optimiser, xi=setting.xi, **TOLD[name])  # type: ignore[arg-type]  # mixed values
        for name in named
    }
    penalty = QuadraticPenalty(1.0)
    handle = penalty.attach(optimiser, model)
    # the strengths are in the importance, as arms have their own
    of_seeds = len(seeds)
    anew = torch.tensor([arm.re_init for arm in arms], device=device).repeat_interleave(of_seeds)
    for task in range(setting.tasks):
        if task:
            optimiser.state.clear()
            with torch.no_grad():
                for p, start in zip(model.parameters(), drawn(task).parameters(), strict=True):
                    p.copy_(torch.where(anew[:, None, None], start, p))
        for tracker in trackers.values():
            tracker.begin()
        order = torch.tensor(_orders(streams, task), device=device)
        permuted = inputs[:, order].movedim(1, 0)  # (seed, image, feature)
        place = torch.arange(of_seeds, device=device)[:, None]
        for epoch in range(setting.epochs):
            own, other = (
                rows_of_an_epoch(
                    seeds, f"{name}/{task}", epoch, setting.images, setting.batch, device
                )
                for name in ("order", "independent")
            )
            for rows, independent in zip(own, other, strict=True):
                optimiser.zero_grad()
                x, y = spread(permuted[place, rows]), spread(labels[rows])
                torch.autograd.backward(loss_sum(model, x, y))
                x, y = spread(permuted[place, independent]), spread(labels[independent])
                for tracker in trackers.values():
                    if tracker.needs_independent:
                        tracker.observe(loss_sum(model, x, y))
                optimiser.step()
        if task < setting.tasks - 1:
            penalty.consolidate(_importance(model, arms, trackers, of_seeds), model)
    found = {
        name: vectors(tracker.importance(clamp=False, normalise=False))
        for name, tracker in trackers.items()
    }
    handle.remove()
    for tracker in trackers.values():
        tracker.remove()
    accuracy = _accuracy(model, data.test.inputs, data.test.targets, streams, copies)
    shape = (copies, of_seeds, -1)
    return Learned(accuracy, {name: value.reshape(shape) for name, value in found.items()})


def _importance(
    model: Stacked,
    arms: Sequence[Arm],
    trackers: dict[str, SynapticIntelligence],
    seeds: int,
) -> dict[str, Tensor]:
    """Return every arm's own importance times its strength."""
    values = {name: tracker.importance() for name, tracker in trackers.items()}
    found = {}
    for name, p in model.named_parameters():
        found[name] = torch.zeros_like(p)
        for k, arm in enumerate(arms):
            if arm.method != "none":
                mine = slice(k * seeds, (k + 1) * seeds)
                found[name][mine] = arm.strength * values[arm.method][name][mine]
    return found


def _orders(streams: Sequence[TaskStream], task: int) -> ndarray:
    """Return the order of features in a task (seed, feature)."""
    return np.array([stream.tasks[task].features for stream in streams])


@torch.no_grad()
def _accuracy(
    model: Stacked, inputs: ndarray, labels: ndarray, streams: Sequence[TaskStream], copies: int
) -> ndarray:
    """Return test accuracies (arm, seed, task)."""
    device = model.weights[0].device
    right = torch.tensor(labels, device=device)
    found = []
    for task in range(len(streams[0].tasks)):
        seen = inputs[:, _orders(streams, task)].swapaxes(0, 1)
        outputs = model(torch.tensor(seen, device=device).repeat(copies, 1, 1))
        hits = (outputs.argmax(dim=2) == right).double().mean(dim=1)
        found.append(hits.view(copies, len(streams)).cpu().numpy())
    return np.stack(found, axis=2)
