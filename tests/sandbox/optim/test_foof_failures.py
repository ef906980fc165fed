"""What FOOF does with numbers that are not finite, failing inverses and bad settings."""

import copy
import logging
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sandbox.optim import FOOF
from tests.sandbox.optim.foof_problems import (
    DOUBLE,
    INPUTS,
    LABELS,
    close,
    descend,
    flat,
    images,
    network,
    tiny,
)


def changed(model, value):
    cross = cross_entropy(model(images()[0]), images()[1])
    cross.backward()
    model[4].weight.grad[0, 0] = value


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_raises_and_changes_nothing(value):
    model = network()
    optimizer = FOOF(model, 0.1, 0.3)
    descend(model, optimizer, 1)
    kept, state = flat(model), copy.deepcopy(optimizer.state_dict())
    optimizer.zero_grad()
    changed(model, value)
    with pytest.raises(RuntimeError, match=r"the gradient of 4\.weight is not finite: nothing was"):
        optimizer.step()
    assert torch.equal(flat(model), kept)
    assert optimizer.steps == state["factors"]["steps"] == 1


def test_or_the_step_is_left_out(caplog):
    model, plain = network(), network()
    optimizer, other = FOOF(model, 0.1, 0.3, T=1, nonfinite="skip"), FOOF(plain, 0.1, 0.3, T=1)
    descend(model, optimizer, 1)
    optimizer.zero_grad()
    changed(model, math.nan)
    with caplog.at_level(logging.WARNING, "sandbox.optim"):
        optimizer.step()
    assert "the step is left out" in caplog.text
    descend(plain, other, 1)
    for i in (5, 6):
        inputs, labels = images(i)
        for net, steps in ((model, optimizer), (plain, other)):
            steps.zero_grad()
            cross_entropy(net(inputs), labels).backward()
            steps.step()
    assert torch.equal(flat(model), flat(plain))


@pytest.mark.parametrize("loss", [math.nan, torch.tensor(math.inf)])
def test_a_loss_that_is_not_finite_counts_too(loss):
    model = tiny()
    optimizer = FOOF(model, 0.1, 0.3)
    model(INPUTS).sum().backward()
    kept = flat(model)
    with pytest.raises(RuntimeError, match="^the loss is not finite: nothing was changed"):
        optimizer.step(lambda: loss)
    assert torch.equal(flat(model), kept)


@pytest.mark.parametrize("known", [True, False])
def test_inputs_that_are_not_finite_are_not_observed(known):
    model = tiny()
    optimizer = FOOF(model, 0.1, 0.3, T=1)
    if known:
        optimizer.observe(INPUTS)
    with pytest.raises(ValueError, match=r"inputs: what layer '0' \(Linear\) makes of them is not"):
        optimizer.observe(INPUTS * math.nan)
    cross_entropy(model(INPUTS), LABELS).backward()
    optimizer.step()
    # either observed and collected, or collected alone: the same moment
    close(optimizer.averages["0"]["input"].value(), INPUTS.T @ INPUTS / 4)


@pytest.mark.parametrize("damping", [0.0, -1e-9, math.nan])
def test_a_damping_may_not_be_set_to_what_no_inverse_has(damping):
    model = network()
    optimizer = FOOF(model, 0.1, 0.3, T=1)
    descend(model, optimizer, 1)
    kept = flat(model)
    optimizer.param_groups[0]["damping"] = damping
    with pytest.raises(ValueError, match=r"damping = .*: must be a finite number in \(0, inf\)"):
        descend(model, optimizer, 1)
    assert torch.equal(flat(model), kept)


def test_inputs_that_are_not_finite_do_not_enter_the_average(caplog):
    model = nn.Linear(3, 2, bias=False).to(DOUBLE)
    optimizer = FOOF(model, 0.1, 0.3, T=1)
    model(INPUTS).sum().backward()
    optimizer.step()
    kept = optimizer.averages[""]["input"].value()
    made = model(INPUTS * math.inf)
    with torch.no_grad():
        model.weight.grad = None
    made.backward(torch.zeros_like(made))
    model.weight.grad = torch.zeros_like(model.weight)
    with caplog.at_level(logging.WARNING, "sandbox.optim"):
        optimizer.step()
    assert "inputs of layers are not finite" in caplog.text
    assert torch.equal(optimizer.averages[""]["input"].value(), kept)


def test_a_layer_whose_inputs_were_not_seen_is_named():
    model = tiny()
    optimizer = FOOF(model, 0.1, 0.3)
    nn.functional.linear(INPUTS, model[0].weight).sum().backward()
    with pytest.raises(RuntimeError, match=r"layer '0' \(Linear\) has a gradient but no input"):
        optimizer.step()


def test_a_covariance_that_cannot_be_factorised_names_its_layer(caplog):
    model = tiny()
    optimizer = FOOF(model, 0.1, 0.3)
    kept = flat(model)
    optimizer._average(optimizer.layers[1], "input").add(-torch.eye(4, dtype=DOUBLE), 1)
    cross_entropy(model(INPUTS), LABELS).backward()
    optimizer._average(optimizer.layers[1], "input").add(-100 * torch.eye(4, dtype=DOUBLE), 1)
    with (
        caplog.at_level(logging.WARNING, "sandbox.optim"),
        pytest.raises(RuntimeError, match=r"layer '2' \(Linear\): its covariance cannot be"),
    ):
        optimizer.step()
    assert len(caplog.records) == 1
    assert torch.equal(flat(model), kept)


def test_a_failed_inverse_is_not_kept():
    model = nn.Linear(3, 2, bias=False).to(DOUBLE)
    optimizer = FOOF(model, 0.1, 0.3, T=1)
    descends = 0
    for moment in (0.0, -100.0):
        model(INPUTS).sum().backward()
        optimizer._average(optimizer.layers[0], "input").add(moment * torch.eye(3), 1)
        if moment:
            with pytest.raises(RuntimeError, match="the model"):
                optimizer.step()
        else:
            optimizer.step()
            descends += 1
    assert optimizer.inverses == {}
    assert descends == 1


@pytest.mark.parametrize("side", ["gradient", "activation"])
def test_a_bad_first_batch_leaves_no_average(side):
    model = nn.Linear(3, 2, bias=False).to(DOUBLE)
    optimizer = FOOF(model, 0.1, 0.3, side=side)
    with pytest.raises(RuntimeError, match="not finite"):
        descends(model, optimizer, INPUTS * math.nan)
    descends(model, optimizer, INPUTS)
    close(optimizer.averages[""]["input"].value(), INPUTS.T @ INPUTS / 4)
    assert model.weight.isfinite().all()


def descends(model, optimizer, inputs):
    optimizer.zero_grad()
    model(inputs).square().mean().backward()
    optimizer.step()


def test_an_empty_batch_is_no_batch():
    model = tiny()
    optimizer = FOOF(model, 0.1, 0.3, T=1)
    cross_entropy(model(INPUTS), LABELS).backward()
    optimizer.step()
    kept, before = optimizer.averages["0"]["input"].value(), flat(model)
    optimizer.zero_grad()
    model(INPUTS[:0]).sum().backward()
    optimizer.step()
    assert torch.equal(optimizer.averages["0"]["input"].value(), kept)
    assert torch.equal(flat(model), before)


def test_a_reused_layer_is_refused_by_name():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, inputs):
            return self.layer(self.layer(inputs))

    model = Twice()
    optimizer = FOOF(model, 0.1, 0.3)
    with pytest.raises(ValueError, match=r"layer 'layer' \(Linear\) is used twice"):
        model(torch.ones(1, 3))
    del optimizer


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lr": -1.0}, r"lr = -1.0: must be a finite number in \[0"),
        ({"damping": 0.0}, r"damping = 0.0: must be a finite number in \(0"),
        ({"damping": -1.0}, "damping = -1.0"),
        ({"damping": math.nan}, "damping = nan"),
        ({"T": 0}, "T = 0: must be a whole number >= 1"),
        ({"S": 0}, "S = 0: must be a whole number >= 1"),
        ({"T": 2, "S": 3}, r"S = 3 > T = 2: .* S must be at most T"),
        ({"decay": 1.0}, r"decay = 1.0: must be a finite number in \[0, 1\)"),
        ({"momentum": 1.0}, "momentum = 1.0"),
        ({"weight_decay": -0.1}, "weight_decay = -0.1"),
        ({"power": 0.0}, "power = 0.0"),
        ({"scaling": "sum"}, "scaling = 'sum': must be one of 'mean', 'paper'"),
        ({"sharing": "both"}, "sharing = 'both'"),
        ({"bias": "none"}, "bias = 'none'"),
        ({"side": "left"}, "side = 'left'"),
        ({"nonfinite": "ignore"}, "nonfinite = 'ignore'"),
        ({"maximize": 1}, "maximize = 1: must be True or False"),
        ({"factor_samples": 0}, "factor_samples = 0"),
        ({"skip": "0"}, r"skip = '0': must be a collection of names, such as \['0'\]"),
        ({"skip": ["nine"]}, "the model has no module 'nine'"),
        ({"fallback": {"momentum": 0.9}}, "must be a mapping with an 'lr'"),
        ({"fallback": {"lr": 0.1, "betas": 0.9}}, "fallback betas = 0.9: must be a pair"),
        ({"fallback": {"lr": 0.1, "optimizer": "lion"}}, "fallback optimizer = 'lion'"),
        ({"fallback": {"lr": 0.1, "maximize": "no"}}, "fallback maximize = 'no': must be True or"),
        ({"model": [nn.Linear(2, 2)]}, "must be a torch.nn.Module"),
        ({"model": nn.LayerNorm(3)}, "has no trained Linear or ungrouped Conv2d layer"),
    ],
)
def test_settings_out_of_range_are_refused(given, message):
    settings = {"model": nn.Sequential(nn.Linear(3, 2)), "lr": 0.1, "damping": 0.3} | given
    with pytest.raises(ValueError, match=message):
        FOOF(**settings)
    if isinstance(settings["model"], nn.Sequential):
        assert not settings["model"][0]._forward_hooks


def test_parameters_without_a_rule_are_named_with_the_remedies():
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Conv2d(2, 2, 1, groups=2))
    with pytest.raises(
        ValueError, match=r"no factor rule for 1\.weight, 1\.bias, 2\.weight"
    ) as why:
        FOOF(model, 0.1, 0.3)
    for remedy in ("fallback={", "requires_grad_(False)", "gradient preconditioner"):
        assert remedy in str(why.value)
    assert not model[0]._forward_hooks


@pytest.mark.bad_input
def test_a_closure_that_is_none_and_foreign_states_are_refused():
    model = tiny()
    optimizer = FOOF(model, 0.1, 0.3)
    with pytest.raises(ValueError, match="closure = 3: must be a function"):
        optimizer.step(3)
    with pytest.raises(ValueError, match="state_dict has no 'factors'"):
        optimizer.load_state_dict(torch.optim.SGD(model.parameters()).state_dict())
    descended = network()
    other = FOOF(descended, 0.1, 0.3)
    descend(descended, other, 1)
    with pytest.raises(ValueError, match=r"factors of a layer '6': the model has no such layer"):
        optimizer.load_state_dict(other.state_dict())
    wide = FOOF(nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).to(DOUBLE), 0.1, 0.3)
    wide.model(torch.ones(1, 5, dtype=DOUBLE)).sum().backward()
    wide.step()
    with pytest.raises(ValueError, match=r"has shape \(5, 5\): must be \(4, 4\)"):
        optimizer.load_state_dict(wide.state_dict())
    incomplete = other.state_dict()
    del incomplete["factors"]["stale"]
    with pytest.raises(ValueError, match="factors have no stale: not a state of factors"):
        other.load_state_dict(incomplete)
    broken = copy.deepcopy(other.state_dict())
    broken["param_groups"][0]["params"].pop()
    kept = other.averages["0"]["input"].value()
    broken["factors"]["steps"], broken["factors"]["averages"]["0"]["input"]["weight"] = 9, 0.5
    with pytest.raises(ValueError, match="parameter group"):
        other.load_state_dict(broken)
    assert other.steps == 1
    assert torch.equal(other.averages["0"]["input"].value(), kept)
    assert optimizer.averages == {}
