"""The compiled network against a plain one, and against itself on other paths."""

from itertools import starmap

import numpy as np
import pytest
from scipy.stats import poisson

from synapses import _events_run
from synapses.events import Network, Neurons, random_network, release_uniforms, simulate
from theory.streams import Streams, uniforms

DT = 1e-4


def source_spikes(network, steps, seed):
    """Spikes of the sources, step by step, from the law of their intervals."""
    key, spikes = Streams(seed).key("sources"), [[] for _ in range(steps)]
    for source, rate in enumerate(network.source_rate_hz):
        step, number = -1, 0
        while rate > 0:
            u = float(uniforms(key, (source, number, 0, 0)))
            step += 1 + int(np.log1p(-u) / np.log1p(-rate * DT))
            number += 1
            if step >= steps:
                break
            spikes[step].append(network.neurons.count + source)
    return spikes


def plain(network, steps, seed, numbers):
    """Simulate one neuron, one synapse at a time: forward in the order of the equations."""
    n = network.neurons
    delay, held = round(network.delay_s / DT), max(round(n.refractory_s / DT), 1)
    v, moves_from = list(n.v_initial_volt), [0] * n.count
    currents = [[0.0] * n.count, [0.0] * n.count]
    taus = (n.tau_exc_s, n.tau_inh_s)
    released, events, spikes = [0] * network.target.size, [], []
    sent = source_spikes(network, steps, seed)
    key = Streams(seed).key("external")
    outside = uniforms(key, (np.arange(n.count), np.arange(steps)[:, None], 0, 0))
    # inversion; an impossible rate of 0 gives -1
    outside = np.maximum(poisson.ppf(outside, n.external_rate_hz * DT), 0.0)
    for step in range(steps):
        fired = []
        for i in range(n.count):
            rest = n.v_rest_volt + n.drive_volt[i]
            value = rest + (v[i] - rest) * np.exp(-DT / n.tau_m_s)
            for g, tau in zip(currents, taus, strict=True):
                if n.has_currents:
                    # response of the membrane to a decaying exponential, from the textbook
                    weight = tau / (n.tau_m_s - tau)
                    value += g[i] * weight * (np.exp(-DT / n.tau_m_s) - np.exp(-DT / tau))
                    g[i] *= np.exp(-DT / tau)
            if step >= moves_from[i]:
                v[i] = value
            if v[i] > n.v_threshold_volt:
                fired.append(i)
                v[i], moves_from[i] = n.v_reset_volt, step + held
        spikes += [(step, i) for i in fired]
        arriving = []
        if step >= delay:
            for unit in sent[step - delay]:
                for k in range(network.indptr[unit], network.indptr[unit + 1]):
                    r = bool(numbers[step, k] < network.release_probability[k])
                    events.append((step, k, r))
                    released[k] += r
                    if r:
                        arriving.append((network.target[k], float(network.amplitude_volt[k])))
        sent[step] = fired + sent[step]
        arriving += list(enumerate(outside[step] * n.external_jump_volt))
        for i, jump in arriving:
            if n.has_currents:
                currents[0 if jump >= 0 else 1][i] += jump
            elif step >= moves_from[i]:
                v[i] += jump
    return spikes, released, events, v, currents


def small(currents, precision=np.float32):
    """Nine neurons, three sources, rows of very different lengths, everything switched on."""
    taus = {"tau_exc_s": 0.005, "tau_inh_s": 0.01} if currents else {}
    generator = np.random.default_rng(4)
    neurons = Neurons(
        9, 0.02, -0.06, -0.06, -0.05, refractory_s=0.0012,
        drive_volt=np.linspace(0.0, 0.016, 9),
        v_initial_volt=np.linspace(-0.06, -0.0495, 9),
        external_rate_hz=np.array([0, 0, 400.0, 0, 9000.0, 0, 0, 0, 50.0]),
        external_jump_volt=0.002, **taus,
    )  # fmt: skip
    source = np.repeat(np.arange(12), [5, 0, 8, 1, 4, 6, 0, 9, 3, 7, 9, 0])
    size = source.size
    return Network.from_pairs(
        neurons, source=source, target=generator.integers(0, 9, size),
        amplitude_volt=generator.choice([0.008, 0.004, -0.005], size),
        release_probability=generator.choice([0.0, 0.2, 0.6, 1.0], size).astype(precision),
        delay_s=0.0007, source_rate_hz=np.array([0.0, 1500.0, 100.0]),
    )  # fmt: skip


def busy(share=0.3, count=240):
    """A random network with currents, of unequal release probabilities, external input, sources."""
    neurons = Neurons(
        count, 0.02, -0.0495, -0.06, -0.05, refractory_s=0.002, tau_exc_s=0.005, tau_inh_s=0.01,
        external_rate_hz=np.linspace(0.0, 400.0, count), external_jump_volt=0.001,
    )  # fmt: skip
    recurrent = random_network(neurons, 20, seed=1)
    generator = np.random.default_rng(2)
    sources, size = 30, recurrent.target.size
    extra = generator.integers(0, count, sources * 15)
    amplitude = np.concatenate([recurrent.amplitude_volt, np.full(extra.size, 0.002)]) / share
    amplitude *= generator.uniform(0.5, 1.5, size + extra.size)
    return Network(
        recurrent.neurons,
        np.concatenate([recurrent.indptr, size + 15 * np.arange(1, sources + 1)]),
        np.concatenate([recurrent.target, extra]),
        amplitude,
        generator.uniform(0, 2 * share, size + extra.size).astype(np.float32),
        0.0015,
        np.full(sources, 200.0),
    )


def same(one, other):
    """Whether two recordings agree to the last bit."""
    names = (
        "spike_step", "spike_neuron", "source_spike_step", "source_spike_source", "released",
        "population_count", "final_v_volt", "final_g_exc_volt", "final_g_inh_volt",
    )  # fmt: skip
    if one.operations != other.operations or (one.events is None) != (other.events is None):
        return False
    pairs = [(getattr(one, name), getattr(other, name)) for name in names]
    if one.events is not None:
        pairs += [
            (getattr(one.events, name), getattr(other.events, name))
            for name in ("step", "synapse", "released")
        ]
    return all(starmap(np.array_equal, pairs))


@pytest.mark.parametrize("steps", [1, 6, 7, 8, 1000])
@pytest.mark.parametrize("currents", [False, True])
def test_injected_numbers_give_the_run_of_the_plain_simulation(currents, steps):
    network = small(currents)
    numbers = np.random.default_rng(7).random((steps, network.target.size))
    run = simulate(network, steps * DT, DT, 3, uniforms=numbers, record_events=True)
    spikes, released, events, v, (g_exc, g_inh) = plain(network, steps, 3, numbers)
    own = [(step, i) for step, i in spikes if i < 9]
    assert list(zip(run.spike_step, run.spike_neuron, strict=True)) == own
    assert run.released.tolist() == released
    found = run.events
    assert list(zip(found.step, found.synapse, found.released, strict=True)) == sorted(events)
    # rounding alone: a few hundred steps of numbers of size 0.1
    np.testing.assert_allclose(run.final_v_volt, v, rtol=0, atol=1e-14)
    if currents:
        np.testing.assert_allclose(run.final_g_exc_volt, g_exc, rtol=0, atol=1e-14)
        np.testing.assert_allclose(run.final_g_inh_volt, g_inh, rtol=0, atol=1e-14)
    sent = source_spikes(network, steps, 3)
    assert run.source_spike_step.tolist() == [s for s in range(steps) for _ in sent[s]]
    assert (run.source_spike_source + 9).tolist() == [unit for units in sent for unit in units]
    np.testing.assert_array_equal(
        run.population_count, np.bincount([s for s, _ in own], minlength=steps)
    )
    assert run.operations.draws == 0
    assert run.operations.visits == len(events)
    assert run.operations.state_updates == 9 * steps
    if steps == 1000:  # the case covers what it is meant to
        assert len(own) > 40
        assert 400 < sum(released) < len(events) - 400


def test_float64_probabilities_are_compared_as_they_are():
    # 0.2 in float32 is larger than in float64: a number between the two tells them apart
    between = 0.5 * (0.2 + float(np.float32(0.2)))
    for precision, expected in ((np.float32, True), (np.float64, False)):
        network = small(False, precision)
        steps = 200
        run = simulate(
            network, steps * DT, DT, 3, record_events=True,
            uniforms=np.full((steps, network.target.size), between),
        )  # fmt: skip
        at_stake = network.release_probability[run.events.synapse] == precision(0.2)
        assert at_stake.sum() > 20
        assert set(run.events.released[at_stake]) == {expected}


def test_numbers_drawn_are_those_that_can_be_had_beforehand():
    network, steps = small(True), 200
    numbers = release_uniforms(11, steps, network.target.size)
    drawn = simulate(network, steps * DT, DT, 11, record_events=True)
    injected = simulate(network, steps * DT, DT, 11, uniforms=numbers, record_events=True)
    np.testing.assert_array_equal(drawn.released, injected.released)
    np.testing.assert_array_equal(drawn.events.released, injected.events.released)
    np.testing.assert_array_equal(drawn.final_v_volt, injected.final_v_volt)
    assert drawn.operations.draws == drawn.operations.visits == injected.operations.visits


@pytest.mark.parametrize("sampler", ["per-synapse", "skip"])
@pytest.mark.parametrize("events", [False, True])
def test_the_number_of_threads_does_not_matter_to_the_last_bit(sampler, events):
    network = busy()
    runs = [
        simulate(network, 0.2, DT, 5, sampler, threads=threads, record_events=events)
        for threads in (1, 2, 3, 16)
    ]
    assert runs[0].total_releases > 5000
    for other in runs[1:]:
        assert same(runs[0], other)


def test_what_arrives_is_summed_in_the_order_of_the_rows():
    # sixty numbers in each step, of float32 but of sizes so unequal that their sums are rounded
    cells = Neurons(6, 0.02, -0.06, -0.06, -0.05, tau_exc_s=0.005, tau_inh_s=0.01)
    generator = np.random.default_rng(3)
    network = Network(
        cells, np.concatenate([np.zeros(6, int), 6 * np.arange(61)]), np.tile(np.arange(6), 60),
        10 ** generator.uniform(-14, -3, 360), np.ones(360, np.float32), 0.0005,
        np.full(60, 1 / DT),
    )  # fmt: skip
    runs = [simulate(network, 0.01, DT, 5, threads=threads) for threads in (1, 2, 4)]
    expected = np.zeros(6)
    for step in range(100):
        expected *= np.exp(-DT / 0.005)
        for row in network.amplitude_volt.reshape(60, 6) if step >= 5 else ():
            expected += row.astype(float)
    for run in runs:
        np.testing.assert_array_equal(run.final_g_exc_volt, expected)


@pytest.mark.parametrize("sampler", ["per-synapse", "skip"])
@pytest.mark.parametrize("threads", [1, 3])
def test_the_size_of_the_buffers_does_not_matter(sampler, threads, monkeypatch):
    network = busy()
    roomy = simulate(network, 0.2, DT, 5, sampler, record_events=True)
    monkeypatch.setattr(_events_run, "ROOM", 1)  # filled, emptied and enlarged again and again
    monkeypatch.setattr(_events_run, "UPDATES", 1)  # one window at a time
    tight = simulate(network, 0.2, DT, 5, sampler, record_events=True, threads=threads)
    assert same(roomy, tight)


@pytest.mark.parametrize("sampler", ["per-synapse", "skip"])
def test_a_seed_names_a_run(sampler):
    network = busy()
    first, again = (simulate(network, 0.1, DT, 5, sampler) for _ in range(2))
    assert same(first, again)
    other = simulate(network, 0.1, DT, 6, sampler)
    assert (other.source_spike_step.size, other.total_releases) != (
        first.source_spike_step.size, first.total_releases
    )  # fmt: skip
    # a longer run begins with the shorter one
    longer = simulate(network, 0.1503, DT, 5, sampler)
    early = longer.spike_step < first.steps
    np.testing.assert_array_equal(longer.spike_step[early], first.spike_step)
    np.testing.assert_array_equal(longer.spike_neuron[early], first.spike_neuron)


def test_certain_release_is_the_deterministic_network():
    neurons = Neurons(
        200, 0.02, -0.049, -0.06, -0.05, refractory_s=0.005, tau_exc_s=0.005, tau_inh_s=0.01
    )
    network = random_network(neurons, 20, seed=1)
    numbers = np.full((1000, network.target.size), 1 - 2.0**-53)  # the largest there is
    runs = [
        simulate(network, 0.1, DT, 1),
        simulate(network, 0.1, DT, 2),
        simulate(network, 0.1, DT, 3, "skip"),
        simulate(network, 0.1, DT, 4, uniforms=numbers),
    ]
    # every synapse releases at every spike that has had the time to arrive
    sent = np.bincount(runs[0].spike_neuron[runs[0].spike_step < 1000 - 15], minlength=200)
    assert sent.sum() > 100
    np.testing.assert_array_equal(runs[0].released, np.repeat(sent, 20))
    for run in runs[1:]:
        np.testing.assert_array_equal(run.spike_step, runs[0].spike_step)
        np.testing.assert_array_equal(run.spike_neuron, runs[0].spike_neuron)
        np.testing.assert_array_equal(run.released, runs[0].released)
        np.testing.assert_array_equal(run.final_v_volt, runs[0].final_v_volt)


@pytest.mark.parametrize("sampler", ["per-synapse", "skip"])
def test_silent_synapses_leave_the_neurons_alone(sampler):
    neurons = Neurons(50, 0.02, -0.049, -0.06, -0.05, refractory_s=0.005)
    network = random_network(neurons, 7, seed=1, release_probability=0.0)
    run = simulate(network, 0.1, DT, 1, sampler)
    nothing = Network(
        network.neurons, np.zeros(51, int), np.zeros(0, int), np.zeros(0), np.zeros(0, np.float32),
        network.delay_s,
    )  # fmt: skip
    alone = simulate(nothing, 0.1, DT, 1, sampler)
    assert run.total_releases == alone.total_releases == 0
    assert alone.operations.visits == 0
    assert run.operations.visits == (0 if sampler == "skip" else 7 * (run.spike_step < 985).sum())
    assert run.spike_step.size > 50
    np.testing.assert_array_equal(run.spike_step, alone.spike_step)
    np.testing.assert_array_equal(run.final_v_volt, alone.final_v_volt)


def test_probabilities_too_small_to_matter_are_no_trouble():
    neurons = Neurons(3, 0.02, -0.04, -0.06, -0.05)
    for p in (1e-300, 5e-324):
        network = Network(
            neurons, np.array([0, 2, 2, 3]), np.array([1, 2, 0]), np.full(3, 0.1), np.full(3, p),
            0.001,
        )  # fmt: skip
        run = simulate(network, 1.0, DT, 1, "skip")
        assert run.spike_step.size > 100
        assert run.total_releases == 0


def test_a_delay_longer_than_the_run_is_waited_for_in_vain():
    network = small(False)
    long = Network(
        network.neurons, network.indptr, network.target, network.amplitude_volt,
        network.release_probability, 1.0, network.source_rate_hz,
    )  # fmt: skip
    run = simulate(long, 0.02, DT, 1, threads=2, record_events=True)
    assert run.spike_step.size > 0
    assert run.operations.visits == run.events.step.size == 0
