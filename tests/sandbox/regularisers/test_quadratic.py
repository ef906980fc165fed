"""The quadratic penalty: recorded numbers, how importances add up, invariants."""

from __future__ import annotations

import copy
import operator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_training import bits
from torch import nn

from sandbox.regularisers.quadratic import QuadraticPenalty
from sandbox.training.checkpoint import read_state, write_state
from synapses.layers import StochasticLinear
from tests.sandbox.regularisers.tiny_net import (
    ANCHOR,
    CLAMPS,
    DEVICES,
    F64,
    IMPORTANCE,
    NAMES,
    OFFLINE,
    ONLINE,
    PENALISED_PATHS,
    START,
    flat,
    named,
    tiny_net,
    vector,
)
from theory.importance import merge_penalties

EXACT, EMPIRICAL = vector(IMPORTANCE["exact"]), vector(IMPORTANCE["empirical"])
END = vector(PENALISED_PATHS["end"])


def put(model, weights):
    """Give the tiny network these weights."""
    model.load_state_dict(named(weights))
    return model


def learned(penalty, tasks, device="cpu"):
    """Consolidate (importance, weights) pairs; return the network, at the weights of the end."""
    model = tiny_net(device)
    for importance, weights in tasks:
        penalty.consolidate(named(importance, device), put(model, weights))
    return put(model, END)


def gradient(penalty, model):
    """Return the value and its gradient by autograd."""
    value = penalty.penalty(model)
    parts = torch.autograd.grad(value, list(model.parameters()))
    return value.item(), flat(dict(zip(NAMES, parts, strict=True)))


def attached_gradient(penalty, model):
    """Return the gradient that a step's hook adds to one of zeros."""
    for p in model.parameters():
        p.grad = None
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-300)
    attachment = penalty.attach(optimizer, model)
    optimizer.step()
    attachment.remove()
    return flat({name: p.grad for name, p in model.named_parameters()})


# the recorded numbers belong to an independent implementation in float64; 1e-12 is rounding
@pytest.mark.parametrize("device", DEVICES)
def test_online_penalty_and_gradient_are_the_recorded_ones(device):
    penalty = QuadraticPenalty(ONLINE["half lambda"], "online", ONLINE["decay"])
    model = learned(penalty, [(EXACT, ANCHOR), (EMPIRICAL, START)], device)
    assert torch.allclose(
        flat(penalty.importance), vector(ONLINE["importance"]), rtol=1e-12, atol=1e-12
    )
    value, slope = gradient(penalty, model)
    assert value == pytest.approx(ONLINE["penalty"], rel=1e-12)
    wanted = vector(ONLINE["gradient"])
    assert torch.allclose(slope, wanted, rtol=1e-12, atol=1e-12)
    assert torch.allclose(attached_gradient(penalty, model), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
def test_separate_penalties_are_the_recorded_sum(device):
    penalty = QuadraticPenalty(1.0, "separate")
    model = learned(penalty, [(EXACT, START), (EMPIRICAL, ANCHOR)], device)
    assert penalty.penalty(model).item() == pytest.approx(OFFLINE["penalty"], rel=1e-12)
    assert penalty.constant == pytest.approx(OFFLINE["constant"], rel=1e-12)


def test_clamping_the_sum_and_clamping_every_task_are_recorded_as_different():
    model = nn.Linear(4, 1, bias=False, dtype=F64)
    running = QuadraticPenalty(1.0, clamp="running")
    by_task = QuadraticPenalty(1.0)
    signed = QuadraticPenalty(1.0, clamp="signed")
    for raw in CLAMPS["raw"]:
        one = vector(raw).view(1, 4)
        running.consolidate({"weight": one}, model)
        by_task.consolidate({"weight": one.clamp_min(0)}, model)
        signed.consolidate({"weight": one}, model)
    for penalty, wanted in (
        (running, CLAMPS["running"]),
        (by_task, CLAMPS["per task"]),
        (signed, vector(CLAMPS["raw"]).sum(0)),
    ):
        found = penalty.importance["weight"].view(-1)
        assert torch.allclose(found, torch.as_tensor(wanted, dtype=F64), rtol=1e-12, atol=1e-12)


RULES = {
    "sum": operator.add,
    "online": lambda old, new: 0.7 * old + new,
    "average": lambda old, new: 0.7 * old + 0.3 * new,
}


@pytest.mark.parametrize("accumulate", RULES)
def test_importances_accumulate_as_named(accumulate):
    penalty = QuadraticPenalty(2.0, accumulate, 1.0 if accumulate == "sum" else 0.7)
    third = torch.linspace(2.0, 0.0, 24, dtype=F64)
    learned(penalty, [(EXACT, START), (EMPIRICAL, ANCHOR), (third, START)])
    wanted = RULES[accumulate](RULES[accumulate](EXACT, EMPIRICAL), third)
    assert torch.allclose(flat(penalty.importance), wanted, rtol=1e-14)
    assert torch.equal(flat(penalty.anchor), START)  # the newest
    assert penalty.constant == 0


def test_a_ceiling_acts_and_what_is_accumulated_goes_on_above_it():
    model = nn.Linear(2, 1, bias=False, dtype=F64)
    capped = QuadraticPenalty(1.0, "online", 0.5, ceiling=1.0)
    for _ in range(2):
        capped.consolidate({"weight": torch.tensor([[0.25, 2.0]], dtype=F64)}, model)
    assert capped.importance["weight"].tolist() == [[0.375, 1.0]]
    with torch.no_grad():
        model.weight.copy_(capped.anchor["weight"] + 1.0)
    assert capped.penalty(model).item() == pytest.approx(1.375, rel=1e-15)
    capped.consolidate({"weight": torch.zeros(1, 2, dtype=F64)}, model)
    assert capped.importance["weight"].tolist() == [[0.1875, 1.0]]  # 1.5 of 3 / 2
    capped.consolidate({"weight": torch.zeros(1, 2, dtype=F64)}, model)
    assert capped.importance["weight"].tolist() == [[0.09375, 0.75]]


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**16),
    tasks=st.integers(1, 5),
    strength=st.floats(0.0, 100.0),
    holes=st.booleans(),
)
def test_separate_is_the_sum_of_the_tasks_penalties(seed, tasks, strength, holes):
    generator = torch.Generator().manual_seed(seed)

    def random():
        return torch.randn(24, dtype=F64, generator=generator)

    pairs = [(random().square(), random()) for _ in range(tasks)]
    if holes:  # where a task, or all of them, give nothing any importance
        pairs = [(omega * (omega > 0.3) * (torch.arange(24) > 4), at) for omega, at in pairs]
    whole = QuadraticPenalty(strength, "separate")
    model = learned(whole, pairs)
    value, slope = gradient(whole, model)
    ones = [QuadraticPenalty(strength) for _ in pairs]
    for one, pair in zip(ones, pairs, strict=True):
        learned(one, [pair])
    singly = [gradient(one, model) for one in ones]
    wanted = torch.stack([g for _, g in singly])
    assert value == pytest.approx(sum(v for v, _ in singly), rel=1e-11)
    # the terms may cancel: an error is relative to their size, some roundings of 1e-16 each
    size = 1e-13 * (1 + wanted.abs().sum(0))
    assert ((slope - wanted.sum(0)).abs() <= size).all()
    assert ((attached_gradient(whole, model) - wanted.sum(0)).abs() <= size).all()


def test_separate_anchors_merge_as_the_square_is_completed():
    third = torch.linspace(2.0, 0.0, 24, dtype=F64)
    tasks = [(EXACT, START), (EMPIRICAL, ANCHOR), (third, END)]
    penalty = QuadraticPenalty(1.0, "separate")
    learned(penalty, tasks)
    wanted = merge_penalties(*(torch.stack(part).numpy() for part in zip(*tasks, strict=True)))
    found = flat(penalty.importance), flat(penalty.anchor)
    for mine, theirs in zip(found, (wanted.importance, wanted.anchor), strict=True):
        assert torch.allclose(mine, torch.from_numpy(theirs), rtol=1e-13)
    assert penalty.constant == pytest.approx(wanted.constant, rel=1e-12)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**16), factor=st.floats(0.01, 100.0), rule=st.sampled_from(sorted(RULES))
)
def test_penalties_are_quadratic_and_linear_in_the_strength(seed, factor, rule):
    generator = torch.Generator().manual_seed(seed)
    decay = 1.0 if rule == "sum" else 0.7
    omega, away = torch.randn(2, 24, dtype=F64, generator=generator)
    penalty = QuadraticPenalty(1.5, rule, decay)
    stronger = QuadraticPenalty(1.5 * factor, rule, decay)
    for one in (penalty, stronger):
        learned(one, [(omega.square(), START), (EXACT, START)])
    at, farther = (put(tiny_net(), START + scale * away) for scale in (1.0, 2.0))
    value, slope = gradient(penalty, at)
    assert value >= 0
    assert gradient(penalty, farther)[0] == pytest.approx(4 * value, rel=1e-9)
    assert stronger.penalty(at).item() == pytest.approx(factor * value, rel=1e-12)
    # Euler: the slope along the way from the anchor is twice the value
    assert float(slope @ (flat(dict(at.named_parameters())) - START)) == pytest.approx(
        2 * value, rel=1e-9
    )


def test_before_the_first_task_there_is_nothing():
    penalty, model = QuadraticPenalty(3.0), tiny_net()
    assert penalty.importance is None
    assert penalty.anchor is None
    assert penalty(model).item() == 0
    assert penalty(model).shape == ()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    penalty.attach(optimizer)
    optimizer.step()
    assert all(p.grad is None for p in model.parameters())


def test_what_is_given_is_copied_and_what_comes_out_has_no_graph():
    penalty, model = QuadraticPenalty(1.0), tiny_net()
    omega = named(EXACT)
    omega["0.weight"].requires_grad_(True)
    penalty.consolidate(omega, model)
    with torch.no_grad():
        omega["0.weight"].zero_()
        model[0].weight.zero_()
    assert torch.equal(flat(penalty.importance), EXACT)
    assert torch.equal(flat(penalty.anchor), START)
    assert not any(
        t.requires_grad for t in (*penalty.importance.values(), *penalty.anchor.values())
    )
    assert all(p.grad is None for p in model.parameters())


def test_the_penalty_has_second_derivatives():
    penalty, model = QuadraticPenalty(2.0), tiny_net()
    penalty.consolidate(named(EXACT), model)
    weight = model[0].weight
    slope = torch.autograd.grad(penalty(model), weight, create_graph=True)[0]
    curvature = torch.autograd.grad(slope.sum(), weight)[0]
    assert torch.allclose(curvature, 4 * penalty.importance["0.weight"], rtol=1e-14)


def test_the_penalty_of_a_copy_is_that_of_the_copys_weights():
    penalty = QuadraticPenalty(2.0)
    model = learned(penalty, [(EXACT, START)])
    other = put(copy.deepcopy(model), ANCHOR)
    assert penalty(other).item() == pytest.approx(2 * 0.01 * EXACT.sum().item(), rel=1e-12)


def test_parameters_that_come_later_are_protected_from_then_on():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight.requires_grad_(False)
    penalty = QuadraticPenalty(1.0, "separate")
    penalty.consolidate({"0.weight": torch.ones(2, 2)}, model)
    model[1].weight.requires_grad_(True)
    penalty.consolidate({"0.weight": torch.ones(2, 2), "1.weight": torch.ones(2, 2)}, model)
    assert penalty.importance["0.weight"].tolist() == [[2.0, 2.0], [2.0, 2.0]]
    assert penalty.importance["1.weight"].tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_it_follows_the_models_type_and_takes_importances_of_another():
    model = tiny_net().float()
    penalty = QuadraticPenalty(2.0)
    penalty.consolidate(named(EXACT), model)
    assert penalty.importance["0.weight"].dtype == torch.float32
    assert penalty(model.double()).dtype == torch.float64


def test_a_copy_of_lower_precision_leaves_what_is_kept_alone():
    penalty = QuadraticPenalty(2.0)
    model = learned(penalty, [(EXACT, START)])
    before = bits(penalty.state_dict())
    assert penalty(copy.deepcopy(model).half()).dtype == torch.float16
    assert bits(penalty.state_dict()) == before


def test_strengths_of_stochastic_layers_are_parameters_like_others():
    model = nn.Sequential(StochasticLinear(3, 2, release_probability=0.5, dtype=F64))
    penalty = QuadraticPenalty(1.0)
    penalty.consolidate({"0.weight": torch.ones(2, 3), "0.bias": torch.zeros(2)}, model)
    with torch.no_grad():
        model[0].weight += 0.5
        model[0].release_probability.fill_(0.9)  # does not matter
    assert penalty(model).item() == pytest.approx(6 * 0.25, rel=1e-15)


@pytest.mark.parametrize("accumulate", ["sum", "online", "separate", "average"])
def test_a_state_goes_round_to_the_same_bits(accumulate, tmp_path):
    decay = 0.7 if accumulate in {"online", "average"} else 1.0
    penalty, fresh = (QuadraticPenalty(2.0, accumulate, decay) for _ in range(2))
    write_state(tmp_path / "empty", penalty.state_dict())
    fresh.load_state_dict(read_state(tmp_path / "empty"))
    assert fresh.importance is None
    model = learned(penalty, [(EXACT, START), (EMPIRICAL, ANCHOR)])
    write_state(tmp_path / "state", penalty.state_dict())
    fresh.load_state_dict(read_state(tmp_path / "state"))
    assert bits(fresh.state_dict()) == bits(penalty.state_dict())
    assert bits(fresh(model)) == bits(penalty(model))
    for one in (penalty, fresh):  # and goes on so
        one.consolidate(named(EXACT), model)
    assert bits(fresh.state_dict()) == bits(penalty.state_dict())


def test_copies_are_attached_to_nothing():
    model = tiny_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    penalty = QuadraticPenalty(1.0)
    penalty.attach(optimizer)
    other = copy.deepcopy(penalty)
    other.consolidate(named(EXACT), copy.deepcopy(model))  # no parameter of the optimiser's
    assert penalty.importance is None
