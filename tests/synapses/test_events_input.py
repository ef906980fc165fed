"""What the compiled network accepts, holds in memory and is made of."""

import subprocess
import sys
import tracemalloc

import mpmath as mp
import numba
import numpy as np
import pytest

from synapses import _philox_kernels as kernels
from synapses.events import Network, Neurons, random_network, release_uniforms, simulate
from theory.streams import uniforms


def neurons(**changes):
    values = {
        "count": 3, "tau_m_s": 0.02, "v_rest_volt": -0.06, "v_reset_volt": -0.06,
        "v_threshold_volt": -0.05,
    }  # fmt: skip
    return Neurons(**(values | changes))


def network(**changes):
    values = {
        "neurons": neurons(), "indptr": np.array([0, 2, 2, 3]), "target": np.array([1, 2, 0]),
        "amplitude_volt": np.full(3, 0.001), "release_probability": np.full(3, 0.5),
        "delay_s": 0.001,
    }  # fmt: skip
    return Network(**(values | changes))


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 0}, r"count = 0: must be a whole number >= 1"),
        ({"tau_m_s": 0.0}, r"tau_m_s = 0\.0: must be a finite number in \(0, inf\)"),
        ({"v_rest_volt": np.nan}, r"v_rest_volt = nan: must be a finite number"),
        ({"v_reset_volt": -0.05}, r"v_reset_volt = -0\.05: must be < v_threshold_volt = -0\.05"),
        ({"refractory_s": -1e-3}, r"refractory_s = -0\.001: must be a finite number in \[0"),
        ({"tau_exc_s": 0.005}, r"tau_exc_s = 0\.005 and tau_inh_s = None: must both be given"),
        ({"tau_exc_s": 0.005, "tau_inh_s": 0.0}, r"tau_inh_s = 0\.0: must be a finite number"),
        ({"drive_volt": np.zeros(2)}, r"drive_volt has shape \(2,\): must be a number or 3"),
        ({"drive_volt": "much"}, r"drive_volt = 'much': must be a number or 3 numbers"),
        ({"drive_volt": np.array([0, np.inf, 0])}, r"drive_volt\[1\] = inf: must be finite"),
        ({"v_initial_volt": np.nan}, r"v_initial_volt\[0\] = nan: must be finite"),
        ({"external_rate_hz": -1.0}, r"external_rate_hz\[0\] = -1\.0: must be finite and >= 0"),
        ({"external_jump_volt": np.nan}, r"external_jump_volt\[0\] = nan: must be finite"),
    ],
)
def test_neurons_refuse_what_makes_no_sense(changes, message):
    with pytest.raises(ValueError, match=message):
        neurons(**changes)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"neurons": 3}, r"neurons = 3: must be a Neurons"),
        ({"indptr": np.array([0, 2, 3])}, r"indptr has 3 numbers: must be 4, one more than units"),
        ({"indptr": np.array([0, 2, 1, 3])}, r"indptr\[2\] = 1 after 2: must not decrease; sort"),
        ({"indptr": np.array([0, 2, 2, 2])}, r"indptr runs from 0 to 2: must run from 0 to 3"),
        ({"indptr": np.array([1, 2, 2, 3])}, r"indptr runs from 1 to 3: must run from 0 to 3"),
        ({"indptr": np.array([0.0, 2, 2, 3])}, r"indptr has .* float64: must be a vector of whole"),
        ({"target": np.array([1, 3, 0])}, r"target\[1\] = 3: must be a neuron, in \[0, 3\)"),
        ({"target": np.array([1, -1, 0])}, r"target\[1\] = -1: must be a neuron"),
        ({"target": np.array([1, 2**32, 0])}, r"target\[1\] = 4294967296: must be a neuron"),
        ({"target": np.array([[1, 2, 0]])}, r"target has shape \(1, 3\) .* must be a vector"),
        ({"target": np.array([0.5, 2, 0])}, r"target has .* float64: must be a vector of whole"),
        ({"amplitude_volt": np.zeros(2)}, r"amplitude_volt has 2 numbers: must be 3"),
        ({"amplitude_volt": np.array([0, np.nan, 0])}, r"amplitude_volt\[1\] = nan: must be"),
        ({"amplitude_volt": np.full(3, 1e39)}, r"amplitude_volt\[0\] = 1e\+39: must .* float32"),
        (
            {"release_probability": np.array([0.5, 0.5, 1.01])},
            r"release_probability\[2\] = 1\.01: must be in \[0, 1\]",
        ),
        (
            {"release_probability": np.array([-1e-9, 0, 0])},
            r"release_probability\[0\] = -1e-09: must be in \[0, 1\]",
        ),
        (
            {"release_probability": np.array([0.5, np.nan, 0])},
            r"release_probability\[1\] = nan: must be finite",
        ),
        ({"delay_s": 0.0}, r"delay_s = 0\.0: must be a finite number in \(0, inf\)"),
        ({"source_rate_hz": 3.0}, r"source_rate_hz has shape \(\): must be a vector of rates"),
        (
            {"source_rate_hz": np.array([-1.0])}, r"source_rate_hz\[0\] = -1\.0: must be finite"
        ),
    ],
)  # fmt: skip
def test_networks_refuse_what_does_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        network(**changes)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": None}, r"network = None: must be a Network"),
        ({"duration_s": 0.0}, r"duration_s = 0\.0: must be a finite number in \(0, inf\)"),
        ({"duration_s": 0.01003}, r"duration_s = 0\.01003: must be a whole number of steps of"),
        ({"duration_s": 3e6}, r"duration_s = 3e\+06: .* in \[1, 2147483647\]"),
        ({"dt_s": np.nan}, r"dt_s = nan: must be a finite number"),
        ({"dt_s": 3e-4, "duration_s": 0.003}, r"delay_s = 0\.001: .* and is 3\.33333333"),
        ({"dt_s": 2e-3, "duration_s": 0.02}, r"delay_s = 0\.001: must be a whole number of steps"),
        (
            {"network": network(neurons=neurons(refractory_s=1.5e-4))},
            r"refractory_s = 0\.00015: must be a whole number of steps of dt_s = 0\.0001",
        ),
        ({"sampler": "gaps"}, r"sampler = 'gaps'"),
        ({"seed": -1}, r"root = -1"),
        ({"threads": 0}, r"threads = 0: must be a whole number >= 1"),
        ({"uniforms": np.zeros((100, 2))}, r"uniforms has shape \(100, 2\) .* shape \(100, 3\)"),
        ({"uniforms": np.zeros((100, 3), int)}, r"uniforms has .* int64: must be floats"),
        ({"uniforms": np.full((100, 3), 1.0)}, r"uniforms: every number must be in \[0, 1\)"),
        ({"uniforms": np.full((100, 3), np.nan)}, r"uniforms: every number must be in \[0, 1\)"),
        (
            {"uniforms": np.zeros((100, 3)), "sampler": "skip"},
            r"uniforms with sampler = 'skip': must be None",
        ),
        (
            {"network": network(neurons=neurons(external_rate_hz=2e6))},
            r"external_rate_hz: 200 events a step of dt_s = 0\.0001, must be at most 100",
        ),
        (
            {
                "network": network(
                    source_rate_hz=np.array([10001.0]), indptr=np.array([0, 2, 2, 3, 3])
                )
            },
            r"source_rate_hz: 1\.0001 spikes a step of dt_s = 0\.0001, must be at most 1",
        ),
    ],
)
def test_runs_refuse_what_they_cannot_do(changes, message):
    values = {"network": network(), "duration_s": 0.01, "dt_s": 1e-4, "seed": 1}
    with pytest.raises(ValueError, match=message):
        simulate(**(values | changes))


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": np.array([0, 4])}, r"source\[1\] = 4: must be a unit, in \[0, 4\)"),
        ({"target": np.array([0])}, r"target has shape \(1,\): must be \(2,\)"),
        ({"amplitude_volt": np.zeros(3)}, r"amplitude_volt has shape \(3,\): must be \(2,\) or"),
    ],
)
def test_pairs_refuse_what_does_not_fit(changes, message):
    values = {
        "source": np.array([3, 0]), "target": np.array([0, 1]), "amplitude_volt": 0.001,
        "release_probability": 0.5, "delay_s": 0.001, "source_rate_hz": np.array([1.0]),
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        Network.from_pairs(neurons(), **(values | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"synapses_per_neuron": 3}, r"synapses_per_neuron = 3: must .* >= 1 and <= 2"),
        ({"excitatory_volt": -0.001}, r"excitatory_volt = -0\.001"),
        ({"inhibitory_volt": 0.001}, r"inhibitory_volt = 0\.001"),
        ({"release_probability": 1.5}, r"release_probability = 1\.5"),
        ({"excitatory_share": -0.1}, r"excitatory_share = -0\.1"),
    ],
)
def test_random_networks_refuse_what_makes_no_sense(changes, message):
    values = {"neurons": neurons(), "synapses_per_neuron": 2, "seed": 1}
    with pytest.raises(ValueError, match=message):
        random_network(**(values | changes))


def test_pairs_are_sorted_by_source_and_keep_their_order_within_it():
    built = Network.from_pairs(
        neurons(),
        source=np.array([4, 0, 2, 0, 4, 0]),
        target=np.array([2, 1, 0, 0, 1, 2]),
        amplitude_volt=np.arange(6.0),
        release_probability=np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
        delay_s=0.001,
        source_rate_hz=np.array([5.0, 6.0]),
    )
    assert built.units == 5
    assert built.indptr.tolist() == [0, 3, 3, 4, 4, 6]
    assert built.target.tolist() == [1, 0, 2, 0, 2, 1]
    assert built.amplitude_volt.tolist() == [1.0, 3.0, 5.0, 2.0, 0.0, 4.0]
    assert built.release_probability.tolist() == [0.2, 0.4, 0.6, 0.3, 0.1, 0.5]


def test_a_network_is_a_copy_that_cannot_be_written_to():
    target = np.array([1, 2, 0])
    built = network(target=target)
    target[0] = 2
    assert built.target.tolist() == [1, 2, 0]
    for name in ("indptr", "target", "amplitude_volt", "release_probability", "source_rate_hz"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(built, name)[:] = 0
    with pytest.raises(AttributeError):
        built.delay_s = 0.002


def test_random_networks_have_their_shape_and_are_named_by_their_seed():
    cells = neurons(count=50)
    built = random_network(cells, 12, seed=3, excitatory_share=0.7, release_probability=0.2)
    rows = built.target.reshape(50, 12)
    assert (np.diff(rows, axis=1) > 0).all()  # no target twice
    assert not (rows == np.arange(50)[:, None]).any()  # none to itself
    # every other neuron is as likely: 600 targets on 50 neurons, 12 each with s.d. 3.0
    assert np.abs(np.bincount(built.target, minlength=50) - 12).max() <= 12
    amplitudes = built.amplitude_volt.reshape(50, 12)
    assert set(amplitudes[:35].ravel()) == {np.float32(0.00162)}
    assert set(amplitudes[35:].ravel()) == {np.float32(-0.009)}
    start = built.neurons.v_initial_volt
    assert start.min() > -0.06
    assert start.max() < -0.05
    assert start.std() > 0.002
    again = random_network(cells, 12, seed=3, release_probability=0.9)
    np.testing.assert_array_equal(again.target, built.target)
    np.testing.assert_array_equal(again.neurons.v_initial_volt, start)
    assert (random_network(cells, 12, seed=4).target != built.target).any()
    # everybody to everybody else
    full = random_network(neurons(), 2, seed=0)
    assert full.target.tolist() == [1, 2, 0, 2, 0, 1]


@pytest.mark.parametrize(("precision", "stored"), [(np.float32, 12), (np.float64, 16)])
def test_a_synapse_takes_at_most_twenty_bytes(precision, stored):
    p = np.full(3, 0.5, dtype=precision)
    built = network(release_probability=p)
    assert built.bytes_per_synapse == stored
    run = simulate(built, 0.01, 1e-4, 1)
    assert built.bytes_per_synapse + run.released.itemsize <= 20


@pytest.mark.parametrize("sampler", ["per-synapse", "skip"])
def test_a_run_needs_no_more_memory_than_that(sampler):
    # everything that numpy holds at the peak of a run, over the synapses
    cells = Neurons(2000, 0.02, -0.0495, -0.06, -0.05, refractory_s=0.005)
    simulate(network(release_probability=np.full(3, 0.5, np.float32)), 0.01, 1e-4, 1, sampler)
    tracemalloc.start()
    try:
        built = random_network(cells, 500, seed=1, release_probability=0.1, excitatory_volt=1e-4)
        tracemalloc.reset_peak()
        run = simulate(built, 0.05, 1e-4, 1, sampler)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert run.total_releases > 20_000
    assert peak < 20 * built.target.size


def test_recorded_times_are_steps_times_the_time_step():
    run = simulate(network(neurons=neurons(drive_volt=0.02)), 0.05, 1e-4, 1)
    assert run.spike_step.size > 3
    np.testing.assert_allclose(run.spike_time_s, run.spike_step * 1e-4, rtol=1e-15)
    # from reset with a drive of twice the distance to the threshold: tau ln 2, one step more
    # at most, and a step counts from its beginning
    assert run.spike_time_s[0] == pytest.approx(0.02 * np.log(2), abs=1e-4)
    assert run.events is None
    assert (run.dt_s, run.steps) == (1e-4, 500)


@numba.njit
def _drawn(first, step, unit, pairs):
    one = np.empty(pairs.shape[0])
    for i in range(one.size):
        one[i] = kernels.uniform(11, 2**32 - 1, first + i, step, (first + i) >> 32, unit)
        pairs[i, 0], pairs[i, 1] = kernels.uniform_pair(
            11, 2**32 - 1, first + i, step, (first + i) >> 32, unit
        )
    return one


@numba.njit(error_model="numpy")
def _logarithms(x):
    found = np.empty_like(x)
    for i in range(x.size):
        found[i] = kernels.log_unit(x[i])
    return found


@pytest.mark.parametrize(("first", "step", "unit"), [(0, 0, 0), (2**32 - 5, 7, 3), (2**40, 9, 1)])
def test_compiled_numbers_have_the_bits_of_the_shared_generator(first, step, unit):
    pairs = np.empty((33, 2))
    found = _drawn(first, step, unit, pairs)
    index = first + np.arange(33)
    key = (11, 2**32 - 1)
    expected = uniforms(key, (index & (2**32 - 1), step, index >> 32, unit))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(pairs[:, 0], expected)
    assert len(set(pairs.ravel())) == 66


def test_the_logarithm_is_right_to_its_last_digits():
    generator = np.random.default_rng(0)
    edges = [1.0, 1 - 2.0**-53, 0.5, np.sqrt(0.5), np.nextafter(np.sqrt(0.5), 1), 2.0**-53, 1e-300]
    x = np.concatenate([edges, generator.random(2000), 1 - 10 ** generator.uniform(-15, -1, 200)])
    found = _logarithms(x)
    assert found[0] == 0.0
    with mp.workdps(40):
        exact = [mp.log(mp.mpf(float(value))) for value in x[1:]]
        errors = [abs(mp.mpf(float(a)) / b - 1) for a, b in zip(found[1:], exact, strict=True)]
    assert max(errors) < 4e-16


def test_numbers_for_other_simulators_continue_from_any_step():
    whole = release_uniforms(5, 20, 7)
    np.testing.assert_array_equal(release_uniforms(5, 8, 7, first_step=12), whole[12:])
    assert ((whole >= 0) & (whole < 1)).all()
    assert np.unique(whole).size == 140
    with pytest.raises(ValueError, match="steps = 0"):
        release_uniforms(5, 0, 7)


def test_the_module_is_light_until_something_is_run():
    code = (
        "import sys, synapses.events;"
        "print(sorted({'numba', 'torch', 'brian2', 'sympy', 'matplotlib'} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
