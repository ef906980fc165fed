"""Synaptic intelligence where parameters, gradients and steps are not the ordinary ones."""

import pytest
import torch
from torch import nn

from sandbox.optim import FOOF
from sandbox.regularisers import SynapticIntelligence

F64 = torch.float64


def two_layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def push(model: nn.Module, optimizer: torch.optim.Optimizer, scale: float = 1.0) -> None:
    optimizer.zero_grad()
    (
        scale * model(torch.ones(2, 3, dtype=next(model.parameters()).dtype)).square().sum()
    ).backward()
    optimizer.step()


def test_only_what_is_trained_and_moved_is_followed():
    model = two_layers()
    model[0].bias.requires_grad_(False)
    foreign = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([model[0].weight, model[2].bias, model[0].bias, foreign], lr=0.1)
    tracker = SynapticIntelligence(model, optimizer)
    foreign.grad = torch.ones(3)
    push(model, optimizer)
    assert list(tracker.importance()) == ["0.weight", "2.bias"]
    model[0].bias.requires_grad_(True)
    optimizer.add_param_group({"params": [model[2].weight]})
    push(model, optimizer)
    assert list(tracker.path()) == ["0.weight", "2.bias"]
    tracker.begin()
    push(model, optimizer)
    assert list(tracker.path()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert all(value.abs().max() > 0 for value in tracker.path().values())


def test_a_parameter_frozen_on_the_way_stays_as_it_is():
    model = two_layers()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    tracker = SynapticIntelligence(model, optimizer, "sib")
    for frozen in (False, True):
        model[0].weight.requires_grad_(not frozen)
        before = tracker.path()["0.weight"]
        tracker.observe(model(torch.zeros(1, 3, dtype=F64)).sum())
        push(model, optimizer)
    assert torch.equal(tracker.path()["0.weight"], before)


@pytest.mark.parametrize("zeroed", [False, True])
def test_no_gradient_is_a_gradient_of_zero(zeroed):
    model = nn.ModuleDict({"a": nn.Linear(2, 1), "b": nn.Linear(2, 1)})
    nn.init.constant_(model["b"].weight, 3.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    path = SynapticIntelligence(model, optimizer)
    roots = SynapticIntelligence(model, optimizer, "sos", beta2=0.75)
    unbiased = SynapticIntelligence(model, optimizer, "siu")
    for name in ("b", "a", "a"):
        optimizer.zero_grad(set_to_none=not zeroed)
        unbiased.observe(model["a"](torch.ones(1, 2)).sum())
        model[name](torch.ones(1, 2)).sum().backward()
        optimizer.step()
    root = roots.importance()["b.weight"]
    torch.testing.assert_close(root, torch.full((1, 2), 0.75 * 0.5))  # sqrt(.75^2 x .25 x 1)
    torch.testing.assert_close(path.path()["b.weight"], torch.full((1, 2), 0.1))
    assert unbiased.path()["b.weight"].abs().max() == 0


def test_tied_weights_are_followed_once():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)).double()
    model[1].weight = model[0].weight
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    tracker = SynapticIntelligence(model, optimizer)
    before = model[0].weight.detach().clone()
    model(torch.ones(1, 2, dtype=F64)).sum().backward()
    optimizer.step()
    move = model[0].weight - before
    expected = -model[0].weight.grad * move
    assert list(tracker.path()) == ["0.weight"]
    torch.testing.assert_close(tracker.path()["0.weight"], expected.detach())


@pytest.mark.parametrize("variant", ["si", "siu", "sib", "sos"])
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float32, F64])
def test_sums_are_kept_in_float32_at_least(variant, kind):
    model = nn.Linear(3, 2).to(kind)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    tracker = SynapticIntelligence(model, optimizer, variant, alpha=float(variant == "sos"))
    wide = torch.promote_types(kind, torch.float32)
    sums = {name: torch.zeros_like(p, dtype=wide) for name, p in model.named_parameters()}
    for step in range(20):
        start = {name: p.detach().to(wide, copy=True) for name, p in model.named_parameters()}
        optimizer.zero_grad()
        model(torch.full((1, 3), 0.1 + 0.01 * step, dtype=kind)).square().sum().backward()
        loss = model(torch.full((1, 3), 0.2, dtype=kind)).square().sum()
        other = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
        if tracker.needs_independent:
            tracker.observe(loss)
        optimizer.step()
        for (name, p), h in zip(model.named_parameters(), other, strict=True):
            g, h = p.grad.to(wide), h.to(wide)
            if variant == "sos":
                sums[name] = 0.999 * sums[name] + 0.001 * (g - h) ** 2
            else:
                slope = {"si": g, "siu": h, "sib": g - h}[variant]
                sums[name] -= slope * (p.detach().to(wide) - start[name])
    for name, value in tracker.importance().items():
        assert value.dtype == kind
        if variant == "sos":
            # rounded to the parameters' type once, at the end
            torch.testing.assert_close(value, sums[name].sqrt().to(kind))
        else:
            assert tracker.path()[name].dtype == wide
            # some roundings of each of 20 additions
            torch.testing.assert_close(tracker.path()[name], sums[name], rtol=1e-4, atol=1e-6)


def test_sparse_gradients():
    torch.manual_seed(0)
    found = []
    table = torch.randn(5, 2)
    for sparse in (False, True):
        model = nn.Embedding(5, 2, sparse=sparse, _weight=table.clone())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        tracker = SynapticIntelligence(model, optimizer, "sib")
        for rows in ([0, 1, 1], [4, 1, 0]):
            optimizer.zero_grad()
            model(torch.tensor(rows)).square().sum().backward()
            tracker.observe(model(torch.tensor(rows[1:])).square().sum())
            tracker.observe(model(torch.tensor(rows[:1])).sum())
            optimizer.step()
        found.append(tracker.path()["weight"])
    torch.testing.assert_close(found[0], found[1])


def test_memory_formats_do_not_matter():
    torch.manual_seed(0)
    convolution = nn.Conv2d(2, 3, 2).double()
    found = []
    for form in (torch.contiguous_format, torch.channels_last):
        model = nn.Conv2d(2, 3, 2).double()
        model.load_state_dict(convolution.state_dict())
        model = model.to(memory_format=form)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        tracker = SynapticIntelligence(model, optimizer)
        for _ in range(3):
            optimizer.zero_grad()
            images = torch.linspace(-1, 1, 32, dtype=F64).reshape(1, 2, 4, 4)
            model(images.to(memory_format=form)).square().sum().backward()
            optimizer.step()
        found.append(tracker.importance()["weight"])
    torch.testing.assert_close(found[0], found[1])


def test_observing_leaves_gradients_alone_and_frees_the_graph():
    model = two_layers()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    tracker = SynapticIntelligence(model, optimizer, "siu")
    loss = model(torch.ones(1, 3, dtype=F64)).square().sum()
    tracker.observe(loss)
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()


def test_a_step_that_an_optimiser_leaves_out_counts_as_none():
    model = two_layers()
    optimizer = FOOF(model, 0.1, 1.0, nonfinite="skip")
    trackers = [
        SynapticIntelligence(model, optimizer, "sib"),
        SynapticIntelligence(model, optimizer, "siu"),
        SynapticIntelligence(model, optimizer, "sos"),
    ]
    found = []
    for scale in (1.0, float("nan"), 1.0):
        for tracker in trackers[:2]:
            model.eval()
            tracker.observe(model(torch.zeros(1, 3, dtype=F64)).sum())
            model.train()
        push(model, optimizer, scale)
        found.append([tracker.importance(clamp=False) for tracker in trackers])
    for first, second, third in zip(*found, strict=True):
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert not all(torch.equal(second[name], third[name]) for name in first)


def test_importance_that_is_not_finite_is_refused_by_name():
    model = two_layers()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for variant in ("si", "sos"):
        tracker = SynapticIntelligence(model, optimizer, variant)
        push(model, optimizer)
        tracker.importance()
        model[2].bias.grad[1] = float("inf")
        optimizer.step()
        with pytest.raises(ValueError, match=r"the importance of '2.bias' is not finite"):
            tracker.importance()
        with torch.no_grad():
            model[2].bias.fill_(0.0)
        tracker.begin()
        push(model, optimizer)
        assert torch.cat([v.flatten() for v in tracker.importance().values()]).isfinite().all()


@pytest.mark.parametrize("fused", [False, True])
def test_scaled_gradients(fused):
    found = []
    for scaled in (False, True):
        model = two_layers().float()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=fused)
        tracker = SynapticIntelligence(model, optimizer, "sib")
        scaler = torch.amp.GradScaler("cpu", init_scale=256.0, enabled=scaled)
        for size in (1.0, float("inf"), 0.5):
            optimizer.zero_grad()
            tracker.discard()
            outputs = model(torch.ones(2, 3))
            if scaled or size < 10:
                scaler.scale(size * outputs.square().sum()).backward()
                tracker.observe(outputs.new_ones(1) @ model(torch.ones(1, 3)).sum(1))
                scaler.unscale_(optimizer)
                scaler.step(optimizer)
                scaler.update()
        found.append(tracker.importance(clamp=False))
    for name, value in found[0].items():
        # the scale is a power of two
        torch.testing.assert_close(found[1][name], value, rtol=1e-6, atol=1e-9)


def test_an_optimiser_that_unscales_by_itself_hides_the_gradient():
    model = two_layers().float()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=True)
    tracker = SynapticIntelligence(model, optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    scaler.scale(model(torch.ones(2, 3)).sum()).backward()
    with pytest.raises(RuntimeError, match=r"call scaler.unscale_\(optimizer\) before"):
        scaler.step(optimizer)
    tracker.remove()
