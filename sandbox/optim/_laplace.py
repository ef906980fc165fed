"""Draws from the Laplace posterior of a network, by the root of its Fisher matrix.

Derivation: ``docs/derivations/laplace_samples.md``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sandbox.network.columns import LayerColumns
from sandbox.optim._gram import DampedRoot, combined, transposed

__all__ = ["posterior_deviation", "posterior_draws"]


def posterior_deviation(
    columns: Sequence[LayerColumns],
    deviates: Sequence[Tensor],
    chances: Float[Tensor, " column"],
    prior: float,
    count: float,
    factor: Tensor,
) -> list[Tensor]:
    r"""Turn standard normal numbers into a deviation with covariance (prior + count F)^-1.

    **Equation.** With :math:`V = \sqrt{D/\Lambda_0}\,G` and :math:`U = 1 + V^\top V = (D /
    \Lambda_0) (\Lambda_0 / D + G^\top G)`: :math:`x = \Lambda_0^{-1/2} \left(y - V U^{-1}
    (V^\top y + z)\right)`.

    Parameters
    ----------
    columns : sequence of LayerColumns
        G, by layer.
    deviates : sequence of Tensor
        y, a matrix a layer.
    chances : Tensor
        z, one a column.
    prior, count : float
        The precision :math:`\Lambda_0` and the number of data D.
    factor : Tensor
        Cholesky factor of :math:`\Lambda_0 / D + G^\top G`.

    Returns
    -------
    list of Tensor
        x, a matrix a layer.

    References
    ----------
    Benzing (2022), arXiv:2201.12250, appendix C.
    """
    scale = math.sqrt(count / prior)
    through = scale * transposed(columns, deviates) + chances
    weights = torch.cholesky_solve(through.to(factor)[:, None], factor)[:, 0] / scale
    moved = combined(columns, weights.to(through))
    return [(y - part) / math.sqrt(prior) for y, part in zip(deviates, moved, strict=True)]


def posterior_draws(
    columns: Sequence[Sequence[LayerColumns]],
    roots: Sequence[DampedRoot],
    prior: float,
    count: float,
    draws: int,
    generator: torch.Generator | None,
) -> Iterator[list[Tensor]]:
    """Draw deviations with covariance (prior + count F)^-1, one after another.

    Parameters
    ----------
    columns : sequence of sequences of LayerColumns
        G, by block and layer.
    roots : sequence of DampedRoot
        The factorised Gram matrix of each block, damped with prior / count.
    prior, count : float
        The precision and the number of data.
    draws : int
        How many.
    generator : torch.Generator or None
        On the parameters' device; None for torch's own.

    Yields
    ------
    list of Tensor
        A matrix a layer, in the order of the blocks.
    """
    like = columns[0][0].slopes

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)

    for _ in range(draws):
        found: list[Tensor] = []
        for these, root in zip(columns, roots, strict=True):
            deviates = [normal(c.slopes.shape[3], c.inputs.shape[2]) for c in these]
            chances = normal(these[0].columns)
            found += posterior_deviation(these, deviates, chances, prior, count, root.factor)
        yield found
