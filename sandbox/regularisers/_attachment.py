"""A penalty that acts through the gradients in an optimiser's steps."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sandbox.regularisers._step_watch import step_watch

__all__ = ["Attachment", "Row", "pull", "refuse_unmoved", "warn_of_divergence"]

Row: TypeAlias = tuple[nn.Parameter, Tensor, Tensor]
"""A parameter, its importance and its anchor."""

RESCALING = (
    *("Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Muon", "NAdam"),
    *("RAdam", "RMSprop", "Rprop", "SparseAdam"),
)
"""Optimisers of torch whose step is no multiple of the gradient: the bound is none of theirs."""


class Attachment:
    """A penalty that acts in the steps of an optimiser, until it is removed.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Held weakly.
    add : callable
        Is given this object; adds a gradient to what the optimiser moves, returns a value.
    """

    def __init__(self, optimizer: Optimizer, add: Callable[[Attachment], Tensor | None]) -> None:
        self._optimizer, self._add = weakref.ref(optimizer), add
        self._handle: Any = step_watch(optimizer).join_penalty(self._act)

    @property
    def optimizer(self) -> Optimizer | None:
        """The optimiser; None once it is gone or the penalty was removed from it."""
        return None if self._handle is None else self._optimizer()

    def moved(self) -> set[int]:
        """Return the identities of the parameters that the optimiser moves."""
        return _moved(self.optimizer)

    def remove(self) -> None:
        """Let the optimiser step without the penalty again."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _act(self) -> Tensor | None:
        return self._add(self)


def _moved(optimizer: Optimizer | None) -> set[int]:
    """Return the identities of an optimiser's parameters."""
    groups = [] if optimizer is None else optimizer.param_groups
    return {id(p) for group in groups for p in group["params"]}


def pull(rows: Sequence[Row], strength: float) -> Tensor:
    """Add a quadratic penalty's gradient to ``grad``; return the penalty."""
    parameters: list[Tensor] = [p for p, _, _ in rows]
    # in the order of autograd's products, so that both ways give the same bits
    forces = torch._foreach_mul([importance for _, importance, _ in rows], strength)
    away = torch._foreach_sub(parameters, [anchor for _, _, anchor in rows])
    torch._foreach_mul_(forces, away)
    gradients = []
    for p in parameters:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
        elif p.grad.is_sparse:  # the pull is dense, and so is its sum with anything
            p.grad = p.grad.to_dense()
        gradients.append(p.grad)
    torch._foreach_add_(gradients, forces, alpha=2)
    value = parameters[0].new_zeros(())
    for force, distance in zip(forces, away, strict=True):
        value += torch.dot(force.reshape(-1), distance.reshape(-1)).to(value)
    return value


def refuse_unmoved(
    protected: Mapping[str, Tensor],
    parameters: Mapping[str, nn.Parameter] | None,
    optimizers: Sequence[Optimizer | None],
) -> None:
    """Refuse a model that the optimisers attached to do not move."""
    if not optimizers or not parameters:
        return
    moved = set[int]().union(*map(_moved, optimizers))
    if left := [name for name in protected if id(parameters[name]) not in moved]:
        raise ValueError(
            f"{', '.join(left[:8])}: {len(left)} of {len(protected)} protected parameters are moved"
            " by no optimiser that the penalty is attached to; consolidate the model that is"
            " trained, no copy of it, and attach to all its optimisers before that"
        )


def warn_of_divergence(
    importance: Mapping[str, Tensor],
    parameters: Mapping[str, nn.Parameter],
    optimizers: Sequence[Optimizer],
    strength: float,
    warned: set[str],
) -> None:
    """Warn once a parameter where gradient steps would overshoot; ``warned`` grows."""
    names = {id(parameters[name]): name for name in importance}
    for given in optimizers:
        optimizer = getattr(given, "inner", None) or given
        for group in [] if _rescales(optimizer) else optimizer.param_groups:
            if "lr" not in group:
                continue
            slope, (bound, edge) = 2 * float(group["lr"]) * strength, _bounds(group)
            for name in filter(None, (names.get(id(p)) for p in group["params"])):
                if name in warned or not importance[name].numel():
                    continue
                size = slope * float(importance[name].max())
                if size > bound:
                    warned.add(name)
                    beyond = "" if size > edge else f" above {edge:.4g}"
                    warnings.warn(
                        f"{name}: 2 x lr x strength x importance reaches {size:.4g} > {bound:.4g},"
                        f" where steps lead away from the anchor and training diverges{beyond};"
                        f" lower lr or strength, or give a ceiling of {bound / slope:.4g} or less",
                        UserWarning,
                        stacklevel=4,
                    )


def _bounds(group: Mapping[str, Any]) -> tuple[float, float]:
    """Return from where on to warn, and where descent along a flat loss diverges."""
    momentum = float(group.get("momentum") or 0.0)
    if group.get("nesterov"):
        edge = 2 * (1 + momentum) / (1 + 2 * momentum)
        return edge, edge
    return 2.0, 2 * (1 + momentum)


def _rescales(optimizer: Any) -> bool:
    """Return whether an optimiser's step is no multiple of the gradient."""
    known = any(kind.__name__ in RESCALING for kind in type(optimizer).__mro__)
    return known or any({"damping", "hessian"} & group.keys() for group in optimizer.param_groups)
