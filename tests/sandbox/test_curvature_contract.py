"""What any torch optimiser owes its user: groups, state, errors, nothing touched in passing."""

import copy

import numpy as np
import pytest
import torch

from deeplinear.rules import CurvatureCorrection, matrix_velocity
from sandbox.optim import CurvatureCorrected, _jacobian
from sandbox.training.models import deep_linear
from theory.streams import Streams

STREAMS = Streams(20200713)
NATURAL = CurvatureCorrection(power=1.0, damping=1e-2)
LAYERS = CurvatureCorrection(power=0.5, blocks="layer")


@pytest.fixture
def task():
    rng = STREAMS.generator("contract")
    weights = [rng.normal(size=(4, 3)), rng.normal(size=(2, 4))]
    inputs = torch.from_numpy(rng.normal(size=(8, 3)))
    targets = torch.from_numpy(rng.normal(size=(8, 2)))
    return weights, inputs, targets


def steps_of(network, optimizer, inputs, targets):
    before = [p.detach().clone() for p in network.parameters()]
    optimizer.step(lambda: (network(inputs), targets))
    return [p.detach() - b for p, b in zip(network.parameters(), before, strict=True)]


@pytest.mark.parametrize("rule", [NATURAL, LAYERS], ids=["full", "layer"])
def test_groups_share_the_curvature_and_keep_their_own_rate(task, rule):
    weights, inputs, targets = task
    together, apart = deep_linear(weights), deep_linear(weights)
    reference = steps_of(
        together, CurvatureCorrected(together.parameters(), rule, lr=0.1), inputs, targets
    )
    groups = [{"params": [apart[0].weight]}, {"params": [apart[1].weight], "lr": 0.3}]
    first, second = steps_of(apart, CurvatureCorrected(groups, rule, lr=0.1), inputs, targets)
    torch.testing.assert_close(first, reference[0], rtol=0, atol=1e-14)
    torch.testing.assert_close(second, 3 * reference[1], rtol=0, atol=1e-14)


def test_nothing_is_touched_in_passing(task):
    weights, inputs, targets = task
    network = deep_linear(weights).train()
    network[0].eval()
    kept = torch.full_like(network[1].weight, 7.0)
    network[1].weight.grad = kept
    optimizer = CurvatureCorrected(network.parameters(), NATURAL, lr=0.1)
    steps_of(network, optimizer, inputs, targets)
    assert network[0].weight.grad is None
    assert network[1].weight.grad is kept
    assert (kept == 7.0).all()
    assert network.training
    assert not network[0].training
    assert not optimizer.state


def test_parameters_without_a_path_stay_and_are_no_layers(task):
    # three matrices are given, two are reached: the depth of the prefactor is 2
    weights, inputs, targets = task
    network, reference = deep_linear(weights), deep_linear(weights)
    unused = torch.nn.Parameter(torch.ones(2, 2, dtype=torch.float64))
    frozen = torch.nn.Parameter(torch.ones(2, 2, dtype=torch.float64), requires_grad=False)
    optimizer = CurvatureCorrected([*network.parameters(), unused, frozen], LAYERS, lr=0.1)
    found = steps_of(network, optimizer, inputs, targets)
    plain = CurvatureCorrected(reference.parameters(), LAYERS, lr=0.1)
    for step, wanted in zip(found, steps_of(reference, plain, inputs, targets), strict=True):
        assert torch.equal(step, wanted)
    assert (unused == 1).all()
    assert (frozen == 1).all()


def test_shared_weights_have_one_block(task):
    # f = W W x: dW must be the minimum-norm solution of J dW = -error, J by central differences
    _, inputs, _ = task
    rng = STREAMS.generator("shared")
    start = rng.normal(size=(3, 3))
    x, targets = inputs.numpy(), rng.normal(size=(8, 3))
    columns = []
    for i in range(9):
        nudge = np.zeros(9)
        nudge[i] = 1e-5
        up, down = start + nudge.reshape(3, 3), start - nudge.reshape(3, 3)
        columns.append((x @ (up @ up).T - x @ (down @ down).T).reshape(-1) / 2e-5)
    error = (x @ (start @ start).T - targets).reshape(-1)
    wanted = -np.linalg.lstsq(np.stack(columns, axis=1), error)[0].reshape(3, 3)
    layer = torch.nn.Linear(3, 3, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(start))
    network = torch.nn.Sequential(layer, layer)
    optimizer = CurvatureCorrected(network.parameters(), CurvatureCorrection(power=1.0), lr=1.0)
    (step,) = steps_of(network, optimizer, inputs, torch.from_numpy(targets))
    np.testing.assert_allclose(step.numpy(), wanted, rtol=0, atol=1e-8)  # quadratic: no bias


def test_outputs_of_any_shape_are_flattened_per_sample(task):
    weights, inputs, targets = task
    found = []
    for shape in [(8, 2), (8, 1, 2), (8, 2, 1)]:
        network = deep_linear(weights)
        optimizer = CurvatureCorrected(network.parameters(), NATURAL, lr=0.1)
        made = network(inputs).reshape(shape), targets.reshape(shape)
        optimizer.step(lambda made=made: made)
        found.append(network[0].weight.detach())
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_rows_in_pieces_and_one_by_one_give_the_same_jacobian(monkeypatch):
    rng = STREAMS.generator("pieces")
    weight = torch.nn.Parameter(torch.from_numpy(rng.normal(size=(3, 4))))
    inputs = torch.from_numpy(rng.normal(size=(5, 4)))
    wanted = np.einsum("ni,oc->noci", inputs.numpy(), np.eye(3)).reshape(15, 12)

    class Opaque(torch.autograd.Function):
        """A product without a batching rule for its backward."""

        @staticmethod
        def forward(context, x, w):
            context.save_for_backward(x)
            return x @ w.T

        @staticmethod
        def backward(context, slope):
            (x,) = context.saved_tensors
            return None, torch.from_numpy(slope.numpy().T @ x.numpy())

    for outputs in (inputs @ weight.T, Opaque.apply(inputs, weight)):
        for rows in (1024, 4):
            monkeypatch.setattr(_jacobian, "ROWS_AT_ONCE", rows)
            (block,) = _jacobian.output_jacobian(outputs, [weight])
            np.testing.assert_allclose(block.numpy(), wanted, rtol=0, atol=1e-15)


@pytest.mark.parametrize("rule", [NATURAL, LAYERS, CurvatureCorrection(power=1.0)])
def test_float32_agrees_with_float64_and_keeps_its_type(task, rule):
    # 1e-5 is the rank threshold of float32 and bounds what the singular values lose to rounding
    weights, inputs, targets = task
    double, single = deep_linear(weights), deep_linear(weights, dtype=torch.float32)
    wanted = steps_of(double, CurvatureCorrected(double.parameters(), rule, lr=1), inputs, targets)
    optimizer = CurvatureCorrected(single.parameters(), rule, lr=1)
    found = steps_of(single, optimizer, inputs.float(), targets.float())
    for step, reference in zip(found, wanted, strict=True):
        assert step.dtype == torch.float32
        gap = (step.double() - reference).norm() / reference.norm()
        assert gap < 1e-4


def test_float32_threshold_removes_the_null_directions_of_a_singular_curvature():
    # two equal inputs: the curvature has rank 1, its other singular values are rounding
    weight = torch.nn.Parameter(torch.tensor([[0.3, 0.7, 0.1]]))
    inputs = torch.tensor([[0.1, 0.2, 0.3], [0.3, 0.6, 0.9], [0.7, 1.4, 2.1]])
    rule = CurvatureCorrection(power=1.0)
    CurvatureCorrected([weight], rule, lr=1.0).step(
        lambda: (inputs @ weight.T, torch.tensor([[1.0], [2.0], [3.0]]))
    )
    start = torch.tensor([[0.3, 0.7, 0.1]])
    step = (weight - start).detach()[0].numpy()
    x = np.array([1.0, 2.0, 3.0])
    along = np.array([0.1, 0.3, 0.7])
    slope = along @ np.array([1.0, 2.0, 3.0]) / (along @ along)  # least squares on the line
    np.testing.assert_allclose(step, x * (slope - 2.0) / 14, rtol=1e-4)


def test_state_survives_a_round_trip_and_copies_keep_the_rule(task):
    weights, inputs, targets = task
    network, other = deep_linear(weights), deep_linear(weights)
    optimizer = CurvatureCorrected(network.parameters(), LAYERS, lr=0.1)
    resumed = CurvatureCorrected(other.parameters(), LAYERS, lr=5.0)
    resumed.load_state_dict(optimizer.state_dict())
    assert optimizer.state_dict()["state"] == {}
    assert optimizer.state_dict()["param_groups"][0]["lr"] == 0.1
    for _ in range(3):
        steps_of(network, optimizer, inputs, targets)
        steps_of(other, resumed, inputs, targets)
    for mine, theirs in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    clone = copy.deepcopy(optimizer)
    assert (clone.rule, clone.loss) == (LAYERS, "squared")


def test_schedulers_reach_the_rate(task):
    weights, inputs, targets = task
    network = deep_linear(weights)
    optimizer = CurvatureCorrected(network.parameters(), NATURAL, lr=0.4)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    steps_of(network, optimizer, inputs, targets)
    schedule.step()
    now = [p.detach().numpy().copy() for p in network.parameters()]
    x, y = inputs.numpy(), targets.numpy()
    values, vectors = np.linalg.eigh(x.T @ x / 8)
    root = (vectors * values**0.5) @ vectors.T
    best = np.linalg.lstsq(x, y)[0].T
    (first, _) = steps_of(network, optimizer, inputs, targets)
    wanted = 0.2 * matrix_velocity(NATURAL, now, best, root)[0]
    np.testing.assert_allclose(first.numpy(), wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": 0.5}, r"rule = 0.5: must be a deeplinear CurvatureCorrection"),
        ({"lr": 0.0}, r"lr = 0.0: must be a finite number in \(0, inf\)"),
        ({"lr": float("nan")}, r"lr = nan"),
        ({"loss": "hinge"}, r"loss = 'hinge': must be one of 'squared', 'cross_entropy'"),
        ({"params": [torch.ones(2, dtype=torch.complex128)]}, r"complex128: must be real"),
    ],
)
def test_constructor_refuses(arguments, message):
    good = {"params": [torch.nn.Parameter(torch.ones(2))], "rule": NATURAL, "lr": 0.1}
    with pytest.raises(ValueError, match=message):
        CurvatureCorrected(**(good | arguments))


def test_a_group_with_a_bad_rate_is_refused(task):
    network = deep_linear(task[0])
    with pytest.raises(ValueError, match=r"lr = -1"):
        CurvatureCorrected([{"params": network.parameters(), "lr": -1}], NATURAL, lr=0.1)


WEIGHT = torch.nn.Parameter(torch.ones(3, 2))
OUTPUTS = torch.ones(4, 2) @ WEIGHT.T
SQUARED_FAULTS = [
    (lambda: OUTPUTS, ValueError, r"closure\(\) = .*must be a pair"),
    (lambda: (OUTPUTS, 3.0), ValueError, r"must be two tensors"),
    (lambda: (OUTPUTS.detach(), torch.ones(4, 3)), ValueError, r"carry no graph"),
    (lambda: (OUTPUTS, torch.ones(3)), ValueError, r"targets have shape \(3,\): must be \(4, 3\)"),
    (lambda: (OUTPUTS, torch.full((4, 3), torch.nan)), ValueError, r"targets are not finite"),
    (lambda: (OUTPUTS / 0, torch.ones(4, 3)), RuntimeError, r"outputs are not finite"),
    (lambda: (1e25 * OUTPUTS, torch.ones(4, 3)), RuntimeError, r"loss is not finite"),
    (
        lambda: (torch.ones(4, 3, requires_grad=True) * 2, torch.ones(4, 3)),
        ValueError,
        r"depend on none",
    ),
    (
        lambda: ((OUTPUTS - 2).abs().sqrt() + 0 * OUTPUTS, torch.ones(4, 3)),
        RuntimeError,
        r"Jacobian is not finite",
    ),
]
CLASS_FAULTS = [
    (lambda: (OUTPUTS[:, :, None], torch.ones(4)), r"cross-entropy wants \(sample, class\)"),
    (lambda: (OUTPUTS, torch.tensor([0, 1, 3, 0])), r"targets\[2\] = 3: .*\[0, 3\)"),
    (lambda: (OUTPUTS, torch.tensor([0, 1])), r"must be 4 class numbers"),
    (lambda: (OUTPUTS, torch.ones(4)), r"probabilities must have the outputs' shape"),
    (lambda: (OUTPUTS, torch.ones(4, 3)), r"must be non-negative and sum to 1"),
]


@pytest.mark.parametrize(("closure", "error", "message"), SQUARED_FAULTS)
def test_step_refuses_a_wrong_closure_and_changes_nothing(closure, error, message):
    optimizer = CurvatureCorrected([WEIGHT], NATURAL, lr=0.1)
    with pytest.raises(error, match=message):
        optimizer.step(closure)
    assert (WEIGHT == 1).all()


@pytest.mark.parametrize(("closure", "message"), CLASS_FAULTS)
def test_step_refuses_targets_that_are_no_classes(closure, message):
    optimizer = CurvatureCorrected([WEIGHT], NATURAL, lr=0.1, loss="cross_entropy")
    with pytest.raises(ValueError, match=message):
        optimizer.step(closure)


def test_step_wants_a_closure():
    with pytest.raises(ValueError, match=r"closure = None: must be a function"):
        CurvatureCorrected([WEIGHT], NATURAL, lr=0.1).step()


def test_deep_linear_copies_its_weights(task):
    weights, inputs, _ = task
    network = deep_linear(weights)
    outputs = inputs.numpy() @ (weights[1] @ weights[0]).T
    np.testing.assert_allclose(network(inputs).detach().numpy(), outputs, rtol=0, atol=1e-14)
    with torch.no_grad():
        network[0].weight.zero_()
    assert weights[0].any()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
@pytest.mark.parametrize("rule", [NATURAL, LAYERS], ids=["full", "layer"])
def test_a_cuda_step_is_the_cpu_step(task, rule, loss):
    # both in float64; 1e-10 allows for another order of summation in an SVD of condition < 1e3
    weights, inputs, targets = task
    chosen = targets if loss == "squared" else targets.argmax(dim=1)
    steps = []
    for device in ("cpu", "cuda"):
        network = deep_linear(weights, device=device)
        optimizer = CurvatureCorrected(network.parameters(), rule, lr=1.0, loss=loss)
        found = steps_of(network, optimizer, inputs.to(device), chosen.to(device))
        steps.append([step.cpu() for step in found])
    for on_cpu, on_cuda in zip(*steps, strict=True):
        torch.testing.assert_close(on_cuda, on_cpu, rtol=0, atol=1e-10)
