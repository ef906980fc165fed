"""Langevin dynamics: its random numbers, its sine, its arithmetic, its law and its limits.

Statistical tests have fixed keys; each fails by chance in one run of 10,000 or fewer.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from scipy import stats

from theory._langevin_kernels import BLOCK, normal_pairs, sine
from theory.langevin import Averages, langevin, noisy_descent
from theory.rugged import RuggedBowl
from theory.streams import philox

ALPHA = 1e-4
KEY = (123, 456)
FINEST = 0.05 / 3.5  # of the default bowl, a + eps k² = 3.5


@njit
def sines(x):
    """Return the kernel's sine of every entry."""
    out = np.empty_like(x)
    for i in range(x.size):
        out[i] = sine(x[i])
    return out


def normals(pairs, blocks, key=KEY):
    """Return the kernel's numbers, shape (step, replica)."""
    out = np.empty((2 * pairs, blocks * BLOCK))
    for pair in range(pairs):
        for block in range(blocks):
            own = slice(block * BLOCK, (block + 1) * BLOCK)
            normal_pairs(*key, pair, block, out[2 * pair, own], out[2 * pair + 1, own])
    return out


def box_muller(pair, replicas, key=KEY):
    """Return both numbers of a pair of steps by numpy's functions, from Philox's words."""
    a, b, c, d = philox((pair, np.arange(replicas), 0, 0), key)
    u = 1 - (a * 2**20 + (b >> 12)) / 2**52
    angle = 2 * np.pi * ((c * 2**20 + (d >> 12)) / 2**52 - 0.5) / 4
    radius = np.sqrt(-2 * np.log(u)) * np.where(d & 2, -1, 1)
    along, across = radius * np.cos(angle), radius * np.sin(angle)
    return np.where(d & 1, across, along), np.where(d & 1, along, across)


def test_sine():
    x = np.random.default_rng(1).uniform(-1, 1, 200_000) * np.geomspace(1e-9, 1e5, 200_000)
    x = np.concatenate([x, np.arange(-2000, 2000) * np.pi / 4, [0.0, -0.0, 1e8, 1.9e8]])
    assert np.abs(sines(x) - np.sin(x)).max() < 5e-16
    small = np.geomspace(1e-300, 1e-3, 1000)
    assert sines(small) == pytest.approx(np.sin(small), rel=1e-15, abs=0)


def test_normal_numbers_are_those_of_philox_words():
    got = normals(3, 2)
    for pair in range(3):
        first, second = box_muller(pair, 2 * BLOCK)
        assert np.abs(got[2 * pair] - first).max() < 1e-14
        assert np.abs(got[2 * pair + 1] - second).max() < 1e-14


def test_normal_numbers_are_normal():
    z = normals(250, 8).ravel()  # about a million
    n = z.size
    assert stats.kstest(z, "norm").pvalue > ALPHA
    limit = stats.norm.isf(ALPHA / 8)
    # variances of the sample moments of a normal law: 1, 2, 15, 96
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((z**power).mean() - moment) < limit * math.sqrt(variance / n), power
    beyond = (np.abs(z) > 4).sum()
    assert stats.binomtest(int(beyond), n, 2 * stats.norm.sf(4)).pvalue > ALPHA


def test_normal_numbers_are_independent():
    z = normals(128, 4)
    n = z.size
    limit = stats.norm.isf(ALPHA / 12) / math.sqrt(n)
    # neighbours in time within and across pairs, replicas beside and a block apart; of squares too
    for f in (z, (z**2 - 1) / math.sqrt(2)):
        assert abs((f[::2] * f[1::2]).mean()) < limit * math.sqrt(2)
        assert abs((f[1:-1:2] * f[2::2]).mean()) < limit * 1.5
        assert abs((f[:, 1:] * f[:, :-1]).mean()) < limit * 1.01
        assert abs((f[:, BLOCK:] * f[:, :-BLOCK]).mean()) < limit * 1.2
        other = normals(128, 4, (KEY[0], KEY[1] + 1))
        assert abs((f * other).mean()) < limit
    means = z.mean(axis=0) * math.sqrt(len(z))
    assert stats.kstest(means, "norm").pvalue > ALPHA


@given(
    st.floats(0.2, 3.0), st.floats(0.0, 1.0), st.floats(0.5, 9.0), st.floats(-7.0, 7.0),
    st.floats(0.0, 1.0),
)  # fmt: skip
@settings(max_examples=25)
def test_steps_are_euler_and_maruyama(a, eps, k, phase, T):
    bowl = RuggedBowl(a, eps, k, phase)
    dt = 0.04 / (a + eps * k * k)
    x = np.linspace(-3, 3, 300)
    run = langevin(bowl, T, x, dt, 5, KEY, snapshots=range(6))
    for step in range(5):
        assert run.position[:, step] == pytest.approx(x, abs=1e-12)
        z = box_muller(step // 2, 300)[step % 2]
        x = x - dt * (a * x + eps * k * np.sin(k * x + phase)) + math.sqrt(2 * T * dt) * z
    assert run.position[:, 5] == pytest.approx(x, abs=1e-12)
    assert run.time == pytest.approx(dt * np.arange(6), abs=1e-15)


def test_averages_and_exits_by_hand():
    bowl = RuggedBowl(phase=0.4)
    run = langevin(
        bowl, 0.1, np.zeros(300), FINEST, 60, KEY, snapshots=range(61), average_from=10,
        average_every=3, exits=(-0.2, 0.3),
    )  # fmt: skip
    seen = run.position[:, 13:61:3]
    wanted = Averages(
        (seen**2).mean(axis=1), bowl.loss(seen).mean(axis=1), (bowl.grad(seen) ** 2).mean(axis=1),
        bowl.hess(seen).mean(axis=1),
    )  # fmt: skip
    for name, values in vars(wanted).items():
        assert getattr(run.averages, name) == pytest.approx(values, abs=1e-13), name
        mean, error = run.averages.estimates()[name]
        assert mean == pytest.approx(values.mean(), abs=1e-13)
        assert error == pytest.approx(values.std(ddof=1) / math.sqrt(300), rel=1e-10)
    outside = (run.position <= -0.2) | (run.position >= 0.3)
    first = np.where(outside.any(axis=1), outside.argmax(axis=1) * FINEST, np.inf)
    assert 0 < np.isinf(first).sum() < 300
    assert run.exit_time == pytest.approx(first, abs=1e-12)
    assert langevin(bowl, 0.1, np.ones(1), FINEST, 1, KEY, exits=(-0.2, 0.3)).exit_time[0] == 0


def test_neither_threads_nor_replicas_nor_length_change_a_bit():
    def run(replicas, steps, threads):
        """Return everything of a run, cut to 700 replicas and 101 steps."""
        result = langevin(
            RuggedBowl(), 0.1, np.linspace(-1, 1, 1500)[:replicas], FINEST, steps, KEY,
            snapshots=(0, 1, 50, 101), average_from=0, average_every=101, exits=(-0.5, 0.5),
            threads=threads,
        )  # fmt: skip
        left = np.where(result.exit_time > 101.5 * FINEST, np.inf, result.exit_time)[:700]
        curvature = result.averages.curvature[:700] if steps == 101 else None
        return result.position[:700], left, curvature

    position, left, curvature = run(700, 101, 1)
    for replicas, steps, threads in ((700, 101, 2), (1500, 101, 2), (1500, 160, 1), (1500, 101, 7)):
        other = run(replicas, steps, threads)
        assert (other[0] == position).all()
        assert (other[1] == left).all()
        assert other[2] is None or (other[2] == curvature).all()


def test_moments_settle_at_the_gibbs_law():
    # a = 1, eps = T = 0.1, k = 5 by mpmath; steps h and h/2 extrapolated to 0
    found = []
    for n in (1, 2):
        dt = FINEST / n
        run = langevin(
            RuggedBowl(), 0.1, np.zeros(2048), dt, round(36 / dt), (7, n),
            average_from=round(12 / dt), average_every=8 * n, threads=2,
        )  # fmt: skip
        found.append(run.averages.estimates())
    wanted = {
        "second_moment": 0.047987012282449362014,
        "loss": -0.036992974077746535236,
        "curvature": 2.5246620054742804061,
        "squared_gradient": 2.5246620054742804061 * 0.1,
    }
    limit = stats.norm.isf(ALPHA / 8)
    for name, value in wanted.items():
        (coarse, e1), (fine, e2) = (each[name] for each in found)
        assert abs(2 * fine - coarse - value) < limit * math.hypot(2 * e2, e1), name


def test_steps_of_noisy_descent_follow_the_smoothed_loss():
    # eta = 0.1, sigma = 4, B = 4, a = 1, eps = 0.3, k = 5, y = 0.7: mpmath's Gaussian quadrature
    bowl = RuggedBowl(1.0, 0.3, 5.0)
    x = 0.7
    for _ in range(60):  # the x from which a step without noise leads to 0.7, by Newton
        x -= (x - 0.1 * bowl.grad(x) - 0.7) / (1 - 0.1 * bowl.hess(x))
    moved = noisy_descent(bowl, 0.1, 4.0, 4, np.full(400_000, x), 1, KEY).position[:, 0]
    after = noisy_descent(bowl, 0.1, 0.0, 4, moved, 1, KEY).position[:, 0]
    error = after.std() / math.sqrt(after.size)
    assert abs(after.mean() - 0.66191411737600680396) < stats.norm.isf(ALPHA / 2) * error
    assert error < 5e-4  # a step on the bare loss leads 0.018 away


def test_noisy_descent_is_langevin_dynamics_of_its_temperature():
    bowl = RuggedBowl()
    eta, sigma, batch = 0.01, 3.0, 8
    descent = noisy_descent(bowl, eta, sigma, batch, np.zeros(10), 50, KEY)
    other = langevin(bowl, eta * sigma**2 / (2 * batch), np.zeros(10), eta, 50, KEY)
    assert descent.position == pytest.approx(other.position, abs=1e-12)
    assert descent.time.tolist() == [50.0]


def test_steps_may_be_as_short_as_one_likes():
    # 1 - dt a is 1 to the last bit
    run = langevin(RuggedBowl(), 0.0, np.array([0.3]), 1e-17, 2, KEY)
    assert run.position[0, 0] == pytest.approx(0.3, rel=1e-15)


def test_without_temperature_it_descends():
    run = langevin(RuggedBowl(), 0.0, np.array([-1.0, 0.2, 1.0]), FINEST, 2000, KEY)
    assert RuggedBowl().grad(run.position[:, 0]) == pytest.approx(0.0, abs=1e-12)


def call(**changed):
    """Run a few steps with some arguments changed."""
    words = {"temperature": 0.1, "start": np.zeros(3), "dt": 0.01, "steps": 10, "key": KEY}
    return langevin(RuggedBowl(), **{**words, **changed})


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"temperature": -0.1}, "temperature = -0.1"),
        ({"temperature": math.nan}, "temperature = nan"),
        ({"dt": 0.0}, "dt = 0"),
        ({"dt": 0.02}, r"dt = 0.02: must be at most 0.01429.*coarse=True"),
        ({"dt": 2.0, "coarse": True}, "below 2 / curvature"),
        ({"steps": 0}, "steps = 0"),
        ({"start": np.array([math.inf])}, r"start\[0\] = inf"),
        ({"start": np.array([1e9])}, "start nearer"),
        ({"key": (1, 2, 3)}, "must be two words"),
        ({"key": (-1, 2)}, r"key\[0\] = -1"),
        ({"key": 5}, "key = 5"),
        ({"snapshots": 5}, "snapshots = 5"),
        ({"exits": 5.0}, "exits = 5"),
        ({"exits": ("low", 1.0)}, "must be an interval"),
        ({"snapshots": ()}, "ascending"),
        ({"snapshots": (3, 3)}, "ascending"),
        ({"snapshots": (3, 11)}, r"snapshots\[1\] = 11"),
        ({"average_from": 10}, "average_from = 10"),
        ({"average_from": 0, "average_every": 11}, "average_every = 11"),
        ({"exits": (1.0, -1.0)}, "must be an interval"),
        ({"exits": (math.nan, 1.0)}, "must be an interval"),
        ({"threads": 0}, "threads = 0"),
    ],
)
def test_bad_input_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        call(**changed)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"learning_rate": 2.0}, "learning_rate = 2: must be below 2 / curvature"),
        ({"learning_rate": -0.1}, "learning_rate = -0.1"),
        ({"noise_deviation": -1.0}, "noise_deviation = -1"),
        ({"batch": 0}, "batch = 0"),
    ],
)
def test_bad_descent_is_refused(changed, message):
    words = {
        "learning_rate": 0.1, "noise_deviation": 1.0, "batch": 1, "start": np.zeros(3),
        "steps": 2, "key": KEY,
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        noisy_descent(RuggedBowl(), **{**words, **changed})


@pytest.mark.bad_input
def test_one_replica_has_no_standard_error():
    one = np.ones(1)
    with pytest.raises(ValueError, match="replica = 1"):
        Averages(one, one, one, one).estimates()
