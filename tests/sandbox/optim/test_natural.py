"""Natural gradient descent: recorded numbers, a dense loop, limits and relations."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from deeplinear.rules import CurvatureCorrection
from sandbox.optim import CurvatureCorrected
from sandbox.optim.fisher import SampledFisher
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
    multilayer,
    normal,
    reference,
    tiny,
)
from tests.sandbox.optim.natural_problems import batches, go, near

VARIANTS = [(f, b) for f in ("sampled", "full") for b in ("full", "layer")]


def with_labels(monkeypatch, labels):
    """Let these labels be drawn."""

    def drawn(outputs, likelihood, generator):
        chances = outputs.softmax(1)
        return (chances - nn.functional.one_hot(labels.to(outputs.device), 3))[None]

    monkeypatch.setattr("sandbox.network.output_gradients.sampled_columns", drawn)


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
