"""Averages of the weights: their formulas, where they begin, what is measured with them."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_training import bits, network, normalised, pair, tiny
from torch import nn
from torch.optim import SGD

from sandbox.training.averaging import WeightAverage
from sandbox.training.loop import fit
from sandbox.training.objective import Batch, evaluate, loss_function
from sandbox.training.plan import Plan
from theory.streams import Streams


def scalar(value=0.0):
    layer = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(layer.weight, value)
    return layer


@given(
    weights=st.lists(st.floats(-10, 10), min_size=1, max_size=12),
    start=st.floats(0, 0.99),
    decay=st.floats(0, 0.99),
    kind=st.sampled_from(["tail", "exponential"]),
)
def test_an_average_is_its_formula(weights, start, decay, kind):
    layer, steps = scalar(), len(weights)
    average = WeightAverage(layer, kind, decay=decay, start=start)
    for step, weight in enumerate(weights, start=1):
        nn.init.constant_(layer.weight, weight)
        average.update(layer, step / steps)
    counted = [w for step, w in enumerate(weights, start=1) if step / steps > start]
    assert average.count == len(counted) >= 1
    if kind == "tail":
        expected = math.fsum(counted) / len(counted)
    else:
        shares = [decay ** (len(counted) - 1)]
        shares += [(1 - decay) * decay ** (len(counted) - 1 - k) for k in range(1, len(counted))]
        expected = math.fsum(share * w for share, w in zip(shares, counted, strict=True))
    # rounding of at most 12 steps of numbers up to 10
    assert average.model.weight.item() == pytest.approx(expected, abs=1e-13)


def test_begin_forgets():
    layer = scalar(1.0)
    for kind in ("tail", "exponential"):
        average = WeightAverage(layer, kind, start=0.0)
        nn.init.constant_(layer.weight, 3.0)
        average.update(layer, 0.5)
        average.begin()
        assert average.count == 0
        nn.init.constant_(layer.weight, 7.0)
        average.update(layer, 0.5)
        assert (average.count, average.model.weight.item()) == (1, 7.0)


@pytest.mark.parametrize("kind", ["tail", "exponential"])
@pytest.mark.parametrize("scenario", ["task", "class"])
def test_the_loop_averages_the_weights_after_every_step_of_a_task(kind, scenario):
    model, seen = network(), {0: [], 1: []}
    average = WeightAverage(model, kind, decay=0.75, start=0.25)
    begun = copy.deepcopy(dict(model.state_dict()))

    def note(now):
        weight = now.model[0].weight.detach().double().clone()
        seen[now.task].append(weight)

    def judge(now):
        steps = len(seen[now.task])
        assert steps == 12  # 4 batches an epoch, 3 epochs
        if kind == "tail":
            expected = torch.stack(seen[now.task][3:]).mean(dim=0)
        else:
            expected = seen[now.task][3]
            for weight in seen[now.task][4:]:
                expected = 0.75 * expected + 0.25 * weight
        # float32 averages of 9 numbers below 2
        np.testing.assert_allclose(average.model[0].weight, expected, atol=2e-6)
        assert average.count == 9

    plan = Plan(epochs=3, batch_size=5)
    stream = pair(scenario)
    history = fit(
        model, stream, SGD(model.parameters(), 0.2), plan, streams=Streams(0), average=average,
        hooks={"step": note, "task-end": judge},
    )  # fmt: skip
    # 4 of 12 steps are done after the first epoch: 1 step beyond the start
    found = {name: history.column(name, task=0) for name in ("step", "task", "averaged_loss")}
    assert np.isnan(found["averaged_loss"]).tolist() == (found["step"] == 0).tolist()
    outputs = stream.tasks[1].outputs
    batch = Batch.of(
        stream.tasks[1].samples("test"), "cross-entropy", dtype=torch.float32,
        device=torch.device("cpu"),
    )  # fmt: skip
    wanted = evaluate(average.model, batch, loss_function("cross-entropy"), outputs)
    assert history.final["averaged_loss"] == wanted.loss
    assert history.final["averaged_accuracy"] == wanted.accuracy
    assert history.final["averaged_loss"] != history.final["test_loss"]
    assert begun.keys() == average.model.state_dict().keys()
    assert not average.model.training


@pytest.mark.parametrize("make", [network, normalised, lambda: network(dropout=0.5)])
def test_averaging_changes_nothing_of_the_training(make):
    found = []
    for kind in (None, "tail", "exponential"):
        model = make()
        average = None if kind is None else WeightAverage(model, kind)
        history = fit(
            model, tiny(), SGD(model.parameters(), 0.1), Plan(epochs=3, batch_size=10),
            streams=Streams(0), average=average,
        )  # fmt: skip
        rows = [
            {k: v for k, v in row.items() if k != "seconds" and "averaged" not in k}
            for row in history.rows
        ]
        found.append(bits([rows, dict(model.state_dict())]))
    assert found[0] == found[1] == found[2]


def test_statistics_are_those_of_the_averaged_weights():
    model = normalised()
    model[2].p = 0.0
    average = WeightAverage(model, "tail", start=0.0)
    plan = Plan(epochs=2, batch_size=None)
    fit(model, tiny(), SGD(model.parameters(), 0.5), plan, streams=Streams(0), average=average)
    inputs = torch.tensor(tiny().train.inputs, dtype=torch.float32)
    with torch.no_grad():
        hidden = average.model[0](inputs)
    found = average.model[1]
    np.testing.assert_allclose(found.running_mean, hidden.mean(dim=0), atol=1e-6)
    np.testing.assert_allclose(found.running_var, hidden.var(dim=0), rtol=1e-5)
    assert not torch.allclose(found.running_mean, model[1].running_mean)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "uniform"}, "kind = 'uniform': must be one of 'exponential', 'tail'"),
        ({"decay": 1.0}, "decay = 1.0: "),
        ({"decay": math.nan}, "decay = nan: "),
        ({"start": 1.0}, "start = 1.0: "),
        ({"start": -0.1}, "start = -0.1: "),
    ],
)
def test_numbers_that_make_no_average_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        WeightAverage(scalar(), **options)


@pytest.mark.bad_input
def test_what_cannot_be_averaged_is_refused():
    with pytest.raises(ValueError, match="model = 3: must be"):
        WeightAverage(3)
    with pytest.raises(ValueError, match=r"'weight' of torch.bfloat16: an average would"):
        WeightAverage(nn.Linear(2, 2).bfloat16())
    model = network()
    options = {"streams": Streams(0), "plan": Plan(epochs=1)}
    optimizer = SGD(model.parameters(), 0.1)
    with pytest.raises(ValueError, match="average = 'tail': must be a WeightAverage"):
        fit(model, tiny(), optimizer, average="tail", **options)
    for other in (network(outputs=3), network(dtype=torch.float64)):
        with pytest.raises(ValueError, match="average: was made for a network with other"):
            fit(model, tiny(), optimizer, average=WeightAverage(other), **options)
    mine = {"average": WeightAverage(model)}
    with pytest.raises(ValueError, match=r"stateful\['average'\]: this name is the average's"):
        fit(model, tiny(), optimizer, average=WeightAverage(model), stateful=mine, **options)
