"""Alice's burn-in, quick steps, weight decay and schedule of the rate."""

import numpy as np
import pytest
import torch

from sandbox.optim._alice_update import signed_step
from sandbox.optim.alice import Alice
from tests.sandbox.optim.alice_problems import kinked, minimising, options, parameter, state_of


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
