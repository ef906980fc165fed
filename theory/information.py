"""What a synapse that fails can tell, what it costs, and how depression shapes its releases."""

from __future__ import annotations

import math

import numpy as np
import sympy as sp
from scipy.optimize import brentq

from theory.checks import as_integer, as_number
from theory.derivation import Derivation, Step

__all__ = [
    "best_release_probability",
    "binary_entropy",
    "channel_information",
    "depression_covariance",
    "depression_steady_state",
    "facilitation_steady_state",
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


def quantal_moments() -> Derivation:
    """Derive mean, variance, third moment and failures of binomial release with gamma quanta.

    Returns
    -------
    Derivation
        Per site, from the law of one quantum; sites are independent, so cumulants add.

    Examples
    --------
    >>> quantal_moments().check()
    6
    """
    p, q, c, N, x = sp.symbols("p q c N x", positive=True)
    shape = 1 / c**2
    law = x ** (shape - 1) * sp.exp(-x / (q * c**2)) / (sp.gamma(shape) * (q * c**2) ** shape)
    raw = {n: q**n * sp.prod([1 + i * c**2 for i in range(n)]) for n in (1, 2, 3)}
    # the moments of the gamma law by the recurrence of the gamma function
    rising = {
        n: sp.gammasimp(sp.gamma(shape + n) / sp.gamma(shape)) * (q * c**2) ** n for n in (1, 2, 3)
    }
    mean, second, third = (p * raw[n] for n in (1, 2, 3))
    variance = second - mean**2
    skewed = third - 3 * mean * second + 2 * mean**3
    return Derivation(
        "Moments of quantal release",
        (
            Step(
                "A quantum has the gamma law with mean q and coefficient of variation c; its n-th"
                " moment is a ratio of gamma functions.",
                sp.Eq(sp.Symbol("f(x)"), law),
                tuple(sp.expand(rising[n]) - sp.expand(raw[n]) for n in (1, 2, 3)),
            ),
            Step(
                "A site releases one quantum with probability p, else nothing: its raw moments are"
                " p times those of a quantum. Variances of independent sites add.",
                sp.Eq(sp.Symbol("Var A"), N * sp.expand(variance)),
                (sp.expand(N * variance - q**2 * (N * p * (1 - p) + N * p * c**2)),),
            ),
            Step(
                "So do third central moments.",
                sp.Eq(sp.Symbol("mu_3"), N * sp.factor(skewed)),
                (
                    sp.expand(
                        N * skewed
                        - N
                        * q**3
                        * (p * (1 + c**2) * (1 + 2 * c**2) - 3 * p**2 * (1 + c**2) + 2 * p**3)
                    ),
                ),
            ),
            Step(
                "Without variability of the quanta the third moment is that of the binomial law.",
                None,
                (sp.expand(skewed.subs(c, 0) - q**3 * p * (1 - p) * (1 - 2 * p)),),
            ),
        ),
        page="derivations/quantal_moments",
        source="the binomial law: del Castillo & Katz (1954); with gamma quanta: derived here",
        results={"variance": N * variance, "third_moment": N * skewed},
    )


def depression_covariance() -> Derivation:
    """Derive steady state and covariance of release counts of a depressing site.

    Returns
    -------
    Derivation
        For one site; N independent ones multiply by N.

    Examples
    --------
    >>> depression_covariance().check()
    4
    """
    U, e, x = sp.symbols("U e x", positive=True)
    g = sp.Symbol("g", positive=True)  # lambda^(j-1)
    full = (1 - e) / (1 - (1 - U) * e)
    rho, decay = U * full, (1 - U) * e

    def before(power: sp.Expr) -> sp.Expr:
        """Return the chance of being full before spike j, from lambda^(j-1)."""
        return full - (full - (1 - e)) * power

    j = sp.Symbol("j", integer=True, positive=True)
    return Derivation(
        "Releases of a depressing site in a regular train",
        (
            Step(
                "A full site releases with probability U and is empty then; an empty one is full"
                " again after an interval with probability 1 - e. The chance of being full before"
                " a spike maps x to (1 - e) + e(1 - U)x.",
                sp.Eq(x, (1 - e) + e * (1 - U) * x),
                (sp.together((1 - e) + e * (1 - U) * full - full),),
            ),
            Step(
                "After a release at spike 0 that chance starts at 1 - e and relaxes to the steady"
                " state by the factor λ = (1 - U)e a spike.",
                sp.Eq(sp.Symbol("f_j"), before(sp.Symbol("lambda") ** (j - 1))),
                (
                    before(sp.Integer(1)) - (1 - e),
                    before(decay * g) - ((1 - e) + e * (1 - U) * before(g)),
                ),
            ),
            Step(
                "The covariance of releases j spikes apart is ρ U f_j - ρ², which is -ρ² λ^j: a"
                " site that has just released is less likely to release again.",
                sp.Eq(sp.Symbol("Cov_j"), -(sp.Symbol("rho") ** 2) * sp.Symbol("lambda") ** j),
                (rho * U * before(g) - rho**2 + rho**2 * decay * g,),
            ),
        ),
        page="derivations/depression_covariance",
        source="derived here",
        results={"full": full, "covariance": -(rho**2) * decay**j},
    )


def channel_information() -> Derivation:
    """Derive that the number of releases says no more about a spike than whether there was one.

    Returns
    -------
    Derivation
        The Z-channel with N sites, checked for N = 1, 2, 3.

    Examples
    --------
    >>> channel_information().check()
    3
    """
    s, p = sp.symbols("s p", positive=True)

    def entropy(v: sp.Expr) -> sp.Expr:
        return -v * sp.log(v) - (1 - v) * sp.log(1 - v)

    residuals = []
    for N in (1, 2, 3):
        chance = [sp.binomial(N, k) * p**k * (1 - p) ** (N - k) for k in range(N + 1)]
        none = (1 - s) + s * chance[0]
        # sum over (spike, count) of joint x log(joint / (marginal x marginal))
        information = (1 - s) * sp.log((1 - s) / ((1 - s) * none)) + s * chance[0] * sp.log(
            chance[0] / none
        )
        for k in range(1, N + 1):
            information += s * chance[k] * sp.log(1 / s)
        some = 1 - chance[0]
        claim = entropy(s * some) - s * entropy(some)
        residuals.append(sp.expand(sp.expand_log(information - claim, force=True)))
    return Derivation(
        "Information of releases about a spike",
        (
            Step(
                "A release proves a spike. The information of the count, summed over all its"
                " values, equals that of the event of any release, h(sP) - s h(P) with"
                " P = 1 - (1 - p)^N.",
                sp.Eq(
                    sp.Symbol("I"),
                    sp.Function("h")(s * sp.Symbol("P")) - s * sp.Function("h")(sp.Symbol("P")),
                ),
                tuple(residuals),
                sp.simplify,
            ),
        ),
        page="derivations/channel_information",
        source="derived here",
    )
