"""Looking at a network leaves no trace, and says what is wrong with its inputs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sandbox.network.evaluation import as_inputs, evaluated, in_full_precision, watched

CPU = torch.device("cpu")
DEVICES = [CPU, pytest.param(torch.device("cuda"), marks=[
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
])]  # fmt: skip


def network():
    return nn.Sequential(nn.Linear(3, 2), nn.Dropout(), nn.Sequential(nn.BatchNorm1d(2)))


def kept(_, into):
    return into


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("failing", [False, True])
def test_modes_and_randomness_are_put_back(device, failing):
    model = network().to(device)
    model[2].training = False
    modes = [part.training for part in model.modules()]
    assert modes == [True, True, True, False, True]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        wanted = torch.rand(3), torch.rand(3, device=device)
    try:
        with evaluated(model, device):
            assert not any(part.training for part in model.modules())
            torch.rand(5)
            torch.rand(5, device=device)
            assert not failing
    except AssertionError:
        assert failing
    assert [part.training for part in model.modules()] == modes
    assert torch.equal(torch.rand(3), wanted[0])
    assert torch.equal(torch.rand(3, device=device), wanted[1])


@pytest.mark.parametrize("device", DEVICES)
def test_precision_is_full_whatever_is_around(device):
    layer, inputs = nn.Linear(3, 2).to(device), torch.ones(4, 3, device=device)
    with torch.autocast(device.type, torch.bfloat16):
        assert layer(inputs).dtype == torch.bfloat16
        assert in_full_precision(layer)(inputs).dtype == torch.float32
        with evaluated(layer, device):
            assert layer(inputs).dtype == torch.float32


def test_what_is_watched_is_kept_before_anything_overwrites_it():
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(inplace=True), nn.Linear(2, 2))
    inputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    with watched({"first": model[0], "last": model[2]}, kept, "") as seen:
        outputs = model(inputs)
    assert list(seen) == ["first", "last"]
    before, after = seen["first"][1], seen["last"][1]
    assert torch.equal(before, nn.functional.linear(inputs, model[0].weight, model[0].bias))
    assert (before < 0).any()
    assert torch.equal(seen["last"][0], before.relu())
    assert not seen["last"][0].requires_grad
    assert torch.autograd.grad(outputs.sum(), after)[0].eq(1).all()
    assert not any(part._forward_hooks for part in model)


def test_inputs_by_keyword_are_seen():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, inputs):
            return self.layer(input=inputs)

    model, inputs = Named(), torch.ones(4, 3)
    with watched({"layer": model.layer}, kept, "") as seen:
        model(inputs)
    assert torch.equal(seen["layer"][0], inputs)


@pytest.mark.bad_input
def test_a_module_that_is_called_twice_is_refused_and_no_hook_is_left():
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    model.append(model[0])
    with (
        pytest.raises(ValueError, match="layer 0 is used twice in one forward pass: .*; untie"),
        watched({"layer 0": model[0]}, kept, "; untie"),
    ):
        model(torch.ones(3, 2))
    assert not model[0]._forward_hooks


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (3, "x = 3: must be a non-empty tensor"),
        (torch.ones(3), r"x = \(3,\): must be"),
        (torch.ones(0, 2), r"x = \(0, 2\): must be"),
        (torch.tensor([[0.0], [torch.inf]]), r"x\[1\] is not finite"),
        (torch.tensor([[torch.inf], [-torch.inf]]), r"x\[0\] is not finite"),
    ],
)
def test_what_are_no_inputs_is_said(inputs, says):
    with pytest.raises(ValueError, match=says):
        as_inputs(inputs, "x")


def test_inputs_pass_as_they_are_without_a_graph():
    large = torch.full((2, 2), 3e38, requires_grad=True)  # their sum overflows
    found = as_inputs(large)
    assert found.data_ptr() == large.data_ptr()
    assert not found.requires_grad
    assert as_inputs(torch.ones(2, 2, dtype=torch.int64)).dtype == torch.int64
