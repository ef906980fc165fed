"""Two-layer networks with both layers trained: Hessians and kernels, unit by unit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import ndarray

__all__ = [
    "WideNetwork",
    "block_norm",
    "hessian_norms",
    "kernel_matrix",
    "limit_kernel",
    "mean_largest",
    "worst_norm",
]


class WideNetwork(NamedTuple):
    """f = m^(-1/2) sum_j v_j tanh(w_j . x), all weights standard normal, |x| = 1."""

    outer: ndarray
    inner: ndarray

    @classmethod
    def drawn(cls, width: int, features: int, generator: np.random.Generator) -> WideNetwork:
        """Draw both layers."""
        return cls(generator.standard_normal(width), generator.standard_normal((width, features)))


def hessian_norms(network: WideNetwork, x: ndarray) -> ndarray:
    """Return the spectral norm of every unit's block of the Hessian, times sqrt(width)."""
    hidden = np.tanh(network.inner @ x)
    slope, bend = 1 - hidden**2, -2 * hidden * (1 - hidden**2)
    size = len(x) + 1
    blocks = np.zeros((len(hidden), size, size))
    blocks[:, :-1, :-1] = (network.outer * bend)[:, None, None] * np.outer(x, x)
    blocks[:, -1, :-1] = blocks[:, :-1, -1] = slope[:, None] * x
    return np.asarray(np.abs(np.linalg.eigvalsh(blocks)).max(axis=1))


def block_norm(outer: ndarray, fields: ndarray) -> ndarray:
    """Return the norm of a block by its two eigenvalues that are not 0."""
    hidden = np.tanh(fields)
    slope, bend = 1 - hidden**2, -2 * hidden * (1 - hidden**2)
    half = np.abs(outer * bend) / 2
    return np.asarray(half + np.hypot(half, slope))


def worst_norm(network: WideNetwork, x: ndarray, radius: float, most: int = 400) -> float:
    """Return the largest norm of the Hessian found in a ball, times sqrt(width)."""
    # one unit takes the whole radius; it is among those with the largest outer weights
    top = np.argsort(-np.abs(network.outer))[:most]
    outer, fields = network.outer[top, None], (network.inner[top] @ x)[:, None]
    angles = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    moves = radius * np.stack([np.cos(angles), np.sin(angles)])
    return float(block_norm(outer + moves[0], fields + moves[1]).max())


def kernel_matrix(network: WideNetwork, inputs: ndarray) -> ndarray:
    """Return the tangent kernel of both layers."""
    hidden = np.tanh(inputs @ network.inner.T)
    gain = (1 - hidden**2) * network.outer
    both = hidden @ hidden.T + (gain @ gain.T) * (inputs @ inputs.T)
    return np.asarray(both / len(network.outer))


def mean_largest(widths: ndarray) -> ndarray:
    """Return the mean of the largest block norm of each width, from the law of one block."""
    from scipy.special import erf

    fields = np.linspace(-8, 8, 1601)
    weights = np.exp(-(fields**2) / 2)
    weights /= weights.sum()
    hidden = np.tanh(fields)
    slope, bend = 1 - hidden**2, np.abs(2 * hidden * (1 - hidden**2))
    levels = np.linspace(1e-3, 8, 800)[:, None]
    # a block is below a level where |v bend| is below this
    room = np.maximum(levels - slope**2 / levels, 0.0)
    law = erf(room / np.maximum(bend, 1e-300) / np.sqrt(2)) @ weights
    above = 1 - np.minimum(law, 1.0) ** np.asarray(widths, dtype=float)[:, None]
    # below the first level the chance of being above is 1
    return np.asarray(levels[0, 0] + np.trapezoid(above, levels[:, 0]))


def limit_kernel(inputs: ndarray) -> ndarray:
    """Return the tangent kernel of infinite width, by quadrature over two correlated fields."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    weights = np.outer(weights, weights) / weights.sum() ** 2
    kernel = np.empty((len(inputs), len(inputs)))
    for i, x in enumerate(inputs):
        for j, y in enumerate(inputs):
            overlap = float(x @ y)
            other = overlap * nodes[:, None] + np.sqrt(max(1 - overlap**2, 0.0)) * nodes
            first, second = np.tanh(nodes[:, None]), np.tanh(other)
            values = first * second + overlap * (1 - first**2) * (1 - second**2)
            kernel[i, j] = (weights * values).sum()
    return kernel
