"""The importance measures as columns at the outputs and a power, with what they ask of data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from sandbox.network.output_gradients import Index, Likelihood
from sandbox.regularisers._output_columns import label_scores, memory_columns, squared_columns
from theory.checks import one_of

__all__ = ["Measure", "absolute", "memory", "squared"]

Power: TypeAlias = Literal[1, 2]
"""Absolute values, or squares."""

VALUES = "for values take fisher_diagonal(..., likelihood='gaussian')"
LOGITS = "for values take output='logit'"


@dataclass(frozen=True, slots=True, eq=False)
class Measure:
    r"""What is summed: :math:`\sum_k |J^\top c_k|^q` at an input.

    Parameters
    ----------
    columns : callable
        Gives c (column, sample, output) from outputs and targets.
    power : {1, 2}
        q.
    every : bool
        Whether there is about one column an output, rather than one alone.
    likelihood : {"categorical", "gaussian"}
        What the outputs must be fit for.
    outputs : index or None
        Which of the model's outputs count.
    remedy : str
        What to do where outputs are no class scores.
    """

    columns: Callable[[Tensor, Tensor | None], Tensor]
    power: Power
    every: bool
    likelihood: Likelihood
    outputs: Index | None
    remedy: str


def squared(
    labels: str, likelihood: Likelihood, outputs: Index | None, generator: torch.Generator | None
) -> Measure:
    """Return the diagonal of a Fisher matrix; sampled labels need a generator."""
    one_of("labels", labels, ("exact", "sampled", "empirical", "weighted", "batched"))
    one_of("likelihood", likelihood, ("categorical", "gaussian"))
    if labels == "weighted" and likelihood == "gaussian":
        raise ValueError("labels = 'weighted': values have densities, and no probabilities")

    def columns(made: Tensor, targets: Tensor | None) -> Tensor:
        if targets is None and labels not in {"exact", "sampled"}:
            raise ValueError(
                f"labels = {labels!r}: needs targets; hand data over as a pair (inputs, targets)"
            )
        _check_targets(targets, likelihood, VALUES)
        return squared_columns(made, labels, likelihood, targets, generator)

    return Measure(columns, 2, labels == "exact", likelihood, outputs, VALUES)


def absolute(outputs: Index | None) -> Measure:
    """Return the absolute Fisher."""

    def columns(made: Tensor, targets: Tensor | None) -> Tensor:
        _check_targets(targets, "categorical", VALUES)
        return label_scores(made)

    return Measure(columns, 1, True, "categorical", outputs, VALUES)


def memory(output: str, reduce: str, outputs: Index | None) -> Measure:
    """Return memory aware synapses."""
    one_of("output", output, ("probability", "logit"))
    one_of("reduce", reduce, ("norm", "max"))
    likelihood: Likelihood = "categorical" if output == "probability" else "gaussian"

    def columns(made: Tensor, targets: Tensor | None) -> Tensor:
        _check_targets(targets, likelihood, LOGITS)
        return memory_columns(made, output, reduce)

    return Measure(columns, 1, False, likelihood, outputs, LOGITS)


def _check_targets(targets: Tensor | None, likelihood: Likelihood, remedy: str) -> None:
    """Refuse values where labels are wanted."""
    if likelihood == "categorical" and targets is not None and targets.is_floating_point():
        raise ValueError(
            f"targets of type {targets.dtype} are values: labels have probabilities, values do"
            f" not; {remedy}"
        )
