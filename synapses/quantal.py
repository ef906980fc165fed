"""Quantal analysis: sites, quantal size and release probability from measured amplitudes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import starmap
from statistics import NormalDist

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from synapses._parabola import fit_parabola, outputs
from synapses._quantal_fit import Interval, QuantalFit, content_from_failures
from theory.checks import as_integer, as_number, as_vector, shown

__all__ = [
    "Interval",
    "QuantalFit",
    "content_from_failures",
    "fit_mean_variance",
    "fit_one_condition",
    "quantal_from_moments",
]

LEAST_TRIALS = 3
"""Fewest amplitudes of a condition: two would leave no estimate of the variance's error."""


def quantal_from_moments(
    mean: float, variance: float, sites: int, quantal_cv: float = 0.0
) -> tuple[float, float]:
    r"""Return quantal size and release probability from mean and variance at a given N.

    **Equation.** :math:`q = (\sigma^2/\mu + \mu/N) / (1 + c^2)`, :math:`p = \mu / (Nq)`. With
    c = 0 these are the estimators of Costa et al. Where quanta do vary, leaving c at 0 gives
    :math:`q(1+c^2)` and :math:`p/(1+c^2)`.

    **Shapes and units.** Scalars; q in the unit of the mean.

    Parameters
    ----------
    mean, variance : float
        Of the amplitudes, > 0 and >= 0.
    sites : int
        N.
    quantal_cv : float
        c, the coefficient of variation of a quantum.

    Returns
    -------
    quantal_size, release_probability : float
        The latter above 1 if the variance is smaller than N sites allow.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Costa, Froemke, Sjöström & van Rossum (2015), eLife 4:e09457; with variable quanta: derived
    here.

    Examples
    --------
    Five sites, p = 0.3, q = 0.5, c = 0.3, with c known and with c ignored:

    >>> [round(x, 4) for x in quantal_from_moments(0.75, 0.29625, 5, quantal_cv=0.3)]
    [0.5, 0.3]
    >>> [round(x, 4) for x in quantal_from_moments(0.75, 0.29625, 5)]
    [0.545, 0.2752]
    """
    mu = as_number("mean", mean, low=0.0, open_low=True)
    var = as_number("variance", variance, low=0.0)
    count = as_integer("sites", sites, low=1)
    c = as_number("quantal_cv", quantal_cv, low=0.0)
    q = (var / mu + mu / count) / (1 + c**2)
    return q, mu / (count * q)


def fit_one_condition(
    amplitudes: Float[ndarray, " trial"],
    sites: int,
    quantal_cv: float = 0.0,
    *,
    noise_variance: float = 0.0,
    confidence: float = 0.95,
) -> QuantalFit:
    r"""Estimate quantal size and release probability at one release probability, N being known.

    **Equation.** :func:`quantal_from_moments` of the sample's mean and variance. Intervals by
    the delta method, :math:`\hat\theta \pm z\,\mathrm{s.e.}`, with the sample's own moments up
    to the fourth.

    **Shapes and units.** Amplitudes (trial,), > 0 on average (turn the sign of inward
    currents), noise in their unit squared.

    Parameters
    ----------
    amplitudes : ndarray
        Independent amplitudes, failures (0) included.
    sites : int
        N.
    quantal_cv : float
        c, the coefficient of variation of a quantum.
    noise_variance : float
        Variance of the recording noise.
    confidence : float
        Of the intervals, in (0, 1).

    Returns
    -------
    QuantalFit
        One condition; the interval of the sites is N itself.

    Raises
    ------
    ValueError
        If amplitudes are too few, do not vary beyond the noise, or have no positive mean.

    References
    ----------
    Costa, Froemke, Sjöström & van Rossum (2015), eLife 4:e09457; intervals: derived here.

    Examples
    --------
    >>> from synapses import ReleaseModel
    >>> from theory.streams import Streams
    >>> draws = ReleaseModel(5, 0.3, 0.5).sample(Streams(0).generator("release"), 2000)
    >>> fit = fit_one_condition(draws, sites=5)
    >>> 0.5 in fit.quantal_size, 0.3 in fit.release_probability[0]
    (True, True)
    """
    count = as_integer("sites", sites, low=1)
    (sample,), noise, z = _checked([amplitudes], noise_variance, confidence, least=1)
    c = as_number("quantal_cv", quantal_cv, low=0.0)
    mu, var = float(sample.mean()), float(sample.var(ddof=1)) - noise
    if var <= 0:
        raise ValueError(
            f"amplitudes have variance {var + noise:g}: must exceed noise_variance = {noise:g}"
        )
    q, p = quantal_from_moments(mu, var, count, c)
    about = np.stack([sample - mu, (sample - mu) ** 2 - var - noise])
    spread = np.cov(about) / len(sample)
    size = np.array([-var / mu**2 + 1 / count, 1 / mu]) / (1 + c**2)
    chance = p * (np.array([1 / mu, 0.0]) - size / q)
    errors = [float(np.sqrt(slope @ spread @ slope)) for slope in (size, chance)]
    return QuantalFit(
        Interval(count, count, count),
        Interval(q, q - z * errors[0], q + z * errors[0]),
        (Interval(p, p - z * errors[1], p + z * errors[1]),),
        (mu,),
        (var,),
        c,
    )


def fit_mean_variance(
    amplitudes: Sequence[Float[ndarray, " _trial"]] | Float[ndarray, "condition trial"],
    quantal_cv: float = 0.0,
    *,
    paired: bool = False,
    noise_variance: float = 0.0,
    confidence: float = 0.95,
) -> QuantalFit:
    r"""Estimate sites, quantal size and release probabilities from several conditions.

    **Equation.** At common N, q and c the variance is a parabola of the mean,

    .. math::

        \sigma^2 = a\mu - b\mu^2, \qquad a = q(1+c^2), \quad b = 1/N .

    a and b come from weighted least squares of the sample variances; the weights are the
    variances that binomial release of gamma quanta would give the residuals, and :math:`\hat
    \mu^2 - s^2/n` stands for :math:`\mu^2`, which it estimates without bias. Then :math:`\hat q
    = \hat a/(1+c^2)`, :math:`\hat N = 1/\hat b`, :math:`\hat p_k = \hat\mu_k \hat b (1+c^2)/\hat
    a`. Intervals by the delta method in a, b and p, with the samples' own moments up to the
    fourth; that of N is the interval of b turned over, so its upper end is infinite where b = 0
    is not excluded.

    **Shapes and units.** One vector of amplitudes a condition; noise in their unit squared.

    Parameters
    ----------
    amplitudes : sequence of ndarray, or ndarray
        Amplitudes of two or more conditions of different release probability, failures (0)
        included, > 0 on average (turn the sign of inward currents).
    quantal_cv : float
        c, the coefficient of variation of a quantum: known, not fitted, since a parabola
        cannot tell q from q(1 + c^2).
    paired : bool
        Whether trial i of every condition belongs together, as the spikes of one train do;
        their covariance then enters the intervals.
    noise_variance : float
        Variance of the recording noise.
    confidence : float
        Of each interval, in (0, 1).

    Returns
    -------
    QuantalFit
        With an interval a quantity.

    Raises
    ------
    ValueError
        If conditions are too few or too alike, or the parabola does not bend down.

    References
    ----------
    Clements & Silver (2000), doi:10.1016/S0166-2236(99)01520-9, for the method; weights and
    intervals: derived here.

    Examples
    --------
    >>> from synapses import ReleaseModel
    >>> from theory.streams import Streams
    >>> generator = Streams(0).generator("release")
    >>> draws = [ReleaseModel(5, p, 0.5).sample(generator, 500) for p in (0.2, 0.5, 0.8)]
    >>> fit = fit_mean_variance(draws)
    >>> 5 in fit.sites, 0.5 in fit.quantal_size, 0.8 in fit.release_probability[2]
    (True, True, True)
    """
    samples, noise, z = _checked(amplitudes, noise_variance, confidence, least=2)
    c = as_number("quantal_cv", quantal_cv, low=0.0)
    if paired and len({len(sample) for sample in samples}) > 1:
        raise ValueError("paired = True: every condition must have the same number of amplitudes")
    parabola = fit_parabola(samples, c, noise)
    a, b = parabola.slope, parabola.bend
    if b <= 0 or a <= 0:
        raise ValueError(
            f"amplitudes: the fitted parabola, variance = {a:.3g} mean - {b:.3g} mean^2, does not"
            " rise and bend down, so N is unknown; add conditions of higher release probability,"
            " or trials"
        )
    values, covariance = outputs(parabola, c, paired=paired)
    half = z * np.sqrt(np.diag(covariance))
    ends = [(float(v), float(v - h), float(v + h)) for v, h in zip(values, half, strict=True)]
    _, flat, steep = ends[1]
    return QuantalFit(
        Interval(1 / b, 1 / steep, 1 / flat if flat > 0 else np.inf),
        Interval(*ends[0]),
        tuple(starmap(Interval, ends[2:])),
        tuple(float(m) for m in parabola.means),
        tuple(float(v) for v in parabola.variances),
        c,
    )


def _checked(
    amplitudes: Sequence[ndarray] | ndarray, noise_variance: float, confidence: float, least: int
) -> tuple[list[ndarray], float, float]:
    """Return samples, noise and the normal quantile of the interval."""
    if isinstance(amplitudes, str) or not hasattr(amplitudes, "__len__") or len(amplitudes) < least:
        raise ValueError(
            f"amplitudes = {shown(amplitudes)}: must be {least} or more vectors of amplitudes, one"
            " a condition"
        )
    samples = []
    for k, amplitude in enumerate(amplitudes):
        name = "amplitudes" if least == 1 else f"amplitudes[{k}]"
        sample = as_vector(name, amplitude)
        if len(sample) < LEAST_TRIALS:
            raise ValueError(f"{name} has {len(sample)} trials: must have {LEAST_TRIALS} or more")
        if sample.mean() <= 0:
            raise ValueError(
                f"{name} has mean {sample.mean():g}: must be > 0; turn the sign of inward currents,"
                " and leave out conditions without release"
            )
        samples.append(sample)
    noise = as_number("noise_variance", noise_variance, low=0.0)
    level = as_number("confidence", confidence, low=0, high=1, open_low=True, open_high=True)
    return samples, noise, NormalDist().inv_cdf((1 + level) / 2)
