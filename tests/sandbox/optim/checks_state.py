"""Checks of what an optimiser keeps: saved, copied, repeated, forgotten."""

from __future__ import annotations

import copy
import gc
import tempfile
import weakref
from pathlib import Path

import torch

from sandbox.training.checkpoint import (
    CheckpointError,
    read_state,
    restore_optimizer,
    write_state,
)
from tests.sandbox.optim.cases import Case
from tests.sandbox.optim.contract import (
    check,
    close,
    differ,
    frozen,
    refused,
    run,
    same_bits,
    start,
    step,
    tensors,
)
from tests.sandbox.optim.problems import problem


@check
def a_saved_state_goes_on_bit_for_bit(case: Case) -> None:
    """Saved, read and put into a fresh optimiser: the same bits as without a pause."""
    for dtype, steps in ((torch.float32, 1), (torch.float32, 4), (torch.float64, 4)):
        task, optimizer = run(case, steps, dtype=dtype)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "state.safetensors"
            saved = {"model": dict(task.model.state_dict()), "by": optimizer.state_dict()}
            write_state(file, saved)
            state = read_state(file)
        # a file keeps no strides, and a product may round differently for other ones
        contiguous = all(t.is_contiguous() for t in tensors(optimizer.state_dict()))
        assert contiguous, "a tensor of the state is not laid out row by row"
        other, resumed = run(case, 2, dtype=dtype)
        other.model.load_state_dict(state["model"])
        restore_optimizer(resumed, state["by"])
        same_bits(resumed.state_dict(), optimizer.state_dict(), "the state")
        for _ in range(4):
            step(case, task, optimizer)
            step(case, other, resumed)
        same_bits(other.parameters(), task.parameters(), "the path")
        same_bits(resumed.state_dict(), optimizer.state_dict(), "the state")


@check
def a_foreign_state_is_refused(case: Case) -> None:
    """A state of another number of parameters changes nothing."""
    _, optimizer = run(case, 2)
    task, other = run(case, 2, case.spare)

    def attempt():
        with refused("", (CheckpointError,)):
            restore_optimizer(other, optimizer.state_dict())

    frozen(case, task, other, attempt)
    step(case, task, other)
    assert all(bool(p.isfinite().all()) for p in task.parameters())


@check
def copies_go_their_own_way(case: Case) -> None:
    """A deep copy of model and optimiser does the same steps and leaves the original alone."""
    task, optimizer = run(case, 3)
    twin, copied = copy.deepcopy((task, optimizer))

    def go():
        for _ in range(4):
            step(case, twin, copied)

    frozen(case, task, optimizer, go)
    assert differ(twin.parameters(), task.parameters()), "the copy did not move"
    for _ in range(4):
        step(case, task, optimizer)
    same_bits(twin.parameters(), task.parameters(), "the path")
    same_bits(copied.state_dict(), optimizer.state_dict(), "the state")


@check
def two_runs_give_the_same_bits(case: Case) -> None:
    """For every kind of network."""
    for kind in case.kinds:
        one, first = run(case, 4, kind)
        two, second = run(case, 4, kind)
        same_bits(one.parameters(), two.parameters(), "the path")
        same_bits(first.state_dict(), second.state_dict(), "the state")


@check
def torchs_random_numbers_are_left_alone(case: Case) -> None:
    """Neither building nor stepping draws from the global generator or seeds it."""
    before = torch.get_rng_state()
    run(case, case.patience + 3)
    assert torch.equal(torch.get_rng_state(), before), "torch's generator was used"


@check
def reset_forgets(case: Case) -> None:
    """After ``reset`` the optimiser does the steps of a new one."""
    task, optimizer = run(case, 4)
    task.put(problem(case.kind).parameters())
    optimizer.reset()
    fresh, new = start(case)
    for _ in range(4):
        step(case, task, optimizer)
        step(case, fresh, new)
    same_bits(task.parameters(), fresh.parameters(), "the path")


@check
def evaluation_collects_nothing(case: Case) -> None:
    """Passes in evaluation mode or without gradients leave no trace."""
    plain, _ = run(case, 4)
    task, optimizer = start(case)
    for _ in range(4):
        task.model.eval()
        task.model(100 * task.inputs)
        task.model.train()
        with torch.no_grad():
            task.model(-50 * task.inputs)
        step(case, task, optimizer)
        task.model.eval()
        task.model(3 * task.inputs)
        task.model.train()
    same_bits(task.parameters(), plain.parameters(), "the path")


@check
def a_deleted_optimiser_leaves_the_model_alone(case: Case) -> None:
    """Nothing keeps it alive, and the model's gradients are the plain ones again."""
    task, optimizer = run(case, case.patience)
    gone = weakref.ref(optimizer)
    del optimizer
    gc.collect(1)  # young objects are enough, and old ones many
    assert gone() is None, "something keeps the optimiser alive"
    twin = problem(case.kind)
    twin.put(task.parameters())
    task.model.zero_grad()
    for one in (task, twin):
        one.value().backward()
    found = [p.grad for p in task.model.parameters()]
    close(found, [p.grad for p in twin.model.parameters()], 1e-13)
