"""Exactness zoo: what steps do not depend on, and what damping without bound leaves of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from deeplinear.rules import CurvatureCorrection
from sandbox.optim import CurvatureCorrected
from sandbox.optim.foof import FOOF
from sandbox.optim.kfac import KFAC
from sandbox.optim.natural import NaturalGradient
from tests.sandbox.optim.dense import (
    NOW,
    draws,
    linear_layers,
    loss_of,
    matrix_of,
    network,
)

# ---- invariance

MIX = np.array([[1.3, 0.4, -0.2], [0.1, 0.8, 0.3], [-0.5, 0.2, 1.1]])


def invariant(kind, model, damping):
    if kind == "natural":
        return NaturalGradient(model, 0.3, damping, fisher="full", likelihood="gaussian")
    if kind == "foof":
        return FOOF(model, 0.3, damping, **NOW)
    rule = "standard" if kind == "kfac-standard" else "heuristic"
    return KFAC(model, 0.3, damping, rule=rule, fisher="exact", likelihood="gaussian", **NOW)


@pytest.mark.parametrize("kind", ["natural", "foof", "kfac-standard"])
@pytest.mark.parametrize("bias", [False, True], ids=["no-bias", "bias"])
def test_steps_do_not_depend_on_the_inputs_basis(kind, bias):
    # x -> Mx, W_1 -> W_1 M^-1 is the same function of x; damping 1e-13 stands for none, and
    # the curvature's smallest eigenvalue is above 1e-4
    inputs, targets = draws("invariance", 60, 3), draws("targets", 60, 3)
    mix = torch.from_numpy(MIX)
    outputs = []
    for change in (torch.eye(3).double(), mix):
        model = network((3, 2, 3), bias, nn.Tanh)
        first = model[0].weight
        first.data = first.data @ torch.linalg.inv(change)
        optimizer = invariant(kind, model, 1e-13)
        for _ in range(3):
            optimizer.zero_grad()
            loss_of("gaussian", model(inputs @ change.T), targets).backward()
            if kind == "natural":
                optimizer.observe(inputs @ change.T)
            optimizer.step()
        outputs.append(model(inputs @ change.T).detach())
    start = network((3, 2, 3), bias, nn.Tanh)(inputs).detach()
    assert (outputs[0] - start).abs().max() > 0.1
    assert_allclose(outputs[1].numpy(), outputs[0].numpy(), rtol=0, atol=1e-8)


def test_gradient_descent_does_depend_on_it():
    inputs, targets, mix = draws("invariance", 60, 3), draws("targets", 60, 3), torch.tensor(MIX)
    outputs = []
    for change in (torch.eye(3).double(), mix):
        model = network((3, 2, 3), False, nn.Tanh)
        model[0].weight.data = model[0].weight.data @ torch.linalg.inv(change)
        loss_of("gaussian", model(inputs @ change.T), targets).backward()
        torch.optim.SGD(model.parameters(), 0.3).step()
        outputs.append(model(inputs @ change.T).detach())
    assert (outputs[0] - outputs[1]).abs().max() > 0.01


def test_natural_gradient_does_not_depend_on_the_hidden_units_basis():
    # a deep linear map with W_1 -> M W_1, W_2 -> W_2 M^-1: the curvature is singular along the
    # symmetry, where the gradient vanishes; the function's step is the same to order damping
    inputs, targets = draws("invariance", 60, 3), draws("targets", 60, 3)
    mix, steps = torch.from_numpy(MIX), []
    for change in (torch.eye(3).double(), mix):
        model = network((3, 3, 3), False)
        model[0].weight.data = change @ model[0].weight.data
        model[1].weight.data = model[1].weight.data @ torch.linalg.inv(change)
        before = [layer.weight.detach().clone() for layer in model]
        optimizer = invariant("natural", model, 1e-9)
        loss_of("gaussian", model(inputs), targets).backward()
        optimizer.observe(inputs)
        optimizer.step()
        first, second = (layer.weight.detach() - b for layer, b in zip(model, before, strict=True))
        steps.append(second @ before[0] + before[1] @ first)  # of the map, to first order
    # tangent kernel's smallest eigenvalue ~ 0.1, hence 1e-9 / 0.1
    assert_allclose(steps[1].numpy(), steps[0].numpy(), rtol=0, atol=1e-8)


# ---- infinite damping

LIMITS = {  # optimiser, power of the damping that multiplies the step, order in 1 / damping
    "foof": (lambda m, d: FOOF(m, 1.0, d, **NOW), 1.0, 1.0),
    "foof-half": (lambda m, d: FOOF(m, 1.0, d, power=0.5, **NOW), 0.5, 1.0),
    "kfac-standard": (
        lambda m, d: KFAC(m, 1.0, d, rule="standard", likelihood="gaussian", **NOW),
        1.0,
        1.0,
    ),
    # each factor gets the root of the damping, up to a ratio, hence half the order
    "kfac-heuristic": (lambda m, d: KFAC(m, 1.0, d, likelihood="gaussian", **NOW), 1.0, 0.5),
    "natural": (lambda m, d: NaturalGradient(m, 1.0, d, likelihood="gaussian"), 1.0, 1.0),
    "natural-layer": (
        lambda m, d: NaturalGradient(m, 1.0, d, blocks="layer", likelihood="gaussian"),
        1.0,
        1.0,
    ),
    "curvature": (
        lambda m, d: CurvatureCorrected(m.parameters(), CurvatureCorrection(1.0, damping=d), 1.0),
        1.0,
        1.0,
    ),
    "curvature-half-layer": (
        lambda m, d: CurvatureCorrected(
            m.parameters(), CurvatureCorrection(0.5, "layer", damping=d, scale=1.0), 1.0
        ),
        0.5,
        1.0,
    ),
}


@pytest.mark.parametrize("name", LIMITS)
def test_infinite_damping_leaves_gradient_descent(name):
    make, power, order = LIMITS[name]
    inputs, targets = draws("inputs", 6, 4), draws("targets", 6, 3)
    plain = network((4, 5, 3), True, nn.Tanh)
    loss_of("gaussian", plain(inputs), targets).backward()
    gradient = torch.cat([matrix_of(x, "grad").flatten() for x in linear_layers(plain).values()])
    gaps, dampings = [], [1e4, 1e5, 1e6, 1e7]
    for damping in dampings:
        model = network((4, 5, 3), True, nn.Tanh)
        optimizer = make(model, damping)
        before = {k: matrix_of(x) for k, x in linear_layers(model).items()}
        if getattr(optimizer, "closure", "none") == "outputs":
            optimizer.step(lambda model=model: (model(inputs), targets))
        else:
            for group in optimizer.param_groups:
                group["lr"] = damping**power  # so that the step is not lost in rounding
            loss_of("gaussian", model(inputs), targets).backward()
            optimizer.step()
        after = {k: matrix_of(x) for k, x in linear_layers(model).items()}
        step = torch.cat([(after[k] - before[k]).flatten() for k in after])
        if optimizer.param_groups[0]["lr"] == 1.0:
            step = step * damping**power
        gaps.append(float((step + gradient).norm() / gradient.norm()))
    slope = -np.polyfit(np.log(dampings), np.log(gaps), 1)[0]
    assert abs(slope - order) < 0.1, gaps
