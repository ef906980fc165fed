r"""
A spike train through a synapse that empties
============================================

A synapse with five release sites gets a regular spike train. A site that releases is
empty until it refills, so the first spikes release most. In a single trial a spike
releases a few quanta or none at all; only the mean over trials follows the smooth
course of the model of Tsodyks & Markram, which theory gives spike by spike:
the number of quanta at spike *k* is exactly binomial, :math:`\mathrm{Bin}(N, u x_k)`.

Beyond the mean the sites leave a mark: one that has just released is likely to be
empty at the next spike. Numbers of quanta a few spikes apart are anticorrelated, as
:doc:`the covariance of a depressing site </derivations/depression_covariance>` says.
Binomial numbers drawn afresh at every spike would have none of it.
"""

import matplotlib.pyplot as plt
import numpy as np

from sandbox.bench.figures import house_style
from sandbox.synapse.figures import draw_spikes, draw_trace
from synapses.traces import QuantalDepression, postsynaptic_trace, regular_train, release_train
from theory.information import site_covariance
from theory.streams import Streams

RATE_HZ, TRIALS, DECAY_S = 20.0, 4000, 0.02
synapse = QuantalDepression(sites=5, use=0.5, recovery_s=0.8, quantal_cv=0.3)
spikes_s = regular_train(RATE_HZ, 1.0)
found = release_train(synapse, spikes_s, TRIALS, Streams(0).generator("releases"))

times_s = np.union1d(np.linspace(0.0, 1.1, 1500), spikes_s)
traces = postsynaptic_trace(times_s, spikes_s, found.amplitudes, DECAY_S)
theory = np.array([[law.mean() for law in synapse.laws(spikes_s)]])
expected = postsynaptic_trace(times_s, spikes_s, theory, DECAY_S)[0]

# %%
# Trials, and their mean
# ----------------------

with house_style():
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(7.2, 5.8), sharex=True)
    draw_spikes(upper, found)
    upper.set_title("what single trials release", pad=20)
    draw_trace(lower, times_s, traces, traces.mean(axis=0), expected)
    lower.set_title(f"postsynaptic traces, mean of {TRIALS} trials", pad=20)
    lower.set_ylabel("trace (quanta)")
    plt.show()

# %%
# Releases remember
# -----------------
#
# The covariance of the numbers of quanta *j* spikes apart, in the steady state of the
# same train, from eight long trials.

long_s = regular_train(RATE_HZ, 1000.0)
counts = release_train(synapse, long_s, 8, Streams(0).generator("long")).released[:, 200:]
fresh = Streams(0).generator("fresh").binomial(5, counts.mean() / 5, counts.shape)


def covariances(numbers, lags):
    """Return the covariance at every lag, and its standard error over the trials."""
    around = numbers - numbers.mean()
    rows = [(around[:, : around.shape[1] - lag] * around[:, lag:]).mean(axis=1) for lag in lags]
    return np.mean(rows, axis=1), np.std(rows, axis=1, ddof=1) / np.sqrt(len(numbers))


lags = np.arange(1, 9)
with house_style():
    figure, axes = plt.subplots(figsize=(5.6, 3.4))
    line = [site_covariance(5, 0.5, 0.8, 1 / RATE_HZ, int(lag)) for lag in lags]
    axes.plot(lags, line, color="C0", ls="-", label="theory")
    for numbers, marker, color, label in (
        (counts, "o", "C0", "sites that empty and refill"),
        (fresh, "s", "C1", "binomial afresh at every spike"),
    ):
        mean, error = covariances(numbers, lags)
        axes.errorbar(
            lags, mean, 2 * error, fmt=marker, color=color, mfc="white", capsize=2, label=label
        )
    axes.set_title("covariance of the numbers of quanta")
    axes.set_xlabel("lag (spikes)")
    axes.set_ylabel("covariance (quanta²)")
    axes.legend(loc="lower right")
    plt.show()
