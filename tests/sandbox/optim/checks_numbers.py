"""Checks of types of numbers, and of what must be refused."""

from __future__ import annotations

import re

import torch
from small_training import bits
from torch import nn
from torch.optim import Optimizer

from tests.sandbox.optim.cases import Case
from tests.sandbox.optim.contract import (
    REFUSALS,
    check,
    differ,
    moved,
    refused,
    run,
    start,
    step,
    tensors,
)
from tests.sandbox.optim.problems import Problem, problem


@check
def float64_is_kept(case: Case) -> None:
    """State and updates of a float64 model are of float64, and float32 agrees to 1e-4."""
    steps = case.patience + 2
    origin = problem(case.kind).parameters()
    task, optimizer = run(case, steps)
    for tensor in [*task.parameters(), *tensors(optimizer.state_dict())]:
        assert not tensor.is_floating_point() or tensor.dtype == torch.float64, tensor.dtype
    # a path computed in less than float64 would not follow a shift of 1e-9 linearly
    shift = [1e-9 * p.cos() for p in origin]
    ends = []
    for times in (0, 1, 2):
        nudged, by = start(case)
        nudged.put([p + times * d for p, d in zip(origin, shift, strict=True)])
        for _ in range(steps):
            step(case, nudged, by)
        ends.append(torch.cat([p.flatten() for p in nudged.parameters()]))
    bend = float((ends[2] - 2 * ends[1] + ends[0]).norm() / (ends[1] - ends[0]).norm())
    assert bend < 1e-3, f"a shift of 1e-9 bends the path by {bend:.3g}"
    single, _ = run(case, steps, dtype=torch.float32)
    assert all(p.dtype == torch.float32 for p in single.parameters())
    update = torch.cat([u.flatten() for u in moved(task.parameters(), origin)])
    there = [p.double() for p in single.parameters()]
    found = torch.cat([u.flatten() for u in moved(there, origin)])
    gap = float((found - update).norm() / update.norm())
    assert gap < 1e-4, f"float32 and float64 updates differ by {gap:.3g}"


@check
def autocast_composes(case: Case) -> None:
    """Forward in bfloat16: weights keep their type, and the step is that of float32 by 5 %."""
    origin = problem(case.kind, torch.float32).parameters()
    plain, _ = run(case, case.patience, dtype=torch.float32)
    task, optimizer = start(case, dtype=torch.float32)
    forward = task.model.forward

    def mixed(inputs):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return forward(inputs)

    task.model.forward = mixed
    for _ in range(case.patience):
        step(case, task, optimizer)
    assert all(p.dtype == torch.float32 for p in task.parameters())
    found = moved(task.parameters(), origin)
    wanted = moved(plain.parameters(), origin)
    gap = sum(float((a - b).square().sum()) for a, b in zip(found, wanted, strict=True)) ** 0.5
    size = sum(float(b.square().sum()) for b in wanted) ** 0.5
    assert gap <= 0.05 * size, f"differs by {gap / size:.3g} of the step"


@check
def bfloat16_weights_move_or_are_refused(case: Case) -> None:
    """Weights stay bfloat16 and finite and move; or the error names the type."""
    error = None
    try:
        task, optimizer = start(case, dtype=torch.bfloat16)
        before = task.parameters()
        for _ in range(case.patience + 1):
            step(case, task, optimizer)
    except REFUSALS as caught:
        error = caught
    if error is not None:
        assert "bfloat16" in str(error), f"{error!r} does not name the type"
        return
    assert all(p.dtype == torch.bfloat16 for p in task.parameters())
    assert all(bool(p.isfinite().all()) for p in task.parameters())
    assert differ(task.parameters(), before), "nothing moved"


@check
def a_model_without_parameters_is_refused(case: Case) -> None:
    """None at all, and none that is trained."""
    task = problem(case.kind)
    empty = Problem(nn.Tanh(), task.inputs, task.targets, task.loss, task.independent)
    with refused("param|layer", (ValueError,)):
        case.build(empty)


@check
def bad_settings_are_refused(case: Case) -> None:
    """Every error input raises ValueError that names argument and value."""
    assert case.errors, "no error inputs are declared"
    for overrides, pattern in case.errors:
        task = problem(case.kind)
        try:
            with refused(pattern, (ValueError,)):
                case.build(task, **overrides)
        except AssertionError as error:
            raise AssertionError(f"{overrides}: {error}") from error


def spoilt(case: Case, task: Problem, optimizer: Optimizer) -> None:
    """Do a step with an infinite or undefined gradient."""

    def between():
        last = list(task.model.parameters())[-1]
        last.grad.view(-1)[0] = float("nan")

    step(case, task, optimizer, between=between)


@check
def a_gradient_that_is_not_finite_is_refused(case: Case) -> None:
    """Nothing has changed, and the next step is what it would have been."""
    task, optimizer = run(case, case.patience + 1)
    before = bits(task.parameters())
    with refused("finite"):
        if case.closure == "outputs":
            step(case, task, optimizer, scale=float("nan"))
        else:
            spoilt(case, task, optimizer)
    assert bits(task.parameters()) == before, "parameters changed"
    with refused("finite"):
        step(case, task, optimizer, scale=float("inf"))
    assert bits(task.parameters()) == before, "parameters changed"
    step(case, task, optimizer)
    assert all(bool(p.isfinite().all()) for p in task.parameters())
    assert all(bool(t.isfinite().all()) for t in tensors(optimizer.state_dict()))


@check
def a_gradient_that_is_not_finite_is_skipped(case: Case) -> None:
    """As chosen by ``nonfinite="skip"``: no error, no change, and training goes on."""
    task, optimizer = run(case, case.patience + 1, nonfinite="skip")
    before = bits(task.parameters())
    spoilt(case, task, optimizer)
    step(case, task, optimizer, scale=float("inf"))
    assert bits(task.parameters()) == before, "parameters changed"
    step(case, task, optimizer)
    assert bits(task.parameters()) != before, "training does not go on"
    assert all(bool(p.isfinite().all()) for p in task.parameters())
    assert all(bool(t.isfinite().all()) for t in tensors(optimizer.state_dict()))


@check
def an_empty_batch_does_no_harm(case: Case) -> None:
    """A batch without samples is refused or changes nothing; training goes on."""
    task, optimizer = run(case, case.patience)
    before = task.parameters()
    inputs, targets = task.inputs, task.targets
    task.inputs, task.targets = inputs[:0], targets[:0]
    value = task.value
    task.value = lambda part: task.model(task.inputs[part]).sum()
    error = None
    try:
        step(case, task, optimizer)
    except REFUSALS as caught:
        error = str(caught)
    if error is not None:
        assert re.search(r"finite|empty|no sample|batch", error), f"{error!r} is unclear"
        assert not differ(task.parameters(), before), "parameters changed"
    task.inputs, task.targets, task.value = inputs, targets, value
    for _ in range(3):
        step(case, task, optimizer)
    assert all(bool(p.isfinite().all()) for p in task.parameters())
