"""Spike trains, releases and traces against golden values, exact laws and naive sums."""

import math

import numpy as np
import pytest
from scipy import stats

from synapses import ReleaseModel
from synapses.traces import (
    QuantalDepression,
    TsodyksMarkram,
    amplitude_shares,
    poisson_train,
    postsynaptic_trace,
    read_train,
    regular_train,
    release_train,
)
from theory.information import site_covariance
from theory.streams import Streams

IRREGULAR = np.array([0.03, 0.031, 0.2, 0.9, 0.95])


def generator(name):
    return Streams(4).generator(name)


# golden, 15 digits: recursion in mpmath with 30 digits
DEPRESSION = (
    0.5, 0.265146734296631, 0.154834621473557, 0.103020301587282, 0.0786827771163002,
    0.0672512829140089,
)  # fmt: skip
FACILITATION = {
    20.0: (0.03, 0.055326829709522, 0.0757361857554473, 0.0917773806777647, 0.104278564661375),
    70.0: (0.03, 0.0567584221854711, 0.0786970834679133, 0.0951396982407843, 0.10618741793429),
}
STEADY = {20.0: 0.16548553764610219816, 70.0: 0.095519802447572109325}


@pytest.mark.parametrize("kind", [TsodyksMarkram, lambda **o: QuantalDepression(5, **o)])
def test_depression_from_the_first_spike_to_the_steady_state(kind):
    synapse = kind(use=0.5, recovery_s=0.8)
    u, x = synapse.at_spikes(regular_train(20.0, 10.0))
    np.testing.assert_allclose((u * x)[:6], DEPRESSION, rtol=1e-13)
    assert x[-1] == pytest.approx(0.11425171301326118144, rel=1e-12)
    assert synapse.steady_state(0.05) == pytest.approx((0.5, 0.11425171301326118144), rel=1e-14)


@pytest.mark.parametrize("convention", ["jump-first", "jump-last"])
@pytest.mark.parametrize("rate", [20.0, 70.0])
def test_facilitation_is_the_same_sequence_in_both_conventions(rate, convention):
    synapse = TsodyksMarkram(0.03, 0.13, 0.53, convention=convention)
    spikes = regular_train(rate, 20.0)
    u, x = synapse.at_spikes(spikes)
    np.testing.assert_allclose((u * x)[:5], FACILITATION[rate], rtol=1e-13)
    assert (u * x)[-1] == pytest.approx(STEADY[rate], rel=1e-12)
    assert math.prod(synapse.steady_state(1 / rate)) == pytest.approx(STEADY[rate], rel=1e-14)
    # between the spikes they differ: what a spike uses is u after its jump, or before
    moment = 1e-9
    after, _ = synapse.course(spikes, spikes)
    before, full = synapse.course(spikes, spikes - moment)
    used = after if convention == "jump-first" else before
    np.testing.assert_allclose(used, u, atol=1e-8)
    np.testing.assert_allclose(full, x, atol=1e-7)


@pytest.mark.parametrize(("convention", "rest"), [("jump-first", 0.0), ("jump-last", 0.2)])
def test_the_course_solves_its_differential_equations(convention, rest):
    synapse = TsodyksMarkram(0.2, 0.3, 0.5, convention=convention)
    # Euler's method from spike to spike, its error about step / (2 tau)
    step, u, x = 1e-4, rest, 1.0
    times = np.arange(1, 12_000) * step
    found_u, found_x = synapse.course(IRREGULAR + step / 2, times)
    wanted = []
    for t in times:
        u, x = u + step * (rest - u) / 0.5, x + step * (1 - x) / 0.3
        if (np.abs(IRREGULAR + step / 2 - (t - step / 2)) < step / 10).any():
            jumped = u + 0.2 * (1 - u)
            x -= (jumped if convention == "jump-first" else u) * x
            u = jumped
        wanted.append((u, x))
    np.testing.assert_allclose(np.transpose(wanted), [found_u, found_x], atol=1e-3)


def test_without_facilitation_u_stays():
    u, x = TsodyksMarkram(0.4, 0.3).course(IRREGULAR, np.linspace(0, 1, 50))
    assert (u == 0.4).all()
    assert (x[:2] == 1).all()
    assert x[2:].max() < 1


def test_a_deterministic_synapse_releases_u_x():
    found = release_train(TsodyksMarkram(0.5, 0.8, amplitude=3.0), regular_train(20.0, 0.3))
    np.testing.assert_allclose(found.released, [DEPRESSION], rtol=1e-12)
    np.testing.assert_allclose(found.amplitudes, 3 * np.array([DEPRESSION]), rtol=1e-12)
    np.testing.assert_allclose(found.full * found.use, [DEPRESSION], rtol=1e-12)


def test_independent_sites_have_the_moments_of_their_law():
    law = ReleaseModel(5, 0.3, 0.5, 0.3)
    found = release_train(law, IRREGULAR, 20_000, generator("binomial"))
    assert found.amplitudes.shape == found.released.shape == found.full.shape == (20_000, 5)
    draws = found.amplitudes.ravel()
    n = draws.size
    assert abs(draws.mean() - law.mean()) < 4 * math.sqrt(law.variance() / n)
    squares = (draws - law.mean()) ** 2
    assert abs(squares.mean() - law.variance()) < 4 * squares.std() / math.sqrt(n)
    # given the quanta, an amplitude has their mean, and failures have none
    for k in range(1, 4):
        those = draws[found.released.ravel() == k]
        assert abs(those.mean() - 0.5 * k) < 4 * those.std() / math.sqrt(those.size)
        assert those.std() == pytest.approx(0.15 * math.sqrt(k), rel=0.05)
    assert (draws[found.released.ravel() == 0] == 0).all()
    assert (found.use == 0.3).all()
    assert (found.full == 1).all()


def test_depleting_sites_follow_their_exact_law_at_every_spike():
    # chi-square of the counts at every spike of an irregular train, Holm: smallest p times 5
    synapse = QuantalDepression(4, 0.6, 0.2, 0.4)
    trials = 20_000
    found = release_train(synapse, IRREGULAR, trials, generator("law"))
    u, x = synapse.at_spikes(IRREGULAR)
    assert (found.use == u).all()
    smallest = 1.0
    for k in range(len(IRREGULAR)):
        counts = np.bincount(found.released[:, k].astype(int), minlength=5)
        expected = stats.binom.pmf(np.arange(5), 4, u[k] * x[k]) * trials
        rare = expected < 5
        if rare.any():
            counts = np.append(counts[~rare], counts[rare].sum())
            expected = np.append(expected[~rare], expected[rare].sum())
        smallest = min(smallest, stats.chisquare(counts, expected, sum_check=False).pvalue)
        law = synapse.laws(IRREGULAR)[k]
        assert law == ReleaseModel(4, u[k] * x[k], 1.0, 0.0)
        half = 4 * math.sqrt(x[k] * (1 - x[k]) / (4 * trials)) + 1e-12
        assert abs(found.full[:, k].mean() - x[k]) < half
    assert smallest * 5 > 1e-3
    assert (found.released <= 4 * found.full + 1e-9).all()


def test_sites_remember_their_last_release():
    # golden: covariance at lag 1 -0.0076641157, at lag 2 -0.0036; from 20 pairs of late spikes
    # of 8000 trials; binomial numbers from the mean would have none
    spikes = regular_train(20.0, 2.5)
    found = release_train(QuantalDepression(), spikes, 8000, generator("memory"))
    late = found.released[:, 20:]
    for lag, golden in ((1, -0.0076641157083466851), (2, None)):
        wanted = site_covariance(5, 0.5, 0.8, 0.05, lag)
        if golden is not None:
            assert wanted == pytest.approx(golden, rel=1e-12)
        mean = 5 * 0.05712585650663059
        products = ((late[:, :-lag] - mean) * (late[:, lag:] - mean)).mean(axis=1)
        error = products.std(ddof=1) / math.sqrt(len(products))
        assert abs(products.mean() - wanted) < 4 * error
        assert abs(products.mean()) > 4 * error


def test_a_seed_gives_the_same_trials():
    first, again, other = (
        release_train(QuantalDepression(quantal_cv=0.2), IRREGULAR, 20, generator(name)).amplitudes
        for name in ("same", "same", "other")
    )
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("rise", [0.0, 0.004])
def test_traces_are_sums_of_potentials(rise):
    times = np.linspace(0, 1.2, 301)
    heights = np.array([[1.0, 0.5, 2.0, 0.0, 3.0], [0.0, 0.0, 1.0, 1.0, 1.0]])
    found = postsynaptic_trace(times, IRREGULAR, heights, 0.02, rise)
    fine = np.linspace(0, 0.1, 1_000_001)

    def shape(t):
        return np.where(t < 0, 0.0, np.exp(-t / 0.02) - (np.exp(-t / rise) if rise else 0.0))

    peak = shape(fine).max()
    naive = [
        [sum(a * shape(t - s) / peak for a, s in zip(row, IRREGULAR, strict=True)) for t in times]
        for row in heights
    ]
    np.testing.assert_allclose(found, naive, atol=1e-9)
    # at the spike itself a jump is there, a rise is not
    at = postsynaptic_trace(IRREGULAR[:1], IRREGULAR[:1], np.array([[2.0]]), 0.02, rise)
    assert at[0, 0] == (0.0 if rise else 2.0)


def test_histograms_follow_the_law():
    laws = QuantalDepression(3, 0.6, 0.4, quantal_cv=0.25).laws(IRREGULAR)
    edges = np.array([-0.1, 0.1, 0.8, 1.2, 2.0, np.inf])
    shares = amplitude_shares(laws, edges)
    assert shares.sum() == pytest.approx(1, rel=1e-12)
    # failures and what gamma quanta put below 0.1, next to nothing
    failures = np.mean([law.failure_probability() for law in laws])
    assert shares[0] == pytest.approx(failures, abs=1e-6)
    source = generator("draws")
    draws = np.concatenate([law.sample(source, 40_000) for law in laws])
    counts = np.histogram(draws, edges)[0]
    assert stats.chisquare(counts, shares * len(draws), sum_check=False).pvalue > 1e-3


def test_quanta_of_one_size_are_counted_in_bins_that_include_their_left_end():
    law = ReleaseModel(2, 0.25, 3.0)
    np.testing.assert_allclose(amplitude_shares([law], np.array([0.0, 3.0, 6.0, 9.0])),
                               [0.5625, 0.375, 0.0625], rtol=1e-14)  # fmt: skip


@pytest.mark.parametrize(
    ("rate", "duration", "count"), [(20.0, 0.2, 4), (20.0, 0.249, 4), (10.0, 0.3, 3), (3.0, 1.0, 3)]
)
def test_regular_trains(rate, duration, count):
    times = regular_train(rate, duration)
    np.testing.assert_allclose(times, np.arange(1, count + 1) / rate, rtol=1e-15)


def test_poisson_trains():
    # number of spikes and mean of exp(2 pi i t): Poisson and uniform, 4 standard errors
    times = poisson_train(50.0, 200.0, generator("poisson"))
    assert abs(len(times) - 10_000) < 4 * 100
    assert (np.diff(times) > 0).all()
    assert 0 < times[0] < times[-1] <= 200
    gaps = np.diff(times)
    assert stats.kstest(gaps, stats.expon(scale=1 / 50).cdf).pvalue > 1e-4


def test_trains_from_files(tmp_path):
    file = tmp_path / "spikes.txt"
    file.write_text("# seconds\n0.1, 0.2\n\n0.35   # late\n")
    assert read_train(file).tolist() == [0.1, 0.2, 0.35]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.1\n0.2s\n", r"spikes.txt, line 2: '0.2s' is no number; spike times are seconds"),
        ("# none\n", "holds no spike times"),
        ("0.2\n0.1\n", r"\[1\] = 0.1 comes after"),
        ("0.2\n0.2\n", "two spikes at one time"),
        ("-0.2\n", "must be >= 0"),
        ("nan\n", "must be finite"),
    ],
)
def test_files_that_hold_no_train_are_refused(text, message, tmp_path):
    file = tmp_path / "spikes.txt"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_train(file)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(ValueError, match="nothing: No such file"):
        read_train(tmp_path / "nothing")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="is no text file"):
        read_train(tmp_path / "bytes")


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TsodyksMarkram(use=0.0), "use = 0.0"),
        (lambda: TsodyksMarkram(use=1.1), "use = 1.1"),
        (lambda: TsodyksMarkram(recovery_s=0.0), "recovery_s = 0.0"),
        (lambda: TsodyksMarkram(facilitation_s=0.0), "facilitation_s = 0.0"),
        (lambda: TsodyksMarkram(amplitude=-1), "amplitude = -1"),
        (lambda: TsodyksMarkram(convention="nest"), "convention = 'nest'"),
        (lambda: QuantalDepression(sites=0), "sites = 0"),
        (lambda: QuantalDepression(quantal_cv=-1), "quantal_cv = -1"),
        (lambda: QuantalDepression().steady_state(0), "interval_s = 0"),
        (lambda: release_train(QuantalDepression(), IRREGULAR, 2), "generator = None"),
        (lambda: release_train(TsodyksMarkram(), IRREGULAR, 2), "trials = 2"),
        (lambda: release_train("synapse", IRREGULAR), "synapse = 'synapse'"),
        (lambda: release_train(TsodyksMarkram(), IRREGULAR[::-1]), "must be sorted"),
        (lambda: release_train(TsodyksMarkram(), np.ones(2)), "two spikes at one time"),
        (lambda: postsynaptic_trace(IRREGULAR, IRREGULAR, np.ones((1, 4)), 0.1), "5 columns"),
        (lambda: postsynaptic_trace(IRREGULAR, IRREGULAR, np.ones((1, 5)), 0.1, 0.1), "rise_s"),
        (lambda: postsynaptic_trace(IRREGULAR, IRREGULAR, np.ones((1, 5)), 0.0), "decay_s = 0.0"),
        (lambda: amplitude_shares([], np.arange(3.0)), "one or more ReleaseModels"),
        (lambda: amplitude_shares([ReleaseModel()], np.ones(3)), "numbers that increase"),
        (lambda: regular_train(20.0, 0.01), "no spike falls into it"),
        (lambda: regular_train(1e6, 1e6), "rates are in Hz, durations in seconds"),
        (lambda: regular_train(-1.0, 1.0), "rate_hz = -1.0"),
        (lambda: poisson_train(1.0, 1.0, None), "generator = None"),
        (lambda: poisson_train(1e-9, 1.0, generator("none")), "no spike falls into it"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
