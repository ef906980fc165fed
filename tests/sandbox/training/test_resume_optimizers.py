"""Every optimiser that `sandbox train` offers goes on to the same bits, and is told its task."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from small_training import bits, network, pair, timeless
from torch import nn

from deeplinear.rules import CurvatureCorrection
from sandbox.optim import CurvatureCorrected
from sandbox.optim.alice import Alice
from sandbox.optim.foof import FOOF
from sandbox.optim.kfac import KFAC
from sandbox.optim.natural import NaturalGradient
from sandbox.training._muon import MuonWithAdamW
from sandbox.training.averaging import WeightAverage
from sandbox.training.checkpoint import CheckpointError, Checkpoints, read_state
from sandbox.training.loop import fit
from sandbox.training.names import OptimizerName
from sandbox.training.plan import Plan
from theory.streams import Streams

OTHERS = {"optimizer": "adamw", "lr": 0.01}
RULE = CurvatureCorrection(power=0.5, blocks="layer", damping=0.1)
FACTORS = {"T": 3, "S": 2, "momentum": 0.5}  # what is saved lies in the middle of a period


def images():
    """Inputs as images of 2 x 3, convolutions, running statistics, dropout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Unflatten(1, (1, 2, 3)),
            nn.Conv2d(1, 4, 2, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(4 * 3 * 4, 4),
        )


MAKERS = {
    "sgd": (network, lambda m: torch.optim.SGD(m.parameters(), 0.1, momentum=0.9)),
    "adam": (network, lambda m: torch.optim.Adam(m.parameters(), 0.01)),
    "adamw": (images, lambda m: torch.optim.AdamW(m.parameters(), 0.01)),
    "muon": (images, lambda m: MuonWithAdamW(m, 0.02, weight_decay=0.1)),
    "foof": (network, lambda m: FOOF(m, 0.1, 0.5, **FACTORS)),
    "foof, images": (images, lambda m: FOOF(m, 0.05, 0.5, **FACTORS, fallback=OTHERS)),
    "foof, activation": (network, lambda m: FOOF(m, 0.1, 0.5, side="activation", **FACTORS)),
    "kfac": (network, lambda m: KFAC(m, 0.01, 0.1, seed=3, **FACTORS)),
    "kfac, images": (images, lambda m: KFAC(m, 0.01, 0.1, seed=3, **FACTORS, fallback=OTHERS)),
    "kfac, standard": (
        lambda: network(dtype=torch.float64),
        lambda m: KFAC(m, 0.01, 0.1, rule="standard", fisher="empirical", **FACTORS),
    ),
    "natural": (network, lambda m: NaturalGradient(m, 0.05, 0.1, momentum=0.5, seed=3)),
    "natural, images": (
        images, lambda m: NaturalGradient(m, 0.02, 0.1, blocks="layer", fallback=OTHERS),
    ),
    "alice": (images, lambda m: Alice(m.parameters(), 0.01, betas=(0.5, 0.9), model=m, seed=3)),
    "curvature": (
        network, lambda m: CurvatureCorrected(m.parameters(), RULE, 0.1, "cross_entropy"),
    ),
}  # fmt: skip
PLAN = Plan(epochs=2, batch_size=5, schedule="linear", drop_last=False)  # 5 steps an epoch


def test_every_optimiser_is_among_them():
    assert {name.split(",")[0] for name in MAKERS} == set(get_args(OptimizerName))


class CutShortError(Exception):
    """Stands for whatever ended a run."""


def train(name, folder, *, cut=None, plan=PLAN, average=None, optimizer=None, **checkpoints):
    """Train with checkpoints, until a step if one is given; return what was left."""
    make, default = MAKERS[name]
    model = make()
    averaged = None if average is None else WeightAverage(model, average, decay=0.75)
    made = (optimizer or default)(model)
    places = Checkpoints(folder, seconds=1e9, **checkpoints)

    def perhaps(now):
        if now.step == cut:
            raise CutShortError

    fit(
        model, pair("task"), made, plan, streams=Streams(4), hooks={"step": perhaps},
        average=averaged, checkpoints=places, resume=True,
    )  # fmt: skip
    saved = timeless(read_state(places.file))
    held = [dict(model.state_dict()), made.state_dict(), averaged and averaged.state_dict()]
    return bits(saved), bits(held)


@pytest.mark.parametrize("name", MAKERS)
def test_a_run_cut_short_goes_on_to_the_same_bits(name, tmp_path):
    alone = train(name, tmp_path / "alone")
    # saved in the middle of an epoch, between two epochs, between two tasks, in the second task
    for cut, steps, saved in ((4, 3, 3), (6, 5, 5), (11, 10, 10), (19, 8, 18)):
        folder = tmp_path / str(cut)
        with pytest.raises(CutShortError):
            train(name, folder, cut=cut, steps=steps)
        position = read_state(folder / "state.safetensors")["position"]
        assert position["step"] == saved
        assert train(name, folder) == alone, cut


@pytest.mark.parametrize("name", ["foof", "kfac", "natural", "alice", "muon"])
def test_types_of_a_state_come_back(name, tmp_path):
    """Parameters are float32; what the optimiser keeps in float64, or as numbers, stays that."""
    plan = replace(PLAN, schedule="constant")
    train(name, tmp_path, plan=plan)
    state = read_state(tmp_path / "state.safetensors")["optimizer"]
    model = MAKERS[name][0]()
    optimizer = MAKERS[name][1](model)
    fit(
        model, pair("task"), optimizer, plan, streams=Streams(4),
        checkpoints=Checkpoints(tmp_path, seconds=1e9), resume=True,
    )  # fmt: skip
    assert bits(optimizer.state_dict()) == bits(state)


@pytest.mark.parametrize("average", ["exponential", "tail"])
@pytest.mark.parametrize("precision", ["full", "bfloat16-mixed"])
@pytest.mark.parametrize("name", ["adamw", "kfac, images"])
def test_averages_and_mixed_precision_go_on_too(name, average, precision, tmp_path):
    plan = replace(PLAN, precision=precision)
    alone = train(name, tmp_path / "alone", plan=plan, average=average)
    for cut, steps in ((4, 3), (9, 8), (19, 8)):  # before and within the tail of a task
        folder = tmp_path / str(cut)
        with pytest.raises(CutShortError):
            train(name, folder, plan=plan, average=average, cut=cut, steps=steps)
        assert train(name, folder, plan=plan, average=average) == alone


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "curvature"])
def test_a_new_task_finds_an_optimiser_without_a_past(name):
    """With reset_optimizer the second task is learned as by an optimiser that is new."""
    make, build = MAKERS[name]
    plan = replace(PLAN, reset_optimizer=True, schedule="constant")
    model, twin = make(), make()
    seen = []

    def renew(now):
        if now.task == 1:
            seen.append(bits(optimizer.state_dict()["state"]))

    optimizer = build(model)
    fit(model, pair("task"), optimizer, plan, streams=Streams(4), hooks={"task-start": renew})
    assert seen == [bits({})]
    if name == "alice":  # its random signs go on where they were
        return
    fresh = []

    def exchange(now):
        if now.task == 1:
            getattr(now.optimizer.first, "remove", int)()  # its hooks
            fresh.append(build(twin))
            fresh[0].columns = slice(2, 4)

    class Relay(torch.optim.Optimizer):
        """Steps with the first optimiser, then with the fresh one."""

        def __init__(self):
            self.first = build(twin)
            super().__init__(list(twin.parameters()), {"lr": 1.0})

        @property
        def columns(self):
            return None

        @columns.setter
        def columns(self, given):
            (fresh[0] if fresh else self.first).columns = given

        def zero_grad(self, set_to_none=True):
            self.first.zero_grad(set_to_none)

        def step(self, closure=None):
            return (fresh[0] if fresh else self.first).step(closure)

    unreset = replace(plan, reset_optimizer=False)
    fit(twin, pair("task"), Relay(), unreset, streams=Streams(4), hooks={"task-start": exchange})
    assert bits(dict(model.state_dict())) == bits(dict(twin.state_dict()))


@pytest.mark.parametrize(
    ("other", "word"),
    [
        (lambda m: KFAC(m, 0.01, 0.1, seed=3, **(FACTORS | {"T": 4})), "T is '4' here, '3' there"),
        (lambda m: KFAC(m, 0.01, 0.1, seed=4, **FACTORS), "seed is '4' here"),
        (lambda m: KFAC(m, 0.01, 0.2, seed=3, **FACTORS), "'damping'] is 0.2 here, 0.1 there"),
        (lambda m: KFAC(m, 0.01, 0.1, seed=3, decay=0.5, **FACTORS), "decay is '0.5' here"),
        (lambda m: KFAC(m, 0.01, 0.1, seed=3, fisher="exact", **FACTORS), "fisher is"),
        (lambda m: KFAC(m, 0.01, 0.1, seed=3, power=0.5, **FACTORS), "power is '0.5' here"),
        (lambda m: KFAC(m, 0.01, 0.1, seed=3, output_factor=False, **FACTORS), "output_factor is"),
        (lambda m: FOOF(m, 0.01, 0.1, **FACTORS), "type is 'FOOF' here, 'KFAC' there"),
    ],
)
def test_a_run_with_other_settings_is_not_gone_on_with(other, word, tmp_path):
    train("kfac", tmp_path)
    with pytest.raises(CheckpointError) as told:
        train("kfac", tmp_path, optimizer=other)
    assert word in str(told.value)


def test_another_average_is_not_gone_on_with(tmp_path):
    train("sgd", tmp_path, average="tail")
    for other in (None, "exponential"):
        with pytest.raises(CheckpointError, match=r"average|stateful"):
            train("sgd", tmp_path, average=other)


@pytest.mark.parametrize("name", ["kfac", "natural"])
def test_labels_are_drawn_among_the_outputs_of_the_task(name):
    told = []
    make, build = MAKERS[name]
    model = make()
    optimizer = build(model)
    hooks = {"step": lambda now: told.append((now.task, optimizer.columns))}
    fit(model, pair("task"), optimizer, PLAN, streams=Streams(4), hooks=hooks)
    assert set(map(str, told)) == {str((0, slice(0, 2))), str((1, slice(2, 4)))}
    assert optimizer.columns is None


def test_killed_processes_go_on_to_the_same_bits():
    script = Path(__file__).parents[1] / "killing.py"
    told = subprocess.run(
        [sys.executable, script, "--kills", "4", "--case", "factors"],
        capture_output=True,
        timeout=280,
        check=False,
    )
    assert told.stdout, told.stderr.decode()
    found = json.loads(told.stdout)
    assert found["differing"] == []
    assert (told.returncode, found["kills"], found["of each"]) == (0, 4, {"factors": 4})
    assert found["with a checkpoint"] >= 1
