"""What the claims on release and plasticity measure, and that they can fail."""

import numpy as np
import pytest
from brian_run import QUIET, quiet_import

from sandbox.bench import judge
from sandbox.bench.claim import Run
from sandbox.bench.sweep import SerialExecutor
from sandbox.claims._brian import clockwork, quiet_brian
from sandbox.claims.costa2015plasticity import timing
from sandbox.claims.costa2015plasticity._trains import FIRST_S, learn, pairs
from sandbox.claims.schug2021presynaptic import spiking
from sandbox.claims.tsodyks1998depression import regular
from sandbox.claims.tsodyks1998depression.poisson import walk
from sandbox.claims.tsodyks1998depression.regular import (
    DEPRESSING,
    FACILITATING,
    paired,
    sequence,
)
from theory.poisson_trains import facilitation_poisson
from theory.streams import Streams

pytestmark = QUIET

# u x of the first spikes at 20 Hz, by exact recursion in 40 digits
FIRST = {
    DEPRESSING: [0.5, 0.265146734296631, 0.154834621473557, 0.103020301587282],
    FACILITATING: [0.03, 0.055326829709522, 0.0757361857554473, 0.0917773806777647],
}


@pytest.fixture
def run(tmp_path):
    return Run("quick", Streams(0), "cpu", SerialExecutor(), tmp_path)


def verdicts(comparisons):
    return [judge(c).verdict.value for c in comparisons]


def test_windows_of_a_regular_train_hold_five_spikes():
    found = spiking.windows("regular", 1.0, 3, 40.0, 1)
    # in whole steps the neuron fires a little slower than 50 Hz: not all of 400 windows fit
    assert found.shape[:2] == (3, 2)
    assert 390 < found.shape[2] < 400
    assert (found == 5).all()


def test_windows_of_a_poisson_train_last_a_tenth_of_a_second():
    found = spiking.windows("Poisson", 1.0, 200, 5.0, 1)
    assert (found[:, 0] == found[:, 1]).all()  # p = 1: both synapses release at every spike
    # 50 Hz for 0.1 s; 5 standard errors of 200 x 49 Poisson numbers of mean 5
    assert abs(found[:, 0].mean() - 5) < 5 * np.sqrt(5 / (200 * 49))


def test_the_jackknife_gives_the_standard_error_of_a_mean():
    numbers = np.random.default_rng(2).normal(size=4000)
    mean, width = spiking.with_error(numbers, lambda x: float(x.mean()))
    assert mean == pytest.approx(numbers.mean(), rel=1e-14)
    # of 40 groups: known to 1 part in sqrt(2 x 39), at 3.5 of these
    assert width == pytest.approx(4 / np.sqrt(4000), rel=0.4)


def test_rates_of_mean_matched_failures():
    # Monte Carlo, event by event: 3.295 +- 0.091, 7.080 +- 0.133, 10.863 +- 0.165 Hz
    for p, wanted, error in ((1.0, 3.295, 0.091), (0.5, 7.08, 0.133), (0.25, 10.863, 0.165)):
        assert abs(spiking.exact_rate(9000.0, 0.1, p) - wanted) < 3 * error
    # quadrature in 40 digits
    assert spiking.diffusion_rate(9000.0, 0.1, 0.5) == pytest.approx(7.0594487473572342786)
    assert spiking.diffusion_rate(9000.0, 0.1, 0.3, 5) == pytest.approx(5.2934872567286116538)


def test_a_law_that_leaves_out_the_shared_train_fails(run, monkeypatch):
    monkeypatch.setattr("theory.release_counts.release_correlation", lambda fano, p: 0.0)
    assert verdicts(spiking.shared_input(run)) == ["holds", "fails"]


@pytest.mark.parametrize("constants", FIRST)
def test_the_recursion_of_short_term_plasticity(constants):
    assert sequence(constants, 0.05, 4) == pytest.approx(FIRST[constants], rel=1e-13)


def test_covariances_by_lag():
    counts = np.tile([1.0, -1.0], (7, 50))
    mean, width = paired(counts, range(1, 3))
    assert mean == pytest.approx([-1.0, 1.0], rel=1e-14)
    assert width == pytest.approx(0.0, abs=1e-14)


def test_a_law_that_leaves_out_the_sites_fails(run, monkeypatch):
    monkeypatch.setattr(
        "theory.information.site_covariance", lambda sites, use, tau, gap, lag: -0.004
    )
    assert verdicts(regular.site_covariances(run)) == ["fails", "holds"]


def test_trains_of_the_walk_have_the_exact_means():
    found = walk(20.0, 1000, 200, np.random.default_rng(4))
    error = found.std(axis=1, ddof=1) / np.sqrt(1000)
    wanted = facilitation_poisson(*FACILITATING, 20.0)
    assert (np.abs(found.mean(axis=1) - wanted) < 5 * error).all()


def test_pairs_and_bursts():
    pre, post = pairs(-0.01, 0.02, 3, bursts=2, gap_s=5.0)
    start = FIRST_S + np.array([0, 0.02, 0.04, 5, 5.02, 5.04])
    np.testing.assert_allclose(pre, start, rtol=1e-14)
    np.testing.assert_allclose(post, start - 0.01, rtol=1e-14)


def test_brian_learns_from_the_times_given():
    # one pair 10 ms post before pre, one synapse without postsynaptic spikes
    P, q, sent = learn([[0.21], [0.05, 0.25]], [[0.2], []], gain=1.0, step_s=1e-3)
    assert P[0] == pytest.approx(0.5 - 0.12489378557653424906, rel=1e-12)
    assert P[1] == 0.5
    assert q.tolist() == [1.0, 1.0]
    assert [len(shares) for shares in sent] == [1, 2]
    # p decays with 50 ms to 0.5, r recovers with 200 ms
    second = (0.5 + 0.25 * np.exp(-4)) * (1 - 0.5 * np.exp(-1))
    assert sent[1].tolist() == pytest.approx([0.5, second], rel=1e-12)


def test_what_the_protocol_does_with_the_printed_constants(run):
    comparison = timing.protocol(run)
    assert judge(comparison).verdict.value == "fails"
    # rates 10, 20, 40, 50 Hz; +10 and -10 ms as printed, then with gain 0.15
    ended = comparison.measured < 1e-12
    assert ended.tolist() == [
        [True, True, False, True],
        [True, True, True, True],
        [True, False, True, False],
        [True, False, False, False],
    ]


def test_brian_is_left_as_it_was_found():
    b2 = quiet_import()
    target, step = b2.prefs.codegen.target, b2.defaultclock.dt
    with quiet_brian(0.25, 3) as lent:
        assert lent.prefs.codegen.target == "numpy"
        assert lent.defaultclock.dt == 0.25 * b2.second
        group = clockwork(lent, [1, 3])
        monitor = lent.SpikeMonitor(group)
        lent.Network(group, monitor).run(1 * b2.second)
        assert np.asarray(monitor.count).tolist() == [4, 2]
    assert (b2.prefs.codegen.target, b2.defaultclock.dt) == (target, step)
