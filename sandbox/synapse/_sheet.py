"""The figure of a run: all panels on one sheet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy import ndarray

from sandbox.bench.figures import house_style
from sandbox.synapse._analysis import Found, Tally
from sandbox.synapse.config import Config
from sandbox.synapse.figures import (
    draw_amplitudes,
    draw_mean_variance,
    draw_resources,
    draw_spikes,
    draw_trace,
)
from synapses.release import ReleaseModel
from synapses.traces import Releases, TsodyksMarkram, postsynaptic_trace

MOST_SPIKES = 40
"""Spikes that a trace shows, from the first."""

POINTS = 1500
"""Places of a trace."""

LEGEND_PAD = 20
"""Points between a panel and its title, where its legend is."""


def save_sheet(config: Config, tally: Tally, first: Releases, found: Found, stem: Path) -> None:
    """Write the figure as SVG and PNG."""
    with house_style():
        figure = Figure()
        if isinstance(tally.synapse, TsodyksMarkram):
            _deterministic(figure, config, tally.synapse, first)
        else:
            _stochastic(figure, config, tally, first, found)
        figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})
        figure.set_layout_engine("none")  # what was laid out once stays; doing it takes longest
        figure.savefig(stem.with_suffix(".png"))


def _grid(config: Config, spikes: ndarray) -> ndarray:
    """Return times that show every jump, up to where the last potential has decayed."""
    end = spikes[-1] + 5 * config.decay
    return np.union1d(np.linspace(0.0, end, POINTS), spikes)


def _deterministic(
    figure: Figure, config: Config, synapse: TsodyksMarkram, first: Releases
) -> None:
    """Draw resources above, the trace beneath."""
    figure.set_size_inches(6.0, 5.4)
    upper, lower = figure.subplots(2, 1, sharex=True)
    spikes = first.spikes_s[:MOST_SPIKES]
    times = _grid(config, spikes)
    steady = None
    if not config.times and config.train == "regular":
        steady = synapse.steady_state(1 / config.rate)
    draw_resources(upper, times, *synapse.course(spikes, times), spikes, steady)
    upper.set_title("utilisation and resources", pad=LEGEND_PAD)
    heights = first.amplitudes[:, :MOST_SPIKES]
    draw_trace(lower, times, postsynaptic_trace(times, spikes, heights, config.decay, config.rise))
    lower.set_title("postsynaptic trace", pad=LEGEND_PAD)


def _stochastic(
    figure: Figure, config: Config, tally: Tally, first: Releases, found: Found
) -> None:
    """Draw spikes and trace on the left, histogram and parabola on the right."""
    figure.set_size_inches(9.4, 6.2)
    panels = figure.subplots(2, 2, width_ratios=[1.5, 1])
    spikes = first.spikes_s[:MOST_SPIKES]
    times = _grid(config, spikes)

    def trace(heights: ndarray) -> ndarray:
        """Return the trace of amplitudes (trial, spike)."""
        shown = heights[:, :MOST_SPIKES]
        return postsynaptic_trace(times, spikes, shown, config.decay, config.rise)

    shown = Releases(
        spikes,
        first.use[:MOST_SPIKES],
        first.full[:, :MOST_SPIKES],
        first.released[:, :MOST_SPIKES],
        first.amplitudes[:, :MOST_SPIKES],
    )
    draw_spikes(panels[0, 0], shown)
    panels[0, 0].set_title("spikes and releases", pad=LEGEND_PAD)
    theory = tally.theory()
    assert theory is not None
    draw_trace(
        panels[1, 0],
        times,
        trace(first.amplitudes[:4]),
        trace(tally.mean()[None])[0] if tally.trials > 1 else None,
        trace(np.array([theory]))[0],
    )
    panels[1, 0].set_title("postsynaptic traces", pad=LEGEND_PAD)
    panels[0, 0].set_xlim(times[0], times[-1])
    panels[1, 0].set_xlim(times[0], times[-1])
    draw_amplitudes(panels[0, 1], tally.edges, *tally.shares())
    panels[0, 1].set_title("amplitudes of all spikes", pad=LEGEND_PAD)
    law = tally.laws[0]
    chances = np.linspace(0.0, 1.0, 101)
    laws = [ReleaseModel(law.sites, p, law.quantal_size, law.quantal_cv) for p in chances]
    truth = np.array([one.mean() for one in laws]), np.array([one.variance() for one in laws])
    draw_mean_variance(panels[1, 1], found.means, found.variances, truth, found.fit)
    panels[1, 1].set_title("variance against mean", pad=LEGEND_PAD)
