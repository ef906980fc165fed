"""K-FAC as an optimiser: both sides and faces, saved states, copies, precision."""

import copy
import io
import logging
from itertools import starmap

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sandbox.optim.kfac import KFAC, KFACPreconditioner
from tests.sandbox.optim.kfac_problems import (
    DEVICES,
    DOUBLE,
    RULES,
    X,
    a_net,
    exactly,
    random,
    seeded,
    train,
    worst,
)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("rows", [3, 40])
@pytest.mark.parametrize("fisher", ["sampled", "exact", "empirical"])
@pytest.mark.parametrize("settings", [{}, {"output_factor": False}, {"bias": "fallback"}])
def test_preconditioning_in_the_backward_pass_gives_the_same_step(rule, rows, fisher, settings):
    if rule != "heuristic" and settings:
        return
    moved = []
    for side in ("gradient", "activation"):
        net = seeded(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 3))
        more = settings | ({"fallback": {"optimizer": "sgd", "lr": 0.1}} if settings else {})
        optimizer = KFAC(net, 0.1, 0.1, rule=rule, side=side, fisher=fisher, T=2, **more)
        for seed in range(3):
            optimizer.zero_grad()
            cross_entropy(net(random(rows, 6, seed=seed)), torch.arange(rows) % 3).backward()
            optimizer.step()
        moved.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    # products in another order
    assert worst(*moved) < 1e-12


@pytest.mark.parametrize("samples", [1, 8])
def test_convolutions_are_preconditioned_in_the_backward_pass_too(samples):
    moved = []
    for side in ("gradient", "activation"):
        net = a_net(DOUBLE)
        optimizer = KFAC(net, 0.1, 0.1, side=side, momentum=0.5, weight_decay=0.1)
        for seed in range(3):
            optimizer.zero_grad()
            images, labels = random(samples, 2, 3, 3, seed=seed), torch.arange(samples) % 3
            cross_entropy(net(images), labels).backward()
            optimizer.step()
        moved.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    assert worst(*moved) < 1e-12


@pytest.mark.parametrize("rule", RULES)
def test_the_preconditioner_before_plain_descent_is_the_optimiser(rule):
    moved = []
    for face in ("optimizer", "preconditioner"):
        net = seeded(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 3))
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        settings = {"damping": 0.1, "rule": rule, "T": 2, "seed": 5}
        if face == "optimizer":
            optimizer = KFAC(net, 0.1, **settings)
        else:
            preconditioner = KFACPreconditioner(net, **settings)
        for seed in range(3):
            optimizer.zero_grad()
            cross_entropy(net(random(8, 6, seed=seed)), torch.arange(8) % 3).backward()
            if face == "preconditioner":
                assert preconditioner.step()
            optimizer.step()
        moved.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    assert worst(*moved) < 1e-12


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("rule", "fisher"),
    [("heuristic", "sampled"), ("standard", "exact"), ("standard-published", "empirical")],
)
def test_resuming_is_not_interrupting(device, dtype, rule, fisher):
    settings = {"lr": 0.1, "damping": 0.01, "rule": rule, "fisher": fisher, "momentum": 0.9, "T": 3}
    net = a_net(dtype, device)
    wanted = train(net, KFAC(net, **settings), range(10))

    net = a_net(dtype, device)
    optimizer = KFAC(net, **settings)
    train(net, optimizer, range(4))
    held = io.BytesIO()
    torch.save([net.state_dict(), optimizer.state_dict()], held)
    held.seek(0)
    weights, state = torch.load(held, weights_only=True)
    other = a_net(dtype, device)
    other.load_state_dict(weights)
    again = KFAC(other, **settings, seed=99)
    again.load_state_dict(state)
    for own, theirs in zip(
        flat_tensors(again.state_dict()), flat_tensors(optimizer.state_dict()), strict=True
    ):
        assert own.dtype == theirs.dtype
        assert torch.equal(own, theirs)
    found = train(other, again, range(4, 10))
    assert all(starmap(torch.equal, zip(found, wanted, strict=True)))


def flat_tensors(state):
    if isinstance(state, torch.Tensor):
        return [state]
    values = state.values() if isinstance(state, dict) else state
    if not isinstance(state, dict | list | tuple):
        return []
    return [tensor for value in values for tensor in flat_tensors(value)]


def test_copies_go_on_alike_and_apart():
    net = a_net(DOUBLE)
    optimizer = KFAC(net, 0.1, 0.01, T=2)
    train(net, optimizer, range(3))
    twin, its_optimizer = copy.deepcopy((net, optimizer))
    found = train(twin, its_optimizer, range(3, 7))
    wanted = train(net, optimizer, range(3, 7))
    assert all(starmap(torch.equal, zip(found, wanted, strict=True)))


def test_labels_of_another_kind_of_device_begin_anew(caplog):
    net = a_net(DOUBLE)
    optimizer = KFAC(net, 0.1, 0.01)
    train(net, optimizer, range(2))
    state = optimizer.state_dict()
    state["factors"]["generator"] = torch.zeros(16, dtype=torch.uint8)  # as of a CUDA device
    with caplog.at_level(logging.WARNING, "sandbox.optim"):
        optimizer.load_state_dict(state)
    assert "begin anew" in caplog.text
    fresh = KFAC(a_net(DOUBLE), 0.1, 0.01)
    states = [kept.state_dict()["factors"]["generator"] for kept in (optimizer, fresh)]
    assert torch.equal(*states)
    assert optimizer.steps == 2


def test_reset_begins_anew():
    net = a_net(DOUBLE)
    weights = copy.deepcopy(net.state_dict())
    optimizer = KFAC(net, 0.1, 0.01, momentum=0.9, T=2)
    wanted = train(net, optimizer, range(5))
    optimizer.reset()
    net.load_state_dict(weights)
    found = train(net, optimizer, range(5))
    assert all(starmap(torch.equal, zip(found, wanted, strict=True)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_factors_are_kept_in_single_precision_at_least(dtype):
    net = a_net(dtype)
    optimizer = KFAC(net, 0.01, 0.1, fisher="exact")
    train(net, optimizer, range(2))
    for own in optimizer.averages.values():
        assert {average.total.dtype for average in own.values()} == {torch.float32}
    assert all(p.dtype == dtype and p.isfinite().all() for p in net.parameters())


def test_half_precision_outputs_give_the_factors_of_full_ones():
    held = []
    for enabled in (False, True):
        net = a_net(torch.float32)
        optimizer = KFAC(net, 0.01, 0.1, fisher="exact")
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            outputs = net(random(8, 2, 3, 3).float())
        # a loss scale on the user's own backward pass changes nothing
        (1024 * cross_entropy(outputs.float(), torch.arange(8) % 3)).backward()
        optimizer.step()
        held.append(optimizer.averages["0"]["output"].value())
    # bfloat16 has 8 bits: a few roundings of 2**-8 each
    assert worst(held[1], held[0]) < 0.05


def test_a_layer_without_error_is_moved_along_its_gradient():
    net = seeded(nn.Linear(3, 2, bias=False))
    optimizer = KFAC(net, 1.0, 0.25, fisher="empirical")
    before = net[0].weight.detach().clone()
    (net(exactly(X)) * 0.0).sum().backward()
    net[0].weight.grad.fill_(1.0)
    optimizer.step()
    inputs = optimizer.averages["0"]["input"].value()
    # without a proportion either factor gets the root of the damping
    damped = inputs + 0.5 * torch.eye(3, dtype=DOUBLE)
    wanted = torch.linalg.solve(damped, torch.ones(3, 2, dtype=DOUBLE)).T / 0.5
    assert worst(before - net[0].weight.detach(), wanted) < 1e-12
