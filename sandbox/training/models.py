"""Small networks with given weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from theory._types import Matrix
from theory.checks import as_matrices

__all__ = ["deep_linear"]


def deep_linear(
    weights: Sequence[Matrix],
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> torch.nn.Sequential:
    r"""Deep linear network without biases, with these weights.

    **Equation.** :math:`f(x) = W_d \cdots W_1 x`, samples along the first axis.

    **Shapes and units.** W_i (n_i, n_{i-1}); inputs (sample, n_0), outputs
    (sample, n_d).

    Parameters
    ----------
    weights : sequence of Matrix
        W_1 ... W_d, input side first.
    dtype : torch.dtype
        Type of the parameters.
    device : torch.device or str
        Where they live.

    Returns
    -------
    torch.nn.Sequential
        Its parameters are copies of the weights, in the same order.

    Raises
    ------
    ValueError
        If the weights are not a chain of finite matrices.

    References
    ----------
    Saxe, McClelland & Ganguli (2014), arXiv:1312.6120.

    Examples
    --------
    >>> import numpy as np
    >>> network = deep_linear([2 * np.eye(2), 3 * np.eye(2)])
    >>> network(torch.ones(1, 2, dtype=torch.float64)).tolist()
    [[6.0, 6.0]]
    """
    layers = []
    for matrix in as_matrices("weights", weights):
        rows, columns = matrix.shape
        layer = torch.nn.Linear(columns, rows, bias=False, dtype=dtype, device="meta")
        layer = layer.to_empty(device=device)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(matrix))
        layers.append(layer)
    return torch.nn.Sequential(*layers)
