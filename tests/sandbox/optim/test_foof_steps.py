"""FOOF as an optimiser: momentum, decay, fallback, saved states, copies, precision."""

import copy
import gc
import io
import pickle

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sandbox.optim import FOOF
from tests.sandbox.optim.foof_problems import (
    DEVICES,
    DOUBLE,
    INPUTS,
    LABELS,
    close,
    descend,
    flat,
    images,
    network,
)


def test_momentum_is_that_of_raw_gradients():
    model = nn.Linear(3, 2, bias=False).to(DOUBLE)
    optimizer = FOOF(model, 0.1, 0.3, momentum=0.9, weight_decay=0.02, maximize=True)
    weight, buffer = model.weight.detach().clone(), torch.zeros(2, 3, dtype=DOUBLE)
    inverse = torch.linalg.inv(INPUTS.T @ INPUTS / 4 + 0.3 * torch.eye(3, dtype=DOUBLE))
    for _ in range(4):
        optimizer.zero_grad()
        model(INPUTS).square().sum().backward()
        buffer = 0.9 * buffer + model.weight.grad
        optimizer.step()
        weight = (1 - 0.1 * 0.02) * weight + 0.1 * buffer @ inverse
        close(model.weight, weight)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_the_fallback_is_torchs_own(kind):
    settings = {"lr": 0.05, "weight_decay": 0.1}
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 3)).to(DOUBLE)
    twin = copy.deepcopy(model)
    if kind == "sgd":
        settings = {"lr": 0.05, "momentum": 0.9}
        other = torch.optim.SGD(twin[1].parameters(), **settings)
    else:
        other = torch.optim.AdamW(twin[1].parameters(), **settings, betas=(0.8, 0.9), eps=1e-6)
        settings |= {"betas": (0.8, 0.9), "eps": 1e-6}
    optimizer = FOOF(model, 0.0, 0.3, fallback={"optimizer": kind, **settings})
    for _ in range(5):
        for net, steps in ((model, optimizer), (twin, other)):
            net.zero_grad()
            cross_entropy(net(INPUTS), LABELS).backward()
            steps.step()
    close(flat(model), flat(twin))


def test_later_groups_are_trained_by_the_fallback():
    model = nn.Linear(3, 2).to(DOUBLE)
    extra = nn.Parameter(torch.ones(2, dtype=DOUBLE))
    optimizer = FOOF(model, 0.1, 0.3)
    with pytest.raises(ValueError, match="there is no fallback"):
        optimizer.add_param_group({"params": [extra]})
    optimizer.add_param_group({"params": [extra], "optimizer": "sgd", "lr": 0.5})
    (model(INPUTS).sum() + extra.sum()).backward()
    optimizer.step()
    close(extra, [0.5, 0.5])
    with pytest.raises(ValueError, match="layers are found when the optimiser is made"):
        optimizer.add_param_group({"params": [extra], "covariance": True})
    with pytest.raises(ValueError, match="fallback has speed: known are"):
        optimizer.add_param_group({"params": [extra], "lr": 0.5, "optimizer": "sgd", "speed": 1})


@pytest.mark.parametrize("own", [None, False])
def test_the_fallback_ascends_too_unless_it_is_told_not_to(own):
    model = nn.Linear(3, 2).to(DOUBLE)
    settings = {"lr": 0.5} if own is None else {"lr": 0.5, "maximize": own}
    optimizer = FOOF(model, 0.1, 0.3, maximize=True, bias="fallback", fallback=settings)
    before = [p.detach().clone() for p in model.parameters()]
    model(INPUTS).sum().backward()
    optimizer.step()
    pairs = zip(model.parameters(), before, strict=True)
    gained = [float(((p.detach() - old) * p.grad).sum()) for p, old in pairs]
    assert gained[0] > 0
    assert gained[1] == pytest.approx((-1 if own is False else 1) * 0.5 * 2 * 4**2)


def test_layers_without_gradient_stay_and_join_later():
    model = nn.ModuleList([nn.Linear(3, 2).to(DOUBLE), nn.Linear(3, 2).to(DOUBLE)])
    optimizer = FOOF(model, 0.1, 0.3, T=10)
    still = model[1].weight.detach().clone()
    for head in (0, 0, 1):
        optimizer.zero_grad()
        model[head](INPUTS).square().sum().backward()
        if head:
            assert torch.equal(model[1].weight, still)
        optimizer.step()
    assert not torch.equal(model[1].weight, still)
    assert set(optimizer.inverses) == {"0", "1"}


def test_a_frozen_bias_or_weight_stays():
    model = nn.Linear(3, 2).to(DOUBLE)
    optimizer = FOOF(model, 0.1, 0.3)
    kept = model.weight.detach().clone()
    model(INPUTS).square().sum().backward()
    model.weight.grad = None
    slope = model.bias.grad.clone()
    before = model.bias.detach().clone()
    optimizer.step()
    assert torch.equal(model.weight, kept)
    inverse = optimizer.inverses[""]["input"]
    close(before - model.bias, 0.1 * slope * inverse[3, 3])


@pytest.mark.parametrize("side", ["gradient", "activation"])
def test_a_step_leaves_the_gradient_alone(side):
    model = network()
    optimizer = FOOF(model, 0.1, 0.3, momentum=0.9, weight_decay=0.1, T=1, side=side)
    for i in range(2):
        inputs, labels = images(i)
        optimizer.zero_grad()
        cross_entropy(model(inputs), labels).backward()
        kept = [p.grad.clone() for p in model.parameters()]
        optimizer.step()
        assert all(torch.equal(p.grad, k) for p, k in zip(model.parameters(), kept, strict=True))


def test_a_closure_computes_the_gradients():
    model, plain = network(), network()
    optimizer, other = FOOF(model, 0.1, 0.3), FOOF(plain, 0.1, 0.3)
    inputs, labels = images()

    def closure():
        optimizer.zero_grad()
        loss = cross_entropy(model(inputs), labels)
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    descend(plain, other, 1)
    assert loss.item() > 0
    assert torch.equal(flat(model), flat(plain))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("side", ["gradient", "activation"])
def test_a_resumed_run_is_the_same_bit_for_bit(side, dtype, device):
    def made():
        model = network(device, dtype)
        return model, FOOF(
            model, 0.1, 0.3, T=4, S=2, momentum=0.9, bias="fallback", side=side,
            fallback={"optimizer": "adamw", "lr": 0.01},
        )  # fmt: skip

    how = {"device": device, "dtype": dtype}
    model, optimizer = made()
    descend(model, optimizer, 7, **how)
    kept = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, kept)
    descend(model, optimizer, 6, **how)
    kept.seek(0)
    saved = torch.load(kept, weights_only=True)
    other, resumed = made()
    other.load_state_dict(saved["model"])
    resumed.load_state_dict(saved["optimizer"])
    assert resumed.steps == 7
    for own in resumed.averages.values():
        assert own["input"].total.dtype == dtype
    descend(other, resumed, 6, **how)
    assert torch.equal(flat(model), flat(other))


def test_a_state_saved_between_backward_and_step_is_whole():
    (model, twin), optimizers = (network(), network()), []
    for net in (model, twin):
        optimizers.append(FOOF(net, 0.1, 0.3, T=2, S=2))
    descend(model, optimizers[0], 1)
    inputs, labels = images()
    optimizers[0].zero_grad()
    cross_entropy(model(inputs), labels).backward()
    twin.load_state_dict(model.state_dict())
    optimizers[1].load_state_dict(copy.deepcopy(optimizers[0].state_dict()))
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        q.grad = p.grad.clone()
    for optimizer in optimizers:
        optimizer.step()
    descend(model, optimizers[0], 2)
    descend(twin, optimizers[1], 2)
    assert torch.equal(flat(model), flat(twin))


def test_a_deep_copy_is_a_run_of_its_own():
    model = network()
    optimizer = FOOF(model, 0.1, 0.3, T=2, momentum=0.5)
    descend(model, optimizer, 3)
    kept = flat(model)
    twin = copy.deepcopy(optimizer)
    assert twin.model is not model
    descend(twin.model, twin, 3)
    assert torch.equal(flat(model), kept)
    descend(model, optimizer, 3)
    assert torch.equal(flat(model), flat(twin.model))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_copy_leaves_the_scheduler_behind(copied):
    model = network()
    optimizer = FOOF(model, 0.1, 0.3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    descend(model, optimizer, 1)
    scheduler.step()
    twin, kept = copied(optimizer), flat(model)
    assert twin.param_groups[0]["lr"] == 0.05
    descend(twin.model, twin, 2)
    # the scheduler's wrapper around step is bound to the optimiser that it was made for
    assert torch.equal(flat(model), kept)
    descend(model, optimizer, 2)
    assert torch.equal(flat(model), flat(twin.model))


def test_models_and_optimisers_are_copied_together():
    model = network()
    pair = copy.deepcopy((model, FOOF(model, 0.1, 0.3)))
    assert pair[1].model is pair[0]
    descend(*pair, 2)
    assert set(pair[1].inverses) == {"0", "4", "6"}


def test_hooks_go_with_the_optimiser():
    model = network()
    optimizer = FOOF(model, 0.1, 0.3)
    descend(model, optimizer, 1)
    gc.disable()
    try:
        del optimizer
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    finally:
        gc.enable()
    optimizer = FOOF(model, 0.1, 0.3)
    optimizer.remove()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_reset_forgets_everything():
    model = network()
    optimizer = FOOF(model, 0.1, 0.3, momentum=0.9)
    descend(model, optimizer, 2)
    fresh = copy.deepcopy(network())
    fresh.load_state_dict(model.state_dict())
    other = FOOF(fresh, 0.1, 0.3, momentum=0.9)
    optimizer.reset()
    assert (optimizer.steps, optimizer.averages, dict(optimizer.state)) == (0, {}, {})
    descend(model, optimizer, 3)
    descend(fresh, other, 3)
    assert torch.equal(flat(model), flat(fresh))


def test_schedulers_clipping_and_step_hooks():
    model, plain = network(), network()
    optimizer, other = FOOF(model, 0.1, 0.3), FOOF(plain, 0.1, 0.3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    called = []
    optimizer.register_step_pre_hook(lambda *_: called.append("before"))
    optimizer.register_step_post_hook(lambda *_: called.append("after"))
    for i in range(2):
        inputs, labels = images(i)
        for net, steps in ((model, optimizer), (plain, other)):
            steps.zero_grad()
            cross_entropy(net(inputs), labels).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.1)
            steps.step()
        scheduler.step()
        other.param_groups[0]["lr"] *= 0.5
    assert called == ["before", "after"] * 2
    assert torch.equal(flat(model), flat(plain))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("side", ["gradient", "activation"])
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_mixed_precision_keeps_factors_in_float32(kind, side, device):
    ends = []
    for low in (True, False):
        model = network(device, torch.float32)
        optimizer = FOOF(model, 0.05, 0.5, T=2, S=2, side=side)
        scaler = torch.amp.GradScaler(device, enabled=low and kind == torch.float16)
        for i in range(3):
            inputs, labels = images(i, device=device, dtype=torch.float32)
            optimizer.zero_grad()
            with torch.autocast(device, dtype=kind, enabled=low):
                loss = cross_entropy(model(inputs).float(), labels)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        ends.append(flat(model))
        assert all(o["input"].total.dtype == torch.float32 for o in optimizer.averages.values())
    # bfloat16 has 8 bits; the weights are of order 0.1 and move by some 0.1
    torch.testing.assert_close(*ends, rtol=0.05, atol=0.01)


@pytest.mark.parametrize("side", ["gradient", "activation"])
def test_a_model_in_bfloat16_has_factors_in_float32(side):
    model = network(dtype=torch.bfloat16)
    optimizer = FOOF(model, 0.05, 0.5, T=2, side=side, momentum=0.5)
    descend(model, optimizer, 3, dtype=torch.bfloat16)
    assert all(p.dtype == torch.bfloat16 for p in model.parameters())
    assert all(o["input"].dtype == torch.float32 for o in optimizer.inverses.values())
    assert flat(model).isfinite().all()


def test_an_in_place_activation_changes_nothing():
    ends = []
    for inplace in (True, False):
        model = network(inplace=inplace)
        descend(model, FOOF(model, 0.1, 0.3, T=1), 3)
        ends.append(flat(model))
    assert torch.equal(*ends)


def test_memory_is_counted():
    model = nn.Linear(3, 2).to(DOUBLE)
    optimizer = FOOF(model, 0.1, 0.3)
    assert optimizer.memory_usage()["total"] == 0
    model(INPUTS).sum().backward()
    assert optimizer.memory_usage() == {
        "averages": 0,
        "pending": 128,
        "inverses": 0,
        "total": 128,
    }
    optimizer.step()
    assert optimizer.memory_usage()["total"] == 256
