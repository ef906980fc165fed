r"""Gradients of per-sample losses in layers' outputs, for labels that the model itself gives.

The Fisher matrix asks for labels drawn from the model's own prediction. Seen from the outputs,
they make a few columns a sample whose outer products sum to the Hessian of the loss in the
outputs, in expectation or exactly; one backward pass a column, down to the layers' outputs and
no further, turns them into the output gradients of every layer.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from theory.checks import shown

__all__ = [
    "Index",
    "Labels",
    "Likelihood",
    "carried",
    "exact_columns",
    "label_columns",
    "model_outputs",
    "place_gradients",
    "sampled_columns",
]

Likelihood: TypeAlias = Literal["categorical", "gaussian"]
"""Which loss is the negative log-likelihood: cross-entropy, or half the squared error."""

Labels: TypeAlias = Literal["sampled", "full"]
"""One label a sample, drawn from the model, or all of them, weighted by their probabilities."""

Index: TypeAlias = "slice | list[int] | Tensor"
"""Which of the model's outputs the loss looks at."""

ENTRIES_AT_ONCE = 2**25
"""Largest number of gradient entries that one batched backward pass keeps."""


def model_outputs(
    made: object, likelihood: Likelihood, columns: Index | None = None, remedy: str = ""
) -> Tensor:
    """Return a model's outputs as (sample, output), with their graph, after checking them.

    Parameters
    ----------
    made : object
        What the model returned.
    likelihood : {"categorical", "gaussian"}
        Class scores must be (sample, class) already; values are flattened.
    columns : index or None
        Which outputs the loss looks at; None for all.
    remedy : str
        Ends the message about outputs that no label can be drawn for.

    Returns
    -------
    Tensor
        float32 or float64.

    Raises
    ------
    ValueError
        If they are no tensor, of a shape that the likelihood does not fit, or without a graph.
    """
    if not isinstance(made, Tensor) or not made.is_floating_point():
        raise ValueError(
            f"model(inputs) = {shown(made)}: labels can be drawn only where the model returns one"
            f" tensor of real numbers{remedy}"
        )
    if made.ndim < 2 or not made.numel():
        raise ValueError(f"outputs have shape {tuple(made.shape)}: must be (sample, output)")
    chosen = made if columns is None else made[:, columns]
    if likelihood == "categorical" and (chosen.ndim != 2 or chosen.shape[1] < 2):
        raise ValueError(
            f"outputs have shape {tuple(chosen.shape)}: likelihood='categorical' wants"
            " (sample, class) with at least two classes, likelihood='gaussian' takes any values"
            f"{remedy}"
        )
    if not chosen.requires_grad:
        raise ValueError("outputs carry no graph: is there a detach or a no_grad in the model?")
    flat = chosen.flatten(1)
    return flat if flat.dtype == torch.float64 else flat.float()


def sampled_columns(
    outputs: Float[Tensor, "sample output"],
    likelihood: Likelihood,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "1 sample output"]:
    r"""Gradient of every sample's loss in the outputs, for one label drawn from the model.

    **Equation.** Categorical: :math:`p - y`, y one-hot with the probabilities
    :math:`p = \operatorname{softmax}(f)`. Gaussian: :math:`f - y` with
    :math:`y \sim N(f, 1)`. Either has mean zero, and the loss's Hessian for second moment.

    **Shapes and units.** One column; of the per-sample loss, without a factor 1/N.

    Parameters
    ----------
    outputs : Tensor
        f, without a graph.
    likelihood : {"categorical", "gaussian"}
        Of the labels.
    generator : torch.Generator or None
        On the outputs' device.

    Returns
    -------
    Tensor
        As the outputs, with the column in front. Not finite where the outputs are not.

    References
    ----------
    Martens & Grosse (2015), arXiv:1503.05671, section 5.

    Examples
    --------
    >>> sampled_columns(torch.tensor([[200.0, 0.0]]), "categorical").tolist()
    [[[0.0, 0.0]]]
    """
    if likelihood == "gaussian":
        return torch.empty_like(outputs).normal_(generator=generator)[None]
    chances = torch.softmax(outputs, dim=1)
    # the race of exponential clocks: unlike torch.multinomial it passes nan on, for the
    # optimiser to deal with as with any other number that is not finite
    clocks = torch.empty_like(chances).exponential_(generator=generator)
    labels = (chances / clocks).argmax(dim=1, keepdim=True)
    return chances.scatter_add(1, labels, -torch.ones_like(chances[:, :1]))[None]


def exact_columns(
    outputs: Float[Tensor, "sample output"], likelihood: Likelihood
) -> Float[Tensor, "column sample output"]:
    r"""Columns of a root of every sample's loss Hessian in the outputs.

    **Equation.** :math:`\sum_r R_r R_r^\top = H_{out}`: with C classes,
    :math:`\operatorname{diag}(p) - p p^\top` needs C - 1 columns, those of its Cholesky
    factor. With :math:`q_j = \sum_{k > j} p_k` they are :math:`L_{jj} = \sqrt{p_j q_j /
    q_{j-1}}` and :math:`L_{ij} = -L_{jj}\, p_i / q_j` for i > j. Gaussian: the identity, one
    column an output.

    **Shapes and units.** (C - 1, sample, C), or (output, sample, output). One backward pass a
    column gives what all C labels, weighted by their probabilities, would.

    Parameters
    ----------
    outputs : Tensor
        f, without a graph.
    likelihood : {"categorical", "gaussian"}
        Of the labels.

    Returns
    -------
    Tensor
        The columns.

    References
    ----------
    Tanabe & Sagae (1992), doi:10.1111/j.2517-6161.1992.tb01875.x, for the factor.

    Examples
    --------
    >>> exact_columns(torch.zeros(1, 2), "categorical").tolist()
    [[[0.5, -0.5]]]
    """
    samples, count = outputs.shape
    if likelihood == "gaussian":
        return torch.eye(count, dtype=outputs.dtype, device=outputs.device)[:, None].repeat(
            1, samples, 1
        )
    chances = torch.softmax(outputs, dim=1)
    # sums from the end: one minus the sum from the start has no correct digit in the tail
    tails = chances.flip(1).cumsum(1).flip(1)
    after, before = tails[:, 1:], tails[:, :-1]
    tiny = torch.finfo(chances.dtype).tiny
    # q_j <= q_{j-1} and p_i <= q_j, so every quotient is at most 1 and 0/0 comes out as 0
    diagonal = (chances[:, :-1] * (after / before.clamp_min(tiny))).sqrt()
    below = -(chances[:, None, :] / after.clamp_min(tiny)[:, :, None]) * diagonal[:, :, None]
    columns = below.triu(1)
    columns.diagonal(dim1=1, dim2=2).copy_(diagonal)
    return columns.transpose(0, 1)


def label_columns(
    outputs: Float[Tensor, "sample output"],
    labels: Labels | Tensor,
    likelihood: Likelihood,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "column sample output"]:
    """Return the columns at the outputs for labels that are drawn, all, or given.

    Parameters
    ----------
    outputs : Tensor
        Without a graph.
    labels : {"sampled", "full"} or Tensor
        Class numbers (sample,), or values of the outputs' shape.
    likelihood : {"categorical", "gaussian"}
        Of the labels.
    generator : torch.Generator or None
        Where labels are drawn from.

    Returns
    -------
    Tensor
        Of the per-sample loss, without a factor 1/N.

    Raises
    ------
    ValueError
        If given labels do not fit the outputs.
    """
    if isinstance(labels, Tensor):
        return _given(outputs, labels, likelihood)
    if labels == "full":
        return exact_columns(outputs, likelihood)
    return sampled_columns(outputs, likelihood, generator)


def _given(outputs: Tensor, labels: Tensor, likelihood: Likelihood) -> Tensor:
    """Return the loss's gradient in the outputs for given labels."""
    if likelihood == "gaussian":
        values = labels.detach().to(outputs).reshape(len(labels), -1)
        if values.shape != outputs.shape:
            raise ValueError(
                f"labels have shape {tuple(labels.shape)}: must match the outputs,"
                f" {tuple(outputs.shape)}"
            )
        return (outputs - values)[None]
    whole = not labels.is_floating_point() and not labels.is_complex()
    if labels.shape != outputs.shape[:1] or not whole or labels.dtype == torch.bool:
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} and type {labels.dtype}: must be"
            f" {len(outputs)} class numbers"
        )
    numbers = labels.detach().to(outputs.device).long()
    wrong = (numbers < 0) | (numbers >= outputs.shape[1])
    if wrong.any():
        first = int(wrong.nonzero()[0])
        raise ValueError(
            f"labels[{first}] = {int(numbers[first])}: must be a class number in"
            f" [0, {outputs.shape[1]})"
        )
    chances = torch.softmax(outputs, dim=1)
    return chances.scatter_add(1, numbers[:, None], -torch.ones_like(chances[:, :1]))[None]


def place_gradients(
    outputs: Float[Tensor, "sample output"],
    places: Sequence[Tensor],
    columns: Float[Tensor, "column sample output"],
) -> Generator[list[Tensor]]:
    """Carry columns at the outputs back to other places of the same graph.

    The graph stays usable. Columns go back in one batched pass, or in several where that
    would take more than a set number of entries, and one after another through operations
    that have no batching rule.

    Parameters
    ----------
    outputs : Tensor
        With their graph.
    places : sequence of Tensor
        Tensors that the outputs were computed from; those that were not get zeros.
    columns : Tensor
        What to multiply the Jacobians with, from the left.

    Yields
    ------
    list of Tensor
        One (column, ...) of the place's shape a place, for some of the columns at a time.
    """
    largest = max(sum(place.numel() for place in places), 1)
    for part in torch.split(columns.to(outputs.dtype), max(1, ENTRIES_AT_ONCE // largest)):
        found = carried(outputs, places, part)
        yield [
            place.new_zeros(len(part), *place.shape) if slope is None else slope
            for place, slope in zip(places, found, strict=True)
        ]


def carried(
    outputs: Float[Tensor, "sample output"],
    places: Sequence[Tensor],
    columns: Float[Tensor, "column sample output"],
) -> list[Tensor | None]:
    """Carry all columns at the outputs back to other places of the same graph at once.

    Parameters
    ----------
    outputs, places, columns
        As for :func:`place_gradients`.

    Returns
    -------
    list of Tensor or None
        (column, ...) for every place, None for one that the outputs do not depend on.
    """

    def single(column: Tensor) -> tuple[Tensor | None, ...]:
        return torch.autograd.grad(outputs, places, column, retain_graph=True, allow_unused=True)

    if len(columns) == 1:
        return [None if slope is None else slope[None] for slope in single(columns[0])]
    try:
        return list(
            torch.autograd.grad(
                outputs,
                places,
                columns,
                retain_graph=True,
                is_grads_batched=True,
                allow_unused=True,
            )
        )
    except RuntimeError:
        # an operation without a batching rule; any other fault comes back from the loop
        rows = [single(column) for column in columns]
        return [
            None if any(slope is None for slope in slopes) else torch.stack(slopes)
            for slopes in zip(*rows, strict=True)
        ]
