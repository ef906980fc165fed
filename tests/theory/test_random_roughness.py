"""Minima of a randomly rough bowl: quadrature, orthant probabilities and drawn landscapes."""

import dataclasses
import math

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import multivariate_normal

from theory.derivation import DerivationError
from theory.random_roughness import (
    count_minima,
    curvature_spread,
    expected_minima,
    mean_minima,
    sample_landscapes,
)

ROUGH = {"deviation": 0.3, "length": 0.3}


def test_expected_counts_to_every_digit():
    # mpmath, 20 digits, with the integral of |1 + Rz| as second route
    bare, smooth = (curvature_spread(0.3, 0.3, smoothing=s) for s in (0.0, 0.5))
    assert mean_minima(bare) == pytest.approx(2.8377576296468241417, rel=1e-15)
    assert mean_minima(smooth) == pytest.approx(1.0075298720422058527, rel=1e-15)


@given(st.floats(0.05, 50))
def test_the_count_is_the_mean_positive_curvature(spread):
    def part(z):
        return (1 + spread * z) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    wanted, _ = quad(part, max(-1 / spread, -40), 40, epsabs=1e-12)
    assert mean_minima(spread) == pytest.approx(wanted, rel=1e-9)


def test_limits_of_the_count():
    assert mean_minima(0.0) == mean_minima(1e-200) == mean_minima(0.02) == 1.0
    assert mean_minima(1e8) == pytest.approx(0.5 + 1e8 / math.sqrt(2 * math.pi), rel=1e-15)


@given(s=st.floats(0, 5), more=st.floats(0, 5), a=st.floats(0.1, 10), n=st.integers(1, 1000))
def test_smoothing_twice_adds_the_squares_and_examples_lower_the_load(s, more, a, n):
    # smoothed roughness is roughness of another deviation and length: smooth that again
    length = math.sqrt(0.09 + 2 * s * s)
    deviation = 0.3 * math.sqrt(0.3 / length)
    twice = curvature_spread(deviation, length, a, smoothing=more)
    at_once = curvature_spread(0.3, 0.3, a, smoothing=math.hypot(s, more))
    assert twice == pytest.approx(at_once, rel=1e-12)
    fewer = curvature_spread(0.3 / math.sqrt(n), 0.3, a)
    assert fewer == pytest.approx(curvature_spread(0.3, 0.3, a) / math.sqrt(n), rel=1e-12)


def test_drawn_landscapes_have_the_covariance_of_the_roughness():
    places, losses = sample_landscapes(
        np.random.default_rng(0), 20_000, deviation=0.2, length=0.5, step=0.125
    )
    rough = losses - places**2 / 2
    chosen = rough[:, 10:30:3]
    found = chosen.T @ chosen / len(chosen)
    lag = places[10:30:3, None] - places[None, 10:30:3]
    wanted = 0.04 * np.exp(-(lag**2) / 0.5)
    # five standard errors of a covariance: at most 0.04 sqrt(2/20000) each
    assert abs(found - wanted).max() < 5 * 0.04 * math.sqrt(2 / 20_000)
    assert abs(rough.mean(axis=0)).max() < 5 * 0.2 / math.sqrt(20_000)


def on_a_grid(step):
    """Return the mean number of grid points below both neighbours, from orthant probabilities."""
    sigma, length = ROUGH["deviation"], ROUGH["length"]

    def covariance(lag):
        return sigma**2 * math.exp(-(lag**2) / (2 * length**2))

    own = 2 * (covariance(0) - covariance(step))
    cross = 2 * covariance(step) - covariance(0) - covariance(2 * step)
    half = math.ceil((9 * sigma / length + length) / step) - 1
    x = step * np.arange(-half, half + 1)
    limits = np.stack([(x - step) ** 2 - x**2, (x + step) ** 2 - x**2], axis=-1) / 2
    law = multivariate_normal([0.0, 0.0], [[own, -cross], [-cross, own]])
    return law.cdf(limits).sum()


def test_counts_of_drawn_landscapes_are_those_of_the_grid_and_tend_to_the_formula():
    step = 0.3 / 8
    _, losses = sample_landscapes(np.random.default_rng(3), 4000, step=step, **ROUGH)
    counts = count_minima(losses)
    assert on_a_grid(step) == pytest.approx(2.8231, abs=1e-4)
    error = counts.std(ddof=1) / math.sqrt(len(counts))
    assert counts.mean() == pytest.approx(on_a_grid(step), abs=4 * error)
    # what the grid loses goes with the square of its step
    lost = [mean_minima(curvature_spread(0.3, 0.3)) - on_a_grid(h) for h in (step, step / 2)]
    assert lost[0] / lost[1] == pytest.approx(4.0, rel=0.03)


def test_equal_neighbours_are_no_second_minimum():
    rows = np.array([
        [2.0, 1.0, 1.0, 1.0, 2.0, 0.0, 1.0],
        [2.0, 1.0, 1.0, 1.0, 0.0, 0.0, -1.0],
        [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
        [1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0],
    ])  # fmt: skip
    assert count_minima(rows).tolist() == [2, 0, 0, 2]


def test_the_derivation_checks_can_fail_and_agrees_with_the_kernel():
    derivation = expected_minima()
    assert derivation.check() == 9
    for step in derivation.steps:
        spoiled = dataclasses.replace(step, residuals=(step.residuals[-1] + 1,))
        with pytest.raises(DerivationError):
            dataclasses.replace(derivation, steps=(spoiled,)).check()
    R, a, sigma, length = sp.symbols("R a sigma l", positive=True)
    spread = derivation.results["spread"].subs({a: 2, sigma: 0.7, length: 0.4})
    assert float(spread) == pytest.approx(curvature_spread(0.7, 0.4, 2.0), rel=1e-14)
    count = derivation.results["count"].subs(R, spread)
    assert float(count) == pytest.approx(mean_minima(float(spread)), rel=1e-14)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: curvature_spread(-1.0, 1.0), "deviation = -1"),
        (lambda: curvature_spread(1.0, 0.0), "length = 0"),
        (lambda: curvature_spread(1.0, 1.0, -2.0), "curvature = -2"),
        (lambda: curvature_spread(1.0, 1.0, smoothing=-1.0), "smoothing = -1"),
        (lambda: curvature_spread(1e300, 1e-300), "beyond the largest float"),
        (lambda: mean_minima(math.inf), "spread = inf"),
        (lambda: count_minima(np.zeros((1, 2))), "at least three places"),
        (lambda: count_minima(np.array([[1.0, math.nan, 2.0]])), "must be finite"),
        (
            lambda: sample_landscapes(np.random.default_rng(0), 0, step=0.1, **ROUGH),
            "count = 0",
        ),
        (
            lambda: sample_landscapes(np.random.default_rng(0), 1, step=0.4, **ROUGH),
            "step = 0.4",
        ),
        (
            lambda: sample_landscapes(np.random.default_rng(0), 1, step=1e-6, **ROUGH),
            "take a larger step",
        ),
        (
            lambda: sample_landscapes(np.random.default_rng(0), 1, step=1e-320, **ROUGH),
            "needs inf places",
        ),
    ],
)
def test_numbers_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
