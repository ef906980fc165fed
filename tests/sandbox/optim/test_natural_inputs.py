"""Which inputs the Fisher matrix of natural gradient descent is made of."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sandbox.optim._input_watch import InputMemory
from sandbox.optim.fisher import SampledFisher
from sandbox.optim.kfac import KFAC
from sandbox.optim.natural import NaturalGradient
from tests.sandbox.optim.dense_fisher import F64, TRUE, X, flat, multilayer, normal, reference
from tests.sandbox.optim.natural_problems import batches, go, near, parameters


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
