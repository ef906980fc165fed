"""The experiments of the claims on descent on neurons: search, intervals, paths, presets."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sandbox.bench.record import Settings
from sandbox.bench.registry import select
from sandbox.bench.runner import run_claim
from sandbox.bench.store import Store
from sandbox.claims.benzing2022neurons import _experiments as experiments
from sandbox.claims.benzing2022neurons._experiments import (
    CHANCE,
    batches,
    decades,
    images,
    made,
    median_interval,
    moved,
    network,
    searched,
    step_seconds,
    train,
    train_once,
    whole_loss,
)
from sandbox.claims.benzing2022neurons._path import along_output, directions, factors, path
from sandbox.claims.benzing2022neurons._presets import (
    ARMS,
    PRESETS,
    PRINTED,
    SETTINGS,
    TUNED,
    Arm,
    on_record,
    preset,
)
from sandbox.claims.benzing2022neurons._tuning import PROBES, TRIES, tuned
from sandbox.claims.benzing2022neurons.factors import two_layers
from sandbox.optim.kfac import KFAC
from theory.preconditioning import kronecker_step, neuron_step, scaled_settings, split_damping
from theory.streams import Streams

TINY = replace(SETTINGS["quick", "mini-batch"], images=60, batch=20, updates=4, observed=1)


# ---- presets


def test_settings_known_from_the_paper():
    assert (preset("4B", "FOOF").lr, preset("4B", "FOOF").damping) == (30.0, 100.0)
    assert (
        preset("4B", "FOOF").translated(100).label
        == "lr\N{NO-BREAK SPACE}0.3, λ\N{NO-BREAK SPACE}1"
    )
    assert (
        preset("1A", "K-FAC").translated(100).label
        == "lr\N{NO-BREAK SPACE}0.003, λ\N{NO-BREAK SPACE}0.01"
    )
    assert len(PRESETS) == 36


@pytest.mark.parametrize("printed", PRESETS, ids=lambda p: f"{p.figure} {p.arm} {p.note}")
def test_translation_is_that_of_the_theory(printed):
    arm = printed.translated(100)
    assert arm.kind == ARMS[printed.arm].kind
    if printed.damping is None:
        assert (arm.lr, arm.damping) == (printed.lr, None)
    else:
        rule = {"natural": "natural"}.get(arm.kind, "foof")
        expected = scaled_settings(printed.lr, printed.damping, 100, rule=rule)
        assert (arm.lr, arm.damping) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("key", PRINTED)
def test_printed_settings_are_unambiguous(key):
    assert preset(PRINTED[key], key[1]).arm == key[1]


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("figure", "arm", "count"), [("9Z", "FOOF", 0), ("1C", "natural gradient", 2)]
)
def test_a_preset_that_is_none_or_not_one(figure, arm, count):
    with pytest.raises(ValueError, match=f"{count} presets"):
        preset(figure, arm)


def test_all_arms_on_record_exist():
    for names in TUNED.values():
        assert set(names) <= set(ARMS)


@pytest.mark.bad_input
def test_arms_that_cannot_be_made():
    model = network(TINY, Streams(0))
    with pytest.raises(ValueError, match="damping = None"):
        made(ARMS["FOOF"], model, TINY, Streams(0))
    with pytest.raises(ValueError, match="kind = 'magic'"):
        made(Arm("magic", 1.0, 1.0), model, TINY, Streams(0))


@pytest.mark.parametrize("mode", ["full batch", "mini-batch", "refreshes"])
def test_every_scale_has_a_start(mode):
    assert on_record("quick", mode) == TUNED["quick", mode]
    assert on_record("full", mode) == on_record("paper", mode) == TUNED["full", mode]


def test_rare_refreshes_take_the_papers_settings_at_the_larger_scales():
    printed = preset("4B", "FOOF").translated(100)
    for settings in TUNED["full", "refreshes"].values():
        assert settings == (printed.lr, printed.damping)


# ---- training


def test_every_image_comes_once_an_epoch():
    rows = list(batches(TINY, Streams(3), "batches", 6))
    for epoch in (rows[:3], rows[3:]):
        assert sorted(np.concatenate(epoch)) == list(range(60))
    assert list(batches(replace(TINY, batch=None), Streams(3), "batches", 2)) == [slice(None)] * 2


@pytest.mark.parametrize("name", [name for name in ARMS if "all labels" not in name])
def test_every_arm_learns_and_repeats_itself(name):
    arm = ARMS[name]
    arm = arm.at(
        0.01 if arm.kind in {"sgd", "adam"} else 0.1, None if arm.kind in {"sgd", "adam"} else 1.0
    )
    item = {"setting": TINY, "arm": arm, "seed": 5, "device": "cpu", "every": 2}
    first, second = train(item), train(item)
    assert first["losses"].tolist() == second["losses"].tolist()
    assert first["losses"].shape == (3,)
    assert first["loss"] < first["losses"][0]


def test_a_run_is_made_once_in_a_process(monkeypatch):
    item = {"setting": TINY, "arm": ARMS["SGD"].at(0.02), "seed": 6, "device": "cpu"}
    expected = train(item)["loss"]
    assert train_once(item) == {"loss": expected}
    monkeypatch.setattr(experiments, "train", None)
    assert train_once(item) == {"loss": expected}
    with pytest.raises(TypeError, match="not callable"):
        train_once(item | {"seed": 7})


@pytest.mark.filterwarnings("error")
def test_a_run_that_diverges_counts_as_a_guess():
    arm = ARMS["SGD + momentum"].at(1e6)
    found = train({"setting": TINY, "arm": arm, "seed": 5, "device": "cpu", "every": 1})
    assert math.isinf(found["loss"])
    assert found["losses"].shape == (5,)
    assert decades([found["loss"], 50.0]).tolist() == [math.log10(CHANCE)] * 2


def test_losses_are_means_over_all_images():
    inputs, labels = images(TINY)
    model = network(TINY, Streams(1))
    expected = torch.nn.functional.cross_entropy(model(inputs), labels).item()
    assert whole_loss(model, inputs, labels) == pytest.approx(expected, rel=1e-6)


def test_times_are_positive_and_of_each_arm():
    arms = {"one": ARMS["SGD"].at(0.1), "two": ARMS["FOOF"].at(0.1, 1.0)}
    found = step_seconds(arms, TINY, steps=2, repeats=3, streams=Streams(0))
    assert {name: len(values) for name, values in found.items()} == {"one": 3, "two": 3}
    assert all((values >= 0).all() for values in found.values())


# ---- intervals


@pytest.mark.parametrize(("count", "k", "level"), [(5, 0, 93.75), (6, 0, 96.875), (9, 1, 96.09)])
def test_interval_between_order_statistics(count, k, level):
    values = np.arange(float(count)) ** 2
    middle, width, words = median_interval(values)
    centre = np.median(values)
    assert middle == centre
    assert width == max(centre - values[k], values[-1 - k] - centre)
    assert words == (
        f"{level:.1f} % interval of the median over {count} seeds,"
        f" false alarms at most {(100 - level) / 2:.1f} % on a side"
    )


def test_interval_covers_the_median_as_often_as_it_says():
    draws = np.random.default_rng(0).standard_exponential((20_000, 6))
    low, high = draws.min(axis=1), draws.max(axis=1)
    covered = ((low < math.log(2)) & (math.log(2) < high)).mean()
    assert covered == pytest.approx(1 - 2 / 64, abs=4 * math.sqrt(0.03 / 20_000))  # 4 deviations


@given(st.lists(st.floats(-5, 5), min_size=5, max_size=12), st.floats(-3, 3))
def test_interval_moves_with_the_values(values, shift):
    middle, width, _ = median_interval(np.array(values))
    other, same, _ = median_interval(np.array(values) + shift)
    assert other == pytest.approx(middle + shift, abs=1e-12)
    assert same == pytest.approx(width, abs=1e-12)


@pytest.mark.bad_input
def test_too_few_values_for_an_interval():
    with pytest.raises(ValueError, match="4 of them: must be 5 or more"):
        median_interval(np.arange(4.0))


# ---- search


def bowl(at_lr, at_damping, tilt=0.0):
    """Stand for training: decades of a loss with its minimum at a setting."""

    def loss(item):
        x = math.log10(item["arm"].lr / at_lr)
        y = math.log10(item["arm"].damping / at_damping)
        return {"loss": 10 ** (-6 + (x - tilt * y) ** 2 + 0.3 * y**2)}

    return loss


def run_with(function, monkeypatch, calls):
    monkeypatch.setattr(experiments, "train", function)

    def sweep(function, items, name):
        calls.append((name, len(items)))
        return [function(item) for item in items]

    return SimpleNamespace(sweep=sweep, device="cpu")


@pytest.mark.parametrize("tilt", [0.0, 1.0])
def test_search_walks_beyond_the_first_grid_to_the_best(monkeypatch, tilt):
    calls = []
    run = run_with(bowl(10.0, 10.0, tilt), monkeypatch, calls)
    found = searched(run, TINY, ARMS["FOOF"].at(0.1, 0.1), name="x", seeds=[1, 2])
    assert (found.arm.lr, found.arm.damping) == pytest.approx((10.0, 10.0))
    assert found.enclosed
    assert [name for name, _ in calls] == [f"x-{i}" for i in range(len(calls))]
    assert sum(count for _, count in calls) == 2 * found.tried


def test_search_says_when_it_was_cut_short(monkeypatch):
    run = run_with(bowl(100.0, 100.0, 1.0), monkeypatch, [])
    found = searched(run, TINY, ARMS["FOOF"].at(1.0, 1.0), name="x", seeds=[1], rounds=2)
    assert not found.enclosed


def test_search_of_a_step_size_alone(monkeypatch):
    def loss(item):
        assert item["arm"].damping is None
        return {"loss": 10 ** (math.log10(item["arm"].lr) ** 2 - 5)}

    run = run_with(loss, monkeypatch, [])
    found = searched(run, TINY, ARMS["SGD"].at(0.01), name="x", seeds=[1])
    assert found.arm.lr == pytest.approx(1.0)


def test_search_takes_the_worst_of_the_seeds(monkeypatch):
    def loss(item):
        bad = item["seed"] == 2 and item["arm"].lr > 1.5
        return {"loss": math.inf if bad else 1e-3 / item["arm"].lr}

    run = run_with(loss, monkeypatch, [])
    found = searched(run, TINY, ARMS["SGD"].at(0.1), name="x", seeds=[1, 2])
    assert found.arm.lr == pytest.approx(1.0)


def test_tuning_gives_every_arm_as_many_settings():
    for name in ("FOOF", "K-FAC, published"):
        tried: dict = {}

        def trained(item, tried=tried):
            tried.setdefault((item["arm"].lr, item["arm"].damping), []).append(item["seed"])
            return bowl(10.0, 10.0)(item)

        found, loss, enclosed = tuned(TINY, ARMS[name], trained=trained)
        assert len(tried) == TRIES
        assert (found.lr, found.damping) == pytest.approx((10.0, 10.0))  # beyond the coarse grid
        assert loss == pytest.approx(-6.0)
        assert enclosed
        # settings that cannot win any more are left early, the winner is not
        assert tried[found.lr, found.damping] == list(PROBES)
        assert sum(len(seeds) for seeds in tried.values()) < 3 * TRIES


def test_tuning_takes_the_worst_of_the_seeds():
    def trained(item):
        bad = item["seed"] == PROBES[-1] and item["arm"].lr > 1.5
        return {"loss": math.inf if bad else 1e-3 / item["arm"].lr}

    found, loss, enclosed = tuned(TINY, ARMS["SGD"], trained=trained)
    assert (found.lr, found.damping) == pytest.approx((1.0, None))
    assert loss == pytest.approx(-3.0)
    assert enclosed


def test_settings_on_record_are_those_that_tuning_finds():
    mode = "mini-batch"
    found, *_ = tuned(SETTINGS["quick", mode], ARMS["SGD + momentum"])
    assert (found.lr, found.damping) == pytest.approx(TUNED["quick", mode]["SGD + momentum"])


# ---- the path


@pytest.fixture
def layer():
    generator = np.random.default_rng(2)
    rows, slopes = generator.normal(size=(30, 5)), generator.normal(size=(30, 4))
    parts = generator.normal(size=(4, 5)), rows.T @ rows / 30, slopes.T @ slopes / 30
    return parts, [torch.tensor(part) for part in parts]


def test_directions_are_those_of_the_theory(layer):
    (gradient, inputs, outputs), tensors = layer
    heuristic, standard, foof = directions(("heuristic", "standard", "foof"), *tensors, 0.3)
    for rule, found in (("heuristic", heuristic), ("standard", standard)):
        expected = kronecker_step(gradient, inputs, outputs, 0.3, rule=rule)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10, atol=1e-12)
    over_inputs, over_outputs = split_damping(inputs, outputs, 0.3)
    expected = neuron_step(gradient, inputs, over_inputs) / over_outputs
    np.testing.assert_allclose(foof.numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rule", ["heuristic", "standard", "standard-published"])
def test_directions_are_those_of_the_optimiser(rule):
    model, inputs, labels, _ = two_layers(np.random.default_rng(1))
    optimiser = KFAC(model, 1.0, 0.02, rule=rule, fisher="exact")
    torch.nn.functional.cross_entropy(model(inputs), labels).backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    steps = moved(model, optimiser)
    for step, gradient, pair in zip(steps, gradients, factors(optimiser), strict=True):
        (found,) = directions((rule,), gradient, *pair, 0.02)
        np.testing.assert_allclose(found.numpy(), step, rtol=1e-9, atol=1e-11)


def test_factors_by_hand_are_those_that_autograd_gives():
    model, inputs, labels, layers = two_layers(np.random.default_rng(1))
    optimiser = KFAC(model, 0.0, 1.0, fisher="exact")
    torch.nn.functional.cross_entropy(model(inputs), labels).backward()
    optimiser.step()
    for p, pair, (gradient, *both) in zip(
        model.parameters(), factors(optimiser), layers, strict=True
    ):
        np.testing.assert_allclose(p.grad.numpy(), gradient, rtol=1e-10, atol=1e-13)
        for found, expected in zip(pair, both, strict=True):
            np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10, atol=1e-13)


def test_inner_product_is_that_of_the_outputs():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    u, v = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64)
    expected = ((rows @ u.T) * (rows @ v.T)).sum().item() / 7
    assert along_output([u], [v], [rows.T @ rows / 7]) == pytest.approx(expected, rel=1e-12)


def test_path_yields_the_points_asked_for():
    item = {"scale": "quick", "seed": 3, "points": 3, "device": "cpu"}
    points = []
    for point in path(item):
        points.append(point.update)
        assert all(gradient.isfinite().all() for gradient in point.gradients)
    assert points == [0, 14, 29]


# ---- the larger scales, on small data


@pytest.fixture
def small(monkeypatch):
    """Make the larger scales as small as quick is, and their searches short."""
    for scale in ("full", "paper"):
        for mode in ("full batch", "mini-batch", "refreshes"):
            tiny = replace(TINY, updates=2, images=20, batch=None if mode == "full batch" else 10)
            monkeypatch.setitem(SETTINGS, (scale, mode), tiny)
    # one round of a search: nothing is there to be found
    monkeypatch.setattr(experiments, "NEIGHBOURS", [])


@pytest.mark.parametrize(
    ("scale", "name"),
    [
        ("full", "natural-not-ahead-of-sgd"),
        ("full", "rare-refreshes"),
        ("full", "published-spelling-costs"),
        ("paper", "standard-damping-mini-batch"),
        ("paper", "foof-against-kfac"),
        ("paper", "heuristic-closer-to-foof"),
        ("paper", "foof-gains-more-per-step"),
    ],
)
def test_larger_scales_work(scale, name, small, tmp_path):
    (claim,) = select([f"benzing2022neurons/{name}"], None, False)
    record = run_claim(claim, Store(tmp_path), Settings(scale, 0, "cpu"))
    assert record.stopped is None, record.message
    assert all(np.isfinite(one.measured).all() for one in record.comparisons)
