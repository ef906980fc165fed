"""The store: a result is whole or absent, computed once, and never taken for another code's."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from sandbox.bench import Comparison, Verdict, runner
from sandbox.bench.needs import NEEDS, Need
from sandbox.bench.record import Record, Settings
from sandbox.bench.registry import load_file
from sandbox.bench.runner import run_claim
from sandbox.bench.store import Store

FULL = Settings("full")
ABOUT = {"commit": "abc", "finished": "2026-01-01T00:00:00+00:00"}

CLAIMS = textwrap.dedent("""
    from pathlib import Path
    import helper
    from sandbox.bench import Axis, Comparison, Paper

    PAPER = Paper("mine", bibtex="@misc{mine}")

    @PAPER.claim("counted", says="It counts its calls.", tag="derived")
    def counted(run):
        calls = Path(__file__).with_name("calls")
        calls.write_text(calls.read_text() + run.scale[0] if calls.exists() else run.scale[0])
        return helper.result(run)
""")
HELPER = textwrap.dedent("""
    from sandbox.bench import Comparison

    def result(run):
        return Comparison("one", 1.0, 1.0, 0.0, "exact")
""")


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Write a user's file and its helper into an empty folder."""
    folder = tmp_path / "mine"
    write(folder / "mine.py", CLAIMS)
    write(folder / "helper.py", HELPER)
    monkeypatch.setattr("sys.path", [str(folder), *sys.path])
    monkeypatch.setattr(runner, "_draw", lambda claim, comparisons, folder: None)  # saves time
    monkeypatch.setattr("sys.dont_write_bytecode", True)  # edits within a second must be seen
    return folder


def write(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def load(folder, monkeypatch):
    """Load the user's claim as a new process would."""
    monkeypatch.delitem(sys.modules, "helper", raising=False)
    (claim,) = load_file(folder / "mine.py")
    return claim


def calls(folder):
    path = folder / "calls"
    return path.read_text() if path.exists() else ""


@pytest.fixture
def run(mine, tmp_path, monkeypatch):
    """Return a function that loads the claim anew and runs it, as a new process would."""

    def run_it(settings=None):
        return run_claim(load(mine, monkeypatch), Store(tmp_path / "runs"), settings)

    return run_it


def test_nothing_is_computed_twice(run, mine):
    first, second = run(), run()
    assert calls(mine) == "q"
    assert (first.cached, second.cached) == (False, True)
    assert first.summary() == second.summary()
    assert first.folder == second.folder
    names = {path.name for path in first.folder.iterdir()}
    assert names == {"config.toml", "environment.json", "result.parquet"}
    assert not list((mine.parent / "runs/unfinished").iterdir())


def test_another_configuration_is_another_result(run, mine):
    folders = {run(s).folder for s in (None, FULL, Settings(seed=1), Settings(device="cuda"))}
    assert len(folders) == 4
    assert calls(mine) == "qfqq"


def test_a_mended_module_is_run_again_and_an_unrelated_one_is_not(run, mine):
    run()
    write(mine / "bystander.py", "CHANGED = 1")
    run()
    assert calls(mine) == "q"
    write(mine / "helper.py", HELPER.replace('"one", 1.0, 1.0', '"one", 1.0, 2.0'))
    assert run().verdict is Verdict.FAILS
    assert calls(mine) == "qq"
    write(mine / "helper.py", HELPER)
    assert run().cached  # the former result is still there


def test_a_source_edited_during_the_run_does_not_pass_for_the_one_that_ran(run, mine):
    edited = HELPER.replace("1.0, 1.0", "1.0, 2.0")
    edit = f"from pathlib import Path\n    Path(__file__).write_text({edited!r})\n    return"
    write(mine / "helper.py", HELPER.replace("return", edit))
    assert run().verdict is Verdict.HOLDS
    assert (mine / "helper.py").read_text() == edited
    second = run()
    assert (second.cached, second.verdict) == (False, Verdict.FAILS)


def test_errors_are_tried_again(run, mine):
    write(mine / "helper.py", "def result(run):\n    return 1 / 0")
    for attempt in ("q", "qq"):
        record = run()
        assert record.verdict is Verdict.ERROR
        assert "ZeroDivisionError" in record.message
        assert calls(mine) == attempt
    write(mine / "helper.py", HELPER)
    assert run().verdict is Verdict.HOLDS


@pytest.mark.parametrize("returned", ["None", "[]", "[1.0]", "True"])
def test_an_experiment_must_return_comparisons(run, mine, returned):
    write(mine / "helper.py", f"def result(run):\n    return {returned}")
    record = run()
    assert record.verdict is Verdict.ERROR
    assert f"mine/counted returned {returned}: must be a Comparison" in record.message


def test_a_skip_is_tried_again_and_replaced(run, mine, monkeypatch):
    text = CLAIMS.replace('tag="derived"', 'tag="derived", needs=["g++"]')
    (mine / "mine.py").write_text(text)
    monkeypatch.setitem(NEEDS, "g++", Need(lambda: False, "install it"))
    skipped = run()
    assert (skipped.verdict, skipped.message) == (Verdict.SKIPPED, "needs g++: install it")
    assert calls(mine) == ""
    monkeypatch.setitem(NEEDS, "g++", Need(lambda: True, ""))
    judged = run()
    assert (judged.verdict, judged.folder) == (Verdict.HOLDS, skipped.folder)


def test_costly_results_of_other_code_stay_and_are_not_current(run, mine, tmp_path, monkeypatch):
    store = Store(tmp_path / "runs")
    for settings in (Settings(), FULL, Settings("full", seed=5), Settings("paper")):
        run(settings)
    assert store.older(load(mine, monkeypatch)) == []
    write(mine / "helper.py", HELPER + "\n# mended")
    claim = load(mine, monkeypatch)
    assert store.load(claim, FULL) is None
    older = store.older(claim)
    assert sorted((r.settings.scale, r.settings.seed) for r in older) == [
        ("full", 0), ("full", 5), ("paper", 0),
    ]  # fmt: skip
    assert {r.verdict for r in older} == {Verdict.HOLDS}
    assert [r.environment["finished"] for r in older] == sorted(
        r.environment["finished"] for r in older
    )


def test_results_of_another_format_are_left_alone(run, mine, tmp_path, monkeypatch):
    folder = run(FULL).folder
    write(mine / "helper.py", HELPER + "\n# mended")
    config = folder / "config.toml"
    config.write_text(config.read_text().replace("format = 1", "format = 0"))
    (folder / "result.parquet").write_bytes(b"from another time")
    assert Store(tmp_path / "runs").older(load(mine, monkeypatch)) == []


class KilledError(BaseException):
    """Stands for the end of the process: nothing happens after it."""


class Assassin:
    """Lets a number of file operations pass and stops every one thereafter."""

    def __init__(self, monkeypatch, passes):
        self.passes, self.seen = passes, []
        for owner, name in [
            (Path, "write_text"), (Path, "rename"), (Path, "mkdir"), (pq, "write_table"),
            (shutil, "rmtree"), (os, "fsync"),
        ]:  # fmt: skip
            monkeypatch.setattr(owner, name, self.guard(name, getattr(owner, name)))

    def guard(self, name, operation):
        def guarded(*arguments, **rest):
            self.seen.append(name)
            if len(self.seen) == self.passes + 1 and name == "write_table":
                Path(arguments[1]).write_bytes(b"PAR1 cut short")
            if len(self.seen) == self.passes + 1 and name == "rmtree":
                for path in sorted(p for p in Path(arguments[0]).rglob("*") if p.is_file())[:1]:
                    path.unlink()
            if len(self.seen) > self.passes:
                raise KilledError
            return None if name == "fsync" else operation(*arguments, **rest)

        return guarded


def small_record(claim, measured=1.0, stopped=None):
    comparisons = [] if stopped else [Comparison("one", 1.0, measured, 0.0, "exact")]
    return Record(claim.id, comparisons, 1.0, FULL, ABOUT, stopped, "why" if stopped else "")


@pytest.mark.parametrize("before", [None, Verdict.ERROR])
def test_a_save_killed_anywhere_leaves_a_whole_result_or_none(mine, tmp_path, monkeypatch, before):
    claim = load(mine, monkeypatch)
    operations, outcomes = 0, set()
    while True:
        root = tmp_path / f"runs-{operations}"
        if before:
            Store(root).save(claim, small_record(claim, stopped=before))
        store = Store(root)
        store.working_folder(claim, FULL)
        with monkeypatch.context() as patch:
            assassin = Assassin(patch, operations)
            try:
                store.save(claim, small_record(claim), lambda f: (f / "figure.svg").write_text("f"))
                killed = False
            except KilledError:
                killed = True
        found = Store(root).load(claim, FULL)
        outcomes.add(found and found.verdict)
        if found is not None and found.verdict is Verdict.HOLDS:
            assert {"config.toml", "environment.json", "figure.svg"} <= {
                path.name for path in found.folder.iterdir()
            }
        # whatever is left over, the store can be read and the result saved
        assert Store(root).older(claim) == []
        again = Store(root).save(claim, small_record(claim))
        assert Store(root).load(claim, FULL).folder == again.folder
        if not killed:
            break
        operations += 1
    assert outcomes == {None, before, Verdict.HOLDS}
    # each of these was hit: 3 files, the figure, 5 or more flushes, the rename, the clearing up
    assert {"write_text", "write_table", "fsync", "rename", "rmtree"} <= set(assassin.seen)
    assert operations >= 14


def test_a_disk_that_is_full_leaves_nothing(mine, tmp_path, monkeypatch):
    claim, store = load(mine, monkeypatch), Store(tmp_path / "runs")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", full)
        with pytest.raises(OSError, match="No space left"):
            store.save(claim, small_record(claim))
    assert store.load(claim, FULL) is None
    assert not any((tmp_path / "runs/unfinished").iterdir())


def test_two_runs_of_one_claim_do_the_work_once(mine, tmp_path, monkeypatch, capsys):
    claim = load(mine, monkeypatch)
    begun, go_on, records = threading.Event(), threading.Event(), []

    def slowly(run):
        begun.set()
        assert go_on.wait(20)
        return Comparison("one", 1.0, 1.0, 0.0, "exact")

    slow = replace(claim, experiment=slowly)
    monkeypatch.setattr(Store, "key", lambda *_: "0123456789abcdef")

    def run_one(claim):
        records.append(run_claim(claim, Store(tmp_path / "runs"), FULL))

    # two threads with a lock file open each are to the kernel what two processes are
    first = threading.Thread(target=run_one, args=(slow,))
    second = threading.Thread(target=run_one, args=(claim,))
    first.start()
    assert begun.wait(20)
    second.start()
    second.join(0.3)
    assert second.is_alive()
    go_on.set()
    first.join(20)
    second.join(20)
    assert [record.cached for record in records] == [False, True]
    assert calls(mine) == ""
    assert "another process is running mine/counted; waiting" in capsys.readouterr().err


def test_the_environment_tells_how_to_do_it_again(run):
    folder = run(Settings(seed=3)).folder
    about = json.loads((folder / "environment.json").read_text())
    assert about["seed"] == 3
    assert about["versions"]["numpy"] == np.__version__
    keys = {"commit", "python", "system", "processor", "cores", "threads", "device", "finished"}
    assert keys <= set(about)
    assert all(about[key] or key == "threads" for key in keys)


def test_telling_the_environment_leaves_the_thread_counts_alone():
    script = (
        "import numba, torch\n"
        "from sandbox.bench.record import Settings\n"
        "from sandbox.bench.runner import environment\n"
        "told = environment(Settings())['threads']\n"
        "assert told == {'torch': 1, 'numba': 2}, told\n"
        "assert torch.get_num_threads() == 1"
    )
    threads = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | threads, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
