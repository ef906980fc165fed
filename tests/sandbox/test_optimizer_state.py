"""An optimiser gets its state back with every tensor's own type, and goes on as before."""

import copy

import pytest
import torch
from small_training import bits
from torch import nn
from torch.optim import SGD, Adam, AdamW, RMSprop

from sandbox.training.checkpoint import (
    CheckpointError,
    read_state,
    restore_optimizer,
    write_state,
)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "state.safetensors"


class Factored(SGD):
    """Keeps a float64 factor of a float32 parameter, in containers too."""

    def step(self):
        super().step()
        for parameter in self.param_groups[0]["params"]:
            state = self.state[parameter]
            factor = torch.full((2, 2), 1 / 3, dtype=torch.float64)
            state["factor"], state["list"] = factor, [factor / 3, (factor / 7, {"deep": factor})]
            state["count"], state["mask"] = torch.tensor(3), torch.ones(2, dtype=torch.bool)


MAKERS = {
    "momentum": lambda p: SGD(p, 0.1, momentum=0.9),
    "adam": lambda p: Adam(p, 0.01, betas=(0.8, 0.95)),
    "amsgrad": lambda p: AdamW(p, 0.01, amsgrad=True, foreach=True),
    "fused": lambda p: AdamW(p, 0.01, fused=True),
    "fused-sgd": lambda p: SGD(p, 0.1, momentum=0.5, fused=True),
    "one-by-one": lambda p: Adam(p, 0.01, foreach=False),
    "capturable-rate": lambda p: Adam(p, torch.tensor(0.01)),
    "rmsprop": lambda p: RMSprop(p, 0.01, momentum=0.9, centered=True),
    "factored": lambda p: Factored(p, 0.1, momentum=0.9),
}


def stepped(maker, steps=3, dtype=torch.float32):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Linear(3, 2).to(dtype)
        inputs = torch.randn(4, 3, dtype=dtype)
    optimizer = maker([{"params": [model.weight]}, {"params": [model.bias], "lr": 0.02}])
    for _ in range(steps):
        optimizer.zero_grad()
        model(inputs).square().sum().backward()
        optimizer.step()
    return model, optimizer, inputs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", MAKERS)
def test_an_optimiser_goes_on_as_if_nothing_had_happened(file, name, dtype):
    model, optimizer, inputs = stepped(MAKERS[name], dtype=dtype)
    write_state(file, {"model": dict(model.state_dict()), "optimizer": optimizer.state_dict()})
    state = read_state(file)
    other, restored, _ = stepped(MAKERS[name], steps=1, dtype=dtype)
    other.load_state_dict(state["model"])
    restore_optimizer(restored, state["optimizer"])
    assert bits(restored.state_dict()) == bits(optimizer.state_dict())
    for one, by in ((model, optimizer), (other, restored)):
        by.zero_grad()
        one(inputs).square().sum().backward()
        by.step()
    assert bits(dict(other.state_dict())) == bits(dict(model.state_dict()))
    assert bits(restored.state_dict()) == bits(optimizer.state_dict())
    # what was read is not what the optimiser changes
    assert bits(state["optimizer"]) == bits(read_state(file)["optimizer"])


def test_torchs_own_loading_would_lose_half_the_digits():
    _, optimizer, _ = stepped(MAKERS["factored"])
    saved = copy.deepcopy(optimizer.state_dict())
    _, torchs, _ = stepped(MAKERS["factored"], steps=1)
    torchs.load_state_dict(saved)
    assert torchs.state_dict()["state"][0]["factor"].dtype == torch.float32
    _, ours, _ = stepped(MAKERS["factored"], steps=1)
    restore_optimizer(ours, saved)
    found = ours.state_dict()["state"][0]
    assert found["factor"].dtype == found["list"][1][1]["deep"].dtype == torch.float64
    assert found["count"].dtype == torch.int64
    assert found["mask"].dtype == torch.bool
    assert (found["factor"] == 1 / 3).all()


class Wrapped(SGD):
    """Carries another optimiser, whose state travels with its own."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, lr)
        self.inner = Factored(parameters, lr)

    def state_dict(self):
        return super().state_dict() | {"inner": self.inner.state_dict()}

    def load_state_dict(self, state_dict):
        self.inner.load_state_dict(state_dict["inner"])
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "inner"})


def test_an_optimiser_within_gets_its_types_back_too():
    found = []
    for _ in range(2):
        weight = nn.Parameter(torch.ones(2))
        optimizer = Wrapped([weight], 0.1)
        weight.grad = torch.ones(2)
        optimizer.inner.step()
        found.append(optimizer)
    saved, restored = found
    restored.inner.state.clear()
    restore_optimizer(restored, copy.deepcopy(saved.state_dict()))
    assert bits(restored.state_dict()) == bits(saved.state_dict())
    factor = restored.inner.state_dict()["state"][0]["factor"]
    assert factor.dtype == torch.float64


def test_the_settings_of_every_group_come_back():
    _, optimizer, _ = stepped(MAKERS["adam"])
    optimizer.param_groups[1]["lr"] = 0.5
    optimizer.param_groups[0]["betas"] = (0.1, 0.2)
    _, restored, _ = stepped(MAKERS["adam"])
    restore_optimizer(restored, copy.deepcopy(optimizer.state_dict()))
    assert [group["lr"] for group in restored.param_groups] == [0.01, 0.5]
    assert restored.param_groups[0]["betas"] == (0.1, 0.2)


def test_an_optimiser_of_other_parameters_is_refused():
    _, optimizer, _ = stepped(MAKERS["adam"])
    state = optimizer.state_dict()
    before = bits(state)
    one, two = ([nn.Parameter(torch.zeros(2)) for _ in range(n)] for n in (1, 2))
    for other in (Adam(one), Adam(two), Adam([{"params": one}, {"params": two}])):
        with pytest.raises(CheckpointError, match="the optimiser's state does not fit"):
            restore_optimizer(other, state)
    with pytest.raises(CheckpointError, match="does not fit"):
        restore_optimizer(optimizer, {})
    assert bits(optimizer.state_dict()) == before
