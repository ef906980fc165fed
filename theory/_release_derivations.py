"""Derivations behind the closed forms of release and its information."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation, Step

__all__ = ["channel_information", "depression_covariance", "quantal_moments"]


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
