"""Rough-potential diffusion against Bessel functions, quadratures, spectra and each other."""

import dataclasses
import math

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from theory.derivation import DerivationError
from theory.rough_diffusion import (
    cosine_diffusion,
    cosine_relaxation,
    gaussian_diffusion,
    kramers_limit,
    kramers_rate,
    lifson_jackson,
    passage_time,
    rough_potential_diffusion,
    spectral_gap,
    trapping_line,
    trapping_temperature,
)
from theory.rugged import RuggedBowl

# 1 / I0(eps/T)^2 by mpmath in 40 digits
SLOWED = {
    0.5: 0.88417573719436444288,
    1.0: 0.62386036043206918776,
    2.0: 0.19243687849167269437,
    3.0: 0.041977763405601019236,
}


@pytest.mark.parametrize("ratio", SLOWED)
def test_cosine_diffusion_and_relaxation(ratio):
    assert cosine_diffusion(ratio, 1.0) == pytest.approx(SLOWED[ratio], rel=1e-14)
    assert cosine_relaxation(3.0, ratio * 0.2, 0.2) == pytest.approx(3 * SLOWED[ratio], rel=1e-14)
    wave = lifson_jackson(lambda x: ratio * np.cos(7 * x + 1), 2 * np.pi / 7, 1.0)
    assert wave == pytest.approx(SLOWED[ratio], rel=1e-12)


def test_incommensurate_cosines_and_gaussian_roughness():
    # mpmath: 1 / (I0(1) I0(1/2))^2 and exp(-1)
    assert cosine_diffusion([1.0, 0.5], 1.0) == pytest.approx(0.55160219409136668392, rel=1e-14)
    assert gaussian_diffusion(0.3, 0.3) == pytest.approx(0.3 * 0.36787944117144232160, rel=1e-14)
    # many small cosines of random phase are Gaussian, of variance sum eps^2 / 2
    assert cosine_diffusion([0.02] * 5000, 1.0) == pytest.approx(
        gaussian_diffusion(1.0, 1.0), rel=2e-4
    )


def test_cold_limits_neither_overflow_nor_warn():
    assert cosine_diffusion(800.0, 1.0) == 0.0
    assert cosine_diffusion(1e300, 1e-300) == 0.0
    assert gaussian_diffusion(1e300, 1e-300) == 0.0
    assert kramers_rate(1.0, 1.0, 1e6, 1.0) == 0.0
    # three terms of the expansion of 1 / I0² at eps/T = 300, the next is 1e-8
    deep = 2 * math.pi * 300 * math.exp(-600) * (1 - 1 / 1200 - 3 / (32 * 300**2))
    assert cosine_diffusion(300.0, 1.0) == pytest.approx(deep, rel=1e-7)


def test_passage_time_between_bottoms_is_half_a_squared_period_over_the_diffusion():
    # mpmath's double integral, V = -2 cos x, T = 1
    time = passage_time(lambda x: -2 * np.cos(x), 0.0, -2 * np.pi, 2 * np.pi, 1.0)
    assert time == pytest.approx(102.5749791666512115, rel=1e-13)
    p = 2 * np.pi / 50
    for T in (0.1, 0.01, 0.0003):  # up to e^660, near the largest float
        time = passage_time(lambda x: -0.1 * np.cos(50 * x), 0.0, -p, p, T)
        assert time == pytest.approx(p * p / (2 * cosine_diffusion(0.1, T)), rel=1e-10)


def test_passage_time_where_it_is_known_in_closed_form():
    assert passage_time(lambda x: 0 * x, 0.3, -1.0, 2.0, 0.5) == pytest.approx(1.3 * 1.7, rel=1e-14)
    # constant slope f: (high - x)/f' corrected by the chance of the low end; from the equation
    T, f, low, high, x = 0.7, 1.3, -1.0, 2.0, 0.4
    chance = (1 - math.exp(f * (x - low) / T)) / (1 - math.exp(f * (high - low) / T))
    wanted = (x - low - chance * (high - low)) / f
    assert passage_time(lambda y: f * y, x, low, high, T) == pytest.approx(wanted, rel=1e-12)
    # a parabola without a lower end: sqrt(2 pi) times the integral of e^{z²/2} Phi(z)
    law = integrate.quad(
        lambda z: math.sqrt(2 * math.pi) * math.exp(z * z / 2) * stats.norm.cdf(z), 0, 1
    )[0]
    assert passage_time(lambda x: x * x / 2, 0.0, -math.inf, 1.0, 1.0) == pytest.approx(law, 1e-11)
    assert passage_time(lambda x: x * x / 2, 0.0, -1.0, math.inf, 1.0) == pytest.approx(law, 1e-11)
    assert passage_time(lambda x: x * x / 2, 1.0, -1.0, 1.0, 1.0) == 0.0


@settings(max_examples=30)
@given(st.floats(0.5, 3.0), st.floats(-0.9, 0.9), st.floats(0.0, 2.0))
def test_passage_time_solves_its_equation(T, x, slope):
    def potential(y):
        return slope * y + 0.2 * np.cos(3 * y)

    h = 2e-3
    a, b, c = (passage_time(potential, x + d, -1.0, 1.0, T) for d in (-h, 0.0, h))
    force = slope - 0.6 * math.sin(3 * x)
    # T tau'' - V' tau' = -1 by central differences, wrong by h²/12 times higher derivatives
    rest = T * (a - 2 * b + c) / h**2 - force * (c - a) / (2 * h)
    assert rest == pytest.approx(-1.0, abs=1e-3)


def test_lifson_jackson_with_kinks():
    # a sawtooth of height 1: <e^{V/T}> = T(e^{1/T} - 1), <e^{-V/T}> = T(1 - e^{-1/T})
    T = 0.5
    wanted = T / (T * (math.exp(1 / T) - 1) * T * (1 - math.exp(-1 / T)))
    assert lifson_jackson(lambda x: np.abs((x + 1) % 2 - 1), 2.0, T) == pytest.approx(wanted, 1e-10)


@pytest.mark.parametrize(("k", "gap"), [(10, 0.6095080804), (20, 0.6132555918), (40, 0.6213223845)])
def test_spectral_gap(k, gap):
    # ten digits from grids of 900 and 1300 points
    bowl = RuggedBowl(1.0, 0.1, float(k))
    levels = spectral_gap(bowl.grad, bowl.hess, 0.1, 9 * math.sqrt(0.1), 900)
    assert levels[1] == pytest.approx(gap, abs=1e-10)
    assert abs(levels[0]) < 1e-11


def test_kramers_rate():
    # mpmath: a cosine at half of its critical slope, eps/T = 4, in units eps k²
    rate = kramers_rate(math.sqrt(0.75), math.sqrt(0.75), 0.68485325637227954737, 0.25)
    assert rate == pytest.approx(0.0089051000403663179636, rel=1e-13)


def test_the_gap_of_a_deep_double_well_is_twice_kramers_rate():
    # V = x⁴/4 - x²/2: bottoms ±1 of curvature 2, top of curvature 1, barrier 1/4
    T = 0.02
    gap = spectral_gap(lambda x: x**3 - x, lambda x: 3 * x**2 - 1, T, 2.5, 300)[1]
    rate = kramers_rate(2.0, 1.0, 0.25, T)
    assert gap == pytest.approx(2 * rate, rel=3 * T / 0.25)
    # a second route: half of the time from a bottom to the top is passed back
    time = passage_time(lambda x: x**4 / 4 - x**2 / 2, -1.0, -math.inf, 0.0, T)
    assert gap == pytest.approx(1 / time, rel=0.02)


@given(st.floats(1e-6, 1e4), st.floats(1e-9, 600.0))
def test_trapping_temperature_is_on_the_line(roughness, exponent):
    time = math.exp(exponent)
    T = trapping_temperature(roughness, 1.0, time)
    # the rate times the time, by the rate's own function
    assert cosine_relaxation(1.0, roughness, T) * time == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("excess", [2.0**-20, 2.0**-40, 2.0**-50])
def test_trapping_temperature_just_beyond_the_time_of_a_smooth_bowl(excess):
    # I0(z)² = 1 + z²/2 + 3z⁴/32 + ...
    z = math.sqrt(2 * excess) * (1 - 3 * excess / 16)
    assert trapping_temperature(1.0, 1.0, 1 + excess) == pytest.approx(1 / z, rel=1e-9)


def test_trapping_temperature_approaches_its_asymptote():
    for time, bound in ((1e3, 0.05), (1e12, 0.005), (1e100, 1e-4)):
        ratio = 1 / trapping_temperature(1.0, 1.0, time)
        long = 0.5 * (math.log(time) + math.log(2 * math.pi * ratio))
        assert ratio == pytest.approx(long, rel=bound)


@pytest.mark.parametrize(
    ("make", "count"),
    [(rough_potential_diffusion, 7), (trapping_line, 4), (kramers_limit, 5)],
)
def test_derivations_check_and_can_fail(make, count):
    derivation = make()
    assert derivation.check() == count
    for number, step in enumerate(derivation.steps):
        if not step.residuals:
            continue
        spoiled = dataclasses.replace(step, residuals=(step.residuals[-1] + 1,))
        steps = (*derivation.steps[:number], spoiled)
        with pytest.raises(DerivationError):
            dataclasses.replace(derivation, steps=steps).check()


def test_derived_formulas_agree_with_the_functions():
    def number(expression, **values):
        """Evaluate an expression by the names of its symbols."""
        named = {str(symbol): symbol for symbol in expression.free_symbols}
        return float(expression.subs({named[key]: value for key, value in values.items()}))

    rough = rough_potential_diffusion().results
    assert number(rough["cosine"], epsilon=0.3, T=0.2) == pytest.approx(
        cosine_diffusion(0.3, 0.2) / 0.2, rel=1e-13
    )
    assert number(rough["gaussian"], sigma=0.3, T=0.2) == pytest.approx(
        gaussian_diffusion(0.3, 0.2) / 0.2, rel=1e-13
    )
    line = trapping_line().results
    assert number(line["rate"], a=2.0, z=1.5) == pytest.approx(
        cosine_relaxation(2.0, 0.3, 0.2), rel=1e-13
    )
    time = 1e12
    root = float(sp.LambertW(sp.Float(-1 / (math.pi * time)), -1))
    assert number(line["ratio"], W=root) == pytest.approx(
        1 / trapping_temperature(1.0, 1.0, time), rel=5e-3
    )
    deep = kramers_limit().results
    z = 40.0  # the next order is 0.1 / z²
    assert number(deep["diffusion"], epsilon=1.0, z=z) == pytest.approx(
        cosine_diffusion(1.0, 1 / z), rel=0.2 / z**2
    )


def still(x):
    """Return no energy."""
    return 0 * x


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cosine_diffusion(-1.0, 1.0), "roughness = -1"),
        (lambda: cosine_diffusion(1.0, 0.0), "temperature = 0"),
        (lambda: cosine_diffusion([], 1.0), "roughness has shape"),
        (lambda: cosine_relaxation(0.0, 1.0, 1.0), "curvature = 0"),
        (lambda: gaussian_diffusion(-0.1, 1.0), "deviation = -0.1"),
        (lambda: gaussian_diffusion(0.1, -1.0), "temperature = -1"),
        (lambda: kramers_rate(-1.0, 1.0, 1.0, 1.0), "bottom_curvature = -1"),
        (lambda: kramers_rate(1.0, 0.0, 1.0, 1.0), "top_curvature = 0"),
        (lambda: kramers_rate(1.0, 1.0, -1.0, 1.0), "barrier = -1"),
        (lambda: lifson_jackson(np.cos, 3.0, 1.0), "does not repeat"),
        (lambda: lifson_jackson(np.cos, -1.0, 1.0), "period = -1"),
        (lambda: lifson_jackson(lambda x: math.nan * x, 1.0, 1.0), "not finite"),
        (lambda: lifson_jackson(lambda x: 1e300 * np.cos(x), 2 * math.pi, 1.0), "varies too much"),
        (lambda: passage_time(still, 0.0, "far", 1.0, 1.0), "must be two numbers"),
        (lambda: spectral_gap(still, still, 1.0, 1e-300, 100), "beyond the largest float"),
        (lambda: cosine_diffusion(1.0, [1.0, 2.0]), "temperature = "),
        (lambda: passage_time(still, 2.0, -1.0, 1.0, 1.0), r"start = 2: must lie inside"),
        (lambda: passage_time(still, 0.0, 1.0, -1.0, 1.0), "must lie inside"),
        (lambda: passage_time(still, 0.0, math.nan, 1.0, 1.0), "must lie inside"),
        (lambda: passage_time(still, 0.0, -math.inf, math.inf, 1.0), "one end must be finite"),
        (lambda: passage_time(still, 0.0, -math.inf, 1.0, 1.0), "does not rise"),
        (lambda: passage_time(lambda x: -x * x, 0.0, -math.inf, 1.0, 1.0), "does not rise"),
        (lambda: passage_time(np.cos, 0.0, -6.0, 6.0, 0.001), "beyond the largest float"),
        (lambda: passage_time(lambda x: 1.0, 0.0, -1.0, 1.0, 1.0), "one energy a position"),
        (lambda: passage_time(lambda x: x / 0.0, 0.3, -1.0, 1.0, 1.0), "is not finite"),
        (lambda: passage_time(lambda x: np.sin(1e7 * x), 0.3, -1.0, 1.0, 0.1), "panels"),
        (lambda: spectral_gap(still, still, 0.0, 1.0, 100), "temperature = 0"),
        (lambda: spectral_gap(still, still, 1.0, 1.0, 8), "points = 8"),
        (lambda: spectral_gap(still, still, 1.0, 1.0, 100), "ground state"),
        (lambda: spectral_gap(lambda x: 1.0, still, 1.0, 1.0, 100), "gradient"),
        (lambda: trapping_temperature(0.0, 1.0, 10.0), "roughness = 0"),
        (lambda: trapping_temperature(1.0, 1.0, 0.5), "longer than 1/curvature"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message), np.errstate(all="ignore"):
        call()
