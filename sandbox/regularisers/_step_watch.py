"""What happens round an optimiser's step: gradients seen, penalties added, moves measured.

However many observers and penalties there are, and in whatever order they came, the step of an
optimiser runs so: observers prepare; those of the task's gradient see it; penalties add to it;
those of the total gradient see it; the optimiser moves; observers measure.
"""

from __future__ import annotations

import inspect
import itertools
import weakref
from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor
from torch.optim import LBFGS, Optimizer

from theory.checks import one_of, shown

__all__ = ["Handle", "Observer", "Penalise", "StepWatch", "step_watch"]

Penalise: TypeAlias = Callable[[], Tensor | None]
"""Adds a penalty's gradient to ``p.grad`` in place; returns its value, or None for none."""


@runtime_checkable
class Observer(Protocol):
    """What watches steps; it is held weakly."""

    sees: Literal["task", "total"]

    def starting(self, watch: StepWatch) -> None:
        """Prepare: weights are as the step finds them; refusing here leaves all as it was."""

    def gradients(self, watch: StepWatch) -> None:
        """See ``watch.gradient(p)``; called again in a step, the newest call counts."""

    def stepped(self, watch: StepWatch) -> None:
        """Measure: the optimiser has moved the weights."""


class Handle:
    """Takes an observer or a penalty away again."""

    def __init__(self, watch: StepWatch, key: int) -> None:
        self._watch, self._key = watch, key

    def remove(self) -> None:
        """Take it away; a second time does nothing."""
        self._watch.leave(self._key)


class StepWatch:
    """The one pair of step hooks that an optimiser has for all that joins.

    Where ``step`` is given a closure, the order holds within every evaluation of it: penalties
    are added at each, for they belong to the objective; observers see the gradients of the
    evaluation at the weights with which the step began, or, if there was none (Alice looks
    ahead), of the last one, which is the one that Alice moves by. A closure's loss has the
    penalties' values added while the optimiser looks at it; a tensor is its own again when
    ``step`` returns.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Held weakly.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = weakref.ref(optimizer)
        self._keys = itertools.count()
        self._observers: dict[int, weakref.ref[Any]] = {}
        self._penalties: dict[int, Penalise] = {}
        self._hooks: list[Any] = []
        self._given: dict[int, Tensor | None] | None = None
        self._start: list[Tensor] = []
        self._seen = self._settled = False
        self._losses: list[tuple[Tensor, Tensor]] = []

    @property
    def optimizer(self) -> Optimizer:
        """The optimiser whose steps these are."""
        found = self._optimizer()
        assert found is not None
        return found

    def gradient(self, parameter: Tensor) -> Tensor | None:
        """Return the gradient that an observer is to see."""
        return parameter.grad if self._given is None else self._given.get(id(parameter))

    # ---- joining and leaving

    def join_observer(self, observer: Observer) -> Handle:
        """Let an observer see the steps from now on."""
        one_of("observer.sees", observer.sees, ("task", "total"))
        key = next(self._keys)
        self._observers[key] = weakref.ref(observer, lambda _: self.leave(key))
        return self._joined(key)

    def join_penalty(self, function: Penalise) -> Handle:
        """Let a penalty add to the gradients of the steps from now on."""
        if not callable(function):
            raise ValueError(f"function = {shown(function)}: must add to gradients when called")
        if _wants(self.optimizer) == "outputs":
            raise ValueError(
                f"optimizer = {type(self.optimizer).__name__}: computes its step from the network's"
                " outputs and from a loss of its own, never from p.grad; a penalty cannot be added"
                " to it; use an optimiser that steps from gradients"
            )
        key = next(self._keys)
        self._penalties[key] = function
        return self._joined(key)

    def _joined(self, key: int) -> Handle:
        """Hang the hooks on the optimiser if they are not there."""
        if not self._hooks:
            self._hooks = [
                self.optimizer.register_step_pre_hook(self._before),
                self.optimizer.register_step_post_hook(self._after),
            ]
        return Handle(self, key)

    def leave(self, key: int) -> None:
        """Forget what joined under a key; take the hooks off after the last."""
        self._observers.pop(key, None)
        self._penalties.pop(key, None)
        if not self._observers and not self._penalties:
            for hook in self._hooks:
                hook.remove()
            self._hooks = []

    # ---- the step

    def _before(self, optimizer: Optimizer, args: Any, kwargs: dict[str, Any]) -> Any:
        """Begin a step: with the gradients at hand, or by wrapping the closure."""
        if _within_a_step(optimizer):
            return None
        if getattr(optimizer, "grad_scale", None) is not None:
            raise RuntimeError(
                "the gradients are still multiplied by the scale of GradScaler: call"
                " scaler.unscale_(optimizer) before scaler.step(optimizer)"
            )
        self._given, self._start, self._losses = None, [], []
        self._seen = self._settled = False
        wants = _wants(optimizer)
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None and wants == "none":
            with torch.no_grad():
                self._tell("starting")
                self._evaluated()
            return None
        if not callable(closure):
            return None  # the optimiser has its own words for that
        with torch.no_grad():
            self._tell("starting")
            if self._observers:
                self._start = [p.detach().clone() for p in _parameters(optimizer)]
        wrapped = self._of_outputs(closure) if wants == "outputs" else self._of_loss(closure)
        if len(args) > 1:
            return (args[0], wrapped, *args[2:]), kwargs
        return args, {**kwargs, "closure": wrapped}

    @torch.no_grad()
    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """End a step."""
        del args, kwargs
        if _within_a_step(optimizer):
            return
        for loss, own in self._losses:
            loss.copy_(own)
        if self._seen:
            self._tell("stepped")
        self._given, self._start, self._losses = None, [], []
        self._seen = False

    def _of_loss(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        """Wrap a closure that computes gradients and returns the loss."""

        def wrapped() -> Any:
            loss = closure()
            with torch.no_grad():
                values = self._evaluated()
                if loss is None or not values:
                    return loss
                if not isinstance(loss, Tensor):
                    return loss + sum(map(float, values))
                # in place: whoever made the closure knows its losses by their place in memory
                self._losses.append((loss, loss.detach().clone()))
                for value in values:
                    loss.add_(value.detach().to(loss))
            return loss

        return wrapped

    def _of_outputs(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        """Wrap a closure that returns outputs and targets for the optimiser's own loss."""

        def wrapped() -> Any:
            made = closure()
            if self._settled or not isinstance(made, tuple | list) or len(made) != 2:
                return made
            parameters = [p for p in _parameters(self.optimizer) if p.requires_grad]
            found = _output_slopes(self.optimizer, made[0], made[1], parameters)
            if found is not None:
                self._given = dict(zip(map(id, parameters), found, strict=True))
                with torch.no_grad():
                    self._evaluated()
            return made

        return wrapped

    def _evaluated(self) -> list[Tensor]:
        """Let all see and add to the gradients of one evaluation; return the penalties' values."""
        show = not self._settled
        if show:
            self._tell("gradients", "task")
        values = [value for add in list(self._penalties.values()) if (value := add()) is not None]
        if show:
            self._tell("gradients", "total")
            self._seen = True
            self._settled = not self._start or self._at_start()
        return values

    def _at_start(self) -> bool:
        """Return whether the weights are those with which the step began."""
        pairs = zip(_parameters(self.optimizer), self._start, strict=True)
        return all(itertools.starmap(torch.equal, pairs))

    def _tell(self, what: str, sees: str | None = None) -> None:
        """Call a method of the observers, or of those that see one of the gradients."""
        for reference in list(self._observers.values()):
            observer = reference()
            if observer is not None and sees in {None, observer.sees}:
                getattr(observer, what)(self)


_WRAPPER = Optimizer.profile_hook_step(lambda _: None).__code__
"""What torch wraps round the ``step`` of every optimiser, which calls the hooks."""

_WATCHES: weakref.WeakKeyDictionary[Optimizer, StepWatch] = weakref.WeakKeyDictionary()


def step_watch(optimizer: Optimizer) -> StepWatch:
    """Return the one watch of an optimiser's steps.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Copies of it are watched by nobody.

    Returns
    -------
    StepWatch
        The same for every call.

    Raises
    ------
    ValueError
        If it is no optimiser of torch's kind, or ``p.grad`` is not the loss's gradient in it.
    """
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"optimizer = {shown(optimizer)}: must be a torch.optim.Optimizer")
    inner: Any = optimizer
    while inner is not None:
        if getattr(inner, "side", None) == "activation":
            raise ValueError(
                f"optimizer = {type(inner).__name__} with side = 'activation': p.grad is the"
                " preconditioned step in it, not the loss's gradient, which nothing can see or"
                " add to; make the optimiser with side='gradient'"
            )
        inner = getattr(inner, "inner", None)
    _wants(optimizer)
    if optimizer not in _WATCHES:
        _WATCHES[optimizer] = StepWatch(optimizer)
    return _WATCHES[optimizer]


def _wants(optimizer: Optimizer) -> str:
    """Return what an optimiser's ``step`` must be given."""
    default = "loss" if isinstance(optimizer, LBFGS) else "none"
    wants = getattr(optimizer, "closure", default)
    return one_of("optimizer.closure", wants, ("none", "loss", "outputs"))


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    """Return all parameters of an optimiser."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def _within_a_step(optimizer: Optimizer) -> bool:
    """Return whether this is the hook of a step inside a step of the same optimiser."""
    # torch wraps the step of a class and that of its base class, so that hooks run twice where the
    # one calls the other; a counter would be wrong after a failed step, the call stack never is
    frame, steps = inspect.currentframe(), 0
    while frame is not None and steps < 2:
        steps += frame.f_code is _WRAPPER and frame.f_locals.get("self") is optimizer
        frame = frame.f_back
    return steps > 1


def _output_slopes(
    optimizer: Optimizer, outputs: Any, targets: Any, parameters: list[Tensor]
) -> tuple[Tensor | None, ...] | None:
    """Return gradients of an optimiser's own loss of outputs, or None for what it will refuse."""
    loss = str(getattr(optimizer, "loss", None)).replace("-", "_")
    one_of("optimizer.loss", loss, ("squared", "cross_entropy"))
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor):
        return None
    if not outputs.requires_grad or outputs.ndim == 0:
        return None
    with torch.enable_grad():
        rows = outputs if outputs.dtype == torch.float64 else outputs.float()
        try:
            if loss == "squared":
                misses = (rows - targets.detach()).reshape(len(rows), -1)
                value = misses.square().sum() / (2 * len(rows))
            else:
                kind = rows.dtype if targets.is_floating_point() else torch.int64
                value = torch.nn.functional.cross_entropy(rows, targets.detach().to(kind))
        except (RuntimeError, ValueError, IndexError):
            return None
        return torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
