"""The update rules on stacked parameters: torch's own optimisers, member by member."""

import math

import numpy as np
import pytest
import torch

from sandbox.training.descent import Descent, Update

SHAPES = {"weight": (4, 3), "bias": (4,), "kernel": (2, 1, 3, 3), "gain": ()}
RULES = {
    "sgd": Descent(lr=0.3),
    "sgd, rates": Descent(lr=[0.3, 0.03, 3.0]),
    "decay": Descent(lr=0.1, weight_decay=0.7),
    "momentum": Descent(lr=0.1, momentum=0.9),
    "momenta": Descent(lr=[0.1, 0.2, 0.3], momentum=[0.9, 0.0, 0.5], weight_decay=[0.0, 0.3, 0.6]),
    "array": Descent(lr=np.array([0.1, 0.2, 0.3], dtype=np.float32)),
    "adam": Descent("adam", lr=0.05),
    "adam, its own": Descent("adam", lr=0.05, betas=(0.7, 0.8), eps=0.3, weight_decay=0.4),
    "adam, rates": Descent("adam", lr=[0.05, 0.5, 0.01], weight_decay=[0.0, 1.0, 0.1]),
    "adam, no memory": Descent("adam", lr=0.05, betas=(0.0, 0.0), eps=1e-3),
}


def numbers(generator, members, dtype):
    return {
        key: torch.from_numpy(generator.normal(size=(members, *shape))).to(dtype)
        for key, shape in SHAPES.items()
    }


def number(rule, name, member, members=3):
    return float(np.broadcast_to(getattr(rule, name), members)[member])


def torchs_own(rule, parameters, member):
    """Return torch's optimiser of one member's parameters, and these."""
    own = {
        key: p[member].clone().requires_grad_(True)  # no view: the stack is updated in place
        for key, p in parameters.items()
    }
    lr, decay = number(rule, "lr", member), number(rule, "weight_decay", member)
    if rule.kind == "adam":
        numbers = {"betas": rule.betas, "eps": rule.eps, "weight_decay": decay}
        return torch.optim.Adam(own.values(), lr, **numbers), own
    momentum = number(rule, "momentum", member)
    return torch.optim.SGD(own.values(), lr, momentum, weight_decay=decay), own


@pytest.mark.parametrize(
    ("dtype", "bound"),
    # a few roundings a step, of numbers up to ten, over seven steps
    [(torch.float64, 1e-13), (torch.float32, 2e-5)],
    ids=["float64", "float32"],
)
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_every_step_is_torchs(rule, dtype, bound):
    generator = np.random.default_rng(3)
    parameters = numbers(generator, 3, dtype)
    peers = [torchs_own(rule, parameters, member) for member in range(3)]
    update = Update(rule, parameters)
    for step in range(7):
        factor = 1.0 if step < 3 else 0.25 * step
        gradients = numbers(generator, 3, dtype)
        kept = {key: g.clone() for key, g in gradients.items()}
        update.step(gradients, factor)
        for member, (optimizer, own) in enumerate(peers):
            for group in optimizer.param_groups:
                group["lr"] = number(rule, "lr", member) * factor
            for key, p in own.items():
                p.grad = kept[key][member].clone()
            optimizer.step()
            for key, p in own.items():
                found = parameters[key][member]
                assert found.dtype == dtype
                torch.testing.assert_close(found, p.detach(), rtol=0, atol=bound)
        for key, g in gradients.items():
            assert torch.equal(g, kept[key])  # an update does not use up its gradients


@pytest.mark.parametrize("name", ["momenta", "adam, rates"])
def test_clear_forgets_everything(name):
    rule, generator = RULES[name], np.random.default_rng(3)
    parameters = numbers(generator, 3, torch.float64)
    start = {key: p.clone() for key, p in parameters.items()}
    gradients = [numbers(generator, 3, torch.float64) for _ in range(4)]
    update = Update(rule, parameters)
    ends = []
    for _ in range(2):
        for g in gradients:
            update.step(g, 1.0)
        ends.append({key: p.clone() for key, p in parameters.items()})
        for key, p in parameters.items():
            p.copy_(start[key])
        update.clear()
    for key in SHAPES:
        assert torch.equal(ends[0][key], ends[1][key])
        assert not torch.equal(ends[0][key], start[key])


def test_parameters_are_moved_in_place():
    parameters = {"weight": torch.ones(2, 3, dtype=torch.float64)}
    held = parameters["weight"]
    Update(Descent(lr=[0.5, 1.0]), parameters).step({"weight": torch.ones_like(held)}, 0.5)
    assert parameters["weight"] is held
    assert held.tolist() == [[0.75] * 3, [0.5] * 3]


def test_a_first_step_of_adam_is_the_sign_of_the_gradient():
    # m/(1 - b1) = g and v/(1 - b2) = g^2 at t = 1: theta moves by eta g / (|g| + eps)
    parameters = {"weight": torch.zeros(1, 3, dtype=torch.float64)}
    gradient = torch.tensor([[2.0, -0.5, 0.0]], dtype=torch.float64)
    Update(Descent("adam", lr=0.1, eps=0.5), parameters).step({"weight": gradient}, 1.0)
    expected = [-0.1 * 2.0 / 2.5, 0.1 * 0.5 / 1.0, 0.0]
    np.testing.assert_allclose(parameters["weight"][0].numpy(), expected, rtol=1e-14)


REFUSED = [
    ({"kind": "rmsprop"}, "kind = 'rmsprop': must be one of"),
    ({"lr": 0.0}, r"lr = 0\.0: must be a finite number in \(0, inf\)"),
    ({"lr": [0.1, -1.0]}, r"lr\[1\] = -1\.0: "),
    ({"lr": math.inf}, "lr.* = inf: "),
    ({"lr": []}, "lr has shape"),
    ({"lr": [[0.1]]}, "lr has shape"),
    ({"lr": "fast"}, "lr = "),
    ({"momentum": 1.0}, r"momentum = 1\.0: must be a finite number in \[0, 1\)"),
    ({"momentum": [0.5, -0.1]}, r"momentum\[1\] = -0\.1: "),
    ({"weight_decay": -0.1}, r"weight_decay = -0\.1: must be a finite number in \[0, inf\)"),
    ({"weight_decay": math.nan}, "weight_decay.* = nan: "),
    ({"betas": (0.9, 1.0)}, r"betas\[1\] = 1\.0: must be a finite number in \[0, 1\)"),
    ({"betas": (-0.1, 0.9)}, r"betas\[0\] = -0\.1: "),
    ({"betas": (0.9,)}, r"betas = \(0\.9,\): must be two numbers"),
    ({"eps": 0.0}, r"eps = 0\.0: must be a finite number in \(0, inf\)"),
    ({"kind": "adam", "momentum": 0.9}, r"momentum = 0\.9: adam has betas instead"),
    ({"kind": "adam", "momentum": [0.0, 0.9]}, "adam has betas instead"),
]


@pytest.mark.parametrize(("given", "message"), REFUSED, ids=[str(given) for given, _ in REFUSED])
def test_numbers_out_of_range_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Descent(**given)


def test_the_ends_of_ranges_are_in_range():
    Descent(momentum=0.0, weight_decay=0.0, betas=(0.0, 0.0))
    Descent("adam", momentum=[0.0, 0.0])
    Descent(lr=np.array([1e-300, 1e300]), momentum=[0.999999])


@pytest.mark.parametrize("name", ["lr", "momentum", "weight_decay"])
def test_a_number_a_member_or_one_for_all(name):
    parameters = {"weight": torch.ones(3, 2)}
    with pytest.raises(ValueError, match=f"{name} has 2 values: must be one, or 3, one a member"):
        Update(Descent(**{name: [0.1, 0.2]}), parameters)
    Update(Descent(**{name: [0.1]}), parameters)
    Update(Descent(**{name: [0.1, 0.2, 0.3]}), parameters)
