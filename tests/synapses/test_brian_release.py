"""Stochastic synapses in brian2: what is drawn, added, counted and recorded."""

import subprocess
import sys

import numpy as np
import pytest
from brian_run import QUIET, clockwork, complaints, quiet_brian2
from scipy import stats

from synapses import ReleaseModel
from synapses.brian import stochastic_synapses
from theory.streams import Streams

pytestmark = QUIET

Z = stats.norm.isf(1e-5 / 2)
"""Bound of a two-sided test with alpha = 1e-5; the seeds are fixed."""


@pytest.fixture
def b2():
    with quiet_brian2() as module:
        yield module


def receivers(b2, size, extra=""):
    return b2.NeuronGroup(size, f"v : volt\n{extra}")


def test_brian2_is_not_imported_before_it_is_needed():
    code = "import sys, synapses, synapses.brian; sys.exit('brian2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_given_numbers_decide_what_is_released(b2):
    # two sources onto three targets, two sites each: 12 synapses, ordered by source, target, site
    uniforms = Streams(1).generator("uniforms").random((7, 12))
    source, target = clockwork(b2, 2), receivers(b2, 3)
    S = stochastic_synapses(
        source,
        target,
        ReleaseModel(sites=2, release_probability=0.3, quantal_size=0.5),
        amplitude=-2 * b2.mV,
        uniforms=uniforms,
        record=True,
    )
    assert S.i[:].tolist() == [0] * 6 + [1] * 6
    assert S.j[:].tolist() == [0, 0, 1, 1, 2, 2] * 2
    S.p_syn = np.linspace(0.1, 0.9, 12)
    b2.Network(source, target, S).run(7 * b2.ms)
    released = uniforms < np.linspace(0.1, 0.9, 12)
    assert S.n_rel[:].tolist() == released.sum(axis=0).tolist()
    assert S.n_rel[:].dtype == np.int32
    by_target = released.sum(axis=0).reshape(2, 3, 2).sum(axis=(0, 2))
    np.testing.assert_allclose(np.array(target.v), -1e-3 * by_target, rtol=1e-14)
    np.testing.assert_allclose(np.array(S.energy_syn), 1e-3 * released.sum(axis=0), rtol=1e-14)
    assert S.recorder.fields == ("t", "r", "p", "m", "synapse")
    assert len(S.recorder) == 84
    assert S.recorder["synapse"].tolist() == list(range(12)) * 7
    np.testing.assert_allclose(S.recorder["t"] / b2.ms, np.repeat(np.arange(7), 12), atol=1e-12)
    assert S.recorder["r"].tolist() == released.ravel().tolist()
    assert S.recorder["p"][:12].tolist() == np.linspace(0.1, 0.9, 12).tolist()
    np.testing.assert_allclose(S.recorder["m"] / b2.mV, -1.0, rtol=1e-14)
    with pytest.raises(ValueError, match=r"field = 'w': must be one of 't', 'r', 'p', 'm'"):
        S.recorder["w"]


def test_amplitudes_have_the_moments_of_the_model(b2):
    # 4.1 of the binomial law: N = 5, p = 0.3, q = 0.5 mV, c = 0.3: mean 0.75, variance 0.29625,
    # failures 0.16807; not at p = 1/2, where p could be 1 - p
    model = ReleaseModel(5, 0.3, 0.5, 0.3)
    source, target = clockwork(b2), receivers(b2, 400)
    S = stochastic_synapses(source, target, model, amplitude=b2.mV, record=True)
    b2.Network(source, target, S).run(50 * b2.ms)
    released, sizes = S.recorder["r"], S.recorder["m"] / b2.mV
    amplitudes = (released * sizes).reshape(50, 400, 5).sum(axis=2).ravel()
    count = amplitudes.size
    assert count == 20_000
    failures = int((amplitudes == 0).sum())
    assert stats.binomtest(failures, count, 0.16807).pvalue > 1e-5
    assert abs(amplitudes.mean() - 0.75) < Z * np.sqrt(0.29625 / count)
    squares = (amplitudes - 0.75) ** 2
    assert abs(squares.mean() - 0.29625) < Z * squares.std() / np.sqrt(count)
    cubes = (amplitudes - 0.75) ** 3
    assert abs(cubes.mean() - model.third_moment()) < Z * cubes.std() / np.sqrt(count)
    # quanta are drawn for failures too; theirs is the gamma law of mean 0.5 and cv 0.3
    law = stats.gamma(0.3**-2, scale=0.5 * 0.3**2)
    assert stats.kstest(sizes, law.cdf).pvalue > 1e-5
    total = (released * sizes).reshape(50, 400, 5).sum(axis=(0, 2))
    np.testing.assert_allclose(target.v / b2.mV, total, rtol=1e-12)
    np.testing.assert_allclose(
        S.energy_syn[:].reshape(400, 5).sum(axis=1) / b2.mV, total, rtol=1e-12
    )


def test_counts_of_a_regular_train_are_binomial_and_independent(b2):
    # 2000 synapses, 100 spikes: releases Bin(100, 0.3), Fano factor 1 - p; a Poisson train could
    # not tell a failing synapse from a slower one
    source, target = clockwork(b2, 1000), receivers(b2, 2000)
    pairs = {"i": np.repeat(np.arange(1000), 2), "j": np.arange(2000)}
    S = stochastic_synapses(source, target, ReleaseModel(1, 0.3), amplitude=b2.mV, connect=pairs)
    b2.Network(source, target, S).run(100 * b2.ms)
    counts = S.n_rel[:]
    # the energy of releases is exact in the mean: spikes x N x p, with binomial spread
    assert abs(counts.sum() - 60_000) < Z * np.sqrt(200_000 * 0.3 * 0.7)
    spread = ((counts - 30) ** 2 / (100 * 0.3 * 0.7)).sum()
    assert 1e-5 / 2 < stats.chi2(2000).sf(spread) < 1 - 1e-5 / 2
    first, second = counts[::2], counts[1::2]  # two targets of one source
    assert abs(np.corrcoef(first, second)[0, 1]) < Z / np.sqrt(1000)


def test_targets_of_one_poisson_source_share_its_spikes_but_not_its_releases(b2):
    # thinning: each target sees rate r p; the counts of two targets correlate with p (a draw
    # shared by all synapses of a spike would give 1). A step holds a spike with s = 0.02, which
    # makes it p (1 - s) / (1 - s p) exactly.
    s, p = 0.02, 0.3
    source, target = b2.PoissonGroup(3000, 20 * b2.Hz), receivers(b2, 6000)
    pairs = {"i": np.repeat(np.arange(3000), 2), "j": np.arange(6000)}
    S = stochastic_synapses(source, target, ReleaseModel(1, p), amplitude=b2.mV, connect=pairs)
    b2.Network(source, target, S).run(500 * b2.ms)
    first, second = S.n_rel[::2], S.n_rel[1::2]
    mean, variance = 500 * s * p, 500 * s * p * (1 - s * p)
    expected = p * (1 - s) / (1 - s * p)
    for counts in (first, second):
        assert abs(counts.mean() - mean) < Z * np.sqrt(variance / 3000)
        squares = (counts - mean) ** 2
        assert abs(squares.mean() - variance) < Z * squares.std() / np.sqrt(3000)
    measured = np.corrcoef(first, second)[0, 1]
    assert abs(np.arctanh(measured) - np.arctanh(expected)) < Z / np.sqrt(2997)


@pytest.mark.parametrize("p", [1.0, 0.25])
def test_failures_at_equal_mean_raise_the_variance_of_the_membrane_by_their_inverse(b2, p):
    # 20 inputs per neuron, s = 0.05 a step, jumps J/p: stationary mean n s J / (1 - a), variance
    # n (s J^2/p - s^2 J^2) / (1 - a^2), with a = exp(-dt/tau)
    source = b2.PoissonGroup(6000, 50 * b2.Hz)
    target = b2.NeuronGroup(300, "dv/dt = -v/(5*ms) : volt", method="exact")
    S = stochastic_synapses(
        source,
        target,
        ReleaseModel(1, p),
        amplitude=b2.mV / p,
        connect={"j": "i // 20"},
    )
    samples = b2.StateMonitor(target, "v", record=True, dt=25 * b2.ms, when="end")
    b2.Network(source, target, S, samples).run(301 * b2.ms)
    values = (samples.v[:, 1:] / b2.mV).ravel()
    assert values.size == 3600
    a, s, n = np.exp(-0.2), 0.05, 20
    mean, variance = n * s / (1 - a), n * (s / p - s**2) / (1 - a**2)
    # 25 ms apart a sample keeps exp(-5) of the last one
    error = np.sqrt((1 + 2 * np.exp(-5)) / values.size)
    assert abs(values.mean() - mean) < Z * np.sqrt(variance) * error
    squares = (values - mean) ** 2
    assert abs(squares.mean() - variance) < Z * squares.std() * error


def test_a_delay_postpones_release_and_its_number(b2):
    source, target = clockwork(b2, every=10), receivers(b2, 2)
    uniforms = np.ones((9, 2)) * 0.9
    uniforms[3, 1] = 0.1  # three steps after the spike, at the second synapse
    S = stochastic_synapses(
        source,
        target,
        ReleaseModel(1, 0.5),
        amplitude=b2.mV,
        uniforms=uniforms,
        record=True,
    )
    S.delay = 3 * b2.ms
    b2.Network(source, target, S).run(9 * b2.ms)
    np.testing.assert_allclose(S.recorder["t"] / b2.ms, [3, 3], rtol=1e-12)
    assert S.n_rel[:].tolist() == [0, 1]


def test_subgroups_and_units_without_a_name_are_welcome(b2):
    source = clockwork(b2, 6)
    target = b2.NeuronGroup(5, "g : siemens/metre**2")
    unit = b2.siemens / b2.metre**2
    S = stochastic_synapses(
        source[2:4], target[1:4], ReleaseModel(1, 1.0), amplitude=3 * unit, on="g"
    )
    b2.Network(source, target, S).run(2 * b2.ms)
    np.testing.assert_allclose(target.g / unit, [0, 12, 12, 12, 0], rtol=1e-14)
    with pytest.raises(ValueError, match=r"must be in metre\*\*-4\*kilogram\*\*-1\*second\*\*3"):
        stochastic_synapses(source, target, ReleaseModel(), amplitude=b2.mV, on="g")


def test_connections_are_the_callers(b2):
    source, target = clockwork(b2, 20), receivers(b2, 20, "x : 1")
    model = ReleaseModel(3)

    def pairs(**words):
        S = stochastic_synapses(source, target, model, amplitude=b2.mV, **words)
        return set(zip(S.i[:].tolist(), S.j[:].tolist(), strict=True)), len(S)

    assert pairs(connect="i == j") == ({(k, k) for k in range(20)}, 60)
    assert pairs(connect={"i": np.array([3, 4]), "j": np.array([1, 1])}) == ({(3, 1), (4, 1)}, 6)
    shift = {"condition": "j == i + shift", "namespace": {"shift": 2}}
    assert pairs(connect=shift) == ({(k, k + 2) for k in range(18)}, 54)
    with pytest.raises(KeyError, match="sites"):  # is not to find the builder's own variables
        pairs(connect="i < sites")
    some, count = pairs(connect={"p": 0.5})
    assert count == 3 * len(some)
    assert stats.binomtest(len(some), 400, 0.5).pvalue > 1e-5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"amplitude": 0.5}, r"amplitude = 0\.5 has no unit: must be in volt, as v of the target"),
        ({"amplitude": "ms"}, r"amplitude = .* is in second: must be in volt"),
        ({"amplitude": None}, r"amplitude = None: must be in volt"),
        ({"amplitude": "two"}, r"amplitude = .*: must be one finite number"),
        ({"on": "w"}, r"on = 'w': must be a state variable of the target .*\('v', 'v_rest'\)"),
        ({"on": "fixed"}, r"on = 'fixed': must be a state variable"),
        ({"model": 0.3}, r"model = 0\.3: must be a ReleaseModel"),
        ({"source": "target"}, r"source = .*: must be a brian2 group that spikes"),
        ({"target": "nothing"}, r"target = 3: must be a brian2 group"),
        ({"connect": {"n": 2}}, r"connect has n = 2: must be left out"),
        ({"connect": {"where": 2}}, r"connect has the key 'where': must be among"),
        ({"connect": 7}, r"connect = 7: must be a condition"),
        ({"uniforms": np.zeros((3, 5))}, r"uniforms has shape \(3, 5\): must have 8 columns"),
        ({"uniforms": np.zeros(8)}, r"uniforms has shape \(8,\): must be a matrix"),
        ({"uniforms": np.full((3, 8), 1.0)}, r"uniforms\[0, 0\] = 1\.0: must be in \[0, 1\)"),
        (
            {"uniforms": np.zeros((3, 8)), "model": ReleaseModel(2, quantal_cv=0.3)},
            r"uniforms: must be None for model\.quantal_cv = 0\.3",
        ),
    ],
)
@pytest.mark.bad_input
def test_what_does_not_fit_is_refused_by_name(b2, change, message):
    target = receivers(b2, 4, "v_rest : volt\nfixed : volt (constant)")
    words = {"source": clockwork(b2), "target": target, "model": ReleaseModel(2)}
    words |= {"amplitude": b2.mV, **change}
    named = {"ms": b2.ms, "two": [1, 2] * b2.mV, "target": target, "nothing": 3}
    words = {k: named.get(v, v) if isinstance(v, str) else v for k, v in words.items()}
    with pytest.raises(ValueError, match=message):
        stochastic_synapses(**words)


def test_a_variable_of_the_target_is_never_taken_for_a_local_one(b2):
    target = receivers(b2, 4, "released_syn : 1")
    with pytest.raises(ValueError, match="has variables named released_syn"):
        stochastic_synapses(clockwork(b2), target, ReleaseModel(), amplitude=b2.mV)


def test_neurons_may_use_the_usual_letters(b2):
    letters = "\n".join(f"{letter} : 1" for letter in "pmruxwqEPUM")
    source = b2.NeuronGroup(1, letters, threshold="True", reset="")
    target = receivers(b2, 1, letters)
    S = stochastic_synapses(source, target, ReleaseModel(1, 1.0), amplitude=b2.mV)
    b2.Network(source, target, S).run(3 * b2.ms)
    assert S.n_rel[0] == 3
    assert float(target.v[0]) == pytest.approx(3e-3, rel=1e-14)
    assert not any(np.array(getattr(target, letter)).any() for letter in "pmruxwqEPUM")


def test_a_run_longer_than_the_given_numbers_is_refused(b2):
    source, target = clockwork(b2), receivers(b2, 2)
    S = stochastic_synapses(
        source, target, ReleaseModel(), amplitude=b2.mV, uniforms=np.zeros((5, 2))
    )
    network = b2.Network(source, target, S)
    network.run(3 * b2.ms)
    with pytest.raises(b2.core.base.BrianObjectException) as caught:
        network.run(3 * b2.ms)
    assert isinstance(caught.value.__cause__, ValueError)
    assert "uniforms has 5 rows: must have one for each of the 6" in str(caught.value.__cause__)
    network.run(2 * b2.ms)
    assert S.n_rel[:].tolist() == [5, 5]


def test_another_time_step_than_that_of_the_given_numbers_is_refused(b2):
    source, target = clockwork(b2), receivers(b2, 2)
    S = stochastic_synapses(
        source, target, ReleaseModel(), amplitude=b2.mV, uniforms=np.zeros((50, 2))
    )
    b2.defaultclock.dt = 0.5 * b2.ms
    with pytest.raises(b2.core.base.BrianObjectException) as caught:
        b2.Network(source, target, S).run(3 * b2.ms)
    assert "the time step is 0.0005 s, but was 0.001 s" in str(caught.value.__cause__)


def test_brian2_still_warns_of_draws_in_other_peoples_code(b2):
    source, target = clockwork(b2), receivers(b2, 2)
    S = b2.Synapses(source, target, on_pre="v_post += int(rand() < 0.5)*mV")
    S.connect()
    ours = stochastic_synapses(source, target, ReleaseModel(), amplitude=b2.mV)
    with b2.utils.logger.catch_logs() as logs:
        b2.Network(source, target, ours).run(2 * b2.ms)
    assert complaints(logs) == []
    source, target = clockwork(b2), receivers(b2, 2)
    S = b2.Synapses(source, target, on_pre="v_post += int(rand() < 0.5)*mV")
    S.connect()
    with b2.utils.logger.catch_logs() as logs:
        b2.Network(source, target, S).run(2 * b2.ms)
    assert len(complaints(logs)) == 1
    assert "order" in complaints(logs)[0]
