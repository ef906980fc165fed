"""Plasticity on both sides, spike by spike: exact values, brute force, short-term responses."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synapses.plasticity import Costa2015, costa2015_change, paired_pulse_ratio, timing_rule
from theory.derivation import DerivationError

PRE = (np.arange(5) * 0.02).tolist()
POST = (np.arange(5) * 0.02 + 0.01).tolist()


# by exact recursion in 40 digits from the published equations and constants
@pytest.mark.parametrize(
    ("pre", "post", "gain", "P", "q"),
    [
        ([0.01], [0.0], 1.0, 0.5 - 0.12489378557653424906, 1.0),
        (PRE, POST, 1.0, 0.70630811941169453229, 1.4674775294408381875),
        (PRE, POST, 0.15, 0.53094621791175417984, 1.0701216294161257281),
        (POST, PRE, 0.15, 0.46529182043994487253, 1.0574275639736647192),
    ],
)
def test_change_by_recursion_in_40_digits(pre, post, gain, P, q):
    assert costa2015_change(pre, post, gain=gain) == pytest.approx((P, q), rel=1e-13)


@given(
    pre=st.lists(st.integers(0, 400), max_size=6, unique=True),
    post=st.lists(st.integers(401, 800), max_size=6, unique=True),
    swap=st.booleans(),
)
def test_change_by_sums_over_all_spikes(pre, post, swap):
    # traces written out as sums over earlier spikes; a gain so small that no bound is met
    if swap:
        pre, post = post, pre
    pre, post = (np.array(sorted(t)) / 1000 for t in (pre, post))
    c, gain = Costa2015(), 0.01

    def trace(times, now, tau):
        return np.exp(-(now - times[times < now]) / tau).sum()

    P, q = 0.5, 1.0
    for t in pre:
        x, plus = trace(pre, t, c.x_plus_s), trace(post, t, c.y_plus_s)
        P += gain * (c.d_plus * x - c.d_minus * trace(post, t, c.y_minus_s)) * plus
    for t in post:
        q += gain * c.c_plus * trace(pre, t, c.x_plus_s) * trace(post, t, c.y_minus_s)
    found = costa2015_change(pre.tolist(), post.tolist(), gain=gain)
    assert found == pytest.approx((P, q), abs=1e-12)


def test_of_two_spikes_at_once_the_presynaptic_one_comes_first():
    fade = np.exp(-20 / np.array([66.6, 32.7, 230.2]))
    P, q = costa2015_change([0.005, 0.025], [0.005, 0.025])
    assert pytest.approx(0.5 + (0.1548 * fade[0] - 0.1771 * fade[1]) * fade[2], rel=1e-13) == P
    assert q == pytest.approx(1 + 0.0618 * (fade[0] + 1) * fade[1], rel=1e-13)


def test_neither_side_leaves_its_range():
    assert costa2015_change([0.01], [0.0], gain=5.0)[0] == 0.0
    assert costa2015_change(PRE, POST, gain=20.0) == (1.0, 2.0)


def test_no_partner_no_change():
    assert costa2015_change(PRE, []) == (0.5, 1.0)
    assert costa2015_change([], POST) == (0.5, 1.0)
    assert costa2015_change([0.0], [0.01]) == (0.5, 1.0)


@pytest.mark.parametrize("P", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("gap", [0.01, 0.05, 0.3])
def test_paired_pulse_ratio_by_integration(P, gap):
    # Euler steps of dr/dt = (1 - r)/D, dp/dt = (P - p)/F from after the first spike
    steps = 200_000
    r, p = 1 - P, P + P * (1 - P)
    for _ in range(steps):
        r, p = r + gap / steps * (1 - r) / 0.2, p + gap / steps * (P - p) / 0.05
    assert paired_pulse_ratio(P, gap) == pytest.approx(p * r / P, rel=1e-5)


def test_paired_pulse_ratio_falls_with_release_probability():
    ratios = [paired_pulse_ratio(P, 0.05) for P in np.linspace(0, 1, 11)]
    assert (np.diff(ratios) < 0).all()
    slow = Costa2015(recovery_s=0.8, facilitation_s=0.03)
    wanted = (1 + 0.5 * math.exp(-0.05 / 0.03)) * (1 - 0.5 * math.exp(-0.05 / 0.8))
    assert paired_pulse_ratio(0.5, 0.05, slow) == pytest.approx(wanted, rel=1e-14)


def test_the_derivation_checks_and_can_fail():
    derivation = timing_rule()
    assert derivation.check() == 5
    for number, step in enumerate(derivation.steps):
        if not step.residuals:
            continue
        spoiled = dataclasses.replace(step, residuals=(step.residuals[0] + 1,))
        steps = (*derivation.steps[:number], spoiled)
        with pytest.raises(DerivationError):
            dataclasses.replace(derivation, steps=steps).check()


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: costa2015_change([0.1, 0.0], []), r"pre_s\[1\] = 0.0 comes after"),
        (lambda: costa2015_change([], [-0.1]), r"post_s\[0\] = -0.1"),
        (lambda: costa2015_change([], [], gain=-1.0), "gain = -1"),
        (lambda: costa2015_change([], [], release_probability=1.5), "release_probability = 1.5"),
        (lambda: costa2015_change([], [], quantal_amplitude=2.5), "quantal_amplitude = 2.5"),
        (lambda: costa2015_change([], [], constants={}), "constants = {}: must be a Costa2015"),
        (lambda: paired_pulse_ratio(0.5, 0.0), "interval_s = 0"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
