"""The experiments of the claims on descent on neurons: presets, training, the larger scales."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from sandbox.bench.record import Settings
from sandbox.bench.registry import select
from sandbox.bench.runner import run_claim
from sandbox.bench.store import Store
from sandbox.claims.benzing2022neurons import _experiments as experiments
from sandbox.claims.benzing2022neurons._experiments import (
    CHANCE,
    ROUNDING,
    batches,
    decades,
    images,
    made,
    network,
    step_seconds,
    train,
    train_once,
    whole_loss,
)
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
from theory.preconditioning import scaled_settings
from theory.streams import Streams

TINY = replace(SETTINGS["quick", "mini-batch"], images=60, batch=20, updates=4, observed=1)


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


def test_losses_below_the_rounding_of_one_image_are_all_the_same():
    # from margins of 16 and 17 between the logits; ln(1 + e^-m) is near e^-m
    logits = torch.tensor([[15.9, 0.0], [17.0, 0.0]])
    single = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 0]), reduction="none")
    assert single.tolist() == [pytest.approx(ROUNDING, rel=1e-6), 0.0]
    assert decades([0.0, 1e-12, ROUNDING, 1e-3]).tolist() == pytest.approx(
        [-6.9237, -6.9237, -6.9237, -3.0], abs=1e-4
    )


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
