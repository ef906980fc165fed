"""Gradients of single inputs, where layers' factors do not give them: mapped, or in a loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sandbox.network.layers import factor_dtype

__all__ = ["per_input_sums"]

Outputs: TypeAlias = Callable[[Tensor], Tensor]
"""Gives (sample, output) from what the model returned."""


def per_input_sums(
    model: nn.Module,
    names: Sequence[str],
    outputs: Outputs,
    inputs: Tensor,
    columns: Float[Tensor, "column sample output"],
    power: int,
    at_once: int,
) -> dict[str, Tensor]:
    r"""Return sums over inputs and columns of powers of gradients.

    **Equation.** :math:`\sum_n \sum_k |J_n^\top c_{kn}|^q`, q the power.

    Parameters
    ----------
    model : torch.nn.Module
        In evaluation mode.
    names : sequence of str
        Of the parameters.
    outputs : callable
        Gives those that count from what the model returned.
    inputs : Tensor
        As the model takes them.
    columns : Tensor
        c, at the outputs.
    power : {1, 2}
        q.
    at_once : int
        How many gradients (of an input, in a column) may be held.

    Returns
    -------
    dict
        By the parameters' names.
    """
    chosen: dict[str, Tensor] = {n: p for n, p in model.named_parameters() if n in names}
    some = max(1, min(len(columns), at_once))
    sums = {
        name: torch.zeros_like(p, dtype=factor_dtype(p.dtype), requires_grad=False)
        for name, p in chosen.items()
    }
    steps = max(1, at_once // some)
    for first in range(0, len(inputs), steps):
        part = slice(first, first + steps)
        for these in torch.split(columns[:, part], some):
            for name, slopes in _gradients(model, chosen, outputs, inputs[part], these).items():
                wide = slopes.to(sums[name].dtype)
                wide = wide.abs() if power == 1 else wide.square()
                sums[name] += wide.flatten(0, 1).sum(dim=0)
    return sums


def _gradients(
    model: nn.Module,
    chosen: dict[str, Tensor],
    outputs: Outputs,
    inputs: Tensor,
    columns: Tensor,
) -> dict[str, Tensor]:
    """Return (sample, column, ...) for every parameter."""
    values = {name: parameter.detach() for name, parameter in chosen.items()}

    def single(one: Tensor, own: Tensor) -> dict[str, Tensor]:
        def flat(at: dict[str, Tensor]) -> Tensor:
            return outputs(torch.func.functional_call(model, at, (one[None],)))[0]

        pull = torch.func.vjp(flat, values)[1]
        found: dict[str, Tensor] = torch.func.vmap(lambda column: pull(column)[0])(own)
        return found

    try:
        mapped: dict[str, Tensor] = torch.func.vmap(single, in_dims=(0, 1))(inputs, columns)
    except RuntimeError:
        # an operation without a batching rule; any other fault comes back from the loop
        return _one_by_one(model, chosen, outputs, inputs, columns)
    return mapped


def _one_by_one(
    model: nn.Module,
    chosen: dict[str, Tensor],
    outputs: Outputs,
    inputs: Tensor,
    columns: Tensor,
) -> dict[str, Tensor]:
    """Return the same from a backward pass an input and a column."""
    every = list(chosen.values())
    rows: list[list[Tensor]] = [[] for _ in every]
    for n, one in enumerate(inputs):
        with torch.enable_grad():
            flat = outputs(model(one[None]))[0]
        for column in columns[:, n]:
            found = torch.autograd.grad(
                flat, every, column.to(flat.dtype), retain_graph=True, allow_unused=True
            )
            for row, p, slope in zip(rows, every, found, strict=True):
                row.append(torch.zeros_like(p) if slope is None else slope)
    return {
        name: torch.stack(row).view(len(inputs), len(columns), *p.shape)
        for (name, p), row in zip(chosen.items(), rows, strict=True)
    }
