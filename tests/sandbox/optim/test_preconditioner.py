"""The preconditioner of gradients, with optimisers of others."""

import copy
import logging
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sandbox.optim import FOOF, FOOFPreconditioner

DOUBLE = torch.float64
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
        ],
    ),
]


def network(device="cpu", dtype=DOUBLE):
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(12, 3)
    ).to(device, dtype)


def images(seed=0, device="cpu", dtype=DOUBLE):
    made = torch.randn(6, 1, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)
    return made.to(device, dtype), (torch.arange(6) % 3).to(device)


def flat(model):
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def descend(model, steps, count, *, before=None, clip=None, start=0, **how):
    for i in range(start, start + count):
        inputs, labels = images(i, **how)
        model.zero_grad()
        cross_entropy(model(inputs), labels).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        if before is not None:
            before.step()
        steps.step()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("side", ["gradient", "activation"])
@pytest.mark.parametrize("power", [0.5, 1.0])
def test_before_plain_descent_it_is_foof(power, side, device):
    model, twin = network(device), network(device)
    how = {"power": power, "T": 3, "S": 2, "side": side}
    pre = FOOFPreconditioner(model, 0.3, **how)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    descend(model, optimizer, 7, before=pre, device=device)
    descend(twin, FOOF(twin, 0.1, 0.3, fallback={"lr": 0.1}, **how), 7, device=device)
    torch.testing.assert_close(flat(model), flat(twin), rtol=1e-11, atol=1e-12)


def test_it_composes_with_clipping_schedulers_and_any_optimiser():
    model, twin = network(), network()
    pre, other = FOOFPreconditioner(model, 0.3), FOOF(twin, 1.0, 0.3, fallback={"lr": 1.0})
    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    wanted = torch.optim.Adam(twin.parameters(), lr=0.01)
    schedulers = [torch.optim.lr_scheduler.StepLR(o, 1, gamma=0.5) for o in (adam, wanted)]
    for i in range(4):
        inputs, labels = images(i)
        for net in (model, twin):
            net.zero_grad()
            cross_entropy(net(inputs), labels).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        pre.step()
        adam.step()
        # the other face says what the preconditioned gradient is: how far it would step
        kept = [p.detach().clone() for p in twin.parameters()]
        other.step()
        for p, old in zip(twin.parameters(), kept, strict=True):
            p.grad = old - p.detach()
            p.data.copy_(old)
        wanted.step()
        for scheduler in schedulers:
            scheduler.step()
    torch.testing.assert_close(flat(model), flat(twin), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("device", DEVICES)
def test_gradient_scaling_skips_what_overflows(device, caplog):
    model = network(device, torch.float32)
    pre = FOOFPreconditioner(model, 0.3, nonfinite="skip", T=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler(device, init_scale=16.0)
    for i in range(3):
        inputs, labels = images(i, device, torch.float32)
        optimizer.zero_grad()
        with torch.autocast(device, dtype=torch.float16):
            loss = cross_entropy(model(inputs).float(), labels)
        scaler.scale(loss * (math.inf if i == 1 else 1)).backward()
        scaler.unscale_(optimizer)
        kept = flat(model)
        with caplog.at_level(logging.WARNING, "sandbox.optim"):
            assert pre.step() == (i != 1)
        scaler.step(optimizer)
        scaler.update()
        assert torch.equal(flat(model), kept) == (i == 1)
    assert scaler.get_scale() == 8.0
    assert pre.steps == 2
    assert pre.averages["0"]["input"].total.dtype == torch.float32


def test_parameters_without_a_rule_keep_their_gradients():
    model = network()
    pre = FOOFPreconditioner(model, 0.3, bias="fallback", skip=["4"])
    inputs, labels = images()
    cross_entropy(model(inputs), labels).backward()
    kept = {name: p.grad.clone() for name, p in model.named_parameters()}
    assert pre.step()
    changed = {name for name, p in model.named_parameters() if not torch.equal(p.grad, kept[name])}
    assert changed == {"0.weight"}


def test_the_state_comes_back_bit_for_bit():
    model = network()
    pre = FOOFPreconditioner(model, 0.3, T=4, S=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    pre.damping = 0.7
    descend(model, optimizer, 7, before=pre)
    twin = copy.deepcopy(model)
    resumed = FOOFPreconditioner(twin, 0.3, T=4, S=2)
    resumed.load_state_dict(copy.deepcopy(pre.state_dict()))
    assert (resumed.damping, resumed.steps) == (0.7, 7)
    other = torch.optim.SGD(twin.parameters(), lr=0.1)
    descend(model, optimizer, 5, before=pre, start=7)
    descend(twin, other, 5, before=resumed, start=7)
    assert torch.equal(flat(model), flat(twin))
    assert resumed.memory_usage() == pre.memory_usage()


def test_copies_removal_and_reset():
    model = network()
    pre = FOOFPreconditioner(model, 0.3)
    twin = copy.deepcopy(pre)
    for each in (pre, twin):
        descend(each.model, torch.optim.SGD(each.model.parameters(), lr=0.1), 2, before=each)
    assert torch.equal(flat(model), flat(twin.model))
    pre.reset()
    assert (pre.steps, pre.averages, pre.inverses) == (0, {}, {})
    pre.observe(images()[0])
    assert set(pre.averages) == {"0", "4"}
    pre.remove()
    assert not model[0]._forward_hooks


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_raises_and_changes_nothing(value):
    model = network()
    pre = FOOFPreconditioner(model, 0.3)
    inputs, labels = images()
    cross_entropy(model(inputs), labels).backward()
    model[4].bias.grad[0] = value
    kept = model[0].weight.grad.clone()
    with pytest.raises(RuntimeError, match=r"the gradient of layer '4' \(Linear\) is not finite"):
        pre.step()
    assert torch.equal(model[0].weight.grad, kept)
    assert pre.steps == 0


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"damping": 0.0}, r"damping = 0.0: must be a finite number in \(0"),
        ({"power": -1}, "power = -1"),
        ({"T": 2, "S": 3}, "S = 3 > T = 2"),
        ({"model": nn.ReLU()}, "nothing to precondition"),
    ],
)
def test_settings_out_of_range_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        FOOFPreconditioner(**({"model": nn.Linear(2, 2), "damping": 0.3} | given))


def test_a_damping_may_not_be_set_to_what_no_inverse_has():
    model = nn.Linear(2, 2)
    pre = FOOFPreconditioner(model, 0.3, T=1)
    model(torch.ones(1, 2)).sum().backward()
    kept = model.weight.grad.clone()
    pre.damping = -1e-3
    with pytest.raises(ValueError, match=r"damping = -0\.001"):
        pre.step()
    assert torch.equal(model.weight.grad, kept)


def test_a_gradient_whose_inputs_were_not_seen_is_refused():
    model = nn.Linear(2, 2)
    pre = FOOFPreconditioner(model, 0.3)
    model.weight.grad = torch.ones(2, 2)
    with pytest.raises(RuntimeError, match="no input was seen in this step"):
        pre.step()
