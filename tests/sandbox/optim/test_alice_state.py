"""Alice goes on from a saved state, bit for bit; copies, foreign states, reset."""

import copy
import io

import pytest
import torch
from small_training import bits

from sandbox.optim.alice import Alice
from sandbox.training.checkpoint import read_state, restore_optimizer, write_state
from tests.sandbox.optim.alice_runs import OPTIONS, closure_of, task


@pytest.fixture(autouse=True)
def _own_randomness():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        yield


def train(steps, *, file=None, copies=None, kind=(), dtype=torch.float32):
    model, inputs, targets = task(*kind, dtype=dtype)
    groups = [
        {"params": model[0].parameters()},
        {"params": model[-1].parameters(), "lr": 0.02, "hessian": "rms"},
    ]
    optimizer = Alice(groups, **OPTIONS)
    for number in range(steps):
        if file is not None and number == 8:
            write_state(file, {"model": dict(model.state_dict()), "opt": optimizer.state_dict()})
            model, *_ = task(*kind, dtype=dtype)
            groups = [{"params": model[0].parameters()}, {"params": model[-1].parameters()}]
            optimizer = Alice(groups, seed=7)
            state = read_state(file)
            model.load_state_dict(state["model"])
            restore_optimizer(optimizer, state["opt"])
        if copies is not None and number == 8:
            model, optimizer = copies((model, optimizer))
        optimizer.step(closure_of(optimizer, model, inputs, targets))
    return bits([dict(model.state_dict()), optimizer.state_dict()])


def pickled(pair):
    buffer = io.BytesIO()
    torch.save(pair, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_resumed_run_is_the_same_run(tmp_path, dtype):
    whole = train(15, dtype=dtype)
    assert train(15, dtype=dtype) == whole
    assert train(15, file=tmp_path / "state.safetensors", dtype=dtype) == whole
    assert train(15, copies=copy.deepcopy, dtype=dtype) == whole
    assert train(15, copies=pickled, dtype=dtype) == whole
    assert train(16, dtype=dtype) != whole


def test_copies_keep_what_is_no_state():
    model, *_ = task()
    optimizer = Alice(model.parameters(), model=model, nonfinite="skip")
    other, own = copy.deepcopy((optimizer, model))
    assert other.model is own
    assert other.nonfinite == "skip"
    assert other._signs is not optimizer._signs


def test_a_foreign_state_is_refused():
    model, *_ = task()
    optimizer = Alice(model.parameters())
    with pytest.raises(ValueError, match="holds no 'signs'"):
        optimizer.load_state_dict(torch.optim.SGD(model.parameters(), 0.1).state_dict())


def test_reset_forgets_all_but_the_signs():
    model, inputs, targets = task()
    optimizer = Alice(model.parameters(), **OPTIONS)
    for _ in range(8):
        optimizer.step(closure_of(optimizer, model, inputs, targets))
    at = [p.detach().clone() for p in model.parameters()]
    signs = optimizer._signs.state.clone()
    optimizer.reset()
    assert not optimizer.state
    assert torch.equal(optimizer._signs.state, signs)
    for _ in range(5):  # a burn-in again
        optimizer.step(closure_of(optimizer, model, inputs, targets))
        assert all(map(torch.equal, at, model.parameters()))
    optimizer.step(closure_of(optimizer, model, inputs, targets))
    assert not any(map(torch.equal, at, model.parameters()))
