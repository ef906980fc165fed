"""The experiments of the claims on synaptic intelligence, and that they can fail."""

import dataclasses

import numpy as np
import pytest
import sympy as sp
import torch

from sandbox import regularisers
from sandbox.bench import Comparison, judge
from sandbox.claims import _protected
from sandbox.claims._protected import Arm, Setting
from sandbox.claims.zenke2017synaptic import _descent, bowl, flow, forgetting
from sandbox.claims.zenke2017synaptic._bowls import Bowl, turned_hessian
from sandbox.claims.zenke2017synaptic._derivations import bowl_importance, path_sum_of_descent
from sandbox.training.data import load
from sandbox.training.models import mlp
from theory.derivation import DerivationError
from theory.streams import Streams

TINY = Setting(number=2, widths=(12,), epochs=1)


def verdicts(comparisons):
    if isinstance(comparisons, Comparison):
        comparisons = [comparisons]
    return [judge(each).verdict.value for each in comparisons]


# ---- derivations


@pytest.mark.parametrize(("derive", "count"), [(path_sum_of_descent, 5), (bowl_importance, 8)])
def test_derivations_can_be_checked_and_can_fail(derive, count):
    found = derive()
    assert found.check() == count
    for step in found.steps:
        spoiled = dataclasses.replace(step, residuals=(step.residuals[-1] + 1,))
        with pytest.raises(DerivationError):
            dataclasses.replace(found, steps=(spoiled,)).check()


def test_excess_of_a_bowl_is_that_of_a_loop():
    expression = path_sum_of_descent().results["excess_of_bowl"]
    values = {"eta": 0.3, "h": 1.7, "x": 0.9, "n": 5}
    expected = float(expression.subs({s: values[s.name] for s in expression.free_symbols}))
    place, path = values["x"], 0.0
    for _ in range(values["n"]):
        slope = values["h"] * place
        path += slope * values["eta"] * slope
        place -= values["eta"] * slope
    drop = values["h"] * (values["x"] ** 2 - place**2) / 2
    assert path - drop == pytest.approx(expected, rel=1e-12)


def test_path_integrals_of_a_bowl_are_those_of_quadrature():
    entry = bowl_importance().results["matrix"]
    a, b, da, db = 0.7, 1.9, 0.4, 1.1
    time = np.linspace(0, 40, 400_001)
    speeds = a * da * np.exp(-a * time), b * db * np.exp(-b * time)
    expected = np.trapezoid(speeds[0] * speeds[1], time)
    symbols = sp.symbols("lambda_a lambda_b d_a d_b", positive=True)
    assert float(entry.subs(dict(zip(symbols, (a, b, da, db), strict=True)))) == pytest.approx(
        expected, rel=1e-6
    )


# ---- path sums


@pytest.mark.parametrize("batch", [None, 32])
def test_a_descent_is_that_of_a_plain_loop(batch):
    found = _descent.descend(4, 0.2, 6, batch=batch, samples=100, hidden=5)
    streams = Streams(4)
    data = load("digits", dtype="float64").train
    rows = streams.generator("samples").permutation(len(data))[:100]
    inputs, targets = torch.tensor(data.inputs[rows]), torch.tensor(data.targets[rows])
    model = mlp([64, 5, 10], activation="tanh", streams=streams).double()
    weights, draws = list(model.parameters()), streams.generator("batches")
    path, losses = 0.0, []
    for step in range(7):
        chosen = np.arange(100)
        losses.append(torch.nn.functional.cross_entropy(model(inputs), targets).item())
        if step == 6:
            break
        if batch is not None:
            chosen = draws.choice(100, batch, replace=False)
        loss = torch.nn.functional.cross_entropy(model(inputs[chosen]), targets[chosen])
        for weight, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            path += 0.2 * float(slope.square().sum())
            weight.data -= 0.2 * slope
    assert found.path == pytest.approx(path, rel=1e-10)
    assert found.drop == pytest.approx(losses[0] - losses[-1], rel=1e-10)


def test_path_sums_hold_for_another_seed(other_run):
    assert verdicts(flow.path_integral_is_the_loss_drop(other_run)) == ["holds"] * 2


def test_a_wrong_path_sum_is_found(run, monkeypatch):
    def longer(*args, **named):
        found = _descent.Descent(*descend(*args, **named))
        return found._replace(path=found.path * 1.01)

    descend = _descent.descend
    monkeypatch.setattr(_descent, "descend", longer)
    assert verdicts(flow.path_integral_is_the_loss_drop(run)) == ["fails"] * 2


def test_without_noise_batches_do_not_overestimate(run, monkeypatch):
    def exact(seed, rate, *_, batch, **named):
        return _descent.Descent(0.99 + 1e-4 * (seed % 7), 1.0, 0.0, 0.0)

    monkeypatch.setattr(_descent, "descend", exact)
    assert verdicts(flow.batches_overestimate(run))[0] == "fails"


# ---- bowls


def test_a_bowl_descends_as_told():
    hessian = turned_hessian((0.5, 2.0), np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.eigvalsh(hessian), [0.5, 2.0], rtol=1e-12)
    starts = np.array([[1.0, 0.0], [0.3, -0.8], [0.0, 2.0]])
    bowl_of_three = Bowl(hessian, starts)
    tracker = bowl_of_three.descend(0.1, 7)
    shrink = np.linalg.matrix_power(np.eye(2) - 0.1 * hessian, 7)
    np.testing.assert_allclose(
        bowl_of_three.model.weight.detach().numpy(), starts @ shrink, atol=1e-13
    )
    path = np.zeros((3, 2))
    for step in range(7):
        slope = starts @ np.linalg.matrix_power(np.eye(2) - 0.1 * hessian, step) @ hessian
        path += 0.1 * slope**2
    np.testing.assert_allclose(tracker.path()["weight"].numpy(), path, atol=1e-13)
    moved = (starts @ shrink - starts) ** 2
    damped = bowl_of_three.surrogate(tracker, 3.0)
    np.testing.assert_allclose(
        damped.importance["weight"].numpy(), path / (moved + 3.0), atol=1e-13
    )
    loss, value = bowl_of_three.values(starts, damped)
    assert loss == pytest.approx(np.einsum("ni,ij,nj->", starts, hessian, starts) / 2)
    assert value == pytest.approx((path / (moved + 3.0) * moved).sum())


def test_bowls_hold_for_another_seed(other_run):
    assert verdicts(bowl.average_is_half_the_hessian(other_run)) == ["holds"]
    assert verdicts(bowl.surrogate_reproduces_the_drop(other_run)) == ["holds"] * 3


def test_a_surrogate_of_half_the_strength_is_found(run, monkeypatch):
    penalty = regularisers.QuadraticPenalty
    monkeypatch.setattr(
        "sandbox.claims.zenke2017synaptic._bowls.QuadraticPenalty", lambda _: penalty(0.5)
    )
    assert verdicts(bowl.surrogate_reproduces_the_drop(run)) == ["fails"] * 3


# ---- forgetting


@pytest.mark.parametrize("method", ["si", "siu"])
def test_both_orders_come_from_one_path(method):
    arm = Arm(method, 1.0, (("clamp", "running"),))
    found = forgetting.two_orders((TINY, arm, 3, "cpu"))
    assert found["own"].shape == (2, 64 * 12 + 12 + 12 * 10 + 10)
    running = np.zeros(found["own"].shape[1])
    for part in found["own"]:
        running = np.maximum(0, running + part)
    np.testing.assert_allclose(found["kept"], running, atol=1e-6 * running.max())
    # otherwise both orders are the same
    assert (found["own"] < 0).any()


def test_an_order_that_keeps_more_is_found(run, monkeypatch):
    def wrong(item):
        own = np.array([[1.0, 2.0], [0.5, -1.0]])
        return {"own": own, "kept": np.abs(own).sum(axis=0)}

    monkeypatch.setattr(forgetting, "two_orders", wrong)
    assert verdicts(forgetting.order_of_cutting(run))[0] == "fails"


@pytest.mark.parametrize(("sign", "verdict"), [(0.1, "holds"), (-0.1, "fails")])
@pytest.mark.parametrize("scale", ["quick", "full", "paper"])
@pytest.mark.parametrize("claim", [forgetting.protects_permuted, forgetting.protects_split])
def test_settings_of_all_scales(claim, scale, sign, verdict, run, monkeypatch):
    asked = []

    def recorded(run, setting, arms, seeds, name):
        asked.append((setting, arms, seeds))
        values = np.tile([0.5, 0.6], (seeds, 1)) + np.arange(seeds)[:, None] / 99
        return {name: values + (sign if name == "si" else 0) for name in arms}

    monkeypatch.setattr(_protected, "accuracies", recorded)
    # the protected arm is the better one of the comparison
    assert judge(claim(dataclasses.replace(run, scale=scale))).verdict == verdict
    ((setting, arms, seeds),) = asked
    assert list(arms) == ["none", "si"]
    assert dict(arms["si"].options)["clamp"] == "running"
    assert seeds >= 5
    if scale == "paper":
        permuted = claim is forgetting.protects_permuted
        assert setting.data == "mnist"
        assert setting.widths == ((2000, 2000) if permuted else (256, 256))
        assert (setting.batch, setting.rate) == (256 if permuted else 64, 1e-3)
        assert setting.reset != permuted
        assert arms["si"].strength == (0.1 if permuted else 1.0)
