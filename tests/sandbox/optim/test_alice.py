"""Alice's step against a trace of six steps by hand, its limits, its schedule and its bounds."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from sandbox.optim._alice_points import SignStream
from sandbox.optim._alice_update import checked, fresh_state, signed_step
from sandbox.optim.alice import Alice
from theory.glass import glass_step

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
SIGNS = [(1, 1), (1, -1), (-1, 1), (1, 1), (-1, 1), (1, -1)]
HIGH, WIDE = 1e300, 1e-300
# six steps on the kinked loss below from (0.25, 0.2), lr 0.1, betas (0.5, 0.9), no quick steps:
# numbers of an independent numpy program
TRACES = {
    "adam bounds, size of curvature, glass": (
        {"lr_max": 0.2},
        {
            "gradient": (0.225452370493693, 0.14640600731371908),
            "glass": (0.9416666666666667, 0.635416666666667),
            "curvature": (3.2833333333333328, 1.9916666666666667),
            "second_moment": (0.29815319946370716, 0.4519721455592596),
            "mu": (0.10754027196917837, -0.007344399174036622),
            "nu": (0.09149786203774848, -0.021134667455024795),
        },
        0.008371240147360093,
    ),
    "fixed bounds, root mean square, glass, weight decay": (
        {
            "bounds": "fixed",
            "hessian": "rms",
            "lr_min": 0.01,
            "lr_max": 0.15,
            "weight_decay": (0.01, 0.02),
        },
        {
            "gradient": (0.24027593359026098, 0.2049601503841053),
            "glass": (1.3499999999999999, 0.7375000000000002),
            "curvature": (16.127066666666664, 5.281233333333334),
            "second_moment": (0.30603060749211003, 0.48971187198769983),
            "mu": (0.14475360526346506, -0.013658303575182228),
            "nu": (0.1312593911847766, -0.03291472762583339),
        },
        0.014971006518000053,
    ),
    "bounds of SGD, glass alone": (
        {"bounds": "sgdm", "hessian": "off", "lr_max": 0.5},
        {
            "gradient": (-0.01617270088254924, 0.016673669207838818),
            "glass": (0.9416666666666667, 0.635416666666667),
            "curvature": (3.2833333333333328, 1.9916666666666667),
            "second_moment": (0.305082807155398, 0.4614578100302405),
            "mu": (0.007060668360228376, -0.16002667773446744),
            "nu": (0.007351536931321382, -0.16048485405330415),
        },
        0.005987566054843734,
    ),
}


def parameter(values, dtype=torch.float64, device="cpu"):
    return nn.Parameter(torch.tensor(values, dtype=dtype, device=device))


def minimising(optimizer, function):
    def closure():
        optimizer.zero_grad()
        loss = function()
        loss.backward()
        return loss

    return closure


def kinked(w):
    one, two = w[0] + 0.5 * w[1] - 0.3, -w[0] + w[1] + 0.1
    bowl = 0.75 * w[0] ** 2 + 0.25 * w[1] ** 2 + 0.4 * w[0] * w[1]
    return bowl + 0.7 * one.relu() + 0.4 * two.relu()


def given_signs(monkeypatch):
    drawn = iter(SIGNS)

    def draw(_, parameters):
        (only,) = parameters
        return [torch.tensor(next(drawn), dtype=only.dtype, device=only.device)]

    monkeypatch.setattr(SignStream, "draw", draw)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", TRACES)
def test_six_steps_by_hand(name, device, monkeypatch):
    options, wanted, loss = TRACES[name]
    w = parameter([0.25, 0.2], device=device)
    optimizer = Alice([w], 0.1, betas=(0.5, 0.9), quick_steps=0, **options)
    given_signs(monkeypatch)
    for _ in SIGNS:
        optimizer.step(minimising(optimizer, lambda: kinked(w)))
    state = optimizer.state[w]
    found = dict(state) | {"mu": w.detach(), "nu": w.detach() + state["ahead"]}
    for key, values in wanted.items():
        np.testing.assert_allclose(found[key].cpu().numpy(), values, rtol=0, atol=1e-12)
    assert kinked(w).item() == pytest.approx(loss, rel=0, abs=1e-12)
    assert state["step"] == 6


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", TRACES)
def test_float32_takes_the_same_steps(name, device):
    # not from (0.25, 0.2), where a probe lies on a kink; second differences of size 0.01 over
    # 0.1 lose two digits of seven
    found = []
    for dtype, where in ((torch.float64, "cpu"), (torch.float32, device)):
        w = parameter([0.257, 0.2], dtype, where)
        optimizer = Alice([w], 0.1, betas=(0.5, 0.9), quick_steps=0, **TRACES[name][0])
        for _ in range(6):
            optimizer.step(minimising(optimizer, lambda w=w: kinked(w)))
        state = optimizer.state[w]
        assert all(v.dtype == dtype for v in state.values() if isinstance(v, torch.Tensor))
        found.append([w.detach().cpu().double(), state["glass"].cpu().double()])
    for single, double in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(single, double, rtol=1e-4, atol=1e-4)


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


def options(**changed):
    return checked(Alice([parameter([0.0])]).defaults | changed)


def state_of(**values):
    state = fresh_state(torch.zeros(len(next(iter(values.values()))), dtype=torch.float64))
    return state | {k: torch.tensor(v, dtype=torch.float64) for k, v in values.items()}


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


def evaluations(optimizer, function, steps):
    counts, closure = [], minimising(optimizer, function)
    for _ in range(steps):
        calls = []
        optimizer.step(lambda calls=calls: (calls.append(1), closure())[1])
        counts.append(len(calls))
    return counts


@pytest.mark.parametrize(
    ("beta", "burn_in", "steps"),
    [
        (0.9, None, 10),
        (0.95, None, 20),
        (0.8, None, 5),
        (0.0, None, 1),
        (0.9, 9, 9),
        (0.7, None, 3),
    ],
)
@pytest.mark.parametrize("quick_steps", [0, 3])
def test_burn_in_and_schedule(beta, burn_in, steps, quick_steps):
    w = parameter([1.0, 2.0])
    optimizer = Alice([w], betas=(beta, 0.999), burn_in=burn_in, quick_steps=quick_steps)
    counts = []
    still = 0
    for _ in range(steps + 12):
        counts += evaluations(optimizer, lambda: (w**2).sum(), 1)
        still += w.tolist() == [1.0, 2.0]
    period = quick_steps + 1
    wanted = [3 if t <= steps or t % period == 0 else 1 for t in range(1, steps + 13)]
    assert counts == wanted
    assert still == steps


def test_a_quick_step_leaves_the_curvature():
    w = parameter([0.25, 0.2])
    optimizer = Alice([w], 0.1, betas=(0.5, 0.9), quick_steps=3, lr_max=0.2)
    closure = minimising(optimizer, lambda: kinked(w))
    for _ in range(4):
        optimizer.step(closure)
    before = {k: torch.as_tensor(v).clone() for k, v in optimizer.state[w].items()}
    optimizer.step(closure)
    after = optimizer.state[w]
    for name in ("curvature", "glass", "differences"):
        assert torch.equal(before[name], after[name])
    for name in ("gradient", "second_moment", "ahead"):
        assert not torch.equal(before[name], after[name])


def test_quick_steps_shorten_the_memory_of_the_curvature():
    # a bowl of curvature 2, then of 6: from t = 10 on a sample weighs (s + 1)(1 - beta2) = 0.4
    w = parameter([1.0])
    optimizer = Alice([w], 0.1, betas=(0.5, 0.9), quick_steps=3, glass=False)
    bend, found = [1.0], []
    for t in range(1, 21):
        bend[0] = 1.0 if t <= 8 else 3.0
        optimizer.step(minimising(optimizer, lambda: bend[0] * (w**2).sum()))
        found.append(optimizer.state[w]["curvature"].item())
    assert found[7] == pytest.approx(2.0, rel=1e-12)
    assert found[11] == pytest.approx(2 + 0.4 * 4, rel=1e-12)
    assert found[15] == pytest.approx(found[11] + 0.4 * (6 - found[11]), rel=1e-12)
    assert found[16] == found[15]


def test_weight_decay_enters_gradient_and_curvature():
    w = parameter([2.0, -3.0, 0.0])
    made = [Alice([w], 0.1, weight_decay=wd, hessian=h)
            for h in ("abs", "rms") for wd in ((0.0, 0.0), (0.3, 0.7))]  # fmt: skip
    slope = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    for optimizer in made:
        optimizer.step(minimising(optimizer, lambda: (slope * w).sum() + (w**2).sum()))
    plain, decayed, plain_rms, rms = (optimizer.state[w] for optimizer in made)
    gap = (decayed["gradient"] - plain["gradient"]).tolist()
    assert gap == pytest.approx([0.3 + 1.4, -0.3 - 2.1, 0.3], rel=1e-14)  # sgn 0 is 1
    assert (decayed["curvature"] - plain["curvature"]).tolist() == pytest.approx([0.7] * 3)
    assert (rms["curvature"] - plain_rms["curvature"]).tolist() == pytest.approx([0.49] * 3)
    assert torch.equal(decayed["second_moment"], plain["second_moment"])


def test_maximize_climbs_and_still_decays():
    up, down = parameter([0.5, -1.0]), parameter([0.5, -1.0])
    climbing = Alice([up], 0.1, betas=(0.5, 0.9), maximize=True, weight_decay=(0.1, 0.2))
    falling = Alice([down], 0.1, betas=(0.5, 0.9), weight_decay=(0.1, 0.2))
    for _ in range(8):
        climbing.step(minimising(climbing, lambda: -kinked(up)))
        falling.step(minimising(falling, lambda: kinked(down)))
        assert torch.equal(up, down)
    for name, value in climbing.state[up].items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(falling.state[down][name]))


def test_a_schedule_of_the_rate_changes_the_bounds_by_the_same_factor():
    state = state_of(gradient=[1.0], curvature=[1e-12])
    for changed, wanted in (({}, 0.03), ({"scale_bounds": False}, 0.3)):
        group = options(bounds="fixed", lr=1.0, lr_max=0.3, **changed)
        group["lr"] = 0.1
        assert signed_step(state, group).tolist() == pytest.approx([-wanted])
    w = parameter([1.0])
    optimizer = Alice([w], 0.5, betas=(0.5, 0.9), quick_steps=0, lr_max=0.2, bounds="fixed")
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.1)
    places = []

    def seen():
        optimizer.zero_grad()
        places.append(w.item())
        loss = 100 * w.sum()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(seen)
        schedule.step()
    # probes at 0.5, 0.05, 0.005; then one step at the bound of 0.2, a hundredth of it left
    distances = np.abs(np.array(places).reshape(3, 3) - 1.0)
    np.testing.assert_allclose(
        distances, [[0.5, 0.5, 0], [0.05, 0.05, 0], [0.005, 0.005, 0]], atol=1e-15
    )
    assert w.item() == pytest.approx(1.0 - 0.5 * 0.002)
