"""A run that was cut short, by an error, a broken disk or a signal, goes on to the same bits."""

import json
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest
import torch
from broken_disk import BrokenDisk
from small_training import Diary, bits, network, normalised, pair, playing, timeless, tiny
from torch.optim import LBFGS, SGD, Adam

from deeplinear.rules import CurvatureCorrection
from sandbox.optim import CurvatureCorrected
from sandbox.training.checkpoint import Checkpoints, read_state
from sandbox.training.data import at_hand
from sandbox.training.loop import fit
from sandbox.training.plan import Plan
from sandbox.training.tasks import permuted_tasks
from theory.streams import Streams


@pytest.fixture(scope="module")
def killed():
    """Kill five processes, some of them in the middle of a save."""
    script = Path(__file__).with_name("killing.py")
    told = subprocess.run(
        [sys.executable, script, "--kills", "5"], capture_output=True, timeout=300, check=False
    )
    assert told.stdout, told.stderr.decode()
    return told.returncode, json.loads(told.stdout)


def test_killed_runs_end_as_if_nothing_had_happened(killed):
    status, found = killed
    assert found["differing"] == []
    assert status == 0
    assert found["kills"] == 5
    assert found["where"]["some time"] >= 1
    assert {"write", "replace"} < set(found["where"])  # in the middle of a save
    assert found["with a checkpoint"] >= 2
    assert found["of each"]["digits"] >= 1


@pytest.mark.skipif(at_hand("fashion-mnist") is None, reason="Fashion-MNIST is not at hand")
def test_some_of_them_learned_images(killed):
    assert killed[1]["of each"]["fashion-mnist"] >= 1


class CutShortError(Exception):
    """Stands for whatever ended a run."""


def blended():
    return permuted_tasks(tiny(), 2, streams=Streams(0), blend=0.25)


def corrected(parameters):
    rule = CurvatureCorrection(power=0.5, blocks="layer", damping=0.1)
    return CurvatureCorrected(parameters, rule, 0.1, "cross_entropy")


RUNS = {
    "adam": (
        lambda: network(dropout=0.3), lambda p: Adam(p, 0.01), pair,
        {"schedule": "cosine", "warmup": 0.3, "validation": 0.2, "patience": 2, "batch_size": 5},
    ),
    "momentum": (
        normalised, lambda p: SGD(p, 0.1, momentum=0.9), blended, {"batch_size": 23},
    ),
    "lbfgs": (
        lambda: network(dtype=torch.float64), lambda p: LBFGS(p, 0.3, 3), pair,
        {"evaluate": "all", "epochs": 2, "evaluate_every": 2},
    ),
    "forgetful": (network, lambda p: Adam(p, 0.01), pair, {"reset_optimizer": True}),
    "corrected": (
        lambda: network(dtype=torch.float64), corrected, pair, {"epochs": 1, "drop_last": False},
    ),
}  # fmt: skip


class Run:
    """One of the runs, to be started, cut short and resumed."""

    def __init__(self, name, folder, **checkpoints):
        self.make, self.optimizer, self.stream, settings = RUNS[name]
        self.plan = Plan(**({"epochs": 3, "batch_size": 10} | settings))
        self.checkpoints = Checkpoints(folder, **checkpoints)

    def go(self, cut=None, *, resume=False, hooks=None):
        """Train, until a step if it is given; return the history and what the caller holds."""
        model, diary = self.make(), Diary()
        optimizer = self.optimizer(model.parameters())

        def perhaps(now):
            if now.step == cut:
                raise CutShortError

        history = fit(
            model, self.stream(), optimizer, self.plan, streams=Streams(4),
            hooks={"step": [diary.note, perhaps], **(hooks or {})}, stateful={"diary": diary},
            checkpoints=self.checkpoints, resume=resume,
        )  # fmt: skip
        held = bits([dict(model.state_dict()), optimizer.state_dict(), diary.state_dict()])
        return history, held

    @property
    def saved(self):
        return bits(timeless(read_state(self.checkpoints.file)))


@pytest.mark.parametrize("name", RUNS)
def test_a_run_cut_short_anywhere_goes_on_to_the_same_bits(name, tmp_path):
    alone = Run(name, tmp_path / "alone", seconds=1e9)
    history, held = alone.go()
    steps = int(history.rows[-1]["step"])
    assert steps >= 6
    for cut in range(1, steps + 1):
        run = Run(name, tmp_path / str(cut), seconds=1e9, steps=1 + cut % 3)
        with pytest.raises(CutShortError):
            run.go(cut)
        found, still_held = run.go(resume=True)
        assert run.saved == alone.saved
        assert still_held == held
        assert found.stopped == history.stopped


@pytest.mark.parametrize("cut", range(2, 21, 2))  # in the middle of every epoch
def test_patience_is_not_forgotten(tmp_path, cut):
    model, play = playing([[5.0, 3.0, 4.0, 3.5, 3.25, 1.0], [9.0, 8.0, 8.5, 8.25, 8.0, 1.0]])
    stream, optimizer = pair("domain"), SGD(model.parameters(), 1e-30)
    plan = Plan(epochs=6, batch_size=9, validation=0.2, patience=3)  # two steps an epoch

    def perhaps(now):
        if now.step == cut:
            raise CutShortError

    options = {"streams": Streams(0), "checkpoints": Checkpoints(tmp_path, steps=1)}
    with pytest.raises(CutShortError):
        fit(model, stream, optimizer, plan, **options, hooks={"epoch": play, "step": perhaps})
    history = fit(model, stream, optimizer, plan, **options, hooks={"epoch": play}, resume=True)
    # three without a better one, after the second
    assert history.column("epoch", task=0).tolist() == [0, 1, 2, 3, 4, 5, 5]
    assert history.column("epoch", task=1).tolist() == [0, 5, 1, 2, 3, 4, 5]


def test_saving_changes_nothing(tmp_path):
    often = Run("adam", tmp_path / "often", seconds=0.0)
    never = Run("adam", tmp_path / "never", seconds=1e9)
    (one, held), (other, also_held) = often.go(), never.go()
    assert held == also_held
    assert often.saved == never.saved
    assert one.column("test_loss").tolist() == other.column("test_loss").tolist()


def test_a_fault_at_every_write_and_rename_costs_nothing_but_time(tmp_path, monkeypatch):
    alone = Run("adam", tmp_path / "alone", seconds=1e9, steps=6)
    with monkeypatch.context() as patch:
        disk = BrokenDisk(patch)
        _, held = alone.go()
    saves = disk.seen.count("replace")
    assert saves >= 4
    assert len(disk.seen) == 8 * saves
    for number, operation in enumerate(disk.seen):
        run = Run("adam", tmp_path / str(number), seconds=1e9, steps=6)
        with monkeypatch.context() as patch:
            BrokenDisk(patch, number)
            with pytest.raises(OSError, match=f"error in {operation}"):
                run.go()
        assert run.checkpoints.file.exists() == (number > disk.seen.index("replace"))
        _, still_held = run.go(resume=True)
        assert still_held == held
        assert run.saved == alone.saved


def test_a_finished_run_is_read_and_not_trained(tmp_path):
    run, told = Run("adam", tmp_path, seconds=1e9), []
    history, held = run.go()
    before = run.checkpoints.file.stat().st_mtime_ns
    events = ("start", "resume", "task-start", "batch", "epoch", "evaluation", "end")
    again, still_held = run.go(
        resume=True, hooks={e: lambda _, e=e: told.append(e) for e in events}
    )
    assert told == ["resume"]
    assert bits(again.rows) == bits(history.rows)  # the seconds too
    assert (again.names, again.stopped) == (history.names, history.stopped)
    assert still_held == held
    assert run.checkpoints.file.stat().st_mtime_ns == before


def test_a_folder_that_holds_a_run_is_not_used_for_another(tmp_path):
    run = Run("forgetful", tmp_path, seconds=1e9)
    told = []
    run.go(resume=True, hooks={"start": lambda _: told.append("start")})  # there was none
    assert told == ["start"]
    kept = run.checkpoints.file.read_bytes()
    with pytest.raises(ValueError, match=r"holds a run already; pass resume=True"):
        run.go()
    assert run.checkpoints.file.read_bytes() == kept


def test_events_go_on_where_the_run_was_cut(tmp_path):
    run, told = Run("forgetful", tmp_path, seconds=1e9, steps=1), []
    with pytest.raises(CutShortError):
        run.go(9)  # 24 and 22 samples by 10: two steps an epoch, six a task; saved at step 8
    events = ("start", "resume", "task-start", "batch", "epoch", "evaluation", "task-end", "end")
    hooks = {e: lambda now, e=e: told.append((e, now.task, now.step)) for e in events}
    run.go(resume=True, hooks=hooks)
    assert told == [
        ("resume", 1, 8), ("epoch", 1, 8), ("evaluation", 1, 8), ("batch", 1, 8), ("batch", 1, 9),
        ("epoch", 1, 10), ("evaluation", 1, 10), ("batch", 1, 10), ("batch", 1, 11),
        ("epoch", 1, 12), ("evaluation", 1, 12), ("task-end", 1, 12), ("end", 2, 12),
    ]  # fmt: skip


def test_only_one_process_trains_in_a_folder(tmp_path):
    run = Run("forgetful", tmp_path, seconds=1e9)

    def intrude(now):
        with pytest.raises(BlockingIOError, match="another process is writing here"):
            run.go()

    run.go(hooks={"task-start": intrude})


def test_the_callers_own_objects_may_be_resumed(tmp_path):
    # as in a notebook: interrupted, and called again with the same model and optimiser
    model, numbers = network(dropout=0.2), count()
    optimizer = SGD(model.parameters(), 0.1, momentum=0.9)
    options = {"streams": Streams(0), "checkpoints": Checkpoints(tmp_path / "a", steps=2)}
    plan = Plan(epochs=3, batch_size=10, schedule="linear")

    def interrupt(_):
        if next(numbers) == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(model, tiny(), optimizer, plan, **options, hooks={"batch": interrupt})
    fit(model, tiny(), optimizer, plan, **options, resume=True)
    other = network(dropout=0.2)
    fit(other, tiny(), SGD(other.parameters(), 0.1, momentum=0.9), plan, streams=Streams(0))
    assert bits(dict(model.state_dict())) == bits(dict(other.state_dict()))
