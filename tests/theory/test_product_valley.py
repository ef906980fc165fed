"""Valleys of a product loss: finite differences, brute force along curves, exact fractions."""

import dataclasses
import math

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize_scalar

from theory.derivation import DerivationError
from theory.product_valley import ProductValley, symmetric_bend, valley_connectivity

UNIT = ProductValley(1)
LEFT, RIGHT, OTHER = np.array([2.0, 0.5]), np.array([0.5, 2.0]), np.array([-0.5, -2.0])


def solution(generator, width):
    """Return a random solution: random weights scaled to v.w = 1."""
    while True:
        v, w = generator.normal(size=(2, width))
        if v @ w > 0.1:
            return np.concatenate([v, w]) / math.sqrt(v @ w)


def connectivity(losses):
    """Return mean of the ends less the loss that deviates most."""
    gaps = (losses[0] + losses[-1]) / 2 - losses
    return gaps[np.argmax(abs(gaps))]


@pytest.mark.parametrize("width", [1, 2, 5])
def test_gradient_and_hessian_are_the_differences_of_the_loss(width):
    valley = ProductValley(width)
    at = np.random.default_rng(width).normal(size=2 * width)
    steps = 1e-5 * np.eye(2 * width)
    slopes = [(valley.loss(at + h) - valley.loss(at - h)) / 2e-5 for h in steps]
    bends = [(valley.gradient(at + h) - valley.gradient(at - h)) / 2e-5 for h in steps]
    assert valley.gradient(at) == pytest.approx(np.array(slopes), abs=1e-8)
    assert valley.hessian(at) == pytest.approx(np.array(bends), abs=1e-8)


def test_a_solution_has_one_direction_that_is_not_flat():
    valley = ProductValley(3)
    at = solution(np.random.default_rng(0), 3)
    values = np.linalg.eigvalsh(valley.hessian(at))
    assert values[:-1] == pytest.approx(np.zeros(5), abs=1e-12)
    assert values[-1] == pytest.approx(at @ at, rel=1e-12)


def test_the_straight_path_of_exact_fractions():
    # the middle is (5/4, 5/4): loss (25/16 - 1)²/2 = 81/512
    assert UNIT.straight_connectivity(LEFT, RIGHT) == -81 / 512
    # to the other branch: highest beyond the crossing, at the middle (3/4, -3/4)
    assert UNIT.straight_connectivity(LEFT, OTHER) == -((9 / 16 + 1) ** 2) / 2


@given(ends=arrays(float, (2, 4), elements=st.floats(-2, 2)), width=st.sampled_from([1, 2]))
def test_the_straight_path_by_brute_force(ends, width):
    valley = ProductValley(width)
    start, stop = ends[:, : 2 * width]
    times = np.linspace(0, 1, 4001)[:, None]
    points = (1 - times) * start + times * stop
    losses = ((points[:, :width] * points[:, width:]).sum(axis=1) - 1) ** 2 / 2
    found = valley.straight_connectivity(start, stop)
    # magnitudes: the largest of two equal deviations may have either sign
    assert abs(found) == pytest.approx(abs(connectivity(losses)), abs=1e-4)
    assert abs(found) >= abs(connectivity(losses)) - 1e-12


def test_unconverged_ends_have_positive_connectivity():
    # from vw = 4 to vw = -2, both of loss 9/2, through vw = 1
    assert UNIT.straight_connectivity(np.array([2.0, 2.0]), np.array([2.0, -1.0])) == 4.5


def test_the_best_path_costs_a_half_only_between_the_branches_of_one_unit():
    assert UNIT.best_connectivity(LEFT, RIGHT) == 0.0
    assert UNIT.best_connectivity(LEFT, OTHER) == -0.5
    wide = ProductValley(2)
    ends = np.array([2.0, 0.0, 0.5, 0.0]), np.array([-0.5, 0.0, -2.0, 0.0])
    assert wide.best_connectivity(*ends) == 0.0
    # a path through the origin attains the half: the weights go to zero together, and back
    scale = np.concatenate([np.linspace(1, 0, 50), np.linspace(0, 1, 50)])
    shrink = np.where(np.arange(100)[:, None] < 50, scale[:, None] * [1, 1], -scale[:, None])
    assert max(UNIT.loss(point) for point in shrink) == 0.5


@pytest.mark.parametrize("width", [1, 2, 3, 10])
@pytest.mark.parametrize("seed", range(5))
def test_the_connecting_path_consists_of_solutions(width, seed):
    generator = np.random.default_rng(seed)
    valley = ProductValley(width)
    start, stop = solution(generator, width), solution(generator, width)
    if width == 1:
        stop = abs(stop) * np.sign(start)
    path = valley.connecting_path(start, stop, 501)
    assert path[0] == pytest.approx(start, abs=1e-12)
    assert path[-1] == pytest.approx(stop, abs=1e-12)
    assert max(valley.loss(point) for point in path) < 1e-28
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    assert steps.max() < 10 / 500 * np.linalg.norm(np.concatenate([start, stop]))


@pytest.mark.parametrize("tilt", [0.0, 1e-12, 1e-5, 0.1])
def test_opposite_branches_are_joined_by_a_second_unit(tilt):
    valley = ProductValley(2)
    start = np.array([2.0, 0.0, 0.5, 0.0])
    stop = np.array([-0.5, tilt, -2.0, 0.0])
    path = valley.connecting_path(start, stop, 301)
    assert max(valley.loss(point) for point in path) < 1e-28
    assert path[-1] == pytest.approx(stop, abs=1e-11)
    assert np.linalg.norm(np.diff(path, axis=0), axis=1).max() < 0.05
    assert abs(path[:, 1]).max() > 0.5  # around, not across


def test_bends_of_least_loss_to_fifteen_digits():
    # mpmath: root of the derivative of the quadrature of the loss, and the loss on the curve
    mean = symmetric_bend(2.0, "mean")
    assert mean.control == pytest.approx(0.758978007272665, abs=1e-15)
    assert mean.mean_loss == pytest.approx(2.64030324744399e-5, rel=1e-12)
    assert mean.max_loss == pytest.approx(5.9466625080887e-5, rel=1e-12)
    best = symmetric_bend(2.0, "maximum")
    assert best.control == pytest.approx(0.760261, abs=5e-7)
    assert best.max_loss == pytest.approx(5.2918e-5, rel=1e-5)


@pytest.mark.parametrize("end", [0.2, 1.5, 2.0, 6.0, 30.0])
@pytest.mark.parametrize("minimise", ["mean", "maximum"])
def test_bends_by_brute_force(end, minimise):
    times = np.linspace(0, 1, 4001)
    x, y = end, 1 / end

    def losses(c):
        v = (1 - times) ** 2 * x + 2 * times * (1 - times) * c + times**2 * y
        w = (1 - times) ** 2 * y + 2 * times * (1 - times) * c + times**2 * x
        return (v * w - 1) ** 2 / 2

    reduce = {"mean": lambda values: np.trapezoid(values, times), "maximum": np.max}[minimise]
    grid = np.linspace(-2 * (x + y), 2 * (x + y), 801)
    start = grid[np.argmin([reduce(losses(c)) for c in grid])]
    width = grid[1] - grid[0]
    found = minimize_scalar(
        lambda c: reduce(losses(c)), bounds=(start - width, start + width), method="bounded",
        options={"xatol": 1e-10},
    )  # fmt: skip
    bend = symmetric_bend(end, minimise)
    assert bend.control == pytest.approx(found.x, abs=1e-4 * (x + y))
    assert bend.mean_loss == pytest.approx(np.trapezoid(losses(bend.control), times), rel=1e-5)
    assert bend.max_loss == pytest.approx(losses(bend.control).max(), rel=1e-5)
    assert reduce(losses(bend.control)) <= found.fun * (1 + 1e-5)


@pytest.mark.parametrize("minimise", ["mean", "maximum"])
def test_far_ends_have_bends_in_proportion(minimise):
    # for x >> 1 all depends on c/x alone: the loss has four factors of x
    near, far = symmetric_bend(1e9, minimise), symmetric_bend(1e60, minimise)
    assert far.control / 1e60 == pytest.approx(near.control / 1e9, rel=1e-12)
    assert far.mean_loss / 1e240 == pytest.approx(near.mean_loss / 1e36, rel=1e-12)
    assert far.max_loss / 1e240 == pytest.approx(near.max_loss / 1e36, rel=1e-12)


def test_equal_ends_need_no_bend():
    bend = symmetric_bend(1.0, "maximum")
    assert (bend.control, bend.max_loss) == (1.0, 0.0)
    assert symmetric_bend(1.0, "mean").max_loss < 1e-29


def test_the_derivation_checks_can_fail_and_agrees_with_the_kernel():
    derivation = valley_connectivity()
    assert derivation.check() == 9
    for step in derivation.steps:
        spoiled = dataclasses.replace(step, residuals=(step.residuals[-1] + 1,))
        with pytest.raises(DerivationError):
            dataclasses.replace(derivation, steps=(spoiled,)).check()
    S, c, s = sp.symbols("S c s", positive=True)
    assert derivation.results["straight"].subs(S, sp.Rational(5, 2)) == -sp.Rational(81, 512)
    mean, best = (symmetric_bend(2.0, what) for what in ("mean", "maximum"))
    average = derivation.results["mean_loss"].subs(S, sp.Rational(5, 2))
    assert float(average.subs(c, mean.control)) == pytest.approx(mean.mean_loss, rel=1e-10)
    assert abs(float(sp.diff(average, c).subs(c, mean.control))) < 1e-15
    level = derivation.results["level"].subs({S: 2.5, c: best.control})
    assert abs(float(level)) < 1e-14
    gap = derivation.results["gap"].subs({S: 2.5, c: best.control, s: 0.25})
    assert float(gap) ** 2 / 2 == pytest.approx(best.max_loss, rel=1e-10)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ProductValley(0), "width = 0"),
        (lambda: ProductValley(1.5), "width = 1.5"),
        (lambda: UNIT.loss(np.ones(3)), "parameters has shape"),
        (lambda: UNIT.gradient(np.array([1.0, math.nan])), "must be finite"),
        (lambda: ProductValley(2).hessian(np.ones(2)), r"must be \(4,\)"),
        (lambda: UNIT.straight_connectivity(np.ones(2), np.ones(4)), "stop has shape"),
        (lambda: UNIT.best_connectivity(np.ones(2), np.zeros(2)), "must be a solution"),
        (lambda: UNIT.connecting_path(LEFT, np.array([1.0, 2.0]), 5), "stop = .*v·w is 2"),
        (lambda: UNIT.connecting_path(LEFT, OTHER, 5), "take width >= 2"),
        (lambda: UNIT.connecting_path(LEFT, RIGHT, 1), "points = 1"),
        (lambda: UNIT.loss(np.array([1e61, 1.0])), "at most 1e.60"),
        (lambda: symmetric_bend(0.0, "mean"), "end = 0"),
        (lambda: symmetric_bend(1e-160, "mean"), "end = 1e-160"),
        (lambda: symmetric_bend(1e61, "maximum"), "end = 1e.61"),
        (lambda: symmetric_bend(2.0, "median"), "minimise = 'median'"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
