"""Integrals of exponentials whose size no float can hold, by logarithms of panels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.polynomial import legendre
from scipy.special import logsumexp

__all__ = ["Panels", "doubled", "resolve"]

Exponent = Callable[[Any], Any]

NODES = 16
"""Gauss-Legendre points a panel."""

RISE = 2.0
"""Most an exponent may vary inside a panel: its integral then keeps its relative accuracy."""

TAIL = 1e-11
"""Largest last Legendre coefficient of a resolved exponential, relative to the largest."""

MOST_PANELS = 50_000
"""Where a function counts as unresolvable."""

_X, _W = legendre.leggauss(NODES)
_COEFFICIENTS = np.linalg.inv(legendre.legvander(_X, NODES - 1))
# integrals from -1 to each point of the polynomial through values at the points
_RUNNING = legendre.legval(_X, legendre.legint(np.eye(NODES), lbnd=-1)).T @ _COEFFICIENTS


class Panels(NamedTuple):
    """An exponent f at the Gauss points of adjacent panels; both arrays have a row a panel."""

    edges: Any
    exponent: Any

    @property
    def log_weights(self) -> Any:
        """Logarithms of the quadrature weights."""
        return np.log(np.diff(self.edges)[:, None] / 2) + np.log(_W)

    def log_integral(self, exponent: Any) -> float:
        """Return the logarithm of the integral of exp(exponent), given at the points."""
        return float(logsumexp(exponent + self.log_weights))

    def log_running(self, *, backward: bool = False) -> Any:
        """Return log of the integral of e^f from the first edge (or the last) to each point."""
        f = self.exponent[::-1, ::-1] if backward else self.exponent
        half = (np.diff(self.edges)[::-1] if backward else np.diff(self.edges)) / 2
        top = f.max(axis=1, keepdims=True)
        scaled = np.exp(f - top)
        # beside a kink the polynomial may run below 0
        inside = (
            np.log(np.maximum(scaled @ _RUNNING.T, np.finfo(float).tiny))
            + top
            + np.log(half)[:, None]
        )
        whole = np.log(scaled @ _W) + top[:, 0] + np.log(half)
        before = np.concatenate([[-np.inf], np.logaddexp.accumulate(whole)[:-1]])
        running = np.logaddexp(before[:, None], inside)
        return running[::-1, ::-1] if backward else running


def _values(exponent: Exponent, left: Any, right: Any) -> Any:
    """Return the exponent at the Gauss points of panels, one row a panel."""
    middle, half = (left + right) / 2, (right - left) / 2
    points = middle[:, None] + half[:, None] * _X
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        values = np.asarray(exponent(points.ravel()), dtype=np.float64)
    if values.shape != (points.size,):
        raise ValueError(
            f"potential returns shape {values.shape} for {points.size} positions: it must return"
            " one energy a position"
        )
    if not np.isfinite(values).all():
        where = points.ravel()[np.flatnonzero(~np.isfinite(values))[0]]
        raise ValueError(
            f"potential / temperature at {where:g} is not finite: raise the temperature or mend"
            " the potential"
        )
    return values.reshape(points.shape)


def _afford(edges: Any, more: int) -> None:
    """Refuse more panels than can be meant."""
    if edges.size + more > MOST_PANELS:
        raise ValueError(
            f"potential varies too much between {edges[0]:g} and {edges[-1]:g}: more than"
            f" {MOST_PANELS} panels are needed; raise the temperature or narrow the interval"
        )


def resolve(exponent: Exponent, low: float, high: float, *, first: int = 32) -> Panels:
    """Return panels on which exp(f) and exp(-f) are polynomials to ten digits.

    Parameters
    ----------
    exponent : callable
        f, vectorised.
    low, high : float
        The interval.
    first : int
        Panels at the outset.

    Returns
    -------
    Panels
        Bisected where needed; beside a kink, down to a width that no longer counts.

    Raises
    ------
    ValueError
        If f is not finite, or cannot be resolved.
    """
    edges = np.linspace(low, high, first + 1)
    smallest = 1e-13 * (high - low) + 4 * np.spacing(max(abs(low), abs(high)))
    values = _values(exponent, edges[:-1], edges[1:])
    while True:
        size = np.abs(values).max(axis=1)
        coarse = np.ptp(values, axis=1) > RISE
        # more than 1 is no condition
        allowed = np.minimum(TAIL + 100 * np.finfo(float).eps * size, 1.0)
        for sign in (1, -1):
            scaled = np.exp(np.clip(sign * (values - values[:, :1]), -700, 700))
            terms = np.abs(scaled @ _COEFFICIENTS.T)
            coarse |= terms[:, -2:].max(axis=1) > allowed * terms.max(axis=1)
        coarse &= np.diff(edges) > smallest
        if not coarse.any():
            return Panels(edges, values)
        _afford(edges, int(coarse.sum()))
        edges, values = _bisected(exponent, edges, values, coarse)


def doubled(exponent: Exponent, panels: Panels) -> Panels:
    """Return every panel bisected, for an estimate of the error."""
    _afford(panels.edges, panels.edges.size)
    every = np.ones(panels.edges.size - 1, dtype=bool)
    return Panels(*_bisected(exponent, panels.edges, panels.exponent, every))


def _bisected(exponent: Exponent, edges: Any, values: Any, which: Any) -> tuple[Any, Any]:
    """Return edges and values with the panels of a mask cut in two."""
    chosen = np.flatnonzero(which)
    middle = (edges[chosen] + edges[chosen + 1]) / 2
    # interleaved: left half, right half of one panel after the other
    left = np.stack([edges[chosen], middle], axis=1).ravel()
    right = np.stack([middle, edges[chosen + 1]], axis=1).ravel()
    parts = np.where(which, 2, 1)
    out = np.repeat(values, parts, axis=0)
    out[np.repeat(which, parts)] = _values(exponent, left, right)
    return np.insert(edges, chosen + 1, middle), out
