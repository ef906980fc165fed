"""Batches with fewer rows than a layer has columns, without averaging: the same steps, sooner."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sandbox.optim import FOOF, KFAC

DOUBLE = torch.float64
KINDS = {
    "foof": lambda model, **rest: FOOF(model, 0.5, 0.2, decay=0.0, **rest),
    "kfac": lambda model, **rest: KFAC(model, 0.5, 0.2, decay=0.0, fisher="exact", **rest),
}


def network(dtype=DOUBLE):
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(20, 12), nn.Tanh(), nn.Linear(12, 3, bias=False)).to(dtype)


def batch(seed, count=3, dtype=DOUBLE):
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 20, generator=draw, dtype=DOUBLE).to(dtype)
    return inputs, torch.arange(count) % 3


def train(model, optimizer, seeds, count=3, dtype=DOUBLE):
    for seed in seeds:
        inputs, labels = batch(seed, count, dtype)
        optimizer.zero_grad()
        cross_entropy(model(inputs), labels).backward()
        optimizer.step()


def rows_of(optimizer):
    return [optimizer.averages[layer.name]["input"].rows for layer in optimizer.layers]


@pytest.mark.parametrize("scaling", ["mean", "paper"])
def test_the_step_of_few_rows_is_the_definition(scaling):
    model, (inputs, labels) = network(), batch(0)
    optimizer = FOOF(model, 0.5, 0.2, decay=0.0, T=1, scaling=scaling)
    cross_entropy(model(inputs), labels).backward()
    start = model[0].weight.detach().clone()
    gradient = torch.cat([model[0].weight.grad, model[0].bias.grad[:, None]], dim=1)
    optimizer.step()
    augmented = torch.cat([inputs, torch.ones(3, 1, dtype=DOUBLE)], dim=1)
    moment = augmented.T @ augmented / (3 if scaling == "mean" else 1)
    wanted = 0.5 * torch.linalg.solve(moment + 0.2 * torch.eye(21, dtype=DOUBLE), gradient.T).T
    assert [len(rows) for rows in rows_of(optimizer)] == [3, 3]
    torch.testing.assert_close(start - model[0].weight, wanted[:, :20], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("side", ["gradient", "activation"])
@pytest.mark.parametrize("kind", KINDS)
def test_few_rows_lead_where_their_moment_leads(kind, side):
    found = []
    for kept in (True, False):
        model = network()
        optimizer = KINDS[kind](model, T=2, S=2, side=side)
        if not kept:
            optimizer.new_average = lambda _, old=optimizer.new_average: old("output")
        optimizer.observe(batch(9)[0])
        train(model, optimizer, range(5))
        assert all((rows is not None) == kept for rows in rows_of(optimizer))
        found.append([p.detach() for p in model.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_takes_the_same_way_to_its_inverse(kind, dtype):
    ends = []
    for resumed in (False, True):
        model = network(dtype)
        optimizer = KINDS[kind](model, T=3, S=3)
        train(model, optimizer, range(4), dtype=dtype)
        if resumed:
            weights, state = model.state_dict(), optimizer.state_dict()
            model = network(dtype)
            optimizer = KINDS[kind](model, T=3, S=3)
            model.load_state_dict(weights)
            optimizer.load_state_dict(state)
        # the next inverse comes from what is kept, with another damping
        optimizer.param_groups[0]["damping"] = 0.7
        train(model, optimizer, range(4, 9), dtype=dtype)
        ends.append([p.detach() for p in model.parameters()])
    for one, other in zip(*ends, strict=True):
        assert torch.equal(one, other)


def test_memory_counts_the_rows():
    model = network()
    optimizer = KINDS["foof"](model, T=1)
    train(model, optimizer, [0])
    rows, factors = 3 * (21 + 12), 21 * 21 + 12 * 12
    assert optimizer.memory_usage()["averages"] == 8 * (rows + factors)
    train(model, optimizer, [1], count=6)
    assert optimizer.memory_usage()["averages"] == 8 * factors


@pytest.mark.bad_input
def test_rows_of_another_layer_are_refused():
    model = network()
    optimizer = KINDS["foof"](model, T=1)
    train(model, optimizer, [0])
    state = optimizer.state_dict()
    state["factors"]["averages"]["0"]["input"]["rows"] = torch.ones(3, 20)
    with pytest.raises(ValueError, match=r"the rows of layer '0' .*shape \(3, 20\)"):
        optimizer.load_state_dict(state)
