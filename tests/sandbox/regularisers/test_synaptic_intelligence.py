"""Synaptic intelligence against recorded numbers, enumeration and its definition."""

from itertools import combinations, product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sandbox.regularisers import SynapticIntelligence
from sandbox.regularisers._step_watch import step_watch
from tests.sandbox.regularisers.tiny_net import (
    ANCHOR,
    BATCHES,
    DEVICES,
    F64,
    INPUTS,
    LABELS,
    LEARNING_RATE,
    MOMENTS,
    OLD_IMPORTANCE,
    PATHS,
    PENALISED_PATHS,
    STRENGTH,
    XI,
    flat,
    named,
    tiny_net,
    vector,
)

FAMILY = ("si", "siu", "sib")


def loss_of(model: nn.Module, rows: list[int]) -> Tensor:
    device = model[0].weight.device
    return cross_entropy(model(INPUTS[rows].to(device)), LABELS[rows].to(device))


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)


def train(model, optimizer, tracker, batches=BATCHES) -> None:
    for rows, others in batches:
        optimizer.zero_grad()
        loss_of(model, rows).backward()
        if tracker.needs_independent:
            tracker.observe(loss_of(model, others))
        optimizer.step()


def add_penalty(model, optimizer, device="cpu"):
    """Attach the recorded penalty to an optimiser."""
    importance, anchor = named(OLD_IMPORTANCE, device), named(ANCHOR, device)

    def add() -> None:
        for name, p in model.named_parameters():
            p.grad.add_(2 * STRENGTH * importance[name] * (p.detach() - anchor[name]))

    return step_watch(optimizer).join_penalty(add)


def close(mine: Tensor, recorded: list[float] | Tensor) -> None:
    """Compare to 1e-12: three steps in float64 round by some 1e-16 of numbers below 1."""
    expected = recorded if isinstance(recorded, Tensor) else vector(recorded)
    torch.testing.assert_close(mine, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("variant", FAMILY)
def test_recorded_paths_and_importances(variant, device):
    model = tiny_net(device)
    optimizer = adam(model)
    tracker = SynapticIntelligence(model, optimizer, variant, XI)
    train(model, optimizer, tracker)
    close(flat(dict(model.named_parameters())), PATHS["end"])
    close(flat(tracker.path()), PATHS[variant])
    close(flat(tracker.importance()), PATHS[f"omega {variant}"])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("alpha", [0, 1])
def test_recorded_second_moments(alpha, device):
    model = tiny_net(device)
    optimizer = adam(model)
    tracker = SynapticIntelligence(model, optimizer, "sos", alpha=alpha)
    train(model, optimizer, tracker)
    found = tracker.importance()
    close(flat(found), PATHS[f"sos {alpha}"])
    assert found.keys() == tracker.importance(clamp=False, normalise=False).keys()
    torch.testing.assert_close(tracker.importance(normalise=False), found, rtol=0, atol=0)
    if alpha == 0:  # what Adam itself keeps
        kept = {name: optimizer.state[p]["exp_avg_sq"] for name, p in model.named_parameters()}
        close(flat(found) ** 2, flat(kept))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("penalty_first", [False, True])
@pytest.mark.parametrize("gradient", ["task", "total"])
def test_recorded_paths_under_a_penalty(gradient, penalty_first, device):
    model = tiny_net(device)
    optimizer = adam(model)
    if penalty_first:
        add_penalty(model, optimizer, device)
    tracker = SynapticIntelligence(model, optimizer, xi=XI, gradient=gradient)
    if not penalty_first:
        add_penalty(model, optimizer, device)
    train(model, optimizer, tracker)
    close(flat(dict(model.named_parameters())), PENALISED_PATHS["end"])
    key = {"task": "si", "total": "si of the total gradient"}[gradient]
    close(flat(tracker.path()), PENALISED_PATHS[key])


def test_the_parts_make_the_whole_and_importance_is_as_defined():
    model = tiny_net()
    optimizer = adam(model)
    add_penalty(model, optimizer)
    start = flat(dict(model.named_parameters()))
    trackers = {v: SynapticIntelligence(model, optimizer, v, 0.03) for v in FAMILY}
    for rows, others in BATCHES:
        optimizer.zero_grad()
        loss_of(model, rows).backward()
        trackers["siu"].observe(loss_of(model, others))
        trackers["sib"].observe(loss_of(model, others))
        optimizer.step()
    paths = {v: flat(tracker.path()) for v, tracker in trackers.items()}
    close(paths["si"], paths["siu"] + paths["sib"])
    way = (flat(dict(model.named_parameters())) - start) ** 2
    assert any((path < 0).any() for path in paths.values())
    for variant, tracker in trackers.items():
        path = paths[variant]
        close(flat(tracker.importance()), path.clamp_min(0) / (way + 0.03))
        close(flat(tracker.importance(clamp=False)), path / (way + 0.03))
        close(flat(tracker.importance(normalise=False)), path.clamp_min(0))
        close(flat(tracker.importance(clamp=False, normalise=False)), path)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_bias_over_all_batches_of_gradient_descent(size):
    """E[SI] - E[SIU] = variance / b times the finite-population factor, for every weight."""
    rate = 0.1
    every = [list(rows) for rows in combinations(range(4), size)]
    sums: dict[str, Tensor] = {}
    for rows, others in product(every, every):
        model = tiny_net()
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        trackers = [SynapticIntelligence(model, optimizer, v) for v in FAMILY]
        trackers.append(SynapticIntelligence(model, optimizer, "sos", alpha=1.0, beta2=0.5))
        loss_of(model, rows).backward()
        for tracker in trackers[1:]:
            tracker.observe(loss_of(model, others))
        optimizer.step()
        for tracker in trackers[:-1]:
            found = flat(tracker.path()) / rate / len(every) ** 2
            sums[tracker.variant] = sums.get(tracker.variant, torch.zeros(24, dtype=F64)) + found
        squared = flat(trackers[-1].importance()) ** 2 / 0.5 / len(every) ** 2
        sums["sos"] = sums.get("sos", torch.zeros(24, dtype=F64)) + squared
    factor = (4 - size) / (size * 3)
    variance = vector(MOMENTS["variance"])
    close(sums["siu"], vector(MOMENTS["mean squared"]))
    close(sums["si"] - sums["siu"], factor * variance)
    close(sums["sib"], factor * variance)
    close(sums["sos"], 2 * factor * variance)


@given(
    rate=st.floats(1e-3, 1.0),
    slopes=st.lists(st.floats(-3, 3), min_size=1, max_size=6),
    xi=st.floats(1e-3, 10.0),
)
def test_on_a_linear_loss_the_path_is_the_loss_drop(rate, slopes, xi):
    model = nn.Linear(1, 1, bias=False, dtype=F64)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.5)
    tracker = SynapticIntelligence(model, optimizer, xi=xi)
    drop = 0.0
    for slope in slopes:
        before = model.weight.item()
        optimizer.zero_grad()
        (slope * model.weight).sum().backward()
        optimizer.step()
        drop += slope * (before - model.weight.item())
    assert tracker.path()["weight"].item() == pytest.approx(drop, rel=1e-9, abs=1e-12)
    assert tracker.importance()["weight"].item() >= 0


def test_accumulated_gradients_are_those_of_the_whole_batch():
    found = []
    for parts in (([0, 1, 2, 3],), ([0, 1], [2, 3])):
        model = tiny_net()
        optimizer = adam(model)
        trackers = [SynapticIntelligence(model, optimizer, v) for v in FAMILY]
        trackers.append(SynapticIntelligence(model, optimizer, "sos", alpha=0.7))
        for _ in range(3):
            optimizer.zero_grad()
            for rows in parts:
                (loss_of(model, rows) / len(parts)).backward()
                others = [row // 2 for row in rows]
                for tracker in trackers[1:]:
                    tracker.observe(loss_of(model, others) / len(parts))
            optimizer.step()
        found.append([flat(tracker.importance(clamp=False)) for tracker in trackers])
    for whole, halves in zip(*found, strict=True):
        close(halves, whole)


def test_a_task_begins_at_the_weights_as_they_are():
    model = tiny_net()
    optimizer = adam(model)
    tracker = SynapticIntelligence(model, optimizer, "sib", XI)
    train(model, optimizer, tracker)
    tracker.observe(loss_of(model, [0]))
    tracker.begin()
    here = flat(dict(model.named_parameters()))
    with pytest.raises(RuntimeError, match="no independent batch was observed"):
        optimizer.step()
    close(flat(dict(model.named_parameters())), here)
    fresh = SynapticIntelligence(model, optimizer, "sib", XI)
    for rows, others in BATCHES:
        optimizer.zero_grad()
        loss_of(model, rows).backward()
        tracker.observe(loss_of(model, others))
        fresh.observe(loss_of(model, others))
        optimizer.step()
    for name, value in tracker.importance().items():
        assert torch.equal(value, fresh.importance()[name])
    way = (flat(dict(model.named_parameters())) - here) ** 2
    close(flat(tracker.importance()), flat(tracker.path()).clamp_min(0) / (way + XI))


def test_removed_it_sees_no_more():
    model = tiny_net()
    optimizer = adam(model)
    tracker = SynapticIntelligence(model, optimizer)
    train(model, optimizer, tracker)
    kept = tracker.path()
    tracker.remove()
    tracker.remove()
    assert not optimizer._optimizer_step_pre_hooks
    train(model, optimizer, tracker)
    for name, value in tracker.path().items():
        assert torch.equal(value, kept[name])
