"""Steady states of short-term plasticity in regular trains, and how releases correlate."""

from __future__ import annotations

import math

from theory.checks import as_integer, as_number

__all__ = ["depression_steady_state", "facilitation_steady_state", "site_covariance"]


def depression_steady_state(use: float, recovery_s: float, interval_s: float) -> float:
    r"""Return the share of full sites just before a spike of a regular train.

    **Equation.** :math:`x = (1-e)/(1-(1-U)e)` with :math:`e = \exp(-D/\tau)`.

    **Shapes and units.** Seconds; a share.

    Parameters
    ----------
    use : float
        Probability U that a full site releases, in (0, 1].
    recovery_s : float
        Time constant tau of refilling, > 0.
    interval_s : float
        Interval D between spikes, > 0.

    Returns
    -------
    float
        In (0, 1).

    References
    ----------
    Tsodyks & Markram (1997), doi:10.1073/pnas.94.2.719.

    Examples
    --------
    >>> round(depression_steady_state(0.5, 0.8, 0.05), 12)
    0.114251713013
    """
    u = as_number("use", use, low=0.0, high=1.0, open_low=True)
    tau = as_number("recovery_s", recovery_s, low=0.0, open_low=True)
    refilled = -math.expm1(-as_number("interval_s", interval_s, low=0.0, open_low=True) / tau)
    return refilled / (1 - (1 - u) * (1 - refilled))


def site_covariance(
    sites: int, use: float, recovery_s: float, interval_s: float, lag: int
) -> float:
    r"""Return the covariance of release counts ``lag`` spikes apart in a regular train.

    **Equation.** With :math:`\rho = Ux` and :math:`\lambda = (1-U)e^{-D/\tau}`:
    :math:`N\rho(1-\rho)` at lag 0 (the count is binomial), :math:`-N\rho^2\lambda^j` at lag j.

    **Shapes and units.** Counts squared.

    Parameters
    ----------
    sites : int
        Number N of sites, each full or empty.
    use, recovery_s, interval_s : float
        As for :func:`depression_steady_state`.
    lag : int
        j, >= 0.

    Returns
    -------
    float
        Negative for lags above 0: a site that released may be empty.

    References
    ----------
    Derived here.

    Examples
    --------
    >>> round(site_covariance(5, 0.5, 0.8, 0.05, 1), 15)
    -0.007664115708347
    """
    count, j = as_integer("sites", sites, low=1), as_integer("lag", lag, low=0)
    rho = use * depression_steady_state(use, recovery_s, interval_s)
    if j == 0:
        return count * rho * (1 - rho)
    return -count * rho**2 * ((1 - use) * math.exp(-interval_s / recovery_s)) ** j


def facilitation_steady_state(
    use: float, recovery_s: float, facilitation_s: float, interval_s: float
) -> tuple[float, float]:
    r"""Return utilisation and resources at a spike of a regular train.

    **Equation.** :math:`u = U/(1-(1-U)a)`, :math:`x = (1-b)/(1-(1-u)b)` with :math:`a =
    e^{-D/\tau_f}`, :math:`b = e^{-D/\tau_r}`; a spike releases u x. Here u is taken after its
    jump and decays to 0; taken before a jump and decaying to U it is the same sequence.

    **Shapes and units.** Seconds; shares.

    Parameters
    ----------
    use : float
        U, in (0, 1].
    recovery_s, facilitation_s : float
        Time constants, > 0.
    interval_s : float
        Interval D between spikes, > 0.

    Returns
    -------
    u, x : float
        Just after the jump of u, just before the release.

    References
    ----------
    Tsodyks, Pawelzik & Markram (1998), doi:10.1162/089976698300017502.

    Examples
    --------
    >>> u, x = facilitation_steady_state(0.03, 0.13, 0.53, 0.05)
    >>> round(u * x, 12)
    0.165485537646
    """
    base = as_number("use", use, low=0.0, high=1.0, open_low=True)
    tau = as_number("facilitation_s", facilitation_s, low=0.0, open_low=True)
    gap = as_number("interval_s", interval_s, low=0.0, open_low=True)
    u = base / (1 - (1 - base) * math.exp(-gap / tau))
    return u, depression_steady_state(u, recovery_s, gap)
