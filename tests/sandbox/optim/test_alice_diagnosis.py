"""The exponents of gradient changes: of jumps, kinks and smooth losses; nothing left behind."""

import logging
import math

import numpy as np
import pytest
import torch
from small_training import bits
from torch import nn

from sandbox.optim._alice_points import SignStream
from sandbox.optim.alice import Alice, GlassDiagnosis


def losing(w, function):
    def closure():
        w.grad = None
        loss = function(w)
        loss.backward()
        return loss

    return closure


def kinks(coordinates=200, count=4000):
    """Jumps of mean zero, 2000 a unit of length, in every coordinate's gradient."""
    rng = np.random.default_rng(0)
    places = torch.from_numpy(rng.uniform(-1, 1, size=(coordinates, count)))
    sizes = torch.from_numpy(rng.normal(size=(coordinates, count)))
    return lambda w: (sizes * (w[:, None] - places).relu()).sum()


def bends(coordinates=200, count=40):
    """Kinks of every coordinate's gradient, 20 a unit of length, none of them felt before."""
    rng = np.random.default_rng(0)
    places = torch.from_numpy(rng.uniform(-1, 1, size=(coordinates, count)))
    return lambda w: ((w[:, None] - places).relu() ** 2).sum()


@pytest.mark.parametrize(
    ("function", "change", "second", "within"),
    [
        # 400 sides of 200 coordinates: exponents of E W² over a factor 16 scatter by about 0.04
        (kinks(), 1.0, 1.0, 0.15),
        # kinks of the gradient: second differences of sigma, at a share sigma of places
        (bends(), 2.0, 3.0, 0.15),
        (lambda w: (w**3).sum() + 3 * w.sum(), 2.0, 4.0, 1e-3),
        (lambda w: w.exp().sum(), 2.0, 4.0, 1e-2),
    ],
    ids=["jumps", "kinks", "cubic", "exponential"],
)
def test_exponents_of_known_losses(function, change, second, within):
    start = np.random.default_rng(1).uniform(-0.5, 0.5, size=200)
    w = nn.Parameter(torch.from_numpy(start))
    optimizer = Alice([w], 1e-3)
    found = optimizer.diagnose(
        losing(w, function), sigmas=np.geomspace(5e-4, 8e-3, 5), directions=4
    ).exponents()
    assert found["change"][0] == pytest.approx(change, abs=within)
    assert found["second_difference"][0] == pytest.approx(second, abs=within)


def test_squares_by_hand():
    # along the stream's own signs, on a quadratic plus a jump, in numpy
    matrix = np.array([[3.0, 0.5], [0.5, 1.0]])
    at, sigmas = np.array([0.3, -0.2]), np.array([0.05, 0.1, 0.4])

    def slope(x):
        return matrix @ x + 2.0 * np.array([x[0] > 0.25, 0.0])

    w = nn.Parameter(torch.from_numpy(at.copy()))
    tensor = torch.from_numpy(matrix)
    optimizer = Alice([w])
    found = optimizer.diagnose(
        losing(w, lambda w: w @ tensor @ w / 2 + 2 * (w[0] - 0.25).relu()),
        sigmas=sigmas,
        directions=3,
        seed=5,
    )
    stream = SignStream(5)
    change, second = np.zeros(3), np.zeros(3)
    for _ in range(3):
        z = stream.draw([w])[0].numpy()
        for k, sigma in enumerate(sigmas):
            up, down = slope(at + sigma * z) - slope(at), slope(at - sigma * z) - slope(at)
            change[k] += (up @ up + down @ down) / 2 / 2 / 3
            second[k] += (up + down) @ (up + down) / 2 / 3
    np.testing.assert_allclose(found.change, [change], rtol=1e-12)
    np.testing.assert_allclose(found.second_difference, [second], rtol=1e-12, atol=1e-28)
    assert found.sigmas.tolist() == sigmas.tolist()


def task():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 3)
        ).double()
        inputs, targets = torch.randn(16, 4).double(), torch.arange(16) % 3

    def closure():
        model.zero_grad(set_to_none=False)
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        return loss

    return model, closure


def test_training_does_not_notice():
    found = []
    for asked in (False, True):
        model, closure = task()
        optimizer = Alice(model.parameters(), 0.01, betas=(0.8, 0.99), model=model)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            for _ in range(9):
                optimizer.step(closure)
                if asked:
                    slopes = [p.grad for p in model.parameters()]
                    values = [g.clone() for g in slopes]
                    optimizer.diagnose(closure, directions=1)
                    optimizer.diagnose()
                    for p, slope, value in zip(model.parameters(), slopes, values, strict=True):
                        assert p.grad is slope
                        assert torch.equal(slope, value)
            found.append(
                bits([dict(model.state_dict()), optimizer.state_dict(), torch.get_rng_state()])
            )
    assert found[0] == found[1]


def test_a_failing_closure_leaves_everything():
    model, closure = task()
    optimizer = Alice(model.parameters(), 0.01, model=model)
    before = bits(dict(model.state_dict()))
    with pytest.raises(RuntimeError, match="diagnose: a loss or gradient is not finite"):
        optimizer.diagnose(lambda: closure() * math.nan)
    with pytest.raises(ZeroDivisionError):
        optimizer.diagnose(lambda: closure() / 0 if closure() is None else 1 / 0)
    assert bits(dict(model.state_dict())) == before
    assert all(p.grad is None for p in model.parameters())


def test_names():
    model, closure = task()
    layers, parameters = ("0", "1", "4"), tuple(name for name, _ in model.named_parameters())
    for given in (model.parameters(), model.named_parameters()):
        known = model if given.__name__ == "parameters" else None
        optimizer = Alice(given, model=known)
        assert optimizer.diagnose(closure, directions=1).names == layers
        assert optimizer.diagnose(closure, directions=1, by="parameter").names == parameters
        assert optimizer.diagnose(closure, directions=1, by="group").names == ("group 0",)
    bare = Alice([{"params": [p]} for p in model.parameters()])
    assert bare.diagnose(closure, directions=1).names[2] == "group 2, parameter 0"
    assert bare.diagnose(closure, directions=1, by="group").names[2] == "group 2"


def test_layers_are_means_over_their_parameters():
    model, closure = task()
    model.eval()
    optimizer = Alice(model.parameters(), model=model)
    layers = optimizer.diagnose(closure)
    apart = optimizer.diagnose(closure, by="parameter")
    whole = optimizer.diagnose(closure, by="group")
    sizes = np.array([p.numel() for p in model.parameters()])
    for name in ("change", "second_difference"):
        squares = getattr(apart, name)
        first = sizes[:2] @ squares[:2] / sizes[:2].sum()
        np.testing.assert_allclose(getattr(layers, name)[0], first, rtol=1e-12)
        np.testing.assert_allclose(
            getattr(whole, name)[0], sizes @ squares / sizes.sum(), rtol=1e-12
        )
    np.testing.assert_allclose(layers.sigmas, 1e-3 * 2.0 ** np.arange(-2, 3))


@pytest.mark.parametrize(("function", "exponent", "within"), [
    (kinks(), 1.0, 0.1), (lambda w: (w**2).sum() / 2 + w.sum(), 2.0, 1e-9)
])  # fmt: skip
def test_the_sample_steps_show_the_exponent_too(function, exponent, within):
    w = nn.Parameter(torch.from_numpy(np.random.default_rng(1).uniform(-0.5, 0.5, size=200)))
    optimizer = Alice([w], 2e-3)
    with pytest.raises(ValueError, match="no sample step has been done yet"):
        optimizer.diagnose()
    for _ in range(10):
        optimizer.step(losing(w, function))
    found = optimizer.diagnose()
    assert found.exponents()["change"][0] == pytest.approx(exponent, abs=within)
    assert math.isnan(found.exponents()["second_difference"][0])
    assert found.sigmas.tolist() == [2e-3, 4e-3]
    # one sample step against gradients by hand: the averages hold one sample each
    w = nn.Parameter(torch.tensor([0.3, -0.2], dtype=torch.float64))
    optimizer = Alice([w], 0.1)
    seen = []
    step = losing(w, lambda w: (w**3).sum())
    optimizer.step(lambda: (step(), seen.append(w.grad.clone()))[0])
    up, down, middle = seen
    found = optimizer.diagnose()
    near = ((up - middle) ** 2 + (down - middle) ** 2).mean() / 2
    np.testing.assert_allclose(found.change, [[near, ((up - down) ** 2).mean()]], rtol=1e-12)
    bend = ((up + down - 2 * middle) ** 2).mean()
    assert found.second_difference[0, 0] == pytest.approx(bend.item(), rel=1e-12)


def test_probes_at_several_distances_have_no_common_exponent():
    one, two = (nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = Alice([{"params": [one]}, {"params": [two], "lr": 0.1}])

    def closure():
        optimizer.zero_grad()
        loss = (one**2).sum() + (two**2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with pytest.raises(ValueError, match=r"groups have probed at \[0.001, 0.1\]"):
        optimizer.diagnose()
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    with pytest.raises(ValueError, match="lr is 0 now"):
        optimizer.diagnose()
    for group, rate in zip(optimizer.param_groups, (0.001, 0.1), strict=True):
        group["lr"] = rate
    assert len(optimizer.diagnose(closure, by="group").names) == 2


def test_exponents_are_logged(caplog):
    steps = np.array([0.1, 0.2])
    with caplog.at_level(logging.INFO, logger="sandbox.optim"):
        w = nn.Parameter(torch.ones(2, dtype=torch.float64))
        Alice([w], 0.01).diagnose(losing(w, lambda w: (w**3).sum()), sigmas=steps)
    assert "group 0, parameter 0: exponent of the gradient's change" in caplog.text
    assert "second difference 4.00 (glass 1, smooth 4)" in caplog.text


def test_exponents_of_a_part_and_of_nothing():
    steps = np.array([1.0, 2.0, 4.0, 8.0])
    squares = np.array([[1.0, 2.0, 8.0, 32.0]])
    found = GlassDiagnosis(("a",), steps, squares, 0 * squares)
    assert found.exponents(high=2.0)["change"][0] == pytest.approx(1.0, abs=1e-12)
    assert found.exponents(low=2.0)["change"][0] == pytest.approx(2.0, abs=1e-12)
    assert np.isnan(found.exponents()["second_difference"]).all()
    assert np.isnan(found.exponents(low=5.0)["change"]).all()


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"closure": 3}, "closure = 3: must be a function"),
        ({"sigmas": [0.1]}, "must be two or more distances, growing"),
        ({"sigmas": [0.2, 0.1]}, "must be two or more distances, growing"),
        ({"sigmas": [0.0, 0.1]}, "sigmas = 0.0"),
        ({"sigmas": 0.1}, "sigmas = 0.1: must be a list of distances"),
        ({"directions": 0}, "directions = 0"),
        ({"by": "unit"}, "by = 'unit': must be one of 'layer', 'parameter', 'group'"),
        ({"seed": -1}, "seed = -1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    w = nn.Parameter(torch.ones(2))
    with pytest.raises(ValueError, match=message):
        Alice([w]).diagnose(**({"closure": losing(w, lambda w: w.sum())} | arguments))
