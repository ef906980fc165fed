"""Firing rates against 20-digit quadrature, limits, and simulation event by event."""

import dataclasses
import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from theory.derivation import DerivationError
from theory.firing_rate import firing_rate, siegert_rate, synaptic_drive
from theory.shot_noise import shot_noise_rate

NEURON = {"tau_m_s": 0.02, "threshold": 20.0, "reset": 10.0, "refractory_s": 0.002}

# C = 1000 inputs of 9 Hz, mean amplitude 0.1 mV; quadrature in 40 digits
SIEGERT = {1.0: 3.2258932665317482675, 0.5: 7.0594487473572342786, 0.25: 11.139547445393699319}


def failing(p, mean=0.1):
    """Drive of 9000 spikes a second through one site, mean-matched."""
    return synaptic_drive(9000.0, 0.02, quantal_size=mean / p, release_probability=p)


def by_quadrature(mean, noise, tau_m_s, threshold, reset, refractory_s):
    """Siegert's formula in 30 digits."""
    with mp.workdps(30):
        low, high = ((mp.mpf(v) - mean) / mp.mpf(noise) for v in (reset, threshold))
        places = sorted({low, *(x for x in (mp.mpf(0), high - 1) if low < x < high), high})
        # erfc, as 1 + erf loses all digits far below zero
        area = mp.quad(lambda u: mp.exp(u * u) * mp.erfc(-u), places)
        return 1 / (mp.mpf(refractory_s) + mp.mpf(tau_m_s) * mp.sqrt(mp.pi) * area)


@pytest.mark.parametrize("p", SIEGERT)
def test_siegert_by_quadrature_in_40_digits(p):
    mean, noise = failing(p)
    assert mean == pytest.approx(18.0, rel=1e-15)
    assert noise == pytest.approx(math.sqrt(1.8 / p), rel=1e-15)
    assert siegert_rate(mean, noise, **NEURON) == pytest.approx(SIEGERT[p], rel=1e-12)


def test_five_sites_by_quadrature_in_40_digits():
    drive = synaptic_drive(9000.0, 0.02, quantal_size=0.1 / 1.5, sites=5, release_probability=0.3)
    assert siegert_rate(*drive, **NEURON) == pytest.approx(5.2934872567286116538, rel=1e-12)


@settings(max_examples=30)
@given(
    mean=st.floats(-30, 60),
    noise=st.floats(0.3, 30),
    reset=st.floats(-10, 19.9),
    dead=st.sampled_from([0.0, 0.002]),
)
def test_siegert_wherever_the_mean_lies(mean, noise, reset, dead):
    neuron = {"tau_m_s": 0.01, "threshold": 20.0, "reset": reset, "refractory_s": dead}
    wanted = by_quadrature(mean, noise, **neuron)
    found = siegert_rate(mean, noise, **neuron)
    if wanted < mp.mpf(10) ** -300:
        assert found < 1e-299
    else:
        # the exponent (theta - mu)^2 / sigma^2, at most 3e4 here, loses that many units of rounding
        assert found == pytest.approx(float(wanted), rel=1e-11)


def test_rates_beyond_the_range_of_exponentials():
    # leading order: nu = (theta - mu) / (tau sigma sqrt(pi)) exp(-((theta - mu) / sigma)^2)
    found = siegert_rate(0.0, 1.0, tau_m_s=0.02, threshold=26.5, reset=0.0)
    log_wanted = math.log(26.5 / (0.02 * math.sqrt(math.pi))) - 26.5**2
    assert math.log(found) == pytest.approx(log_wanted + math.log1p(-0.5 / 26.5**2), abs=1e-5)
    assert siegert_rate(0.0, 1.0, tau_m_s=0.02, threshold=1e6, reset=0.0) == 0.0


def test_without_noise_the_neuron_is_a_clock():
    period = 0.002 + 0.02 * math.log((25 - 10) / (25 - 20))
    assert siegert_rate(25.0, 0.0, **NEURON) == pytest.approx(1 / period, rel=1e-14)
    assert siegert_rate(25.0, 1e-9, **NEURON) == pytest.approx(1 / period, rel=1e-12)
    assert siegert_rate(25.0, 1e-320, **NEURON) == pytest.approx(1 / period, rel=1e-12)
    assert siegert_rate(20.0, 0.0, **NEURON) == 0.0
    assert siegert_rate(19.0, 0.0, **NEURON) == 0.0


def test_moments_of_the_drive_by_sampling_quanta():
    # E[A] and E[A^2] from a million amplitudes, 5 standard errors
    rng = np.random.default_rng(5)
    counts = rng.binomial(4, 0.35, 1_000_000)
    amplitudes = rng.gamma(counts / 0.16, 0.7 * 0.16)
    mean, noise = synaptic_drive(
        1.0, 1.0, quantal_size=0.7, sites=4, release_probability=0.35, quantal_cv=0.4
    )
    for power, wanted in ((1, mean), (2, noise**2)):
        sample = amplitudes**power
        assert abs(sample.mean() - wanted) < 5 * sample.std() / 1000


def by_events(rate, jump, chances, seconds, seed):
    """Spikes of a neuron simulated event by event, exactly; return rate and its standard error."""
    rng = np.random.default_rng(seed)
    events = rng.poisson(rate * seconds)
    gaps = np.diff(np.sort(rng.uniform(0, seconds, events)), prepend=0.0)
    quanta = rng.choice(len(chances), events, p=chances)
    v, held, intervals, since = 10.0, 0.0, [], 0.0
    for gap, count in zip(gaps.tolist(), quanta.tolist(), strict=True):
        since += gap
        if since < held:
            continue
        v *= math.exp(-min(gap, since - held) / 0.02)
        v += jump * count
        if v >= 20.0:
            intervals.append(since)
            v, since, held = 10.0, 0.0, 0.002
    times = np.array(intervals[1:])
    return 1 / times.mean(), times.std() / math.sqrt(times.size) / times.mean() ** 2


@pytest.mark.parametrize(
    ("rate", "jump", "chances"),
    [
        (900.0, 4.0, [0.75, 0.25]),
        (900.0, 1.0, [0.0, 1.0]),
        (900.0, 1 / 1.5, stats.binom.pmf(range(6), 5, 0.3)),
        (60.0, 17.3, [0.2, 0.5, 0.3]),
    ],
)
def test_shot_noise_by_simulation_event_by_event(rate, jump, chances):
    found, error = by_events(rate, jump, chances, 4e5 / rate, 7)
    wanted = shot_noise_rate(rate, jump, np.asarray(chances), **NEURON)
    assert abs(found - wanted) < 4 * error
    assert error < 0.02 * wanted


def test_shot_noise_becomes_diffusion_as_jumps_become_small():
    # the mean stays at 18, the noise falls with the jump: each has a Siegert rate of its own
    errors = []
    for size in (0.4, 0.1, 0.025):
        rate = 18 / (0.02 * size)
        exact = shot_noise_rate(rate, size, np.array([0.0, 1.0]), **NEURON | {"threshold": 18.5})
        drive = synaptic_drive(rate, 0.02, quantal_size=size)
        errors.append(abs(siegert_rate(*drive, **NEURON | {"threshold": 18.5}) / exact - 1))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.02


def test_events_that_bring_nothing_are_no_events():
    thinned = shot_noise_rate(4500.0, 0.2, np.array([0.0, 1.0]), **NEURON)
    failing_ones = shot_noise_rate(9000.0, 0.2, np.array([0.5, 0.5]), **NEURON)
    assert failing_ones == pytest.approx(thinned, rel=1e-11)


def test_one_jump_that_is_large_enough_fires_at_once():
    # every event fires: the mean interval is the refractory time and one waiting time
    rate = shot_noise_rate(50.0, 25.0, np.array([0.0, 1.0]), **NEURON)
    assert rate == pytest.approx(1 / (0.002 + 1 / 50), rel=1e-12)


def test_the_number_of_points_is_enough(monkeypatch):
    weights = stats.binom.pmf(range(6), 5, 0.3)
    few = shot_noise_rate(900.0, 4.0, weights, **NEURON)
    monkeypatch.setattr("theory.shot_noise.NODES", 24)
    assert shot_noise_rate(900.0, 4.0, weights, **NEURON) == pytest.approx(few, rel=1e-9)


def test_the_derivation_checks_and_can_fail():
    derivation = firing_rate()
    assert derivation.check() == 9
    for number, step in enumerate(derivation.steps):
        if not step.residuals:
            continue
        spoiled = dataclasses.replace(step, residuals=(step.residuals[0] + 1,))
        steps = (*derivation.steps[:number], spoiled, *derivation.steps[number + 1 :])
        with pytest.raises(DerivationError):
            dataclasses.replace(derivation, steps=steps).check()


def test_the_second_moment_of_the_derivation_is_that_of_the_code():
    moment = firing_rate().results["second_moment"]
    values = {"N": 4, "p": 0.35, "q": 0.7, "c": 0.4}
    number = float(moment.subs({s: values[s.name] for s in moment.free_symbols}))
    _, noise = synaptic_drive(
        30.0, 0.5, quantal_size=0.7, sites=4, release_probability=0.35, quantal_cv=0.4
    )
    assert noise**2 == pytest.approx(15 * number, rel=1e-14)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: synaptic_drive(-1.0, 0.02, quantal_size=1.0), "rate_hz = -1"),
        (lambda: synaptic_drive(1.0, 0.02, quantal_size=1.0, sites=0), "sites = 0"),
        (
            lambda: synaptic_drive(1.0, 0.02, quantal_size=1.0, release_probability=1.1),
            "release_probability = 1.1",
        ),
        (lambda: siegert_rate(1.0, -1.0, **NEURON), "noise = -1"),
        (lambda: siegert_rate(1.0, 1.0, **NEURON | {"reset": 20.0}), "reset = 20"),
        (lambda: siegert_rate(math.nan, 1.0, **NEURON), "mean = nan"),
        (lambda: shot_noise_rate(0.0, 1.0, np.array([0.0, 1.0]), **NEURON), "rate_hz = 0"),
        (lambda: shot_noise_rate(1.0, 0.01, np.array([0.0, 1.0]), **NEURON), "jump = 0.01"),
        (lambda: shot_noise_rate(1.0, 1.0, np.array([0.5, 0.6]), **NEURON), "add up to 1"),
        (lambda: shot_noise_rate(1.0, 1.0, np.array([1.0, 0.0]), **NEURON), "some event"),
        (
            lambda: shot_noise_rate(1.0, 1.0, np.array([0.0, 1.0]), **NEURON | {"reset": -1.0}),
            "reset = -1: must be >= 0",
        ),
    ],
)
def test_numbers_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
