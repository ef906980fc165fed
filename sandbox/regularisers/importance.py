"""How much every parameter matters to a trained network's answers: Fisher, absolute, memory-aware.

Derivations: ``docs/derivations/memory_and_absolute_fisher.md``, ``two_classes.md`` and
``batched_fisher.md`` there.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from sandbox.network.output_gradients import Index, Likelihood
from sandbox.regularisers._measures import absolute, memory, squared
from sandbox.regularisers._sums import batch_means, input_means
from sandbox.regularisers._trained import trained_parameters
from theory.checks import as_integer

__all__ = [
    "absolute_fisher",
    "batched_memory_aware",
    "fisher_diagonal",
    "memory_aware",
    "root_fisher",
]

FisherLabels: TypeAlias = Literal["exact", "sampled", "empirical", "weighted", "batched"]
"""Which labels the squared gradients are of."""

Output: TypeAlias = Literal["probability", "logit"]
"""Whether the softmax of the outputs is taken, or the outputs themselves."""

Reduce: TypeAlias = Literal["norm", "max"]
"""All outputs, or the largest alone."""


def fisher_diagonal(
    model: nn.Module,
    data: Any,
    labels: FisherLabels = "exact",
    n: int | None = None,
    *,
    likelihood: Likelihood = "categorical",
    columns: Index | None = None,
    batch_size: int = 32,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    r"""Diagonal of the Fisher matrix: the mean square of log-probabilities' gradients.

    **Equation.** With :math:`g_{ny} = \partial (-\log p(y | x_n)) / \partial\theta`, and
    :math:`y_n` the label that the data give,

    * ``"exact"``: :math:`F = \frac1N \sum_n \sum_y p(y | x_n)\, g_{ny}^2`, the expectation over
      labels itself; elastic weight consolidation's own.
    * ``"sampled"``: one y an input, drawn from p; unbiased.
    * ``"empirical"``: :math:`\frac1N \sum_n g_{n y_n}^2`, another matrix unless the labels
      follow p.
    * ``"weighted"``: :math:`\frac1N \sum_n p(y_n | x_n)\, g_{n y_n}^2`, one label's term of
      the exact sum.
    * ``"batched"``: :math:`\frac1B \sum_b \big(\frac1{|b|} \sum_{n \in b} g_{n y_n}\big)^2`,
      the common mistake: noise averages out, and what is left falls as one over the batch size.

    **Shapes and units.** One tensor a trained parameter, of its shape and type, without a
    graph; one over the parameters squared. The model is evaluated in evaluation mode and full
    precision, stochastic synapses by their means (nothing is drawn), and left as it is: modes,
    gradients, buffers, random state (unless labels are drawn without a generator).

    No gradient of a single input is formed for linear and convolutional layers with one place
    to be in: with slopes e and inputs a, :math:`\sum_{ny} (e_{ny} a_n^\top)^2 = (E \circ
    E)^\top (A \circ A)`. Those of convolutions and sequences are formed some outputs at a
    time. All other parameters (norms, embeddings, tied weights) get theirs from
    :func:`torch.func.vmap`. What is held at once is a small multiple of 2^24 numbers, or of
    what a single input takes in one label, beside the model, the data and the result.

    Parameters
    ----------
    model : torch.nn.Module
        The network; parameters without ``requires_grad`` are left out.
    data : Tensor, pair, samples, or iterable of batches
        Inputs (sample, ...); a pair (inputs, targets) of tensors or arrays; anything with
        ``.inputs`` and ``.targets``; or an iterable of such batches, as a DataLoader is. They
        are moved to the model's device, real numbers to its type.
    labels : {"exact", "sampled", "empirical", "weighted", "batched"}
        Whose gradients; the last three need targets.
    n : int or None
        The first n inputs; None for all.
    likelihood : {"categorical", "gaussian"}
        Of cross-entropy (outputs are logits), or of half the squared error (unit variance);
        ``"weighted"`` is for the first only.
    columns : index or None
        Which of the model's outputs count, and that targets count from, as for a head of a
        task; None for all.
    batch_size : int
        Of ``"batched"``; a smaller batch at the end counts as the others do.
    generator : torch.Generator or None
        Where ``"sampled"`` draws from, on the model's device; None to seed one from torch's own.

    Returns
    -------
    dict
        By the parameters' names.

    Raises
    ------
    ValueError
        If an argument is wrong, data are empty or fewer than n, nothing is trained, targets
        or outputs do not fit the likelihood, or a result is not finite.

    References
    ----------
    Kirkpatrick et al. (2017), arXiv:1612.00796; van de Ven (2025), arXiv:2502.11756, for the
    names.

    Examples
    --------
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> fisher_diagonal(model, torch.tensor([[1.0, 2.0]]))["weight"].tolist()
    [[0.25, 1.0], [0.25, 1.0]]
    """
    size = as_integer("batch_size", batch_size, low=1)
    source = generator
    if labels == "sampled" and source is None:
        # one number of torch's own: draws go on from piece to piece, and from call to call
        trained = trained_parameters(model)
        source = torch.Generator(next(iter(trained.values())).device)
        source.manual_seed(int(torch.randint(2**62, ())))
    measure = squared(labels, likelihood, columns, source)
    if labels == "batched":
        return batch_means(model, data, n, measure, size)
    return input_means(model, data, n, measure)


def absolute_fisher(
    model: nn.Module, data: Any, n: int | None = None, *, columns: Index | None = None
) -> dict[str, Tensor]:
    r"""Absolute Fisher: the mean absolute value of log-probabilities' gradients.

    **Equation.** :math:`\frac1N \sum_n \sum_y p(y | x_n)\, \big|\partial \log p(y | x_n) /
    \partial\theta\big|`, over all labels.

    **Shapes and units.** As :func:`fisher_diagonal`, but one over the parameters. A backward
    pass a label: the absolute value, unlike the square, is not that of fewer columns.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    data : Tensor, pair, samples, or iterable of batches
        As for :func:`fisher_diagonal`; targets are not used.
    n : int or None
        The first n inputs; None for all.
    columns : index or None
        Which of the model's outputs count.

    Returns
    -------
    dict
        By the parameters' names.

    Raises
    ------
    ValueError
        As :func:`fisher_diagonal`.

    References
    ----------
    Benzing (2022), "Unifying importance based regularisation methods for continual learning",
    arXiv:2006.06357.

    Examples
    --------
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> absolute_fisher(model, torch.tensor([[1.0, 2.0]]))["weight"].tolist()
    [[0.5, 1.0], [0.5, 1.0]]
    """
    return input_means(model, data, n, absolute(columns))


def root_fisher(
    model: nn.Module, data: Any, n: int | None = None, *, columns: Index | None = None
) -> dict[str, Tensor]:
    r"""Root of the Fisher matrix's diagonal.

    **Equation.** :math:`\sqrt{\frac1N \sum_n \sum_y p(y | x_n)\, g_{ny}^2}`: the root of the
    mean, over all labels, not the mean of roots.

    **Shapes and units.** As :func:`fisher_diagonal`, but one over the parameters.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    data : Tensor, pair, samples, or iterable of batches
        As for :func:`fisher_diagonal`; targets are not used.
    n : int or None
        The first n inputs; None for all.
    columns : index or None
        Which of the model's outputs count.

    Returns
    -------
    dict
        By the parameters' names.

    Raises
    ------
    ValueError
        As :func:`fisher_diagonal`.

    References
    ----------
    Benzing (2022), arXiv:2006.06357.

    Examples
    --------
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> root_fisher(model, torch.tensor([[1.0, 2.0]]))["weight"].tolist()
    [[0.5, 1.0], [0.5, 1.0]]
    """
    found = fisher_diagonal(model, data, "exact", n, columns=columns)
    return {name: part.sqrt() for name, part in found.items()}


def memory_aware(
    model: nn.Module,
    data: Any,
    output: Output = "probability",
    reduce: Reduce = "norm",
    n: int | None = None,
    *,
    columns: Index | None = None,
) -> dict[str, Tensor]:
    r"""Memory aware synapses: how much each parameter moves the length of the outputs.

    **Equation.** :math:`\frac1N \sum_n \big|\partial \|p(x_n)\|^2 / \partial\theta\big|`, and
    with ``reduce="max"`` :math:`\frac1N \sum_n \big|\partial (\max_y p(y | x_n))^2 /
    \partial\theta\big|`; with ``output="logit"`` the same of the outputs f in place of their
    softmax p.

    **Shapes and units.** As :func:`fisher_diagonal`; the square of the outputs over the
    parameters. One backward pass.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    data : Tensor, pair, samples, or iterable of batches
        As for :func:`fisher_diagonal`; targets are not used.
    output : {"probability", "logit"}
        Of what; the outputs themselves may be values of a regression.
    reduce : {"norm", "max"}
        Squared norm, or the square of the largest output, the first of equals.
    n : int or None
        The first n inputs; None for all.
    columns : index or None
        Which of the model's outputs count.

    Returns
    -------
    dict
        By the parameters' names.

    Raises
    ------
    ValueError
        As :func:`fisher_diagonal`.

    References
    ----------
    Aljundi et al. (2018), arXiv:1711.09601, for logits; Benzing (2022), arXiv:2006.06357, for
    probabilities and the largest one.

    Examples
    --------
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> memory_aware(model, torch.tensor([[1.0, 2.0]]), reduce="max")["weight"].tolist()
    [[0.25, 0.5], [0.25, 0.5]]
    """
    return input_means(model, data, n, memory(output, reduce, columns))


def batched_memory_aware(
    model: nn.Module,
    data: Any,
    output: Output = "probability",
    reduce: Reduce = "norm",
    n: int | None = None,
    *,
    columns: Index | None = None,
    batch_size: int = 32,
) -> dict[str, Tensor]:
    r"""Absolute gradient of batch means: what memory aware synapses are often mistaken for.

    **Equation.** :math:`\frac1B \sum_b \big|\frac1{|b|} \sum_{n \in b} \partial \|p(x_n)\|^2
    / \partial\theta\big|`: gradients of different sign cancel within a batch, so that with
    batches of one size it is never more than :func:`memory_aware`, its value at one input a
    batch.

    **Shapes and units.** As :func:`memory_aware`.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    data : Tensor, pair, samples, or iterable of batches
        As for :func:`fisher_diagonal`; they are cut anew into batches.
    output, reduce, n, columns
        As for :func:`memory_aware`.
    batch_size : int
        Inputs a batch; a smaller one at the end counts as the others do.

    Returns
    -------
    dict
        By the parameters' names.

    Raises
    ------
    ValueError
        As :func:`fisher_diagonal`.

    References
    ----------
    Benzing (2022), arXiv:2006.06357, takes one input at a time; the inequality is derived here.

    Examples
    --------
    >>> model = torch.nn.Linear(1, 2, bias=False)
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> inputs = torch.tensor([[1.0], [-1.0]])
    >>> batched_memory_aware(model, inputs, reduce="max")["weight"].tolist()
    [[0.0], [0.0]]
    """
    size = as_integer("batch_size", batch_size, low=1)
    return batch_means(model, data, n, memory(output, reduce, columns), size)
