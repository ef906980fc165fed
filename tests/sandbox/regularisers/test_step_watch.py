"""The hooks round an optimiser's step: order, coming and going, copies, refusals."""

import copy
import gc
import itertools
import pickle
import weakref
from typing import Any

import pytest
import torch
from torch import nn

from deeplinear.rules import CurvatureCorrection
from sandbox.optim import FOOF, CurvatureCorrected
from sandbox.regularisers._step_watch import step_watch
from synapses.consolidation import PresynapticOptimizer
from synapses.layers import StochasticLinear
from synapses.rule import PresynapticRule
from tests.sandbox.regularisers.step_notes import Notes, pull, weight


@pytest.mark.parametrize("order", list(itertools.permutations(["task", "total", "penalty"])))
def test_the_order_in_a_step_is_not_the_order_of_joining(order):
    w, log = weight(1.0), []
    optimizer = torch.optim.SGD([w], lr=0.5)
    watch = step_watch(optimizer)
    kept = []
    for what in order:
        if what == "penalty":
            watch.join_penalty(pull(w, 3.0))
        else:
            kept.append(Notes(w, what, log))
            watch.join_observer(kept[-1])
    w.grad = torch.ones_like(w)
    optimizer.step()
    assert sorted(log[:2]) == [("task", "starting", [1.0]), ("total", "starting", [1.0])]
    assert log[2:4] == [("task", "gradients", [1.0]), ("total", "gradients", [7.0])]
    assert sorted(log[4:]) == [("task", "stepped", [-2.5]), ("total", "stepped", [-2.5])]


def test_an_optimiser_has_one_watch_and_one_pair_of_hooks():
    optimizer = torch.optim.SGD([weight(1.0)], lr=0.1)
    watch = step_watch(optimizer)
    assert step_watch(optimizer) is watch
    assert step_watch(torch.optim.SGD([weight(1.0)], lr=0.1)) is not watch
    assert not optimizer._optimizer_step_pre_hooks
    first, second = watch.join_penalty(lambda: None), watch.join_penalty(lambda: None)
    assert len(optimizer._optimizer_step_pre_hooks) == 1
    assert len(optimizer._optimizer_step_post_hooks) == 1
    first.remove()
    first.remove()
    assert len(optimizer._optimizer_step_pre_hooks) == 1
    second.remove()
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    watch.join_penalty(lambda: None)
    assert len(optimizer._optimizer_step_pre_hooks) == 1


def test_nothing_is_kept_alive():
    w = weight(1.0)
    optimizer = torch.optim.SGD([w], lr=0.1)
    observer = Notes(w, "task", [])
    step_watch(optimizer).join_observer(observer)
    del observer
    gc.collect()
    assert not optimizer._optimizer_step_pre_hooks
    watch = step_watch(optimizer)
    watch.join_penalty(lambda: None)
    references = weakref.ref(watch), weakref.ref(optimizer)
    del optimizer, watch
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_a_step_within_a_step_counts_once():
    class Doubled(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            if self.param_groups[0]["params"][0].grad.isnan().any():
                raise RuntimeError("not a number")
            return super().step(closure)

    torch.optim.SGD([weight(1.0)], lr=0.1)  # from now on torch wraps both classes
    w, log = weight(1.0), []
    optimizer = Doubled([w], lr=1.0)
    observer = Notes(w, "total", log)
    step_watch(optimizer).join_observer(observer)
    step_watch(optimizer).join_penalty(pull(w, 1.0))
    w.grad = torch.full_like(w, float("nan"))
    with pytest.raises(RuntimeError, match="not a number"):
        optimizer.step()
    log.clear()
    for _ in range(2):
        w.grad = torch.zeros_like(w)
        optimizer.step()
    assert [what for _, what, _ in log] == ["starting", "gradients", "stepped"] * 2
    assert w.item() == 1.0  # 1 - 2, and back


def test_copies_are_watched_by_nobody():
    w, log = weight(1.0), []
    optimizer = torch.optim.SGD([w], lr=0.1)
    observer = Notes(w, "task", log)
    step_watch(optimizer).join_observer(observer)
    step_watch(optimizer).join_penalty(pull(w, 1.0))
    optimizer_state = optimizer.state_dict()
    torch.optim.lr_scheduler.StepLR(optimizer, 1)
    for other in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        for parameter in other.param_groups[0]["params"]:
            parameter.grad = torch.ones_like(parameter)
        other.step()
        assert other.param_groups[0]["params"][0].item() == 0.9
    assert log == []
    optimizer.load_state_dict(optimizer_state)
    w.grad = torch.ones_like(w)
    optimizer.step()
    assert len(log) == 3
    assert w.item() == pytest.approx(0.7)


@pytest.mark.bad_input
@pytest.mark.parametrize("optimizer", [None, "adam", nn.Linear(1, 1)])
def test_no_optimiser(optimizer):
    with pytest.raises(ValueError, match=r"optimizer = .*must be a torch.optim.Optimizer"):
        step_watch(optimizer)


@pytest.mark.bad_input
def test_what_cannot_join():
    w = weight(1.0)
    optimizer = torch.optim.SGD([w], lr=0.1)
    with pytest.raises(ValueError, match="function = 3"):
        step_watch(optimizer).join_penalty(3)
    with pytest.raises(ValueError, match=r"observer.sees = 'all'"):
        step_watch(optimizer).join_observer(Notes(w, "all", []))
    assert not optimizer._optimizer_step_pre_hooks
    optimizer.closure = "maybe"
    with pytest.raises(ValueError, match=r"optimizer.closure = 'maybe'"):
        step_watch(optimizer)


def test_no_penalty_without_gradients():
    optimizer = CurvatureCorrected([weight(1.0)], CurvatureCorrection(power=1.0), 0.1)
    with pytest.raises(ValueError, match="CurvatureCorrected: computes its step from the network"):
        step_watch(optimizer).join_penalty(lambda: None)


def test_where_p_grad_is_no_gradient():
    model = nn.Sequential(StochasticLinear(2, 2), nn.Linear(2, 2))
    optimizer = FOOF(model[1:], lr=0.1, damping=1.0, side="activation")
    with pytest.raises(ValueError, match=r"side = 'activation': .*side='gradient'"):
        step_watch(optimizer)
    inner = torch.optim.SGD(model.parameters(), lr=0.1)
    outer = PresynapticOptimizer(model, PresynapticRule(0.1, 0.1, g_lim=1e-3), 0.1, inner=inner)
    inner.side = "activation"
    with pytest.raises(ValueError, match="SGD with side = 'activation'"):
        step_watch(outer)


def test_gradients_still_scaled_are_refused():
    w = weight(1.0)
    optimizer = torch.optim.SGD([w], lr=0.1)
    step_watch(optimizer).join_penalty(pull(w, 1.0))
    w.grad = torch.ones_like(w)
    optimizer.grad_scale = torch.tensor(2.0**16)
    with pytest.raises(RuntimeError, match=r"call scaler.unscale_\(optimizer\) before"):
        optimizer.step()
    optimizer.grad_scale = None
    optimizer.step()
    assert w.item() == pytest.approx(0.7)
