"""Plans: schedules at their corners and against torch's own, numbers of steps, what is refused."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from sandbox.training.plan import SCHEDULES, Plan
from sandbox.training.samples import Samples, split
from theory.streams import Streams


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [
        ("constant", {0: 1.0, 50: 1.0, 99: 1.0}),
        ("linear", {0: 1.0, 25: 0.75, 50: 0.5, 99: 0.01}),
        ("cosine", {0: 1.0, 50: 0.5, 99: 0.5 * (1 - math.cos(math.pi / 100))}),
        ("step", {0: 1.0, 49: 1.0, 50: 0.1, 74: 0.1, 75: 0.01, 99: 0.01}),
    ],
)
def test_schedules_at_their_corners(schedule, wanted):
    plan = Plan(schedule=schedule)
    for step, factor in wanted.items():
        assert plan.factor(step, 100) == pytest.approx(factor, rel=1e-13)


def test_every_schedule_has_its_corners_tested():
    assert set(SCHEDULES) == {"constant", "linear", "cosine", "step"}


@pytest.mark.parametrize(
    ("schedule", "torchs"),
    [
        ("constant", lambda o: lr_scheduler.ConstantLR(o, 1.0)),
        ("linear", lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, 40)),
        ("cosine", lambda o: lr_scheduler.CosineAnnealingLR(o, 40)),
        ("step", lambda o: lr_scheduler.MultiStepLR(o, [20, 30])),
    ],
)
def test_schedules_are_torchs(schedule, torchs):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    scheduler, rates = torchs(optimizer), []
    for _ in range(40):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    factors = [Plan(schedule=schedule).factor(step, 40) for step in range(40)]
    # torch multiplies its way from step to step
    np.testing.assert_allclose(factors, rates, rtol=1e-12)


def test_a_warmup_rises_to_the_schedule():
    plan = Plan(warmup=0.25)
    assert [plan.factor(step, 16) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert Plan(warmup=1.0).factor(0, 4) == 0.25
    assert Plan(warmup=1.0).factor(3, 4) == 1.0
    assert Plan(warmup=0.25, schedule="linear").factor(1, 16) == 0.5 * (1 - 1 / 16)
    # less than one step of warmup is none, and never a factor above one
    assert Plan(warmup=0.01).factor(0, 10) == 1.0
    assert Plan(warmup=0.0).factor(0, 10) == 1.0


@pytest.mark.parametrize(
    ("settings", "samples", "steps"),
    [
        ({"batch_size": 10}, 46, 4),
        ({"batch_size": 10, "drop_last": False}, 46, 5),
        ({"batch_size": 10, "drop_last": False}, 40, 4),
        ({"batch_size": 46}, 46, 1),
        ({"batch_size": None}, 46, 1),
        ({"batch_size": None, "drop_last": False}, 46, 1),
        ({"batch_size": 100, "drop_last": False}, 46, 1),
        ({"batch_size": 10, "validation": 0.25}, 46, 3),  # 12 of 46 set aside
        ({"batch_size": 12, "validation": 0.5}, 46, 1),  # 23 left
    ],
)
def test_steps_of_an_epoch(settings, samples, steps):
    assert Plan(**settings).steps(samples) == steps


@pytest.mark.parametrize(
    ("settings", "samples"),
    [({"batch_size": 47}, 46), ({"batch_size": 24, "validation": 0.5}, 46),
     ({"batch_size": None}, 0), ({"drop_last": False}, 0), ({}, 0),
     ({"batch_size": None, "validation": 0.9}, 1)],
)  # fmt: skip
def test_an_epoch_without_a_step_is_refused(settings, samples):
    with pytest.raises(ValueError, match="batch_size = .*: the task has .* samples to train on"):
        Plan(**settings).steps(samples)


@given(st.integers(4, 300), st.floats(0.01, 0.9))
def test_what_is_counted_is_what_is_split(samples, validation):
    count = round(validation * samples)
    if 0 < count < samples:
        whole = Samples(np.zeros((samples, 1)), np.zeros(samples, np.int64))
        kept, aside = split(whole, Streams(0), held_out=validation)
        assert len(aside) == count
        assert Plan(batch_size=1, validation=validation).steps(samples) == len(kept)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epochs": 0}, "epochs = 0: must be a whole number >= 1"),
        ({"epochs": 1.5}, "epochs = 1.5"),
        ({"epochs": None}, "epochs = None"),
        ({"epochs": True}, "epochs = True"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"evaluate_every": 0}, "evaluate_every = 0"),
        ({"evaluate_every": None}, "evaluate_every = None"),
        ({"loss": "cross_entropy"}, "loss = 'cross_entropy': must be one of .*'cross-entropy'"),
        ({"schedule": "exponential"}, "schedule = 'exponential': must be one of"),
        ({"evaluate": "none"}, "evaluate = 'none': must be one of"),
        ({"warmup": 1.1}, r"warmup = 1.1: must be a finite number in \[0, 1\]"),
        ({"warmup": -0.1}, "warmup = -0.1"),
        ({"validation": 1.0}, r"validation = 1.0: must be a finite number in \[0, 1\)"),
        ({"validation": -0.1}, "validation = -0.1"),
        ({"patience": 0, "validation": 0.1}, "patience = 0"),
        ({"patience": 3}, "patience = 3: stopping early needs samples .* set validation"),
    ],
)
def test_what_does_not_fit_is_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Plan(**settings)


def test_numbers_of_other_types_become_plain_ones():
    # a checkpoint compares plans, and range takes no float
    plan = Plan(
        epochs=3.0, batch_size=np.int64(8), warmup=np.float64(0.5), evaluate_every=2.0,
        validation=np.float32(0.5), patience=np.int8(3),
    )  # fmt: skip
    assert plan == Plan(3, 8, warmup=0.5, evaluate_every=2, validation=0.5, patience=3)
    kinds = {name: type(value) for name, value in plan.settings().items()}
    assert all(kinds[name] is int for name in ("epochs", "batch_size", "evaluate_every"))
    assert kinds["patience"] is int
    assert kinds["warmup"] is kinds["validation"] is float


def test_settings_are_all_of_the_plan():
    plan = Plan(epochs=7, schedule="cosine", reset_optimizer=True)
    assert Plan(**plan.settings()) == plan
    assert list(plan.settings()) == [field.name for field in dataclasses.fields(Plan)]
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.epochs = 8
