"""Optimisers that evaluate a batch several times: which loss is recorded, what hooks see."""

import copy
import operator

import pytest
import torch
from small_training import bits, network, plain_loss, shown_samples, tiny
from torch.optim import SGD

from sandbox.optim import Alice
from sandbox.training.loop import fit
from sandbox.training.plan import Plan
from sandbox.training.tasks import single_task
from theory.streams import Streams

PLAN = Plan(epochs=3, batch_size=20)  # 2 of 46 samples are left over: 2 steps an epoch
OPTIONS = {"betas": (0.5, 0.9), "quick_steps": 1}  # two steps of burn-in, then every other


def ridge(model):
    return 0.01 * sum(p.square().sum() for p in model.parameters())


def batches():
    """Every step's samples."""
    inputs, targets = shown_samples(single_task(tiny()).tasks[0], PLAN.loss, torch.float64)
    for epoch in range(PLAN.epochs):
        order = Streams(0).generator("order/0", epoch).permutation(len(inputs))
        for start in (0, 20):
            rows = torch.from_numpy(order[start : start + 20])
            yield inputs[rows], targets[rows]


@pytest.mark.parametrize("penalty", [None, ridge])
def test_the_loss_of_alice_is_the_one_at_the_look_ahead(penalty):
    model = network(dtype=torch.float64)
    twin = copy.deepcopy(model)
    seen, kept, rows = [], [], []
    hooks = {
        "gradient": lambda now: seen.append((now.step, now.loss.item())),
        "step": lambda now: kept.append((now.loss.item(), now.penalty and now.penalty.item())),
    }
    history = fit(
        model, tiny(), Alice(model.parameters(), 0.05, **OPTIONS), PLAN, streams=Streams(0),
        penalty=penalty, hooks=hooks,
    )  # fmt: skip
    alice = Alice(twin.parameters(), 0.05, **OPTIONS)
    for inputs, targets in batches():

        def closure(inputs=inputs, targets=targets):
            alice.zero_grad()
            value = plain_loss("cross-entropy", twin(inputs), targets)
            extra = None if penalty is None else penalty(twin)
            whole = value if extra is None else value + extra
            whole.backward()
            rows.append((value.item(), extra and extra.item()))
            return whole

        told = alice.step(closure)
        assert told.item() == pytest.approx(sum(x or 0.0 for x in rows[-1]), rel=1e-14)
        rows[-1] += ("at the look-ahead",)
    ahead = [row[:2] for row in rows if len(row) == 3]
    assert kept == ahead  # the last of three, or the only one
    # a hook on gradients acts at probes too: what it does to them must be done to all
    assert [loss for _, loss in seen] == [row[0] for row in rows]
    assert [step for step, _ in seen] == [0, 0, 0, 1, 1, 1, 2, 3, 3, 3, 4, 5, 5, 5]
    last = ahead[-2:]
    losses = sum(loss for loss, _ in last) / 2
    assert history.final["train_loss"] == pytest.approx(losses, rel=1e-14)
    if penalty is not None:
        extras = sum(extra for _, extra in last) / 2
        assert history.final["penalty"] == pytest.approx(extras, rel=1e-14)
    assert bits(dict(model.state_dict())) == bits(dict(twin.state_dict()))


def test_a_hook_that_changes_gradients_changes_the_same_field_everywhere():
    """Halved at all three points, gradient, curvature and glass are those of half the loss."""
    model = network(dtype=torch.float64)
    twin = copy.deepcopy(model)

    def halve(now):
        for parameter in now.model.parameters():
            parameter.grad *= 0.5

    class HalfAlice(Alice):
        def step(self, closure):
            def half():
                loss = closure()
                for group in self.param_groups:
                    for parameter in group["params"]:
                        parameter.grad *= 0.5
                return loss

            return super().step(half)

    hooks = {"gradient": halve}
    made = Alice(model.parameters(), 0.05, **OPTIONS), HalfAlice(twin.parameters(), 0.05, **OPTIONS)
    fit(model, tiny(), made[0], PLAN, streams=Streams(0), hooks=hooks)
    fit(twin, tiny(), made[1], PLAN, streams=Streams(0))
    assert bits(dict(model.state_dict())) == bits(dict(twin.state_dict()))


class Twice(SGD):
    """Evaluates twice and returns what it is told to."""

    closure = "loss"
    returned = staticmethod(lambda first, second: None)

    def step(self, closure):
        first = closure()
        with torch.no_grad():
            for parameter in self.param_groups[0]["params"]:
                parameter.mul_(0.5)
        second = closure()
        super().step()
        return self.returned(first, second)


@pytest.mark.parametrize("penalty", [None, ridge])
@pytest.mark.parametrize(
    ("returned", "which"),
    [
        (lambda first, second: None, 0),
        (lambda first, second: first.item(), 0),
        (lambda first, second: first, 0),
        (lambda first, second: second, 1),
        (lambda first, second: second.detach(), 1),
        (operator.add, 0),
    ],
)
def test_the_loss_is_the_one_that_step_returns(returned, which, penalty):
    model, seen, kept = network(), [], []
    optimizer = Twice(model.parameters(), 0.1)
    optimizer.returned = returned
    hooks = {
        "gradient": lambda now: seen.append((now.loss, now.penalty)),
        "step": lambda now: kept.append((now.loss, now.penalty)),
    }
    fit(model, tiny(), optimizer, PLAN, streams=Streams(0), hooks=hooks, penalty=penalty)
    assert len(seen) == 2 * len(kept) == 12
    for told, right in zip(kept, seen[which::2], strict=True):
        assert told[0] is right[0]
        assert told[1] is right[1]
