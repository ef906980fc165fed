"""The path between two layers in the claims on descent on neurons."""

import numpy as np
import pytest
import torch

from sandbox.claims.benzing2022neurons._experiments import moved
from sandbox.claims.benzing2022neurons._path import along_output, directions, factors, path
from sandbox.claims.benzing2022neurons.factors import two_layers
from sandbox.optim.kfac import KFAC
from theory.preconditioning import kronecker_step, neuron_step, split_damping


@pytest.fixture
def layer():
    generator = np.random.default_rng(2)
    rows, slopes = generator.normal(size=(30, 5)), generator.normal(size=(30, 4))
    parts = generator.normal(size=(4, 5)), rows.T @ rows / 30, slopes.T @ slopes / 30
    return parts, [torch.tensor(part) for part in parts]


def test_directions_are_those_of_the_theory(layer):
    (gradient, inputs, outputs), tensors = layer
    heuristic, standard, foof = directions(("heuristic", "standard", "foof"), *tensors, 0.3)
    for rule, found in (("heuristic", heuristic), ("standard", standard)):
        expected = kronecker_step(gradient, inputs, outputs, 0.3, rule=rule)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10, atol=1e-12)
    over_inputs, over_outputs = split_damping(inputs, outputs, 0.3)
    expected = neuron_step(gradient, inputs, over_inputs) / over_outputs
    np.testing.assert_allclose(foof.numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rule", ["heuristic", "standard", "standard-published"])
def test_directions_are_those_of_the_optimiser(rule):
    model, inputs, labels, _ = two_layers(np.random.default_rng(1))
    optimiser = KFAC(model, 1.0, 0.02, rule=rule, fisher="exact")
    torch.nn.functional.cross_entropy(model(inputs), labels).backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    steps = moved(model, optimiser)
    for step, gradient, pair in zip(steps, gradients, factors(optimiser), strict=True):
        (found,) = directions((rule,), gradient, *pair, 0.02)
        np.testing.assert_allclose(found.numpy(), step, rtol=1e-9, atol=1e-11)


def test_factors_by_hand_are_those_that_autograd_gives():
    model, inputs, labels, layers = two_layers(np.random.default_rng(1))
    optimiser = KFAC(model, 0.0, 1.0, fisher="exact")
    torch.nn.functional.cross_entropy(model(inputs), labels).backward()
    optimiser.step()
    for p, pair, (gradient, *both) in zip(
        model.parameters(), factors(optimiser), layers, strict=True
    ):
        np.testing.assert_allclose(p.grad.numpy(), gradient, rtol=1e-10, atol=1e-13)
        for found, expected in zip(pair, both, strict=True):
            np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10, atol=1e-13)


def test_inner_product_is_that_of_the_outputs():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    u, v = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64)
    expected = ((rows @ u.T) * (rows @ v.T)).sum().item() / 7
    assert along_output([u], [v], [rows.T @ rows / 7]) == pytest.approx(expected, rel=1e-12)


def test_path_yields_the_points_asked_for():
    item = {"scale": "quick", "seed": 3, "points": 3, "device": "cpu"}
    points = []
    for point in path(item):
        points.append(point.update)
        assert all(gradient.isfinite().all() for gradient in point.gradients)
    assert points == [0, 14, 29]
