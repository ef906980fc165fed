"""Steps that are given a closure: where penalties are added and what observers see."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deeplinear.rules import CurvatureCorrection
from sandbox.optim import Alice, CurvatureCorrected
from sandbox.regularisers._step_watch import step_watch
from sandbox.training._steps import step_function
from sandbox.training.models import mlp
from sandbox.training.objective import Batch
from tests.sandbox.regularisers.step_notes import F64, Notes, pull, weight
from theory.streams import Streams


def closure_of(w: Tensor, penalty: float = 0.0, losses: list[Tensor] | None = None):
    """Return a closure for Rosenbrock's function, with the pull in it or not."""

    def closure() -> Tensor:
        w.grad = None
        loss = (1 - w[0]) ** 2 + 5 * (w[1] - w[0] ** 2) ** 2
        (loss + penalty * w.square().sum()).backward()
        value = (loss + penalty * w.square().sum()).detach()
        if losses is not None:
            losses.append(value)
        return value

    return closure


@pytest.mark.parametrize("name", ["lbfgs", "wolfe", "alice", "sgd"])
def test_an_attached_penalty_is_the_penalty_in_the_closure(name):
    build = {
        "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=5),
        "wolfe": lambda p: torch.optim.LBFGS(p, max_iter=8, line_search_fn="strong_wolfe"),
        "alice": lambda p: Alice(p, lr=0.01, burn_in=2, quick_steps=1),
        "sgd": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
    }[name]
    inside, attached = weight(-1.0, 2.0), weight(-1.0, 2.0)
    one, two = build([inside]), build([attached])
    step_watch(two).join_penalty(pull(attached, 0.3))
    for _ in range(6):
        told = one.step(closure_of(inside, 0.3))
        here = attached.detach().clone()
        losses: list[Tensor] = []
        alone = two.step(closure_of(attached, losses=losses))
        # the order of two additions differs; line searches amplify it, over six steps
        torch.testing.assert_close(attached, inside, rtol=1e-9, atol=1e-9)
        # what step returns, and what the closure made, is the closure's own loss again
        if name != "alice":
            pulled = 0.3 * here.square().sum()
            torch.testing.assert_close(alone + pulled, told, rtol=1e-9, atol=1e-9)
        assert alone.data_ptr() in {loss.data_ptr() for loss in losses}


@pytest.mark.parametrize("number", [float, lambda loss: loss])
def test_the_optimiser_sees_the_penalised_loss(number):
    seen = []

    class Asks(torch.optim.SGD):
        closure = "loss"

        def step(self, closure: Any = None) -> Any:
            with torch.enable_grad():
                seen.append(float(closure()))
                seen.append(float(closure()))

    w = weight(1.0)
    optimizer = Asks([w], lr=0.1)
    step_watch(optimizer).join_penalty(pull(w, 1.0, value=5.0))
    step_watch(optimizer).join_penalty(pull(w, 1.0, value=0.25))
    optimizer.step(lambda: number(w.square().sum().detach()))
    assert seen == [6.25, 6.25]


@pytest.mark.parametrize("keyword", [False, True])
def test_a_closure_where_none_is_needed(keyword):
    w, log = weight(2.0), []
    optimizer = torch.optim.SGD([w], lr=0.1)
    observer = Notes(w, "task", log)
    step_watch(optimizer).join_observer(observer)
    step_watch(optimizer).join_penalty(pull(w, 1.0))

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (3 * w).sum()
        loss.backward()
        return loss

    loss = optimizer.step(closure=closure) if keyword else optimizer.step(closure)
    assert loss.item() == 6.0  # the closure's own
    assert log[1] == ("task", "gradients", [3.0])
    assert log[2] == ("task", "stepped", [pytest.approx(2 - 0.1 * 7)])


class Probing(torch.optim.SGD):
    """Evaluates at several places, then moves by the gradient of the last."""

    closure = "loss"
    places = (0.5, -0.5, 0.0)

    def step(self, closure: Any = None) -> Any:
        w = self.param_groups[0]["params"][0]
        middle = w.data.clone()
        for place in self.places:
            w.data = middle + place  # unseen by torch's count of changes
            with torch.enable_grad():
                loss = closure()
        w.data = middle - 0.1 * w.grad
        return loss


@pytest.mark.parametrize(
    ("places", "seen"),
    [
        ((0.0, 0.5), [[6.0]]),
        ((0.5, -0.5, 0.0, 0.25), [[7.0], [5.0], [6.0]]),  # at the start: the newest counts
        ((0.5, -0.25), [[7.0], [5.5]]),
    ],
)
def test_which_evaluation_observers_see(places, seen):
    w, log = weight(3.0), []
    optimizer = Probing([w], lr=0.1)
    optimizer.places = places
    observer = Notes(w, "task", log)
    step_watch(optimizer).join_observer(observer)

    def closure() -> Tensor:
        w.grad = None
        loss = w.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert [g for _, what, g in log if what == "gradients"] == seen
    assert [what for _, what, _ in log].count("stepped") == 1
    assert log[0][1:] == ("starting", [3.0])


@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
@pytest.mark.parametrize("kind", [torch.float32, F64])
def test_the_gradient_of_an_optimiser_with_its_own_loss(loss, kind):
    torch.manual_seed(0)
    model = nn.Linear(3, 2, bias=False, dtype=kind)
    optimizer = CurvatureCorrected(model.parameters(), CurvatureCorrection(power=0.5), 0.1, loss)
    inputs, targets = torch.randn(4, 3, dtype=kind), torch.randn(4, 2, dtype=kind)
    if loss == "cross_entropy":
        targets = torch.tensor([0, 1, 1, 0], dtype=torch.int32)
    log = []
    observer = Notes(model.weight, "task", log)
    step_watch(optimizer).join_observer(observer)
    outputs = (inputs @ model.weight.T).detach()
    if loss == "squared":
        slope = outputs - targets
    else:
        slope = outputs.softmax(1) - nn.functional.one_hot(targets.long(), 2)
    expected = slope.T @ inputs / 4
    before = optimizer.step(lambda: (model(inputs), targets))
    assert before.isfinite()
    assert model.weight.grad is None
    found = torch.tensor(log[1][2], dtype=kind)
    torch.testing.assert_close(found, expected)
    assert log[2][1] == "stepped"


@pytest.mark.parametrize("closure", [None, "no function"])
def test_the_optimiser_refuses_closures_in_its_own_words(closure):
    w = weight(1.0)
    optimizer = Alice([w], lr=0.1)
    step_watch(optimizer).join_penalty(pull(w, 1.0))
    w.grad = torch.ones_like(w)
    with pytest.raises(ValueError, match="closure = .*must be a function"):
        optimizer.step(closure)
    assert w.grad.item() == 1.0


def test_the_training_loop_reports_the_loss_where_alice_looked():
    told = []
    for attached in (False, True):
        model = mlp([4, 3], streams=Streams(0)).double()
        optimizer = Alice(model.parameters(), lr=0.3, burn_in=1)
        if attached:
            step_watch(optimizer).join_penalty(pull(next(model.parameters()), 0.1))
        do = step_function(model, optimizer, "cross-entropy", None, None)
        inputs = torch.linspace(-1, 1, 20, dtype=F64).reshape(5, 4)
        value, extra = do(Batch(inputs, torch.tensor([0, 1, 2, 1, 0])), None)
        assert extra is None
        told.append(value.item())
    # the first step looks where it stands: the same loss, not that of a probe
    assert told[0] == told[1]
