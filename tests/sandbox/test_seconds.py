"""A run's clock counts the training alone, goes on after a resume, and says when to save."""

from types import SimpleNamespace

import pytest
from small_training import network, pair
from torch.optim import SGD

from sandbox.training import _measuring, loop
from sandbox.training._batches import Batches
from sandbox.training.checkpoint import Checkpoints
from sandbox.training.loop import fit
from sandbox.training.plan import Plan
from theory.streams import Streams

PLAN = Plan(epochs=2, batch_size=5, evaluate="all", validation=0.1)  # 4 steps an epoch, 16 in all


class Clock:
    """Goes only when something is done: a second a step, many or none for everything else."""

    def __init__(self, monkeypatch, *, others=1):
        self.now, self.saves = 0.0, []
        monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: self.now))
        write, evaluate, prepare = loop.write_state, _measuring.evaluate, Batches._prepared

        def write_slowly(file, state):
            self.now += 1000 * others
            self.saves.append(state["position"]["step"])
            write(file, state)

        def evaluate_slowly(*arguments):
            self.now += 500 * others
            return evaluate(*arguments)

        def prepare_slowly(batches, task):
            self.now += 0 if task in batches._train else 300 * others
            return prepare(batches, task)

        monkeypatch.setattr(loop, "write_state", write_slowly)
        monkeypatch.setattr(_measuring, "evaluate", evaluate_slowly)
        monkeypatch.setattr(Batches, "_prepared", prepare_slowly)

    def tick(self, _):
        self.now += 1


def train(clock, checkpoints=None, *, resume=False, cut=None):
    model = network()

    def perhaps(now):
        if now.step == cut:
            raise KeyError

    return fit(
        model, pair("class"), SGD(model.parameters(), 0.1), PLAN, streams=Streams(0),
        hooks={"step": [clock.tick, perhaps]}, checkpoints=checkpoints, resume=resume,
    )  # fmt: skip


def test_seconds_are_those_of_the_steps(monkeypatch):
    history = train(Clock(monkeypatch))
    assert history.column("seconds").tolist() == history.column("step").tolist()
    assert history.final["seconds"] == 16


@pytest.mark.parametrize("cut", [1, 3, 4, 7, 12, 16])
@pytest.mark.parametrize("steps", [1, 3])
def test_seconds_go_on_after_a_resume(monkeypatch, tmp_path, cut, steps):
    clock = Clock(monkeypatch)
    checkpoints = Checkpoints(tmp_path, seconds=1e9, steps=steps)
    with pytest.raises(KeyError):
        train(clock, checkpoints, cut=cut)
    clock.now = 7e6  # another day
    history = train(clock, checkpoints, resume=True)
    # what was done again after the last save was not kept, nor was its time
    assert history.column("seconds").tolist() == history.column("step").tolist()
    again = train(clock, checkpoints, resume=True)
    assert again.final["seconds"] == 16


@pytest.mark.parametrize(
    ("often", "wanted"),
    [
        ({"seconds": 1e9}, [8, 16, 16]),  # after every task and at the end
        ({"seconds": 1e9, "steps": 3}, [3, 6, 8, 11, 14, 16, 16]),
        ({"seconds": 0.0}, [*range(1, 9), 8, *range(9, 17), 16, 16]),
        ({"seconds": 2.5}, [3, 6, 8, 11, 14, 16, 16]),
        ({"seconds": 2.0, "steps": 1000}, [2, 4, 6, 8, 8, 10, 12, 14, 16, 16, 16]),
    ],
)
def test_a_run_is_saved_when_it_is_due(monkeypatch, tmp_path, often, wanted):
    clock = Clock(monkeypatch, others=0)
    train(clock, Checkpoints(tmp_path, **often))
    assert clock.saves == wanted


def test_no_folder_no_file(monkeypatch, tmp_path):
    clock = Clock(monkeypatch)
    monkeypatch.chdir(tmp_path)
    train(clock)
    assert clock.saves == []
    assert not list(tmp_path.iterdir())
