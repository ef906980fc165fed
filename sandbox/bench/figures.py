"""Figures: theory as a line, experiment as markers, the deviation beneath.

Plot functions take data and axes and never compute what they show.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sandbox.bench.comparison import Comparison, deviations

__all__ = ["STYLE", "draw_comparison", "draw_comparisons", "house_style", "save_figure"]

STYLE = Path(__file__).with_name("house.mplstyle")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
MOST_LINES = 7
RELATION_WORDS = {
    "equals": "theory",
    "at_most": "upper bound",
    "at_least": "lower bound",
    "ordered": "predicted order",
    "inside": "theory",
}


def house_style() -> Any:
    """Return a context manager under which figures have the house style.

    Returns
    -------
    context manager
        ``with house_style(): ...``
    """
    return mpl.rc_context(fname=str(STYLE))


def save_figure(
    comparisons: list[Comparison],
    stem: Path,
    plot: Callable[[Figure, list[Comparison]], None] | None = None,
) -> None:
    """Draw a claim's figure and write it as SVG and PNG.

    Parameters
    ----------
    comparisons : list of Comparison
        What to show.
    stem : pathlib.Path
        Path without suffix.
    plot : callable or None
        The claim's own plot function; None for the bench's.
    """
    with house_style():
        figure = Figure()
        (plot or draw_comparisons)(figure, comparisons)
        figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})
        figure.savefig(stem.with_suffix(".png"))


def draw_comparisons(figure: Figure, comparisons: list[Comparison]) -> None:
    """Draw every comparison: the two sides above, the deviation beneath.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        An empty figure; it is resized.
    comparisons : list of Comparison
        At most three side by side, then the next row.
    """
    columns = min(len(comparisons), 3)
    rows = -(-len(comparisons) // columns)
    figure.set_size_inches(max(4.6, 3.6 * columns), 3.9 * rows)
    heights = [3.0, 1.3] * rows
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=heights)
    for i, comparison in enumerate(comparisons):
        row, column = 2 * (i // columns), i % columns
        upper = figure.add_subplot(grid[row, column])
        lower = figure.add_subplot(grid[row + 1, column], sharex=upper)
        draw_comparison(upper, lower, comparison)


def draw_comparison(upper: Axes, lower: Axes, comparison: Comparison) -> None:
    """Draw one comparison on a pair of axes that share x.

    Parameters
    ----------
    upper : matplotlib.axes.Axes
        Shows predicted and measured.
    lower : matplotlib.axes.Axes
        Shows the deviation with its tolerance.
    comparison : Comparison
        What to show.
    """
    c = comparison
    x, ticks = _coordinates(c)
    predicted, measured = c.predicted.reshape(len(x), -1), c.measured.reshape(len(x), -1)
    width = None if c.uncertainty is None else c.uncertainty.reshape(len(x), -1)
    lines = _chosen_lines(predicted.shape[1])
    names = _line_names(c)
    colours = mpl.rcParams["axes.prop_cycle"].by_key()
    for n, j in enumerate(lines):
        look = {key: values[n % len(values)] for key, values in colours.items()}
        _draw_theory(upper, c, x, predicted, j, look, first=n == 0)
        label = names[j] if names else "measured"
        upper.errorbar(
            x, measured[:, j], None if width is None else width[:, j],
            fmt=MARKERS[n % len(MARKERS)], color=look["color"], mfc="white", mew=1.1,
            capsize=2, elinewidth=1, label=label, zorder=3,
        )  # fmt: skip
    _draw_deviation(lower, c, x, lines, colours)
    if c.axes and c.axes[0].log:
        upper.set_xscale("log")
    if c.log:
        upper.set_yscale("log")
    upper.set_title(c.name)
    upper.set_ylabel(f"{c.quantity} ({c.unit})" if c.unit else c.quantity)
    upper.tick_params(labelbottom=False)
    lower.set_xlabel(c.axes[0].label if c.axes else "")
    if ticks is not None:
        crowded = sum(len(t) for t in ticks) > 22
        lower.set_xticks(
            x, ticks, rotation=35 if crowded else 0, ha="right" if crowded else "center"
        )
    upper.margins(x=0.06)
    upper.legend(loc="best")


def _draw_theory(
    axes: Axes, c: Comparison, x: np.ndarray, predicted: np.ndarray, j: int, look: dict[str, Any],
    *, first: bool,
) -> None:  # fmt: skip
    """Draw one theory line; bounds get their forbidden side shaded."""
    words = RELATION_WORDS[c.relation] if first else None
    if c.relation == "ordered":
        order = np.argsort(predicted[:, j], kind="stable")
        axes.plot(
            x[order], c.measured.reshape(len(x), -1)[order, j], "-", color="0.7", lw=1, label=words
        )
        return
    if c.curve is not None:
        grid, values = c.curve
        values = values.reshape(len(grid), -1)
        axes.plot(grid, values[:, min(j, values.shape[1] - 1)], label=words, **look)
    elif c.axes and c.axes[0].numeric and len(x) > 1:
        axes.plot(x, predicted[:, j], label=words, **look)
    else:
        axes.plot(x, predicted[:, j], "_", color=look["color"], markersize=22, mew=2, label=words)
    if c.relation in {"at_most", "at_least"} and first:
        up = c.relation == "at_most"
        low, high = axes.get_ylim()
        edge = np.full(len(x), high if up else low)
        if len(x) > 1:
            axes.fill_between(x, predicted[:, j], edge, color="0.9", zorder=0, label="excluded")


def _draw_deviation(
    axes: Axes, c: Comparison, x: np.ndarray, lines: list[int], colours: dict[str, list[Any]]
) -> None:
    """Draw how far each element is on the wrong side, with the tolerance."""
    deviation, _ = deviations(c)
    kind = "relative " if c.relative else ""
    if c.relation == "ordered":
        gaps = -deviation.reshape(-1)
        last = np.arange(len(gaps)) if len(gaps) != len(x) - 1 else (x[:-1] + x[1:]) / 2
        axes.bar(last, gaps, width=0.5 * np.ptp(x) / len(x), color="0.55")
        axes.axhline(-c.tolerance, color="black", ls=":", lw=1)
        axes.set_ylabel("steps up")
        return
    values = deviation.reshape(len(x), -1)
    if c.relation in {"equals", "inside"}:
        limit = c.tolerance
        shown = values[np.isfinite(values) & (values > 0)]
        floor = (min(shown.min(), limit or np.inf) if shown.size else limit or 1.0) / 10
        for n, j in enumerate(lines):
            axes.plot(
                x, np.maximum(values[:, j], floor), ls="none", marker=MARKERS[n % len(MARKERS)],
                ms=3, color=colours["color"][n % len(colours["color"])],
            )  # fmt: skip
        axes.set_yscale("log")
        if limit > 0:
            axes.axhline(limit, color="black", ls=":", lw=1)
        axes.set_ylabel(f"{kind}error")
    else:
        for n, j in enumerate(lines):
            axes.plot(
                x, -values[:, j], ls="none", marker=MARKERS[n % len(MARKERS)], ms=3,
                color=colours["color"][n % len(colours["color"])],
            )  # fmt: skip
        axes.axhline(-c.tolerance, color="black", ls=":", lw=1)
        axes.set_ylabel(f"{kind}margin")


def _coordinates(c: Comparison) -> tuple[np.ndarray, list[str] | None]:
    """Return x positions of the first axis, and tick labels if it has categories."""
    if not c.axes:
        return np.zeros(1), [""]
    axis = c.axes[0]
    if axis.numeric:
        return np.array(axis.values, dtype=float), None
    return np.arange(len(axis.values), dtype=float), [str(value) for value in axis.values]


def _line_names(c: Comparison) -> list[str]:
    """Name the lines of a comparison of two or more dimensions."""
    names = [""]
    for axis in c.axes[1:]:
        shown = [v if isinstance(v, str) else f"{axis.name} {v:g}" for v in axis.values]
        names = [f"{a}, {b}" if a else b for a in names for b in shown]
    return names if len(c.axes) > 1 else []


def _chosen_lines(count: int) -> list[int]:
    """Return which lines to draw when there are too many: evenly spread ones."""
    if count <= MOST_LINES:
        return list(range(count))
    return [round(i) for i in np.linspace(0, count - 1, MOST_LINES)]
