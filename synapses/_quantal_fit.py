"""What quantal analysis gives back, and the content that failures tell."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import stats

from theory.checks import as_integer, as_number


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the interval that holds the truth with the stated confidence.

    Parameters
    ----------
    value, low, high : float
        The estimate and the ends; an end may be infinite.
    """

    value: float
    low: float
    high: float

    def __contains__(self, truth: float) -> bool:
        """Tell whether a number lies in the interval."""
        return bool(self.low <= truth <= self.high)


@dataclass(frozen=True)
class QuantalFit:
    """What quantal analysis found.

    Parameters
    ----------
    sites : Interval
        Number N of sites, not rounded.
    quantal_size : Interval
        Mean q of a quantum, in the unit of the amplitudes.
    release_probability : tuple of Interval
        p of every condition. By chance an estimate or an end may lie outside [0, 1].
    means, variances : tuple of float
        Of the amplitudes of every condition; recording noise is subtracted.
    quantal_cv : float
        The coefficient of variation c that was assumed.
    """

    sites: Interval
    quantal_size: Interval
    release_probability: tuple[Interval, ...]
    means: tuple[float, ...]
    variances: tuple[float, ...]
    quantal_cv: float

    def parabola(self, mean: Float[ndarray, " _n"]) -> Float[ndarray, " _n"]:
        """Return the fitted variance at given means.

        Parameters
        ----------
        mean : ndarray
            Mean amplitudes.

        Returns
        -------
        ndarray
            Variances.
        """
        slope = self.quantal_size.value * (1 + self.quantal_cv**2)
        return np.asarray(slope * mean - mean**2 / self.sites.value)


def content_from_failures(
    failures: int, trials: int, sites: int | None = None, *, confidence: float = 0.95
) -> Interval:
    r"""Return the mean number of quanta a spike releases, from how often it releases none.

    **Equation.** With the share F of failures, :math:`N(1 - F^{1/N})` for N sites, :math:`-\ln
    F` if N is unknown. The latter is right for many sites of small p only: it means
    :math:`-N\ln(1-p)`, more than the content Np. The interval is that of Clopper and Pearson for F,
    which is exact, carried over.

    **Shapes and units.** Numbers of trials; quanta a spike.

    Parameters
    ----------
    failures, trials : int
        Trials without release, and all.
    sites : int or None
        N, if known.
    confidence : float
        Of the interval, in (0, 1).

    Returns
    -------
    Interval
        The upper end at most N.

    Raises
    ------
    ValueError
        If there are more failures than trials, or none at unknown N, which allows any content.

    References
    ----------
    del Castillo & Katz (1954), doi:10.1113/jphysiol.1954.sp005129; Clopper & Pearson (1934),
    doi:10.1093/biomet/26.4.404; with N sites: derived here.

    Examples
    --------
    Five sites of p = 0.3 have content 1.5 and fail in a share of 0.16807:

    >>> round(content_from_failures(16807, 100_000).value, 3)
    1.783
    >>> round(content_from_failures(16807, 100_000, sites=5).value, 3)
    1.5
    """
    total = as_integer("trials", trials, low=1)
    none = as_integer("failures", failures, low=0, high=total)
    count = None if sites is None else as_integer("sites", sites, low=1)
    level = as_number("confidence", confidence, low=0, high=1, open_low=True, open_high=True)
    if none == 0 and count is None:
        raise ValueError(
            f"failures = 0 of {total} trials: content has no upper limit; take more trials, or"
            " state sites"
        )
    share = stats.binomtest(none, total).proportion_ci(level, "exact")

    def content(failing: float) -> float:
        """Return the content at a share of failures."""
        if failing == 0:
            return math.inf if count is None else float(count)
        quanta = math.log(1 / failing)
        # 1 - F^(1/N) itself loses its digits where N is large
        return quanta if count is None else count * abs(math.expm1(-quanta / count))

    return Interval(content(none / total), content(share.high), content(share.low))
