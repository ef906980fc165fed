"""Exactness zoo: every optimiser against its definition, densely."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from sandbox.optim.foof import FOOF
from sandbox.optim.kfac import KFAC
from sandbox.optim.natural import NaturalGradient
from tests.sandbox.optim.dense import (
    NOW,
    TOLERANCES,
    close,
    dense_jacobians,
    draws,
    eye,
    factor,
    fed,
    gauss_newton,
    linear_layers,
    loss_of,
    matrix_of,
    network,
    output_hessians,
    stepped,
)

# ---- K-FAC and the Gauss-Newton block

EXACT = {  # name: widths, samples, activation, likelihood
    "deep-linear": ((4, 5, 2, 3), 7, None, "gaussian"),
    "one-datum": ((4, 5, 2, 3), 1, nn.Tanh, "gaussian"),
    "one-datum-softmax": ((4, 5, 3), 1, nn.Tanh, "categorical"),
}


def exact_case(name, bias, dtype, scaling, **settings):
    widths, samples, activation, likelihood = EXACT[name]
    model = network(widths, bias, activation, dtype)
    inputs = draws("inputs", samples, widths[0], dtype=dtype)
    optimizer = KFAC(
        model,
        1.0,
        0.1,
        **({"rule": "standard", "fisher": "exact"} | settings | NOW),
        likelihood=likelihood,
        scaling=scaling,
    )
    probes = fed(model, optimizer, inputs, likelihood)
    hessians = output_hessians(likelihood, model, inputs)
    return model, inputs, optimizer, probes, hessians


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("scaling", ["mean", "paper"])
@pytest.mark.parametrize("bias", [False, True], ids=["no-bias", "bias"])
@pytest.mark.parametrize("name", EXACT)
def test_kfac_is_the_gauss_newton_block(name, bias, scaling, dtype):
    model, inputs, optimizer, probes, hessians = exact_case(name, bias, dtype, scaling)
    times = len(inputs) if scaling == "paper" else 1  # the public code sums A over the batch
    rows, columns = (
        {
            layer: times * gauss_newton(jacobian, hessians)
            for layer, jacobian in dense_jacobians(model, inputs, order).items()
        }
        for order in "CF"
    )
    steps = stepped(model, optimizer)
    for layer, block in rows.items():
        A = factor(optimizer, layer, "input").double()
        E = factor(optimizer, layer, "output").double()
        close(torch.kron(E, A), block, TOLERANCES[dtype])
        close(torch.kron(A, E), columns[layer], TOLERANCES[dtype])
        damped = block + 0.1 * eye(block)
        wanted = torch.linalg.solve(damped, probes[layer].flatten()).view_as(probes[layer])
        # weights of size 1 in float32 hide a step's last digits
        close(-steps[layer], wanted, TOLERANCES[dtype])


def test_kfac_is_not_the_gauss_newton_block_of_several_samples():
    # inputs and slopes of a tanh network are not independent: the reference can tell
    model = network((4, 5, 3), True, nn.Tanh)
    inputs = draws("inputs", 7, 4)
    optimizer = KFAC(model, 1.0, 0.1, fisher="exact", likelihood="gaussian", **NOW)
    fed(model, optimizer, inputs)
    block = gauss_newton(
        dense_jacobians(model, inputs)["0"], output_hessians("gaussian", model, inputs)
    )
    optimizer.step()
    guess = torch.kron(factor(optimizer, "0", "output"), factor(optimizer, "0", "input"))
    assert (guess - block).abs().max() > 0.01 * block.abs().max()


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("bias", [False, True], ids=["no-bias", "bias"])
def test_heuristic_damping_is_a_product_of_damped_factors(bias, dtype):
    model, inputs, optimizer, probes, _ = exact_case(
        "deep-linear", bias, dtype, "mean", rule="heuristic"
    )
    steps = stepped(model, optimizer)
    for layer, probe in probes.items():
        A = factor(optimizer, layer, "input").double()
        E = factor(optimizer, layer, "output").double()
        ratio = math.sqrt(float(A.trace() / len(A)) / float(E.trace() / len(E)))
        A = A + math.sqrt(0.1) * ratio * eye(A)
        E = E + math.sqrt(0.1) / ratio * eye(E)
        wanted = torch.linalg.solve(torch.kron(E, A), probe.flatten()).view_as(probe)
        close(-steps[layer], wanted, TOLERANCES[dtype])


@pytest.mark.parametrize("bias", [False, True], ids=["no-bias", "bias"])
def test_empirical_factors_are_those_of_the_true_labels(bias):
    model = network((4, 5, 3), bias, nn.Tanh)
    inputs, targets = draws("inputs", 6, 4), draws("targets", 6, 3)
    optimizer = KFAC(model, 0.0, 0.1, fisher="empirical", likelihood="gaussian", **NOW)
    loss_of("gaussian", model(inputs), targets).backward()
    optimizer.step()
    hidden = torch.tanh(model[0](inputs)).detach()
    above = model[2](hidden).detach() - targets
    below = (above @ model[2].weight.detach()) * (1 - hidden**2)
    for layer, rows, slopes in (("0", inputs, below), ("2", hidden, above)):
        given = torch.cat([rows, torch.ones(6, 1).double()], dim=1) if bias else rows
        close(factor(optimizer, layer, "input"), given.T @ given / 6, 1e-12)
        close(factor(optimizer, layer, "output"), slopes.T @ slopes / 6, 1e-12)


# ---- gradient descent on neurons


def layer_inputs(model, inputs, bias):
    """What every linear layer is fed, with a 1 for the bias."""
    found, now = {}, inputs
    for name, part in model.named_children():
        if isinstance(part, nn.Linear):
            one = torch.ones(len(now), 1, dtype=now.dtype)
            found[name] = (torch.cat([now, one], dim=1) if bias else now).detach().double()
        now = part(now)
    return found


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("side", ["gradient", "activation"])
@pytest.mark.parametrize("power", [0.5, 1.0])
@pytest.mark.parametrize("scaling", ["mean", "paper"])
@pytest.mark.parametrize("bias", [False, True], ids=["no-bias", "bias"])
def test_foof_is_its_definition(bias, scaling, power, side, dtype):
    model = network((4, 5, 3), bias, nn.Tanh, dtype)
    inputs, targets = draws("inputs", 7, 4, dtype=dtype), draws("targets", 7, 3, dtype=dtype)
    optimizer = FOOF(model, 1.0, 0.3, power=power, scaling=scaling, side=side, **NOW)
    plain = network((4, 5, 3), bias, nn.Tanh)
    loss_of("gaussian", plain(inputs.double()), targets.double()).backward()
    loss_of("gaussian", model(inputs), targets).backward()
    rows = layer_inputs(plain, inputs.double(), bias)
    for name, step in stepped(model, optimizer).items():
        gradient = matrix_of(linear_layers(plain)[name], "grad")
        A = rows[name].T @ rows[name] / (7 if scaling == "mean" else 1)
        # row-major: 1 (x) (A + damping); column-major: (A + damping) (x) 1
        values, vectors = np.linalg.eigh((A + 0.3 * eye(A)).numpy())
        inverse = torch.from_numpy((vectors * values**-power) @ vectors.T)
        outs = eye(gradient)
        wanted = (torch.kron(outs, inverse) @ gradient.flatten()).view_as(gradient)
        other = (torch.kron(inverse, outs) @ gradient.T.flatten()).view_as(gradient.T).T
        close(other, wanted, 1e-13)
        close(-step, wanted, TOLERANCES[dtype])


def test_foof_moves_the_outputs_along_their_gradient():
    # ridge regression of the layer's output gradients on its inputs, by least squares
    model = network((4, 3), False)
    inputs, targets = draws("inputs", 7, 4), draws("targets", 7, 3)
    optimizer = FOOF(model, 1.0, 0.3, scaling="paper", **NOW)
    loss_of("gaussian", model(inputs), targets).backward()
    wished = (targets - model(inputs)).detach() / 7
    design = torch.cat([inputs, math.sqrt(0.3) * eye(inputs.T)])
    goal = torch.cat([wished, torch.zeros(4, 3).double()])
    (step,) = stepped(model, optimizer).values()
    close(step.T, torch.linalg.lstsq(design, goal).solution, 1e-12)


@pytest.mark.parametrize("sharing", ["expand", "reduce"])
def test_foof_of_a_convolution_is_that_of_its_patches(sharing):
    conv = nn.Conv2d(2, 3, (2, 3), stride=(1, 2), padding=1, dtype=torch.float64)
    inputs = draws("images", 4, 2, 5, 4)
    optimizer = FOOF(nn.Sequential(conv), 1.0, 0.3, sharing=sharing, **NOW)
    conv(inputs)  # not through the model the optimiser knows, but through the same layer
    optimizer.reset()
    outputs = conv(inputs)
    (draws("cotangent", *outputs.shape) * outputs).sum().backward()
    padded = np.zeros((4, 2, 7, 6))
    padded[:, :, 1:-1, 1:-1] = inputs.numpy()
    patches = np.array([
        [
            np.append(image[:, y : y + 2, x : x + 3].ravel(), 1.0)
            for y in range(outputs.shape[2])
            for x in range(0, 2 * outputs.shape[3], 2)
        ]
        for image in padded
    ])
    rows = patches.mean(axis=1) if sharing == "reduce" else patches.reshape(-1, 13)
    A = rows.T @ rows / 4
    gradient = np.hstack([conv.weight.grad.reshape(3, 12).numpy(), conv.bias.grad[:, None].numpy()])
    before = [p.detach().clone() for p in conv.parameters()]
    optimizer.step()
    weight, bias = (p.detach() - b for p, b in zip(conv.parameters(), before, strict=True))
    wanted = -gradient @ np.linalg.inv(A + 0.3 * np.eye(13))
    assert_allclose(weight.reshape(3, 12).numpy(), wanted[:, :12], rtol=0, atol=1e-12)
    assert_allclose(bias.numpy(), wanted[:, 12], rtol=0, atol=1e-12)


# ---- natural gradient


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("bias", [False, True], ids=["no-bias", "bias"])
@pytest.mark.parametrize("samples", [2, 40], ids=["few", "many"])
@pytest.mark.parametrize("blocks", ["full", "layer"])
@pytest.mark.parametrize("likelihood", ["gaussian", "categorical"])
def test_natural_gradient_is_the_dense_solve(likelihood, blocks, samples, bias, dtype):
    model = network((4, 5, 3), bias, nn.Tanh, dtype)
    inputs = draws("inputs", 6, 4, dtype=dtype)
    seen = draws("independent", samples, 4, dtype=dtype)
    damping = 0.1
    optimizer = NaturalGradient(
        model, 1.0, damping, fisher="full", blocks=blocks, likelihood=likelihood
    )
    optimizer.observe(seen)
    probes = fed(model, optimizer, inputs, likelihood)
    hessians = output_hessians(likelihood, model, seen)
    found = stepped(model, optimizer)
    jacobians = dense_jacobians(network((4, 5, 3), bias, nn.Tanh, dtype), seen)
    groups = [list(jacobians)] if blocks == "full" else [[name] for name in jacobians]
    for names in groups:
        F = gauss_newton(torch.cat([jacobians[name] for name in names], dim=2), hessians)
        flat_probe = torch.cat([probes[name].flatten() for name in names])
        solved = torch.linalg.solve(F + damping * eye(F), flat_probe)
        wanted = torch.split(solved, [probes[name].numel() for name in names])
        for name, part in zip(names, wanted, strict=True):
            close(-found[name], part.view_as(probes[name]), TOLERANCES[dtype])


def test_the_sampled_fisher_matrix_is_unbiased():
    # where the damping is far above F, the step is -g + F g / damping, linear in F
    model = network((3, 3), False)
    seen, damping, draws_of = draws("independent", 2, 3), 1e5, 256
    start = model[0].weight.detach().clone()
    F = gauss_newton(dense_jacobians(model, seen)["0"], output_hessians("categorical", model, seen))
    optimizer = NaturalGradient(model, damping, damping)
    gradient = fed(model, optimizer, seen, "categorical")["0"].flatten()
    found = []
    for _ in range(draws_of):
        optimizer.observe(seen)
        step = stepped(model, optimizer)["0"].flatten()
        found.append(damping * (step + gradient))
        model[0].weight.data.copy_(start)
    values = torch.stack(found)
    error = (values.mean(dim=0) - F @ gradient) / (values.std(dim=0) / draws_of**0.5)
    # nine z values: |z| > 4.4 anywhere has a probability below 1e-4, by Bonferroni
    assert 0 < float(error.abs().max()) < 4.4


@pytest.mark.parametrize("tolerance", TOLERANCES.values())
def test_one_per_cent_off_fails(tolerance):
    block = draws("block", 4, 3)
    close(block, block, tolerance)
    with pytest.raises(AssertionError):
        close(1.01 * block, block, tolerance)
