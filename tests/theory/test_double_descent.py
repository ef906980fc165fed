"""Double descent against exact fractions, inverse Wishart means and drawn regressions."""

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import chi2

from theory.derivation import DerivationError
from theory.double_descent import excess_risk, inverse_trace, temperature_double_descent

HALF, QUARTER = Fraction(1, 2), Fraction(1, 4)


@pytest.mark.parametrize(
    ("n", "p", "temperature", "risk"),
    [
        (30, 10, 0, Fraction(5, 19)),
        (30, 10, QUARTER, Fraction(15, 38)),
        (30, 20, 0, Fraction(10, 9)),
        (30, 20, QUARTER, Fraction(5, 3)),
        (10, 20, 0, Fraction(19, 18)),
        (10, 30, 0, Fraction(53, 57)),
    ],
)
def test_exact_fractions(n, p, temperature, risk):
    symbols = dict(zip("npTB", sp.symbols("n p T B", positive=True), strict=True))
    at = {"n": n, "p": p, "T": sp.Rational(temperature), "B": 1}
    which = temperature_double_descent().results["under" if p < n else "over"]
    exact = which.subs({symbols[name]: value for name, value in at.items()})
    exact = exact.subs(sp.Symbol("sigma2", positive=True), sp.S.Half)
    assert exact == sp.Rational(risk)
    found = excess_risk(n, p, noise=0.5, temperature=float(temperature))
    assert found == pytest.approx(float(risk), rel=1e-15)


@pytest.mark.parametrize(("n", "p"), [(30, 10), (30, 28), (5, 1), (10, 20), (10, 30), (3, 5)])
def test_the_trace_is_the_mean_inverse_of_chi_squared_variables(n, p):
    freedom = abs(n - p) + 1
    mean, _ = quad(lambda y: chi2.pdf(y, freedom) / y, 0, np.inf, limit=400)
    assert inverse_trace(n, p) == pytest.approx(min(n, p) * mean, rel=1e-6)


def test_traces_of_wide_kernels():
    assert inverse_trace(10, 20) == 10 / 9
    assert inverse_trace(10, 30) == 10 / 19


def drawn(n, p, noise, temperature, draws, seed):
    """Return errors of simulated regressions, the Gibbs law sampled by perturbed outcomes."""
    generator = np.random.default_rng(seed)
    beta = np.full(p, 1 / math.sqrt(p))
    X = generator.normal(size=(draws, n, p))
    outcomes = X @ beta + math.sqrt(noise) * generator.normal(size=(draws, n))
    theta = np.linalg.pinv(X) @ outcomes[..., None]
    errors = theta[..., 0] - beta
    if temperature:
        low = np.linalg.cholesky(np.linalg.inv(X.transpose(0, 2, 1) @ X))
        errors += math.sqrt(temperature) * (low @ generator.normal(size=(draws, p, 1)))[..., 0]
    return (errors**2).sum(axis=1)


@pytest.mark.parametrize(
    ("n", "p", "temperature"), [(30, 10, 0.25), (30, 20, 0.0), (10, 30, 0.0), (10, 16, 0.0)]
)
def test_simulated_regressions(n, p, temperature):
    errors = drawn(n, p, 0.5, temperature, 4000, seed=n + p)
    error = errors.std(ddof=1) / math.sqrt(len(errors))
    wanted = excess_risk(n, p, noise=0.5, temperature=temperature)
    assert errors.mean() == pytest.approx(wanted, abs=4 * error)
    assert error < 0.02 * wanted


@pytest.mark.parametrize("p", [9, 10, 11])
def test_the_mean_does_not_exist_at_the_peak(p):
    assert inverse_trace(10, p) == math.inf
    assert excess_risk(10, p, noise=1e-9) == math.inf
    # without noise nothing is fitted but the signal
    assert excess_risk(10, p, noise=0.0, signal=2.0) == pytest.approx(
        2 * max(0.0, 1 - 10 / p), rel=1e-15
    )
    # the integral of chi-squared/y diverges: below any bound it grows without end
    freedom = abs(10 - p) + 1
    parts = [quad(lambda y: chi2.pdf(y, freedom) / y, low, 1)[0] for low in (1e-2, 1e-4, 1e-6)]
    # by the factor of 100 in y: at least ln 100 times half the density's constant
    assert parts[2] - parts[1] > 0.9 * (parts[1] - parts[0]) > 1


@given(
    n=st.integers(5, 60),
    p=st.integers(1, 60),
    noise=st.floats(0, 3),
    temperature=st.floats(0, 3),
)
def test_temperature_is_noise_and_raises_the_peak(n, p, noise, temperature):
    if p > n:
        temperature = 0.0
    risk = excess_risk(n, p, noise=noise, temperature=temperature)
    if p <= n:
        assert risk == excess_risk(n, p, noise=noise + temperature)
    assert risk >= excess_risk(n, p, noise=noise) >= 0
    if p <= n - 3:
        assert risk <= excess_risk(n, p + 1, noise=noise, temperature=temperature)


def test_the_derivation_checks_and_can_fail():
    derivation = temperature_double_descent()
    assert derivation.check() == 9
    for step in derivation.steps:
        spoiled = dataclasses.replace(step, residuals=(step.residuals[-1] + 1,))
        with pytest.raises(DerivationError):
            dataclasses.replace(derivation, steps=(spoiled,)).check()


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: inverse_trace(0, 1), "samples = 0"),
        (lambda: inverse_trace(3, 2.5), "parameters = 2.5"),
        (lambda: excess_risk(3, 1, noise=-1.0), "noise = -1"),
        (lambda: excess_risk(30, 10, noise=1.0, temperature=-1.0), "temperature = -1"),
        (lambda: excess_risk(30, 10, noise=1.0, signal=math.nan), "signal = nan"),
        (lambda: excess_risk(10, 30, noise=1.0, temperature=0.1), "flat directions"),
    ],
)
def test_numbers_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
