"""Optimisers that ask for the loss or the outputs are given what they ask for."""

import copy

import pytest
import torch
from small_training import bits, network, pair, plain_loss, shown_samples, tiny
from torch.nn.functional import one_hot
from torch.optim import LBFGS, SGD

from deeplinear.rules import CurvatureCorrection
from sandbox.optim import CurvatureCorrected
from sandbox.training.loop import fit
from sandbox.training.plan import Plan
from sandbox.training.tasks import single_task
from theory.streams import Streams

RULE = CurvatureCorrection(power=0.5, blocks="layer", damping=0.1)


def ridge(model):
    return 0.01 * sum(p.square().sum() for p in model.parameters())


def corrected(model, loss="cross_entropy"):
    return CurvatureCorrected(model.parameters(), RULE, lr=0.2, loss=loss)


def batches(stream, plan, task, seed):
    """Every step's samples."""
    inputs, targets = shown_samples(stream.tasks[task], plan.loss, torch.float64)
    for epoch in range(plan.epochs):
        order = Streams(seed).generator(f"order/{task}", epoch).permutation(len(inputs))
        for start in range(0, len(inputs) - plan.batch_size + 1, plan.batch_size):
            rows = torch.from_numpy(order[start : start + plan.batch_size])
            yield inputs[rows], targets[rows]


@pytest.mark.parametrize("penalty", [None, ridge])
def test_lbfgs_gets_a_closure_with_loss_penalty_and_gradients(penalty):
    model = network(dtype=torch.float64)
    twin, seen = copy.deepcopy(model), []
    made = [
        LBFGS(m.parameters(), lr=0.5, max_iter=4, history_size=3, line_search_fn="strong_wolfe")
        for m in (model, twin)
    ]
    plan = Plan(epochs=2, batch_size=20)
    history = fit(
        model,
        tiny(),
        made[0],
        plan,
        streams=Streams(2),
        penalty=penalty,
        hooks={"gradient": lambda now: seen.append(now.loss.item())},
    )
    evaluated, first, extras = [], [], []
    for inputs, targets in batches(single_task(tiny()), plan, 0, 2):

        def closure(inputs=inputs, targets=targets):
            made[1].zero_grad()
            value = plain_loss("cross-entropy", twin(inputs), targets)
            evaluated.append(value.item())
            extras.append(0.0 if penalty is None else penalty(twin).item())
            whole = value if penalty is None else value + penalty(twin)
            whole.backward()
            return whole

        first.append(len(evaluated))
        made[1].step(closure)
    assert bits(dict(model.state_dict())) == bits(dict(twin.state_dict()))
    assert bits(made[0].state_dict()) == bits(made[1].state_dict())
    assert seen == evaluated
    assert len(evaluated) > 4 * len(first) / 2
    # the loss before the step is what is averaged, not the last one tried
    two = first[2:]
    assert history.final["train_loss"] == pytest.approx(
        sum(evaluated[i] for i in two) / len(two), rel=1e-14
    )
    if penalty:
        assert history.final["penalty"] == pytest.approx(
            sum(extras[i] for i in two) / len(two), rel=1e-14
        )


@pytest.mark.parametrize("loss", ["cross-entropy", "squared"])
@pytest.mark.parametrize("scenario", ["task", "class"])
def test_curvature_correction_in_the_loop_is_curvature_correction_by_hand(loss, scenario):
    assert CurvatureCorrected.closure == "outputs"
    model = network(dtype=torch.float64)
    twin = copy.deepcopy(model)
    own = loss.replace("-", "_")
    by_hand = corrected(twin, own)
    stream, plan = pair(scenario), Plan(epochs=2, batch_size=8, loss=loss)
    history = fit(model, stream, corrected(model, own), plan, streams=Streams(1))
    losses = []
    for task in range(2):
        for inputs, targets in batches(stream, plan, task, 1):
            columns = list(stream.tasks[task].outputs or range(4))
            if loss == "squared":
                targets = one_hot(targets, len(columns)).double()
            value = by_hand.step(lambda x=inputs, y=targets, c=columns: (twin(x)[:, c], y))
            losses.append(value.item())
    assert bits(dict(model.state_dict())) == bits(dict(twin.state_dict()))
    steps = len(losses) // 4  # the second task's last epoch; 22 samples fill 2 batches
    assert steps == 2
    assert history.final["train_loss"] == pytest.approx(sum(losses[-2:]) / 2, rel=1e-14)


def test_curvature_correction_reconstructs():
    model = network(outputs=6, dtype=torch.float64)
    twin = copy.deepcopy(model)
    plan = Plan(epochs=2, batch_size=23, loss="reconstruction")
    fit(model, tiny(), corrected(model, "squared"), plan, streams=Streams(0))
    by_hand = corrected(twin, "squared")
    for inputs, targets in batches(single_task(tiny()), plan, 0, 0):
        by_hand.step(lambda x=inputs, y=targets: (twin(x), y))
    assert bits(dict(model.state_dict())) == bits(dict(twin.state_dict()))


@pytest.mark.parametrize(
    ("own", "loss", "words"),
    [
        ("squared", "cross-entropy", "loss of its own, 'squared'"),
        ("cross_entropy", "squared", "loss of its own, 'cross-entropy'"),
        ("cross_entropy", "reconstruction", "loss of its own, 'cross-entropy'"),
    ],
)
def test_two_losses_in_one_run_are_refused(own, loss, words):
    model = network(outputs=6, dtype=torch.float64)
    before = bits(dict(model.state_dict()))
    with pytest.raises(ValueError, match=words) as refused:
        fit(model, tiny(), corrected(model, own), Plan(loss=loss), streams=Streams(0))
    assert f"loss = {loss!r}" in str(refused.value)
    assert bits(dict(model.state_dict())) == before


@pytest.mark.parametrize("extra", [{"penalty": ridge}, {"hooks": {"gradient": print}}])
def test_what_needs_gradients_is_refused_where_there_are_none(extra):
    model = network()
    with pytest.raises(ValueError, match="neither a penalty nor a hook on 'gradient' can act"):
        fit(model, tiny(), corrected(model), streams=Streams(0), **extra)


class OwnClosure(SGD):
    """An optimiser that wants the loss twice."""

    closure = "loss"

    def step(self, closure):
        closure()
        value = closure()
        super().step()
        return value


def test_an_optimiser_says_what_it_wants_by_an_attribute():
    model = network()
    twin, seen = copy.deepcopy(model), []
    plan, hooks = Plan(epochs=1, batch_size=10), {"gradient": lambda now: seen.append(now.step)}
    fit(model, tiny(), OwnClosure(model.parameters(), 0.1), plan, streams=Streams(0), hooks=hooks)
    fit(twin, tiny(), SGD(twin.parameters(), 0.1), plan, streams=Streams(0))
    assert seen == [0, 0, 1, 1, 2, 2, 3, 3]
    assert bits(dict(model.state_dict())) == bits(dict(twin.state_dict()))


def test_an_unknown_wish_is_refused():
    model = network()
    optimizer = SGD(model.parameters(), 0.1)
    optimizer.closure = "hessian"
    with pytest.raises(ValueError, match=r"optimizer\.closure = 'hessian'"):
        fit(model, tiny(), optimizer, streams=Streams(0))
