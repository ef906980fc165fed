"""Least squares of variance against mean, and how its error spreads to what is inferred."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy import ndarray

ROUNDS = 4
"""Rounds of reweighting: the next would move the fit by less than a hundredth of its error."""


@dataclass(frozen=True)
class Parabola:
    """A fit of variance = slope mean - bend mean^2, and what its errors need."""

    slope: float
    bend: float
    means: ndarray
    variances: ndarray
    lever: ndarray  # (2, condition): derivative of slope and bend in the residuals
    samples: list[ndarray]
    noise: float


def fit_parabola(samples: list[ndarray], quantal_cv: float, noise: float) -> Parabola:
    """Fit slope and bend by reweighted least squares."""
    sizes = np.array([len(sample) for sample in samples])
    means = np.array([sample.mean() for sample in samples])
    totals = np.array([sample.var(ddof=1) for sample in samples])
    if (np.sqrt(totals) <= 1e-12 * np.abs(means)).all():
        raise ValueError("amplitudes: do not vary in any condition; a parabola needs variances")
    variances = totals - noise
    # the square of a sample's mean overestimates the mean's square by the variance over n
    columns = np.stack([means, totals / sizes - means**2])
    if np.linalg.cond(columns / np.linalg.norm(columns, axis=1, keepdims=True)) > 1e8:
        raise ValueError("amplitudes: the conditions have one mean: vary the release probability")
    spread = np.maximum(totals, totals.max() * 1e-6) ** 2 / sizes
    for _ in range(ROUNDS):
        weighted = columns / spread
        lever = np.linalg.solve(weighted @ columns.T, weighted)
        slope, bend = lever @ variances
        if slope <= 0:
            break  # nothing to weight by; the caller refuses it
        spread = _residual_variance(means, slope, bend, quantal_cv, noise) / sizes
    return Parabola(float(slope), float(bend), means, variances, lever, samples, noise)


def _residual_variance(
    mean: ndarray, slope: float, bend: float, quantal_cv: float, noise: float
) -> ndarray:
    """Return the variance, a trial, of (x-mu)^2 - (slope - 2 bend mu) (x-mu) under the model."""
    spread = quantal_cv**2
    q = slope / (1 + spread)
    p = np.clip(bend * mean / q, 0.0, 1.0)
    content = mean / q
    # raw moments of a quantum, then cumulants of all sites
    m2, m3, m4 = np.cumprod(1 + spread * np.arange(1, 4)) * q ** np.arange(2, 5)
    variance = content * (m2 - p * q**2)
    third = content * (m3 - 3 * p * m2 * q + 2 * p**2 * q**3)
    fourth = content * (m4 - p * (4 * m3 * q + 3 * m2**2) + 12 * p**2 * m2 * q**2 - 6 * p**3 * q**4)
    total = variance + noise
    tilt = slope - 2 * bend * mean
    result = fourth + 2 * total**2 - 2 * tilt * third + tilt**2 * total
    # certain release of fixed quanta has no spread at all
    return np.asarray(np.maximum(result, result.max() * 1e-6))


def outputs(parabola: Parabola, quantal_cv: float, *, paired: bool) -> tuple[ndarray, ndarray]:
    """Return (q, b, p of every condition) and their covariance by the delta method."""
    count = len(parabola.samples)
    a, b, means = parabola.slope, parabola.bend, parabola.means
    deviations = []
    for sample, mean, variance in zip(parabola.samples, means, parabola.variances, strict=True):
        x = sample - mean
        # a trial's share in the error of the mean, and in that of the residual
        residual = x**2 - variance - parabola.noise - (a - 2 * b * mean) * x
        deviations.append(np.stack([x, residual]))
    spread = np.zeros((2 * count, 2 * count))  # means first, then residuals
    if paired:
        rows = np.concatenate(deviations, axis=0)[
            [*range(0, 2 * count, 2), *range(1, 2 * count, 2)]
        ]
        spread = rows @ rows.T / (rows.shape[1] * (rows.shape[1] - 1))
    for i, rows in enumerate(() if paired else deviations):
        spread[i::count, i::count] = rows @ rows.T / (rows.shape[1] * (rows.shape[1] - 1))
    q = a / (1 + quantal_cv**2)
    p = means * b / q
    zeros = np.zeros((2, count))
    of_line = np.concatenate([zeros, parabola.lever], axis=1)
    of_mean = np.concatenate([np.eye(count), np.zeros((count, count))], axis=1)
    logs = of_mean / means[:, None] + of_line[1] / b - of_line[0] / a
    jacobian = np.concatenate([of_line[:1] / (1 + quantal_cv**2), of_line[1:], p[:, None] * logs])
    return np.concatenate([[q, b], p]), jacobian @ spread @ jacobian.T
