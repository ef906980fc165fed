"""What a synapse that fails can tell, what it costs, and how depression shapes its releases."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq

from theory._release_derivations import channel_information, depression_covariance, quantal_moments
from theory._short_term import (
    depression_steady_state,
    facilitation_steady_state,
    site_covariance,
)
from theory.checks import as_integer, as_number

__all__ = [
    "best_release_probability",
    "binary_entropy",
    "channel_information",
    "depression_covariance",
    "depression_steady_state",
    "facilitation_steady_state",
    "information_per_energy",
    "quantal_moments",
    "release_information",
    "site_covariance",
]


LEAST = 1e-8
"""Smallest release probability that is looked at for the best."""


def binary_entropy(probability: float) -> float:
    r"""Return the entropy of a coin.

    **Equation.** :math:`h(s) = -s \log_2 s - (1-s) \log_2 (1-s)`.

    **Shapes and units.** Bits.

    Parameters
    ----------
    probability : float
        s, in [0, 1].

    Returns
    -------
    float
        In [0, 1].

    References
    ----------
    Shannon (1948), doi:10.1002/j.1538-7305.1948.tb01338.x.

    Examples
    --------
    >>> binary_entropy(0.5)
    1.0
    """
    s = as_number("probability", probability, low=0.0, high=1.0)
    if s in {0.0, 1.0}:
        return 0.0
    return -(s * math.log(s) + (1 - s) * math.log1p(-s)) / math.log(2)


def release_information(spike: float, release: float, sites: int = 1) -> float:
    r"""Return the information that releases carry about presynaptic spikes, per time bin.

    **Equation.** :math:`I = h(sP) - s\,h(P)` with :math:`P = 1 - (1-p)^N`: a release proves a
    spike, so the number of releases says no more than whether there was one.

    **Shapes and units.** Bits a bin; bins are independent.

    Parameters
    ----------
    spike : float
        Probability s of a spike in a bin, in [0, 1].
    release : float
        Release probability p of a site, in [0, 1].
    sites : int
        Number N of independent sites.

    Returns
    -------
    float
        At most h(s).

    References
    ----------
    The Z-channel, standard; with N sites: derived here.

    Examples
    --------
    >>> round(release_information(0.01, 0.25), 12)
    0.017099084648
    """
    s = as_number("spike", spike, low=0.0, high=1.0)
    p = as_number("release", release, low=0.0, high=1.0)
    any_release = -math.expm1(as_integer("sites", sites, low=1) * math.log1p(-p)) if p < 1 else 1.0
    return binary_entropy(s * any_release) - s * binary_entropy(any_release)


def information_per_energy(spike: float, release: float, sites: int, spike_cost: float) -> float:
    r"""Return the information that a release buys, with the cost of the spikes.

    **Equation.** :math:`I(p) / [s\,(c + Np)]`: bits a bin, divided by the mean energy of a bin.

    **Shapes and units.** Bits for the energy of one release; spikes cost c releases.

    Parameters
    ----------
    spike : float
        Probability s of a spike in a bin, in (0, 1).
    release : float
        Release probability p of a site, in (0, 1].
    sites : int
        Number N of independent sites.
    spike_cost : float
        c, >= 0; 0 gives the information of a release.

    Returns
    -------
    float
        At most h(s) / s.

    References
    ----------
    Derived here, after Levy & Baxter (1996), doi:10.1162/neco.1996.8.3.531.

    Examples
    --------
    >>> round(information_per_energy(0.01, 0.25, 1, 0.0), 12)
    6.839633859337
    """
    s = as_number("spike", spike, low=0.0, high=1.0, open_low=True, open_high=True)
    p = as_number("release", release, low=0.0, high=1.0, open_low=True)
    cost = as_number("spike_cost", spike_cost, low=0.0)
    bits = release_information(s, p, sites)
    return bits / (s * (cost + sites * p))


def best_release_probability(spike: float, sites: int, spike_cost: float) -> float:
    r"""Return the release probability that buys most information per unit of energy.

    **Equation.** :math:`\arg\max_p I(p) / (c + Np)`, the cost of a spike being c releases.

    **Shapes and units.** Cost in units of one release.

    Parameters
    ----------
    spike : float
        Probability s of a spike in a bin, in (0, 1).
    sites : int
        Number N of independent sites.
    spike_cost : float
        c, >= 0.

    Returns
    -------
    float
        In (0, 1].

    Raises
    ------
    ValueError
        If a number is out of range, or spikes are so cheap that the best release
        probability is 0: several sites that hardly ever release.

    References
    ----------
    Derived here, after Levy & Baxter (1996), doi:10.1162/neco.1996.8.3.531.

    Examples
    --------
    >>> round(best_release_probability(0.01, 4, 0.5), 6), best_release_probability(0.01, 1, 0.5)
    (0.265314, 1.0)
    """
    s = as_number("spike", spike, low=0.0, high=1.0, open_low=True, open_high=True)
    cost = as_number("spike_cost", spike_cost, low=0.0)
    sites = as_integer("sites", sites, low=1)

    def slope(p: float) -> float:
        """Return the derivative of the gain times a positive factor."""
        some = -math.expm1(sites * math.log1p(-p))
        rise = sites * (1 - p) ** (sites - 1)
        silent = sites * math.log1p(-p) / math.log(2)  # log2 of the chance of no release
        lost = math.log2((1 - s * some) / s) - silent
        return s * rise * lost * (cost + sites * p) - sites * release_information(s, p, sites)

    def gain(p: float) -> float:
        """Return the information per unit of energy."""
        return release_information(s, p, sites) / (cost + sites * p)

    # where spikes are cheap the best lies near 0, about where p squared is the cost
    grid = np.concatenate([np.geomspace(LEAST, 1e-3, 401)[:-1], np.linspace(1e-3, 1 - 1e-6, 2001)])
    signs = np.sign([slope(p) for p in grid])
    falls = np.flatnonzero((signs[:-1] > 0) & (signs[1:] <= 0))
    places = [float(brentq(slope, grid[i], grid[i + 1], xtol=1e-15)) for i in falls] + [1.0]
    best = max(places, key=gain)
    if gain(LEAST) > gain(best):
        raise ValueError(
            f"spike_cost = {cost}: at so small a cost of spikes {sites} sites tell most per unit of"
            " energy when they hardly ever release; there is no best release probability"
        )
    return best
