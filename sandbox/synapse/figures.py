"""Figures of releases: spikes and quanta, the trace they make, amplitudes, the parabola.

Plot functions take data and axes and never compute what they show.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy import ndarray

from synapses.quantal import QuantalFit
from synapses.traces import Releases

__all__ = [
    "draw_amplitudes",
    "draw_mean_variance",
    "draw_resources",
    "draw_spikes",
    "draw_trace",
]

MOST_TRIALS = 20
"""Trials that a raster shows apart."""

THIN = 4
"""Single trials drawn behind a mean trace."""


def draw_spikes(axes: Axes, releases: Releases) -> None:
    """Draw the spikes, and beneath them what every trial released.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to.
    releases : Releases
        The first trials of it are shown.
    """
    spikes, released = releases.spikes_s, releases.released[:MOST_TRIALS]
    rows = len(released)
    axes.vlines(spikes, -0.1 * rows - 0.6, -0.6, color="k", lw=1)
    trial, spike = np.nonzero(released)
    most = max(1.0, float(released.max()))
    sizes = 30 * released[trial, spike] / most
    axes.scatter(spikes[spike], trial, s=sizes, color="C0", lw=0)
    trial, spike = np.nonzero(released == 0)
    axes.scatter(spikes[spike], trial, s=4, marker="x", color="C1", lw=0.7)
    handles = [
        Line2D([], [], color="k", marker="|", ls="", label="spike"),
        Line2D([], [], color="C0", marker="o", ls="", label="release, area: quanta"),
        Line2D([], [], color="C1", marker="x", ls="", ms=3, label="failure"),
    ]
    axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    axes.set_ylim(rows - 0.4, -0.1 * rows - 1)
    axes.set_yticks(range(0, rows, max(1, rows // 4)))
    axes.set_ylabel("trial")
    axes.set_xlabel("time (s)")
    axes.grid(visible=False)


def draw_resources(
    axes: Axes,
    times_s: ndarray,
    use: ndarray,
    full: ndarray,
    spikes_s: ndarray,
    steady: tuple[float, float] | None,
) -> None:
    """Draw utilisation and resources of a deterministic synapse.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to.
    times_s : ndarray
        (time,), seconds.
    use, full : ndarray
        (time,), u and x.
    spikes_s : ndarray
        (spike,), seconds.
    steady : tuple of float or None
        u and x at a spike of a long regular train.
    """
    axes.plot(spikes_s, np.zeros_like(spikes_s), "k|", ms=7, label="spike")
    axes.plot(times_s, full, label="resources x", color="C0")
    axes.plot(times_s, use, label="utilisation u", color="C1")
    if steady is not None:
        end = [spikes_s[-1]] * 2
        axes.plot(end, steady, "ok", mfc="none", label="steady state at a spike", clip_on=False)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    axes.set_ylim(-0.05, 1.05)
    axes.set_ylabel("share")
    axes.set_xlabel("time (s)")


def draw_trace(
    axes: Axes,
    times_s: ndarray,
    trials: ndarray,
    mean: ndarray | None = None,
    theory: ndarray | None = None,
) -> None:
    """Draw postsynaptic traces: single trials thin, their mean and its theory on top.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to.
    times_s : ndarray
        (time,), seconds.
    trials : ndarray
        (trial, time); the first of them are shown.
    mean, theory : ndarray or None
        (time,).
    """
    for k, row in enumerate(trials[:THIN]):
        label = None if k else "trials" if len(trials) > 1 else "trace"
        single = len(trials) == 1
        axes.plot(times_s, row, color="C0" if single else "0.6", lw=1.4 if single else 0.7,
                  ls="-", label=label)  # fmt: skip
    if mean is not None:
        axes.plot(times_s, mean, color="C0", ls="-", label="mean of the trials")
    if theory is not None:
        axes.plot(times_s, theory, color="C1", ls="--", label="theory")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    axes.set_ylabel("postsynaptic trace")
    axes.set_xlabel("time (s)")


def draw_amplitudes(axes: Axes, edges: ndarray, shares: ndarray, law: ndarray) -> None:
    """Draw the histogram of amplitudes and the shares that theory gives its bins.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to.
    edges : ndarray
        (bin + 1,); the last may be infinite, and its bin is drawn as wide as the one before.
    shares, law : ndarray
        (bin,), measured and predicted.
    """
    ends = edges.copy()
    if np.isinf(ends[-1]):
        ends[-1] = 2 * ends[-2] - ends[-3]
    axes.stairs(shares, ends, fill=True, color="C5", label="simulated")
    centres = (ends[1:] + ends[:-1]) / 2
    axes.plot(centres, law, "_", color="C1", ms=7, mew=1.6, label="theory")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    axes.set_ylabel("share of the amplitudes")
    axes.set_xlabel("amplitude")
    axes.set_ylim(bottom=0)


def draw_mean_variance(
    axes: Axes,
    means: ndarray,
    variances: ndarray,
    truth: tuple[ndarray, ndarray],
    fit: QuantalFit | None = None,
) -> None:
    """Draw variance against mean, with the parabola that is true and the one that was fitted.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to.
    means, variances : ndarray
        (condition,).
    truth : tuple of ndarray
        Means and variances of the true parabola.
    fit : QuantalFit or None
        What was fitted, if anything could be.
    """
    grid, curve = truth
    axes.plot(grid, curve, color="C1", ls="--", label="theory")
    if fit is not None:
        axes.plot(grid, fit.parabola(grid), color="C0", ls="-", lw=1, label="fit")
    axes.plot(means, variances, "o", color="C0", mfc="white", label="simulated")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.set_ylabel("variance of the amplitude")
    axes.set_xlabel("mean amplitude")
