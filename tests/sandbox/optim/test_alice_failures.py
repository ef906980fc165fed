"""Alice: a failure changes nothing; options and closures that are refused."""

import math

import pytest
import torch
from small_training import bits
from torch import nn

from sandbox.optim.alice import Alice
from tests.sandbox.optim.alice_runs import OPTIONS, closure_of, task


@pytest.fixture(autouse=True)
def _own_randomness():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        yield


@pytest.mark.parametrize("steps", [0, 6, 8])  # in the burn-in, a quick step, a sample step
@pytest.mark.parametrize("fault", ["loss", "gradient", "probe", "error"])
def test_a_failure_changes_nothing(steps, fault):
    model, inputs, targets = task(nn.BatchNorm1d(8))
    optimizer = Alice(model.parameters(), **OPTIONS, model=model)
    fine = closure_of(optimizer, model, inputs, targets)
    for _ in range(steps):
        optimizer.step(fine)
    calls = []

    def closure():
        loss = fine()
        calls.append(1)
        if fault == "loss":
            return loss * math.nan
        if fault == "error" and (len(calls) == 2 or steps == 6):
            raise KeyError("broken")
        if fault == "gradient" or (fault == "probe" and (len(calls) == 1)):
            model[0].weight.grad[0, 0] = math.inf
        return loss

    def everything():
        return bits([dict(model.state_dict()), optimizer.state_dict()])

    before = everything()
    if fault == "error":
        with pytest.raises(KeyError):
            optimizer.step(closure)
    else:
        with pytest.raises(RuntimeError, match="not finite: training has diverged"):
            optimizer.step(closure)
    assert everything() == before
    if fault != "error":
        optimizer.nonfinite = "skip"
        calls.clear()
        optimizer.step(closure)
        assert everything() == before
    other = train_on(optimizer, model, fine)
    assert other != before


def train_on(optimizer, model, closure):
    optimizer.step(closure)
    return bits([dict(model.state_dict()), optimizer.state_dict()])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"lr": 0.0}, r"lr = 0.0: must be a finite number in \(0, inf\)"),
        ({"lr": math.nan}, r"lr = nan"),
        ({"lr": True}, r"lr = True"),
        ({"lr": "0.1"}, r"lr = '0.1'"),
        ({"lr": None}, r"lr = None"),
        ({"lr_min": -1.0}, r"lr_min = -1.0"),
        ({"lr_min": 0.1}, r"lr_min = 0.1: must not be above lr_max = 0.002"),
        ({"lr_max": math.inf}, r"lr_max = inf"),
        ({"betas": (1.0, 0.9)}, r"betas\[0\] = 1.0"),
        ({"betas": (0.9, -0.1)}, r"betas\[1\] = -0.1"),
        ({"betas": 0.9}, r"betas = 0.9: must be two numbers in \[0, 1\)"),
        ({"betas": (0.9, 0.99, 0.999)}, r"betas = \(0.9, 0.99, 0.999\): must be two"),
        ({"quick_steps": -1}, r"quick_steps = -1: must be a whole number >= 0"),
        ({"quick_steps": 1.5}, r"quick_steps = 1.5"),
        ({"quick_steps": 10, "betas": (0.9, 0.9)}, r"keep quick_steps <= 9"),
        ({"hessian": "diag"}, r"hessian = 'diag': must be one of 'abs', 'rms', 'off'"),
        ({"glass": 1}, r"glass = 1: must be True or False"),
        ({"hessian": "off", "glass": False}, r"nothing would end a step"),
        ({"bounds": "adamw"}, r"bounds = 'adamw'"),
        ({"omega": 0.0}, r"omega = 0.0"),
        ({"phi": 0.0}, r"phi = 0.0"),
        ({"phi": math.inf}, r"phi = inf"),
        ({"weight_decay": 0.1}, r"weight_decay = 0.1: must be two numbers >= 0"),
        ({"weight_decay": (0.1, -1.0)}, r"weight_decay\[1\] = -1.0"),
        ({"maximize": "yes"}, r"maximize = 'yes'"),
        ({"eps": 0.0}, r"eps = 0.0"),
        ({"burn_in": 0}, r"burn_in = 0"),
        ({"sigma": 0.0}, r"sigma = 0.0"),
        ({"scale_bounds": None}, r"scale_bounds = None"),
        ({"model": "net"}, r"model = 'net': must be a torch.nn.Module"),
        ({"nonfinite": "ignore"}, r"nonfinite = 'ignore'"),
        ({"seed": -1}, r"seed = -1"),
    ],
)
@pytest.mark.bad_input
def test_options_out_of_range_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        Alice([nn.Parameter(torch.ones(2))], **changed)
    if not changed.keys() & {"model", "nonfinite", "seed"}:
        first = {"params": [nn.Parameter(torch.ones(2))]}
        with pytest.raises(ValueError, match=message):
            Alice([first, {"params": [nn.Parameter(torch.ones(2))]} | changed])


@pytest.mark.bad_input
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex64])
def test_types_with_too_few_digits_are_refused(dtype):
    with pytest.raises(ValueError, match=f"{dtype}: must be float32 or float64"):
        Alice([nn.Parameter(torch.ones(2, dtype=dtype))])


@pytest.mark.bad_input
def test_groups_that_do_not_fit_are_refused():
    optimizer = Alice([nn.Parameter(torch.ones(2))])
    with pytest.raises(ValueError, match="param_group = 3: must be a dict"):
        optimizer.add_param_group(3)
    with pytest.raises(ValueError, match="quick_steps = 1: must be 3 in every group"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))], "quick_steps": 1})
    assert len(optimizer.param_groups) == 1


@pytest.mark.bad_input
def test_closures_that_do_not_fit_are_refused():
    w = nn.Parameter(torch.ones(2))
    optimizer = Alice([w])
    with pytest.raises(ValueError, match="closure = None: must be a function that zeroes"):
        optimizer.step()
    for made, message in ((None, "must return the loss"), (torch.ones(2), r"has shape \(2,\)")):
        with pytest.raises(ValueError, match=message):
            optimizer.step(lambda made=made: made)

    def sparse():
        w.grad = torch.ones(2).to_sparse()
        return torch.tensor(1.0)

    with pytest.raises(ValueError, match="sparse gradients"):
        optimizer.step(sparse)
    assert w.tolist() == [1.0, 1.0]
