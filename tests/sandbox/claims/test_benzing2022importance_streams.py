"""Streams of tasks in the claims on importances: side by side, one by one, at larger scales."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sandbox.bench.judgement import Verdict
from sandbox.bench.record import Settings
from sandbox.bench.registry import select
from sandbox.bench.runner import run_claim
from sandbox.bench.store import Store
from sandbox.claims.benzing2022importance import _streams as streams
from sandbox.claims.benzing2022importance._continual import TOLD, Arm, learn_together
from sandbox.claims.benzing2022importance._settings import ONE_TASK, STREAMS, TUNED, Tuned
from sandbox.claims.benzing2022importance._streams import NAMES, learn_one, searched
from sandbox.continual.methods import METHODS
from theory.streams import Streams

TINY = replace(STREAMS["quick", "small"], images=40, widths=(64, 8, 10), epochs=2, tasks=2, seeds=3)


def test_methods_are_those_of_the_library():
    for name, told in TOLD.items():
        assert dict(METHODS[NAMES[name]].options) == told | (
            {"alpha": 0.0} if name == "SOS, α = 0" else {}
        )


@pytest.mark.parametrize("re_init", [False, True])
def test_arms_side_by_side_learn_as_alone(re_init):
    arms = [Arm("none"), Arm("SIB", 3.0, re_init), Arm("SOS, α = 1", 3.0, re_init)]
    together = learn_together(TINY, arms, (1, 2), ("SI",))
    alone = learn_together(TINY, arms[1:2], (2,), ("SI",))
    assert together.accuracy.shape == (3, 2, 2)
    np.testing.assert_allclose(alone.accuracy[0, 0], together.accuracy[1, 1], atol=0.006)
    np.testing.assert_allclose(
        alone.importance["SI"][0, 0], together.importance["SI"][1, 1], rtol=0.01, atol=1e-5
    )


def test_a_penalty_of_no_strength_is_none():
    found = learn_together(TINY, [Arm("none", 0.0, False), Arm("SI", 0.0, False)], (1,))
    np.testing.assert_array_equal(found.accuracy[0], found.accuracy[1])


def test_a_strong_penalty_holds_the_weights():
    # with the weights held where the first task left them, the second is not learned
    strong = learn_together(TINY, [Arm("none", 0.0, False), Arm("SOS, α = 0", 1e4, False)], (1, 2))
    free, held = strong.accuracy
    assert (held[:, 1] < free[:, 1]).all()


@pytest.mark.parametrize("arm", [Arm("none"), Arm("SIU", 1.0, True), Arm("SOS, α = 0", 1.0, False)])
def test_one_stream_repeats_itself_and_resumes(arm, tmp_path):
    item = {"setting": TINY, "arm": arm, "seed": 3, "device": "cpu"}
    first = learn_one(item | {"folder": str(tmp_path / "a")})
    again = learn_one(item | {"folder": str(tmp_path / "a")})  # finished: read from the checkpoint
    other = learn_one(item | {"folder": str(tmp_path / "b")})
    assert first["accuracy"].shape == (2,)
    for found in (again, other):
        np.testing.assert_array_equal(found["accuracy"], first["accuracy"])


def test_search_walks_to_the_best(monkeypatch):
    def learned(item):
        return {"accuracy": np.array([-abs(np.log10(item["arm"].strength) - 1.4)])}

    monkeypatch.setattr(streams, "learn_one", learned)
    monkeypatch.setitem(STREAMS, ("full", "small"), TINY)
    monkeypatch.setitem(TUNED, ("full", "small"), {"SI": Tuned(1.0, False)})
    swept = []

    def sweep(function, items, name):
        swept.append(name)
        return [function(item) for item in items]

    run = SimpleNamespace(
        scale="full", seeds=Streams(0), device="cpu", folder=Path("unused"), sweep=sweep
    )
    found, enclosed = searched(run, "small", "SI")
    assert found.strength == pytest.approx(10**1.5)
    assert enclosed
    assert len(swept) == len(set(swept))
    assert not searched(run, "small", "SI", rounds=2)[1]


@pytest.fixture
def small(monkeypatch):
    """Make the larger scales as small as a test."""
    tiny = replace(ONE_TASK["quick", "small"], images=32, widths=(64, 6, 10), epochs=1, seeds=3)
    for scale in ("full", "paper"):
        for batch, size in (("small", 256), ("large", 2048)):
            monkeypatch.setitem(ONE_TASK, (scale, batch), tiny)
            own = replace(TINY, batch=size if scale == "paper" else 8, images=40)
            monkeypatch.setitem(STREAMS, (scale, batch), own)


@pytest.mark.parametrize(
    ("scale", "name"),
    [
        ("full", "removing-the-bias"),
        ("full", "bias-alone-suffices"),
        ("full", "repair-of-large-batches"),
        ("full", "penalty-cuts-the-link"),
        ("paper", "bias-is-the-link"),
        ("paper", "answers-agree"),
        ("paper", "siu-is-unbiased"),
    ],
)
def test_larger_scales_run(scale, name, small, tmp_path):
    (claim,) = select((f"benzing2022importance/{name}",), None, everything=False)
    record = run_claim(claim, Store(tmp_path), Settings(scale=scale))
    assert record.verdict is not Verdict.ERROR, record
    assert record.comparisons
