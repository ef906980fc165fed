"""The constant of the PL inequality of u²/2 - r cos(u + phase)."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from theory._stationary import find_wells, rise, stationary_only_at_minimum

__all__ = ["pl_ratio"]

FURTHEST = 14.0
"""Distance from the minimum that is searched: beyond two periods the dips of the ratio rise."""

MOST_DIPS = 3
"""Lowest dips of the ratio that are followed to their bottom, on either side of the minimum."""


def pl_ratio(r: float, phase: float) -> float:
    """Return the infimum of l'²/2 over l less its minimum.

    Parameters
    ----------
    r : float
        Ruggedness, >= 0.
    phase : float
        Any.

    Returns
    -------
    float
        In [0, 1]; 0 if another point than the minimum is stationary.
    """
    if not stationary_only_at_minimum(r, phase):
        return 0.0
    wells = find_wells(r, phase)
    place, bend = float(wells.minima[0]), float(wells.bends[0])

    def ratio(d: Any) -> Any:
        """Return the ratio at distances from the minimum that are not 0."""
        slope = d + bend * np.sin(d) + 2 * place * np.sin(d / 2) ** 2
        return slope**2 / (2 * rise(place, bend, d))

    # at the minimum the ratio is the curvature, far out it is 1
    lowest = min(1.0, 1.0 + bend)
    distances = np.concatenate([np.geomspace(1e-6, 0.05, 40), np.arange(0.06, FURTHEST, 0.01)])
    for d in (distances, -distances):
        values = ratio(d)
        inner = np.flatnonzero((values[1:-1] <= values[:-2]) & (values[1:-1] <= values[2:])) + 1
        for i in inner[np.argsort(values[inner])[:MOST_DIPS]]:
            ends = (float(min(d[i - 1], d[i + 1])), float(max(d[i - 1], d[i + 1])))
            best = minimize_scalar(ratio, bounds=ends, method="bounded", options={"xatol": 1e-10})
            lowest = min(lowest, float(best.fun))
    return lowest
