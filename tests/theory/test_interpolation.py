"""Linear interpolation: golden values, dense evaluation, and the refusal to guess."""

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from theory.derivation import DerivationError
from theory.interpolation import (
    corner_rise,
    gauss_length,
    gauss_length_condition,
    largest_rise,
    polynomial_gauss_length,
    sufficient_condition,
    two_layer_interpolation,
    two_layer_path,
)

# hand-picked integers; every number below follows from them by exact algebra
FIRST = ([[1, 0], [0, 1], [1, -1]], [[1, 2, 0], [0, 1, -1]])
LAST = ([[-1, 2], [1, 1], [0, 3]], [[2, -1, 1], [1, 1, 2]])
INPUT = [[1, -2]]
PARABOLA = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])


def sampled(coefficients, points=20_001):
    """Return a polynomial path at equal steps."""
    return np.vander(np.linspace(0, 1, points), len(coefficients), increasing=True) @ coefficients


def test_gauss_length_of_a_polyline_is_the_sum_of_its_corners():
    turns = np.array([0.3, 1.2, 2.9, 0.0])
    lengths = np.array([1.0, 1e-6, 3.0, 1e5, 2.0])
    heading = np.concatenate([[0.0], np.cumsum(turns)])
    steps = lengths[:, None] * np.column_stack([np.cos(heading), np.sin(heading)])
    path = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    assert gauss_length(path) == pytest.approx(turns.sum(), abs=1e-9)


def test_a_pause_is_skipped_and_a_return_is_half_a_turn():
    assert gauss_length(np.array([[0.0], [1.0], [1.0], [3.0]])) == 0.0
    assert gauss_length(np.array([[0.0], [1.0], [1.0], [0.5]])) == pytest.approx(math.pi)
    assert gauss_length(np.full((5, 3), 0.1)) == 0.0
    # rounding of a straight path: without merging, noise of 1e-16 has corners of order 1
    still = np.repeat([[1.0, 2.0]], 50, axis=0)
    noise = 1e-16 * np.arange(100).reshape(50, 2) % 3e-16
    assert gauss_length(np.concatenate([still + noise, [[2.0, 3.0]]])) == 0.0


@pytest.mark.parametrize(
    ("coefficients", "exact"),
    [
        (PARABOLA, math.atan(2)),
        # high-precision quadrature of the curvature of (a, a^2, a^3)
        (np.eye(4)[:, 1:], 1.4509108998640313),
        (np.array([[1.0, 2.0], [3.0, 4.0]]), 0.0),
        (np.array([[0.0], [-1.0], [1.0]]), math.pi),
        (np.array([[5.0, 6.0]]), 0.0),
        # from rest, straight on
        (np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 2.0]]), 0.0),
    ],
)
def test_gauss_length_of_polynomial_paths(coefficients, exact):
    assert polynomial_gauss_length(coefficients) == pytest.approx(exact, rel=4e-16, abs=1e-15)
    # an inscribed polygon falls short by the second order of its step, or one corner
    assert gauss_length(sampled(coefficients)) == pytest.approx(exact, abs=2e-4)


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e150, 1e308])
def test_gauss_lengths_at_any_scale(scale):
    corner = np.array([[-1.0, 0.0], [1.0, 0.0], [1.0, -1.0]])
    assert gauss_length(scale * corner) == pytest.approx(math.pi / 2, rel=1e-15)
    assert polynomial_gauss_length(scale * PARABOLA) == pytest.approx(math.atan(2), rel=1e-15)


def test_gauss_length_of_a_half_circle():
    alpha = np.linspace(0, math.pi, 1001)
    circle = np.column_stack([np.cos(alpha), np.sin(alpha)])
    # 999 corners of pi/1000 each
    assert gauss_length(circle) == pytest.approx(math.pi * 0.999, rel=1e-10)


def test_sharp_turns_are_integrated():
    # passes the origin of velocities at the distance 1e-4: nearly half a turn within 1e-4
    hairpin = np.array([[0.0, 0.0], [-0.5, 1e-4], [0.5, 0.0], [0.0, 1e-5]])
    polygon = gauss_length(sampled(hairpin, 400_001))
    assert polynomial_gauss_length(hairpin) == pytest.approx(polygon, abs=1e-4)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.floats(0.1, 10.0))
def test_gauss_length_ignores_rotation_and_scale_and_adds_up(seed, outputs, scale):
    rng = np.random.default_rng(seed)
    path = rng.standard_normal((6, outputs)).cumsum(axis=0)
    turned = scale * path @ np.linalg.qr(rng.standard_normal((outputs, outputs)))[0] + 1.0
    whole = gauss_length(path)
    assert gauss_length(turned) == pytest.approx(whole, abs=1e-6)
    assert gauss_length(path[::-1]) == pytest.approx(whole, abs=1e-6)
    assert gauss_length(path[:4]) + gauss_length(path[2:]) == pytest.approx(whole, abs=1e-6)
    # a polygon with fewer corners never turns more
    assert gauss_length(path[[0, 1, 3, 5]]) <= whole + 1e-9


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_up_to_a_right_angle_the_squared_error_never_rises(seed, outputs):
    rng = np.random.default_rng(seed)
    path = (rng.standard_normal(outputs) + rng.standard_normal((8, outputs))).cumsum(axis=0)
    length = gauss_length(path)
    rise = largest_rise(((path - path[-1]) ** 2).sum(axis=1) / 2)
    assert sufficient_condition(np.array([length])) == (length <= math.pi / 2)
    assert rise <= 1e-12 or length > math.pi / 2


def test_the_condition_is_about_every_example():
    assert sufficient_condition(np.array([math.pi / 2, 0.0]))
    assert not sufficient_condition(np.array([0.1, np.nextafter(math.pi / 2, 2)]))


@pytest.mark.parametrize(
    ("angle", "rise"),
    # by minimising the distance on the first edge in 12 digits
    [(1.5, 0.0), (math.pi / 2, 0.0), (1.7, 0.00830045185513), (2.5, 0.320915546366)],
)
def test_corner_of_unit_edges(angle, rise):
    assert corner_rise(angle) == pytest.approx(rise, abs=1e-12)


@pytest.mark.parametrize("angle", [1.2, 1.6, 2.2, 3.0, math.pi])
@pytest.mark.parametrize(("before", "after"), [(1.0, 1.0), (0.3, 1.0), (2.0, 0.5), (0.6, 3.0)])
def test_corners_of_any_edges_by_dense_sampling(angle, before, after):
    way = np.linspace(0, 1, 20_001)[:, None]
    first = (way - 1) * before * np.array([1.0, 0.0])
    second = way * after * np.array([math.cos(angle), math.sin(angle)])
    path = np.concatenate([first, second])
    rise = largest_rise(((path - path[-1]) ** 2).sum(axis=1) / 2)
    # the sampled minimum is off by the square of half a step
    assert corner_rise(angle, before, after) == pytest.approx(rise, abs=1e-8)


def test_two_layer_path_of_integers():
    path = two_layer_path(FIRST, LAST, INPUT)
    assert path.outputs[:, 0].tolist() == [[-3, -5], [6, 20], [-18, -33]]
    assert path.loss.tolist() == [Fraction(313, 2), 332, -427, -768, Fraction(1413, 2)]
    assert path.gauss_lengths == pytest.approx([2.8551475111054147], rel=1e-15)
    assert path.error == 0.0
    decision = path.decide()
    assert decision.status == "rises"
    assert (decision.start, decision.end) == (0.0, pytest.approx(0.262622601162848, abs=1e-15))
    grid = np.polyval(path.loss[::-1].astype(float), np.linspace(0, 1, 50))
    assert largest_rise(grid) == pytest.approx(47.18472736526377, rel=1e-14)
    # the exact rise is above that on any grid
    fine = np.polyval(path.loss[::-1].astype(float), np.linspace(0, 1, 200_001))
    assert decision.rise == pytest.approx(largest_rise(fine), rel=1e-9)
    assert decision.rise > largest_rise(grid)


@pytest.mark.parametrize("with_targets", [False, True])
def test_two_layer_path_against_forward_passes(with_targets):
    rng = np.random.default_rng(3)
    pairs = [(rng.standard_normal((4, 3)), rng.standard_normal((2, 4))) for _ in range(2)]
    x = rng.standard_normal((3, 5))
    y = rng.standard_normal((2, 5)) if with_targets else None
    path = two_layer_path(*pairs, x.T, None if y is None else y.T)
    alphas = np.linspace(0, 1, 2001)
    (v1, v2), (w1, w2) = pairs
    z = np.array([((1 - a) * v2 + a * w2) @ ((1 - a) * v1 + a * w1) @ x for a in alphas])
    goal = z[-1] if y is None else y
    losses = ((z - goal) ** 2).sum(axis=(1, 2)) / 2
    assert np.polyval(path.loss[::-1], alphas) == pytest.approx(losses, abs=1e-11)
    assert [gauss_length(z[:, :, n]) for n in range(5)] == pytest.approx(
        path.gauss_lengths, abs=2e-3
    )
    assert path.decide().rise == pytest.approx(largest_rise(losses), abs=1e-4)
    assert 0 < path.error < 1e-10
    # floats taken as they are: what is computed from them is off by no more than it says
    exact = [tuple(np.vectorize(Fraction, otypes=[object])(w) for w in pair) for pair in pairs]
    rational = np.vectorize(Fraction, otypes=[object])
    sure = two_layer_path(*exact, rational(x.T), None if y is None else rational(y.T))
    off = max(abs(a - b) for a, b in zip(sure.loss, path.loss.tolist(), strict=True))
    assert 0 < off <= path.error
    assert sure.decide().status == path.decide().status


def test_a_stationary_end_is_divided_out_of_real_networks():
    rng = np.random.default_rng(3)
    statuses = []
    for scale in (0.1, 0.3, 1.0, 2.0, 3.0, 5.0):
        first = rng.standard_normal((4, 3)), rng.standard_normal((2, 4))
        last = tuple(w + scale * rng.standard_normal(w.shape) for w in first)
        path = two_layer_path(first, last, rng.standard_normal((3, 6)).T)
        statuses.append(path.decide().status)
        assert path.stationary_end
    assert set(statuses[:4]) == {"monotone"}
    assert set(statuses[4:]) == {"rises"}


@pytest.mark.parametrize(
    ("derive", "count"), [(gauss_length_condition, 10), (two_layer_interpolation, 12)]
)
def test_derivations_check_and_can_fail(derive, count):
    derivation = derive()
    assert derivation.check() == count
    for step in derivation.steps:
        spoiled = dataclasses.replace(step, residuals=(step.residuals[-1] + 1,))
        with pytest.raises(DerivationError):
            dataclasses.replace(derivation, steps=(spoiled,)).check()


def test_kernels_follow_the_derivations():
    results = gauss_length_condition().results
    theta, a, b = sp.symbols("theta a b", positive=True)
    for name, before in (("short_rise", 0.3), ("rise", 2.0)):
        formula = results[name].subs({theta: 2.2, a: before, b: 1.1})
        assert corner_rise(2.2, before, 1.1) == pytest.approx(float(formula), rel=1e-14)
    path = two_layer_path(FIRST, LAST, INPUT, [[4, 1]])
    names = ("z_1", "z_2", "u_1", "u_2", "v_1", "v_2", "y_1", "y_2")
    values = {
        sp.Symbol(name, real=True): sp.Rational(number.numerator, number.denominator)
        for name, number in zip(names, [*path.outputs.ravel(), 4, 1], strict=True)
    }
    results = two_layer_interpolation().results
    assert [results[f"l_{k}"].subs(values) for k in range(5)] == path.loss.tolist()
    alpha = sp.Symbol("alpha", real=True)
    turned = [results["angle"].subs(values).subs(alpha, place) for place in (0, 1)]
    # the principal value of the arc tangent leaves out half a turn
    assert float(turned[1] - turned[0]) % math.pi == pytest.approx(path.gauss_lengths[0] % math.pi)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gauss_length(np.zeros((1, 2))), "path has one point"),
        (lambda: gauss_length(np.zeros((0, 2))), "path has shape"),
        (lambda: gauss_length(np.array([[0.0], [math.nan]])), r"path\[1, 0\] = nan"),
        (lambda: gauss_length(np.zeros(4)), "path has shape"),
        (
            lambda: polynomial_gauss_length(np.array([[0.0], [-0.25], [0.375], [1 / 3]])),
            "stops at alpha = 0.25",
        ),
        (lambda: polynomial_gauss_length(np.zeros((0, 0))), "coefficients has shape"),
        (lambda: sufficient_condition(np.array([])), "lengths has shape"),
        (lambda: sufficient_condition(np.array([-0.1])), "lengths = -0.1"),
        (lambda: corner_rise(3.2), "angle = 3.2"),
        (lambda: corner_rise(2.0, 0.0), "before = 0"),
        (lambda: corner_rise(2.0, 1.0, math.inf), "after = inf"),
        (lambda: corner_rise(2.0, 1e200, 1e200), "beyond the largest float"),
        (lambda: largest_rise([-1e308, 1e308]), "scale them down"),
        (lambda: two_layer_path(([[1, 2], [3]], [[1]]), LAST, INPUT), r"first\[0\] = .*ragged"),
        (lambda: two_layer_path(([[1e200]], [[1.0]]), ([[1]], [[1]]), [[1]]), "scale them down"),
        (lambda: two_layer_path(([[10**400]], [[1]]), ([[1]], [[1]]), [[1]]), r"first\[0\] has"),
        (lambda: two_layer_path(([[10**200]], [[1]]), ([[1]], [[1]]), [[1]]), "scale them down"),
        (lambda: two_layer_path(FIRST, LAST, [[1, math.nan]]), r"inputs\[0, 1\] = nan"),
        (lambda: two_layer_path(FIRST[:1], LAST, INPUT), "first"),
        (lambda: two_layer_path(FIRST, LAST, [[1]]), r"first\[0\] has shape"),
        (lambda: two_layer_path(FIRST, LAST, INPUT, [[1]]), "targets has shape"),
        (lambda: two_layer_path(FIRST, LAST[::-1], INPUT), r"last\[0\] has shape"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
