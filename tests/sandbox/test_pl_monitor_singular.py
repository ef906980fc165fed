"""Singular tangent kernels under the PL* monitor carry their reason."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from tests.sandbox.pl_problems import descend, network, samples


@pytest.mark.bad_input
def test_equal_inputs_with_different_targets():
    inputs, targets = samples()
    inputs[4] = inputs[1]
    targets[1], targets[4] = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    model = network((4, 60, 2))
    monitor = descend(model, inputs, targets, 0.012, 600, every=150)
    verdict = monitor.verdict()
    assert verdict.word == "broken"
    assert verdict.mu == 0.0
    assert "K is singular at step 0" in verdict.reasons[0]
    assert "inputs 1 and 4 are equal and their targets differ" in verdict.reasons[0]
    # |y_1 - y_4|^2 / 4 = 1/2, and training comes to it and no further
    assert "so that L >= 0.5 for all parameters" in verdict.reasons[0]
    assert 0.5 <= monitor.trace.column("loss")[-1] < 0.6
    assert monitor.radii()["descent"] == math.inf
    assert (monitor.trace.column("bound") == monitor.trace.column("loss")[0]).all()


@pytest.mark.bad_input
def test_equal_inputs_with_equal_targets():
    inputs, targets = samples()
    inputs[4], targets[4] = inputs[1], targets[1]
    (reason,) = descend(network(), inputs, targets, 0.01, 1).verdict().reasons
    assert "inputs 1 and 4 are equal, and so are their targets: leave one out" in reason


@pytest.mark.bad_input
def test_fewer_parameters_than_equations():
    inputs, targets = samples(20)
    (reason,) = descend(network((4, 3, 2)), inputs, targets, 0.001, 1).verdict().reasons
    assert "fewer parameters (23) than equations (40)" in reason


@pytest.mark.bad_input
@pytest.mark.parametrize("bias", [False, True])
def test_dead_units(bias):
    # inputs in the positive quadrant but two, weights positive: those two switch every unit off
    inputs, targets = samples(4, outputs=1)
    inputs = inputs.abs()
    inputs[[1, 3]] *= -1
    model = network((4, 30, 1), nn.ReLU, bias=False)
    with torch.no_grad():
        model[0].weight.abs_()
        if bias:
            model[2].bias = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    (reason,) = descend(model, inputs, targets, 1e-3, 1).verdict().reasons
    assert (
        "output 0 of sample 1 and output 0 of sample 3 have parallel gradients"
        if bias
        else "output 0 of sample 1 has no gradient in any parameter, as 1 more: its units are dead"
    ) in reason


@pytest.mark.bad_input
def test_dependent_gradients_name_their_leaders():
    # x_2 = x_0 + x_1 and a linear network: no pair is parallel, three gradients are dependent
    inputs, targets = samples(3, outputs=1)
    inputs[2] = inputs[0] + inputs[1]
    model = network((4, 5, 1), nn.Identity, bias=False)
    (reason,) = descend(model, inputs, targets, 1e-3, 1).verdict().reasons
    assert "gradients are linearly dependent, led by output 0 of sample" in reason


def test_it_need_not_be_singular_at_the_start():
    # f = w1 w2 from (1, 1) with y = -1 runs into the singular point and stays there
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)).double()
    for layer in model:
        nn.init.ones_(layer.weight)
    one = torch.ones(1, 1, dtype=torch.float64)
    monitor = descend(model, one, -one, 0.1, 300, every=10)
    (reason,) = monitor.verdict().reasons
    assert "K is singular at step" in reason
    assert "at step 0" not in reason
    assert monitor.trace.column("loss")[-1] == pytest.approx(0.5, rel=1e-12)


def test_a_run_that_diverges_is_broken():
    inputs, targets = samples()
    monitor = descend(network(activation=nn.ReLU), inputs, targets, 10.0, 30)
    verdict = monitor.verdict()
    assert verdict.word == "broken"
    assert any("the loss is not finite at step" in reason for reason in verdict.reasons)
    assert np.isnan(monitor.trace.column("lambda_min")[-1])
    assert np.isfinite([verdict.mu, verdict.lipschitz]).all()


def test_a_solution_has_no_ratio():
    model, (inputs, _) = network(), samples()
    monitor = descend(model, inputs, model(inputs).detach(), 0.01, 1)
    assert np.isnan(monitor.trace.column("pl_ratio")).all()
    assert monitor.verdict().word == "held"
    assert monitor.radii()["theorem"] == 0.0
