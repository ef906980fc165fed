"""The experiments of the claims on importances: intervals, stacks, paths, presets."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from sandbox.claims.benzing2022importance._answers import one_input, scaled
from sandbox.claims.benzing2022importance._frozen import (
    adam_path,
    all_pairs,
    random_batches,
    second_moments,
)
from sandbox.claims.benzing2022importance._path import flat_importance, follow, images
from sandbox.claims.benzing2022importance._presets import PRESETS, preset
from sandbox.claims.benzing2022importance._settings import ONE_TASK, STREAMS, TUNED
from sandbox.claims.benzing2022importance._stacked import (
    fresh,
    loss_sum,
    member,
    rows_of_an_epoch,
    vectors,
)
from sandbox.claims.benzing2022importance._statistics import correlations, mean_interval
from sandbox.continual.methods import METHODS
from sandbox.continual.presets import PRESETS as LIBRARY
from sandbox.regularisers import SynapticIntelligence, root_fisher
from theory.importance import label_measures, path_bias_sgd

TINY = replace(ONE_TASK["quick", "small"], images=32, widths=(64, 6, 10), batch=8, epochs=2)

# ---- presets


@pytest.mark.parametrize("one", PRESETS, ids=lambda p: f"{p.benchmark} {p.method} {p.batch}")
def test_presets_are_of_known_methods(one):
    assert one.method in METHODS
    assert one.strength > 0
    assert preset(one.benchmark, one.method, one.batch) is one
    assert all(50 < result < 100 for result in one.results)


@pytest.mark.parametrize(
    ("name", "size"),
    [("benzing-permuted-mnist", "small"), ("benzing-permuted-mnist-large-batch", "large")],
)
def test_streams_of_the_paper_are_those_of_the_command_line(name, size):
    setting, told = STREAMS["paper", size], LIBRARY[name].settings
    assert (setting.lr, setting.epochs, setting.batch, setting.xi, setting.tasks) == tuple(
        told[field] for field in ("lr", "epochs", "batch_size", "xi", "count")
    )
    assert setting.widths == (784, *told["widths"], 10)
    assert setting.data == told["data"]
    for method in set(told["regulariser"]) - {"none"}:
        one = preset("permuted", method, setting.batch)
        assert one.lr == pytest.approx(setting.lr)
        assert METHODS[method].re_init == one.re_init
        if told["strength"] != "published":
            assert f"{method}={one.strength}" in told["strength"].replace("=10", "=10.0").split(",")


def test_released_strengths():
    found = {(p.benchmark, p.method, p.batch): (p.strength, p.re_init) for p in PRESETS}
    assert len(found) == len(PRESETS) == 22
    assert found["permuted", "siu", 256] == (2.0, True)
    assert found["permuted", "si", 2048] == (1.0, True)
    assert found["permuted", "ewc", 256] == (1000.0, False)
    assert found["split", "siu", 256] == (2.0, False)


def test_rates_scale_with_the_batch():
    assert preset("permuted", "si", 2048).lr == pytest.approx(8e-3)
    assert preset("split", "si", 2048).lr == preset("split", "si").lr == 1e-3
    for batch in ("small", "large"):
        setting = STREAMS["paper", batch]
        assert preset("permuted", "si", setting.batch).lr == pytest.approx(setting.lr)
        assert setting.xi == preset("permuted", "si").xi == 0.1


@pytest.mark.bad_input
def test_a_preset_that_is_none():
    with pytest.raises(ValueError, match="no preset for 'siu' on 'permuted' with batches of 7"):
        preset("permuted", "siu", 7)


def test_every_tuned_stream_exists():
    assert set(TUNED) <= set(STREAMS)


# ---- statistics


def test_intervals_are_students():
    values = np.array([[1.0, 2.0, 3.0, 6.0], [0.0, 0.0, 0.0, 0.0]])
    middle, width, words = mean_interval(values)
    assert middle.tolist() == [3.0, 0.0]
    # t of three degrees of freedom at 1 - 0.025/2
    assert width[0] == pytest.approx(4.1765 * values[0].std(ddof=1) / 2, rel=1e-4)
    assert width[1] == 0.0
    assert "all 2 together" in words
    assert mean_interval(values[0])[1] == pytest.approx(3.1824 * values[0].std(ddof=1) / 2, 1e-4)


def test_intervals_cover_as_often_as_they_say():
    draws = np.random.default_rng(0).normal(size=(4000, 2, 6))
    covered = []
    for values in draws:
        middle, width, _ = mean_interval(values)
        covered.append((np.abs(middle) <= width).all())
    # Bonferroni's bound is nearly exact for two independent means; four deviations of the count
    assert np.mean(covered) == pytest.approx(0.95, abs=4 * math.sqrt(0.05 * 0.95 / 4000))


@pytest.mark.bad_input
def test_what_has_no_interval_or_correlation():
    with pytest.raises(ValueError, match="2 of them: must be 3 or more"):
        mean_interval(np.zeros(2))
    with pytest.raises(ValueError, match="correlates with nothing"):
        correlations(np.ones((1, 4)), np.arange(4.0)[None])


def test_correlations_are_numpys():
    one, two = np.random.default_rng(1).normal(size=(2, 3, 40))
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(one, two, strict=True)]
    np.testing.assert_allclose(correlations(one, two), expected, rtol=1e-12)


# ---- stacks


def test_a_member_answers_and_learns_as_in_the_stack():
    model = fresh((5, 4, 3), (1, 2))
    inputs = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(14).view(2, 7) % 3
    loss_sum(model, inputs, labels).backward()
    slopes = vectors({name: p.grad for name, p in model.named_parameters()})
    for k in range(2):
        alone = member(model, k)
        torch.testing.assert_close(alone(inputs[k]), model(inputs)[k])
        cross_entropy(alone(inputs[k]), labels[k]).backward()
        own = torch.cat([p.grad.flatten() for p in alone.parameters()]).numpy()
        np.testing.assert_allclose(slopes[k], own, rtol=1e-4, atol=1e-7)
        assert all((bias == 0.1).all() for name, bias in alone.named_parameters() if "bias" in name)


def test_every_member_sees_every_image_once_an_epoch():
    rows = rows_of_an_epoch((3, 4), "order", 0, 12, 4)
    both = torch.cat(rows, dim=1)
    assert both.sort(dim=1).values.tolist() == [list(range(12))] * 2
    assert not torch.equal(both[0], both[1])
    assert len(rows_of_an_epoch((3,), "order", 0, 13, 4)) == 3


# ---- paths


def test_path_of_a_member_is_that_of_the_network_alone():
    found = follow(TINY, (5, 6))
    alone = member(fresh(TINY.widths, (5, 6)), 1)
    optimiser = torch.optim.Adam(alone.parameters(), TINY.lr)
    tracker = SynapticIntelligence(alone, optimiser, "si")
    inputs, labels = images(TINY.data, TINY.images)
    for epoch in range(TINY.epochs):
        for (rows,) in rows_of_an_epoch((6,), "order", epoch, TINY.images, TINY.batch):
            optimiser.zero_grad()
            cross_entropy(alone(inputs[rows]), labels[rows]).backward()
            optimiser.step()
    own = torch.cat([path.flatten() for path in tracker.path().values()]).numpy()
    np.testing.assert_allclose(found.importance["SI"][1], own, rtol=1e-3, atol=1e-6)
    assert found.sums["SI"][-1, 1] == pytest.approx(own.sum(), rel=1e-4)
    assert found.steps[-1] == 8


def test_path_sums_agree_where_every_batch_is_the_whole():
    sums = follow(replace(TINY, batch=32, every=1, epochs=6), (5, 6)).sums
    np.testing.assert_allclose(sums["SIU"], sums["SI"], rtol=1e-4)
    np.testing.assert_allclose(sums["integral"], sums["SI"], rtol=1e-4)
    assert (sums["SI"][-1] > 0).all()


def test_importances_of_a_stack_are_in_the_order_of_the_path():
    model = fresh((64, 6, 10), (1, 2))
    inputs, labels = images("digits", 20)
    found = flat_importance(model, root_fisher, inputs, labels)
    # the gradient of the last bias is p - 1(y): its Fisher is the mean of p (1 - p)
    with torch.no_grad():
        p = member(model, 1)(inputs).softmax(dim=1)
    np.testing.assert_allclose(found[1, -10:] ** 2, (p * (1 - p)).mean(dim=0), rtol=1e-4)


# ---- frozen gradients


def test_pairs_of_whole_batches_have_no_bias():
    gradients, found = all_pairs(np.random.default_rng(0), 3, (1, 3), replacement=False)
    mean, variance = gradients.mean(axis=0), gradients.var(axis=0)
    np.testing.assert_allclose(found[1, 2], 0, atol=1e-14)
    np.testing.assert_allclose(found[0, 0], path_bias_sgd(mean, variance, 1, 3).si, rtol=1e-10)
    np.testing.assert_allclose(found[:, 0], found[:, 1] + found[:, 2], atol=1e-13)


def test_random_batches_of_everything_are_exact():
    gradients = np.random.default_rng(0).normal(size=(6, 4))
    found = random_batches(np.random.default_rng(1), gradients, (6,), seeds=3, steps=4)
    square = (gradients.mean(axis=0) ** 2).sum()
    np.testing.assert_allclose(found[0], [[square] * 3, [square] * 3, [0] * 3], atol=1e-12)


def test_paths_and_moments_without_noise():
    found = adam_path(np.random.default_rng(0), (1.0,), (10**12,), steps=20, weights=2, before=200)
    np.testing.assert_allclose(found[0, 0], [[1, 1]] * 2 + [[0, 0]], atol=1e-4)
    moments = second_moments(
        np.random.default_rng(0), (10**12,), (0.0, 1.0), signal=0.5, weights=2, steps=60
    )
    np.testing.assert_allclose(moments[0], [[0.25, 0.25], [0, 0]], atol=1e-5)


# ---- answers


def test_single_inputs_agree_with_the_theory():
    found = one_input(np.random.default_rng(3), classes=3, scales=(1.0,), inputs=2)
    assert found.top.shape == (1, 2)
    assert found.absolute.shape == found.mas.shape == found.masx.shape == found.root.shape
    # probabilities, for the last layer's biases: the scores are p - 1(y)
    for k in range(2):
        p = _probabilities(found.root[0, k, -3:], found.top[0, k])
        expected = label_measures(p, p - np.eye(3))
        np.testing.assert_allclose(found.absolute[0, k, -3:], expected.absolute, rtol=1e-8)
        np.testing.assert_allclose(found.mas[0, k, -3:], expected.memory, rtol=1e-8)
        np.testing.assert_allclose(found.masx[0, k, -3:], expected.memory_top, rtol=1e-8)


def _probabilities(roots, top):
    """Return the p whose p (1 - p) are the squares of these, the largest known."""
    low = (1 - np.sqrt(1 - 4 * roots**2)) / 2
    candidates = np.array([
        np.where(mask, 1 - low, low) for mask in np.vstack([np.zeros(3), np.eye(3)]).astype(bool)
    ])
    (best,) = candidates[np.isclose(candidates.sum(axis=1), 1, rtol=0, atol=1e-9)]
    assert best.max() == pytest.approx(top, rel=1e-9)
    return best


def test_scaling_multiplies_the_outputs():
    model = fresh((4, 3, 2), (1, 2))
    inputs = torch.randn(2, 5, 4)
    torch.testing.assert_close(scaled(model, 3.0)(inputs), 3 * model(inputs))
    alone = member(model, 0)
    torch.testing.assert_close(scaled(alone, 0.5)(inputs[0]), alone(inputs[0]) / 2)
