"""Natural gradient descent: recorded numbers, a dense loop, limits, state, refusals."""

import copy
import gc
import itertools
import logging
import math
import pickle
import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from deeplinear.rules import CurvatureCorrection
from sandbox.optim import CurvatureCorrected
from sandbox.optim._input_watch import InputMemory
from sandbox.optim.fisher import SampledFisher
from sandbox.optim.kfac import KFAC
from sandbox.optim.natural import NaturalGradient
from tests.sandbox.optim.dense_fisher import (
    DEVICES,
    DRAWN,
    F64,
    RECORDED,
    TRUE,
    X,
    by_name,
    convolutional,
    dense,
    flat,
    multilayer,
    normal,
    reference,
    tiny,
)

VARIANTS = [(f, b) for f in ("sampled", "full") for b in ("full", "layer")]


def parameters(model):
    return [p.detach().clone() for p in model.parameters()]


def go(model, optimizer, inputs, targets):
    """One step as a training loop does it; return the changes of the parameters."""
    before = parameters(model)
    optimizer.zero_grad()
    cross_entropy(model(inputs), targets).backward()
    optimizer.step()
    return [p.detach() - b for p, b in zip(model.parameters(), before, strict=True)]


def batches(count, samples=6, width=4):
    return [
        (normal(samples, width, seed=10 + i), (torch.arange(samples) + i) % 3) for i in range(count)
    ]


def near(found, wanted, atol=1e-12):
    for part, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(part.detach().cpu(), other.detach().cpu(), rtol=0, atol=atol)


def with_labels(monkeypatch, labels):
    """Let these labels be drawn."""

    def drawn(outputs, likelihood, generator):
        chances = outputs.softmax(1)
        return (chances - nn.functional.one_hot(labels.to(outputs.device), 3))[None]

    monkeypatch.setattr("sandbox.network.output_gradients.sampled_columns", drawn)


# ------------------------------------------------------------------ what a step is


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("fisher", "blocks"), VARIANTS)
def test_a_step_matches_recorded_numbers(fisher, blocks, device, monkeypatch):
    with_labels(monkeypatch, DRAWN)
    network = tiny(device)
    optimizer = NaturalGradient(network, 0.5, 0.05, fisher=fisher, blocks=blocks)
    # the first step takes the Fisher matrix of its own batch
    found = go(network, optimizer, X.to(device), TRUE.to(device))
    wanted = [torch.tensor(part, dtype=F64) for part in RECORDED[fisher, blocks]]
    near([-2 * part for part in found], wanted)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("fisher", "blocks"), VARIANTS)
def test_a_run_matches_dense_matrices_of_the_previous_inputs(fisher, blocks, device):
    # F of the previous inputs at the weights after that step; momentum of raw gradients;
    # decay of the weights themselves
    lr, damping, momentum, decay = 0.3, 0.2, 0.7, 0.05
    model = multilayer().to(device)
    optimizer = NaturalGradient(
        model,
        lr,
        damping,
        fisher=fisher,
        blocks=blocks,
        momentum=momentum,
        weight_decay=decay,
        seed=4,
    )
    twin, buffer, previous = copy.deepcopy(model), 0, None
    generator = torch.Generator(device).manual_seed(4)
    for inputs, targets in batches(4):
        inputs, targets = inputs.to(device), targets.to(device)
        go(model, optimizer, inputs, targets)
        by = SampledFisher.of(
            twin,
            inputs if previous is None else previous,
            labels=fisher,
            generator=generator,
        )
        matrix = dense(by, blocks).to(device)
        loss = cross_entropy(twin(inputs), targets)
        gradient = torch.autograd.grad(loss, list(twin.parameters()))
        buffer = momentum * buffer + torch.cat([g.reshape(-1) for g in gradient])
        damped = matrix + damping * torch.eye(len(matrix), dtype=F64, device=device)
        step = torch.linalg.solve(damped, buffer)
        with torch.no_grad():
            for p, part in zip(
                twin.parameters(), step.split([p.numel() for p in twin.parameters()]), strict=True
            ):
                p.mul_(1 - lr * decay).sub_(lr * part.view(p.shape))
        previous = inputs
    near(model.parameters(), twin.parameters(), atol=1e-11)


def test_convolutions_take_dense_steps():
    model, inputs = convolutional(), normal(5, 2, 6, 8)
    optimizer = NaturalGradient(model, 1.0, 0.3, fisher="full")
    names = [name for name, _ in model.named_parameters()]
    matrix = reference(model, inputs, names)
    loss = cross_entropy(model(inputs), torch.arange(5) % 3)
    gradient = torch.cat([
        g.reshape(-1) for g in torch.autograd.grad(loss, list(model.parameters()))
    ])
    wanted = torch.linalg.solve(matrix + 0.3 * torch.eye(len(matrix), dtype=F64), gradient)
    found = go(model, optimizer, inputs, torch.arange(5) % 3)
    near([torch.cat([part.reshape(-1) for part in found])], [-wanted])


# ------------------------------------------------------------------ which inputs


def moved_by(model, vector, inputs, lr, damping):
    found = SampledFisher.of(model, inputs, labels="full").solve(vector, damping)
    return [-lr * found[name] for name, _ in model.named_parameters()]


def gradient_of(model, inputs, targets):
    model = copy.deepcopy(model)  # a backward pass of the model itself would count
    loss = cross_entropy(model(inputs), targets)
    names = [name for name, _ in model.named_parameters()]
    return dict(zip(names, torch.autograd.grad(loss, list(model.parameters())), strict=True))


def test_observed_inputs_serve_one_step():
    model, optimizer = None, None
    model = multilayer()
    optimizer = NaturalGradient(model, 0.1, 0.2, fisher="full")
    (first, targets), (second, _), (third, _) = batches(3)
    apart, more = normal(5, 4, seed=90), normal(3, 4, seed=91)
    for seen, inputs in ((apart, first), (first, second), (torch.cat([apart, more]), third)):
        if seen is apart:
            optimizer.observe(apart)
        elif len(seen) == 8:  # two calls make one batch
            optimizer.observe(apart)
            optimizer.observe(more)
        wanted = moved_by(model, gradient_of(model, inputs, targets), seen, 0.1, 0.2)
        near(go(model, optimizer, inputs, targets), wanted)


def test_only_the_first_inputs_are_used_where_that_is_asked_for():
    model = multilayer()
    optimizer = NaturalGradient(model, 0.1, 0.2, fisher="full", fisher_samples=4)
    (first, targets), (second, _) = batches(2)
    wanted = moved_by(model, gradient_of(model, first, targets), first[:4], 0.1, 0.2)
    near(go(model, optimizer, first, targets), wanted)
    wanted = moved_by(model, gradient_of(model, second, targets), first[:4], 0.1, 0.2)
    near(go(model, optimizer, second, targets), wanted)
    assert optimizer.memory_usage()["inputs"] == 4 * 4 * 8
    optimizer.observe(first)
    assert optimizer.memory_usage()["inputs"] == 2 * 4 * 4 * 8


def test_accumulated_passes_are_one_batch():
    whole, parts = multilayer(), multilayer()
    one = NaturalGradient(whole, 0.1, 0.2, seed=3)
    two = NaturalGradient(parts, 0.1, 0.2, seed=3)
    for inputs, targets in batches(3):
        go(whole, one, inputs, targets)
        two.zero_grad()
        for half in (slice(0, 3), slice(3, 6)):
            (cross_entropy(parts(inputs[half]), targets[half]) / 2).backward()
        two.step()
    near(parts.parameters(), whole.parameters())


def test_passes_without_a_backward_pass_leave_no_trace():
    plain, noisy = multilayer(), multilayer()
    one, two = NaturalGradient(plain, 0.1, 0.2), NaturalGradient(noisy, 0.1, 0.2)
    for inputs, targets in batches(3):
        go(plain, one, inputs, targets)
        noisy(5 * inputs)
        noisy.eval()(7 * inputs).sum().backward()
        noisy.train()
        go(noisy, two, inputs, targets)
    near(noisy.parameters(), plain.parameters(), atol=0)


def test_memory_that_is_filled_again_does_no_harm():
    plain, reused = multilayer(), multilayer()
    one, two = NaturalGradient(plain, 0.1, 0.2), NaturalGradient(reused, 0.1, 0.2)
    memory = torch.empty(6, 4, dtype=F64)
    for inputs, targets in batches(3):
        go(plain, one, inputs, targets)
        memory.copy_(inputs)
        go(reused, two, memory, targets)
    near(reused.parameters(), plain.parameters(), atol=0)


def test_what_is_remembered_when():
    memory, numbers = InputMemory(3), torch.arange(8.0)
    assert memory.chosen() is None
    memory.see(numbers[:2])
    memory.see(numbers[2:6])  # one of these is of use
    memory.see(numbers[6:])
    assert memory.bytes() == 3 * 4
    assert memory.chosen().tolist() == [0, 1, 2]
    memory.pass_on()
    memory.see(numbers[4:])
    assert memory.chosen().tolist() == [0, 1, 2]
    memory.pass_on()
    memory.pass_on()  # a step without a pass: the last inputs stay
    assert memory.chosen().tolist() == [4, 5, 6]
    memory.observed.append(numbers[7:])
    assert memory.chosen().tolist() == [7]
    other = InputMemory(3)
    other.load_state_dict(memory.state_dict(), torch.device("cpu"))
    other.observed[0].zero_()
    assert memory.chosen().tolist() == [7]
    memory.pass_on()
    assert memory.chosen().tolist() == [4, 5, 6]


def test_a_graph_walked_twice_is_one_batch():
    model = multilayer()
    optimizer = NaturalGradient(model, 0.1, 0.2)
    loss = cross_entropy(model(X[:, [0, 1, 2, 0]]), TRUE)
    loss.backward(retain_graph=True)
    loss.backward()
    optimizer.step()
    assert optimizer.memory_usage()["inputs"] == 4 * 4 * 8


def test_independent_batches_decouple_matrix_and_gradient():
    # over all pairs of one-sample batches the mean step is the mean inverse times the mean
    # gradient, exactly; over equal pairs it is not
    inputs, targets = normal(5, 4), torch.arange(5) % 3

    def step(i, j):
        model = multilayer()
        optimizer = NaturalGradient(model, 1.0, 0.05, fisher="full")
        optimizer.observe(inputs[i : i + 1])
        found = go(model, optimizer, inputs[j : j + 1], targets[j : j + 1])
        return torch.cat([part.reshape(-1) for part in found])

    names = [name for name, _ in multilayer().named_parameters()]
    inverses = [
        torch.linalg.inv(
            reference(multilayer(), inputs[i : i + 1], names) + 0.05 * torch.eye(83, dtype=F64)
        )
        for i in range(5)
    ]
    gradient = gradient_of(multilayer(), inputs, targets)
    wanted = -torch.stack(inverses).mean(0) @ flat(gradient, names)
    apart = torch.stack([step(i, j) for i in range(5) for j in range(5)]).mean(0)
    same = torch.stack([step(i, i) for i in range(5)]).mean(0)
    near([apart], [wanted])
    assert (same - wanted).norm() > 0.1 * wanted.norm()


# ------------------------------------------------------------------ limits and relations


@pytest.mark.parametrize("blocks", ["full", "layer"])
@pytest.mark.parametrize("loss", ["cross_entropy", "squared"])
def test_all_labels_give_the_exact_curvature_corrected_rule(loss, blocks):
    # another optimiser of the project, which takes the SVD of the whole Jacobian
    one, two = tiny(), tiny()
    likelihood = "categorical" if loss == "cross_entropy" else "gaussian"
    natural = NaturalGradient(one, 0.1, 0.03, fisher="full", blocks=blocks, likelihood=likelihood)
    rule = CurvatureCorrection(power=1.0, blocks=blocks, damping=0.03, scale=1.0)
    exact = CurvatureCorrected(two.parameters(), rule, lr=0.1, loss=loss)
    targets = TRUE if loss == "cross_entropy" else normal(4, 3, seed=8)
    for _ in range(4):
        natural.observe(X)
        natural.zero_grad()
        if loss == "cross_entropy":
            cross_entropy(one(X), targets).backward()
        else:
            ((one(X) - targets).square().sum() / 8).backward()
        natural.step()
        exact.step(lambda: (two(X), targets))
    near(one.parameters(), two.parameters(), atol=1e-11)


def test_infinite_damping_is_gradient_descent():
    # relative deviation |F| / damping, about 1e-10
    one, two = multilayer(), multilayer()
    natural = NaturalGradient(one, 0.1 * 1e10, 1e10, momentum=0.9)
    plain = torch.optim.SGD(two.parameters(), 0.1, momentum=0.9)
    for inputs, targets in batches(5):
        go(one, natural, inputs, targets)
        go(two, plain, inputs, targets)
    near(one.parameters(), two.parameters(), atol=1e-9)


def test_a_linear_regression_is_solved_in_one_step():
    inputs, targets = normal(9, 4), normal(9, 2, seed=1)
    model = nn.Linear(4, 2).to(F64)
    optimizer = NaturalGradient(model, 1.0, 1e-11, fisher="full", likelihood="gaussian")
    ((model(inputs) - targets).square().sum() / 18).backward()
    optimizer.step()
    wide = torch.cat([inputs, torch.ones(9, 1, dtype=F64)], dim=1)
    wanted = torch.linalg.lstsq(wide, targets).solution.T
    # ten parameters, eighteen columns: F itself is factorised, and nothing divides by 1e-11
    near([torch.cat([model.weight, model.bias[:, None]], dim=1)], [wanted], atol=1e-9)


class Reparametrised(nn.Module):
    """A tanh network whose middle layer's weight is left @ V @ right, V trained."""

    def __init__(self, left, right):
        super().__init__()
        self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 3)
        self.before, self.middle = nn.Linear(5, 5, bias=False), nn.Linear(5, 5)
        self.after = nn.Linear(5, 5, bias=False)
        source = multilayer_of_five()
        self.to(F64)
        with torch.no_grad():
            for mine, theirs in ((self.first, source[0]), (self.last, source[4])):
                mine.load_state_dict(theirs.state_dict())
            self.before.weight.copy_(right)
            self.after.weight.copy_(left)
            inverse = torch.linalg.inv(left)
            self.middle.weight.copy_(inverse @ source[2].weight @ torch.linalg.inv(right))
            self.middle.bias.copy_(inverse @ source[2].bias)
        self.before.requires_grad_(False)
        self.after.requires_grad_(False)

    def forward(self, inputs):
        hidden = self.before(torch.tanh(self.first(inputs)))
        return self.last(torch.tanh(self.after(self.middle(hidden))))


def multilayer_of_five():
    torch.manual_seed(6)
    return nn.Sequential(
        nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 3)
    ).to(F64)


def function_step(model, inputs, targets, damping):
    """How fast the outputs move along the step, per unit of lr."""
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    optimizer = NaturalGradient(copy.deepcopy(model), 1.0, damping, fisher="full")
    optimizer.observe(inputs)
    moved = dict(
        zip(
            [name for name, _ in model.named_parameters()],
            go(optimizer.model, optimizer, inputs, targets),
            strict=True,
        )
    )
    values = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    jacobian = torch.func.jacrev(lambda v: torch.func.functional_call(model, v, inputs))(values)
    outputs = sum((jacobian[name].flatten(2) @ moved[name].reshape(-1)) for name in trained)
    return outputs - outputs.mean(dim=1, keepdim=True)


@pytest.mark.parametrize("turned", [True, False])
def test_the_function_moves_the_same_however_a_layer_is_parametrised(turned):
    # three samples, six columns, 73 parameters: all columns are independent. Damping breaks
    # the invariance by powers of damping over the smallest eigenvalue of F, 0.003; steps at
    # five dampings, each half the one before, are extrapolated to none. What is left is the
    # rounding error, 1e-16 over the smallest damping, 6e-6, and some condition numbers
    inputs, targets = normal(3, 4), torch.tensor([0, 1, 2])
    left, right = normal(5, 5, seed=31), normal(5, 5, seed=32)
    if turned:
        left, right = (torch.linalg.qr(matrix)[0] for matrix in (left, right))
    else:
        left, right = (matrix + 3 * torch.eye(5, dtype=F64) for matrix in (left, right))
    one, two = multilayer_of_five(), Reparametrised(left, right)
    near([one(inputs)], [two(inputs)], atol=1e-12)
    steps = []
    for model in (one, two):
        at = [function_step(model, inputs, targets, 1e-4 / 2**i) for i in range(5)]
        for order in range(1, 5):
            at = [(2**order * b - a) / (2**order - 1) for a, b in itertools.pairwise(at)]
        steps.append(at[0])
    near([steps[0]], [steps[1]], atol=1e-8 * steps[0].abs().max().item())
    if turned:  # rotations leave the damping alone, too
        at = [function_step(model, inputs, targets, 0.1) for model in (one, two)]
        near([at[0]], [at[1]], atol=1e-12)
    else:
        plain = [function_step(model, inputs, targets, 1e6) * 1e6 for model in (one, two)]
        assert (plain[0] - plain[1]).abs().max() > 0.1 * plain[0].abs().max()


# ------------------------------------------------------------------ state


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("observed", [False, True])
def test_a_saved_state_goes_on_bit_for_bit(steps, observed):
    model = multilayer().float()
    settings = {"momentum": 0.9, "weight_decay": 0.01, "seed": 5}
    optimizer = NaturalGradient(model, 0.05, 0.1, **settings)
    data = [(inputs.float(), targets) for inputs, targets in batches(6)]
    for inputs, targets in data[:steps]:
        go(model, optimizer, inputs, targets)
    if observed:  # saved between the observation and its step
        optimizer.observe(data[5][0])
    saved = pickle.loads(pickle.dumps(optimizer.state_dict()))
    other = copy.deepcopy(model)
    resumed = NaturalGradient(other, 0.3, 0.4, seed=77)
    resumed.load_state_dict(saved)
    for inputs, targets in data[steps:]:
        go(model, optimizer, inputs, targets)
        go(other, resumed, inputs, targets)
    near(other.parameters(), model.parameters(), atol=0)
    assert torch.equal(
        optimizer.state_dict()["factors"]["generator"], resumed.state_dict()["factors"]["generator"]
    )


def test_states_of_others_are_refused():
    optimizer = NaturalGradient(multilayer(), 0.1, 0.1)
    with pytest.raises(ValueError, match="has no 'factors'"):
        optimizer.load_state_dict(torch.optim.SGD(multilayer().parameters(), 0.1).state_dict())
    with pytest.raises(ValueError, match=r"a state of the layers \[\['0', 4, 3\]"):
        optimizer.load_state_dict(NaturalGradient(tiny(), 0.1, 0.1).state_dict())


def test_copies_reset_and_the_end():
    model = multilayer()
    optimizer = NaturalGradient(model, 0.1, 0.2, momentum=0.5)
    start, data = parameters(model), batches(4)
    for inputs, targets in data[:2]:
        go(model, optimizer, inputs, targets)
    twin, copied = copy.deepcopy((model, optimizer))
    alone = copy.deepcopy(model)  # its hook has no owner
    for inputs, targets in data[2:]:
        near(go(twin, copied, inputs, targets), go(model, optimizer, inputs, targets), atol=0)
    before = copied.memory_usage()
    cross_entropy(alone(data[0][0]), data[0][1]).backward()
    assert copied.memory_usage() == before == optimizer.memory_usage()
    pickle.loads(pickle.dumps(model))
    # as new
    with torch.no_grad():
        for p, value in zip(model.parameters(), start, strict=True):
            p.copy_(value)
    optimizer.reset()
    assert optimizer.memory_usage()["total"] == 0
    fresh = multilayer()
    other = NaturalGradient(fresh, 0.1, 0.2, momentum=0.5)
    for inputs, targets in data:
        near(go(model, optimizer, inputs, targets), go(fresh, other, inputs, targets), atol=0)
    # nothing keeps it alive, and its hook goes with it
    gone = weakref.ref(other)
    assert len(fresh._forward_hooks) == 1
    del other
    gc.collect()
    assert gone() is None
    assert not fresh._forward_hooks


# ------------------------------------------------------------------ surroundings


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


# ------------------------------------------------------------------ what is not finite


def test_gradients_that_are_not_finite(caplog):
    model, quiet = multilayer(), multilayer()
    one = NaturalGradient(model, 0.1, 0.2, momentum=0.9)
    two = NaturalGradient(quiet, 0.1, 0.2, momentum=0.9, nonfinite="skip")
    data = batches(3)
    for net, optimizer in ((model, one), (quiet, two)):
        go(net, optimizer, *data[0])
    before = parameters(model)
    with pytest.raises(RuntimeError, match=r"gradient of 0.weight.* is not finite"):
        go(model, one, math.inf * data[1][0], data[1][1])
    with caplog.at_level(logging.WARNING, "sandbox.optim"):
        go(quiet, two, math.inf * data[1][0], data[1][1])
    assert "left out" in caplog.text
    near(model.parameters(), before, atol=0)
    near(quiet.parameters(), before, atol=0)
    # both go on with the inputs of the last good step
    wanted = go(model, one, *data[2])
    near(go(quiet, two, *data[2]), wanted, atol=0)


@pytest.mark.parametrize("nonfinite", ["raise", "skip"])
def test_fisher_matrices_that_are_not_finite(nonfinite, caplog):
    model = multilayer().float()
    optimizer = NaturalGradient(model, 0.1, 0.2, nonfinite=nonfinite)
    (inputs, targets), (second, _) = batches(2)
    inputs, second = inputs.float(), second.float()
    optimizer.observe(3e38 * torch.ones(2, 4))  # finite, but the outputs are not
    before = parameters(model)
    if nonfinite == "raise":
        with pytest.raises(RuntimeError, match="the Fisher matrix of .* is not finite"):
            go(model, optimizer, inputs, targets)
    else:
        go(model, optimizer, inputs, targets)
        assert "is not finite" in caplog.text
    near(model.parameters(), before, atol=0)
    assert all(part.any() for part in go(model, optimizer, second, targets))


# ------------------------------------------------------------------ bad input


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"damping": 0.0}, r"damping = 0.0: must be a finite number in \(0, inf\)"),
        ({"damping": -1.0}, "damping = -1.0"),
        ({"damping": math.nan}, "damping = nan"),
        ({"lr": -0.1}, "lr = -0.1"),
        ({"momentum": 1.0}, "momentum = 1.0"),
        ({"weight_decay": -1.0}, "weight_decay = -1.0"),
        ({"fisher": "empirical"}, "fisher = 'empirical': must be one of 'sampled', 'full'"),
        ({"blocks": "diagonal"}, "blocks = 'diagonal'"),
        ({"likelihood": "poisson"}, "likelihood = 'poisson'"),
        ({"fisher_samples": 0}, "fisher_samples = 0"),
        ({"nonfinite": "ignore"}, "nonfinite = 'ignore'"),
        ({"seed": -1}, "seed = -1"),
        ({"model": nn.ReLU()}, "has no trained Linear"),
        ({"model": nn.LayerNorm(3)}, "has no trained Linear"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    given = {"model": multilayer(), "lr": 0.1, "damping": 0.1} | settings
    with pytest.raises(ValueError, match=message):
        NaturalGradient(**given)


@pytest.mark.bad_input
def test_bad_observations_are_refused():
    model = multilayer()
    optimizer = NaturalGradient(model, 0.1, 0.1)
    with pytest.raises(ValueError, match=r"inputs of shape \(5, 3\) and type torch.float64"):
        optimizer.observe(normal(5, 3))
    with pytest.raises(ValueError, match="type torch.float32: the model does not take them"):
        optimizer.observe(normal(5, 4).float())
    with pytest.raises(ValueError, match=r"inputs\[1\] is not finite"):
        optimizer.observe(normal(2, 4) / torch.tensor([[1.0], [0.0]]))
    with pytest.raises(ValueError, match="must be a non-empty tensor"):
        optimizer.observe([1.0])
    assert optimizer.memory_usage()["total"] == 0
    assert model.training


@pytest.mark.bad_input
def test_steps_without_inputs_are_refused():
    model = multilayer()
    optimizer = NaturalGradient(model, 0.1, 0.1)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    before = parameters(model)
    with pytest.raises(RuntimeError, match=r"no inputs were seen: .* observe\(inputs\) first"):
        optimizer.step()
    near(model.parameters(), before, atol=0)
    optimizer.observe(normal(5, 4))
    optimizer.step()
    with pytest.raises(ValueError, match="closure = 3"):
        optimizer.step(3)


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, inputs, shift):
        return self.layer(inputs + shift)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, inputs):
        return self.head(self.layer(self.layer(inputs)))


@pytest.mark.bad_input
def test_models_that_do_not_fit_are_refused():
    two = TwoInputs()
    optimizer = NaturalGradient(two, 0.1, 0.1)
    with pytest.raises(ValueError, match=r"model\(Tensor, Tensor\): must be called with one"):
        two(torch.ones(2, 4), torch.ones(2, 4))
    with torch.no_grad():
        two(torch.ones(2, 4), torch.ones(2, 4))
    del optimizer
    twice = Twice()
    optimizer = NaturalGradient(twice, 0.1, 0.1)
    before = parameters(twice)
    with pytest.raises(ValueError, match=r"layer 'layer' \(Linear\) is called twice"):
        go(twice, optimizer, torch.ones(2, 4), torch.tensor([0, 1]))
    near(twice.parameters(), before, atol=0)
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    with pytest.raises(ValueError, match="shares a parameter"):
        NaturalGradient(tied, 0.1, 0.1)
    alone = nn.Linear(4, 1)
    optimizer = NaturalGradient(alone, 0.1, 0.1)
    alone(torch.ones(2, 4)).sum().backward()
    with pytest.raises(ValueError, match="at least two classes"):
        optimizer.step()


def test_a_failing_factorisation_names_the_layers(monkeypatch):
    monkeypatch.setattr("sandbox.optim._gram._cholesky", lambda *_: None)
    model = multilayer()
    optimizer = NaturalGradient(model, 0.1, 0.1, blocks="layer")
    before = parameters(model)
    with pytest.raises(RuntimeError, match=r"layer '0' \(Linear\) has no Cholesky factor"):
        go(model, optimizer, *batches(1)[0])
    near(model.parameters(), before, atol=0)


def test_it_learns():
    # a task that a linear classifier cannot do; 60 steps, chance is 1.1
    rng = np.random.default_rng(0)
    inputs = torch.from_numpy(rng.normal(size=(200, 4)))
    targets = (inputs[:, 0] * inputs[:, 1] > 0).long() + (inputs[:, 2] > 1).long()
    model = multilayer()
    optimizer = NaturalGradient(model, 0.3, 0.1, momentum=0.5)
    for step in range(60):
        rows = torch.from_numpy(rng.choice(200, 50, replace=False))
        go(model, optimizer, inputs[rows], targets[rows])
        assert all(p.isfinite().all() for p in model.parameters()), step
    assert cross_entropy(model(inputs), targets) < 0.6
    assert by_name(model).keys() == {name for name, _ in model.named_parameters()}


def test_a_pass_without_a_backward_one_leaves_no_trace_beside_another_optimiser():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    natural = NaturalGradient(model, 0.1, 0.1)
    other = KFAC(model, 0.1, 0.1)  # differentiates the outputs within the forward pass
    model(torch.randn(5, 4, dtype=torch.float64))
    assert natural.memory_usage()["total"] == 0
    model(torch.randn(5, 4, dtype=torch.float64)).sum().backward()
    assert natural.memory_usage()["total"] > 0
    other.remove()
