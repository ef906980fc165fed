"""Trial Gaussians against twenty-digit numbers, the Gibbs law and their derivation."""

import dataclasses
import math

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from theory.derivation import DerivationError
from theory.variational import (
    CRITICAL_POINT,
    coexistence,
    gaussian_variational,
    gaussian_variational_branches,
    spinodals,
)


def test_spinodals_and_coexistence_to_the_last_digit():
    # 20 digits: mpmath's findroot on the stationarity, fold and equal-energy conditions
    low, high = spinodals(20.0)
    assert low == pytest.approx(10.916824206185603924, rel=4e-16)
    assert high == pytest.approx(16.865760683099629448, rel=4e-16)
    meeting = coexistence(20.0)
    assert meeting.temperature == pytest.approx(14.132476292809124273, rel=1e-15)
    assert meeting.narrow == pytest.approx(1.1569964092004663837, rel=2e-15)
    assert meeting.broad == pytest.approx(13.86155472815145727, rel=2e-15)


def test_the_two_branches_meet_at_the_critical_point():
    rho, t, x = CRITICAL_POINT
    assert (rho, t, x) == (math.exp(2), 8.0, 4.0)
    (only,) = gaussian_variational(rho, t)
    assert only.width == pytest.approx(x, abs=1e-4)  # a threefold root: the cube root of rounding
    for excess in (1e-2, 1e-4, 1e-8):
        low, high = spinodals(rho * (1 + excess))
        assert 0 < high - low < 8 * excess**1.5
        assert low <= coexistence(rho * (1 + excess)).temperature <= high
        # dt/dρ = x exp(-x/2) at the critical point, times ρ: 4
        assert low == pytest.approx(8 + 4 * excess, rel=1.1 * excess**1.5)


def test_rounding_at_the_critical_point_is_no_error():
    # the spinodals are a few units of rounding apart, and the folds 1e-7
    for units in (1, 3, 10, 100, 1000, 10_000):
        rho = CRITICAL_POINT[0] * (1 + units * 2.3e-16)
        meeting = coexistence(rho)
        assert meeting.temperature == pytest.approx(8.0, rel=1e-11)
        for t in (*spinodals(rho), meeting.temperature):
            for branch in gaussian_variational(rho, t):
                assert branch.width == pytest.approx(4.0, rel=1e-3)


def test_the_number_of_branches_changes_at_the_spinodals_alone():
    low, high = spinodals(20.0)
    for t, stable in (
        (low * (1 - 1e-9), [True]),
        (low, [True]),
        (low * (1 + 1e-9), [True, False, True]),
        (high * (1 - 1e-9), [True, False, True]),
        (high, [True]),
        (high * (1 + 1e-9), [True]),
    ):
        assert [branch.stable for branch in gaussian_variational(20.0, t)] == stable


@given(rho=st.floats(0, 200), t=st.floats(0.05, 300))
def test_branches_are_stationary_and_bound_the_gibbs_free_energy(rho, t):
    branches = gaussian_variational(rho, t)
    widths = [branch.width for branch in branches]
    assert widths == sorted(widths)
    for branch in branches:
        x = branch.width
        assert x * (1 + rho * math.exp(-x / 2)) == pytest.approx(t, rel=1e-11)
    reach = 12 * math.sqrt(t) + 1
    u = np.linspace(-reach, reach, 20_001)
    law = np.exp(-(u**2 / 2 + rho * (1 - np.cos(u))) / t)
    exact = -rho - t * math.log(np.trapezoid(law, u))
    # the slack is the rule's rounding
    assert min(branch.free_energy for branch in branches) >= exact - 1e-9 * (1 + abs(exact))


def test_without_roughness_the_gaussian_is_the_gibbs_law():
    (only,) = gaussian_variational(0.0, 3.0)
    assert only.width == pytest.approx(3.0, rel=1e-15)
    assert only.free_energy == pytest.approx(-1.5 * math.log(2 * math.pi * 3), rel=1e-14)


def test_the_gibbs_law_has_no_jump_where_the_gaussian_does():
    second = []
    for t in (10.0, 12.0, 14.13, 16.0):
        law = [
            quad(
                lambda u, n=n, t=t: u**n * math.exp(-(u * u / 2 + 20 * (1 - math.cos(u))) / t),
                0, 60, limit=400,
            )[0]
            for n in (0, 2)
        ]  # fmt: skip
        second.append(law[1] / law[0])
    assert np.round(second, 2).tolist() == [9.07, 11.55, 13.93, 15.91]
    narrow, _, broad = gaussian_variational(20.0, 14.13)
    assert narrow.width < 1.2 < 13.8 < broad.width


def test_the_derivation_checks_can_fail_and_agrees_with_the_kernel():
    derivation = gaussian_variational_branches()
    assert derivation.check() == 9
    for step in derivation.steps:
        spoiled = dataclasses.replace(step, residuals=(step.residuals[-1] + 1,))
        with pytest.raises(DerivationError):
            dataclasses.replace(derivation, steps=(spoiled,)).check()
    x, rho, t = sp.symbols("x rho t", positive=True)
    at = {rho: 20, t: 14}
    for branch in gaussian_variational(20.0, 14.0):
        here = {**at, x: branch.width}
        assert float(derivation.results["temperature"].subs(here)) == pytest.approx(14, rel=1e-13)
        wanted = float(derivation.results["free_energy"].subs(here))
        assert branch.free_energy == pytest.approx(wanted, rel=1e-13)
        assert (derivation.results["slope"].subs(here) > 0) == branch.stable


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gaussian_variational(-1.0, 1.0), "ruggedness = -1"),
        (lambda: gaussian_variational(1.0, 0.0), "reduced_temperature = 0"),
        (lambda: gaussian_variational(1.0, math.nan), "reduced_temperature = nan"),
        (lambda: gaussian_variational(1e200, 1e-110), "reduced_temperature = 1e-110"),
        (lambda: gaussian_variational(1.0, 1e301), r"reduced_temperature = 1e\+301"),
        (lambda: spinodals(7.0), "ruggedness = 7"),
        (lambda: spinodals(math.exp(2)), r"ruggedness = 7\.389"),
        (lambda: coexistence(0.0), "ruggedness = 0"),
    ],
)
def test_numbers_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
