"""The torch optimiser against the theory's velocity, and against what it must conserve."""

import copy
import itertools

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from deeplinear.rules import CurvatureCorrection, matrix_velocity
from sandbox.optim import CurvatureCorrected
from sandbox.training.models import deep_linear
from theory.streams import Streams

STREAMS = Streams(20200713)

RULES = [
    CurvatureCorrection(power=power, blocks=blocks, damping=damping, scale=scale)
    for power, blocks, damping, scale in itertools.product(
        (0.0, 0.25, 0.5, 1.0), ("full", "layer"), (0.0, 1e-2), (None, 1.0)
    )
]


def named(rule):
    return f"{rule.blocks}-q{rule.power}-eps{rule.damping}-kappa{rule.scale}"


def linear_task(widths, name, whitened=True, samples=12):
    """Weights, target, a symmetric root of the input covariance, and matching samples."""
    rng = STREAMS.generator(name)
    weights = [rng.normal(size=(a, b)) / b**0.5 for b, a in itertools.pairwise(widths)]
    target = rng.normal(size=(widths[-1], widths[0]))
    frame = np.linalg.qr(rng.normal(size=(samples, widths[0])))[0]
    root = np.eye(widths[0])
    if not whitened:
        mixed = rng.normal(size=(widths[0], widths[0]))
        root = mixed @ mixed.T / widths[0] + 0.3 * np.eye(widths[0])
    inputs = samples**0.5 * frame @ root  # inputs' inputs / samples = root root
    return weights, target, root, torch.from_numpy(inputs), torch.from_numpy(inputs @ target.T)


def moved(network, optimizer, closure):
    """What one step adds to every parameter."""
    before = [p.detach().clone() for p in network.parameters()]
    optimizer.step(closure)
    pairs = zip(network.parameters(), before, strict=True)
    return [(now.detach() - old).numpy() for now, old in pairs]


def flat(parts):
    return np.concatenate([np.asarray(part).reshape(-1) for part in parts])


@pytest.mark.parametrize("whitened", [True, False], ids=["white", "coloured"])
@pytest.mark.parametrize("rule", RULES, ids=named)
def test_a_step_is_the_velocity_of_the_theory(rule, whitened):
    # second route: numpy, column-major Kronecker Jacobian of the map, no samples at all
    weights, target, root, inputs, outputs = linear_task((3, 4, 2), "velocity", whitened)
    network = deep_linear(weights)
    optimizer = CurvatureCorrected(network.parameters(), rule, lr=1.0)
    steps = moved(network, optimizer, lambda: (network(inputs), outputs))
    for step, velocity in zip(steps, matrix_velocity(rule, weights, target, root), strict=True):
        np.testing.assert_allclose(step, velocity, rtol=0, atol=1e-12 * np.abs(velocity).max())


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("blocks", ["full", "layer"])
def test_precision_survives_an_ill_conditioned_curvature(blocks, aligned):
    # singular values of J span 1e-6 ... 1, so the SVD of J leaves errors of order 1e-16 * 1e6;
    # through J'J (condition 1e12) the error is of order 1e-4. An aligned error excites the
    # largest singular value alone: coefficients V'g then carry noise that 1e12 amplifies
    rng = STREAMS.generator("ill")
    frames = [np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(4)]
    middle = np.diag([1.0, 1e-3, 1e-6])
    weights = [frames[0] @ middle @ frames[1].T, frames[2] @ middle @ frames[3].T]
    target, inputs = rng.normal(size=(3, 3)), 3**0.5 * torch.eye(3, dtype=torch.float64)
    if aligned:
        weights = [middle @ frames[3].T, frames[2] @ middle]
        target = weights[1] @ weights[0] + np.outer(frames[2][:, 0], frames[3][:, 0])
    rule = CurvatureCorrection(power=1.0, blocks=blocks)
    network = deep_linear(weights)
    optimizer = CurvatureCorrected(network.parameters(), rule, lr=1.0)
    outputs = inputs @ torch.from_numpy(target.T)
    found = flat(moved(network, optimizer, lambda: (network(inputs), outputs)))
    wanted = flat(matrix_velocity(rule, weights, target))
    assert np.linalg.norm(found - wanted) < 1e-8 * np.linalg.norm(wanted)


def test_the_loss_is_half_the_squared_error_summed_over_outputs_averaged_over_samples():
    weights, target, root, inputs, outputs = linear_task((3, 4, 2), "loss", whitened=False)
    network = deep_linear(weights)
    optimizer = CurvatureCorrected(network.parameters(), CurvatureCorrection(), lr=0.1)
    mean_squared = torch.nn.MSELoss()(network(inputs), outputs).item()
    loss = optimizer.step(lambda: (network(inputs), outputs))
    delta = (weights[1] @ weights[0] - target) @ root
    assert loss.shape == ()
    assert not loss.requires_grad
    assert loss.item() == pytest.approx(0.5 * np.sum(delta**2), rel=1e-13)
    assert mean_squared == pytest.approx(2 / 2 * loss.item(), rel=1e-13)  # 2 / n_out


@pytest.mark.parametrize(
    "rule",
    [
        CurvatureCorrection(power=0.0),
        CurvatureCorrection(power=0.5),
        CurvatureCorrection(power=1.0),
        CurvatureCorrection(power=1.0, damping=0.1),
        CurvatureCorrection(power=0.5, blocks="layer"),
        CurvatureCorrection(power=1.0, blocks="layer", scale=1.0, damping=0.1),
    ],
    ids=named,
)
def test_networks_follow_the_flow_with_an_error_of_first_order(rule):
    weights, target, _, inputs, outputs = linear_task((2, 3, 2), "order", samples=4)
    shapes = [matrix.shape for matrix in weights]
    cut = weights[0].size

    def velocity(_, theta):
        parts = [part.reshape(s) for part, s in zip(np.split(theta, [cut]), shapes, strict=True)]
        return flat(matrix_velocity(rule, parts, target))

    span = 0.8
    flow = solve_ivp(velocity, (0, span), flat(weights), "DOP853", rtol=1e-11, atol=1e-13)
    rates = np.array([0.05, 0.025, 0.0125, 0.00625])
    errors = []
    for rate in rates:
        network = deep_linear(weights)
        optimizer = CurvatureCorrected(network.parameters(), rule, lr=rate)
        for _ in range(round(span / rate)):
            made = network(inputs), outputs
            optimizer.step(lambda made=made: made)
        ended = flat([p.detach().numpy() for p in network.parameters()])
        errors.append(np.linalg.norm(ended - flow.y[:, -1]))
    slope = np.polyfit(np.log(rates), np.log(errors), 1)[0]
    assert slope == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("rule", [r for r in RULES if r.scale is None], ids=named)
def test_full_rules_change_the_balance_at_second_order_alone(rule):
    # D_i = W_{i+1}' W_{i+1} - W_i W_i'. A full rule's step G obeys W_i G_i' = G_{i+1}' W_{i+1},
    # hence D changes by exactly G_{i+1}' G_{i+1} - G_i G_i'; layer rules change it at first order
    weights, _, _, inputs, outputs = linear_task((3, 4, 4, 2), "balance", whitened=False)
    network = deep_linear(weights)
    optimizer = CurvatureCorrected(network.parameters(), rule, lr=0.1)
    steps = moved(network, optimizer, lambda: (network(inputs), outputs))
    ended = [p.detach().numpy() for p in network.parameters()]
    excess = 0.0
    for i in range(2):
        old = weights[i + 1].T @ weights[i + 1] - weights[i] @ weights[i].T
        new = ended[i + 1].T @ ended[i + 1] - ended[i] @ ended[i].T
        second = steps[i + 1].T @ steps[i + 1] - steps[i] @ steps[i].T
        excess = max(excess, np.abs(new - old - second).max())
    if rule.blocks == "full" or rule.power == 0:
        assert excess < 1e-11
    else:
        assert excess > 1e-3


@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
@pytest.mark.parametrize("rule", [r for r in RULES if r.scale is None], ids=named)
def test_full_rules_conserve_the_norms_around_every_hidden_unit_of_a_relu_net(rule, loss):
    # relu(a x) = a relu(x): scaling a unit's inputs up and its outputs down changes nothing, so
    # updates in the row space of J obey in . d(in) = out . d(out), biases counted as inputs
    rng = STREAMS.generator("relu")
    first, second = torch.nn.Linear(3, 6).double(), torch.nn.Linear(6, 4).double()
    network = torch.nn.Sequential(first, torch.nn.ReLU(), second)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.from_numpy(rng.normal(size=p.shape)))
    inputs = torch.from_numpy(rng.normal(size=(20, 3)))
    targets = torch.from_numpy(rng.normal(size=(20, 4)))
    if loss == "cross_entropy":
        targets = targets.argmax(dim=1)
    old = [p.detach().numpy().copy() for p in network.parameters()]
    optimizer = CurvatureCorrected(network.parameters(), rule, lr=1.0, loss=loss)
    steps = moved(network, optimizer, lambda: (network(inputs), targets))
    entering = (old[0] * steps[0]).sum(axis=1) + old[1] * steps[1]
    leaving = (old[2] * steps[2]).sum(axis=0)
    size = max(np.abs(entering).max(), np.abs(leaving).max())
    if rule.blocks == "full" or rule.power == 0:
        np.testing.assert_allclose(entering, leaving, rtol=0, atol=1e-10 * size)
    else:
        assert np.abs(entering - leaving).max() > 1e-2 * size


def smooth_network(weights, mixing=None):
    """A tanh network in functional form, its parameters optionally mixed linearly."""
    sizes = [matrix.size for matrix in weights]
    start = flat(weights)
    start = start if mixing is None else np.linalg.solve(mixing, start)
    theta = torch.nn.Parameter(torch.from_numpy(start))

    def run(inputs):
        whole = theta if mixing is None else torch.from_numpy(mixing) @ theta
        first, second = torch.split(whole, sizes)
        hidden = torch.tanh(inputs @ first.reshape(weights[0].shape).T)
        return hidden @ second.reshape(weights[1].shape).T

    return theta, run


@pytest.mark.parametrize(("power", "invariant"), [(1.0, True), (0.5, False), (0.0, False)])
def test_natural_gradient_moves_the_function_alike_in_all_linear_coordinates(power, invariant):
    rng = STREAMS.generator("invariance")
    weights = [rng.normal(size=(3, 2)), rng.normal(size=(2, 3))]
    inputs, targets = (torch.from_numpy(rng.normal(size=(30, 2))) for _ in range(2))
    mixing = rng.normal(size=(12, 12)) / 12**0.5 + np.eye(12)
    outputs = []
    for mixed in (None, mixing):
        theta, run = smooth_network(weights, mixed)
        rule = CurvatureCorrection(power=power)
        CurvatureCorrected([theta], rule, lr=0.3).step(lambda run=run: (run(inputs), targets))
        outputs.append(run(inputs).detach().numpy())
    gap = np.abs(outputs[0] - outputs[1]).max()
    assert gap < 1e-8 if invariant else gap > 1e-3


def test_undamped_layer_natural_gradient_is_kfac_on_deep_linear_nets():
    # factors from the activations: A_i = E[h h'], G_i = backpropagated identity; both invertible
    # for widths that do not grow towards the middle
    weights, _, _, inputs, outputs = linear_task((5, 3, 3, 4), "kfac", whitened=False)
    network = deep_linear(weights)
    rule = CurvatureCorrection(power=1.0, blocks="layer", scale=1.0)
    optimizer = CurvatureCorrected(network.parameters(), rule, lr=1.0)
    steps = moved(network, optimizer, lambda: (network(inputs), outputs))
    activity = [inputs.numpy()]
    for matrix in weights:
        activity.append(activity[-1] @ matrix.T)
    samples = len(inputs)
    back, after = (activity[-1] - outputs.numpy()) / samples, np.eye(4)
    for i in (2, 1, 0):
        factor_in, factor_out = activity[i].T @ activity[i] / samples, after.T @ after
        gradient = back.T @ activity[i]
        wanted = -np.linalg.solve(factor_out, gradient) @ np.linalg.inv(factor_in)
        np.testing.assert_allclose(steps[i], wanted, rtol=0, atol=1e-10 * np.abs(wanted).max())
        back, after = back @ weights[i], after @ weights[i]


@pytest.mark.parametrize("power", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("damping", [0.0, 1e-2])
@pytest.mark.parametrize("soft", [False, True], ids=["classes", "probabilities"])
def test_cross_entropy_curvature_is_the_hessian_of_a_linear_softmax_model(power, damping, soft):
    # the model is linear in its parameters, so Gauss-Newton = Hessian, here from autograd
    rng = STREAMS.generator("softmax")
    start = torch.from_numpy(rng.normal(size=(3, 4)))
    inputs = torch.from_numpy(rng.normal(size=(15, 4)))
    targets = torch.from_numpy(rng.integers(3, size=15))
    if soft:
        targets = torch.softmax(torch.from_numpy(rng.normal(size=(15, 3))), dim=1)

    def loss(theta):
        return torch.nn.functional.cross_entropy(inputs @ theta.reshape(3, 4).T, targets)

    hessian = torch.autograd.functional.hessian(loss, start.reshape(-1)).numpy()
    gradient = torch.autograd.functional.jacobian(loss, start.reshape(-1)).numpy()
    values, vectors = np.linalg.eigh(hessian)
    flat_directions = values < 1e-10  # adding one vector to all classes' weights changes nothing
    assert flat_directions.sum() == 4
    gains = np.where(flat_directions, 0.0, (np.abs(values) + damping) ** -power)
    weight = torch.nn.Parameter(start.clone())
    rule = CurvatureCorrection(power=power, damping=damping)
    optimizer = CurvatureCorrected([weight], rule, lr=1.0, loss="cross_entropy")
    value = optimizer.step(lambda: (inputs @ weight.T, targets))
    wanted = -(vectors @ (gains * (vectors.T @ gradient))).reshape(3, 4)
    step = (weight.detach() - start).numpy()
    np.testing.assert_allclose(step, wanted, rtol=0, atol=1e-8 * np.abs(wanted).max())
    assert value.item() == pytest.approx(loss(start.reshape(-1)).item(), rel=1e-13)


@pytest.mark.parametrize("power", [0.5, 1.0])
@pytest.mark.parametrize("gap", [30.0, 80.0, 2000.0])
def test_saturated_wrong_answers_are_still_corrected_under_damping(power, gap):
    # their curvature underflows while their gradient does not: (p - y) / sqrt(p) ~ exp(gap / 2)
    # would drown the other samples. Reference: dense eigenvalues of H + damping, well conditioned
    inputs = torch.tensor([[1.0, 0.2], [-0.3, 0.8], [0.5, -0.6]], dtype=torch.float64)
    start = torch.tensor([[0.0, 0.4], [0.0, -0.3], [0.0, 0.1]], dtype=torch.float64)
    start[0, 0] = gap
    targets = torch.tensor([1, 2, 0])
    damping = 1e-2

    logits = inputs @ start.T
    chances = torch.softmax(logits, dim=1)
    error = (chances - torch.nn.functional.one_hot(targets, 3)).numpy()
    hessian = np.zeros((6, 6))
    for x, p in zip(inputs.numpy(), chances.numpy(), strict=True):
        hessian += np.kron(np.diag(p) - np.outer(p, p), np.outer(x, x)) / 3
    gradient = (error.T @ inputs.numpy() / 3).reshape(-1)
    values, vectors = np.linalg.eigh(hessian + damping * np.eye(6))
    wanted = -(vectors @ (values**-power * (vectors.T @ gradient))).reshape(3, 2)

    weight = torch.nn.Parameter(start.clone())
    rule = CurvatureCorrection(power=power, damping=damping)
    CurvatureCorrected([weight], rule, lr=1.0, loss="cross_entropy").step(
        lambda: (inputs @ weight.T, targets)
    )
    step = (weight.detach() - start).numpy()
    # the weights themselves are of size gap, and so is their rounding
    np.testing.assert_allclose(
        step, wanted, rtol=0, atol=1e-11 * np.abs(wanted).max() + 1e-15 * gap
    )


def test_biases_are_blocks_but_no_layers():
    rng = STREAMS.generator("biases")
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    network = network.double()
    inputs, targets = (
        torch.from_numpy(rng.normal(size=(9, 3))),
        torch.from_numpy(rng.normal(size=(9, 2))),
    )
    twin = copy.deepcopy(network)
    rule = CurvatureCorrection(power=0.5, blocks="layer", damping=1e-3)
    steps = moved(
        network,
        CurvatureCorrected(network.parameters(), rule, lr=1.0),
        lambda: (network(inputs), targets),
    )
    error = (twin(inputs) - targets).detach().numpy().reshape(-1)
    for parameter, step in zip(twin.parameters(), steps, strict=True):
        rows = np.stack([
            torch.autograd.grad(f, parameter, retain_graph=True)[0].numpy().reshape(-1)
            for f in twin(inputs).reshape(-1)
        ])
        values, vectors = np.linalg.eigh(rows.T @ rows / 9 + 1e-3 * np.eye(rows.shape[1]))
        gradient = vectors.T @ (rows.T @ error / 9)
        # two weight matrices, hence 2**-1/2 and not 4**-1/2
        wanted = -(2**-0.5) * vectors @ (values**-0.5 * gradient)
        np.testing.assert_allclose(step.reshape(-1), wanted, rtol=0, atol=1e-10)
