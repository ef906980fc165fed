"""Alice's step: its average, its limits, its bounds."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from sandbox.optim._alice_update import fresh_state, signed_step
from sandbox.optim.alice import Alice
from tests.sandbox.optim.alice_problems import minimising, options, parameter, state_of
from theory.glass import glass_step

HIGH, WIDE = 1e300, 1e-300
MATRIX = torch.tensor([[3.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
OFFSET = torch.tensor([1.0, -2.0], dtype=torch.float64)


def quadratic(w):
    return w @ MATRIX @ w / 2 - OFFSET @ w


def test_the_average_is_the_gradient_where_the_weights_are():
    # six moves of -G/(4, 2.5) from (2, -1), and the average one evaluation later
    w = parameter([2.0, -1.0])
    optimizer = Alice(
        [w], 0.1, betas=(0.9, 0.99), quick_steps=99, glass=False, bounds="fixed", lr_max=HIGH,
        eps=WIDE,
    )  # fmt: skip
    closure = minimising(optimizer, lambda: quadratic(w))
    for _ in range(10):
        optimizer.step(closure)
    assert w.tolist() == [2.0, -1.0]
    optimizer.state[w]["curvature"] = torch.tensor([4.0, 2.5], dtype=torch.float64)
    for _ in range(6):
        optimizer.step(closure)
    np.testing.assert_allclose(
        w.detach().numpy(), [1.4519625027613672, -1.405923187260031], rtol=0, atol=1e-13
    )
    optimizer.step(closure)
    np.testing.assert_allclose(
        optimizer.state[w]["gradient"].numpy(),
        [2.6529259146540856, 1.3200580641206527],
        rtol=0,
        atol=1e-13,
    )


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.95])
@pytest.mark.parametrize("omega", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("share", [1.0, 0.5, 2.0])
def test_look_ahead_is_exact_iff_the_move_fits(beta, omega, share):
    w = parameter([2.0, -1.0])
    phi = None if share == 1.0 else share * omega * (1 - beta)
    optimizer = Alice(
        [w], 0.01, betas=(beta, 0.999), quick_steps=3, lr_max=0.05, omega=omega, phi=phi
    )
    errors = []
    moved = False
    for _ in range(40):
        at = w.detach().clone()
        optimizer.step(minimising(optimizer, lambda: quadratic(w)))
        errors.append((optimizer.state[w]["gradient"] - (MATRIX @ at - OFFSET)).abs().max().item())
        moved = moved or not torch.equal(at, w)
    assert moved
    assert (max(errors) < 1e-13) == (share == 1.0)
    assert share == 1.0 or max(errors) > 1e-3


def test_newtons_step_on_a_bowl():
    # along random signs the curvature of a separable bowl is its diagonal
    bowl = torch.tensor([0.5, 4.0, 100.0], dtype=torch.float64)
    w = parameter([3.0, -2.0, 1.0])
    optimizer = Alice(
        [w], 0.1, betas=(0.5, 0.9), lr_max=HIGH, phi=1.0, quick_steps=0, eps=WIDE, glass=False
    )
    for _ in range(3):
        optimizer.step(minimising(optimizer, lambda: (bowl * w**2).sum()))
    assert w.abs().max().item() < 1e-13
    np.testing.assert_allclose(optimizer.state[w]["curvature"].numpy(), 2 * bowl, rtol=1e-12)


def test_the_step_is_the_theorys():
    generator = np.random.default_rng(0)
    g, h, rho = generator.normal(size=200), *generator.uniform(0, 3, size=(2, 200))
    state = fresh_state(torch.zeros(200, dtype=torch.float64))
    for name, values in (("gradient", g), ("curvature", h), ("glass", rho)):
        state[name] = torch.from_numpy(values)
    group = options(bounds="fixed", lr_max=HIGH, eps=WIDE)
    np.testing.assert_allclose(signed_step(state, group).numpy(), glass_step(g, h, rho), rtol=1e-13)
    group = options(bounds="fixed", lr_max=HIGH, eps=WIDE, glass=False)
    np.testing.assert_allclose(signed_step(state, group).numpy(), -g / h, rtol=1e-13)
    group = options(bounds="fixed", lr_max=HIGH, eps=WIDE, hessian="off")
    wanted = -np.sign(g) * 2 * np.pi * g**2 / (3 * rho)
    np.testing.assert_allclose(signed_step(state, group).numpy(), wanted, rtol=1e-13)


@pytest.mark.parametrize(
    ("bounds", "unit"),
    [
        ("fixed", lambda g, v: np.ones_like(g)),
        ("sgdm", lambda g, v: np.abs(g)),
        ("adam", lambda g, v: np.abs(g) / (np.sqrt(v) + 1e-8)),
    ],
)
def test_bounds(bounds, unit):
    g, v = np.array([2.0, -0.5, 1e-3, 0.0]), np.array([9.0, 0.25, 4.0, 1.0])
    for curvature, wanted in ((1e-12, 0.3), (1e12, 0.1)):
        state = state_of(gradient=g, second_moment=v, curvature=[curvature] * 4)
        found = signed_step(state, options(bounds=bounds, lr_min=0.1, lr_max=0.3)).numpy()
        sign = np.where(g > 0, -1.0, 1.0)
        size = np.where(g == 0, 0.1 if bounds == "fixed" else 0.0, wanted * unit(g, v))
        np.testing.assert_allclose(found, sign * size, rtol=1e-12)


def test_a_length_that_is_nan_becomes_the_upper_bound():
    # no glass and an infinite curvature: 0 times infinity under the root
    state = state_of(gradient=[2.0, -2.0], curvature=[math.inf, math.nan])
    found = signed_step(state, options(bounds="fixed", lr_max=0.3, glass=False))
    assert found.tolist() == [-0.3, 0.3]
    state = state_of(gradient=[2.0, -2.0], curvature=[1.0, 1.0], glass=[math.nan, math.inf])
    found = signed_step(state, options(bounds="fixed", lr_min=0.1, lr_max=0.3))
    assert found.tolist() == [-0.3, 0.1]


def net(dtype=torch.float64, device="cpu", extra=()):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), *extra, nn.Tanh(), nn.Linear(8, 3))
        inputs, targets = torch.randn(16, 4), torch.arange(16) % 3
    return model.to(device, dtype), inputs.to(device, dtype), targets.to(device)


@pytest.mark.parametrize("omega", [1.0, 0.1])
def test_where_the_upper_bound_acts_the_step_is_adams(omega):
    # phi = omega: no look-ahead. Adam's averages are given those of the burn-in, its corrections
    # of their start are past; 200 steps of at most 1e-4 leave 1e-14 of rounding
    lr_max, betas = 1e-4, (0.9, 0.95)
    mine, inputs, targets = net()
    other, *_ = net()
    alice = Alice(
        mine.parameters(), 1e-3, betas=betas, lr_max=lr_max, phi=omega, omega=omega, burn_in=20,
        glass=False,
    )  # fmt: skip
    closure = minimising(alice, lambda: nn.functional.cross_entropy(mine(inputs), targets))
    for _ in range(20):
        alice.step(closure)
    adam = torch.optim.Adam(other.parameters(), omega * lr_max, betas=betas)
    for theirs, own in zip(other.parameters(), mine.parameters(), strict=True):
        averages = alice.state[own]
        adam.state[theirs] = {
            "step": torch.tensor(1e9),
            "exp_avg": averages["gradient"].clone(),
            "exp_avg_sq": averages["second_moment"].clone(),
        }
    for _ in range(200):
        alice.step(closure)
        adam.step(minimising(adam, lambda: nn.functional.cross_entropy(other(inputs), targets)))
    for theirs, own in zip(other.parameters(), mine.parameters(), strict=True):
        torch.testing.assert_close(own, theirs, rtol=0, atol=1e-12)
