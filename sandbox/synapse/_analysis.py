"""What is made of the releases: moments against theory, a histogram, the parabola."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from sandbox.synapse.config import BinomialConfig, Config
from sandbox.synapse.table import write_conditions
from synapses.quantal import QuantalFit, fit_mean_variance
from synapses.release import ReleaseModel
from synapses.traces import (
    QuantalDepression,
    Releases,
    Synapse,
    TsodyksMarkram,
    amplitude_shares,
)
from theory.streams import Streams

MOST_AMPLITUDES = 100_000
"""Amplitudes a condition that enter the parabola: more would not be seen in a figure."""

MOST_CONDITIONS = 100
"""Spikes of a depressing train that enter the parabola, from the first."""

BINS = 4
"""Bins a quantum of a histogram of variable quanta."""


class Tally:
    """Sums over all trials, part by part."""

    def __init__(self, synapse: Synapse, spikes: ndarray) -> None:
        self.synapse, self.spikes = synapse, spikes
        self.laws: list[ReleaseModel] = []
        if isinstance(synapse, QuantalDepression):
            self.laws = synapse.laws(spikes)
        elif isinstance(synapse, ReleaseModel):
            self.laws = [synapse]
        self.trials = self.failures = 0
        self.sums = np.zeros(len(spikes))
        self.trial_means: list[ndarray] = []
        self.edges = _edges(self.laws) if self.laws else np.zeros(0)
        self.counts = np.zeros(max(0, len(self.edges) - 1), dtype=np.int64)

    def add(self, part: Releases) -> None:
        """Take the trials of a part in."""
        self.trials += len(part.amplitudes)
        self.failures += int((part.released == 0).sum())
        self.sums += part.amplitudes.sum(axis=0)
        self.trial_means.append(part.amplitudes.mean(axis=1))
        if self.laws:
            self.counts += np.histogram(part.amplitudes, self.edges)[0]

    def mean(self) -> ndarray:
        """Return the mean amplitude of every spike."""
        return np.asarray(self.sums / self.trials)

    def theory(self) -> ndarray | None:
        """Return what theory says of it; None for a deterministic synapse."""
        if not self.laws:
            return None
        return np.broadcast_to([law.mean() for law in self.laws], self.spikes.shape)

    def shares(self) -> tuple[ndarray, ndarray]:
        """Return the histogram of the amplitudes, measured and predicted."""
        return self.counts / self.counts.sum(), amplitude_shares(self.laws, self.edges)


@dataclass(frozen=True)
class Found:
    """The summary, and what the figure needs beyond it."""

    summary: dict[str, Any]
    means: ndarray
    variances: ndarray
    fit: QuantalFit | None


def analysed(
    config: Config, tally: Tally, first: Releases, out: Path, marks: dict[str, str]
) -> Found:
    """Compare with theory, fit the parabola, write the conditions."""
    spikes, synapse = tally.spikes, tally.synapse
    summary: dict[str, Any] = {
        "model": config.name,
        "spikes": len(spikes),
        "trials": tally.trials,
        "rows": len(spikes) * tally.trials,
        "mean_amplitude": {"measured": float(tally.mean().mean())},
    }
    if isinstance(synapse, TsodyksMarkram):
        u, x = synapse.at_spikes(spikes)
        summary["last_spike"] = {"use": u[-1], "full": x[-1], "released": u[-1] * x[-1]}
    if not isinstance(synapse, ReleaseModel) and not config.times and config.train == "regular":
        u_end, x_end = synapse.steady_state(1 / config.rate)
        summary["steady_state"] = {"use": u_end, "full": x_end, "released": u_end * x_end}
    if isinstance(synapse, TsodyksMarkram):
        return Found(summary, np.zeros(0), np.zeros(0), None)
    means = np.concatenate(tally.trial_means)
    error = float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else None
    summary["mean_amplitude"] |= {
        "standard_error": error,
        "theory": float(np.mean([law.mean() for law in tally.laws])),
    }
    summary["failures"] = {
        "measured": tally.failures / summary["rows"],
        "theory": float(np.mean([law.failure_probability() for law in tally.laws])),
    }
    chances, samples = _conditions(config, tally, first)
    columns = {
        "condition": np.arange(len(samples)),
        "release_probability": np.array(chances),
        "trials": np.full(len(samples), len(samples[0])),
        "mean": np.array([sample.mean() for sample in samples]),
        # one trial has no variance: no number in the table, no point in the figure
        "variance": np.array([x.var(ddof=1) if len(x) > 1 else np.nan for x in samples]),
    }
    write_conditions(out / "conditions.parquet", columns, marks)
    fit = None
    try:
        fit = fit_mean_variance(
            samples, synapse.quantal_cv, paired=isinstance(synapse, QuantalDepression)
        )
        summary["quantal_analysis"] = {
            name: {
                "estimate": found.value,
                "low": found.low,
                "high": _finite(found.high),
                "true": true,
            }
            for name, found, true in (
                ("sites", fit.sites, synapse.sites),
                ("quantal_size", fit.quantal_size, synapse.quantal_size),
            )
        }
    except ValueError as problem:
        summary["quantal_analysis"] = {"missing": str(problem)}
    return Found(summary, columns["mean"], columns["variance"], fit)


def _finite(value: float) -> float | None:
    """Return None for infinity, which JSON does not know."""
    return value if np.isfinite(value) else None


def _conditions(config: Config, tally: Tally, first: Releases) -> tuple[list[float], list[ndarray]]:
    """Return release probabilities and amplitudes of the conditions of the parabola."""
    if isinstance(config, BinomialConfig):
        synapse, samples = tally.synapse, []
        assert isinstance(synapse, ReleaseModel)
        size = min(config.trials, MOST_AMPLITUDES)
        for k, p in enumerate(config.probabilities):
            law = ReleaseModel(synapse.sites, p, synapse.quantal_size, synapse.quantal_cv)
            samples.append(law.sample(Streams(config.seed).generator("conditions", k), size))
        return list(config.probabilities), samples
    # successive spikes of a depressing synapse have release probabilities of their own
    rows = first.amplitudes[:MOST_AMPLITUDES, :MOST_CONDITIONS].T
    return [law.release_probability for law in tally.laws[:MOST_CONDITIONS]], list(rows)


def _edges(laws: list[ReleaseModel]) -> ndarray:
    """Return bins: one a quantum, or narrower ones for variable quanta; the last is open."""
    top = max(law.mean() + 5 * law.variance() ** 0.5 for law in laws)
    q, fixed = laws[0].quantal_size, laws[0].quantal_cv == 0
    width = q if fixed else q / BINS
    count = laws[0].sites + 1 if fixed else int(np.ceil(top / width)) + 1
    count = max(count, 2)  # without release there is one bin, which gives the open one no width
    return np.append((np.arange(count) - 0.5) * width, np.inf)
