"""Derivation of what noise of the batches does to path sums under stochastic descent."""

from __future__ import annotations

import itertools

import sympy as sp

from theory.derivation import Derivation, Step

__all__ = ["path_integral_bias"]

UNIFYING = "Benzing (2022), arXiv:2006.06357"
ZENKE = "Zenke, Poole & Ganguli (2017), arXiv:1703.04200"


def mean(values: list[sp.Expr]) -> sp.Expr:
    """Return the average."""
    return sum(values, sp.Integer(0)) / len(values)


def drawn(population: list[sp.Expr], batch: int) -> list[tuple[set[int], sp.Expr]]:
    """Return every batch drawn without replacement: which samples, and their mean gradient."""
    places = itertools.combinations(range(len(population)), batch)
    return [(set(where), mean([population[i] for i in where])) for where in places]


def factor(population: sp.Expr, batch: sp.Expr) -> sp.Expr:
    """Return the variance of a batch mean over that of one sample, without replacement."""
    return (population - batch) / (batch * (population - 1))


def moments(population: list[sp.Expr]) -> tuple[sp.Expr, sp.Expr]:
    """Return mean and variance over the population."""
    middle = mean(population)
    return middle, mean([(value - middle) ** 2 for value in population])


def path_integral_bias() -> Derivation:
    """Derive what of synaptic intelligence's path sum under stochastic descent is noise.

    Returns
    -------
    Derivation
        Of one parameter and one step, over learning rate; every batch enumerated where
        gradients are written out.

    Examples
    --------
    >>> path_integral_bias().check()
    25
    """
    mu, s, sigma, eta = sp.symbols("mu s sigma eta", positive=True)
    N, b = sp.symbols("N b", positive=True)
    few, four = list(sp.symbols("g_1:4", real=True)), list(sp.symbols("g_1:5", real=True))
    law = (mu + sigma, mu - sigma)  # two equally likely gradients
    share = factor(N, b)

    def enumerated(population: list[sp.Expr], batch: int) -> sp.Expr:
        """Return the excess of a batch's mean square over its formula."""
        middle, spread = moments(population)
        square = mean([value**2 for _, value in drawn(population, batch)])
        return square - middle**2 - factor(sp.Integer(len(population)), sp.Integer(batch)) * spread

    def together(population: list[sp.Expr]) -> sp.Expr:
        """Return the covariance of two different samples, less its formula."""
        middle, spread = moments(population)
        pairs = itertools.permutations(population, 2)
        return mean([(u - middle) * (v - middle) for u, v in pairs]) + spread / (
            len(population) - 1
        )

    def apart(population: list[sp.Expr], batch: int) -> sp.Expr:
        """Return the product of the means of two batches without a common sample."""
        batches = drawn(population, batch)
        return mean([u * v for one, u in batches for two, v in batches if not one & two])

    two = [mean(list(pair)) for pair in itertools.product(law, repeat=2)]
    others = [value for _, value in drawn(few, 2)]
    middle, spread = moments(four)
    si = mu**2 + share * s**2
    beta, n = sp.symbols("beta n", positive=True)
    older = mu**2 * (beta - beta**n) / (1 - beta)  # a sum of n - 1 powers
    half = N * s**2 / ((N - 1) * mu**2 + s**2)
    return Derivation(
        "Noise in path sums of stochastic descent",
        (
            Step(
                "A step moves a weight by -ηĝ, so that the path sum -ĝΔ grows by ηĝ²: by μ² and the"
                " variance of the batch's gradient, whatever the noise did.",
                sp.Eq(sp.Symbol("E SI"), eta * (mu**2 + sigma**2)),
                (mean([-g * -eta * g for g in law]) - eta * (mu**2 + sigma**2),),
                sp.expand,
            ),
            Step(
                "A gradient ĝ' of a batch drawn independently does not know of that noise: SIU"
                " grows by ημ², the first order of the true path integral. SIB = SI - SIU is the"
                " bias alone.",
                sp.Eq(sp.Symbol("E SIU"), eta * mu**2),
                (
                    mean([eta * g * h for g in law for h in law]) - eta * mu**2,
                    mean([u * v for u in others for v in others]) - moments(few)[0] ** 2,
                    mean([eta * (g - h) * g for g in law for h in law]) - eta * sigma**2,
                ),
                sp.expand,
            ),
            Step(
                "b samples drawn with replacement: the variance is s²/b, here of all four batches"
                " of two.",
                sp.Eq(sigma**2, s**2 / b),
                (mean([value**2 for value in two]) - mu**2 - sigma**2 / 2,),
                sp.expand,
            ),
            Step(
                "Without replacement: deviations from μ add up to 0 over all N samples, hence"
                " N s² + N(N-1) c = 0 for the covariance c of two of them.",
                sp.Eq(sp.Symbol("c"), -(s**2) / (N - 1)),
                (
                    sp.solve(N * s**2 + N * (N - 1) * sp.Symbol("c"), sp.Symbol("c"))[0]
                    + s**2 / (N - 1),
                    together(few),
                    together(four),
                ),
            ),
            Step(
                "A batch has b variances and b(b-1) covariances over b²: the factor is"
                " (N-b)/(b(N-1)). All batches enumerated for three and four samples.",
                sp.Eq(sigma**2, share * s**2),
                (
                    (b * s**2 - b * (b - 1) * s**2 / (N - 1)) / b**2 - share * s**2,
                    *(enumerated(few, size) for size in (1, 2, 3)),
                    *(enumerated(four, size) for size in (1, 2, 3, 4)),
                ),
            ),
            Step(
                "All samples in the batch: no bias. Infinitely many samples, or one in the batch:"
                " 1/b.",
                None,
                (share.subs(b, N), sp.limit(share, N, sp.oo) - 1 / b, share.subs(b, 1) - 1),
            ),
            Step(
                "If the second batch is drawn from the samples that the first left, it is not"
                " independent: all covariances are c, and so is the error of SIU.",
                sp.Eq(sp.Symbol("E SIU"), eta * (mu**2 - s**2 / (N - 1))),
                tuple(apart(four, size) - middle**2 + spread / 3 for size in (1, 2)),
                sp.expand,
            ),
            Step(
                "Over T steps with the same moments everything is ηT times as large. Noise is the"
                " larger half of SI for batches below Ns²/((N-1)μ² + s²), about s²/μ².",
                sp.Eq(sp.Symbol("SIB/SI"), share * s**2 / si),
                (
                    (share * s**2 - mu**2).subs(b, half),
                    sp.limit(half, N, sp.oo) - s**2 / mu**2,
                    (share * s**2 / si).subs(b, half) - sp.Rational(1, 2),
                ),
            ),
            Step(
                "Momentum, Δ = -ηΣβᵏĝ of earlier steps, multiplies the signal by 1/(1-β) and leaves"
                " the noise: only the newest gradient of the sum is that of the step.",
                sp.Eq(sp.Symbol("E SI"), mu**2 / (1 - beta) + share * s**2),
                (mu**2 + sigma**2 + older.subs(beta**n, 0) - mu**2 / (1 - beta) - sigma**2,),
            ),
        ),
        page="derivations/path_integral_bias",
        source=f"that the noise of batches is a bias of {ZENKE}: {UNIFYING}; the expectations:"
        " derived here",
        results={
            "si": si,
            "siu": mu**2,
            "sib": share * s**2,
            "factor": share,
            "disjoint": mu**2 - s**2 / (N - 1),
            "half_batch": half,
        },
    )
