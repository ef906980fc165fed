"""Derivations of mean squares of batches' gradients: of differences, and in the Fisher's place."""

from __future__ import annotations

import itertools

import sympy as sp

from theory._importance_noise_derivations import UNIFYING, drawn, factor, mean, moments
from theory._preconditioning_derivations import numerator
from theory.derivation import Derivation, Step

__all__ = ["batched_fisher", "squared_noise"]


def squared_noise() -> Derivation:
    """Derive the mean square of the difference of two batches' gradients.

    Returns
    -------
    Derivation
        Of one parameter, for any weight alpha of the second batch.

    Examples
    --------
    >>> squared_noise().check()
    19
    """
    mu, s, sigma, alpha = sp.symbols("mu s sigma alpha", positive=True)
    N, b, T, beta = sp.symbols("N b T beta_2", positive=True)
    few, four = list(sp.symbols("g_1:4", real=True)), list(sp.symbols("g_1:5", real=True))
    share = factor(N, b)
    general = (1 - alpha) ** 2 * mu**2 + (1 + alpha**2) * sigma**2
    law = (mu + sigma, mu - sigma)

    def enumerated(population: list[sp.Expr], batch: int) -> sp.Expr:
        """Return the mean over all pairs of batches, less the formula."""
        middle, spread = moments(population)
        values = [value for _, value in drawn(population, batch)]
        noise = factor(sp.Integer(len(population)), sp.Integer(batch)) * spread
        wanted = (1 - alpha) ** 2 * middle**2 + (1 + alpha**2) * noise
        return mean([(g - alpha * h) ** 2 for g in values for h in values]) - wanted

    def apart(population: list[sp.Expr], batch: int) -> sp.Expr:
        """Return the mean over all pairs of batches without a common sample, less the formula."""
        count, batches = len(population), drawn(population, batch)
        values = [(g - h) ** 2 for one, g in batches for two, h in batches if not one & two]
        return mean(values) - sp.Rational(2 * count, batch * (count - 1)) * moments(population)[1]

    kept = 1 - beta**T
    return Derivation(
        "Squared noise from two batches",
        (
            Step(
                "ĝ and ĝ' are independent, of mean μ and variance σ². Expand the square: the cross"
                " term is -2αμ².",
                sp.Eq(sp.Symbol("E (ĝ - αĝ')²"), general),
                (
                    mean([(g - alpha * h) ** 2 for g in law for h in law]) - general,
                    mu**2 + sigma**2 - 2 * alpha * mu**2 + alpha**2 * (mu**2 + sigma**2) - general,
                ),
                sp.expand,
            ),
            Step(
                "α = 0: the second moment that Adam divides by. α = 1: the mean gradient is gone,"
                " at every batch size, and twice the noise is left. At any other α a share of the"
                " mean stays.",
                sp.Eq(sp.Symbol("E (ĝ - ĝ')²"), 2 * sigma**2),
                (
                    general.subs(alpha, 1) - 2 * sigma**2,
                    general.subs(alpha, 0) - mu**2 - sigma**2,
                    sp.diff(general.subs(sigma, 0), alpha).subs(alpha, 1),
                ),
                sp.expand,
            ),
            Step(
                "Each batch drawn without replacement from N samples, independently of the other:"
                " σ² = s²(N-b)/(b(N-1)). All pairs of batches enumerated for three and four"
                " samples.",
                sp.Eq(sigma**2, share * s**2),
                tuple(
                    enumerated(population, size)
                    for population in (few, four)
                    for size in range(1, len(population) + 1)
                ),
                sp.expand,
            ),
            Step(
                "Two batches without a common sample instead: the covariance -s²/(N-1) adds up to"
                " 2/b times the unbiased variance Ns²/(N-1), and nothing is lost as b grows.",
                sp.Eq(sp.Symbol("E (ĝ - ĝ')²"), 2 * N * s**2 / (b * (N - 1))),
                (
                    numerator(2 * share * s**2 + 2 * s**2 / (N - 1) - 2 * N * s**2 / (b * (N - 1))),
                    apart(few, 1),
                    apart(four, 1),
                    apart(four, 2),
                ),
                sp.expand,
            ),
            Step(
                "An average v of such squares that starts at 0 has after T steps the share 1 - β₂ᵀ"
                " of their mean. Uncorrected, it is small for all weights alike.",
                sp.Eq(sp.Symbol("E v_T"), kept * general),
                (
                    beta * kept + (1 - beta) - (1 - beta ** (T + 1)),
                    kept.subs(T, 0),
                ),
                sp.expand,
            ),
            Step(
                "At α = 1 the root of v estimates the root of the variance of one sample's"
                " gradient, times √(2/b): where models fit their labels, a root of the Fisher.",
                sp.Eq(sp.sqrt(sp.Symbol("v")), sp.sqrt(2 / b) * s),
                (sp.sqrt(general.subs({alpha: 1, sigma: s / sp.sqrt(b)})) - sp.sqrt(2 / b) * s,),
            ),
        ),
        page="derivations/squared_noise",
        source=f"the estimator: {UNIFYING}; its expectations: derived here",
        results={
            "square": general.subs(sigma, sp.sqrt(share) * s),
            "noise": 2 * share * s**2,
            "disjoint": 2 * N * s**2 / (b * (N - 1)),
        },
    )


def batched_fisher() -> Derivation:
    """Derive what the squared gradient of a batch estimates in place of the Fisher diagonal.

    Returns
    -------
    Derivation
        Of one parameter, for given labels and for labels drawn from the model.

    Examples
    --------
    >>> batched_fisher().check()
    15
    """
    mu, s = sp.symbols("mu s", positive=True)
    N, b = sp.symbols("N b", positive=True)
    four = list(sp.symbols("g_1:5", real=True))
    share = factor(N, b)
    empirical, batched = mu**2 + s**2, mu**2 + share * s**2
    middle, spread = moments(four)
    g, h = sp.symbols("g h", real=True)
    # two inputs with two labels each: chances, and scores that the model expects to be 0
    p, q, u, v = sp.symbols("p q u v", positive=True)
    one = ((p, u), (1 - p, -p * u / (1 - p)))
    two = ((q, v), (1 - q, -q * v / (1 - q)))
    fishers = [sum((c * z**2 for c, z in law), sp.Integer(0)) for law in (one, two)]
    pairs = sum((c * d * (y + z) ** 2 / 4 for c, y in one for d, z in two), sp.Integer(0))

    def partitions(batch: int) -> list[sp.Expr]:
        """Return the mean of squared batch means for every order of the four samples."""
        found = []
        for order in itertools.permutations(four):
            parts = [order[i : i + batch] for i in range(0, 4, batch)]
            found.append(mean([mean(list(part)) ** 2 for part in parts]))
        return found

    return Derivation(
        "Squared gradients of batches in place of the Fisher diagonal",
        (
            Step(
                "One sample at a time, given labels: the empirical Fisher is the mean of squares.",
                sp.Eq(sp.Symbol("EF"), empirical),
                (mean([value**2 for value in four]) - middle**2 - spread,),
                sp.expand,
            ),
            Step(
                "The gradient of a batch is a mean, and a mean squared is less than the mean of"
                " squares, by the variance within the batch: never more than the empirical Fisher.",
                sp.Le(sp.Symbol("ĝ²"), sp.Symbol("mean g²")),
                ((g**2 + h**2) / 2 - ((g + h) / 2) ** 2 - ((g - h) / 2) ** 2,),
                sp.expand,
            ),
            Step(
                "Samples in random order, cut into batches: every batch has the law of one drawn"
                " without replacement.",
                sp.Eq(sp.Symbol("E BF"), batched),
                tuple(
                    mean(partitions(size))
                    - middle**2
                    - factor(sp.Integer(4), sp.Integer(size)) * spread
                    for size in (1, 2, 4)
                ),
                sp.expand,
            ),
            Step(
                "One sample a batch is the empirical Fisher; all of them the squared mean gradient,"
                " 0 at a minimum of the loss.",
                None,
                (batched.subs(b, 1) - empirical, batched.subs(b, N) - mu**2),
            ),
            Step(
                "Many samples: between 1/b of the empirical Fisher, where noise dominates, and all"
                " of it, where the mean does. The ranking of weights changes unless one of these"
                " holds for all of them.",
                sp.Eq(sp.Symbol("BF/EF"), (mu**2 + s**2 / b) / empirical),
                (
                    sp.limit(batched, N, sp.oo) - mu**2 - s**2 / b,
                    ((mu**2 + s**2 / b) / empirical).subs(mu, 0) - 1 / b,
                    ((mu**2 + s**2 / b) / empirical).subs(s, 0) - 1,
                    (mu**2 + s**2 / b) / empirical - 1 / b - (1 - 1 / b) * mu**2 / empirical,
                ),
            ),
            Step(
                "Labels drawn from the model: every input's gradient has the mean 0 and is"
                " independent of the others, so that the square of a batch of given inputs is"
                " exactly the mean Fisher over b, whatever the inputs. Here b = 2.",
                sp.Eq(sp.Symbol("E ĝ²"), sp.Symbol("F") / b),
                (
                    sum((c * z for c, z in one), sp.Integer(0)),
                    sum((c * z for c, z in two), sp.Integer(0)),
                    pairs - (fishers[0] + fishers[1]) / 4,
                ),
            ),
            Step(
                "So b times it is an unbiased Fisher diagonal, with as many passes as batches; with"
                " given labels b times it is too large by (b-1)μ².",
                sp.Eq(b * sp.Symbol("E BF") - sp.Symbol("EF"), (b - 1) * mu**2),
                (sp.expand(b * (mu**2 + s**2 / b) - empirical - (b - 1) * mu**2),),
            ),
        ),
        page="derivations/batched_fisher",
        source="that programs compute it: van de Ven (2025), arXiv:2502.11756; what it is worth:"
        " derived here",
        results={
            "batched": batched,
            "empirical": empirical,
            "ratio": (mu**2 + s**2 / b) / empirical,
        },
    )
