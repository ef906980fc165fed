"""What is no gradient descent on the loss is noted by the PL* monitor, and ends the bound."""

import functools
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

from tests.sandbox.pl_problems import (
    LARGEST,
    A,
    Y,
    descend,
    half_sum,
    network,
    samples,
    system,
    watch,
)


class KeepsSteps(SGD):
    """Momentum that its groups do not name."""

    def step(self, closure=None):
        before = [p.detach().clone() for p in self.param_groups[0]["params"]]
        found = super().step(closure)
        for p, was in zip(self.param_groups[0]["params"], before, strict=True):
            kept = self.state[p].get("kept", torch.zeros_like(p))
            self.state[p]["kept"] = p.detach() - was + 0.9 * kept
            p.data = was + self.state[p]["kept"]
        return found


DIFFERENT = {
    "momentum": (
        {"optimizer": functools.partial(SGD, lr=0.01, momentum=0.9)},
        r"step 1 has momentum",
    ),
    "memory": ({"optimizer": functools.partial(KeepsSteps, lr=0.01)}, r"step 3 is not"),
    "decay": ({"optimizer": functools.partial(SGD, lr=0.01, weight_decay=0.1)}, r"step 1 is not"),
    "adam": ({"optimizer": functools.partial(Adam, lr=0.01)}, r"step 1 is not -eta grad L, but"),
    "another scale": ({"scale": 2.0}, r"another loss_scale"),
    "another loss": ({"loss": nn.functional.l1_loss}, r"step 1 is not"),
    "a batch": ({"loss": lambda f, y: half_sum(f[:3], y[:3])}, r"a mini-batch"),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_other_methods_get_no_bound(case):
    options, words = DIFFERENT[case]
    make = options.get("optimizer", functools.partial(SGD, lr=0.01))
    rest = {name: value for name, value in options.items() if name != "optimizer"}
    model, (inputs, targets) = network(), samples()
    monitor = watch(model, inputs, targets, make(model.parameters()), 6, every=2, **rest)
    (note,) = monitor.verdict().notes
    assert re.search(words, note)
    bound = monitor.trace.column("bound")
    assert np.isnan(bound[-1])
    assert not np.isnan(bound[0])
    assert not np.isnan(monitor.trace.column("lambda_min")).any()


def test_momentum_is_noted_where_only_its_first_step_is_measured():
    # 50 steps between two records; the first is the one of gradient descent
    model, (inputs, targets) = network(), samples()
    optimizer = SGD(model.parameters(), lr=0.002, momentum=0.9)
    monitor = watch(model, inputs, targets, optimizer, 50, every=50)
    assert "momentum" in monitor.verdict().notes[0]
    assert np.isnan(monitor.trace.column("bound")[-1])


def test_two_learning_rates_get_no_bound():
    model, (inputs, targets) = network(), samples()
    groups = [{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": 0.02}]
    monitor = watch(model, inputs, targets, SGD(groups, lr=0.01), 2)
    assert "different learning rates" in monitor.verdict().notes[0]


def test_dropout_gets_no_bound():
    model, (inputs, targets) = network(), samples()
    model.insert(2, nn.Dropout(0.5))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        monitor = descend(model, inputs, targets, 0.01, 2)
    assert "dropout" in monitor.verdict().notes[0]


@pytest.mark.parametrize(
    ("factor", "word", "end"), [(1.0, "held", "falls"), (1.9, "held", "falls"),
                                (2.0, "held", "stalls"), (2.05, "broken", "rises")],
)  # fmt: skip
def test_steps_too_large(factor, word, end):
    # along the stiffest direction the error is multiplied by 1 - factor
    monitor = descend(system(), A, Y, factor / LARGEST, 60)
    verdict, loss = monitor.verdict(), monitor.trace.column("loss")
    assert verdict.word == word
    ratio = loss[-1] / loss[-2]
    # a flat loss repeats its digits, the others move by 19 % and 10 % a step in the end
    assert end == ("falls" if ratio < 0.9 else "rises" if ratio > 1.05 else "stalls")
    if factor > 1:
        assert "steps too large for the bound" in verdict.notes[0]
        assert np.isnan(monitor.trace.column("bound")[1:]).all()
    if word == "broken":
        assert "L rises from" in verdict.reasons[0]


def test_a_step_too_large_for_the_curvature_breaks_the_bound():
    # f = w1 w2 from near the singular point: K is small there, the loss's curvature is not
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)).double()
    nn.init.constant_(model[0].weight, 0.6)
    nn.init.constant_(model[1].weight, -0.6)
    one = torch.ones(1, 1, dtype=torch.float64)
    monitor = descend(model, one, 3 * one, 0.6, 1)
    # by hand: r = -3.36, w -> 0.6 (1 + 0.6 r) in size, L from 3.36^2/2 to (3 + w^2)^2/2
    loss = monitor.trace.column("loss")
    np.testing.assert_allclose(loss, [5.6448, (3 + (0.6 * (1 - 0.6 * 3.36)) ** 2) ** 2 / 2])
    assert monitor.trace.column("lambda_max").max() * 0.6 < 1
    verdict = monitor.verdict()
    assert verdict.notes == ()
    assert "at step 1 is above its bound" in verdict.reasons[0]
    assert "L rises from 5.6448" in verdict.reasons[1]
