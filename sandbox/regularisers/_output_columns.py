r"""Columns at the outputs whose way back through the network gives the importance measures.

Every measure is a mean over inputs of a sum over columns c of :math:`|J_n^\top c_n|` or of its
square, J the Jacobian of the outputs in the parameters. Entries that are small differences of
probabilities are summed from their parts, so that confident predictions keep their digits.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sandbox.network.output_gradients import Likelihood, exact_columns, label_columns

__all__ = ["label_scores", "memory_columns", "scored", "squared_columns"]


def squared_columns(
    outputs: Float[Tensor, "sample output"],
    labels: str,
    likelihood: Likelihood,
    targets: Tensor | None,
    generator: torch.Generator | None,
) -> Float[Tensor, "column sample output"]:
    """Return columns whose squares make the diagonal of a Fisher matrix.

    Parameters
    ----------
    outputs : Tensor
        Without a graph.
    labels : {"exact", "sampled", "empirical", "weighted", "batched"}
        All labels by their probabilities, one that is drawn, the given one, that by its
        probability, or once more the given one.
    likelihood : {"categorical", "gaussian"}
        Of the labels.
    targets : Tensor or None
        The given labels.
    generator : torch.Generator or None
        Where labels are drawn from.

    Returns
    -------
    Tensor
        One backward pass each.
    """
    if labels == "exact":
        return exact_columns(outputs, likelihood)
    if labels == "sampled":
        return label_columns(outputs, "sampled", likelihood, generator)
    assert targets is not None
    found = label_columns(outputs, targets, likelihood)
    if likelihood == "gaussian":
        return found
    numbers = targets.to(outputs.device).long()
    scores = scored(found[0], numbers)[None]
    if labels != "weighted":
        return scores
    chances = outputs.softmax(dim=1).gather(1, numbers[:, None])
    return scores * chances.sqrt()


def scored(
    chances: Float[Tensor, "sample output"], numbers: Tensor
) -> Float[Tensor, "sample output"]:
    """Return p - y, whose entry at the label is minus the sum of all the others."""
    rest = chances.scatter(1, numbers[:, None], 0.0)
    return rest.scatter(1, numbers[:, None], -rest.sum(dim=1, keepdim=True))


def label_scores(
    outputs: Float[Tensor, "sample output"],
) -> Float[Tensor, "column sample output"]:
    """Return the gradients of -log p of all labels, weighted by p.

    A root of the Hessian in the outputs has one column fewer and the same squares, but other
    absolute values: these need the labels themselves.

    Parameters
    ----------
    outputs : Tensor
        Class scores, without a graph.

    Returns
    -------
    Tensor
        One column a label.
    """
    chances = outputs.softmax(dim=1)
    labels = torch.arange(outputs.shape[1], device=outputs.device)
    every = [scored(chances, label.expand(len(chances))) for label in labels]
    return torch.stack(every) * chances.T[:, :, None]


def memory_columns(
    outputs: Float[Tensor, "sample output"], output: str, reduce: str
) -> Float[Tensor, "1 sample output"]:
    """Return the gradient of the squared length of the outputs, or of the largest one squared.

    Parameters
    ----------
    outputs : Tensor
        Without a graph.
    output : {"probability", "logit"}
        Whether the softmax is taken first.
    reduce : {"norm", "max"}
        All outputs, or the largest one; the first of equals.

    Returns
    -------
    Tensor
        One column.
    """
    largest = outputs.argmax(dim=1, keepdim=True)
    if output == "logit":
        if reduce == "norm":
            return 2 * outputs[None]
        return torch.zeros_like(outputs).scatter(1, largest, 2 * outputs.gather(1, largest))[None]
    chances = outputs.softmax(dim=1)
    top = chances.gather(1, largest)
    if reduce == "max":
        return (-2 * top.square() * scored(chances, largest[:, 0]))[None]
    rest = chances.scatter(1, largest, 0.0)
    others = rest.square().sum(dim=1, keepdim=True)
    # at the largest, p - |p|^2 is the small difference of two numbers close to 1
    inner = (chances - top.square() - others).scatter(
        1, largest, top * rest.sum(dim=1, keepdim=True) - others
    )
    return (2 * chances * inner)[None]
