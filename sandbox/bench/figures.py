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
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sandbox.bench._axes import (
    arranged,
    log_scale,
    mark_places,
    plain_numbers,
)
from sandbox.bench._deviation import as_lines, draw_deviation, finite, mark_infinities
from sandbox.bench.comparison import Axis, Comparison

__all__ = ["STYLE", "draw_comparison", "draw_comparisons", "house_style", "save_figure"]

STYLE = Path(__file__).with_name("house.mplstyle")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
MOST_LINES = 7
LONG_NAME = 14
"""Names of more letters stand in two columns, not in three."""
LABEL_WIDTH = 26
"""Characters of a line beside the upper axes: more would reach over the lower ones."""
TITLE_WIDTH = 35
"""Characters of a line above axes, of which three stand side by side."""
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
        At most three side by side, then the next row; four make a square.
    """
    columns = 2 if len(comparisons) == 4 else min(len(comparisons), 3)
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
    axis, places, ticks = _coordinates(c)
    predicted, measured = as_lines(c, c.predicted), as_lines(c, c.measured)
    width = None if c.uncertainty is None else as_lines(c, c.uncertainty)
    chosen = _chosen_lines(predicted.shape[1])
    names = _line_names(c)
    spots = _spots(places, len(chosen), apart=ticks is not None)
    colours = mpl.rcParams["axes.prop_cycle"].by_key()
    if axis is not None and axis.log:
        upper.set_xscale(**log_scale(places, places))
    if c.log:
        upper.set_yscale(**log_scale(predicted, measured))
    for n, (j, x) in enumerate(zip(chosen, spots.T, strict=True)):
        look = {key: values[n % len(values)] for key, values in colours.items()}
        words = RELATION_WORDS[c.relation] if n == 0 else None
        if c.relation == "ordered":
            order = np.argsort(predicted[:, j], kind="stable")
            upper.plot(x[order], finite(measured[order, j]), "-", color="0.7", lw=1, label=words)
        else:
            _draw_theory(upper, c, x, predicted[:, j], j, look, words)
        upper.errorbar(
            x, finite(measured[:, j]), None if width is None else finite(width[:, j]),
            fmt=MARKERS[n % len(MARKERS)], color=look["color"], mfc="white", mew=1.1,
            capsize=2, elinewidth=1, label=names[j] if names else "measured", zorder=3,
        )  # fmt: skip
        mark_infinities(upper, x, measured[:, j], look["color"], "infinite")
    upper.margins(x=0.06)
    if c.relation in {"at_most", "at_least"} and predicted.shape[1] == 1:
        _shade_excluded(upper, c, places, predicted[:, 0])
    draw_deviation(lower, c, spots, chosen, list(zip(colours["color"], MARKERS, strict=False)))
    upper.set_title("\n".join(textwrap.wrap(c.name, TITLE_WIDTH)))
    label = f"{c.quantity} ({c.unit})" if c.unit else c.quantity
    upper.set_ylabel("\n".join(textwrap.wrap(label, LABEL_WIDTH)))
    upper.tick_params(labelbottom=False, which="both")
    lower.set_xlabel("" if axis is None else axis.label)
    plain_numbers(upper)
    if ticks is not None:
        labels, slanted = arranged(ticks)
        lower.set_xticks(
            places, labels, rotation=35 if slanted else 0, ha="right" if slanted else "center"
        )
        lower.set_xlim(-0.5, len(ticks) - 0.5)
    elif axis is not None and not mark_places(lower, places, axis.log) and _whole(axis, places):
        lower.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    _draw_legend(upper, RELATION_WORDS[c.relation], len(chosen), predicted.shape[1])


def _draw_theory(
    axes: Axes, c: Comparison, x: np.ndarray, predicted: np.ndarray, j: int,
    look: dict[str, Any], words: str | None,
) -> None:  # fmt: skip
    """Draw one theory line, on its finer grid if it brings one; dashes over categories."""
    if c.curve is not None:
        grid, values = c.curve
        values = values.reshape(len(grid), -1)
        axes.plot(grid, finite(values[:, j if values.shape[1] > 1 else 0]), label=words, **look)
    elif c.axes and c.axes[0].numeric and len(x) > 1:
        axes.plot(x, finite(predicted), label=words, **look)
    else:
        lines = min(c.predicted.size // len(x), MOST_LINES)
        width = min(22.0, max(9.0, 140.0 / (len(x) * lines)))  # to both sides of a marker
        axes.plot(x, finite(predicted), "_", color=look["color"], ms=width, mew=2, label=words)
    mark_infinities(axes, x, predicted, look["color"])


def _whole(axis: Axis, places: np.ndarray) -> bool:
    """Tell whether the ticks of an axis should be whole numbers."""
    return not axis.log and bool((places == np.round(places)).all())


def _spots(places: np.ndarray, lines: int, *, apart: bool) -> np.ndarray:
    """Return where to draw (place, line): side by side at each category, else at the same x."""
    shifts = (np.arange(lines) - (lines - 1) / 2) * 0.7 / lines
    return places[:, None] + (shifts if apart else np.zeros(lines))


def _shade_excluded(axes: Axes, c: Comparison, x: np.ndarray, predicted: np.ndarray) -> None:
    """Shade the far side of a bound, to the frame, without moving the frame."""
    if len(x) < 2 or not c.axes[0].numeric:
        return
    low, high = axes.get_ylim()
    edge = high if c.relation == "at_most" else low
    bound = np.clip(predicted, low, high)
    axes.fill_between(x, bound, edge, color="0.9", lw=0, zorder=0, label="excluded")
    axes.set_ylim(low, high)


def _draw_legend(axes: Axes, theory: str, shown: int, count: int) -> None:
    """Name every line once, above the frame, where nothing is hidden."""
    handles, labels = axes.get_legend_handles_labels()
    named = dict(zip(labels, handles, strict=True))
    if shown > 1 and isinstance(named.get(theory), Line2D):
        # grey, since the lines of every colour are the theory
        neutral = Line2D([], [])
        neutral.update_from(named[theory])
        neutral.set_color("0.4")
        named[theory] = neutral
    columns = _columns(list(named))
    title = f"{shown} of {count} lines are shown" if shown < count else None
    axes.legend(
        named.values(), named.keys(), loc="lower center", bbox_to_anchor=(0.5, 1.0),
        ncols=columns, borderaxespad=0.2, columnspacing=1.0, title=title, title_fontsize="small",
    )  # fmt: skip
    # the legend stands where the title was: the title goes on top of it
    rows = -(-len(named) // columns) + (title is not None)
    axes.set_title(axes.get_title(), pad=6 + 13 * rows)


def _columns(names: list[str]) -> int:
    """Return in how many columns a legend fits above its panel."""
    return 2 if max(map(len, names)) > LONG_NAME else 3


def _extra_height(c: Comparison) -> float:
    """Return the inches that labels of several lines and a legend above the frame take."""
    _, _, ticks = _coordinates(c)
    labels, slanted = arranged(ticks or [""])
    longest, most = max(map(len, labels)), max(label.count("\n") for label in labels)
    names = [RELATION_WORDS[c.relation], *(_line_names(c) or ["measured"])]
    rows = -(-min(len(names), 1 + MOST_LINES) // _columns(names))
    return 0.18 * rows + (0.04 * longest if slanted else 0.15 * most)


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
