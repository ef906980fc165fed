"""Short-term depression and facilitation in brian2: sequences, steady states, site statistics."""

import numpy as np
import pytest
from brian_run import QUIET, clockwork, quiet_brian2
from scipy import stats

from synapses.brian import quantal_depression, tsodyks_markram
from theory.information import (
    depression_steady_state,
    facilitation_steady_state,
    site_covariance,
)
from theory.streams import Streams

pytestmark = QUIET

Z = stats.norm.isf(1e-5 / 2)
"""Bound of a two-sided test with alpha = 1e-5; the seeds are fixed."""

# U u x of the first six spikes, by exact recursion in 40 digits
DEPRESSION = [
    0.5,
    0.265146734296631,
    0.154834621473557,
    0.103020301587282,
    0.0786827771163002,
    0.0672512829140089,
]  # U = 0.5, 800 ms, 20 Hz
FACILITATION = {
    20: [0.03, 0.055326829709522, 0.0757361857554473, 0.0917773806777647, 0.104278564661375],
    70: [0.03, 0.0567584221854711, 0.0786970834679133, 0.0951396982407843, 0.10618741793429],
}  # U = 0.03, 130 ms and 530 ms
STEADY = {20: 0.16548553764610219816, 70: 0.095519802447572109325}
"""Steady u x of the same synapse."""


@pytest.fixture
def b2():
    with quiet_brian2() as module:
        yield module


def receivers(b2, size=1):
    return b2.NeuronGroup(size, "v : volt")


def transmitted(b2, rate, spikes, every=1, **words):
    """Return what each spike of a regular train transmits, in shares of the resources."""
    b2.defaultclock.dt = b2.second / (rate * every)
    source, target = clockwork(b2, every=every), receivers(b2)
    S = tsodyks_markram(source, target, amplitude=2 * b2.mV, record=True, **words)
    b2.Network(source, target, S).run(spikes * every * b2.defaultclock.dt)
    share = np.asarray(S.recorder["u"] * S.recorder["x"])
    np.testing.assert_allclose(S.recorder["m"] / b2.mV, 2.0, rtol=1e-14)
    np.testing.assert_allclose(target.v / b2.mV, 2 * share.sum(), rtol=1e-13)
    assert len(share) == spikes
    return share


@pytest.mark.parametrize("every", [1, 50])
def test_depression_follows_its_recursion_whatever_the_time_step(b2, every):
    share = transmitted(b2, 20, 60, every, use=0.5, tau_rec=800 * b2.ms)
    np.testing.assert_allclose(share[:6], DEPRESSION, rtol=1e-13)
    steady = 0.5 * depression_steady_state(0.5, 0.8, 0.05)
    assert share[-1] == pytest.approx(steady, rel=1e-13)
    assert share[-1] == pytest.approx(0.05712585650663059, rel=1e-13)


@pytest.mark.parametrize("convention", ["jump-first", "jump-last"])
@pytest.mark.parametrize("rate", [20, 70])
def test_both_conventions_transmit_the_same(b2, convention, rate):
    share = transmitted(
        b2,
        rate,
        600,
        use=0.03,
        tau_rec=130 * b2.ms,
        tau_facil=530 * b2.ms,
        convention=convention,
    )
    # the first is U: decay to U with the use of u after the jump would give U (2 - U)
    np.testing.assert_allclose(share[:5], FACILITATION[rate], rtol=1e-13)
    assert share[-1] == pytest.approx(STEADY[rate], rel=1e-12)
    u, x = facilitation_steady_state(0.03, 0.13, 0.53, 1 / rate)
    assert share[-1] == pytest.approx(u * x, rel=1e-12)


def test_the_conventions_differ_in_what_u_means(b2):
    source, target = clockwork(b2, every=100), receivers(b2)
    words = {"amplitude": b2.mV, "use": 0.3, "tau_rec": b2.ms, "tau_facil": 20 * b2.ms}
    first = tsodyks_markram(source, target, convention="jump-first", **words)
    last = tsodyks_markram(source, target, convention="jump-last", **words)
    assert first.u_syn[0] == 0.0
    assert last.u_syn[0] == 0.3
    assert first.x_syn[0] == last.x_syn[0] == 1.0
    b2.Network(source, target, first, last).run(b2.ms)
    assert first.u_syn[0] == pytest.approx(0.3, rel=1e-15)
    assert last.u_syn[0] == pytest.approx(0.3 + 0.3 * 0.7, rel=1e-15)


def test_constants_may_differ_from_synapse_to_synapse(b2):
    b2.defaultclock.dt = 50 * b2.ms
    source, target = clockwork(b2), receivers(b2, 3)
    S = tsodyks_markram(source, target, amplitude=b2.mV, use=0.5, tau_rec=800 * b2.ms, record=True)
    S.u_syn, S.tau_rec_syn = [0.5, 0.2, 0.2], [0.8, 0.8, 0.1] * b2.second
    b2.Network(source, target, S).run(200 * 50 * b2.ms)
    steady = [
        depression_steady_state(u, tau, 0.05) for u, tau in ((0.5, 0.8), (0.2, 0.8), (0.2, 0.1))
    ]
    np.testing.assert_allclose(S.recorder["x"][-3:], steady, rtol=1e-12)


def test_sites_are_full_or_empty_and_refill_as_given_numbers_say(b2):
    # each site by itself in words: an empty one is full again with probability 1 - exp(-h/tau),
    # a full one releases with probability U; one number is cut at both
    uniforms = Streams(3).generator("uniforms").random((200, 6))
    source, target = clockwork(b2, every=4), receivers(b2, 2)
    S = quantal_depression(
        source,
        target,
        sites=3,
        amplitude=2 * b2.mV,
        use=0.4,
        tau_rec=9 * b2.ms,
        uniforms=uniforms,
        record=True,
    )
    assert S.j[:].tolist() == [0, 0, 0, 1, 1, 1]
    b2.Network(source, target, S).run(200 * b2.ms)
    full, last, released, before = np.ones(6, bool), np.zeros(6), [], []
    for step in range(0, 200, 4):
        chance = np.where(full, 1.0, 1 - np.exp(-(step - last) / 9))
        release = uniforms[step] < 0.4 * chance
        full = (uniforms[step] < chance) & ~release
        last[:] = step
        released.append(release)
        before.append(chance)
    np.testing.assert_array_equal(S.recorder["r"].reshape(50, 6), released)
    np.testing.assert_allclose(S.recorder["x"].reshape(50, 6), before, rtol=1e-12)
    assert S.n_rel[:].tolist() == np.sum(released, axis=0).tolist()
    assert 0 < S.n_rel[:].sum() < 120  # neither never nor always
    sums = np.sum(released, axis=0).reshape(2, 3).sum(axis=1)
    np.testing.assert_allclose(target.v / b2.mV, 2 * sums, rtol=1e-13)
    np.testing.assert_allclose(S.energy_syn / b2.mV, 2 * S.n_rel[:], rtol=1e-13)


def test_counts_in_a_regular_train_are_binomial_and_remember_the_last_one(b2):
    # 400 pairs of 5 sites, 20 Hz, U = 0.5, 800 ms: Bin(5, 0.0571258...), lag-1 covariance
    # -0.0076641157 (0 for binomial numbers drawn from the mean share)
    b2.defaultclock.dt = 50 * b2.ms
    source, target = clockwork(b2), receivers(b2, 400)
    S = quantal_depression(
        source, target, sites=5, amplitude=b2.mV, use=0.5, tau_rec=800 * b2.ms, record=True
    )
    b2.Network(source, target, S).run(840 * b2.defaultclock.dt)
    counts = S.recorder["r"].reshape(840, 400, 5).sum(axis=2)
    first = counts[0]
    assert stats.binomtest(int(first.sum()), 2000, 0.5).pvalue > 1e-5
    steady = counts[40:]  # 0.47 a spike: nothing is left of the beginning
    rho = 0.057125856506630590721
    apart = steady[::20].ravel()  # 20 spikes apart: independent
    law = stats.binom.pmf(np.arange(3), 5, rho)
    expected = apart.size * np.append(law, 1 - law.sum())
    seen = np.bincount(np.minimum(apart, 3), minlength=4)
    assert stats.chisquare(seen, expected).pvalue > 1e-5
    apart_from_mean = steady - 5 * rho
    for lag in (0, 1, 2):
        products = (apart_from_mean[: 800 - lag] * apart_from_mean[lag:]).mean(axis=0)
        error = products.std(ddof=1) / np.sqrt(400)  # pairs are independent
        assert abs(products.mean() - site_covariance(5, 0.5, 0.8, 0.05, lag)) < Z * error
    assert site_covariance(5, 0.5, 0.8, 0.05, 1) == pytest.approx(-0.0076641157083466851, rel=1e-12)


def test_facilitated_sites_release_as_often_as_the_deterministic_synapse_says(b2):
    b2.defaultclock.dt = b2.second / 70
    source, target = clockwork(b2), receivers(b2, 1000)
    S = quantal_depression(
        source,
        target,
        sites=10,
        amplitude=b2.mV,
        use=0.03,
        tau_rec=130 * b2.ms,
        tau_facil=530 * b2.ms,
        record=True,
    )
    b2.Network(source, target, S).run(61 * b2.defaultclock.dt)
    counts = S.recorder["r"].reshape(61, 10_000).sum(axis=1)
    for spike, share in [*enumerate(FACILITATION[70]), (60, STEADY[70])]:
        assert stats.binomtest(int(counts[spike]), 10_000, share).pvalue > 1e-5


@pytest.mark.parametrize("builder", [tsodyks_markram, quantal_depression])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tau_rec": 0.8}, r"tau_rec = 0\.8 has no unit: must be in second, for example 100 \* ms"),
        ({"tau_rec": "mV"}, r"tau_rec = .* is in volt: must be in second"),
        ({"tau_rec": "zero"}, r"tau_rec = .*: must be > 0 s"),
        ({"tau_facil": 0.5}, r"tau_facil = 0\.5 has no unit: must be in second"),
        ({"amplitude": 1.0}, r"amplitude = 1\.0 has no unit: must be in volt"),
        ({"use": 0.0}, r"use = 0\.0: must be a finite number in \(0, 1\]"),
        ({"use": "mV"}, r"use = .* is in volt: must be a plain number"),
        ({"on": "g"}, r"on = 'g': must be a state variable"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(b2, builder, change, message):
    words = {"amplitude": b2.mV, "use": 0.5, "tau_rec": 800 * b2.ms}
    words |= {"sites": 2} if builder is quantal_depression else {}
    units = {"mV": 0.3 * b2.mV, "zero": 0 * b2.ms}
    change = {k: units.get(v, v) for k, v in change.items()}
    with pytest.raises(ValueError, match=message):
        builder(clockwork(b2), receivers(b2), **(words | change))


def test_names_and_numbers_of_their_own_are_checked_too(b2):
    source, target = clockwork(b2), receivers(b2)
    words = {"amplitude": b2.mV, "use": 0.5, "tau_rec": 800 * b2.ms}
    with pytest.raises(ValueError, match="convention = 'jump': must be one of 'jump-first'"):
        tsodyks_markram(source, target, convention="jump", **words)
    with pytest.raises(ValueError, match="sites = 0: must be a whole number >= 1"):
        quantal_depression(source, target, sites=0, **words)
    assert len(tsodyks_markram(source, target, connect={"n": 3}, **words)) == 3
    with pytest.raises(ValueError, match="connect has n = 3"):
        quantal_depression(source, target, sites=2, connect={"n": 3}, **words)
