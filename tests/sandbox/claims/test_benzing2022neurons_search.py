"""The search for settings in the claims on descent on neurons, and its intervals."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.claims.benzing2022neurons import _experiments as experiments
from sandbox.claims.benzing2022neurons._experiments import median_interval, searched
from sandbox.claims.benzing2022neurons._presets import ARMS, SETTINGS, TUNED
from sandbox.claims.benzing2022neurons._tuning import PROBES, TRIES, tuned

TINY = replace(SETTINGS["quick", "mini-batch"], images=60, batch=20, updates=4, observed=1)


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


def bowl(at_lr, at_damping, tilt=0.0):
    """Stand for training: decades of a loss with its minimum at a setting."""

    def loss(item):
        x = math.log10(item["arm"].lr / at_lr)
        y = math.log10(item["arm"].damping / at_damping)
        return {"loss": 10 ** (-6 + (x - tilt * y) ** 2 + 0.3 * y**2)}

    return loss


@pytest.fixture(autouse=True)
def nothing_known():
    """Runs are remembered within a process; those of these tests are made up."""
    experiments.known_loss.cache_clear()
    yield
    experiments.known_loss.cache_clear()


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
