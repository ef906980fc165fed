"""Training with the quadratic penalty: by either way the same, and where it diverges."""

from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
from small_training import bits
from torch import nn
from torch.optim import LBFGS, SGD, Adam

from sandbox.optim import FOOFPreconditioner
from sandbox.regularisers.quadratic import QuadraticPenalty
from sandbox.training.checkpoint import restore_optimizer
from synapses.consolidation import PresynapticOptimizer
from synapses.rule import PresynapticRule
from tests.sandbox.optim.cases import CASES, Case, from_parameters, presynaptic
from tests.sandbox.optim.problems import problem
from tests.sandbox.regularisers.tiny_net import DEVICES, F64

STEPS = 5


def _with_inner(task, **overrides):
    inner = Adam(task.model.parameters(), lr=0.01)
    return presynaptic(task, inner=inner, **overrides)


STEPPING = [
    *(
        case
        for case in CASES
        if case.closure != "outputs" and not case.name.endswith("activation")
    ),
    Case("adam", **from_parameters(lambda _, p, **more: Adam(p, 0.01, **more))),
    Case("lbfgs", **from_parameters(lambda _, p: LBFGS(p, 0.3, 4)), closure="loss"),
    Case("lbfgs-search", **from_parameters(
        lambda _, p: LBFGS(p, 1.0, 4, line_search_fn="strong_wolfe")), closure="loss"),
    Case("presynaptic-inner", _with_inner, kind="stochastic"),
]  # fmt: skip


def importance(model, seed=1):
    """Return random importances."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(p.shape, generator=generator, dtype=F64).to(p)
        for name, p in model.named_parameters()
    }


def trained(case, way, accumulate="sum", steps=STEPS, device="cpu"):
    """Train, tell the penalty of a task after two steps; return the parameters."""
    task = problem(case.kind).to(device)
    optimizer, penalty = case.build(task), QuadraticPenalty(0.4, accumulate)
    if way == "attached":
        penalty.attach(optimizer)

    def backward():
        optimizer.zero_grad()
        loss = task.value()
        if way == "in the loss":
            loss = loss + penalty(task.model)
        loss.backward()
        return loss

    for number in range(steps):
        if number in {2, 3}:
            penalty.consolidate(importance(task.model, number), task.model)
        if case.before is not None:
            case.before(optimizer, task)
        if case.closure == "loss":
            optimizer.step(backward)
        else:
            backward()
            optimizer.step()
    return task.parameters()


def label(case):
    return case.name


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", STEPPING, ids=label)
def test_attached_and_in_the_loss_train_to_the_same_bits(case, device):
    loss, attached, none = (
        trained(case, way, device=device) for way in ("in the loss", "attached", "without")
    )
    if case.name == "lbfgs-search":  # it compares losses, whose terms are summed in another order
        for mine, theirs in zip(attached, loss, strict=True):
            assert torch.allclose(mine, theirs, rtol=1e-9, atol=1e-12)
    else:
        assert bits(attached) == bits(loss)
    assert bits(attached) != bits(none)


def test_separate_anchors_train_alike_by_both_ways():
    case = next(case for case in STEPPING if case.name == "lbfgs")
    loss, attached = (trained(case, way, "separate") for way in ("in the loss", "attached"))
    assert bits(attached) == bits(loss)


def test_the_presynaptic_rule_is_pulled_in_its_strengths():
    """Where the loss is flat a strength goes to its anchor at the rule's own rate."""
    task = problem("stochastic")
    rule = PresynapticRule(0.07, 0.05, g_lim=1e9, rate_modulation=False, variant="program")
    optimizer = PresynapticOptimizer(task.model, rule, lr=0.1)
    penalty = QuadraticPenalty(0.5)
    penalty.attach(optimizer)
    layer = task.model[0]
    anchor = layer.expected_strength().detach().clone()
    penalty.consolidate(
        {n: torch.ones_like(p) for n, p in task.model.named_parameters()}, task.model
    )
    with torch.no_grad():
        layer.weight += 1.0
    for p in task.model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    found = layer.expected_strength() - anchor
    assert torch.allclose(found, torch.full_like(found, 1 - 2 * 0.1 * 0.5), rtol=1e-12)


def test_the_order_of_preconditioner_and_penalty_is_that_of_the_calls():
    """A preconditioner of gradients has run by the time the optimiser steps."""
    task = problem("mlp")
    optimizer, penalty = SGD(task.model.parameters(), lr=0.1), QuadraticPenalty(0.5)
    whitening = FOOFPreconditioner(task.model, damping=0.1)
    penalty.attach(optimizer)
    penalty.consolidate(importance(task.model), task.model)
    anchor = task.parameters()
    with torch.no_grad():
        for p in task.model.parameters():
            p += 0.5
    task.value().backward()
    whitening.step()
    alone = [p.grad.clone() for p in task.model.parameters()]
    omega, now = importance(task.model), task.parameters()
    optimizer.step()
    rows = zip(task.model.parameters(), alone, omega.values(), now, anchor, strict=True)
    for p, slope, mine, before, kept in rows:
        wanted = before - 0.1 * (slope + 2 * 0.5 * mine * (before - kept))
        assert torch.allclose(p, wanted, rtol=1e-12)


def one_weight(value):
    model = nn.Linear(1, 1, bias=False, dtype=F64)
    nn.init.constant_(model.weight, value)
    return model


def pulled(lr, strength, importance, steps=200, ceiling=None, **options):
    """Return how far a weight is from its anchor after steps that the penalty alone makes."""
    model, penalty = one_weight(0.0), QuadraticPenalty(strength, ceiling=ceiling)
    optimizer = SGD(model.parameters(), lr=lr, **options)
    penalty.attach(optimizer)
    penalty.consolidate({"weight": torch.tensor([[importance]], dtype=F64)}, model)
    nn.init.constant_(model.weight, 1.0)
    for _ in range(steps):
        optimizer.zero_grad()
        optimizer.step()
    return abs(model.weight.item())


def test_gradient_descent_diverges_where_the_warning_says_and_nowhere_else():
    lr, strength = 0.1, 5.0
    edge = 1 / (lr * strength)  # 2 lr c Omega = 2
    # the distance is multiplied by 1 - 2 lr c Omega every step: 0.98**200 and 1.02**200
    assert pulled(lr, strength, 0.99 * edge) == pytest.approx(0.98**200, rel=1e-9)
    with pytest.warns(UserWarning, match=r"weight: 2 x lr x strength x importance reaches 2\.02"):
        far = pulled(lr, strength, 1.01 * edge)
    assert far == pytest.approx(1.02**200, rel=1e-9)
    # at the ceiling that the warning names nothing is lost and nothing won
    assert pulled(lr, strength, 1e6, ceiling=edge) == pytest.approx(1.0, rel=1e-9)
    assert pulled(lr, strength, 1e6, ceiling=0.99 * edge) < 0.1


@pytest.mark.parametrize(("nesterov", "edge"), [(False, 3.8), (True, 3.8 / 2.8)])
def test_momentum_diverges_where_the_warning_says(nesterov, edge):
    """The bounds 2 (1 + b) and 2 (1 + b) / (1 + 2 b), at b = 0.9 and lr = strength = 1."""
    options = {"momentum": 0.9, "nesterov": nesterov, "steps": 3000}
    with pytest.warns(
        UserWarning, match=rf"diverges(?! above).* a ceiling of {min(edge, 2) / 2:.4g}"
    ):
        assert pulled(1.0, 1.0, 0.5 * 1.01 * edge, **options) > 1e6
    if nesterov:
        assert pulled(1.0, 1.0, 0.5 * 0.99 * edge, **options) < 1e-6
    else:  # every step overshoots there
        with pytest.warns(UserWarning, match=r"> 2, .* diverges above 3\.8;"):
            assert pulled(1.0, 1.0, 0.5 * 0.99 * edge, **options) < 1e-6


def test_optimisers_without_a_rate_are_not_warned_of():
    class Own(torch.optim.Optimizer):
        def __init__(self, parameters):
            super().__init__(parameters, {})

    model, penalty = one_weight(0.0), QuadraticPenalty(1e6)
    penalty.attach(Own(model.parameters()))
    penalty.consolidate({"weight": torch.ones(1, 1, dtype=F64)}, model)


def test_sparse_gradients_become_dense_as_they_do_in_the_loss():
    ended = []
    for way in ("in the loss", "attached"):
        torch.manual_seed(0)
        model, penalty = nn.Embedding(5, 2, sparse=True, dtype=F64), QuadraticPenalty(0.5)
        optimizer = SGD(model.parameters(), lr=0.1)
        if way == "attached":
            penalty.attach(optimizer)
        penalty.consolidate(importance(model), model)
        for word in range(3):
            optimizer.zero_grad()
            loss = model(torch.tensor([word])).square().sum()
            (loss if way == "attached" else loss + penalty(model)).backward()
            optimizer.step()
        ended.append(model.weight)
    torch.testing.assert_close(*ended, rtol=1e-14, atol=0)


def test_every_layer_is_warned_of_once_when_attached_and_when_consolidated():
    model, penalty = nn.Sequential(one_weight(0.0), one_weight(0.0)), QuadraticPenalty(1.0)
    big, small = (torch.full((1, 1), x, dtype=F64) for x in (20.0, 1.0))
    penalty.consolidate({"0.weight": big, "1.weight": small}, model)
    optimizer = SGD(model.parameters(), lr=0.1)
    with pytest.warns(UserWarning, match=r"0\.weight: .* reaches 4 > 2") as told:
        penalty.attach(optimizer)
    assert len(told) == 1
    penalty.consolidate({"0.weight": big, "1.weight": small}, model)  # said already
    with pytest.warns(UserWarning, match=r"1\.weight: .* or give a ceiling of 10 or less") as told:
        penalty.consolidate({"0.weight": big, "1.weight": big}, model)
    assert len(told) == 1


def test_optimisers_that_rescale_gradients_are_not_warned_of():
    for case in STEPPING:
        task = problem(case.kind)
        optimizer, penalty = case.build(task), QuadraticPenalty(1e6)
        omega = importance(task.model)
        penalty.attach(optimizer)
        if case.name in {"sgd", "presynaptic"}:
            with pytest.warns(UserWarning, match="training diverges"):
                penalty.consolidate(omega, task.model)
        else:
            penalty.consolidate(omega, task.model)


def test_two_optimisers_of_one_model_each_pull_their_own():
    task, once = problem("mlp"), problem("mlp")
    pair = [SGD(list(task.model.parameters())[k::2], lr=0.1) for k in (0, 1)]
    single, penalty, other = (
        SGD(once.model.parameters(), lr=0.1), QuadraticPenalty(0.5), QuadraticPenalty(0.5),
    )  # fmt: skip
    for optimizer in pair:
        penalty.attach(optimizer)
    other.attach(single)
    for one, mine in ((penalty, task), (other, once)):
        one.consolidate(importance(mine.model), mine.model)
    for _ in range(3):
        for mine, optimizers in ((task, pair), (once, [single])):
            for optimizer in optimizers:
                optimizer.zero_grad()
            mine.value().backward()
            for optimizer in optimizers:
                optimizer.step()
    assert bits(task.parameters()) == bits(once.parameters())


def test_a_run_goes_on_from_a_state_to_the_same_bits():
    task, again = problem("mlp"), problem("mlp")
    optimizer, resumed = (Adam(one.model.parameters(), lr=0.01) for one in (task, again))
    penalty, fresh = QuadraticPenalty(0.5, "separate"), QuadraticPenalty(0.5, "separate")
    penalty.attach(optimizer)
    fresh.attach(resumed, again.model)

    def step(one, by):
        by.zero_grad()
        one.value().backward()
        by.step()

    for number in range(4):
        step(task, optimizer)
        penalty.consolidate(importance(task.model, number), task.model)
    again.model.load_state_dict(copy.deepcopy(task.model.state_dict()))
    restore_optimizer(resumed, copy.deepcopy(optimizer.state_dict()))
    fresh.load_state_dict(penalty.state_dict())
    for number in range(4):
        for one, by, mine in ((task, optimizer, penalty), (again, resumed, fresh)):
            step(one, by)
            mine.consolidate(importance(one.model, number), one.model)
    assert bits(task.parameters()) == bits(again.parameters())
    assert bits(penalty.state_dict()) == bits(fresh.state_dict())


def test_frozen_parameters_are_left_alone_and_removed_penalties_too():
    task = problem("mlp")
    optimizer, penalty = SGD(task.model.parameters(), lr=0.1), QuadraticPenalty(0.5)
    attachment = penalty.attach(optimizer)
    penalty.consolidate(importance(task.model), task.model)
    first = task.model[0].weight
    with torch.no_grad():
        for p in task.model.parameters():
            p += 1.0
    first.requires_grad_(False)
    before = bits(first)
    optimizer.step()
    assert bits(first) == before
    attachment.remove()
    before = bits(task.parameters())
    optimizer.zero_grad()
    optimizer.step()
    assert bits(task.parameters()) == before


def test_an_optimiser_that_is_gone_is_forgotten():
    model = one_weight(0.0)
    optimizer, penalty = SGD(model.parameters(), lr=0.1), QuadraticPenalty(0.5)
    penalty.attach(optimizer)
    gone = weakref.ref(optimizer)
    del optimizer
    gc.collect()
    assert gone() is None
    penalty.attach(SGD(model.parameters(), lr=0.1))
    penalty.consolidate({"weight": torch.ones(1, 1, dtype=F64)}, model)
