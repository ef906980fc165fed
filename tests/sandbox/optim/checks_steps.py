"""Checks of what a step is given, does and leaves alone."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.lr_scheduler import StepLR

from tests.sandbox.optim.cases import Case
from tests.sandbox.optim.contract import (
    check,
    close,
    differ,
    frozen,
    moved,
    refused,
    run,
    same_bits,
    start,
    step,
)
from tests.sandbox.optim.problems import problem


@check
def a_closure_gives_the_loss(case: Case) -> None:
    """What a closure returned is returned; one that is missing or unsupported is refused."""
    task, optimizer = start(case)
    for _ in range(case.patience - 1):
        step(case, task, optimizer)
    before, loss = task.parameters(), task.value().item()
    if case.closure != "none":
        got = step(case, task, optimizer)
        with refused("closure = None"):
            frozen(case, task, optimizer, optimizer.step)
            optimizer.step()
    else:

        def closure():
            optimizer.zero_grad()
            value = task.value()
            value.backward()
            return value

        if case.before is not None:
            case.before(optimizer, task)
        got = optimizer.step(closure)
    assert got is not None, "the loss is not returned"
    got = float(torch.as_tensor(got).detach())
    assert abs(got - loss) <= 1e-12, f"{got} is not the loss {loss}"
    assert differ(task.parameters(), before), "nothing moved"


@check
def one_step_lowers_the_loss(case: Case) -> None:
    """On every kind of network."""
    for kind in case.kinds:
        task, optimizer = start(case, kind)
        before = task.value().item()
        for _ in range(case.patience):
            step(case, task, optimizer)
        after = task.value().item()
        assert after < before, f"{kind}: {before} -> {after}"


@check
def groups_have_their_own_rate(case: Case) -> None:
    """A group whose rate is trebled takes a step three times as long, the others do not."""
    updates, owned = [], []
    for factor in (1, 3):
        task = problem(case.kind)
        optimizer = case.groups(task)
        for _ in range(case.patience - 1):
            step(case, task, optimizer)
        optimizer.param_groups[-1]["lr"] *= factor
        before = task.parameters()
        step(case, task, optimizer)
        mine = {id(p) for p in optimizer.param_groups[-1]["params"]}
        owned = [id(p) in mine for p in task.model.parameters()]
        updates.append(moved(task.parameters(), before))
    assert 0 < sum(owned) < len(owned), "one group has all parameters"
    factors = [3.0 if own else 1.0 for own in owned]
    close(updates[1], [f * u for f, u in zip(factors, updates[0], strict=True)], 1e-9)


@check
def groups_can_be_added(case: Case) -> None:
    """A parameter added later moves as if it had been there."""
    whole = problem(case.kind)
    optimizer = case.groups(whole)
    for _ in range(case.patience):
        step(case, whole, optimizer)
    task = problem(case.kind)
    last = list(task.model.parameters())[-1]
    optimizer = case.without(task, last)
    optimizer.add_param_group({"params": [last]})
    assert any(p is last for group in optimizer.param_groups for p in group["params"])
    for _ in range(case.patience):
        step(case, task, optimizer)
    close(task.parameters(), whole.parameters(), 1e-12)


@check
def maximize_goes_the_other_way(case: Case) -> None:
    """By the same step."""
    plain, _ = run(case, case.patience)
    up, _ = run(case, case.patience, maximize=True)
    origin = problem(case.kind).parameters()
    wanted = [-u for u in moved(plain.parameters(), origin)]
    close(moved(up.parameters(), origin), wanted, 1e-12)


@check
def weight_decay_is_decoupled(case: Case) -> None:
    """Without a gradient, weights shrink by 1 - lr x decay a step, and nothing remembers it."""
    task, optimizer = start(case, weight_decay=case.decay)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    factors = [(1 - case.decay * rates[id(p)]) ** 2 for p in task.model.parameters()]
    before = task.parameters()
    for _ in range(2):
        step(case, task, optimizer, scale=0.0)
    close(task.parameters(), [f * p for f, p in zip(factors, before, strict=True)], 1e-13)


@check
def gradients_stay_as_they_are(case: Case) -> None:
    """A step reads ``grad`` and leaves it alone, with decay and momentum too."""
    for overrides in ({}, {} if case.decay is None else {"weight_decay": case.decay}):
        task, optimizer = start(case, **overrides)
        kept = []

        def keep(task=task, kept=kept):
            kept[:] = [p.grad.clone() for p in task.model.parameters()]

        for _ in range(case.patience + 1):
            step(case, task, optimizer, between=keep)
            found = [p.grad for p in task.model.parameters()]
            if case.closure == "outputs":
                assert all(g is None for g in found)
            else:
                same_bits(found, kept, "the gradient")


@check
def parameters_without_a_gradient_stay(case: Case) -> None:
    """Frozen ones and those that the loss does not reach, while the others move."""
    task = problem(case.spare)
    first = task.model.used[0]
    first.weight.requires_grad_(False)
    first.bias.requires_grad_(False)
    optimizer = case.build(task)
    before = task.parameters()
    for _ in range(case.patience + 2):
        step(case, task, optimizer)
    names = [name for name, _ in task.model.named_parameters()]
    for name, change in zip(names, moved(task.parameters(), before), strict=True):
        still = name.startswith(("used.0", "spare"))
        assert bool((change == 0).all()) == still, f"{name} {'moved' if still else 'stayed'}"


@check
def hooks_run(case: Case) -> None:
    """Those before and after a step, once each and in this order."""
    task, optimizer = start(case)
    seen = []
    first = optimizer.register_step_pre_hook(lambda *a: seen.append("before"))
    second = optimizer.register_step_post_hook(lambda *a: seen.append("after"))
    step(case, task, optimizer)
    assert seen == ["before", "after"], seen
    first.remove(), second.remove()
    step(case, task, optimizer)
    assert len(seen) == 2


@check
def clipping_composes(case: Case) -> None:
    """Clipping between backward and step is a step with gradients multiplied by hand."""
    results = {}
    for way in ("not", "clip", "hand"):
        task, optimizer = run(case, case.patience)
        parameters = list(task.model.parameters())

        def between(way=way, parameters=parameters):
            norm = sum(float(p.grad.square().sum()) for p in parameters) ** 0.5
            if way == "clip":
                nn.utils.clip_grad_norm_(parameters, norm / 4)
            if way == "hand":
                for p in parameters:
                    p.grad = p.grad * (norm / 4) / (norm + 1e-6)

        step(case, task, optimizer, between=between)
        results[way] = task.parameters()
    close(results["clip"], results["hand"], 1e-12)
    assert differ(results["not"], results["clip"]), "clipping makes no difference"


@check
def loss_scaling_composes(case: Case) -> None:
    """With a gradient scaler, whose scale is a power of two, the step is the same."""
    plain, _ = run(case, case.patience + 1)
    task, optimizer = start(case)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for _ in range(case.patience + 1):
        if case.before is not None:
            case.before(optimizer, task)
        optimizer.zero_grad()
        scaler.scale(task.value()).backward()
        scaler.step(optimizer)
        scaler.update()
    close(task.parameters(), plain.parameters(), 1e-12)


@check
def two_halves_are_the_whole_batch(case: Case) -> None:
    """Gradients accumulated over two halves of a batch make the step of the whole."""
    whole, optimizer = start(case)
    halves, other = start(case)
    for _ in range(case.patience + 2):
        step(case, whole, optimizer)
        step(case, halves, other, parts=2)
    close(halves.parameters(), whole.parameters(), 1e-11)


@check
def schedulers_reach_the_rate(case: Case) -> None:
    """Halving the rate halves the step that follows."""
    updates = []
    for gamma in (1.0, 0.5):
        task, optimizer = start(case)
        schedule = StepLR(optimizer, step_size=case.patience, gamma=gamma)
        for _ in range(case.patience):
            step(case, task, optimizer)
            schedule.step()
        before = task.parameters()
        step(case, task, optimizer)
        updates.append(moved(task.parameters(), before))
    close(updates[1], [u / 2 for u in updates[0]], 1e-9)


@check
def the_name_is_shown(case: Case) -> None:
    """``repr`` names the class and the rate."""
    _, optimizer = start(case)
    assert type(optimizer).__name__ in repr(optimizer)
    assert "lr" in repr(optimizer)
