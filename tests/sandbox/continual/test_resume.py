"""Runs under protection that were cut short go on to the same bits."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_training import bits, network, pair
from torch.optim import SGD

from sandbox.continual import Protection, learn
from sandbox.training.checkpoint import Checkpoints
from sandbox.training.plan import Plan
from theory.streams import Streams

PLAN = Plan(2, 8, reset_optimizer=True)
FIRST, STEPS = 2 * (24 // 8), 2 * (24 // 8) + 2 * (22 // 8)
METHODS = {"ewc": {}, "si": {}, "siu": {}, "sos-large-batch": {}, "mas": {"accumulate": "separate"}}


class CutShortError(Exception):
    """Stands for whatever ended a run."""


def run(method, folder, *, end=None, event="step", strength=1.0, **told):
    """Train with a checkpoint every other step; return all that is left."""
    model = network(dropout=0.3, seed=2)
    optimizer = SGD(model.parameters(), 0.1, momentum=0.5)
    streams = Streams(5)

    def fresh(task):
        return network(dropout=0.3, seed=50 + task)

    protection = Protection(
        model, optimizer, method, strength, streams=streams, re_init=fresh, samples=7, **told
    )

    def cut(now):
        if now.step == end:
            raise CutShortError

    history = learn(
        model,
        pair(),
        optimizer,
        PLAN,
        protection,
        streams=streams,
        hooks={event: cut},
        checkpoints=Checkpoints(folder, seconds=1e9, steps=2),
        resume=True,
    )
    rows = [[v for k, v in row.items() if k != "seconds"] for row in history.rows]
    states = (dict(model.state_dict()), optimizer.state_dict(), protection.state_dict(), rows)
    return bits(states)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_goes_on_at_its_task_and_step(method, tmp_path):
    wanted = run(method, tmp_path / "whole", **METHODS[method])
    borders = [("task-end", FIRST), ("task-start", FIRST), ("end", STEPS)]
    places = [("step", 1), ("step", 4), ("batch", 7), *borders]
    for event, end in places:
        folder = tmp_path / f"{event}-{end}"
        with pytest.raises(CutShortError):
            run(method, folder, end=end, event=event, **METHODS[method])
        assert run(method, folder, **METHODS[method]) == wanted, (event, end)


def test_a_run_may_be_cut_short_many_times(tmp_path):
    wanted = run("siu", tmp_path / "whole")
    for end in range(1, STEPS, 2):
        with pytest.raises(CutShortError):
            run("siu", tmp_path / "cut", end=end)
    assert run("siu", tmp_path / "cut") == wanted


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"strength": 2.0}, "strength is 2.0 here, 1.0 in the saved run"),
        ({"xi": 0.2}, "xi is 0.2 here, 0.1"),
        ({"accumulate": "online", "decay": 0.5}, "accumulate is 'online' here, 'sum'"),
        ({"clamp": "running"}, "clamp is 'running' here, 'task'"),
    ],
)
def test_a_run_of_other_settings_is_not_gone_on_with(told, words, tmp_path):
    with pytest.raises(CutShortError):
        run("si", tmp_path, end=3)
    with pytest.raises(ValueError, match=words):
        run("si", tmp_path, **told)


@pytest.mark.slow
def test_what_is_killed_goes_on_to_the_same_bits():
    script = Path(__file__).with_name("killing_protected.py")
    cases = ("siu",)  # the case with the most state; the others are cut short above
    told = subprocess.run(
        [sys.executable, script, "--kills", "2", *(w for c in cases for w in ("--case", c))],
        capture_output=True,
        timeout=280,
        check=False,
    )
    assert told.stdout, told.stderr.decode()
    found = json.loads(told.stdout)
    assert found["differing"] == []
    assert (told.returncode, found["kills"]) == (0, 2)
    assert set(found["of each"]) == set(cases)
    assert found["with a checkpoint"] >= 1
