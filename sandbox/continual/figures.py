"""Forgetting curves: accuracy on the first task, and on all learned ones, task by task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy import ndarray

from sandbox.bench.figures import house_style
from sandbox.continual._run import Result
from sandbox.training.measures import interval

__all__ = ["draw_curves", "first_task", "learned_tasks", "save_curves"]

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")


def first_task(result: Result) -> Float64[ndarray, " learned"]:
    """Return the accuracy on the first task after each task.

    Parameters
    ----------
    result : Result
        A run.

    Returns
    -------
    ndarray of float64
        From the first task on.
    """
    return np.asarray(result.accuracy[1:, 0])


def learned_tasks(result: Result) -> Float64[ndarray, " learned"]:
    """Return the mean accuracy over the tasks learned so far, after each task.

    Parameters
    ----------
    result : Result
        A run.

    Returns
    -------
    ndarray of float64
        From the first task on.
    """
    rows = enumerate(result.accuracy[1:], start=1)
    return np.array([row[:learned].mean() for learned, row in rows])


def draw_curves(
    axes: Axes, curves: dict[str, Float64[ndarray, "seed learned"]], label: str
) -> None:
    """Draw every method's mean over seeds, with a band of 95 % where there are several.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to.
    curves : dict
        Accuracies by method.
    label : str
        What they are.
    """
    for i, (name, values) in enumerate(curves.items()):
        color = f"C{i % 10}"
        learned = np.arange(1, values.shape[1] + 1)
        style = "-" if i < 10 else "--"
        marker = MARKERS[i % len(MARKERS)]
        axes.plot(
            learned,
            values.mean(axis=0),
            style,
            color=color,
            marker=marker,
            markersize=4,
            label=name,
        )
        if len(values) > 1:
            known = [interval(column) for column in values.T]
            low, high = [one.low for one in known], [one.high for one in known]
            axes.fill_between(learned, low, high, color=color, alpha=0.15, linewidth=0)
    axes.set_xlabel("tasks learned")
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(-0.02, 1.02)


def save_curves(results: Sequence[Result], stem: Path, title: str) -> None:
    """Draw the forgetting curves of a comparison as SVG and PNG.

    Parameters
    ----------
    results : sequence of Result
        The runs; those that stopped early are left out.
    stem : pathlib.Path
        Path without suffix.
    title : str
        Of the figure.
    """
    whole = [result for result in results if not result.stopped]
    names = list(dict.fromkeys(result.method for result in whole))
    with house_style():
        figure = Figure(figsize=(8.4, 3.6))
        panels = figure.subplots(1, 2, sharex=True, sharey=True)
        for axes, curve, label in (
            (panels[0], first_task, "test accuracy on the first task"),
            (panels[1], learned_tasks, "mean test accuracy on learned tasks"),
        ):
            curves = {
                name: np.array([curve(result) for result in whole if result.method == name])
                for name in names
            }
            draw_curves(axes, curves, label)
        if names:
            handles, labels = panels[0].get_legend_handles_labels()
            figure.legend(handles, labels, title="method", loc="outside right center")
        seeds = len({result.seed for result in whole})
        bands = f"mean and 95 % band over {seeds} seeds" if seeds > 1 else "one seed"
        figure.suptitle(f"{title}: {bands}")
        figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})
        figure.set_layout_engine("none")  # what was laid out once stays
        figure.savefig(stem.with_suffix(".png"))
