"""Release in the compiled network follows its law, and so do the inputs that are drawn."""

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from scipy.special import erfcx

from synapses.events import Network, Neurons, simulate

DT = 1e-4
ALPHA = 1e-3  # of every family of tests; the seeds are fixed, so a family passes or not for good
SAMPLERS = pytest.mark.parametrize("sampler", ["per-synapse", "skip"])


def holm(p_values):
    """Whether no hypothesis of a family is rejected, by Holm's step-down procedure."""
    ordered = np.sort(p_values)
    return bool((ordered * np.arange(ordered.size, 0, -1) > ALPHA).all())


def fits(counts, expected):
    """P value of Pearson's chi-square."""
    assert expected.min() > 5
    return stats.chisquare(counts, expected).pvalue


def regular(drives, probabilities, amplitude=0.0):
    """Neurons that spike regularly under their drives, each with a row of these probabilities."""
    neurons = Neurons(len(drives), 0.02, 0.0, 0.0, 0.01, drive_volt=np.array(drives, dtype=float))
    fan = len(probabilities)
    return Network(
        neurons, fan * np.arange(len(drives) + 1), np.arange(fan * len(drives)) % len(drives),
        np.full(fan * len(drives), amplitude), np.tile(probabilities, len(drives)), DT,
    )  # fmt: skip


def poissonian(sources, rate, probabilities):
    """Poisson sources, each with a row of these probabilities, and one neuron without effect."""
    neurons = Neurons(1, 0.02, 0.0, 0.0, 0.01)
    fan = len(probabilities)
    return Network(
        neurons, np.concatenate([[0], fan * np.arange(sources + 1)]),
        np.zeros(fan * sources, int), np.zeros(fan * sources),
        np.tile(np.float32(probabilities), sources), DT, np.full(sources, rate),
    )  # fmt: skip


MIXED = np.array([0.02, 0.1, 0.3, 0.3, 0.75, 0.0, 1.0])
EVEN = np.full(7, 0.3)


@SAMPLERS
@pytest.mark.parametrize("row", [MIXED, EVEN], ids=["mixed", "even"])
def test_each_synapse_releases_binomially(sampler, row):
    network = regular(np.linspace(0.02, 0.2, 60), row)
    run = simulate(network, 1.0, DT, 1, sampler)
    arrived = np.bincount(run.spike_neuron[run.spike_step < run.steps - 1], minlength=60)
    arrived = np.repeat(arrived, row.size)
    assert arrived.min() > 50
    p = network.release_probability
    law = [
        stats.binomtest(int(k), int(n), x).pvalue
        for k, n, x in zip(run.released, arrived, p, strict=True)
    ]
    assert holm(np.array(law))
    pooled = run.released.reshape(60, -1).sum(axis=0)
    total = int(arrived.reshape(60, -1)[:, 0].sum())
    whole = [stats.binomtest(int(k), total, x).pvalue for k, x in zip(pooled, row, strict=True)]
    assert holm(np.array(whole))
    # the comparison can fail: releases 5 % less probable are rejected
    wrong = [
        stats.binomtest(int(k), total, 0.95 * x).pvalue for k, x in zip(pooled, row, strict=True)
    ]
    assert not holm(np.array(wrong))


@SAMPLERS
@pytest.mark.parametrize("row", [[0.5, 0.15, 0.3, 0.2, 0.35], [0.3] * 5, [0.2, 0.9, 0.2, 0.2, 0.5]])
def test_synapses_of_a_row_release_independently(sampler, row):
    # all 32 patterns of a row of five, at their exact probabilities
    row = np.array(row)
    network = regular(np.linspace(0.1, 0.3, 40), row)
    run = simulate(network, 1.0, DT, 2, sampler, record_events=True)
    order = np.lexsort((run.events.step, run.events.synapse))
    patterns = run.events.released[order]
    # of each neuron (synapse, arrival): to arrivals in a row of five synapses
    found = []
    for i in range(40):
        own = patterns[run.events.synapse[order] // 5 == i].reshape(5, -1)
        found.append(own.T)
    table = np.concatenate(found)
    code = table @ (1 << np.arange(5))
    bits = (np.arange(32)[:, None] >> np.arange(5)) & 1
    chance = np.prod(np.where(bits, row, 1 - row), axis=1)
    assert len(table) > 20_000
    assert fits(np.bincount(code, minlength=32), chance * len(table)) > ALPHA
    # one arrival and the next of the same neuron, in two synapses
    pairs = np.concatenate([own[1:, 0] + 2 * own[:-1, 1] + 4 * own[:-1, 0] for own in found])
    bits = (np.arange(8)[:, None] >> np.arange(3)) & 1
    p = row[[0, 1, 0]]
    chance = np.prod(np.where(bits, p, 1 - p), axis=1)
    assert fits(np.bincount(pairs, minlength=8), chance * len(pairs)) > ALPHA


@SAMPLERS
def test_long_rows_release_binomially_in_every_part(sampler):
    # a thousand synapses: many batches of numbers for one row
    row = np.concatenate([np.full(500, 0.04), np.full(300, 0.01), np.full(200, 0.1)])
    network = regular([0.1, 0.1, 0.1], row)
    run = simulate(network, 2.0, DT, 3, sampler)
    arrived = int((run.spike_step < run.steps - 1).sum())
    released = run.released.reshape(3, -1).sum(axis=0, dtype=np.int64)
    thirds = [released[:500].sum(), released[500:800].sum(), released[800:].sum()]
    law = [
        stats.binomtest(int(k), arrived * n, p).pvalue
        for k, n, p in zip(thirds, (500, 300, 200), (0.04, 0.01, 0.1), strict=True)
    ]
    assert holm(np.array(law))
    assert released[-1] > 0
    assert released[0] > 0


@SAMPLERS
def test_poisson_input_comes_out_as_poisson_of_rate_r_p(sampler):
    # a spike in a step has probability r dt, a release p r dt, independently from step to step
    rate, row = 200.0, [0.1, 0.5, 0.1]
    network = poissonian(100, rate, row)
    run = simulate(network, 2.0, DT, 4, sampler, record_events=True)
    steps = run.steps - 1  # the first can receive nothing
    chance = rate * DT * np.tile(row, 100)
    law = [
        stats.binomtest(int(k), steps, x).pvalue for k, x in zip(run.released, chance, strict=True)
    ]
    assert holm(np.array(law))
    # intervals between releases of a synapse: geometric, in ten equally probable classes
    step, synapse = run.events.step[run.events.released], run.events.synapse[run.events.released]
    order = np.lexsort((step, synapse))
    gaps = np.diff(step[order])[np.diff(synapse[order]) == 0]
    which = synapse[order][1:][np.diff(synapse[order]) == 0] % 3
    x = rate * DT * 0.5
    assert (which == 1).sum() > 15_000
    u = 1 - (1 - x) ** (gaps[which == 1] - np.random.default_rng(0).random((which == 1).sum()))
    # sampling 0.0024 a class; and runs end while some gaps are open, the longer the likelier,
    # which takes 0.005 from the last class (2 s against a mean of 10 ms)
    classes = np.bincount((10 * u).astype(int), minlength=10)
    assert np.abs(classes / classes.sum() - 0.1).max() < 0.01


def window_counts(run, rows, fan, width):
    """Releases of each synapse in windows of arrivals (regular) or steps (Poisson)."""
    events = run.events
    windows = run.steps // width
    counts = np.zeros((rows * fan, windows), int)
    inside = events.released & (events.step < windows * width)
    np.add.at(counts, (events.synapse[inside], events.step[inside] // width), 1)
    return counts.reshape(rows, fan, windows)


@SAMPLERS
def test_a_poisson_train_shared_by_two_targets_correlates_them_by_p(sampler):
    # with x = r dt the count of a window of n steps has variance n x (1 - x), so that releases
    # correlate by p (1 - x) / (1 - p x): the 0.3 of a Poisson train, lessened by the time step
    p, rate = 0.3, 50.0
    run = simulate(poissonian(1000, rate, [p, p]), 2.0, DT, 5, sampler, record_events=True)
    counts = window_counts(run, 1000, 2, 1000)[:, :, 1:]
    one, other = counts[:, 0].ravel(), counts[:, 1].ravel()
    x = rate * DT
    expected = p * (1 - x) / (1 - p * x)
    assert expected == pytest.approx(0.3, abs=2e-3)
    # counts of mean 1.5 are far from normal; their spread over 19 disjoint parts gives the s.e.
    parts = [np.corrcoef(counts[:, 0, w], counts[:, 1, w])[0, 1] for w in range(counts.shape[2])]
    error = np.std(parts, ddof=1) / np.sqrt(len(parts))
    assert error < 0.01
    assert np.corrcoef(one, other)[0, 1] == pytest.approx(expected, abs=4 * error)
    # the Fano factor of Poisson, less p x for the step
    assert np.var(one) / np.mean(one) == pytest.approx(1 - p * x, abs=4 * np.sqrt(2 / one.size))


@SAMPLERS
def test_a_regular_train_leaves_targets_uncorrelated_with_fano_factor_1_minus_p(sampler):
    p = 0.3
    network = regular([0.11] * 100, [p, p])
    run = simulate(network, 1.0, DT, 6, sampler, record_events=True)
    sent = np.unique(run.spike_step)
    period = np.diff(sent)
    assert (period == period[0]).all()  # all neurons alike, and regular
    width = 10 * int(period[0])
    counts = window_counts(run, 100, 2, width)[:, :, 1:]
    one, other = counts[:, 0].ravel(), counts[:, 1].ravel()
    assert one.size > 4000
    assert np.mean(one) == pytest.approx(10 * p, abs=4 * np.sqrt(10 * p * (1 - p) / one.size))
    # for binomial counts the relative s.e. of a variance is close to that of normal ones
    assert np.var(one) / np.mean(one) == pytest.approx(1 - p, abs=4 * np.sqrt(2 / one.size))
    assert abs(np.corrcoef(one, other)[0, 1]) < 4 / np.sqrt(one.size)


@pytest.mark.parametrize("mean", [0.004, 0.3, 7.0, 90.0])
def test_external_events_come_in_poisson_numbers(mean):
    # jumps of 1 microvolt on a membrane that does not leak: v counts them
    count = 100_000
    neurons = Neurons(
        count, 1e9, 0.0, 0.0, 1.0, external_rate_hz=mean / DT, external_jump_volt=1e-6
    )
    network = Network(
        neurons, np.zeros(count + 1, int), np.zeros(0, int), np.zeros(0), np.zeros(0), DT
    )
    run = simulate(network, DT, DT, 7)
    arrivals = np.rint(run.final_v_volt * 1e6).astype(int)
    edges = np.unique(stats.poisson.ppf(np.linspace(1e-3, 1 - 1e-3, 12), mean))
    bins = np.concatenate([[-0.5], edges + 0.5, [np.inf]])
    expected = np.diff(stats.poisson.cdf(np.floor(bins), mean)) * count
    found = np.histogram(arrivals, np.where(np.isinf(bins), 1e9, bins))[0]
    kept = expected > 5
    assert stats.chisquare(found[kept], expected[kept] * found[kept].sum() / expected[kept].sum()
                           ).pvalue > ALPHA  # fmt: skip
    assert found[~kept].sum() <= 25
    assert run.operations.external_draws == count


def test_sources_with_a_spike_in_every_step_or_in_none():
    network = poissonian(3, 1.0, [0.5])
    network = Network(
        network.neurons, network.indptr, network.target, network.amplitude_volt,
        network.release_probability, DT, np.array([1 / DT, 0.0, 1e-300]),
    )  # fmt: skip
    run = simulate(network, 0.01, DT, 1)
    assert run.source_spike_source.tolist() == [0] * 100
    assert run.source_spike_step.tolist() == list(range(100))


def siegert(mean, spread, threshold=0.020, reset=0.010, tau_s=0.020, refractory_s=0.002):
    """Rate of a leaky integrate-and-fire neuron under white noise (Siegert 1951)."""
    integral, _ = quad(lambda u: erfcx(-u), (reset - mean) / spread, (threshold - mean) / spread)
    return 1 / (refractory_s + tau_s * np.sqrt(np.pi) * integral)


# C = 1000 inputs of r = 9 Hz and J = 0.1 mV on average: from the formula in 30 digits
RATES = {1.0: 3.2258932665317, 0.5: 7.0594487473574, 0.25: 11.1395474453937}


@pytest.mark.parametrize(
    ("p", "sampler"), [(1.0, "per-synapse"), (0.5, "skip"), (0.25, "per-synapse"), (0.25, "skip")]
)
def test_failures_raise_the_rate_of_a_neuron_below_threshold_as_siegert_has_it(p, sampler):
    # mean input fixed, jumps J / p: mu = 18 mV below the threshold of 20 mV, noise grows
    mean, spread = 0.020 * 9000 * 1e-4, np.sqrt(0.020 * 9000 * 1e-8 / p)
    assert siegert(mean, spread) == pytest.approx(RATES[p], rel=1e-9)
    # The sources are 100 times as many as a neuron has inputs, so that neurons share few. The
    # formula takes jumps for infinitely small, which costs 3 % at p = 1/4, and crossings for seen
    # at once, which a step of 0.1 ms would miss by 10 % at p = 1; the standard error is 2.3 %
    dt, neurons, inputs, sources = 2e-5, 400, 1000, 100_000
    generator = np.random.default_rng(8)
    network = Network.from_pairs(
        Neurons(neurons, 0.02, 0.0, 0.010, 0.020, refractory_s=0.002),
        source=neurons + generator.integers(0, sources, neurons * inputs),
        target=np.repeat(np.arange(neurons), inputs),
        amplitude_volt=1e-4 / p, release_probability=p, delay_s=0.001,
        source_rate_hz=np.full(sources, 9.0),
    )  # fmt: skip
    run = simulate(network, 2.2, dt, 9, sampler)
    counts = run.population_count[round(0.2 / dt) :].reshape(40, -1).sum(axis=1)
    rate = counts.sum() / (2.0 * neurons)
    error = np.std(counts, ddof=1) * np.sqrt(40) / (2.0 * neurons)
    assert error < 0.04 * RATES[p]
    assert rate == pytest.approx(RATES[p], rel=0.08)
    # the next larger release probability would be noticed
    assert all(abs(rate / other - 1) > 0.08 for q, other in RATES.items() if q != p)
