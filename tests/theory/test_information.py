"""Information, short-term plasticity and their derivations against enumeration and simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory import information
from theory.derivation import DerivationError
from theory.information import (
    best_release_probability,
    binary_entropy,
    depression_steady_state,
    facilitation_steady_state,
    release_information,
    site_covariance,
)


@given(s=st.floats(0.001, 0.999), p=st.floats(0.001, 1), sites=st.integers(1, 5))
def test_information_by_the_joint_law_of_spike_and_count(s, p, sites):
    chances = [math.comb(sites, k) * p**k * (1 - p) ** (sites - k) for k in range(sites + 1)]
    joint = {(1, k): s * c for k, c in enumerate(chances)} | {(0, 0): 1 - s}
    count = {}
    for (_, k), value in joint.items():
        count[k] = count.get(k, 0.0) + value
    total = sum(
        v * math.log2(v / ((s if spike else 1 - s) * count[k]))
        for (spike, k), v in joint.items()
        if v > 0
    )
    assert release_information(s, p, sites) == pytest.approx(total, abs=1e-12)


def test_information_at_four_hertz_in_bins_of_2_5_ms():
    # 40-digit arithmetic; the setting is that of Harris et al. (2012)
    assert binary_entropy(0.01) == pytest.approx(0.080793135895911172825, rel=1e-13)
    assert release_information(0.01, 0.5) == pytest.approx(0.035414692333794101376, rel=1e-13)
    assert release_information(0.01, 0.3, 4) == pytest.approx(0.056465982068458207113, rel=1e-13)
    per_release = [release_information(0.01, p) / (0.01 * p) for p in (1.0, 0.25, 1e-6)]
    # failures cost information per release; the limit is -log2 s
    assert per_release == pytest.approx([8.0793135895911, 6.83963385933738, 6.6438561], rel=1e-6)


def test_best_release_probabilities():
    # golden-section search in 40 digits
    cases = [
        (4, 0.5, 0.26531400945093429462),
        (10, 0.5, 0.10012939840459200224),
        (4, 0.1, 0.13582351521264109065),
        (10, 0.1, 0.049487502540406276415),
        (1, 0.5, 1.0),
    ]
    for sites, cost, wanted in cases:
        assert best_release_probability(0.01, sites, cost) == pytest.approx(wanted, abs=1e-13)


def test_the_best_release_probability_where_spikes_cost_little():
    # to second order I = s [b - d b^2 / 2] with b = Np, so that I/(c + b) is best at b^2 = 2c/d
    s, sites, cost = 0.01, 4, 1e-11
    bend = (1 - 1 / sites) - (1 - s) / -math.log(s)
    expected = math.sqrt(2 * cost / bend) / sites
    assert best_release_probability(s, sites, cost) == pytest.approx(expected, rel=1e-4)


def test_spikes_for_free_have_no_best_release_probability():
    # one site: 8.08 bits a release at p = 1, -log2 s = 6.64 at p -> 0; four sites: 2.02 and 6.64
    assert best_release_probability(0.01, 1, 0.0) == 1.0
    with pytest.raises(ValueError, match=r"spike_cost = 0.0: .* hardly ever release"):
        best_release_probability(0.01, 4, 0.0)


def test_the_best_is_better_than_its_neighbours():
    best = best_release_probability(0.05, 6, 0.3)
    gains = [release_information(0.05, p, 6) / (0.3 + 6 * p) for p in np.linspace(0.01, 1, 500)]
    assert release_information(0.05, best, 6) / (0.3 + 6 * best) >= max(gains)


def test_depression_in_a_regular_train():
    x = depression_steady_state(0.5, 0.8, 0.05)
    assert x == pytest.approx(0.11425171301326118144, rel=1e-14)
    full, keep = 1.0, math.exp(-0.05 / 0.8)
    for _ in range(200):  # spike by spike from full
        full = 1 - (1 - full * 0.5) * keep
    assert full == pytest.approx(x, rel=1e-12)


@pytest.mark.parametrize("lag", [0, 1, 2, 3])
def test_covariance_by_enumeration_of_one_sites_histories(lag):
    use, tau, gap = 0.4, 0.3, 0.1
    refill, x = 1 - math.exp(-gap / tau), depression_steady_state(use, tau, gap)
    both = 0.0
    for path in itertools.product((0, 1), repeat=2 * lag + 2):
        chance, full, released = 1.0, None, []
        for step in range(lag + 1):
            up, out = path[2 * step], path[2 * step + 1]
            # the first spike meets the steady state
            likely = x if full is None else 1.0 if full else refill
            chance *= likely if up else 1 - likely
            chance *= (use if out else 1 - use) if up else (0.0 if out else 1.0)
            released.append(out)
            full = bool(up and not out)
        both += chance * released[0] * released[-1]
    wanted = both - (use * x) ** 2
    assert site_covariance(3, use, tau, gap, lag) == pytest.approx(3 * wanted, abs=1e-14)


def test_facilitation_spike_by_spike():
    for rate, wanted in ((20, 0.16548553764610219816), (70, 0.095519802447572109325)):
        u_ss, x_ss = facilitation_steady_state(0.03, 0.13, 0.53, 1 / rate)
        assert u_ss * x_ss == pytest.approx(wanted, rel=1e-13)
        u, x = 0.0, 1.0
        for _ in range(2000):
            u = u + 0.03 * (1 - u)
            out = u * x
            x = 1 - (1 - x * (1 - u)) * math.exp(-1 / rate / 0.13)
            u *= math.exp(-1 / rate / 0.53)
        assert u_ss * x_ss == pytest.approx(out, rel=1e-10)


@pytest.mark.parametrize(
    "name", ["quantal_moments", "depression_covariance", "channel_information"]
)
def test_derivations_check_and_can_fail(name):
    import dataclasses

    derivation = getattr(information, name)()
    assert derivation.check() >= 3
    step = next(step for step in derivation.steps if step.residuals)
    spoiled = dataclasses.replace(step, residuals=(step.residuals[0] + 1,))
    with pytest.raises(DerivationError):
        dataclasses.replace(derivation, steps=(spoiled,)).check()


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: binary_entropy(1.1), "probability = 1.1"),
        (lambda: release_information(0.1, -0.1), "release = -0.1"),
        (lambda: release_information(0.1, 0.5, 0), "sites = 0"),
        (lambda: best_release_probability(0.0, 1, 1.0), "spike = 0.0"),
        (lambda: depression_steady_state(0.5, 0.0, 1.0), "recovery_s = 0.0"),
        (lambda: site_covariance(1, 0.5, 1.0, 1.0, -1), "lag = -1"),
        (lambda: facilitation_steady_state(0.5, 1.0, -1.0, 1.0), "facilitation_s = -1.0"),
    ],
)
def test_numbers_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
