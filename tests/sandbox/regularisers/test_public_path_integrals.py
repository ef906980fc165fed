"""What public programs compute under the name of synaptic intelligence, and our options for it.

Each is told again in a few lines, from what it does: ganguli-lab/pathint (Zenke et al.),
freedbee/continual_regularisation (Benzing), aimagelab/mammoth, GMvandeVen/continual-learning and
ContinualAI/avalanche.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sandbox.regularisers import QuadraticPenalty, SynapticIntelligence
from tests.sandbox.regularisers.tiny_net import BATCHES, F64, START, flat, tiny_net
from tests.sandbox.regularisers.tiny_tasks import TASKS, loss_slope

RATE = 0.05
# both sides do the same sums in another order, in float64; Adam divides by roots of squares
CLOSE = {"rtol": 1e-9, "atol": 1e-15}


def far(found, wanted):
    """Return whether the largest difference is no rounding, but over a thousandth of the size."""
    return bool((found - wanted).abs().max() > 1e-3 * wanted.abs().max())


def adam(parameters):
    return torch.optim.Adam(parameters, RATE)


def sgd(parameters):
    return torch.optim.SGD(parameters, RATE)


@dataclass(frozen=True)
class Path:
    """A program's sums along the path, and our options for it.

    ``follow`` gives what a step adds, from the gradient of the loss, the gradient that the
    optimiser got, and the move; ``learned`` what a task adds; ``acting`` what is pulled with.
    """

    follow: Callable[[Tensor, Tensor, Tensor], Tensor]
    learned: Callable[[Tensor, Tensor], Tensor]
    acting: Callable[[Tensor], Tensor] = lambda raw: raw
    strength: float = 0.5
    factor: float = 1.0
    xi: float = 0.1
    optimizer: Callable[[Any], torch.optim.Optimizer] = adam
    clip: float | None = None
    tracker: Mapping[str, Any] = field(default_factory=dict)
    importance: Mapping[str, Any] = field(default_factory=dict)
    penalty: Mapping[str, Any] = field(default_factory=dict)


TOTAL = {
    "tracker": {"gradient": "total"},
    "importance": {"clamp": False},
    "penalty": {"clamp": "signed"},
}
PATHS = {
    # the original: gradient of the loss alone, the running sum is clamped after every task
    "pathint": Path(
        lambda own, _, move: -own * move,
        lambda old, new: torch.relu(old + new),
        importance={"clamp": False},
        penalty={"clamp": "running"},
    ),
    # every task's own importance is clamped, which is our default
    "benzing": Path(
        lambda own, _, move: -own * move, lambda old, new: old + torch.relu(new)
    ),
    # the rate times the squared gradient that the step is taken with, penalty and clipping
    # included: under plain descent the path integral of that gradient. It is clipped at 1, where
    # those of this network never come
    "mammoth": Path(
        lambda _, total, __: RATE * total**2,
        operator.add,
        strength=40.0,
        optimizer=sgd,
        clip=0.4,
        **TOTAL,
    ),
    # the gradient with the penalty's, nothing clamped: importances may be negative
    "gmvandeven": Path(
        lambda _, total, move: -total * move, operator.add, strength=100.0, **TOTAL
    ),
    # the same, hardly damped, cut off from above alone, and with half of lambda
    "avalanche": Path(
        lambda _, total, move: -total * move,
        operator.add,
        lambda raw: raw.clamp(max=0.001),
        strength=800.0,
        factor=0.5,
        xi=1e-7,
        tracker={"gradient": "total"},
        importance={"clamp": False},
        penalty={"clamp": "signed", "ceiling": 0.001},
    ),
}  # fmt: skip


def told(path: Path):
    """Train three tasks as the program does; return importance, what it clipped, weights."""
    theta = START.clone().requires_grad_()
    optimizer = path.optimizer([theta])
    raw, kept, clipped = torch.zeros(24, dtype=F64), START, 0.0
    for inputs, labels in TASKS:
        sums, start = torch.zeros(24, dtype=F64), theta.detach().clone()
        for rows, _ in BATCHES:
            before = theta.detach().clone()
            own = loss_slope(before, inputs[rows], labels[rows])
            pull = path.strength * path.factor * 2 * path.acting(raw) * (before - kept)
            total = own + pull
            if path.clip is not None:
                clipped = max(clipped, float(total.abs().max()))
                total = total.clamp(-path.clip, path.clip)
            theta.grad = total.clone()
            optimizer.step()
            sums += path.follow(own, total, theta.detach() - before)
        kept = theta.detach().clone()
        raw = path.learned(raw, sums / ((kept - start) ** 2 + path.xi))
    return path.acting(raw), clipped, kept


def ours(path: Path, *, default=False):
    """Train the same with the package; return importance and weights."""
    options = [{}, {}, {}] if default else [path.tracker, path.importance, path.penalty]
    model = tiny_net()
    optimizer = path.optimizer(model.parameters())
    quadratic = QuadraticPenalty(path.strength * (1 if default else path.factor), **options[2])
    xi = 0.1 if default else path.xi
    tracker = SynapticIntelligence(model, optimizer, xi=xi, **options[0])
    clipped = path.clip is not None and not default
    if not clipped:
        quadratic.attach(optimizer)
    for inputs, labels in TASKS:
        tracker.begin()
        for rows, _ in BATCHES:
            optimizer.zero_grad()
            loss = cross_entropy(model(inputs[rows]), labels[rows])
            if clipped:  # to be clipped, the penalty must be in the loss
                loss = loss + quadratic(model)
            loss.backward()
            if clipped:
                nn.utils.clip_grad_value_(model.parameters(), path.clip)
            optimizer.step()
        quadratic.consolidate(tracker.importance(**options[1]), model)
    return flat(quadratic.importance), flat(dict(model.named_parameters()))


@pytest.mark.parametrize("name", PATHS)
def test_synaptic_intelligence_of(name):
    path = PATHS[name]
    wanted, clipped, weights = told(path)
    found, ended = ours(path)
    assert torch.allclose(ended, weights, **CLOSE)
    assert torch.allclose(found, wanted, **CLOSE)
    if path.clip is not None:
        assert clipped > path.clip  # or nothing would have been tested
    other, _ = ours(path, default=True)
    if name == "benzing":
        assert torch.allclose(other, wanted, **CLOSE)
    else:
        assert far(other, wanted)
