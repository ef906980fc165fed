"""Intervals for means over seeds, and correlations."""

from __future__ import annotations

import numpy as np
from numpy import ndarray

__all__ = ["correlations", "mean_interval"]


def mean_interval(
    values: ndarray, *, what: str = "seeds", level: float = 0.95
) -> tuple[ndarray, ndarray, str]:
    """Return means over the last axis, half-widths of intervals around them, and their level."""
    from scipy.stats import t

    # Student's interval for each mean, all together covering in that share of all cases or more
    values = np.asarray(values, dtype=float)
    count = values.shape[-1]
    if count < 3:
        raise ValueError(f"values: {count} of them: must be 3 or more for an interval")
    places = values[..., 0].size
    quantile = t.ppf(1 - (1 - level) / (2 * places), count - 1)
    width = quantile * values.std(axis=-1, ddof=1) / np.sqrt(count)
    together = f" for all {places} together" if places > 1 else ""
    words = (
        f"{100 * level:g} % interval of the mean over {count} {what} (Student){together},"
        f" false alarms at most {50 * (1 - level):.2g} % on a side"
    )
    return values.mean(axis=-1), width, words


def correlations(first: ndarray, second: ndarray) -> ndarray:
    """Return Pearson's coefficient of two arrays (member, parameter) for every member."""
    one, other = (
        values.astype(float) - values.mean(axis=1, keepdims=True, dtype=float)
        for values in (first, second)
    )
    size = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    if not (size > 0).all():
        raise ValueError("an importance is the same for all weights: it correlates with nothing")
    return np.asarray((one * other).sum(axis=1) / size)
