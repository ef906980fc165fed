"""One optimiser step, for each of the three ways in which optimisers ask for the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from sandbox.training._precision import forward_in
from sandbox.training.names import LossName, Precision
from sandbox.training.objective import Batch, as_values, loss_function
from theory.checks import one_of, shown

__all__ = ["Penalty", "Step", "columns_of", "step_function"]

Penalty: TypeAlias = Callable[[nn.Module], Tensor]
"""A function of the model's parameters that is added to the loss."""

Step: TypeAlias = Callable[[Batch, "slice | list[int] | None"], tuple[Tensor, Tensor | None]]
"""Do one step on a batch with some of the outputs; return its loss and penalty."""


def step_function(
    model: nn.Module,
    optimizer: Optimizer,
    loss_name: LossName,
    penalty: Penalty | None,
    after_backward: Callable[[Tensor, Tensor | None], None] | None,
    precision: Precision = "full",
) -> Step:
    """Return what does one step.

    An optimiser says by its attribute ``closure`` what ``step`` must be given: nothing
    (``"none"``, like most of torch's: gradients are there beforehand), a function that
    computes gradients and returns the loss (``"loss"``, like torch's LBFGS), or one that
    returns outputs and targets (``"outputs"``: the optimiser has a loss of its own).

    A loss is that before the step. Where an optimiser asks for it several times, it is the
    one that ``step`` returns: the first of LBFGS, that at the look-ahead of Alice, never
    that of a probe.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    optimizer : torch.optim.Optimizer
        Of its parameters.
    loss_name : str
        A key of :data:`sandbox.training.objective.LOSSES`.
    penalty : callable or None
        Added to the loss.
    after_backward : callable or None
        Called with loss and penalty whenever gradients have been computed, also at probes:
        what it does to them is then done to all that are compared.
    precision : str
        Of the forward pass.

    Returns
    -------
    callable
        The step.

    Raises
    ------
    ValueError
        If the optimiser wants outputs and there is a penalty or a hook on gradients, it has
        another loss, or precision is mixed.
    """
    forward = forward_in(model, precision)
    loss = loss_function(loss_name)
    default = "loss" if isinstance(optimizer, LBFGS) else "none"
    wants = one_of(
        "optimizer.closure", getattr(optimizer, "closure", default), ("none", "loss", "outputs")
    )

    def backward(batch: Batch, columns: slice | list[int] | None) -> tuple[Tensor, Tensor | None]:
        optimizer.zero_grad()
        outputs = forward(batch.inputs)
        if columns is not None:
            outputs = outputs[:, columns]
        value = loss(outputs, batch.targets)
        if penalty is None:
            torch.autograd.backward(value)
            extra = None
        else:
            extra = penalty(model)
            if not isinstance(extra, Tensor) or extra.numel() != 1:
                raise ValueError(f"penalty(model) = {shown(extra)}: must be a scalar tensor")
            torch.autograd.backward(value + extra)
            extra = extra.detach()
        value = value.detach()
        if after_backward is not None:
            after_backward(value, extra)
        return value, extra

    def plain(batch: Batch, columns: slice | list[int] | None) -> tuple[Tensor, Tensor | None]:
        found = backward(batch, columns)
        optimizer.step()
        return found

    def with_loss(batch: Batch, columns: slice | list[int] | None) -> tuple[Tensor, Tensor | None]:
        seen: list[tuple[Tensor, Tensor, Tensor | None]] = []

        def closure() -> Tensor:
            value, extra = backward(batch, columns)
            seen.append((value if extra is None else value + extra, value, extra))
            return seen[-1][0]

        told: object = optimizer.step(closure)  # type: ignore[arg-type]  # typed as float
        if isinstance(told, Tensor):
            # the place in memory tells which it is, where comparing values would wait for a GPU
            for total, value, extra in seen:
                if total.data_ptr() == told.data_ptr():
                    return value, extra
        return seen[0][1:]

    def with_outputs(
        batch: Batch, columns: slice | list[int] | None
    ) -> tuple[Tensor, Tensor | None]:
        def closure() -> tuple[Tensor, Tensor]:
            outputs = forward(batch.inputs)
            if columns is not None:
                outputs = outputs[:, columns]
            targets = batch.targets
            return outputs, targets if own == "cross-entropy" else as_values(targets, outputs)

        value = optimizer.step(closure)  # type: ignore[arg-type]  # not torch's protocol
        return torch.as_tensor(value), None

    own = "cross-entropy" if loss_name == "cross-entropy" else "squared"
    theirs = str(getattr(optimizer, "loss", own)).replace("_", "-")
    if wants == "outputs" and theirs != own:
        raise ValueError(
            f"loss = {loss_name!r}: the optimiser {type(optimizer).__name__} has a loss of its own,"
            f" {theirs!r}; the plan's must be the same"
        )
    if wants == "outputs" and (penalty is not None or after_backward is not None):
        raise ValueError(
            f"optimizer = {type(optimizer).__name__}: computes its step from the outputs, without"
            " gradients, so neither a penalty nor a hook on 'gradient' can act"
        )
    if wants == "outputs" and precision != "full":
        raise ValueError(
            f"precision = {precision!r}: the optimiser {type(optimizer).__name__} forms exact"
            " derivatives of the outputs; use 'full'"
        )
    return {"none": plain, "loss": with_loss, "outputs": with_outputs}[wants]


def columns_of(outputs: tuple[int, ...]) -> slice | list[int] | None:
    """Return an index for some of the outputs, a view where they lie side by side."""
    if not outputs:
        return None
    if list(outputs) == list(range(outputs[0], outputs[-1] + 1)):
        return slice(outputs[0], outputs[-1] + 1)
    return list(outputs)
