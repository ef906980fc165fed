"""For every check of the battery an optimiser that must fail it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import SGD

from tests.sandbox.optim.cases import Case, from_parameters

BROKEN: dict[str, Case] = {}


class Plain(SGD):
    """Gradient descent with momentum, maximisation and decoupled weight decay, unbroken."""

    closure = "none"

    def __init__(self, params, lr=0.1, momentum=0.9, weight_decay=0.0, maximize=False, **more):
        super().__init__(params, lr, momentum=momentum)
        self.decay, self.up, self.more = weight_decay, maximize, more

    def __getstate__(self):
        return self.__dict__ | super().__getstate__()

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.move(p, group)
        return loss

    def rate(self, group) -> float:
        return group["lr"]

    def slope(self, p):
        return p.grad

    def move(self, p, group) -> None:
        state = self.state[p]
        buffer = state.setdefault("momentum", torch.zeros_like(p))
        buffer.mul_(group["momentum"]).add_(self.slope(p))
        p.mul_(1 - self.rate(group) * self.decay)
        p.add_(buffer, alpha=self.rate(group) if self.up else -self.rate(group))

    def reset(self) -> None:
        self.state.clear()


def control(make: Callable[..., Any], **settings: Any) -> Case:
    """Return a case of an optimiser that is built from parameters."""

    def build(_, parameters, **overrides):
        return make(parameters, **overrides)

    return Case(make.__name__, **from_parameters(build), **settings)


def fails(check: str):
    """Enter the class that it stands above as the control of a check."""

    def enter(kind: type[Plain]) -> type[Plain]:
        BROKEN[check] = control(kind)
        return kind

    return enter


@fails("a_closure_gives_the_loss")
class Silent(Plain):
    def step(self, closure=None):
        super().step(closure)


@fails("one_step_lowers_the_loss")
class Ascending(Plain):
    def slope(self, p):
        return -p.grad


@fails("groups_have_their_own_rate")
@fails("schedulers_reach_the_rate")
class OneRate(Plain):
    def rate(self, group):
        return self.defaults["lr"]


@fails("groups_can_be_added")
class Closed(Plain):
    def add_param_group(self, param_group):
        if len(self.param_groups) == 0:
            super().add_param_group(param_group)


@fails("maximize_goes_the_other_way")
class OnlyDown(Plain):
    def __init__(self, params, maximize=False, **settings):
        super().__init__(params, **settings)


@fails("weight_decay_is_decoupled")
class Coupled(SGD):
    def __init__(self, params, weight_decay=0.0):
        super().__init__(params, 0.1, momentum=0.9, weight_decay=weight_decay)


@fails("gradients_stay_as_they_are")
class Consuming(Plain):
    def slope(self, p):
        return p.grad.mul_(0.5)


@fails("parameters_without_a_gradient_stay")
class Sweeping(Plain):
    @torch.no_grad()
    def step(self, closure=None):
        loss = super().step(closure)
        for group in self.param_groups:
            for p in group["params"]:
                p.mul_(0.999)
        return loss


@fails("hooks_run")
class Unhooked(Plain):
    def register_step_post_hook(self, hook):
        return super().register_step_post_hook(lambda *_: None)


@fails("clipping_composes")
class Early(Plain):
    """Uses gradients as backward made them, not as the user left them."""

    def __init__(self, params, **settings):
        super().__init__(params, **settings)
        self.early: dict[int, Any] = {}
        for group in self.param_groups:
            for p in group["params"]:
                p.register_post_accumulate_grad_hook(self.keep)

    def keep(self, p):
        self.early[id(p)] = p.grad.clone()

    def slope(self, p):
        return self.early[id(p)]


@fails("loss_scaling_composes")
class Scaled(Early):
    """Uses gradients before the scale has been taken out of them."""


@fails("two_halves_are_the_whole_batch")
class LastPart(Early):
    """Uses the gradient of the last backward pass alone."""

    def keep(self, p):
        total = p.grad.clone()
        last = getattr(p, "seen", torch.zeros_like(total))
        self.early[id(p)] = total - last if bool((last != 0).any()) else total
        p.seen = total


@fails("a_saved_state_goes_on_bit_for_bit")
class Hidden(Plain):
    """Keeps its momentum where ``state_dict`` does not look."""

    def move(self, p, group):
        self.hidden = getattr(self, "hidden", {})
        buffer = self.hidden.setdefault(id(p), torch.zeros_like(p))
        buffer.mul_(0.9).add_(p.grad)
        p.add_(buffer, alpha=-group["lr"])


@fails("a_foreign_state_is_refused")
class Credulous(Plain):
    def load_state_dict(self, state_dict):
        numbered = [p for group in self.param_groups for p in group["params"]]
        self.state.update({numbered[k]: v for k, v in state_dict["state"].items()})


@fails("copies_go_their_own_way")
class Shared(Plain):
    def __deepcopy__(self, memo):
        return self


@fails("two_runs_give_the_same_bits")
class Restless(Plain):
    def slope(self, p):
        return p.grad * (1 + 1e-9 * os.urandom(1)[0])


@fails("torchs_random_numbers_are_left_alone")
class Drawing(Plain):
    def slope(self, p):
        return p.grad + 0 * torch.rand(())


@fails("float64_is_kept")
class Narrow(Plain):
    def slope(self, p):
        return p.grad.float().to(p.dtype)


@fails("autocast_composes")
class Narrowing(Plain):
    def move(self, p, group):
        super().move(p, group)
        p.data = p.data.bfloat16()


@fails("bfloat16_weights_move_or_are_refused")
class Bewildered(Plain):
    def slope(self, p):
        return torch.linalg.inv(torch.eye(1, dtype=p.dtype)) * p.grad


@fails("a_model_without_parameters_is_refused")
class Content(Plain):
    def __init__(self, params, **settings):
        super().__init__(list(params) or [torch.zeros(1)], **settings)


BROKEN["bad_settings_are_refused"] = control(Plain, errors=(({"lr": float("nan")}, "lr = nan"),))
BROKEN["a_gradient_that_is_not_finite_is_refused"] = control(Plain)
BROKEN["a_gradient_that_is_not_finite_is_skipped"] = control(Plain)


@fails("an_empty_batch_does_no_harm")
class Averaging(Plain):
    """Divides by a number of samples that is zero."""

    def slope(self, p):
        return p.grad / p.grad.abs().max()


@fails("reset_forgets")
class Retentive(Plain):
    def reset(self):
        pass


def watching(task, **overrides):
    """Return an optimiser that looks at inputs in evaluation too."""
    optimizer = Plain(task.model.parameters(), **overrides)
    seen = [1.0]

    def look(module, arguments):
        seen[0] = 0.9 * seen[0] + 0.1 * float(arguments[0].abs().mean())

    task.model.register_forward_pre_hook(look)
    optimizer.rate = lambda group: group["lr"] / seen[0]
    return optimizer


BROKEN["evaluation_collects_nothing"] = Case("watching", watching)


@fails("a_deleted_optimiser_leaves_the_model_alone")
class Clinging(Plain):
    """Leaves a hook behind that doubles gradients."""

    def __init__(self, params, **settings):
        super().__init__(params, **settings)
        self.param_groups[0]["params"][0].register_hook(lambda gradient: 2 * gradient)


@fails("the_name_is_shown")
class Nameless(Plain):
    def __repr__(self):
        return "an optimiser with some lr"


UNBROKEN = control(
    Plain,
    errors=(({"lr": -1.0}, "-1.0"),),
    skips={
        "a_gradient_that_is_not_finite_is_refused": "applies what it is given",
        "a_gradient_that_is_not_finite_is_skipped": "applies what it is given",
    },
)
