"""Shipped models: Jacobians by differences, bounds by search for what would break them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory.tangent_models import DeepLinear, Linear, RandomFeatures, TangentModel, TwoLayer

INPUTS = np.array([[1.0, 0.3], [-0.4, 0.9], [0.2, -1.1]])


def models(seed=0):
    """Return models with parameters at which to look."""
    rng = np.random.default_rng(seed)
    built = [
        Linear(rng.normal(size=(3, 5))),
        RandomFeatures.drawn(INPUTS, 6, rng, "sin"),
        DeepLinear(INPUTS, (2, 3, 2)),
        DeepLinear(INPUTS, (4, 2)),
        DeepLinear([[1.0]], (1, 1, 1)),
        TwoLayer(INPUTS, 5),
        TwoLayer(INPUTS, 4, "erf", "both"),
        TwoLayer(INPUTS, 4, "sin", outer=[1.0, -2.0, 0.5, 1.0]),
    ]
    return [(model, rng.normal(size=model.parameter_count)) for model in built]


@pytest.mark.parametrize("number", range(8))
def test_jacobians_by_central_differences(number):
    model, w = models()[number]
    h = 1e-5
    columns = [(model(w + h * e) - model(w - h * e)) / (2 * h) for e in np.eye(len(w))]
    # truncation h² and rounding eps/h are below 1e-9 for weights of order 1
    assert np.abs(model.jacobian(w) - np.stack(columns, axis=1)).max() < 1e-8
    assert isinstance(model, TangentModel)


def steepest_change(model, w, rng, rounds=12):
    """Return the norm of the second derivative at w as a trilinear form, by ascent."""
    h, best = 1e-4, 0.0
    for _ in range(3):
        direction = rng.normal(size=len(w))
        for _ in range(rounds):
            direction /= np.linalg.norm(direction)
            turn = (model.jacobian(w + h * direction) - model.jacobian(w - h * direction)) / (2 * h)
            left, sizes, right = np.linalg.svd(turn, full_matrices=False)
            best = max(best, sizes[0])
            if sizes[0] < 1e-12:
                break
            e = right[0]
            back = (model.jacobian(w + h * e) - model.jacobian(w - h * e)) / (2 * h)
            direction = left[:, 0] @ back
            if np.linalg.norm(direction) < 1e-12:
                break
    return best


def in_ball(w, radius, rng, model):
    """Return points of a ball: at random, larger weights, and up the norm of the Jacobian."""
    points = [w + radius * w / np.linalg.norm(w), w - radius * w / np.linalg.norm(w)]
    for _ in range(6):
        d = rng.normal(size=len(w))
        points.append(w + radius * rng.uniform() * d / np.linalg.norm(d))
    v = w.copy()
    for _ in range(20):
        left, _, right = np.linalg.svd(model.jacobian(v), full_matrices=False)
        h = 1e-5
        turn = (model.jacobian(v + h * right[0]) - model.jacobian(v - h * right[0])) / (2 * h)
        # d/dv of left' DF(v) right is the second derivative along right
        up = left[:, 0] @ turn
        v = v + 0.3 * radius * up / (np.linalg.norm(up) + 1e-300)
        v = w + (v - w) * min(1.0, radius / np.linalg.norm(v - w)) if np.any(v != w) else v
    return [*points, v]


@pytest.mark.parametrize("radius", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("number", range(8))
def test_no_point_of_the_ball_breaks_the_bounds(number, radius):
    model, w = models(1)[number]
    lipschitz, smoothness = model.bounds(w, radius)
    rng = np.random.default_rng(2)
    for point in in_ball(w, radius, rng, model):
        assert np.linalg.norm(model.jacobian(point), 2) <= lipschitz * (1 + 1e-12)
        assert steepest_change(model, point, rng) <= smoothness * (1 + 1e-6) + 1e-12


@pytest.mark.parametrize("number", range(8))
def test_bounds_grow_with_the_ball(number):
    model, w = models()[number]
    values = np.array([model.bounds(w, R) for R in (0.0, 0.5, 1.0, 4.0)])
    assert (np.diff(values, axis=0) >= 0).all()
    assert values[0, 0] >= np.linalg.norm(model.jacobian(w), 2) * (1 - 1e-12)


def test_bounds_that_are_reached():
    # product model: the Hessian of w1 w2 has norm 1 everywhere
    product = DeepLinear([[1.0]], (1, 1))
    w = np.array([1.5, 0.5])
    assert product.bounds(w, 0.7)[1] == pytest.approx(1.0, rel=1e-14)
    rng = np.random.default_rng(0)
    assert steepest_change(product, w, rng) == pytest.approx(1.0, rel=1e-9)
    # one tanh unit, input 2: |DF| = 2 at the origin; |a''| = 4/(3 sqrt 3) at tanh² = 1/3
    unit = TwoLayer([[2.0]], 1)
    lipschitz, smoothness = unit.bounds(np.zeros(1), 1.0)
    assert lipschitz == np.linalg.norm(unit.jacobian(np.zeros(1)), 2) == 2.0
    bent = np.array([math.atanh(1 / math.sqrt(3)) / 2])
    assert steepest_change(unit, bent, rng) == pytest.approx(smoothness, rel=1e-6)
    assert smoothness == pytest.approx(4 * 4 / (3 * math.sqrt(3)), rel=1e-14)
    # one erf unit: |erf''| is largest at 1/sqrt 2
    unit = TwoLayer([[1.0]], 1, "erf")
    found = steepest_change(unit, np.array([math.sqrt(0.5)]), rng)
    assert found == pytest.approx(unit.bounds(np.zeros(1), 1.0)[1], rel=1e-6)


def test_a_deep_product_bounds_its_hessian_at_its_weights():
    # f = w1 w2 w3: off-diagonal entries of the Hessian are the third weight; at radius 0 the bound
    # is the Hessian's own norm
    chain = DeepLinear([[1.0]], (1, 1, 1))
    w = np.array([0.5, 1.0, 2.0])
    hessian = np.array([[0, 2.0, 1.0], [2.0, 0, 0.5], [1.0, 0.5, 0]])
    lipschitz, smoothness = chain.bounds(w, 0.0)
    assert smoothness == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=1e-14)
    assert lipschitz == pytest.approx(math.sqrt(2.0**2 + 1.0**2 + 0.5**2), rel=1e-14)


def test_trained_outer_weights_bound_both_kinds_of_change():
    # |x| = 5 for the one sample; the change of w and that of v as a 2 x 2 form, by its eigenvalue
    model = TwoLayer([[3.0, 4.0]], 4, "sin", "both")
    w = np.concatenate([np.zeros(8), [0.5, -2.0, 1.0, 0.0]])
    own, cross = 25 * (2.0 + 0.7) / 2, 5 / 2
    wanted = np.linalg.eigvalsh([[own, cross], [cross, 0.0]])[-1]
    assert model.bounds(w, 0.7)[1] == pytest.approx(wanted, rel=1e-13)


def test_relu_has_no_bounds_and_overflow_no_finite_ones():
    assert TwoLayer(INPUTS, 3, "relu").bounds(np.ones(6), 1.0) is None
    chain = DeepLinear([[1.0]], (1, 1, 1, 1))
    assert chain.bounds(np.full(4, 1e200), 1e200) == (math.inf, math.inf)


def test_a_deep_linear_network_is_a_product_of_matrices():
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(3, 2)), rng.normal(size=(2, 3))
    model = DeepLinear(INPUTS, (3, 2))
    w = np.concatenate([first.ravel(), second.ravel()])
    outputs = model(w).reshape(3, 2)
    for x, out in zip(INPUTS, outputs, strict=True):
        assert out == pytest.approx(second @ first @ x, rel=1e-13)


def test_random_features_by_hand():
    model = RandomFeatures([[2.0]], [[1.0], [3.0]], "sin", [0.5, -1.0])
    assert model(np.array([1.0, 10.0]))[0] == pytest.approx(
        (math.sin(2.5) + 10 * math.sin(5.0)) / math.sqrt(2), rel=1e-14
    )
    a = RandomFeatures.drawn(INPUTS, 4, np.random.default_rng(5))
    b = RandomFeatures(INPUTS, np.random.default_rng(5).standard_normal((4, 2)), "tanh")
    assert np.array_equal(a.jacobian(np.zeros(4)), b.jacobian(np.zeros(4)))


def test_twins_are_equal_samples():
    twice = [[1.0, 0.0], [0.0, 1.0], [1.0, -0.0]]
    assert TwoLayer(twice, 2).twins() == [(0, 2)]
    assert DeepLinear(twice, (2,)).twins() == [(0, 4), (1, 5)]
    assert Linear(twice).twins() == [(0, 2)]
    assert TwoLayer(INPUTS, 2).twins() == []


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 3))
def test_any_depth_has_the_right_jacobian(seed, depth, width):
    rng = np.random.default_rng(seed)
    model = DeepLinear(rng.normal(size=(2, 2)), (width,) * depth)
    w, d = rng.normal(size=(2, model.parameter_count))
    h = 1e-5
    slope = (model(w + h * d) - model(w - h * d)) / (2 * h)
    scale = 1 + np.abs(model.jacobian(w)).max()
    # a product of d weights of order 1: third derivatives h² and rounding eps/h, both times scale
    assert np.abs(model.jacobian(w) @ d - slope).max() < 1e-6 * scale


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Linear([1.0]), r"matrix has shape \(1,\)"),
        (lambda: Linear([[np.nan]]), "nan"),
        (lambda: Linear([[1.0]])([1.0, 2.0]), "parameters has 2 entries: must have 1"),
        (lambda: Linear([[1.0]]).bounds([1.0], -1.0), "radius = -1"),
        (lambda: RandomFeatures(INPUTS, [[1.0]]), "directions has shape"),
        (lambda: RandomFeatures(INPUTS, INPUTS, "swish"), "activation = 'swish'"),
        (lambda: RandomFeatures(INPUTS, INPUTS, offsets=[1.0]), "offsets has 1 entries"),
        (lambda: RandomFeatures.drawn(INPUTS, 0, np.random.default_rng(0)), "width = 0"),
        (lambda: DeepLinear(INPUTS, ()), "widths ="),
        (lambda: DeepLinear(INPUTS, 3), "widths = 3"),
        (lambda: DeepLinear(INPUTS, (2, 0)), r"widths\[1\] = 0"),
        (lambda: DeepLinear(INPUTS, (2,)).jacobian([1.0]), "parameters has 1 entries: must have 4"),
        (lambda: TwoLayer(INPUTS, 2, "cube"), "activation = 'cube'"),
        (lambda: TwoLayer(INPUTS, 2, train="outer"), "train = 'outer'"),
        (lambda: TwoLayer(INPUTS, 2, train="both", outer=[1, 1]), "leave outer out"),
        (lambda: TwoLayer(INPUTS, 2, outer=[1.0]), "outer has 1 entries: must have 2"),
        (lambda: TwoLayer(INPUTS, 2)([np.inf] * 4), "inf"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
