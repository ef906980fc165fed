"""The jump process against exact enumeration of crossings and against simulated moments."""

import dataclasses
from math import comb, factorial, sqrt

import mpmath
import numpy as np
import pytest

from theory import _glass_derivations, _glass_estimator_derivations
from theory.derivation import DerivationError
from theory.glass import HALF_NORMAL
from theory.glass_process import JumpProcess

DERIVATIONS = {
    _glass_derivations.glass_loss_change: 16,
    _glass_derivations.lookahead_exactness: 9,
    _glass_derivations.optimal_glass_step: 10,
    _glass_estimator_derivations.boundary_geometry: 13,
    _glass_estimator_derivations.three_gradient_estimators: 21,
}
WORKED = JumpProcess(rate=50.0, jump=0.1)


def size_by_enumeration(crossings):
    """Return the mean size of I over s d: a Poisson number of uniform numbers on [-1, 1]."""
    with mpmath.workdps(60):
        m, total = mpmath.mpf(crossings), mpmath.mpf(0)
        for n in range(1, int(crossings + 12 * sqrt(crossings) + 40)):
            # mean size of the sum of n, from the law of Irwin and Hall
            sides = sum((-1) ** k * comb(n, k) * (n - 2 * k) ** (n + 1) for k in range(n // 2 + 1))
            mean = mpmath.mpf(sides) / (mpmath.mpf(2) ** (n - 1) * factorial(n + 1))
            total += mpmath.exp(-m) * m**n / factorial(n) * mean
        return float(total)


def test_a_worked_example():
    # an independent program: 4000 half-periods at 25 digits, 8 digits kept
    assert WORKED.density == pytest.approx(0.5, rel=1e-15)
    assert WORKED.loss_variance(0.2) == pytest.approx(1.3333333333333333e-3, rel=1e-14)
    assert WORKED.loss_fourth_cumulant(0.2) == pytest.approx(3.2e-7, rel=1e-14)
    assert WORKED.expected_size(0.2) == pytest.approx(0.028907346, abs=5e-10)
    assert WORKED.loss_bound(0.2) == pytest.approx(0.036514837167011074, rel=1e-14)
    limit = HALF_NORMAL * sqrt(WORKED.density) * 0.2**1.5
    assert limit == pytest.approx(0.029134624815788775, rel=1e-14)


@pytest.mark.parametrize("crossings", [1e-6, 0.01, 0.3, 1, 3, 10, 40, 120])
def test_mean_size_by_enumeration_of_crossings(crossings):
    found = JumpProcess(rate=crossings, jump=1.0).expected_size(1.0)
    assert found == pytest.approx(size_by_enumeration(crossings), rel=1e-11)


@pytest.mark.parametrize("crossings", [1e-6, 0.3, 3, 40])
def test_mean_size_with_normal_jumps_by_adaptive_quadrature(crossings):
    with mpmath.workdps(25):
        m = mpmath.mpf(crossings)

        def height(x):
            chi = mpmath.sqrt(mpmath.pi / 2) * mpmath.erf(x / mpmath.sqrt(2)) / x
            return (1 - mpmath.exp(-m * (1 - chi))) / x**2

        start = mpmath.mpf(10) ** -6  # the integrand is m/6 there
        edges = [start, 0.1, 0.3, 1, 2, 4, 8, 16, 32, 64, 128, 1000, 10**4, 10**6, mpmath.inf]
        wanted = 2 / mpmath.pi * (mpmath.quad(height, edges) + start * m / 6)
    found = JumpProcess(crossings, 1.0, "normal").expected_size(-1.0)
    assert found == pytest.approx(float(wanted), rel=1e-11)


@pytest.mark.parametrize(("law", "kurtosis"), [("signs", 1.0), ("normal", 3.0)])
def test_many_crossings_reach_the_normal_limit_from_below(law, kurtosis):
    # to first order the share 3 k / (40 m) is missing
    for m in (1e2, 1e4, 1e6):
        missing = 1 - JumpProcess(m, 1.0, law).expected_size(1.0) / (HALF_NORMAL * sqrt(m))
        assert missing == pytest.approx(3 * kurtosis / (40 * m), rel=10 / m + 1e-5)
    with np.errstate(all="raise"):
        assert JumpProcess(1e200, 1.0, law).expected_size(1.0) > 0


def test_few_crossings_make_it_quadratic():
    rare = JumpProcess(rate=1e-7, jump=3.0)
    assert rare.expected_size(np.array([0.5, -2.0])) == pytest.approx(
        1e-7 * 3 * np.array([0.25, 4.0]) / 2, rel=1e-6
    )
    assert WORKED.expected_size(0.0) == 0.0


@pytest.mark.parametrize("law", ["signs", "normal"])
def test_the_mean_size_is_below_both_bounds(law):
    glass = JumpProcess(2.0, 0.7, law)
    d = np.geomspace(1e-3, 1e3, 25)
    limit = HALF_NORMAL * np.sqrt(glass.density) * d**1.5
    assert (glass.expected_size(d) < limit).all()
    assert (limit < glass.loss_bound(d)).all()


def test_covariances_add_up():
    # variance and covariance of I as sums of the covariance of W over a grid
    d, n = -0.3, 2000
    places = (np.arange(n) + 0.5) * d / n
    table = WORKED.covariance(places[:, None], places)
    assert table.sum() * (d / n) ** 2 == pytest.approx(WORKED.loss_variance(d), rel=1e-6)
    assert WORKED.covariance(places, d).sum() * d / n == pytest.approx(
        WORKED.loss_gradient_covariance(d), rel=1e-6
    )
    assert WORKED.covariance(0.2, -0.2) == 0.0
    assert WORKED.covariance(-0.2, -0.2) == pytest.approx(0.1)
    # t u underflows, min(t, u) does not
    assert WORKED.covariance(1e-200, 2e-200) == pytest.approx(0.5e-200, rel=1e-14, abs=0)


@pytest.mark.parametrize("derive", DERIVATIONS, ids=lambda derive: derive.__name__)
def test_the_derivations_check_and_can_fail(derive):
    derivation = derive()
    assert derivation.check() == DERIVATIONS[derive]
    assert derivation.page == f"derivations/{derive.__name__}"
    for number, step in enumerate(derivation.steps):
        spoiled = dataclasses.replace(step, residuals=(step.residuals[-1] + 1,))
        steps = (*derivation.steps[:number], spoiled)
        with pytest.raises(DerivationError):
            dataclasses.replace(derivation, steps=steps[-1:]).check()


def test_the_derivation_gives_the_moments():
    results = _glass_derivations.glass_loss_change().results
    values = {"lambda": 50.0, "s": 0.1, "d": 0.2, "rho": 0.5}

    def number(name):
        expression = results[name]
        return float(expression.subs({s: values[s.name] for s in expression.free_symbols}))

    assert number("half_normal") == pytest.approx(HALF_NORMAL, rel=1e-15)
    assert number("variance") == pytest.approx(WORKED.loss_variance(0.2), rel=1e-14)
    assert number("covariance") == pytest.approx(WORKED.loss_gradient_covariance(0.2), rel=1e-14)
    assert number("fourth_cumulant") == pytest.approx(WORKED.loss_fourth_cumulant(0.2), rel=1e-14)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: JumpProcess(0.0, 1.0), "rate = 0"),
        (lambda: JumpProcess(-1.0, 1.0), "rate = -1"),
        (lambda: JumpProcess(1.0, float("nan")), "jump = nan"),
        (lambda: JumpProcess(1.0, 1e200), "density is inf, out of range"),
        (lambda: JumpProcess(1.0, 1e-200), "density is 0, out of range"),
        (lambda: WORKED.loss_variance([1.0, 1e200]), r"distance\[1\] = 1e.200: the result over"),
        (lambda: WORKED.loss_fourth_cumulant(1e100), "the result overflows"),
        (lambda: WORKED.covariance([1.0, 2.0], [1.0, 2.0, 3.0]), "do not fit"),
        (lambda: JumpProcess(1.0, 1.0, "cauchy"), "law = 'cauchy': must be one of"),
        (lambda: WORKED.expected_size([0.1, float("nan")]), r"distance\[1\] = nan"),
        (lambda: WORKED.covariance(float("inf"), 1.0), "first = inf"),
        (lambda: WORKED.loss_variance("far"), "distance = 'far'"),
    ],
)
def test_numbers_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
