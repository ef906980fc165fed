"""The Riccati equation of lambda-balanced two-layer networks, with no growing exponentials.

d(QQ')/dt = F QQ' + QQ' F - (QQ')^2 is solved in the eigenbasis of F, where the integral of
e^{2Ft} is a diagonal matrix whether or not F is singular.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy import ndarray

from theory._types import Matrix, Vector

__all__ = ["Generator", "generator_of", "riccati_factor"]

DEPENDENT = 1e-13
"""A unit row whose part outside the span of earlier rows is smaller counts as inside it."""


@dataclass(frozen=True)
class Generator:
    """Eigenbasis of F = [[-lam/2, W*'], [W*, lam/2]], from the singular vectors of W*."""

    rates: Vector
    inputs: Matrix
    outputs: Matrix


def generator_of(target: Matrix, imbalance: float) -> Generator:
    """Return the eigenvalues and the input and output rows of the eigenvectors."""
    left, values, right = np.linalg.svd(target)
    rank = values.size
    spare_in, spare_out = right.shape[0] - rank, left.shape[0] - rank
    rates = np.hypot(values, imbalance / 2)
    # the angle of (cos, sin) with [[-lam/2, s], [s, lam/2]] (cos, sin) = rate (cos, sin)
    angle = np.arctan2(values, -imbalance / 2) / 2
    cosine, sine = np.cos(angle), np.sin(angle)
    v, u = right[:rank].T, left[:, :rank]
    inputs = [v * cosine, -v * sine, right[rank:].T, np.zeros((right.shape[0], spare_out))]
    outputs = [u * sine, u * cosine, np.zeros((left.shape[0], spare_in)), left[:, rank:]]
    spare = np.concatenate([np.full(spare_in, -1.0), np.full(spare_out, 1.0)])
    return Generator(
        np.concatenate([rates, -rates, spare * imbalance / 2]),
        np.hstack(inputs),
        np.hstack(outputs),
    )


def _log_growth(rates: Vector, time: float) -> tuple[Vector, Vector]:
    """Return the logarithms of int_0^t e^{2 f tau} dtau and of e^{f t} over its square root."""
    exponent = 2 * rates * time
    size = np.abs(exponent)
    safe = np.where(size > 0, size, 1.0)
    shape = np.where(size > 0, np.log(-np.expm1(-safe) / safe), 0.0) + np.log(time)
    return shape + np.maximum(exponent, 0.0), (np.minimum(exponent, 0.0) - shape) / 2


def _triangular(rows: Matrix) -> tuple[Matrix, ndarray]:
    """Return L with rows = L Z', Z'Z = I, and the row at which each column of L starts."""
    upper = np.asarray(np.linalg.qr(rows.T, mode="r"))
    return upper.T, np.arange(upper.shape[0])


def _echelon(rows: Matrix) -> tuple[Matrix, ndarray]:
    """Return the same for rows that depend on earlier ones: no column starts at such a row."""
    basis = np.zeros((0, rows.shape[1]))
    pivots = []
    for i, row in enumerate(rows):
        residual = row - basis.T @ (basis @ row)
        residual -= basis.T @ (basis @ residual)
        length = float(np.linalg.norm(residual))
        if length > DEPENDENT:
            basis = np.vstack([basis, residual / length])
            pivots.append(i)
    lower = rows @ basis.T
    for column, pivot in enumerate(pivots):
        lower[:pivot, column] = 0.0
    return lower, np.array(pivots, dtype=np.int64)


def riccati_factor(rates: Vector, rows: Matrix, time: float) -> Matrix:
    """Return X with X X' = e^{Ft} q (I + q' Phi q)^{-1} q' e^{Ft}, F diagonal, q the rows."""
    # rows of Phi**(1/2) q range over e^{+-ft}: sorted by size and triangularised, what
    # remains of them are ratios of smaller to larger ones, none above 1
    lengths = np.linalg.norm(rows, axis=1)
    alive = np.flatnonzero(lengths > 0)
    factor = np.zeros((rows.shape[0], min(alive.size, rows.shape[1])))
    if alive.size == 0 or time <= 0.0:
        return factor if alive.size == 0 else rows
    log_growth, log_rest = _log_growth(rates[alive], time)
    log_size = log_growth / 2 + np.log(lengths[alive])
    order = np.argsort(-log_size, kind="stable")
    kept, log_size = alive[order], log_size[order]
    unit = rows[kept] / lengths[kept, None]
    lower, pivots = _triangular(unit)
    large = log_size[pivots] > 0
    if (np.abs(lower[pivots, np.arange(pivots.size)])[large] <= DEPENDENT).any():
        lower, pivots = _echelon(unit)
    log_column = np.maximum(log_size[pivots], 0.0)
    with np.errstate(under="ignore"):
        scaled = lower * np.exp(np.minimum(log_size[:, None] - log_column, 0.0))
        stacked = np.vstack([scaled, np.diag(np.exp(-log_column))])
        upper = np.linalg.qr(stacked, mode="r")
        solved = scipy.linalg.solve_triangular(upper, scaled.T, trans="T").T
        factor[kept, : pivots.size] = np.exp(log_rest[order])[:, None] * solved
    return factor
