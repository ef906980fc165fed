"""Sweeps: one result an item whatever runs them, and nothing finished is ever lost."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sandbox.bench import Run
from sandbox.bench.registry import load_file
from sandbox.bench.sweep import SerialExecutor, open_executor
from theory.streams import Streams

SLOW = Path(__file__).parent / "claims_fixture/slow.py"


def make_run(folder, executor=None):
    return Run("quick", Streams(0), "cpu", executor or SerialExecutor(), folder)


def everything(i):
    return {
        "number": i / 3, "whole": i, "truth": i > 1, "name": f"item {i} – ε",
        "table": np.full((2, i), -0.0), "list": [1, 2, i], "endless": float("inf"),
    }  # fmt: skip


def same(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert type(value) is type(other[key])
        np.testing.assert_array_equal(value, other[key])


def test_results_come_back_in_order_and_of_their_kind(tmp_path):
    fresh = make_run(tmp_path).sweep(everything, [2, 0, 1], name="all")
    assert [result["whole"] for result in fresh] == [2, 0, 1]
    first = fresh[0]
    assert (first["number"], first["name"], first["truth"]) == (2 / 3, "item 2 – ε", True)
    assert first["table"].shape == (2, 2)
    assert np.signbit(first["table"]).all()
    # what was kept is what was returned, to the type
    kept = make_run(tmp_path).sweep(None, [2, 0, 1], name="all")
    for one, other in zip(fresh, kept, strict=True):
        same(one, other)


@pytest.fixture
def trace(tmp_path, monkeypatch):
    """Return a function that lists the items computed so far, with the process of each."""
    path = tmp_path / "trace"
    monkeypatch.setenv("SWEEP_TRACE", str(path))

    def read():
        lines = path.read_text().splitlines() if path.exists() else []
        return [tuple(int(word) for word in line.split()) for line in lines]

    return read


def test_a_process_pool_finds_what_one_process_finds(tmp_path, trace):
    (claim,) = load_file(SLOW)
    piece = claim.experiment.__globals__["piece"]
    items = [3, 1, 2, 0]
    serial = make_run(tmp_path / "serial").sweep(piece, items, name="squares")
    with open_executor(2, SLOW) as executor:
        pooled = make_run(tmp_path / "pool", executor).sweep(piece, items, name="squares")
    assert serial == pooled == [{"square": i * i} for i in items]
    workers = {process for _, process in trace()[len(items) :]}
    assert 1 <= len(workers) <= 2
    assert os.getpid() not in workers
    # the files of one can be taken over by the other
    names = [{p.name for p in (tmp_path / w / "squares").iterdir()} for w in ("serial", "pool")]
    assert names == [{f"{i}.npz" for i in range(4)}] * 2


class Moody:
    """Fails on one item until it is cured; counts its calls."""

    def __init__(self, bad):
        self.bad, self.calls = bad, []

    def __call__(self, i):
        self.calls.append(i)
        if i == self.bad:
            raise ArithmeticError(f"item {i}")
        return {"i": i}


def test_a_failure_leaves_the_finished_pieces_and_the_sweep_goes_on_from_there(tmp_path):
    moody = Moody(bad=3)
    with pytest.raises(ArithmeticError, match="item 3"):
        make_run(tmp_path).sweep(moody, list(range(6)), name="s")
    assert moody.calls == [0, 1, 2, 3]
    moody.bad = None
    assert [r["i"] for r in make_run(tmp_path).sweep(moody, list(range(6)), name="s")] == [
        *range(6)
    ]
    assert moody.calls == [0, 1, 2, 3, 3, 4, 5]


def test_with_several_workers_what_was_under_way_is_kept_too(tmp_path):
    def work(i):
        if i == 0:
            raise ArithmeticError("the first")
        time.sleep(0.1)
        return {"i": i}

    with (
        ThreadPoolExecutor(2) as executor,
        pytest.raises(ArithmeticError, match="the first"),
    ):
        make_run(tmp_path, executor).sweep(work, list(range(50)), name="s")
    kept = {path.name for path in (tmp_path / "s").iterdir()}
    assert "1.npz" in kept
    assert len(kept) < 10  # the rest was not begun


def test_a_piece_cut_short_is_computed_again(tmp_path):
    moody = Moody(bad=None)
    make_run(tmp_path).sweep(moody, [0, 1, 2], name="s")
    whole = (tmp_path / "s/1.npz").read_bytes()
    for damage in (b"", whole[: len(whole) // 2], bytes(len(whole))):
        (tmp_path / "s/1.npz").write_bytes(damage)
        again = make_run(tmp_path).sweep(moody, [0, 1, 2], name="s")
        assert [r["i"] for r in again] == [0, 1, 2]
    assert moody.calls == [0, 1, 2, 1, 1, 1]
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("value", [None, object(), {"a": 1}, [1, "b", None], {1, 2}])
def test_objects_are_refused(tmp_path, value):
    with pytest.raises(TypeError, match="s: 'thing' is neither number, string nor array"):
        make_run(tmp_path).sweep(lambda i: {"thing": value}, [0], name="s")
    assert not list((tmp_path / "s").iterdir())


def test_results_must_be_dicts(tmp_path):
    with pytest.raises(TypeError, match=r"s: 3\.0 must be a dict"):
        make_run(tmp_path).sweep(lambda i: 3.0, [0], name="s")


def test_sweeps_of_a_claim_cannot_be_mistaken_for_each_other(tmp_path):
    run = make_run(tmp_path)
    assert run.sweep(everything, [], name="none") == []
    run.sweep(Moody(None), [1], name="one")
    with pytest.raises(ValueError, match="'one': each sweep of a claim needs a name of its own"):
        run.sweep(Moody(None), [2], name="one")
    for name in ("", "a/b", "..", "/tmp"):
        with pytest.raises(ValueError, match="must be a file name"):
            run.sweep(Moody(None), [2], name=name)


def test_the_serial_executor_keeps_exceptions_for_the_one_who_asks():
    with open_executor(1, SLOW) as executor:
        assert executor.submit(divmod, 7, 2).result() == (3, 1)
        failed = executor.submit(divmod, 7, 0)
    assert isinstance(failed.exception(), ZeroDivisionError)
