"""What the checks of the battery share: the list of them, steps, comparisons."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import contextmanager

import torch
from small_training import bits
from torch import Tensor
from torch.optim import Optimizer

from tests.sandbox.optim.cases import Case
from tests.sandbox.optim.problems import Problem, problem

CHECKS: dict[str, Callable[[Case], None]] = {}
REFUSALS = (ValueError, RuntimeError)


def check(function: Callable[[Case], None]) -> Callable[[Case], None]:
    """Enter a function into the list of checks."""
    CHECKS[function.__name__] = function
    return function


@contextmanager
def refused(pattern: str, kinds: tuple[type[Exception], ...] = REFUSALS):
    """Demand an error of these kinds whose message has the pattern."""
    caught = None
    try:
        yield
    except kinds as error:
        caught = error
    assert caught is not None, f"nothing was refused, {pattern!r} was to be"
    assert re.search(pattern, str(caught)), f"{caught!r} does not say {pattern!r}"


def close(found, wanted, rtol: float, atol: float = 0.0) -> None:
    """Compare lists of tensors by the largest difference over the largest value."""
    for mine, theirs in zip(found, wanted, strict=True):
        size = float(theirs.abs().max())
        worst = float((mine - theirs).abs().max())
        assert worst <= rtol * size + atol, f"differs by {worst:.3g}, size {size:.3g}"


def same_bits(found, wanted, what: str) -> None:
    """Compare two states by types and bytes."""
    assert bits(found) == bits(wanted), f"{what} differs in its bits"


def moved(after, before) -> list[Tensor]:
    return [a - b for a, b in zip(after, before, strict=True)]


def differ(one, other) -> bool:
    return any(not torch.equal(a, b) for a, b in zip(one, other, strict=True))


def step(case: Case, task: Problem, optimizer: Optimizer, *, scale=1.0, parts=1, between=None):
    """Do one step the way the training loop does; return what ``step`` gave."""
    if case.before is not None:
        case.before(optimizer, task)
    if case.closure == "outputs":
        assert parts == 1, "the step is taken from the outputs of one batch"
        return optimizer.step(lambda: (scale * task.model(task.inputs), task.targets))

    def backward() -> Tensor:
        optimizer.zero_grad()
        size = len(task.inputs) // parts
        found = []
        for k in range(parts):
            value = scale * task.value(slice(k * size, (k + 1) * size)) / parts
            value.backward()
            found.append(value.detach())
        if between is not None:
            between()
        return sum(found)

    if case.closure == "loss":
        return optimizer.step(backward)
    backward()
    return optimizer.step()


def start(case: Case, kind=None, dtype=torch.float64, **overrides):
    """Return a fresh problem and an optimiser of it."""
    task = problem(kind or case.kind, dtype)
    return task, case.build(task, **overrides)


def run(case: Case, steps=4, kind=None, dtype=torch.float64, **overrides):
    """Return problem and optimiser after some steps."""
    task, optimizer = start(case, kind, dtype, **overrides)
    for _ in range(steps):
        step(case, task, optimizer)
    return task, optimizer


def frozen(case: Case, task: Problem, optimizer: Optimizer, attempt) -> None:
    """Demand that what is attempted leaves parameters and state as they are."""
    before = bits([task.parameters(), optimizer.state_dict()])
    attempt()
    after = bits([task.parameters(), optimizer.state_dict()])
    assert after == before, "parameters or state changed"


def tensors(tree) -> list[Tensor]:
    """Return the tensors of a state with an axis: counters may have their own type."""
    if isinstance(tree, Tensor):
        return [tree] if tree.ndim else []
    if isinstance(tree, dict):
        return tensors(list(tree.values()))
    if isinstance(tree, list | tuple):
        return [found for item in tree for found in tensors(item)]
    return []
