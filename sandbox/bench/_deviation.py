"""The lower panel of a comparison: how far each element is on the wrong side."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator

from sandbox.bench._axes import WIDEST, whole_decades
from sandbox.bench.comparison import Comparison
from sandbox.bench.judgement import deviations

__all__ = ["as_lines", "draw_deviation", "finite", "mark_infinities"]

WIDEST_SPREAD = 100.0
"""Margins that differ by more than this factor are shown on a logarithmic scale."""


def draw_deviation(
    axes: Axes, c: Comparison, spots: np.ndarray, lines: list[int], looks: list[tuple[str, str]]
) -> None:
    """Draw errors on a logarithmic scale, margins of bounds and orders on a linear one.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        The panel.
    c : Comparison
        What to show, with its tolerance; for ``inside`` also the interval's half-width.
    spots : ndarray
        Horizontal positions, shape (place, line).
    lines : list of int
        Which lines are drawn.
    looks : list of (colour, marker)
        Used in turn.
    """
    deviation, slack = deviations(c)
    if c.relation == "ordered":
        # how far each place is above all that are predicted lower, if any are
        closest = deviation.max(axis=-2)
        values = -as_lines(c, np.where(np.isneginf(closest), np.nan, closest))
    elif c.relation in {"at_most", "at_least"}:
        values = -as_lines(c, deviation)
    else:
        values = as_lines(c, deviation)
    distance = c.relation in {"equals", "inside"}
    if distance:
        # no place on a logarithmic axis for an error of 0: it goes to the lower edge
        values = np.where(values > 1 / WIDEST, values, -np.inf)
        values = np.where(values < WIDEST, values, np.inf)
        widths = as_lines(c, slack) if c.relation == "inside" else np.zeros((1, 1))
        held = np.concatenate([values, widths, [[c.tolerance]]], axis=None)
        axes.set_yscale("log")
        whole_decades(axes, held[(held > 1 / WIDEST) & (held < WIDEST)].tolist())
        if c.relation == "inside":
            axes.plot(spots, finite(widths[:, lines]), ls="none", marker="_", ms=9, color="0.5")
        if np.isneginf(values).all():
            axes.annotate(
                "every error is 0",
                (0.5, 0.25),
                xycoords="axes fraction",
                ha="center",
                va="center",
                color="0.3",
            )
    elif c.log:
        _spread_margins(axes, values)
    for n, (j, x) in enumerate(zip(lines, spots.T, strict=True)):
        colour, marker = looks[n % len(looks)]
        axes.plot(x, finite(values[:, j]), ls="none", marker=marker, ms=3, color=colour)
        mark_infinities(axes, x, values[:, j], colour)
    if c.tolerance > 0 or not distance:
        axes.axhline(c.tolerance if distance else -c.tolerance, color="black", ls=":", lw=1)
    name = "error" if distance else "lead" if c.relation == "ordered" else "margin"
    axes.set_ylabel(f"relative\n{name}" if c.relative else name)


def _spread_margins(axes: Axes, values: np.ndarray) -> None:
    """Let margins of very different size be told from 0, on a scale that is linear about 0."""
    size = np.abs(values[np.isfinite(values) & (values != 0)])
    low, high = float(size.min(initial=np.inf)), float(size.max(initial=0.0))
    if low > 1 / WIDEST and low * WIDEST_SPREAD < high < WIDEST:
        axes.set_yscale("symlog", linthresh=low, linscale=max(1.0, np.log10(high / low) / 4))
        # labels at 0, at the greatest decade and half-way, so that none meets another
        last = np.floor(np.log10(high))
        decades = 10.0 ** np.array([np.round((np.log10(low) + last) / 2), last])
        axes.yaxis.set_major_locator(FixedLocator([*-decades, 0.0, *decades]))


def as_lines(c: Comparison, values: np.ndarray) -> np.ndarray:
    """Return the values as (x, line); an ordering runs along the last axis.

    Parameters
    ----------
    c : Comparison
        Whose shape the values have.
    values : ndarray
        Predicted, measured or their deviation.

    Returns
    -------
    ndarray
        Two-dimensional.
    """
    if not c.axes:
        return values.reshape(1, 1)
    along = np.moveaxis(values, -1, 0) if c.relation == "ordered" else values
    return along.reshape(len(along), -1)


def finite(values: np.ndarray) -> np.ndarray:
    """Return the values with gaps for infinities, which have no place on an axis.

    Parameters
    ----------
    values : ndarray
        Any numbers.

    Returns
    -------
    ndarray
        NaN in place of infinities.
    """
    return np.where(np.isfinite(values), values, np.nan)


def mark_infinities(
    axes: Axes, x: np.ndarray, values: np.ndarray, colour: str, label: str | None = None
) -> None:
    """Mark infinite values by triangles on the frame: large and open where they are labelled.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        The panel.
    x, values : ndarray
        The line.
    colour : str
        Of the triangles.
    label : str or None
        Their name in the legend.
    """
    for sign, edge, marker in ((1, 1.0, "^"), (-1, 0.0, "v")):
        there = values == sign * np.inf
        if there.any():
            axes.plot(
                x[there], np.full(there.sum(), edge), ls="none", marker=marker,
                ms=8 if label else 4, color=colour, mfc="none" if label else colour,
                transform=axes.get_xaxis_transform(), clip_on=False, zorder=4, label=label,
            )  # fmt: skip
