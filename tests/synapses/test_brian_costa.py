"""Plasticity on both sides of the synapse in brian2, against recursions and exact values."""

import numpy as np
import pytest
from brian_run import QUIET, quiet_brian2

from synapses.brian import Costa2015, costa2015

pytestmark = QUIET


@pytest.fixture
def b2():
    with quiet_brian2() as module:
        yield module


def spikes(b2, times):
    return b2.SpikeGeneratorGroup(1, [0] * len(times), np.asarray(times) * b2.ms)


def after(b2, pre, post, length=120, **words):
    """Return the synapse after spikes at the times given, in ms."""
    source, driver = spikes(b2, pre), spikes(b2, post)
    target = b2.NeuronGroup(1, "v : volt\ndrive : 1", threshold="drive > 0.5", reset="drive = 0")
    # drives the target to a spike one step later
    kick = b2.Synapses(driver, target, on_pre="drive_post = 1")
    kick.connect()
    S = costa2015(source, target, amplitude=2 * b2.mV, record=True, **words)
    S.pre.delay = b2.defaultclock.dt
    b2.Network(source, driver, target, kick, S).run(length * b2.ms)
    return S, target


FORWARD = ([0, 20, 40, 60, 80], [10, 30, 50, 70, 90])
"""Five pairs at 50 Hz, presynaptic spike 10 ms before the postsynaptic one."""


# by exact recursion in 40 digits from the published equations and constants
@pytest.mark.parametrize(
    ("pre", "post", "gain", "P", "q"),
    [
        ([10], [0], 1.0, 0.5 - 0.12489378557653424906, 1.0),
        (*FORWARD, 1.0, 0.70630811941169453229, 1.4674775294408381875),
        (*FORWARD, 0.15, 0.53094621791175417984, 1.0701216294161257281),
        (*FORWARD[::-1], 0.15, 0.46529182043994487253, 1.0574275639736647192),
    ],
)
def test_pairs_move_release_probability_and_amplitude(b2, pre, post, gain, P, q):
    S, _ = after(b2, pre, post, gain=gain)
    assert S.P_syn[0] == pytest.approx(P, rel=1e-12)
    assert S.q_syn[0] == pytest.approx(q, rel=1e-12)


def test_transmission_is_that_of_short_term_plasticity(b2):
    # by hand: r recovers with 200 ms, p decays to P with 50 ms, both used before they jump
    times = [3, 13, 20, 50, 90]
    S, target = after(b2, times, [], release_probability=0.3, quantal_amplitude=1.5)
    r, p, last, shares = 1.0, 0.3, None, []
    for time in times:
        if last is not None:
            r = 1 - (1 - r) * np.exp(-(time - last) / 200)
            p = 0.3 + (p - 0.3) * np.exp(-(time - last) / 50)
        shares.append((p, r))
        r, p, last = r - p * r, p + 0.3 * (1 - p), time
    np.testing.assert_allclose(S.recorder["p"], [p for p, _ in shares], rtol=1e-13)
    np.testing.assert_allclose(S.recorder["r"], [r for _, r in shares], rtol=1e-13)
    assert S.recorder["P"].tolist() == [0.3] * 5  # no postsynaptic spike, no plasticity
    assert S.recorder["q"].tolist() == [1.5] * 5
    total = 2e-3 * 1.5 * sum(p * r for p, r in shares)
    assert float(target.v[0]) == pytest.approx(total, rel=1e-13)


def test_short_term_plasticity_relaxes_to_the_learned_probability(b2):
    S, _ = after(b2, [10, 110], [0], gain=1.0)
    P = 0.5 - 0.12489378557653424906
    used = P + (0.5 + 0.5 * 0.5 - P) * np.exp(-100 / 50)
    assert S.recorder["p"][1] == pytest.approx(used, rel=1e-12)


def test_neither_side_leaves_its_range(b2):
    S, _ = after(b2, [10], [0], gain=5.0)  # would take 0.62 of 0.5
    assert S.P_syn[0] == 0.0
    pre = np.arange(0, 100, 20)
    S, _ = after(b2, pre, pre + 5, gain=20.0)
    assert S.q_syn[0] == 2.0
    assert S.P_syn[0] == 1.0


def test_of_two_spikes_at_once_the_presynaptic_one_comes_first(b2):
    # with x+ = 0 and y- = 0 before, only the order pre, post, then a late pre can change P and q
    S, _ = after(b2, [5, 25], [5, 25], gain=1.0)
    fade = np.exp(-20 / np.array([66.6, 32.7, 230.2]))
    change = (0.1548 * fade[0] - 0.1771 * fade[1]) * fade[2]
    assert S.P_syn[0] == pytest.approx(0.5 + change, rel=1e-12)
    # at 25 ms the presynaptic spike has raised x+ before the postsynaptic one reads it
    assert S.q_syn[0] == pytest.approx(1 + 0.0618 * (fade[0] + 1) * fade[1], rel=1e-12)


def test_constants_are_the_callers(b2):
    slow = Costa2015(y_minus_s=0.1, y_plus_s=0.4, d_minus=0.2)
    S, _ = after(b2, [10], [0], constants=slow)
    expected = 0.5 - 0.2 * np.exp(-10 / 100 - 10 / 400)
    assert S.P_syn[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"amplitude": 1.0}, r"amplitude = 1\.0 has no unit: must be in volt"),
        ({"gain": -1.0}, r"gain = -1\.0: must be a finite number in \[0, inf\)"),
        (
            {"release_probability": 1.5},
            r"release_probability = 1\.5: must be a finite number in \[0, 1",
        ),
        (
            {"quantal_amplitude": 2.5},
            r"quantal_amplitude = 2\.5: must be a finite number in \[0, 2\]",
        ),
        ({"constants": {"d_minus": 1}}, r"constants = .*: must be a Costa2015"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(b2, change, message):
    target = b2.NeuronGroup(1, "v : volt", threshold="v > 1*volt", reset="")
    with pytest.raises(ValueError, match=message):
        costa2015(spikes(b2, [1]), target, **({"amplitude": b2.mV} | change))


def test_the_target_must_spike(b2):
    target = b2.NeuronGroup(1, "v : volt")
    with pytest.raises(ValueError, match="must spike, for its spikes are part of the rule"):
        costa2015(spikes(b2, [1]), target, amplitude=b2.mV)


@pytest.mark.parametrize("name", ["recovery_s", "y_minus_s", "largest_amplitude"])
def test_constants_are_checked(name):
    with pytest.raises(ValueError, match=f"{name} = 0.0: must be a finite number in"):
        Costa2015(**{name: 0.0})
    with pytest.raises(ValueError, match="c_plus = -1"):
        Costa2015(c_plus=-1)
