"""Importance measures against enumeration, small networks and their own derivations."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sandbox.regularisers.tiny_net_numbers import (
    ADAM_BIAS,
    CONFIDENCE,
    IMPORTANCE,
    MOMENTS,
    OFFLINE,
    PAIRS,
    PENALISED_PATHS,
    TWO_CLASSES,
)
from theory.importance import (
    batched_fisher_mean,
    label_measures,
    merge_penalties,
    path_bias_sgd,
    path_sums_adam,
    sos_second_moment,
)

# the tiny tanh network of the recorded numbers, once more in numpy and by hand
X = np.array([[0.5, -1.0, 2.0], [1.5, 0.3, -0.7], [-0.8, 1.2, 0.4], [0.1, -0.6, -1.1]])
W1 = np.array([[0.2, -0.4, 0.6], [-0.5, 0.3, 0.1], [0.7, 0.2, -0.3], [-0.1, -0.6, 0.4]])
W2 = np.array([[0.3, -0.2, 0.5, 0.1], [-0.4, 0.6, 0.2, -0.3], [0.1, 0.4, -0.5, 0.7]])
LABELS = [0, 2, 1, 2]
START = np.concatenate([W1.ravel(), W2.ravel()])
ANCHOR = START + 0.1 * np.sign(START)

numbers = st.floats(-5.0, 5.0)
seeds = st.integers(0, 2**32 - 1)


def network(scale=1.0):
    """Return probabilities (input, label) and scores (input, label, parameter)."""
    hidden = np.tanh(X @ W1.T)
    p = np.exp(scale * hidden @ W2.T)
    p /= p.sum(1, keepdims=True)
    last = p[:, None] - np.eye(3)
    first = last @ (scale * W2) * (1 - hidden**2)[:, None]
    layers = [(first, X), (last, hidden)]
    flat = [(e[..., None] * a[:, None, None]).reshape(4, 3, -1) for e, a in layers]
    return p, np.concatenate(flat, axis=2)


P, SCORES = network()
GIVEN = SCORES[range(4), LABELS]


def test_moments_of_a_small_network():
    mean, variance = GIVEN.mean(0), GIVEN.var(0)
    assert mean**2 == pytest.approx(MOMENTS["mean squared"], abs=1e-15)
    assert variance == pytest.approx(MOMENTS["variance"], abs=1e-15)
    assert batched_fisher_mean(mean, variance, 1) == pytest.approx(
        IMPORTANCE["empirical"], abs=1e-15
    )
    assert batched_fisher_mean(mean, variance, 4, 4) == pytest.approx(
        IMPORTANCE["batched"], abs=1e-15
    )


def test_path_sums_of_batches_of_two():
    mean, variance = GIVEN.mean(0), GIVEN.var(0)
    found = path_bias_sgd(mean, variance, 2, population=4)
    for sums, name in zip(found, ("si", "siu", "bias"), strict=True):
        assert sums == pytest.approx(PAIRS[name], abs=1e-15)
    square = sos_second_moment(mean, variance, 2, 1.0, population=4)
    assert square == pytest.approx(PAIRS["squared difference"], abs=1e-15)


@pytest.mark.parametrize("row", ADAM_BIAS, ids=lambda row: f"mean {row[0]:g}")
def test_path_sums_of_adam(row):
    mean, spread, simulated, si, simulated_siu, siu = row
    found = path_sums_adam(mean, 7 * spread**2, 7)
    assert found[:2] == pytest.approx((si, siu), abs=1e-12)
    assert found.sib == pytest.approx(si - siu, abs=1e-12)
    # means over 400,000 steps of deviations up to 1: standard errors below 0.0016
    assert found[:2] == pytest.approx((simulated, simulated_siu), abs=0.005)


@given(seeds, st.integers(1, 5), st.data())
def test_every_batch_enumerated(seed, count, data):
    size = data.draw(st.integers(1, count))
    alpha = data.draw(st.floats(-1.0, 2.0))
    g = np.random.default_rng(seed).normal(1.0, 2.0, (count, 3))
    mean, variance = g.mean(0), g.var(0)
    drawn = np.array([g[list(c)].mean(0) for c in itertools.combinations(range(count), size)])
    found = path_bias_sgd(mean, variance, size, population=count)
    assert (drawn**2).mean(0) == pytest.approx(found.si, abs=1e-12)
    assert found.si == pytest.approx(found.siu + found.sib, abs=1e-12)
    pairs = (drawn[:, None] * drawn).mean((0, 1))
    assert pairs == pytest.approx(found.siu, abs=1e-12)
    square = ((drawn[:, None] - alpha * drawn) ** 2).mean((0, 1))
    wanted = sos_second_moment(mean, variance, size, alpha, population=count)
    assert square == pytest.approx(wanted, abs=1e-11)
    assert found.si == pytest.approx(batched_fisher_mean(mean, variance, size, count), abs=1e-12)
    with_others = np.array([g[list(c)].mean(0) for c in itertools.product(range(count), repeat=2)])
    assert (with_others**2).mean(0) == pytest.approx(path_bias_sgd(mean, variance, 2).si, abs=1e-12)


@given(seeds, st.sampled_from([1, 2, 3, 6]))
def test_a_shuffled_pass_cut_into_batches(seed, size):
    g = np.random.default_rng(seed).normal(1.0, 2.0, 6)
    orders = np.array(list(itertools.permutations(range(6))))
    batches = g[orders].reshape(len(orders), -1, size).mean(2)
    wanted = batched_fisher_mean(g.mean(), g.var(), size, population=6)
    assert (batches**2).mean() == pytest.approx(wanted, rel=1e-11)
    # never more than the empirical Fisher
    assert ((batches**2).mean(1) <= (g**2).mean() * (1 + 1e-12)).all()


def test_labels_drawn_from_the_model_give_the_fisher_over_the_batch_size():
    fisher = np.einsum("nc,ncp->p", P, SCORES**2) / 4
    batched = np.zeros(24)
    for labels in itertools.product(range(3), repeat=4):
        chance = np.prod(P[range(4), labels])
        parts = SCORES[range(4), labels].reshape(2, 2, -1).mean(1)
        batched += chance * (parts**2).mean(0)
    assert 2 * batched == pytest.approx(fisher, rel=1e-12)


@given(numbers, st.floats(0.0, 25.0), st.integers(1, 100), st.floats(0.0, 0.99))
def test_path_sums_add_up_and_bias_falls_with_the_batch(mean, variance, batch, beta1):
    for law in (path_bias_sgd, lambda *moments: path_sums_adam(*moments, beta1)):
        one, two = law(mean, variance, batch), law(mean, variance, batch + 1)
        assert one.si == pytest.approx(one.siu + one.sib, rel=1e-12)
        assert two.sib <= one.sib * (1 + 1e-12)
        assert min(one) >= 0
    assert path_sums_adam(mean, variance, batch, 0.0).si == pytest.approx(
        np.sqrt(mean**2 + variance / batch), abs=1e-12
    )


def test_gradients_too_small_to_square():
    found = path_sums_adam(1e-200, 0.0, 1)
    assert found == (1e-200, 1e-200, 0.0)
    assert path_sums_adam(0.0, 0.0, 1) == (0.0, 0.0, 0.0)
    assert path_bias_sgd(2.0, 0.0, 1, population=1) == (4.0, 4.0, 0.0)


def test_two_labels():
    p = np.exp(TWO_CLASSES["logits"]) / np.exp(TWO_CLASSES["logits"]).sum()
    found = label_measures(p, p - np.eye(2))
    assert p == pytest.approx(TWO_CLASSES["probabilities"], abs=1e-15)
    assert found.absolute == pytest.approx(TWO_CLASSES["absolute"], abs=1e-15)
    assert found.memory_top == pytest.approx(TWO_CLASSES["masx"], abs=1e-15)
    assert found.memory == pytest.approx(TWO_CLASSES["mas"], abs=1e-15)
    assert found.memory_top == pytest.approx(p[0] * found.absolute, abs=1e-15)
    assert found.memory == pytest.approx((p[0] - p[1]) * found.absolute, abs=1e-15)
    assert found.fisher == pytest.approx(found.absolute**2 / (4 * p[0] * p[1]), abs=1e-12)


@pytest.mark.parametrize("row", CONFIDENCE, ids=lambda row: f"scale {row[0]:g}")
def test_measures_meet_as_confidence_grows(row):
    scale, sure, *wanted = row
    p, scores = network(scale)
    assert p.max(1).mean() == pytest.approx(sure, abs=1e-15)
    each = [label_measures(p[n], scores[n]) for n in range(4)]
    fisher, absolute, memory, top = np.mean(each, axis=0)
    found = [
        np.corrcoef(a, b)[0, 1]
        for a, b in (
            (memory, absolute),
            (top, absolute),
            (memory, np.sqrt(fisher)),
            (memory, fisher),
        )
    ]
    found.append(memory.sum() / absolute.sum())
    assert found == pytest.approx(wanted, abs=1e-12)


@given(seeds, st.integers(2, 6), st.floats(0.1, 8.0))
def test_relations_of_the_label_measures(seed, labels, sharpness):
    generator = np.random.default_rng(seed)
    p = np.exp(sharpness * generator.normal(size=labels))
    p /= p.sum()
    raw = generator.normal(size=(labels, 7))
    g = raw - p @ raw
    fisher, absolute, memory, top = label_measures(p, g)
    order = np.argsort(-p)
    terms = (p[:, None] * g)[order[1:]]
    plus, minus = np.maximum(terms, 0).sum(0), np.maximum(-terms, 0).sum(0)
    small = 1e-12 * np.abs(g).max()
    assert absolute == pytest.approx(2 * np.maximum(plus, minus), abs=small)
    assert top == pytest.approx(2 * p.max() * np.abs(plus - minus), abs=small)
    assert (top <= p.max() * absolute + small).all()
    one_sign = np.minimum(plus, minus) == 0
    assert np.allclose(top[one_sign], p.max() * absolute[one_sign], rtol=1e-9, atol=small)
    assert (top[~one_sign] < p.max() * absolute[~one_sign] + small).all()
    assert (memory <= (p.max() - p.min()) * absolute + small).all()
    runner_up = p[order[1]]
    assert (memory[one_sign] >= (p.max() - runner_up) * absolute[one_sign] - small).all()
    assert (np.abs(memory - top) <= runner_up * absolute + small).all()
    assert (absolute**2 <= fisher * (1 + 1e-9) + small**2).all()


@given(seeds, st.integers(1, 5))
def test_merged_penalties_are_the_sum(seed, tasks):
    generator = np.random.default_rng(seed)
    strengths = generator.exponential(size=(tasks, 4)) * (generator.random((tasks, 4)) < 0.7)
    anchors, theta = generator.normal(size=(tasks, 4)), generator.normal(size=4)
    importance, anchor, constant = merge_penalties(strengths, anchors)
    whole = (strengths * (theta - anchors) ** 2).sum()
    assert (importance * (theta - anchor) ** 2).sum() + constant == pytest.approx(whole, abs=1e-11)
    idle = importance == 0
    assert np.array_equal(anchor[idle], anchors[-1][idle])
    # task by task
    so_far = merge_penalties(strengths[:1], anchors[:1])
    total = 0.0
    for k in range(1, tasks):
        pair = [so_far.importance, strengths[k]], [so_far.anchor, anchors[k]]
        so_far = merge_penalties(np.array(pair[0]), np.array(pair[1]))
        total += so_far.constant
    assert so_far.anchor == pytest.approx(anchor, abs=1e-11)
    assert total == pytest.approx(constant, abs=1e-11)


def test_penalties_of_a_small_network():
    strengths = np.array([IMPORTANCE["exact"], IMPORTANCE["empirical"]])
    importance, anchor, constant = merge_penalties(strengths, np.array([START, ANCHOR]))
    assert constant == pytest.approx(OFFLINE["constant"], abs=1e-15)
    end = np.array(PENALISED_PATHS["end"])
    whole = (importance * (end - anchor) ** 2).sum() + constant
    assert whole == pytest.approx(OFFLINE["penalty"], abs=1e-15)


def test_measures_of_a_small_network():
    each = [label_measures(P[n], SCORES[n]) for n in range(4)]
    fisher, absolute, memory, top = np.mean(each, axis=0)
    for found, name in ((fisher, "exact"), (absolute, "absolute"), (memory, "mas"), (top, "masx")):
        assert found == pytest.approx(IMPORTANCE[name], abs=1e-15)


def test_tiny_importances_keep_their_mean():
    found = merge_penalties(np.array([[1e-320], [3e-320]]), np.array([[0.0], [4.0]]))
    assert found.anchor == pytest.approx([3.0], rel=1e-3)  # subnormal numbers have few digits


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: path_bias_sgd(1.0, -1.0, 2), "variance has the entry -1"),
        (lambda: path_bias_sgd([1.0], [1.0, 2.0], 2), r"variance has shape \(2,\)"),
        (lambda: path_bias_sgd(np.nan, 1.0, 2), "mean = nan"),
        (lambda: path_bias_sgd("mean", 1.0, 2), "mean = 'mean'"),
        (lambda: path_bias_sgd(1.0, 1.0, 0), "batch = 0"),
        (lambda: path_bias_sgd(1.0, 1.0, 5, population=4), "batch = 5"),
        (lambda: path_bias_sgd(1.0, 1.0, 5, population=0), "population = 0"),
        (lambda: path_sums_adam(1.0, 1.0, 5, beta1=1.0), "beta1 = 1"),
        (lambda: path_sums_adam(1.0, np.inf, 5), "variance = inf"),
        (lambda: sos_second_moment(1.0, 1.0, 5, np.inf), "alpha = inf"),
        (lambda: sos_second_moment(1.0, -2.0, 5, 1.0), "variance has the entry -2"),
        (lambda: batched_fisher_mean(1.0, 1.0, 2.5), "batch = 2.5"),
        (lambda: label_measures([0.5, 0.6], np.zeros((2, 1))), "add up to 1"),
        (lambda: label_measures([1.5, -0.5], np.zeros((2, 1))), "add up to 1"),
        (lambda: label_measures([0.5, 0.5], np.zeros((3, 1))), "scores has 3 rows"),
        (lambda: label_measures([0.5, 0.5], np.ones((2, 1))), "scores average to 1"),
        (lambda: merge_penalties([[1.0]], [[1.0, 2.0]]), r"anchors has shape \(1, 2\)"),
        (lambda: merge_penalties([[-1.0]], [[1.0]]), "importances has the entry -1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
