"""The Gibbs law of the rugged bowl against mpmath, from freezing to boiling."""

import dataclasses
import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory import _gibbs
from theory._gibbs import basin_integrals, bowl_moments
from theory._stationary import find_wells
from theory.rugged import RuggedBowl

# np.pi stands for half a turn: two wells are then equally deep
HALF_TURN = np.pi


def exact_phase(phase):
    return mp.pi if phase == HALF_TURN else mp.mpf(phase)


def by_series(r, phase, t):
    """Moments by the Bessel series in 80 digits, where its terms may cancel."""
    with mp.workdps(80):
        r, t, phase = mp.mpf(r), mp.mpf(t), exact_phase(phase)
        z = r / t
        numbers = range(int(mp.sqrt(400 / t)) + 2)
        bessel = [mp.besseli(n, z) for n in range(len(numbers) + 1)]
        weight = [
            (1 if n == 0 else 2) * mp.exp(-n * n * t / 2) * mp.cos(n * phase) for n in numbers
        ]
        total = sum(bessel[n] * weight[n] for n in numbers)
        second = t - t * t * sum(n * n * bessel[n] * weight[n] for n in numbers) / total
        cosine = sum((bessel[abs(n - 1)] + bessel[n + 1]) / 2 * weight[n] for n in numbers) / total
        log_z = mp.log(2 * mp.pi * t) / 2 + mp.log(total)
        return log_z, second, second / 2 - r * cosine, 1 + r * cosine


def by_local_quadrature(r, phase, t, guesses, scale):
    """Moments by sums over fine grids about given minima, for walkers that stay near them."""
    with mp.workdps(50):
        r, t, phase = mp.mpf(r), mp.mpf(t), exact_phase(phase)

        def loss(u):
            return u * u / 2 - r * mp.cos(u + phase)

        places = [mp.findroot(lambda u: u + r * mp.sin(u + phase), mp.mpf(g)) for g in guesses]
        base = min(loss(u) for u in places)
        # the trapezoid rule is exact to exp(-(2π·4)²/2) for a Gaussian of this width
        grid = [place + mp.mpf(scale) * m / 4 for place in places for m in range(-56, 57)]
        weights = [mp.exp(-(loss(u) - base) / t) for u in grid]
        mass = mp.fsum(weights)

        def mean(f):
            return mp.fsum(w * f(u) for w, u in zip(weights, grid, strict=True)) / mass

        log_z = mp.log(mass * mp.mpf(scale) / 4) - base / t
        return log_z, mean(lambda u: u * u), mean(loss), mean(lambda u: 1 + r * mp.cos(u + phase))


def worst(found, wanted):
    return max(float(abs(mp.mpf(f) / w - 1)) for f, w in zip(found, wanted, strict=True))


def test_moments_of_the_default_bowl():
    # 20 digits by mpmath: series and quadrature agreed
    moments = RuggedBowl(1.0, 0.1, 5.0).gibbs(0.1)
    assert math.exp(moments.log_partition) == pytest.approx(1.261715229262590256, rel=1e-13)
    assert moments.second_moment == pytest.approx(0.047987012282449362014, rel=1e-13)
    assert moments.mean_loss == pytest.approx(-0.036992974077746535236, rel=1e-13)
    assert moments.mean_curvature == pytest.approx(2.5246620054742804061, rel=1e-13)


@pytest.mark.parametrize("t", [0.05, 0.5, 1.99, 2.01, 30.0])
@pytest.mark.parametrize("phase", [0.0, -0.7, 3.0, HALF_TURN])
@pytest.mark.parametrize("r", [0.0, 0.7, 4.6, 12.0, 1e3])
def test_moments_against_the_series_in_80_digits(r, phase, t):
    assert worst(bowl_moments(r, phase, t), by_series(r, phase, t)) < 1e-13


@pytest.mark.parametrize(("r", "phase", "t"), [(1.9e9, 0.4, 2.0), (1e12, 1.0, 5.0)])
def test_moments_beyond_the_arguments_of_the_library_bessel_functions(r, phase, t):
    assert worst(bowl_moments(r, phase, t), by_series(r, phase, t)) < 1e-12


@pytest.mark.parametrize(
    ("r", "phase", "t", "guesses", "scale"),
    [
        (12.0, 0.0, 1e-12, [0], 3e-7),
        (12.0, 1.0, 1e-12, [-0.92], 3e-7),
        (5.0, HALF_TURN, 1e-12, [-2.6, 2.6], 5e-7),  # two wells, equally deep
        (5.0, HALF_TURN, 1e-3, [-2.6, 2.6], 1.5e-2),
        (1.0, HALF_TURN, 1e-12, [0], 5e-4),  # a bottom of fourth order
        (1e6, HALF_TURN, 1e-9, [-np.pi, np.pi], 3.2e-8),
        (4.6033388487517, 0.0, 1e-3, [0], 1.4e-2),
    ],
)
def test_moments_close_to_freezing(r, phase, t, guesses, scale):
    wanted = by_local_quadrature(r, phase, t, guesses, scale)
    assert worst(bowl_moments(r, phase, t), wanted) < 1e-12


def test_nearly_equal_wells_keep_their_ratio():
    # the wells differ in energy by 2u·1e-9, which rounding of the energies would swamp at t = 1e-9
    r, offset, t = 5.0, 1e-9, 1e-9
    wells = find_wells(r, math.pi - offset)
    mass = basin_integrals(wells, r, t)[:, 0]
    u = wells.minima[1]
    # to first order in the offset: energies by the envelope theorem, widths alike
    assert math.log(mass[0] / mass[1]) == pytest.approx(2 * u * offset / t, rel=1e-7)


@settings(max_examples=30)
@given(
    r=st.floats(0.0, 50.0),
    phase=st.floats(-4.0, 4.0),
    t=st.floats(1.0, 4.0),
)
def test_series_and_quadrature_agree_where_they_meet(r, phase, t):
    wells = find_wells(r, phase, 8)
    mass, square, energy, curvature = basin_integrals(wells, r, t).sum(axis=0)
    series = _gibbs._series(r, phase, t)
    assert square / mass == pytest.approx(series.second_moment, rel=1e-12)
    assert curvature / mass == pytest.approx(series.mean_curvature, rel=1e-12)
    assert wells.base + energy / mass == pytest.approx(series.mean_loss, abs=1e-12 * (1 + r))
    assert math.log(mass) + math.log(t) / 2 - wells.base / t == pytest.approx(
        series.log_partition, abs=1e-12 * (1 + r)
    )


@pytest.mark.parametrize("temperature", [1e-12, 1e-3, 0.4, 50.0])
@pytest.mark.parametrize("phase", [0.0, 0.9, HALF_TURN])
def test_derivatives_of_the_partition_function(phase, temperature):
    # <x²> = -2T d ln Z/da by a central difference of the bowl's own ln Z
    step = 1e-4

    def log_z(curvature):
        return RuggedBowl(curvature, 0.2, 5.0, phase).gibbs(temperature).log_partition

    slope = (log_z(1 + step) - log_z(1 - step)) / (2 * step)
    wanted = RuggedBowl(1.0, 0.2, 5.0, phase).gibbs(temperature).second_moment
    # the difference itself is wrong by step²/6 and by rounding of ln Z
    rounding = 4e-16 * abs(log_z(1.0)) / step * 2 * temperature
    assert -2 * temperature * slope == pytest.approx(wanted, rel=1e-6, abs=rounding)


def test_a_cold_bowl_is_a_parabola_and_a_hot_one_has_no_ripples():
    bowl = RuggedBowl(2.0, 0.3, 4.0)
    cold, hot = bowl.gibbs(1e-13), bowl.gibbs(1e9)
    assert cold.second_moment == pytest.approx(1e-13 / (2.0 + 0.3 * 16), rel=1e-11)
    assert cold.mean_curvature == pytest.approx(2.0 + 0.3 * 16, rel=1e-11)
    assert hot.second_moment == pytest.approx(1e9 / 2.0, rel=1e-12)
    assert hot.mean_loss == pytest.approx(1e9 / 2, rel=1e-9)
    # nothing overflows or underflows at any scale
    for temperature in (1e-300, 1e-100, 1e100, 1e250, 1e307):
        moments = bowl.gibbs(temperature)
        assert np.isfinite(dataclasses.astuple(moments)).all()
        curvature = 2.0 + 0.3 * 16 if temperature < 1 else 2.0
        assert moments.second_moment == pytest.approx(temperature / curvature, rel=1e-11, abs=0)
        wanted = math.log(2 * math.pi / curvature) / 2 + math.log(temperature) / 2
        wanted += 0.3 / temperature if temperature < 1 else 0
        assert moments.log_partition == pytest.approx(wanted, rel=1e-12)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("temperature", "message"),
    [
        (0.0, "temperature = 0"),
        (-1.0, "temperature = -1"),
        (float("nan"), "temperature = nan"),
        ("hot", "temperature = 'hot'"),
        (1e308, "range of floats"),
    ],
)
def test_temperatures_out_of_range_are_refused(temperature, message):
    with pytest.raises(ValueError, match=message):
        RuggedBowl().gibbs(temperature)
