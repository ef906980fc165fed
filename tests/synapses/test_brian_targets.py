"""The same synapses compiled: numpy, cython and a C++ project of its own give the same numbers.

The compiled targets run in processes of their own (this file is their script), so that neither
the device nor preferences of brian2 outlive a test.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from brian_run import QUIET, complaints, quiet_brian2, quiet_import
from scipy import stats

from synapses import PresynapticRule, ReleaseModel
from synapses.brian import (
    costa2015,
    presynaptic_rule,
    quantal_depression,
    stochastic_synapses,
    tsodyks_markram,
)
from theory.streams import Streams

ROOT = Path(__file__).parents[2]
STEPS = 200
SIZE = 40
SITES = 6 * SIZE
"""Of the synapses that draw at random: two a pair."""
CV = 1.5
"""Of the quanta: their gamma law has a shape below 1, the harder of the two cases."""

compiled = [
    QUIET,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs the compiler g++"),
]


def build(b2):
    """Return a network with every builder in it, and the synapses by name."""
    uniforms = Streams(11).generator("uniforms").random((STEPS, 12 + 3 * SIZE))
    source = b2.NeuronGroup(SIZE, "rate : 1", threshold="True", reset="")
    source.rate = np.sin(np.arange(SIZE))
    target = b2.NeuronGroup(
        3, "v : volt\nz : 1\nerror : 1", threshold="(timestep(t, dt) + i) % 7 == 3", reset=""
    )
    words = {"amplitude": 0.7 * b2.mV, "record": True}
    short = {"use": 0.2, "tau_rec": 30 * b2.ms, "tau_facil": 50 * b2.ms}
    pairs = {"i": np.array([0, 1, 3, 3]), "j": np.array([2, 0, 0, 1])}
    synapses = {
        "random": stochastic_synapses(source, target, ReleaseModel(2, 0.3, quantal_cv=CV), **words),
        "mean": tsodyks_markram(source, target, convention="jump-last", **short, **words),
        "sites": quantal_depression(
            source, target, sites=3, uniforms=uniforms[:, :12], connect=pairs, **short, **words
        ),
        "timing": costa2015(source, target, gain=2e-6, **words),
        "rule": presynaptic_rule(
            source,
            target,
            PresynapticRule(0.15, 0.04, 0.05, p_freeze=0.7, variant="program"),
            learning_rate=0.1,
            activity="rate",
            teaching="error = 1/(1 + exp(-z)) - int(i == 1); z = 0",
            strength=np.linspace(-0.5, 0.5, 3 * SIZE),
            release_probability=0.5,
            uniforms=uniforms[:, 12:],
            record=True,
        ),
    }
    return b2.Network(source, target, *synapses.values()), synapses


def read(synapses):
    """Return final variables and records of every synapse object."""
    found = {}
    for name, S in synapses.items():
        for variable in S.equations.names - {"lastupdate"}:
            found[f"{name}.{variable}"] = np.array(getattr(S, variable)[:])
        for field in S.recorder.fields:
            found[f"{name}.recorder.{field}"] = np.array(S.recorder[field])
    return found


@pytest.fixture(scope="module")
def in_numpy():
    with quiet_brian2() as b2:
        network, synapses = build(b2)
        network.run(STEPS * b2.ms)
        yield read(synapses)


def other_process(*arguments):
    """Run this file as a script and return what it says."""
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", __file__, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def check_random(found):
    """Check releases and quanta that no given numbers decide."""
    released, sizes = found["random.recorder.r"], found["random.recorder.m"] / 0.7e-3
    assert released.size == SITES * STEPS
    assert stats.binomtest(int(released.sum()), released.size, 0.3).pvalue > 1e-5
    assert stats.kstest(sizes, stats.gamma(CV**-2, scale=CV**2).cdf).pvalue > 1e-5
    # synapses draw for themselves, and anew each time
    assert np.unique(sizes).size == sizes.size
    counts = released.reshape(STEPS, SITES).sum(axis=1)
    spread = ((counts - 0.3 * SITES) ** 2).sum() / (SITES * 0.3 * 0.7)
    assert 1e-5 / 2 < stats.chi2(counts.size).sf(spread) < 1 - 1e-5 / 2
    assert found["random.n_rel"].tolist() == released.reshape(STEPS, SITES).sum(axis=0).tolist()
    energies = (released * sizes).reshape(STEPS, SITES).sum(axis=0) * 0.7e-3
    np.testing.assert_allclose(found["random.energy_syn"], energies, rtol=1e-12)


@QUIET
def test_the_numpy_target_is_worth_comparing_with(in_numpy):
    check_random(in_numpy)
    assert 0 < (in_numpy["rule.p_syn"] >= 0.7).sum() < 3 * SIZE  # some froze
    assert (np.abs(in_numpy["timing.P_syn"] - 0.5) > 1e-3).all()  # learned, and in range
    assert ((in_numpy["timing.P_syn"] > 0) & (in_numpy["timing.P_syn"] < 1)).all()
    assert 0 < in_numpy["sites.n_rel"].sum() < 12 * STEPS


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("cython", marks=compiled),
        pytest.param("cpp_standalone", marks=compiled),
    ],
)
def test_compiled_targets_give_the_numbers_of_numpy(in_numpy, target, tmp_path, request):
    cache = request.config.cache.mkdir("brian_cython")
    other_process(target, tmp_path, cache)
    with np.load(tmp_path / "found.npz") as found:
        assert set(found.files) == set(in_numpy)
        check_random(found)
        for name, values in in_numpy.items():
            if name.startswith("random."):
                continue
            if values.dtype.kind == "i":
                assert found[name].tolist() == values.tolist(), name
            else:
                np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-12, err_msg=name)


def test_a_standalone_project_is_checked_before_it_is_built():
    assert other_process("checks").split("\n")[-2] == "all refused"


def standalone(b2):
    """Switch to a project that is built by hand, and with little optimisation, soon."""
    b2.set_device("cpp_standalone", build_on_run=False)
    b2.prefs.devices.cpp_standalone.extra_make_args_unix = ["-j2"]


def refusals(b2):
    """Hand over what a standalone project must refuse."""
    standalone(b2)
    b2.defaultclock.dt = 1 * b2.ms
    source, target = b2.PoissonGroup(2, 5 * b2.Hz), b2.NeuronGroup(3, "v : volt")

    def pair(columns, connect=None):
        return stochastic_synapses(
            source,
            target,
            ReleaseModel(2),
            amplitude=b2.mV,
            connect=connect,
            uniforms=np.zeros((4, columns)),
            record=True,
        )

    arrays = {"i": np.array([0, 1]), "j": np.array([0, 2])}
    for columns, connect, message in (
        (11, None, "must have 12 columns"),
        (5, arrays, "must have 4 columns"),
        (12, "i == j", "must be None, or arrays i and j"),
        (12, {"p": 0.5}, "must be None, or arrays i and j"),
    ):
        with pytest.raises(ValueError, match=message):
            pair(columns, connect)
    assert pair(4, arrays) is not None
    S = pair(12)
    with pytest.raises(RuntimeError, match="has not run yet"):
        S.recorder["r"]
    with pytest.raises(b2.core.base.BrianObjectException) as caught:
        b2.Network(source, target, S).run(5 * b2.ms)
    assert "uniforms has 4 rows" in str(caught.value.__cause__)
    print("all refused")


def main(target, folder=None, cache=None):
    """Run the network on a compiled target and save what came of it."""
    b2 = quiet_import()
    if target == "checks":
        refusals(b2)
        return
    b2.prefs.codegen.cpp.extra_compile_args_gcc = ["-w", "-O0", "-std=c++11"]
    if target == "cython":
        b2.prefs.codegen.target = "cython"
        b2.prefs.codegen.runtime.cython.cache_dir = cache
    else:
        standalone(b2)
    b2.defaultclock.dt = 1 * b2.ms
    b2.seed(4)
    with b2.utils.logger.catch_logs() as logs:
        network, synapses = build(b2)
        network.run(STEPS * b2.ms)
        if target == "cpp_standalone":
            b2.device.build(directory=str(Path(folder) / "project"), with_output=False)
        np.savez(Path(folder) / "found.npz", **read(synapses))
    assert not complaints(logs), complaints(logs)


if __name__ == "__main__":
    main(*sys.argv[1:])
