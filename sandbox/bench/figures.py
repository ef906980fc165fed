"""Figures: theory as a line, experiment as markers, the deviation beneath.

Plot functions take data and axes and never compute what they show.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from sandbox.bench.comparison import Axis, Comparison, deviations

__all__ = ["STYLE", "draw_comparison", "draw_comparisons", "house_style", "save_figure"]

STYLE = Path(__file__).with_name("house.mplstyle")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
MOST_LINES = 7
MOST_NAMES_INSIDE = 4
WIDEST = 1e100
"""Numbers beyond this or its inverse make matplotlib's logarithmic axes overflow."""
TITLE_WIDTH = 40
WIDEST_LABELS = 38
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
        figure.set_layout_engine("none")  # what was laid out once stays; doing it takes longest
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
    taller = max(map(_extra_height, comparisons))
    figure.set_size_inches(max(4.6, 3.6 * columns), (3.9 + taller) * rows)
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
    axis, x, ticks = _coordinates(c)
    predicted, measured = _lines(c, c.predicted), _lines(c, c.measured)
    width = None if c.uncertainty is None else _lines(c, c.uncertainty)
    chosen = _chosen_lines(predicted.shape[1])
    names = _line_names(c)
    colours = mpl.rcParams["axes.prop_cycle"].by_key()
    if axis is not None and axis.log:
        upper.set_xscale(**_log_scale(x, x))
    if c.log:
        upper.set_yscale(**_log_scale(predicted, measured))
    for n, j in enumerate(chosen):
        look = {key: values[n % len(values)] for key, values in colours.items()}
        words = RELATION_WORDS[c.relation] if n == 0 else None
        if c.relation == "ordered":
            order = np.argsort(predicted[:, j], kind="stable")
            upper.plot(x[order], _finite(measured[order, j]), "-", color="0.7", lw=1, label=words)
        else:
            _draw_theory(upper, c, x, predicted[:, j], j, look, words)
        upper.errorbar(
            x, _finite(measured[:, j]), None if width is None else _finite(width[:, j]),
            fmt=MARKERS[n % len(MARKERS)], color=look["color"], mfc="white", mew=1.1,
            capsize=2, elinewidth=1, label=names[j] if names else "measured", zorder=3,
        )  # fmt: skip
        _draw_infinities(upper, x, measured[:, j], look["color"], "infinite")
    upper.margins(x=0.06)
    if c.relation in {"at_most", "at_least"} and predicted.shape[1] == 1:
        _shade_excluded(upper, c, x, predicted[:, 0])
    _draw_deviation(lower, c, x, chosen, colours["color"])
    upper.set_title("\n".join(textwrap.wrap(c.name, TITLE_WIDTH)))
    upper.set_ylabel(f"{c.quantity} ({c.unit})" if c.unit else c.quantity)
    upper.tick_params(labelbottom=False, which="both")
    lower.set_xlabel("" if axis is None else axis.label)
    if ticks is not None:
        crowded = _crowded(ticks)
        lower.set_xticks(
            x, ticks, rotation=35 if crowded else 0, ha="right" if crowded else "center"
        )
    elif axis is not None and not axis.log and (x == np.round(x)).all():
        lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    _draw_legend(upper)


def _draw_theory(
    axes: Axes, c: Comparison, x: np.ndarray, predicted: np.ndarray, j: int,
    look: dict[str, Any], words: str | None,
) -> None:  # fmt: skip
    """Draw one theory line, on its finer grid if it brings one; dashes over categories."""
    if c.curve is not None:
        grid, values = c.curve
        values = values.reshape(len(grid), -1)
        axes.plot(grid, _finite(values[:, j if values.shape[1] > 1 else 0]), label=words, **look)
    elif c.axes and c.axes[0].numeric and len(x) > 1:
        axes.plot(x, _finite(predicted), label=words, **look)
    else:
        axes.plot(
            x, _finite(predicted), "_", color=look["color"], markersize=22, mew=2, label=words
        )
    _draw_infinities(axes, x, predicted, look["color"])


def _draw_infinities(
    axes: Axes, x: np.ndarray, values: np.ndarray, colour: str, label: str | None = None
) -> None:
    """Mark infinite values by triangles on the frame: large and open where they are labelled."""
    for sign, edge, marker in ((1, 1.0, "^"), (-1, 0.0, "v")):
        there = values == sign * np.inf
        if there.any():
            axes.plot(
                x[there], np.full(there.sum(), edge), ls="none", marker=marker,
                ms=8 if label else 4, color=colour, mfc="none" if label else colour,
                transform=axes.get_xaxis_transform(), clip_on=False, zorder=4, label=label,
            )  # fmt: skip


def _shade_excluded(axes: Axes, c: Comparison, x: np.ndarray, predicted: np.ndarray) -> None:
    """Shade the far side of a bound, to the frame, without moving the frame."""
    if len(x) < 2 or not c.axes[0].numeric:
        return
    low, high = axes.get_ylim()
    edge = high if c.relation == "at_most" else low
    bound = np.clip(predicted, low, high)
    axes.fill_between(x, bound, edge, color="0.9", lw=0, zorder=0, label="excluded")
    axes.set_ylim(low, high)


def _draw_legend(axes: Axes) -> None:
    """Name every line once: inside where there are few names, else above the frame."""
    handles, labels = axes.get_legend_handles_labels()
    named = dict(zip(labels, handles, strict=True))
    if len(named) <= MOST_NAMES_INSIDE:
        axes.legend(named.values(), named.keys(), loc="best")
        return
    wide = max(len(label) for label in named) > 14
    axes.legend(
        named.values(), named.keys(), loc="lower center", bbox_to_anchor=(0.5, 1.0),
        ncols=2 if wide else 3, borderaxespad=0.2, columnspacing=1.0,
    )  # fmt: skip
    # the legend stands where the title was: the title goes on top of it
    axes.set_title(axes.get_title(), pad=6 + 13 * -(-len(named) // (2 if wide else 3)))


def _draw_deviation(
    axes: Axes, c: Comparison, x: np.ndarray, lines: list[int], colours: list[Any]
) -> None:
    """Draw how far each element is on the wrong or right side, with the tolerance."""
    deviation, _ = deviations(c)
    if c.relation == "ordered":
        # how far each place is above all that are predicted lower, if any are
        closest = deviation.max(axis=-2)
        values = -_lines(c, np.where(np.isneginf(closest), np.nan, closest))
    elif c.relation in {"at_most", "at_least"}:
        values = -_lines(c, deviation)
    else:
        values = _lines(c, deviation)
    distance = c.relation in {"equals", "inside"}
    if distance:
        # no place on a logarithmic axis for an error of 0: it goes to the lower edge
        values = np.where(values > 1 / WIDEST, values, -np.inf)
        values = np.where(values < WIDEST, values, np.inf)
        axes.set_yscale("log")
        _whole_decades(axes, [*values[np.isfinite(values)], *([c.tolerance] * (c.tolerance > 0))])
    for n, j in enumerate(lines):
        axes.plot(
            x, _finite(values[:, j]), ls="none", marker=MARKERS[n % len(MARKERS)], ms=3,
            color=colours[n % len(colours)],
        )  # fmt: skip
        _draw_infinities(axes, x, values[:, j], colours[n % len(colours)])
    if c.tolerance > 0 or not distance:
        axes.axhline(c.tolerance if distance else -c.tolerance, color="black", ls=":", lw=1)
    name = "error" if distance else "lead" if c.relation == "ordered" else "margin"
    axes.set_ylabel(f"relative\n{name}" if c.relative else name)


def _whole_decades(axes: Axes, values: list[float]) -> None:
    """Let a logarithmic y axis span whole decades, labelled at few of them and nowhere else."""
    low, high = np.log10([min(values, default=0.1), max(values, default=1.0)])
    axes.set_ylim(10 ** np.floor(low - 0.1), 10 ** np.ceil(high + 0.1))
    axes.yaxis.set_major_locator(LogLocator(numticks=5))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _crowded(ticks: list[str]) -> bool:
    """Tell whether labels of categories would run into each other side by side."""
    return sum(len(tick) + 2 for tick in ticks) > WIDEST_LABELS


def _extra_height(c: Comparison) -> float:
    """Return the inches that slanted labels and a legend above the frame take."""
    _, _, ticks = _coordinates(c)
    slanted = 0.04 * max(map(len, ticks)) if ticks and _crowded(ticks) else 0.0
    names = min(len(_line_names(c)), MOST_LINES)
    return slanted + (0.09 * names if names >= MOST_NAMES_INSIDE else 0.0)


def _log_scale(predicted: np.ndarray, measured: np.ndarray) -> dict[str, Any]:
    """Return a logarithmic scale, linear about 0 if there are values that it cannot show."""
    both = np.concatenate([predicted.ravel(), measured.ravel()])
    size = np.abs(both[np.isfinite(both)])
    positive = predicted[(predicted > 0) & np.isfinite(predicted)]
    if not positive.size or size.max() > WIDEST or size[size > 0].min() < 1 / WIDEST:
        return {"value": "linear"}
    if (both > 0).all():
        return {"value": "log"}
    return {"value": "symlog", "linthresh": float(positive.min())}


def _finite(values: np.ndarray) -> np.ndarray:
    """Return the values with gaps for infinities, which have no place on an axis."""
    return np.where(np.isfinite(values), values, np.nan)


def _lines(c: Comparison, values: np.ndarray) -> np.ndarray:
    """Return the values as (x, line); an ordering runs along the last axis."""
    if not c.axes:
        return values.reshape(1, 1)
    along = np.moveaxis(values, -1, 0) if c.relation == "ordered" else values
    return along.reshape(len(along), -1)


def _across(c: Comparison) -> tuple[Axis, ...]:
    """Return the axes that are spread over lines."""
    return c.axes[:-1] if c.relation == "ordered" else c.axes[1:]


def _coordinates(c: Comparison) -> tuple[Axis | None, np.ndarray, list[str] | None]:
    """Return the horizontal axis, its positions, and tick labels if it has categories."""
    if not c.axes:
        return None, np.zeros(1), [""]
    axis = c.axes[-1] if c.relation == "ordered" else c.axes[0]
    if axis.numeric:
        return axis, np.array(axis.values, dtype=float), None
    return axis, np.arange(len(axis.values), dtype=float), [str(value) for value in axis.values]


def _line_names(c: Comparison) -> list[str]:
    """Name the lines of a comparison of two or more dimensions."""
    names = [""]
    for axis in _across(c):
        shown = [v if isinstance(v, str) else f"{axis.name} {v:g}" for v in axis.values]
        names = [f"{a}, {b}" if a else b for a in names for b in shown]
    return names if len(c.axes) > 1 else []


def _chosen_lines(count: int) -> list[int]:
    """Return which lines to draw when there are too many: evenly spread ones."""
    if count <= MOST_LINES:
        return list(range(count))
    return [round(i) for i in np.linspace(0, count - 1, MOST_LINES)]
