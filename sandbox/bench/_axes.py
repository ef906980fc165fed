"""Scales, ticks and labels of the bench's figures."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatter, LogLocator, NullFormatter, NullLocator

__all__ = ["WIDEST", "arranged", "log_scale", "mark_places", "plain_numbers", "whole_decades"]

WIDEST = 1e100
"""Numbers beyond this or its inverse make matplotlib's logarithmic axes overflow."""
LABEL_ROW = 38
"""Letters that fit side by side under a panel."""
MOST_LABEL_LINES = 4
MOST_PLACES = 6
NARROWEST_GAP = 0.09
PLAIN = (1e-3, 1e5)
"""Within these a logarithmic axis has plain numbers, beyond them powers of ten."""


class _Plain(LogFormatter):
    """Labels the ticks that a logarithmic formatter labels, by plain numbers."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def log_scale(predicted: np.ndarray, measured: np.ndarray) -> dict[str, Any]:
    """Return a logarithmic scale, linear about 0 if there are values that it cannot show.

    Parameters
    ----------
    predicted, measured : ndarray
        What is to be shown.

    Returns
    -------
    dict
        Arguments of ``set_xscale`` and ``set_yscale``.
    """
    both = np.concatenate([predicted.ravel(), measured.ravel()])
    size = np.abs(both[np.isfinite(both)])
    positive = predicted[(predicted > 0) & np.isfinite(predicted)]
    if not positive.size or size.max() > WIDEST or size[size > 0].min() < 1 / WIDEST:
        return {"value": "linear"}
    if (both > 0).all():
        return {"value": "log"}
    return {"value": "symlog", "linthresh": float(positive.min())}


def whole_decades(axes: Axes, values: list[float]) -> None:
    """Let a logarithmic y axis span whole decades, labelled at few of them and nowhere else.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Whose y axis.
    values : list of float
        What it must hold, all > 0.
    """
    low, high = np.log10([min(values, default=0.1), max(values, default=1.0)])
    axes.set_ylim(10 ** np.floor(low - 0.1), 10 ** np.ceil(high + 0.1))
    axes.yaxis.set_major_locator(LogLocator(numticks=5))
    axes.yaxis.set_minor_formatter(NullFormatter())


def plain_numbers(axes: Axes) -> None:
    """Write 0.01 and 20 rather than powers of ten on logarithmic axes of ordinary range.

    Linear axes of another range have their powers of ten at every tick, not in a corner.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        With its data and limits.
    """
    for axis, scale, limits in (
        (axes.xaxis, axes.get_xscale(), axes.get_xlim()),
        (axes.yaxis, axes.get_yscale(), axes.get_ylim()),
    ):
        if scale == "log" and PLAIN[0] / 2 < min(limits) and max(limits) < PLAIN[1]:
            axis.set_major_formatter(_Plain())
            axis.set_minor_formatter(_Plain())
        largest = max(map(abs, limits))
        if scale == "linear" and not PLAIN[0] / 10 < largest < PLAIN[1]:
            axis.set_major_formatter("{x:g}")


def mark_places(axes: Axes, x: np.ndarray, log: bool) -> bool:
    """Put the ticks of x where the data are, if these are few and far enough apart.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Whose x axis.
    x : ndarray
        The places.
    log : bool
        Whether they are spread on a logarithmic scale.

    Returns
    -------
    bool
        Whether it was done.
    """
    places = np.unique(x)
    if len(places) > MOST_PLACES or not np.isfinite(places).all() or (log and places[0] <= 0):
        return False
    gaps = np.diff(np.log(places) if log else places)
    labels = [f"{place:g}" for place in places]
    if (gaps < NARROWEST_GAP * gaps.sum()).any() or max(map(len, labels)) > MOST_PLACES:
        return False
    axes.set_xticks(places, labels)
    axes.xaxis.set_minor_locator(NullLocator())
    return True


def arranged(labels: list[str]) -> tuple[list[str], bool]:
    r"""Break labels of categories into lines that fit side by side, or tell to slant them.

    Parameters
    ----------
    labels : list of str
        One a category.

    Returns
    -------
    labels : list of str
        Broken into lines, or as they were.
    slanted : bool
        Whether they are still too wide.

    Examples
    --------
    >>> arranged(["gradient descent", "square root", "natural gradient"])
    (['gradient\ndescent', 'square root\n', 'natural\ngradient'], False)
    >>> arranged(["incomprehensibilities"] * 3)[1]
    True
    """
    room = LABEL_ROW // len(labels) - 1
    broken = [
        textwrap.wrap(label, max(room, 1), break_long_words=False, break_on_hyphens=False)
        for label in labels
    ]
    if any(len(line) > room for lines in broken for line in lines):
        return labels, True
    if max(map(len, broken)) > MOST_LABEL_LINES:
        return labels, True
    # alike in height, since a single line would not stand level with the first of several
    most = max(map(len, broken))
    return ["\n".join([*lines, *[""] * (most - len(lines))]) for lines in broken], False
