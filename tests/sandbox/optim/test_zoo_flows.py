"""Exactness zoo: on deep linear networks, all optimisers follow the flows of the theory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp
from small_networks import chain, flat, mild_network, unflat

from deeplinear.flow import matrix_flow
from deeplinear.rules import CurvatureCorrection, matrix_velocity, partial_products
from sandbox.optim import CurvatureCorrected
from sandbox.optim.foof import FOOF
from sandbox.optim.kfac import KFAC
from sandbox.optim.natural import NaturalGradient
from sandbox.training.models import deep_linear
from tests.sandbox.optim.dense import (
    NOW,
    STREAMS,
    loss_of,
)

DAMPING = 0.2
MIX = np.array([[1.3, 0.4, -0.2], [0.1, 0.8, 0.3], [-0.5, 0.2, 1.1]])
START, TARGET = mild_network(3, (3, 4, 3, 2))
TIME = 0.5
COUNTS = (16, 32, 64, 128)


def deep_task():
    """Inputs with a covariance of their own, and targets without noise."""
    inputs = STREAMS.generator("flow").normal(size=(12, 3)) @ MIX.T
    return inputs, inputs @ TARGET.T, inputs.T @ inputs / 12


def layer_curvature(damping):
    return CurvatureCorrection(1.0, "layer", damping=damping, scale=1.0)


FOLLOWERS = {
    "foof": lambda m, lr: FOOF(m, lr, DAMPING, **NOW),
    # factors are those of the last batches, which differ from today's by O(lr)
    "foof-scheduled": lambda m, lr: FOOF(m, lr, DAMPING, T=2, S=2, decay=0.3),
    "kfac-standard": lambda m, lr: KFAC(
        m, lr, DAMPING, rule="standard", fisher="exact", likelihood="gaussian", **NOW
    ),
    "kfac-heuristic": lambda m, lr: KFAC(
        m, lr, DAMPING, fisher="exact", likelihood="gaussian", **NOW
    ),
    "kfac-one-factor": lambda m, lr: KFAC(
        m, lr, DAMPING, fisher="exact", likelihood="gaussian", output_factor=False, **NOW
    ),
    "natural": lambda m, lr: NaturalGradient(m, lr, DAMPING, fisher="full", likelihood="gaussian"),
    "natural-layer": lambda m, lr: NaturalGradient(
        m, lr, DAMPING, fisher="full", blocks="layer", likelihood="gaussian"
    ),
    "curvature-layer": lambda m, lr: CurvatureCorrected(
        m.parameters(), layer_curvature(DAMPING), lr
    ),
    "curvature-root": lambda m, lr: CurvatureCorrected(
        m.parameters(), CurvatureCorrection(0.5, damping=DAMPING), lr
    ),
}
RULES = {  # those whose flow deeplinear integrates
    "kfac-standard": layer_curvature(DAMPING),
    "natural": CurvatureCorrection(1.0, damping=DAMPING),
    "natural-layer": layer_curvature(DAMPING),
    "curvature-layer": layer_curvature(DAMPING),
    "curvature-root": CurvatureCorrection(0.5, damping=DAMPING),
}


def power_of(matrix, power):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**power) @ vectors.T


def factored_velocity(name, weights, covariance):
    """dW/dt of the rules that deeplinear does not have: gradient and factors by hand."""
    after, before = partial_products(weights)
    error = chain(weights) - TARGET
    found = []
    for a, b in zip(after, before, strict=True):
        gradient, A, E = a.T @ error @ covariance @ b.T, b @ covariance @ b.T, a.T @ a
        ratio = math.sqrt((np.trace(A) / len(A)) / (np.trace(E) / len(E)))
        shares = (DAMPING, 1.0)
        if name.startswith("kfac"):
            shares = (math.sqrt(DAMPING) * ratio, math.sqrt(DAMPING) / ratio)
        power = -0.5 if name.endswith("half") else -1.0
        right = power_of(A + shares[0] * np.eye(len(A)), power)
        left = np.eye(len(E)) / shares[1]
        if name == "kfac-heuristic":
            left = power_of(E + shares[1] * np.eye(len(E)), power)
        found.append(-left @ gradient @ right)
    return found


def flow_of(name, times, covariance):
    """Weights at some times, one array a layer."""
    if name in RULES:
        return matrix_flow(
            RULES[name], START, TARGET, times, input_covariance=covariance, rtol=1e-11
        )
    shapes = [w.shape for w in START]
    solved = solve_ivp(
        lambda _, y: flat(factored_velocity(name, unflat(y, shapes), covariance)),
        (0, times[-1]),
        flat(START),
        method="DOP853",
        t_eval=times,
        rtol=1e-11,
        atol=1e-13,
    )
    return [np.stack(w) for w in zip(*(unflat(y, shapes) for y in solved.y.T), strict=True)]


def descend(name, start, rate, count, inputs, targets, marks):
    """Weights after each of the marked numbers of full-batch steps."""
    model = deep_linear(start)
    optimizer = FOLLOWERS[name](model, rate)
    seen, wanted = torch.from_numpy(inputs), torch.from_numpy(targets)
    path = []
    for done in range(1, count + 1):
        if getattr(optimizer, "closure", "none") == "outputs":
            optimizer.step(lambda: (model(seen), wanted))
        else:
            optimizer.zero_grad()
            loss_of("gaussian", model(seen), wanted).backward()
            optimizer.step()
        if done in marks:
            path.append([layer.weight.detach().numpy().copy() for layer in model])
    return path


def order_of(gaps, counts=COUNTS):
    return -np.polyfit(np.log(counts), np.log(gaps), 1)[0]


@pytest.mark.parametrize("name", sorted(FOLLOWERS.keys() - {"curvature-layer"}))
def test_small_steps_follow_the_flow_to_first_order(name):
    inputs, targets, covariance = deep_task()
    times = TIME * np.arange(1, 5) / 4
    reference = flow_of(name.removesuffix("-scheduled"), times, covariance)
    wanted = np.concatenate([w.reshape(4, -1) for w in reference], axis=1)
    gaps = []
    for count in COUNTS:
        marks = {count // 4 * k for k in range(1, 5)}
        path = descend(name, START, TIME / count, count, inputs, targets, marks)
        found = np.stack([flat(weights) for weights in path])
        gaps.append(np.abs(found - wanted).max())
    moved = np.abs(wanted - flat(START)).max()
    assert gaps[-1] < 0.1 * moved
    assert abs(order_of(gaps) - 1) < 0.1, gaps


@pytest.mark.parametrize("name", ["kfac-standard", "natural-layer", "curvature-layer"])
def test_three_optimisers_are_one_rule_on_deep_linear_networks(name):
    inputs, targets, covariance = deep_task()
    (after,) = descend(name, START, 1.0, 1, inputs, targets, {1})
    root = power_of(covariance, 0.5)
    velocity = matrix_velocity(layer_curvature(DAMPING), START, TARGET, root)
    for weight, start, wanted in zip(after, START, velocity, strict=True):
        assert_allclose(weight - start, wanted, rtol=0, atol=1e-10 * np.abs(wanted).max())


def test_in_one_layer_all_of_them_are_the_same():
    # the outputs' own curvature is 1, so that FOOF with damping d is the natural gradient with d
    inputs, targets, _ = deep_task()
    start = [STREAMS.generator("one").normal(size=(2, 3))]
    names = ("foof", "kfac-standard", "natural", "natural-layer", "curvature-layer")
    found = [descend(name, start, 0.7, 3, inputs, targets, {3})[0][0] for name in names]
    for other in found[1:]:
        assert_allclose(other, found[0], rtol=0, atol=1e-12)
    assert np.abs(found[0] - start[0]).max() > 0.1


def test_undamped_foof_moves_the_map_free_of_the_inputs_covariance():
    # d(map)/dt = -(sum_i A_i A_i') (map - target), from the weights' velocities
    start, target = mild_network(5, (3, 3, 3, 2))
    after, before = partial_products(start)
    error = chain(start) - target
    for covariance in (np.eye(3), MIX @ MIX.T):
        velocity = [
            -a.T @ error @ covariance @ b.T @ np.linalg.inv(b @ covariance @ b.T)
            for a, b in zip(after, before, strict=True)
        ]
        moved = sum(a @ v @ b for a, v, b in zip(after, velocity, before, strict=True))
        wanted = -sum(a @ a.T for a in after) @ error
        assert_allclose(moved, wanted, rtol=0, atol=1e-12)


def test_undamped_foof_conserves_its_own_invariant_to_first_order():
    # one unit a layer: w_{k+1} dw_{k+1} = dw_k / w_k, so w_{k+1}^2 / 2 - log|w_k| stays; the
    # damping of 1e-12 stands for none
    start = [np.array([[w]]) for w in (0.7, 0.9, 0.5)]
    inputs = torch.tensor([[1.0], [-2.0], [0.5]]).double()

    def invariants(weights):
        w = [matrix.item() for matrix in weights]
        return np.array([w[1] ** 2 / 2 - math.log(w[0]), w[2] ** 2 / 2 - math.log(w[1])])

    drifts = []
    for count in COUNTS:
        model = deep_linear(start)
        optimizer = FOOF(model, 1.0 / count, 1e-12, **NOW)
        for _ in range(count):
            optimizer.zero_grad()
            loss_of("gaussian", model(inputs), 2 * inputs).backward()
            optimizer.step()
        weights = [layer.weight.detach().numpy() for layer in model]
        drifts.append(np.abs(invariants(weights) - invariants(start)).max())
    assert chain(weights).item() > 1.2  # from 0.3 towards 2
    assert abs(order_of(drifts) - 1) < 0.1, drifts
