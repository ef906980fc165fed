"""Figures of a training run: losses, and accuracy on every task of a stream."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from sandbox.bench.figures import house_style
from sandbox.training.history import History

__all__ = ["draw_accuracy", "draw_loss", "save_curve"]

MOST_COLORS = 5
"""Tasks that can be told apart by colours of their own; more take theirs from a ramp."""

MOST_NAMES = 10
"""Tasks that a legend can name beside a panel of the usual height."""

DOTS: dict[str, Any] = {"marker": ".", "markersize": 4}
"""Every measurement is marked, since there may be few."""

DECADE = 10.0
"""Losses that spread less are drawn on a linear axis: a logarithmic one would have one tick."""


def draw_loss(axes: Axes, history: History) -> list[Line2D]:
    """Draw training, test and validation loss of the task in training against steps.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to.
    history : History
        What a run measured.

    Returns
    -------
    list of Line2D
        The lines.
    """
    steps, task = history.column("step"), history.column("task")
    own = np.maximum(task, 0) == history.column("evaluated")
    lines = []
    for name, label, color, style in (
        ("train_loss", "training", "C0", "-"),
        ("test_loss", "test", "C1", "--"),
        ("validation_loss", "validation", "C2", ":"),
        ("averaged_loss", "test, averaged weights", "C3", "-."),
    ):
        values = history.column(name)
        shown = own & np.isfinite(values)
        if shown.any():
            lines += axes.plot(
                steps[shown], values[shown], color=color, linestyle=style, label=label, **DOTS
            )
    _steps(axes, history)
    axes.set_ylabel("loss")
    if lines:
        values = np.concatenate([np.asarray(line.get_ydata()) for line in lines])
        if values.min() > 0 and values.max() >= DECADE * values.min():
            axes.set_yscale("log")
        # above the panel, where there are no data
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(lines))
    return lines


def draw_accuracy(axes: Axes, history: History) -> list[Line2D]:
    """Draw test accuracy on every task against steps; vertical lines where a task begins.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to.
    history : History
        What a run measured.

    Returns
    -------
    list of Line2D
        One a task.
    """
    count = len(history.names)
    few = count <= MOST_COLORS
    ramp = mpl.colormaps["viridis"](np.linspace(0.0, 0.85, count))
    lines = []
    for k, name in enumerate(history.names):
        steps, values = history.column("step", task=k), history.column("test_accuracy", task=k)
        color = f"C{k}" if few else ramp[k]
        lines += axes.plot(steps, values, color=color, label=name, **DOTS)
    _steps(axes, history)
    axes.set_ylabel("test accuracy")
    axes.set_ylim(-0.02, 1.02)
    if count > 1:
        named = lines if count <= MOST_NAMES else [lines[0], lines[-1]]
        names = list(history.names) if named is lines else [f"first of {count}", "last"]
        axes.legend(named, names, title="task", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return lines


def _steps(axes: Axes, history: History) -> None:
    """Draw the axis of steps, with marks where each task but the first begins."""
    learned, steps = history.column("learned"), history.column("step")
    axes.set_xlabel("optimiser steps")
    end = int(steps.max(initial=1))
    axes.set_xlim(-0.02 * end, 1.02 * end)
    for k in range(1, len(history.names)):
        if (learned >= k).any():
            axes.axvline(int(steps[learned >= k][0]), color="0.75", linewidth=0.8, zorder=0)


def save_curve(history: History, stem: Path, title: str) -> None:
    """Write a run's figure as SVG and PNG.

    Parameters
    ----------
    history : History
        What the run measured.
    stem : pathlib.Path
        Path without suffix.
    title : str
        Above the figure.
    """
    with house_style():
        accurate = np.isfinite(history.column("test_accuracy")).any()
        width = 8.0 + (len(history.names) > 1) if accurate else 4.5
        figure = Figure(figsize=(width, 3.4), layout=ConstrainedLayoutEngine(w_pad=0.08))
        panels = figure.subplots(1, 2 if accurate else 1, squeeze=False)[0]
        draw_loss(panels[0], history)
        if accurate:
            draw_accuracy(panels[1], history)
        if history.stopped:
            title += "\n" + textwrap.fill(f"stopped early: {history.stopped}", int(11 * width))
        figure.suptitle(title)
        figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})
        figure.set_layout_engine("none")  # what was laid out once stays; doing it takes longest
        figure.savefig(stem.with_suffix(".png"))
