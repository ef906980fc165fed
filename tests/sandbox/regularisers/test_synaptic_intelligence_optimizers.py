"""Synaptic intelligence with every optimiser, against gradients times moves computed apart."""

import pytest
import torch
from torch import Tensor
from torch.optim import LBFGS, Adam, RMSprop

from sandbox.regularisers import SynapticIntelligence
from sandbox.training._muon import MuonWithAdamW
from tests.sandbox.optim.cases import CASES, Case, alice, from_parameters, presynaptic, variant
from tests.sandbox.optim.problems import Problem, problem
from tests.sandbox.regularisers.tiny_net import DEVICES

ALPHA, BETA2 = 0.5, 0.9


def adam(_: Problem, parameters, **overrides):
    return Adam(parameters, **({"lr": 0.02, "weight_decay": 0.1} | overrides))


def with_inner(task: Problem):
    return presynaptic(task, inner=Adam(task.model.parameters(), lr=0.01))


def fixed_biases(task: Problem):
    return presynaptic(task, others="fixed")


ALL = [
    *(case for case in CASES if "activation" not in case.name),
    Case("adam", **from_parameters(adam)),
    Case("adam-foreach", **from_parameters(variant(adam, foreach=True))),
    Case("adam-fused", **from_parameters(variant(adam, fused=True))),
    Case("rmsprop", lambda task: RMSprop(task.model.parameters(), lr=0.01, centered=True)),
    Case("muon", lambda task: MuonWithAdamW(task.model, lr=0.02)),
    Case("lbfgs", lambda task: LBFGS(task.model.parameters(), lr=0.3, max_iter=4), closure="loss"),
    Case(
        "lbfgs-wolfe",
        lambda task: LBFGS(task.model.parameters(), max_iter=4, line_search_fn="strong_wolfe"),
        closure="loss",
    ),
    # its phi equal to omega: it looks where it stands
    Case("alice-in-place", **from_parameters(variant(alice, phi=1.0)), closure="loss"),
    Case("presynaptic-inner", with_inner, kind="stochastic"),
    Case("presynaptic-fixed", fixed_biases, kind="stochastic"),
]


def one_step(case: Case, optimizer, task: Problem, part: slice) -> None:
    """Do one step on some of the samples."""

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = task.value(part)
        loss.backward()
        return loss

    if case.closure == "none":
        closure()
        optimizer.step()
    elif case.closure == "loss":
        optimizer.step(closure)
    else:
        optimizer.step(lambda: (task.model(task.inputs[part]), task.targets[part]))


def slopes(task: Problem, at: list[Tensor], part: slice, *, independent: bool = False):
    """Return gradients at some weights, on a network that nothing watches."""
    task.put(at)
    inputs, task.inputs = task.inputs, task.independent if independent else task.inputs
    found = torch.autograd.grad(task.value(part), list(task.model.parameters()))
    task.inputs = inputs
    return found


def observe(trackers: dict[str, SynapticIntelligence], task: Problem, part: slice) -> None:
    """Give all the independent batch; what else watches training is not to see it."""
    inputs, task.inputs = task.inputs, task.independent
    task.model.eval()
    for tracker in trackers.values():
        if tracker.needs_independent:
            tracker.observe(task.value(part))
    task.model.train()
    task.inputs = inputs


def watch_all(task: Problem, optimizer) -> dict[str, SynapticIntelligence]:
    return {
        "si": SynapticIntelligence(task.model, optimizer),
        "siu": SynapticIntelligence(task.model, optimizer, "siu"),
        "sib": SynapticIntelligence(task.model, optimizer, "sib"),
        "sos": SynapticIntelligence(task.model, optimizer, "sos", alpha=ALPHA, beta2=BETA2),
    }


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_watching_changes_nothing(case):
    trained = []
    for watched in (False, True):
        task = problem(case.kind)
        optimizer = case.build(task)
        trackers = watch_all(task, optimizer) if watched else {}
        for _ in range(5):
            if case.before is not None:
                case.before(optimizer, task)
            observe(trackers, task, slice(0, 4))
            one_step(case, optimizer, task, slice(2, 7))
        trained.append(task.parameters())
    for plain, seen in zip(*trained, strict=True):
        assert torch.equal(plain, seen)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_paths_are_gradients_times_moves(case, device):
    task, apart = problem(case.kind).to(device), problem(case.kind).to(device)
    optimizer = case.build(task)
    trackers = watch_all(task, optimizer)
    sums = {v: [torch.zeros_like(p) for p in task.model.parameters()] for v in trackers}
    for step in range(8):
        part = slice(0, 5) if step % 2 else slice(3, 8)
        start = task.parameters()
        ahead = [optimizer.state.get(p, {}).get("ahead", 0.0) for p in task.model.parameters()]
        places = [p + a for p, a in zip(start, ahead, strict=True)]
        own = slopes(apart, places, part)
        other = slopes(apart, start, part, independent=True)
        if case.before is not None:
            case.before(optimizer, task)
        observe(trackers, task, part)
        one_step(case, optimizer, task, part)
        moves = [p - old for p, old in zip(task.parameters(), start, strict=True)]
        for i, (g, h, move) in enumerate(zip(own, other, moves, strict=True)):
            sums["si"][i] -= g * move
            sums["siu"][i] -= h * move
            sums["sib"][i] -= (g - h) * move
            sums["sos"][i] = BETA2 * sums["sos"][i] + (1 - BETA2) * (g - ALPHA * h) ** 2
    assert max(total.abs().max() for total in sums["si"]) > 1e-6
    for name, tracker in trackers.items():
        found = tracker.importance() if name == "sos" else tracker.path()
        assert list(found) == [key for key, _ in task.model.named_parameters()]
        for mine, total in zip(found.values(), sums[name], strict=True):
            expected = total.sqrt() if name == "sos" else total
            # eight steps in float64; some optimisers amplify a gradient's rounding
            torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-12)
