"""Means over inputs of absolute or squared gradients, in pieces that fit in memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sandbox.network.columns import layer_columns
from sandbox.network.layers import factor_dtype
from sandbox.regularisers._data import Stream, stream
from sandbox.regularisers._measures import Measure
from sandbox.regularisers._per_input import per_input_sums
from sandbox.regularisers._trained import (
    Trained,
    as_rows,
    chosen_outputs,
    still,
    trained_parameters,
)

__all__ = ["batch_means", "input_means"]

NUMBERS = 2**24
"""Numbers held at once beside the model, the data and the result, up to a small factor."""


def input_means(model: nn.Module, data: Any, n: int | None, measure: Measure) -> dict[str, Tensor]:
    r"""Return the mean over single inputs.

    **Equation.** :math:`\frac1N \sum_n \sum_k |J_n^\top c_{kn}|^q`.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    data : Any
        Its inputs in any form that :func:`~sandbox.regularisers._data.stream` takes.
    n : int or None
        How many inputs to take; None for all.
    measure : Measure
        Columns and power.

    Returns
    -------
    dict
        By the parameters' names.
    """
    trained, inputs_of = _prepared(model, data, n, measure)
    labels = trained.outputs if measure.every else 1
    sums = _zeros(trained)
    size = max(1, NUMBERS // max(1, labels * trained.passing + trained.fed))
    count = 0
    like = next(iter(trained.parameters.values()))
    for inputs, targets in inputs_of.pieces(size):
        count += len(inputs)
        # mapped gradients would carry a graph to the parameters that stand still in them
        with still(model), torch.no_grad():
            _add(sums, trained, _placed(like, inputs), targets, measure)
    return _finished(trained, sums, count)


def batch_means(
    model: nn.Module, data: Any, n: int | None, measure: Measure, batch_size: int
) -> dict[str, Tensor]:
    r"""Return the mean over batches of a power of each batch's mean gradient.

    **Equation.** :math:`\frac1B \sum_b |\frac1{|b|} \sum_{n \in b} J_n^\top c_n|^q`.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    data : Any
        Its inputs in any form that :func:`~sandbox.regularisers._data.stream` takes.
    n : int or None
        How many inputs to take; None for all.
    measure : Measure
        One column, and the power.
    batch_size : int
        Inputs a batch; the last may have fewer and counts as the others do.

    Returns
    -------
    dict
        By the parameters' names.
    """
    trained, inputs_of = _prepared(model, data, n, measure)
    sums = _zeros(trained)
    every = list(trained.parameters.values())
    count = 0
    # many batches a piece: data are read as the model is left, and stilling it takes its time
    some = max(1, NUMBERS // (batch_size * max(1, trained.passing + trained.fed)))
    for inputs, targets in inputs_of.pieces(some * batch_size):
        with still(model), torch.enable_grad():
            for first in range(0, len(inputs), batch_size):
                part = slice(first, first + batch_size)
                these = _placed(every[0], inputs[part])
                own = None if targets is None else targets[part]
                flat = chosen_outputs(
                    model, these, measure.likelihood, measure.outputs, measure.remedy
                )
                column = measure.columns(flat.detach(), own)[0] / len(these)
                slopes = torch.autograd.grad(flat, every, column, allow_unused=True)
                for total, slope in zip(sums.values(), slopes, strict=True):
                    if slope is not None:
                        wide = slope.to(total.dtype)
                        total += wide.abs() if measure.power == 1 else wide.square()
                count += 1
    return _finished(trained, sums, count)


def _prepared(
    model: nn.Module, data: Any, n: int | None, measure: Measure
) -> tuple[Trained, Stream]:
    """Return the model and its inputs, after a look at both."""
    like = next(iter(trained_parameters(model).values()))
    found = stream(data, n)
    first = _placed(like, found.look())
    return Trained.of(model, first, measure.likelihood, measure.outputs, measure.remedy), found


def _add(
    sums: dict[str, Tensor],
    trained: Trained,
    inputs: Tensor,
    targets: Tensor | None,
    measure: Measure,
) -> None:
    """Add what some inputs bring."""
    kept: list[Tensor] = []

    def probe(flat: Tensor) -> Tensor:
        kept.append(measure.columns(flat.detach(), targets))
        return kept[0]

    if trained.layers:
        found = layer_columns(
            trained.model,
            trained.layers,
            inputs,
            probe,
            likelihood=measure.likelihood,
            outputs=measure.outputs,
        )
        names = {id(p): name for name, p in trained.parameters.items()}
        for layer, part in zip(trained.layers, found, strict=True):
            total = part.squares() if measure.power == 2 else part.absolutes()
            for parameter, own in zip(layer.parameters, layer.split(total), strict=True):
                sums[names[id(parameter)]] += own
    else:
        with torch.enable_grad():
            probe(
                chosen_outputs(
                    trained.model, inputs, measure.likelihood, measure.outputs, measure.remedy
                )
            )
    if trained.rest:
        single = trained.passing + sum(sums[name].numel() for name in trained.rest)
        rest = per_input_sums(
            trained.model,
            trained.rest,
            lambda made: as_rows(made, measure.outputs),
            inputs,
            kept[0],
            measure.power,
            max(1, NUMBERS // single),
        )
        for name, own in rest.items():
            sums[name] += own


def _zeros(trained: Trained) -> dict[str, Tensor]:
    """Return a zero for every trained parameter, in single precision at least."""
    return {
        name: torch.zeros(p.shape, dtype=factor_dtype(p.dtype), device=p.device)
        for name, p in trained.parameters.items()
    }


def _placed(like: Tensor, inputs: Tensor) -> Tensor:
    """Return inputs where the model is, real numbers in its type."""
    return inputs.to(like.device, like.dtype if inputs.is_floating_point() else inputs.dtype)


def _finished(trained: Trained, sums: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    """Return sums over a count in the parameters' types, if they are finite."""
    means = {}
    for name, total in sums.items():
        means[name] = (total / count).to(trained.parameters[name].dtype)
        if not bool(means[name].isfinite().all()):
            raise ValueError(
                f"importance of {name} is not finite: are the model's parameters, and its outputs"
                " for these inputs?"
            )
    return means
