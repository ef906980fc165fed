"""Natural gradient descent among fallbacks, closures, chosen outputs and narrow types."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sandbox.optim.natural import NaturalGradient
from tests.sandbox.optim.dense_fisher import DEVICES, F64, multilayer, normal
from tests.sandbox.optim.natural_problems import batches, go, near, parameters


def test_other_parameters_go_to_the_fallback():
    model = nn.Sequential(
        nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3, bias=False)
    ).to(F64)
    with pytest.raises(ValueError, match=r"no factor rule for 1.weight, 1.bias: give fallback"):
        NaturalGradient(model, 0.1, 0.1)
    assert not model._forward_hooks
    optimizer = NaturalGradient(
        model, 0.1, 0.1, fallback={"optimizer": "sgd", "lr": 0.5}, fisher="full"
    )
    (first, targets), (second, _) = batches(2)
    go(model, optimizer, first, targets)
    statistics = copy.deepcopy(model[1].state_dict())
    loss = cross_entropy(copy.deepcopy(model)(second), targets)
    assert loss.isfinite()
    found = go(model, optimizer, second, targets)
    near([found[2]], [-0.5 * model[1].weight.grad])
    # one more training pass, and none of the Fisher matrix's, has entered the statistics
    twin = nn.BatchNorm1d(5).to(F64)
    twin.load_state_dict(statistics)
    assert model[1].num_batches_tracked == statistics["num_batches_tracked"] + 1


def test_layers_without_a_gradient_stay_out():
    model = multilayer()
    frozen = copy.deepcopy(model)
    frozen[4].requires_grad_(False)
    one, two = NaturalGradient(model, 0.1, 0.2), NaturalGradient(frozen, 0.1, 0.2)
    (inputs, targets), _ = batches(2)
    wanted = go(frozen, two, inputs, targets)
    cross_entropy(model(inputs), targets).backward()
    model[4].weight.grad = model[4].bias.grad = None
    before = parameters(model)
    one.step()
    near([p - b for p, b in zip(model.parameters(), before, strict=True)], wanted)
    assert not (model[4].weight - before[4]).any()


def test_a_closure_may_compute_the_gradients():
    one, two = multilayer(), multilayer()
    first, second = NaturalGradient(one, 0.1, 0.2), NaturalGradient(two, 0.1, 0.2)
    (inputs, targets), _ = batches(2)

    def closure():
        first.zero_grad()
        loss = cross_entropy(one(inputs), targets)
        loss.backward()
        return loss

    wanted = cross_entropy(two(inputs), targets).item()
    assert first.step(closure).item() == wanted
    go(two, second, inputs, targets)
    near(one.parameters(), two.parameters(), atol=0)


def test_chosen_outputs_give_the_matrix_of_these():
    one, two = multilayer(), multilayer()
    with torch.no_grad():
        two[4] = nn.Linear(5, 2).to(F64)
        two[4].weight.copy_(one[4].weight[:2])
        two[4].bias.copy_(one[4].bias[:2])
    first = NaturalGradient(one, 0.1, 0.2, fisher="full")
    second = NaturalGradient(two, 0.1, 0.2, fisher="full")
    first.columns = slice(0, 2)
    inputs, targets = normal(5, 4), torch.arange(5) % 2
    cross_entropy(one(inputs)[:, :2], targets).backward()
    first.step()
    go(two, second, inputs, targets)
    near(
        [one[0].weight, one[2].bias, one[4].weight[:2]], [two[0].weight, two[2].bias, two[4].weight]
    )


def test_mixed_precision_composes():
    plain, mixed = multilayer().float(), multilayer().float()
    one, two = NaturalGradient(plain, 0.1, 0.2), NaturalGradient(mixed, 0.1, 0.2)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for inputs, targets in batches(3):
        inputs = inputs.float()
        wanted = go(plain, one, inputs, targets)
        before = parameters(mixed)
        two.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = cross_entropy(mixed(inputs), targets)
            scaler.scale(loss).backward()
            scaler.step(two)  # inside autocast on purpose: the algebra must not notice
        scaler.update()
        for p, b, w in zip(mixed.parameters(), before, wanted, strict=True):
            # bfloat16's 2^-9, times a few operations
            assert ((p - b) - w).abs().max() < 0.05 * max(w.abs().max() for w in wanted)
    before = parameters(mixed)
    two.zero_grad()
    loss = cross_entropy(mixed(inputs), targets) * math.inf
    scaler.scale(loss).backward()
    scaler.step(two)  # gradients are not finite: the scaler leaves the step out
    near(mixed.parameters(), before, atol=0)


@pytest.mark.parametrize("device", DEVICES)
def test_bfloat16_weights_move(device):
    model = multilayer().to(device, torch.bfloat16)
    optimizer = NaturalGradient(model, 0.1, 0.2, momentum=0.9)
    for inputs, targets in batches(3):
        found = go(model, optimizer, inputs.to(device, torch.bfloat16), targets.to(device))
        assert all(part.isfinite().all() and part.any() for part in found)
    assert all(p.dtype == torch.bfloat16 for p in model.parameters())
