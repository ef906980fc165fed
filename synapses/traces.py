"""What a spike train makes of a synapse: releases trial by trial, and the postsynaptic trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.random import Generator
from scipy import stats

from synapses._short_term import QuantalDepression, TsodyksMarkram
from synapses._trains import as_spikes, poisson_train, read_train, regular_train
from synapses.release import ReleaseModel
from theory.checks import as_integer, as_matrix, as_number, as_vector, shown

__all__ = [
    "QuantalDepression",
    "Releases",
    "Synapse",
    "TsodyksMarkram",
    "amplitude_shares",
    "poisson_train",
    "postsynaptic_trace",
    "read_train",
    "regular_train",
    "release_train",
]


Synapse: TypeAlias = ReleaseModel | TsodyksMarkram | QuantalDepression


@dataclass(frozen=True, eq=False)
class Releases:
    """What every spike released in every trial.

    Parameters
    ----------
    spikes_s : ndarray
        (spike,), seconds.
    use : ndarray
        (spike,), probability that a full site releases, or share of the resources released.
    full : ndarray
        (trial, spike), share of the sites that are full, or of the resources, just before.
    released : ndarray
        (trial, spike), number of quanta; for :class:`TsodyksMarkram` the share u x.
    amplitudes : ndarray
        (trial, spike), in the unit of the quantal size.
    """

    spikes_s: Float[ndarray, " spike"]
    use: Float[ndarray, " spike"]
    full: Float[ndarray, "trial spike"]
    released: Float[ndarray, "trial spike"]
    amplitudes: Float[ndarray, "trial spike"]


def release_train(
    synapse: Synapse,
    spikes_s: Float[ndarray, " spike"],
    trials: int = 1,
    generator: Generator | None = None,
) -> Releases:
    """Let a spike train act on a synapse, in independent trials that start with full sites.

    Parameters
    ----------
    synapse : ReleaseModel, TsodyksMarkram or QuantalDepression
        What releases.
    spikes_s : ndarray
        Spike times in seconds, increasing; the same in every trial.
    trials : int
        Number of trials, >= 1; a deterministic synapse has one.
    generator : numpy.random.Generator or None
        Source of randomness, e.g. ``Streams(0).generator("releases")``; None for a
        deterministic synapse.

    Returns
    -------
    Releases
        All trials.

    Raises
    ------
    ValueError
        If the synapse is none, the times do not increase, or a stochastic synapse has no
        generator.

    Examples
    --------
    >>> from theory.streams import Streams
    >>> generator = Streams(0).generator("releases")
    >>> found = release_train(QuantalDepression(), regular_train(20.0, 0.5), 1000, generator)
    >>> found.amplitudes.shape, bool(abs(found.released[:, 0].mean() - 2.5) < 0.2)
    ((1000, 10), True)
    """
    spikes = as_spikes("spikes_s", spikes_s)
    trials = as_integer("trials", trials, low=1)
    if isinstance(synapse, TsodyksMarkram):
        if trials != 1:
            raise ValueError(f"trials = {trials}: the synapse is deterministic; must be 1")
        u, x = synapse.at_spikes(spikes)
        released = (u * x)[None]
        return Releases(spikes, u, x[None], released, synapse.amplitude * released)
    if not isinstance(synapse, ReleaseModel | QuantalDepression):
        raise ValueError(
            f"synapse = {shown(synapse)}: must be a ReleaseModel, TsodyksMarkram or"
            " QuantalDepression"
        )
    if not isinstance(generator, Generator):
        raise ValueError(f"generator = {shown(generator)}: must be a numpy.random.Generator")
    shape = (trials, len(spikes))
    if isinstance(synapse, ReleaseModel):
        use, full = np.full(len(spikes), synapse.release_probability), np.ones(shape)
        counts = generator.binomial(synapse.sites, synapse.release_probability, shape)
    else:
        use, _ = synapse.at_spikes(spikes)
        full, counts = _deplete(synapse, use, spikes, trials, generator)
    q, spread = synapse.quantal_size, synapse.quantal_cv**2
    # a sum of K gamma quanta is gamma with K times the shape
    draws = generator.gamma(counts / spread, q * spread) if spread else counts * q
    return Releases(spikes, use, full, counts.astype(np.float64), np.asarray(draws))


def postsynaptic_trace(
    times_s: Float[ndarray, " time"],
    spikes_s: Float[ndarray, " spike"],
    amplitudes: Float[ndarray, "trial spike"],
    decay_s: float,
    rise_s: float = 0.0,
) -> Float[ndarray, "trial time"]:
    r"""Return the sum of postsynaptic potentials, exactly.

    **Equation.** :math:`V(t) = \sum_{t_k \le t} A_k\,h(t - t_k)` with :math:`h(s) =
    e^{-s/\tau_d}`, or, with a rise time, :math:`(e^{-s/\tau_d} - e^{-s/\tau_r})` over its
    maximum.

    **Shapes and units.** Seconds; the unit of the amplitudes.

    Parameters
    ----------
    times_s : ndarray
        When to look.
    spikes_s : ndarray
        Spike times, increasing.
    amplitudes : ndarray
        Peak of every potential.
    decay_s : float
        Time constant of decay, > 0.
    rise_s : float
        Time constant of the rise, in [0, decay_s).

    Returns
    -------
    ndarray
        One row a trial.

    Raises
    ------
    ValueError
        If shapes or time constants do not fit.

    References
    ----------
    Standard.

    Examples
    --------
    >>> one = np.array([[2.0]])
    >>> postsynaptic_trace(np.array([0.0, 0.1, 0.2]), np.array([0.1]), one, 0.1).round(4)
    array([[0.    , 2.    , 0.7358]])
    """
    times, spikes = as_vector("times_s", times_s), as_spikes("spikes_s", spikes_s)
    heights = as_matrix("amplitudes", amplitudes)
    if heights.shape[1] != len(spikes):
        raise ValueError(
            f"amplitudes has shape {heights.shape}: must have {len(spikes)} columns, one a spike"
        )
    decay = as_number("decay_s", decay_s, low=0.0, open_low=True)
    rise = as_number("rise_s", rise_s, low=0.0, high=decay, open_high=True)
    trace = _decaying(times, spikes, heights, decay)
    if rise == 0:
        return trace
    ratio = rise / decay
    peak = ratio ** (ratio / (1 - ratio)) - ratio ** (1 / (1 - ratio))
    return np.asarray((trace - _decaying(times, spikes, heights, rise)) / peak)


def amplitude_shares(
    laws: Sequence[ReleaseModel], edges: Float[ndarray, " edge"]
) -> Float[ndarray, " bin"]:
    r"""Return the share of amplitudes that the laws put into every bin of a histogram.

    **Equation.** :math:`\sum_k \Pr[K = k]\,[G_k(b) - G_k(a)]` for the bin [a, b), averaged over
    the laws; :math:`G_k` is the distribution of k gamma quanta, a step where they do not vary.

    **Shapes and units.** Edges in the unit of the amplitudes.

    Parameters
    ----------
    laws : sequence of ReleaseModel
        One a spike.
    edges : ndarray
        Ends of the bins, increasing; the last may be infinite.

    Returns
    -------
    ndarray
        One a bin, at most 1 in sum.

    Raises
    ------
    ValueError
        If there is no law, or the edges do not increase.

    References
    ----------
    Derived here.

    Examples
    --------
    >>> amplitude_shares([ReleaseModel(2, 0.5)], np.array([-0.5, 0.5, 1.5, 2.5])).round(9)
    array([0.25, 0.5 , 0.25])
    """
    ends = np.asarray(edges, dtype=np.float64)
    if ends.ndim != 1 or len(ends) < 2 or not (np.diff(ends) > 0).all():
        raise ValueError(f"edges = {shown(edges)}: must be two or more numbers that increase")
    if not laws or not all(isinstance(law, ReleaseModel) for law in laws):
        raise ValueError(f"laws = {shown(laws)}: must be one or more ReleaseModels")
    below = np.zeros(len(ends))
    for law in laws:
        counts = np.arange(law.sites + 1)
        chances = stats.binom.pmf(counts, law.sites, law.release_probability)
        spread = law.quantal_cv**2
        below += chances[0] * (ends > 0)
        for count, chance in zip(counts[1:], chances[1:], strict=True):
            if spread:
                below += chance * stats.gamma.cdf(
                    ends, count / spread, scale=law.quantal_size * spread
                )
            else:
                below += chance * (ends > count * law.quantal_size)
    return np.asarray(np.diff(below) / len(laws))


def _deplete(
    synapse: QuantalDepression, use: ndarray, spikes: ndarray, trials: int, generator: Generator
) -> tuple[ndarray, ndarray]:
    """Return the share of full sites before every spike and the quanta it releases."""
    refilled = -np.expm1(-np.diff(spikes, prepend=spikes[0]) / synapse.recovery_s)
    full = np.empty((trials, len(spikes)))
    counts = np.empty((trials, len(spikes)), dtype=np.int64)
    now = np.full(trials, synapse.sites)
    for k, (u, share) in enumerate(zip(use, refilled, strict=True)):
        now = now + generator.binomial(synapse.sites - now, share)
        full[:, k] = now / synapse.sites
        counts[:, k] = generator.binomial(now, u)
        now -= counts[:, k]
    return full, counts


def _decaying(times: ndarray, spikes: ndarray, heights: ndarray, decay: float) -> ndarray:
    """Return the sum of exponentials that start at the spikes."""
    kept = np.exp(-np.diff(spikes, prepend=spikes[0]) / decay)
    after = np.empty_like(heights)
    state = np.zeros(len(heights))
    for k, factor in enumerate(kept):
        state = state * factor + heights[:, k]
        after[:, k] = state
    last = np.searchsorted(spikes, times, side="right") - 1
    gap = np.where(last < 0, np.inf, times - spikes[last])
    return np.asarray(after[:, last] * np.exp(-gap / decay))
