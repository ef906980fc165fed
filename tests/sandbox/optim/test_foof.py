"""FOOF against frozen numbers, naive formulas and limits."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy, unfold

from sandbox.optim import FOOF
from tests.sandbox.optim.foof_problems import (
    DEVICES,
    DOUBLE,
    FIRST,
    INPUTS,
    LABELS,
    SECOND,
    close,
    descend,
    flat,
    images,
    network,
    tiny,
)

# updates of the two layers at damping 0.3, found by explicit solves in another program
GOLDEN = {
    "paper": (
        [
            [-0.013242547847655368, 0.026312392785355763, 0.011633173781313578],
            [-1.2596592438680625e-05, -0.025246179842378015, 0.03486811538491948],
            [-0.0033759427988976176, -0.02574581972175775, -0.07920204684076983],
            [-0.05097261098160951, 0.04130585505562177, 0.05404306609641903],
        ],
        [
            [
                -0.09023702943063462,
                -0.022010541731778386,
                0.053770399875746756,
                -0.07072199716128022,
            ],
            [
                -0.01485214332254617,
                -0.09455895311544359,
                0.058900583104417106,
                0.0356796347321262,
            ],
            [0.10508917275318086, 0.1165694948472219, -0.11267098298016395, 0.035042362429153914],
        ],
    ),
    "mean": (
        [
            [-0.049100474851487136, 0.08064321130861103, 0.03713456953105413],
            [0.0030659444933366473, -0.08178251022981324, 0.12481481100257473],
            [0.004332698564772192, -0.0631952076581857, -0.2691789932658258],
            [-0.17417006235297278, 0.1285048104520651, 0.18507054097969927],
        ],
        [
            [-0.25023557455975926, -0.042972915507726465, 0.18720330556658404, -0.2349060043787137],
            [0.007451207677122878, -0.24575292688121414, 0.1793196531482252, 0.05590675992780967],
            [0.24278436688263644, 0.28872584238894056, -0.36652295871480933, 0.17899924445090398],
        ],
    ),
}
GOLDEN_CONVOLUTION = [
    [
        [[0.4931436894401294, 0.4098629172827126], [0.2798170435509268, 0.23260777235062405]],
        [[0.16581468048633463, 0.18475212125015214], [0.25314638341072987, 0.3021590351815542]],
    ],
    [
        [[0.1241021402414369, 0.09633635944474862], [0.04890239212401867, 0.02854607619033708]],
        [
            [-0.05339141440403879, -0.06821854764184777],
            [-0.09906496687496047, -0.11577238227990384],
        ],
    ],
    [
        [[-0.2449394089572556, -0.21719019839321527], [-0.18201225930288917, -0.17551561996995]],
        [[-0.2725975092944113, -0.3211892165338486], [-0.45127631716064975, -0.5337037997413626]],
    ],
]
POLAR = [
    [-0.2226583023957266, 0.20186640525159796, -0.6803154192681647],
    [-0.6644032884579404, -0.518758013318162, -0.28132735522942687],
    [-0.0032335842156914485, -0.7116975749281225, 0.255156706176742],
    [0.702903590329343, -0.40571640818223764, -0.5365446904936964],
    [-0.12209683573200489, 0.1379160470073189, -0.3240998301475281],
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("side", ["gradient", "activation"])
@pytest.mark.parametrize("scaling", ["mean", "paper"])
def test_one_step_of_a_tiny_network(scaling, side, device):
    model = tiny().to(device)
    optimizer = FOOF(model, 1.0, 0.3, scaling=scaling, side=side)
    cross_entropy(model(INPUTS.to(device)), LABELS.to(device)).backward()
    optimizer.step()
    for layer, before, update in zip((0, 2), (FIRST, SECOND), GOLDEN[scaling], strict=True):
        moved = torch.tensor(before, dtype=DOUBLE) - model[layer].weight.cpu()
        close(moved, torch.tensor(update, dtype=DOUBLE))


@pytest.mark.parametrize("side", ["gradient", "activation"])
@pytest.mark.parametrize("scaling", ["mean", "paper"])
def test_one_step_of_a_convolution(scaling, side):
    pixels = torch.linspace(-1, 1, 36, dtype=DOUBLE).view(2, 2, 3, 3) ** 3 + 0.1
    conv = nn.Conv2d(2, 3, 2, bias=False).to(DOUBLE)
    before = torch.linspace(0.5, -0.5, 24, dtype=DOUBLE).view(3, 2, 2, 2)
    conv.weight.data = before.clone()
    optimizer = FOOF(nn.Sequential(conv), 1.0, 0.3, scaling=scaling, side=side)
    optimizer.model(pixels).square().sum(dim=(1, 2, 3)).mul(0.5).mean().backward()
    optimizer.step()
    close(before - conv.weight, torch.tensor(GOLDEN_CONVOLUTION, dtype=DOUBLE))


def test_two_points_are_fitted_in_one_step():
    model = nn.Linear(2, 1, bias=False).to(DOUBLE)
    nn.init.zeros_(model.weight)
    inputs = torch.tensor([[3.0, 1.0], [1.0, 0.0]], dtype=DOUBLE)
    targets = torch.tensor([[1.0], [-1.0]], dtype=DOUBLE)
    optimizer = FOOF(model, 1.0, 1e-15, scaling="paper")
    (0.5 * (model(inputs) - targets).square().sum()).backward()
    close(-model.weight.grad, [[2.0, 1.0]])
    optimizer.step()
    # the inverse has norm 12, so a damping of 1e-15 moves the answer by some 1e-13
    close(model.weight, [[-1.0, 4.0]], 1e-12)


def test_half_the_power_is_the_polar_factor_where_errors_are_orthonormal():
    columns = [[1.0, 0.2, -0.3], [0.4, 1.1, 0.5], [-0.6, 0.3, 0.9], [0.2, -0.8, 0.7]]
    errors, _ = torch.linalg.qr(torch.tensor([*columns, [0.5, 0.1, -0.2]], dtype=DOUBLE))
    errors = 1.3 * errors
    model = nn.Linear(3, 5, bias=False).to(DOUBLE)
    before = model.weight.detach().clone()
    optimizer = FOOF(model, 1.0, 1e-14, power=0.5, scaling="paper")
    (model(INPUTS[:3]) * errors.T).sum().backward()
    optimizer.step()
    # the smallest eigenvalue of the covariance is above 1, so the damping leaves 14 digits
    close((before - model.weight) / 1.3, torch.tensor(POLAR, dtype=DOUBLE))


def naive_covariance(layer, inputs, sharing, bias):
    """Return the second moment of a layer's rows, one sample and position at a time."""
    if isinstance(layer, nn.Conv2d):
        rows = unfold(inputs, layer.kernel_size, padding=layer.padding).transpose(1, 2)
    else:
        rows = inputs.reshape(len(inputs), -1, inputs.shape[-1])
    if bias:
        rows = torch.cat([rows, torch.ones(*rows.shape[:2], 1, dtype=rows.dtype)], dim=2)
    total = 0
    for sample in rows:
        if sharing == "reduce":
            total = total + torch.outer(sample.mean(0), sample.mean(0))
        else:
            for row in sample:
                total = total + torch.outer(row, row)
    return total


@pytest.mark.parametrize("side", ["gradient", "activation"])
@pytest.mark.parametrize("bias", ["augment", "fallback"])
@pytest.mark.parametrize("sharing", ["expand", "reduce"])
@pytest.mark.parametrize("scaling", ["mean", "paper"])
@pytest.mark.parametrize("power", [1.0, 0.5])
def test_shared_weights_against_the_naive_formula(power, scaling, sharing, bias, side):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 2, padding=1), nn.Tanh(), nn.Flatten(2), nn.Linear(16, 4))
    model.to(DOUBLE)
    before = copy.deepcopy(model)
    inputs = torch.randn(5, 2, 3, 3, dtype=DOUBLE)
    optimizer = FOOF(
        model,
        0.1,
        0.2,
        power=power,
        scaling=scaling,
        sharing=sharing,
        bias=bias,
        side=side,
        fallback={"lr": 0.3} if bias == "fallback" else None,
    )
    for net in (model, before):
        net(inputs).square().sum(dim=(1, 2)).mean().backward()
    optimizer.step()
    fed = {0: inputs, 3: before[2](before[1](before[0](inputs)))}
    for place, given_to in fed.items():
        layer = before[place]
        covariance = naive_covariance(layer, given_to, sharing, bias == "augment").detach()
        if scaling == "mean" or place == 0:
            covariance /= 5
        gradient = layer.weight.grad.flatten(1)
        if bias == "augment":
            gradient = torch.cat([gradient, layer.bias.grad[:, None]], dim=1)
        values, vectors = torch.linalg.eigh(covariance)
        update = gradient @ vectors @ torch.diag((values + 0.2) ** -power) @ vectors.T
        size = layer.weight[0].numel()
        wanted = layer.weight.flatten(1) - 0.1 * update[:, :size]
        close(model[place].weight.flatten(1), wanted.detach())
        moved = 0.1 * update[:, size] if bias == "augment" else 0.3 * layer.bias.grad
        close(model[place].bias, (layer.bias - moved).detach())


@given(st.integers(1, 6), st.floats(1e-3, 1e3), st.integers(0, 2**32))
def test_scaling_is_a_change_of_units(count, damping, seed):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 3, dtype=DOUBLE, generator=generator)
    ends = []
    for scaling, factor in (("paper", 1.0), ("mean", 1 / count)):
        model = tiny()
        optimizer = FOOF(model, 0.5 * factor, damping * factor, scaling=scaling)
        cross_entropy(model(inputs), LABELS[:1].expand(count)).backward()
        optimizer.step()
        ends.append(flat(model))
    torch.testing.assert_close(*ends, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("power", [0.5, 1.0])
@pytest.mark.parametrize("side", ["gradient", "activation"])
def test_large_damping_is_gradient_descent(side, power):
    model, plain = network(), network()
    optimizer = FOOF(model, 0.1 * (1e12) ** power, 1e12, power=power, side=side, T=3, S=2)
    descend(model, optimizer, 5)
    descend(plain, torch.optim.SGD(plain.parameters(), lr=0.1), 5)
    # the covariances are below 100, against a damping of 1e12
    close(flat(model), flat(plain), 1e-9)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("T", "S"), [(1, 1), (3, 2)])
def test_both_sides_are_equal_without_momentum(T, S, bias, device):
    ends = []
    for side in ("gradient", "activation"):
        model = network(device, bias=bias)
        optimizer = FOOF(model, 0.1, 0.5, T=T, S=S, side=side, weight_decay=0.01)
        descend(model, optimizer, 7, device=device)
        ends.append(flat(model))
    torch.testing.assert_close(*ends, rtol=1e-11, atol=1e-12)


def test_the_gradient_is_preconditioned_on_the_activation_side_alone():
    grads = {}
    for side in ("gradient", "activation"):
        model = network()
        optimizer = FOOF(model, 1.0, 0.5, side=side)
        inputs, labels = images()
        before = flat(model)
        cross_entropy(model(inputs), labels).backward()
        optimizer.step()
        grads[side] = torch.cat([p.grad.reshape(-1) for p in model.parameters()])
        if side == "activation":
            torch.testing.assert_close(before - flat(model), grads[side], rtol=1e-12, atol=1e-12)
    plain = network()
    cross_entropy(plain(inputs), labels).backward()
    wanted = torch.cat([p.grad.reshape(-1) for p in plain.parameters()])
    assert torch.equal(grads["gradient"], wanted)
    assert not torch.allclose(grads["activation"], wanted)
