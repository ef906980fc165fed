"""One battery: every optimiser of the database against every check of the contract."""

from __future__ import annotations

import copy

import pytest
import torch
from small_training import bits

from sandbox.training.checkpoint import restore_optimizer
from tests.sandbox.optim import checks_numbers, checks_state, checks_steps
from tests.sandbox.optim.broken import BROKEN, UNBROKEN
from tests.sandbox.optim.cases import CASES
from tests.sandbox.optim.contract import CHECKS, close, step
from tests.sandbox.optim.problems import problem

MODULES = (checks_steps, checks_state, checks_numbers)
FAULTS = (AssertionError, AttributeError, TypeError, ValueError, RuntimeError)
WRONG_TYPES = "bad_settings_are_refused"
PAIRS = [
    pytest.param(case, name, marks=pytest.mark.bad_input if name == WRONG_TYPES else ())
    for case in CASES
    for name in CHECKS
]


def _label(value):
    return value if isinstance(value, str) else value.name


@pytest.mark.parametrize(("case", "name"), PAIRS, ids=_label)
def test_contract(case, name):
    if name not in case.skips:
        CHECKS[name](case)
        return
    # a declared skip that would pass is out of date
    with pytest.raises(FAULTS):
        CHECKS[name](case)


def test_numbers_of_checks_and_skips():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert all(case.skips.keys() <= CHECKS.keys() for case in CASES)
    skips = sum(len(case.skips) for case in CASES)
    assert (len(CASES), len(CHECKS), len(PAIRS), skips) == (19, 30, 570, 58)


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_fails_a_broken_optimiser(name):
    with pytest.raises(AssertionError):
        CHECKS[name](BROKEN[name])


@pytest.mark.parametrize("name", sorted(CHECKS.keys() - UNBROKEN.skips.keys()))
def test_what_was_broken_was_whole_before(name):
    CHECKS[name](UNBROKEN)


def test_every_check_has_a_control():
    assert {f.__module__ for f in CHECKS.values()} == {m.__name__ for m in MODULES}
    assert BROKEN.keys() == CHECKS.keys()


def test_one_per_cent_off_fails():
    values = [torch.tensor([1.0, -2.0])]
    close(values, values, 1e-9)
    with pytest.raises(AssertionError, match=r"differs by 0\.02, size 2"):
        close([1.01 * value for value in values], values, 1e-9)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("case", CASES, ids=_label)
def test_cuda_steps_are_cpu_steps_and_resume(case):
    # float64 on both; 1e-9 allows for other orders of summation through an inverse
    (cpu, by_cpu), (cuda, by_cuda), (again, resumed) = (
        (task, case.build(task))
        for task in (problem(case.kind).to(device) for device in ("cpu", "cuda", "cuda"))
    )
    for _ in range(case.patience):
        step(case, cpu, by_cpu)
        step(case, cuda, by_cuda)
    again.model.load_state_dict(cuda.model.state_dict())
    restore_optimizer(resumed, copy.deepcopy(by_cuda.state_dict()))
    for _ in range(4):
        step(case, cpu, by_cpu)
        step(case, cuda, by_cuda)
        step(case, again, resumed)
    assert all(p.is_cuda for p in cuda.parameters())
    assert bits(again.parameters()) == bits(cuda.parameters())
    if not case.device_draws:
        found = [p.cpu() for p in cuda.parameters()]
        close(found, cpu.parameters(), 0.0, 1e-9)
