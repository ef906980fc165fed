"""Riccati solutions of balanced networks against high precision, limits and integration."""

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import balanced_pair, wave

from deeplinear import _riccati
from deeplinear.balanced import balanced_gram
from deeplinear.flow import matrix_flow
from deeplinear.rules import BlowUpError, CurvatureCorrection


def symmetric_power(matrix, power):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.clip(values, 0, None) ** power) @ vectors.T


def joint(weights):
    first, second = weights
    tall = np.concatenate([np.swapaxes(first, -1, -2), second], axis=-2)
    return tall @ np.swapaxes(tall, -1, -2)


def exact_gram(weights, target, time, digits):
    """QQ'(t) from the Riccati formula as printed, in enough digits to survive e^{2ft}."""
    first, second = weights
    difference = second.T @ second - first @ first.T
    half = float(np.trace(difference)) / len(difference) / 2
    inputs, outputs = target.shape[1], target.shape[0]
    size = inputs + outputs
    with mp.workdps(digits):
        generator = mp.zeros(size, size)
        for o in range(outputs):
            for i in range(inputs):
                generator[i, inputs + o] = generator[inputs + o, i] = mp.mpf(target[o, i])
        for i in range(size):
            generator[i, i] = mp.mpf(-half if i < inputs else half)
        rates, basis = mp.eigsy(generator)
        start = mp.matrix(np.vstack([first.T, second]).tolist())
        rows = basis.T * start
        middle = mp.eye(rows.cols)
        for a in range(size):
            small = abs(rates[a]) * time < mp.mpf(10) ** (-digits // 2)
            growth = mp.mpf(time) if small else mp.expm1(2 * rates[a] * time) / (2 * rates[a])
            middle += growth * rows[a, :].T * rows[a, :]
        grown = basis * mp.diag([mp.exp(r * time) for r in rates]) * rows
        gram = grown * mp.inverse(middle) * grown.T
        return np.array(gram.tolist(), dtype=float)


def golden_pair():
    first = np.array([[0.4, 0.1], [-0.2, 0.3]])
    c, s = np.cos(0.9), np.sin(0.9)
    turn = np.array([[c, -s], [s, c]])
    second = turn @ symmetric_power(first @ first.T + 0.5 * np.eye(2), 0.5)
    return [first, second], np.array([[1.2, 0.4], [-0.3, 0.8]])


# an independent implementation: expm and inverses, within 1e-9 of its DOP853 integration
GOLDEN = {
    0: [
        [0.7070767994735039, 0.08108184971463904, 0.9211347361884751, -0.10761535313597316],
        [0.08108184971463911, 0.34554709202866163, 0.19626574925623716, 0.510127788741047],
        [0.9211347361884751, 0.19626574925623705, 1.2244275437509646, 0.0006391584970360601],
        [-0.10761535313597297, 0.5101277887410469, 0.0006391584970362165, 0.8281963477511995],
    ],
    1: [
        [0.6053454868034857, 0.05315364356934733, 0.8141227748049273, -0.09563116209538894],
        [0.05315364356934734, 0.3559990482034533, 0.15785958720042034, 0.5316394520510129],
        [0.8141227748049273, 0.15785958720042034, 1.11613988177982, 0.004152940837653951],
        [-0.09563116209538894, 0.5316394520510129, 0.004152940837653952, 0.8452046532271189],
    ],
}


@pytest.mark.parametrize("power", [0, 1])
def test_golden_gram_matrices(power):
    weights, target = golden_pair()
    gram = balanced_gram(weights, target, np.array([0.0, 0.8]), power)
    np.testing.assert_allclose(gram[0], joint(weights), atol=1e-14)
    np.testing.assert_allclose(gram[1], GOLDEN[power], atol=1e-13)


@settings(max_examples=50)
@given(
    seed=st.integers(0, 10**6),
    widths=st.tuples(*[st.integers(1, 4)] * 3),
    imbalance=st.sampled_from([0.0, 0.3, -0.3]),
    deficient=st.booleans(),
)
def test_gradient_gram_equals_the_flow(seed, widths, imbalance, deficient):
    inputs, hidden, outputs = widths
    # lambda > 0 needs W_2'W_2 of full rank, lambda < 0 needs it of W_1W_1'
    hidden = min(hidden, outputs if imbalance > 0 else inputs if imbalance < 0 else hidden)
    weights = balanced_pair(seed, inputs, hidden, outputs, imbalance)
    target = np.random.default_rng(seed).normal(size=(outputs, inputs))
    if deficient:
        target = target[:, :1] @ target[:1, :]
    times = np.array([0.01, 0.6, 3.0])
    gram = balanced_gram(weights, target, times)
    flow = matrix_flow(CurvatureCorrection(0.0), weights, target, times, rtol=1e-11)
    expected = joint(flow)
    assert np.abs(gram - expected).max() < 1e-9 * np.abs(expected).max()


@settings(max_examples=20)
@given(
    seed=st.integers(0, 10**6),
    widths=st.sampled_from([(3, 3, 3), (2, 4, 4), (4, 2, 2), (2, 2, 4), (1, 1, 1), (2, 3, 3)]),
    imbalance=st.sampled_from([0.3, 0.05]),
    flipped=st.booleans(),
)
def test_natural_gram_equals_the_flow(seed, widths, imbalance, flipped):
    weights = balanced_pair(seed, *widths, imbalance)
    target = np.random.default_rng(seed).normal(size=(widths[2], widths[0]))
    if flipped:
        weights, target = [weights[1].T, weights[0].T], target.T
    times = np.array([0.05, 0.4])
    gram = balanced_gram(weights, target, times, 1)
    flow = matrix_flow(CurvatureCorrection(1.0), weights, target, times, rtol=1e-12)
    expected = joint(flow)
    # 1e-8: tall maps may pass close to a loss of rank, where errors of the flow grow
    assert np.abs(gram - expected).max() < 1e-8 * np.abs(expected).max()


@pytest.mark.parametrize("widths", [(3, 3, 3), (2, 3, 3), (4, 3, 3), (2, 5, 3)])
def test_natural_gram_of_balanced_nets(widths):
    weights = balanced_pair(2, *widths, 0.0)
    target = 1.5 * weights[1] @ weights[0] + 0.02 * wave(1, widths[2], widths[0])
    times = np.array([0.5, 2.0])
    gram = balanced_gram(weights, target, times, 1)
    expected = joint(matrix_flow(CurvatureCorrection(1.0), weights, target, times, rtol=1e-12))
    np.testing.assert_allclose(gram, expected, atol=1e-10)


def same_side(weights, target):
    """The problem with a sign in the target that gives both maps determinants of one sign.

    Otherwise an exactly balanced start runs into a saddle, and whether it leaves it later is a
    matter of rounding in the start.
    """
    sides = np.sign(np.linalg.det(weights[1] @ weights[0]) * np.linalg.det(target))
    return weights, target @ np.diag([1.0, sides])


LONG = {
    "generic": (balanced_pair(1, 2, 2, 2, 0.3), wave(1, 2, 2)),
    "balanced": same_side(balanced_pair(1, 2, 2, 2, 0.0), wave(1, 2, 2)),
    "tiny start": same_side(balanced_pair(3, 2, 2, 2, 0.0, 1e-8), wave(1, 2, 2)),
    "singular target": (balanced_pair(4, 2, 2, 2, 0.0), wave(1, 2, 1) @ wave(2, 1, 2)),
    "bottleneck": (balanced_pair(5, 3, 1, 2, 0.0), wave(1, 2, 3)),
    "bottleneck imbalance": (balanced_pair(5, 3, 2, 3, -0.2), wave(3, 3, 3)),
    "wide": same_side(balanced_pair(6, 2, 5, 2, 0.0), wave(1, 2, 2)),
    "tall": (balanced_pair(7, 1, 2, 3, 0.2), wave(1, 3, 1)),
    "zero target": (balanced_pair(8, 2, 2, 2, 0.0), np.zeros((2, 2))),
}


@pytest.mark.parametrize("name", LONG)
def test_long_times_keep_their_digits(name):
    weights, target = LONG[name]
    times = np.array([1e-9, 0.3, 12.0, 1e3])
    gram = balanced_gram(weights, target, times)
    for k, time in enumerate(times):
        # e^{4 |F| t} has about 1.8 |F| t digits
        digits = 60 + int(1.8 * time * (np.linalg.norm(target, 2) + 0.5))
        expected = exact_gram(weights, target, float(time), digits)
        assert np.abs(gram[k] - expected).max() < 2e-12 * np.abs(expected).max()


def test_at_late_times_the_gram_is_the_positive_part_of_the_generator():
    weights, target = balanced_pair(9, 6, 6, 6, 0.4), wave(1, 6, 6) + np.eye(6)
    half = 0.2 * np.eye(6)
    generator = np.block([[-half, target.T], [target, half]])
    values, vectors = np.linalg.eigh(generator)
    limit = 2 * (vectors * np.clip(values, 0, None)) @ vectors.T
    gram = balanced_gram(weights, target, np.array([1e3, 1e5, 1e8]))
    for late in gram:
        np.testing.assert_allclose(late, limit, atol=1e-12 * np.abs(limit).max())


def test_zero_generators_decay_like_one_over_time():
    # W* = 0, lambda = 0: d(QQ')/dt = -(QQ')^2
    weights = balanced_pair(10, 3, 3, 3, 0.0)
    time = 1e6
    vectors, values, _ = np.linalg.svd(np.vstack([weights[0].T, weights[1]]), full_matrices=False)
    expected = (vectors * (values**2 / (1 + time * values**2))) @ vectors.T
    gram = balanced_gram(weights, np.zeros((3, 3)), np.array([time]))[0]
    np.testing.assert_allclose(gram, expected, atol=1e-12 * np.abs(expected).max())


def test_dependent_rows_take_the_echelon_form():
    # a rank-one start in a net with two hidden units: both growing modes have parallel rows,
    # and rank is conserved: only the faster mode is learned, however late
    direction = np.array([[0.6], [0.8]])
    weights = [0.2 * direction @ np.array([[1.0, 1.0]]), 0.2 * np.ones((2, 1)) @ direction.T]
    target = np.diag([2.0, 1.0])
    gram = balanced_gram(weights, target, np.array([4.0, 800.0]))
    limit = np.zeros((4, 4))
    limit[np.ix_([0, 2], [0, 2])] = 2.0
    np.testing.assert_allclose(gram[1], limit, atol=1e-12)
    expected = exact_gram(weights, target, 4.0, 80)
    np.testing.assert_allclose(gram[0], expected, atol=1e-12)


def test_echelon_and_triangular_forms_agree():
    rows = wave(1, 6, 3)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    generic = wave(2, 5, 5) + 2 * np.eye(5)
    for matrix in (generic, generic[:3], generic[:, :3]):
        plain, _ = _riccati._triangular(matrix)
        echelon, pivots = _riccati._echelon(matrix)
        np.testing.assert_array_equal(pivots, np.arange(len(pivots)))
        np.testing.assert_allclose(np.abs(plain), np.abs(echelon), atol=1e-12)
    doubled = np.repeat(generic, 2, axis=0)
    lower, pivots = _riccati._echelon(doubled)
    np.testing.assert_array_equal(pivots, np.arange(0, 10, 2))
    np.testing.assert_allclose(lower @ lower.T, doubled @ doubled.T, atol=1e-12)


def test_an_empty_network_stays_empty():
    zero = [np.zeros((2, 3)), np.zeros((4, 2))]
    assert not balanced_gram(zero, wave(1, 4, 3), np.array([1e3])).any()


def test_unbalanced_starts_are_refused_with_their_deviation():
    weights, target = golden_pair()
    weights[1] = weights[1] + np.array([[0.0, 1e-3], [0.0, 0.0]])
    difference = weights[1].T @ weights[1] - weights[0] @ weights[0].T
    mean = np.trace(difference) / 2
    deviation = np.abs(difference - mean * np.eye(2)).max()
    with pytest.raises(ValueError, match=f"deviates from {mean:.6g} I by {deviation:.3g}"):
        balanced_gram(weights, target, np.array([1.0]))


@pytest.mark.parametrize(
    ("weights", "target", "power", "message"),
    [
        ([np.eye(2)], np.eye(2), 0, "has 1 layers: must have 2"),
        ([np.eye(2)] * 2, np.eye(3), 0, "target has shape"),
        (balanced_pair(1, 2, 3, 4, 0.3), wave(1, 4, 2), 1, "widths 2-3-4 and lambda = 0.3"),
        (balanced_pair(1, 4, 3, 2, -0.3), wave(1, 2, 4), 1, "hidden width is 4, or 2"),
        (balanced_pair(1, 4, 2, 3, 0.0), wave(1, 3, 4), 1, "product of deficient rank"),
    ],
)
def test_bad_input_is_refused(weights, target, power, message):
    with pytest.raises(ValueError, match=message):
        balanced_gram(weights, target, np.array([1.0]), power)


@pytest.mark.parametrize("hidden", [1, 2])
def test_natural_gradient_of_a_balanced_net_stops_at_the_saddle(hidden):
    first = np.full((hidden, 1), 0.5)
    weights = [first, -first.T]
    with pytest.raises(BlowUpError, match="saddle") as caught:
        balanced_gram(weights, np.eye(1), np.array([2.0]), 1)
    # u = 1 - (1 - u0) e^{-t} vanishes
    assert caught.value.time == pytest.approx(np.log(1 + 0.25 * hidden), rel=1e-12)
    early = balanced_gram(weights, np.eye(1), np.array([0.1]), 1)[0]
    assert early[1, 0] == pytest.approx(1 - (1 + 0.25 * hidden) * np.exp(-0.1), rel=1e-12)
