"""Derivation of the path sums of synaptic intelligence under Adam."""

from __future__ import annotations

import sympy as sp

from theory._importance_noise_derivations import UNIFYING, factor
from theory.derivation import Derivation, Step

__all__ = ["adam_path_integral"]


def normal(polynomial: sp.Expr, gradients: tuple[sp.Symbol, ...]) -> sp.Expr:
    """Return the expectation of a polynomial in independent standard normal variables."""
    even = {0: 1, 2: 1, 4: 3, 6: 15}
    total = sp.Integer(0)
    for powers, coefficient in sp.Poly(sp.expand(polynomial), *gradients).terms():
        total += coefficient * sp.prod([even.get(power, 0) for power in powers])
    return sp.expand(total)


def adam_path_integral() -> Derivation:
    """Derive synaptic intelligence's path sum under Adam far from its start.

    Returns
    -------
    Derivation
        Of one parameter and one step, over learning rate, for gradients with constant moments;
        the error made by treating v as its mean is given for normal noise.

    Examples
    --------
    >>> adam_path_integral().check()
    22
    """
    mu, sigma, s = sp.symbols("mu sigma s", positive=True)
    first, second = sp.symbols("beta_1 beta_2", positive=True)
    N, b, n = sp.symbols("N b n", positive=True)
    delta = 1 - second
    power = mu**2 + sigma**2
    root = sp.sqrt(power)
    signal = mu**2 + (1 - first) * sigma**2
    si, siu = signal / root, mu**2 / root
    older = mu**2 * (first - first**n)  # (1-β) times the sum of β^k over ages k = 1 ... n-1
    noise = sp.symbols("x_0 x_1", real=True)
    new, old = (mu + sigma * each for each in noise)  # the newest gradient and the one before
    kappa = 2 * sigma**4 + 4 * mu**2 * sigma**2
    skew = 2 * mu * sigma**2
    varied = delta / (1 + second) * kappa
    with_m = delta * (1 - first) / (1 - first * second) * skew
    both = first / (1 - first) + first * second / (1 - first * second)
    with_product = delta * (1 - first) * (kappa + mu * skew * both)
    # m and v cut off after two ages
    two = (1 - first) * (new + first * old), delta * (new**2 + second * old**2)
    v = sp.Symbol("v", positive=True)
    shift = sp.Rational(3, 8) * varied / power**2
    si_near = si * (1 + shift) - with_product / (2 * power * root)
    siu_near = siu * (1 + shift) - mu * with_m / (2 * power * root)
    shuffled = ((1 - first) * factor(N, b) - first / (N - 1)) * s**2
    still = {mu: 0, sigma: 1}
    return Derivation(
        "Path sums under Adam",
        (
            Step(
                "Adam moves a weight by -ηm/√v. Of all the gradients in m, with weights"
                " (1-β₁)β₁ᵏ, only the newest is that of the step; the older ones, of other batches,"
                " give μ² each. σ² is the variance of a batch's gradient.",
                sp.Eq(sp.Symbol("E ĝm"), signal),
                (
                    (1 - first) * power + older.subs(first**n, 0) - signal,
                    sum((1 - first) * first**k for k in range(4)) - (1 - first**4),
                    mu**2 * sum((1 - first) * first**k for k in range(1, 4)) - older.subs({n: 4}),
                ),
            ),
            Step(
                "v, an average of squares, has the mean μ² + σ².",
                sp.Eq(sp.Symbol("E v"), power),
                (second * power + delta * (mu**2 + sigma**2) - power,),
            ),
            Step(
                "With v at its mean: SI, and SIU with the gradient of an independent batch. The"
                " bias is the difference.",
                sp.Eq(sp.Symbol("SI"), si),
                (
                    si - siu - (1 - first) * sigma**2 / root,
                    (si / siu - 1) - (1 - first) * sigma**2 / mu**2,
                ),
            ),
            Step(
                "Where noise dominates, SI is (1-β₁)√v, the root of the second moment: a root of"
                " the empirical Fisher over the batch size, and all of it bias. Where it does not,"
                " SI is |μ|, and the batch size no longer matters.",
                sp.Eq(sp.Symbol("SI"), (1 - first) * sp.Symbol("√v")),
                (
                    sp.limit(si, mu, 0) - (1 - first) * sigma,
                    sp.limit(siu, mu, 0),
                    sp.limit(si, sigma, 0) - mu,
                ),
            ),
            Step(
                "Error of v at its mean. For normal noise the square of a gradient has the"
                " variance K = 2σ⁴ + 4μ²σ² and the covariance 2μσ² with the gradient.",
                sp.Eq(sp.Symbol("K"), kappa),
                (
                    normal(new**4, noise) - normal(new**2, noise) ** 2 - kappa,
                    normal(new**3, noise) - normal(new**2, noise) * mu - skew,
                ),
                sp.expand,
            ),
            Step(
                "With δ = 1-β₂: v has the variance δK/(1+β₂), and the covariances below with ĝm and"
                " with m: squares of ages that both know.",
                sp.Eq(sp.Symbol("Cov(ĝm, v)"), with_product),
                (
                    varied - (second**2 * varied + delta**2 * kappa),
                    # the covariance of m and v obeys a recursion of its own
                    with_m - (first * second * with_m + (1 - first) * delta * skew),
                    # the newest gradient enters with its square, an older one with two of them
                    normal(new * two[0] * two[1], noise)
                    - normal(new * two[0], noise) * normal(two[1], noise)
                    - delta * (1 - first) * (kappa + mu * skew * first * (1 + second)),
                    both
                    - first * (1 + second)
                    - first * (both - first * second / (1 - first * second))
                    - first * second * (both - first / (1 - first)),
                ),
            ),
            Step(
                "Expand 1/√v to second order: the errors are of the order δ, 0.1 % for"
                " β₂ = 0.999. Pure noise is overestimated by 5δ/8.",
                sp.Eq(sp.Symbol("SI"), sp.Symbol("SI_0") - with_product / (2 * power * root)),
                (
                    sp.diff(v ** sp.Rational(-1, 2), v).subs(v, power) + 1 / (2 * power * root),
                    sp.diff(v ** sp.Rational(-1, 2), v, 2).subs(v, power) / 2
                    - sp.Rational(3, 8) / (power**2 * root),
                    sp.limit(((si_near / si).subs(still) - 1) / delta, second, 1)
                    + sp.Rational(5, 8),
                ),
            ),
            Step(
                "Error of independent steps. Batches of one shuffled pass have no common sample:"
                " the older gradients have the covariance -s²/(N-1) with the newest, as long as m"
                " forgets within the pass. That takes the share b/((1-β₁)N) of the noise.",
                sp.Eq(sp.Symbol("E ĝm"), mu**2 + ((1 - first) * N / b - 1) * s**2 / (N - 1)),
                (
                    shuffled - ((1 - first) * N / b - 1) * s**2 / (N - 1),
                    shuffled / ((1 - first) * s**2 * N / (b * (N - 1)))
                    - (1 - b / ((1 - first) * N)),
                ),
            ),
            Step(
                "The mean square of one sample is μ² + s², that of a batch of b μ² + s²/b: √v falls"
                " as 1/√b where noise dominates, so that the ranking of weights stays.",
                sp.Eq(sigma**2, s**2 / b),
                (
                    sp.limit(si.subs(sigma, s / sp.sqrt(b)), mu, 0) - (1 - first) * s / sp.sqrt(b),
                    sp.limit(si.subs(sigma, s / sp.sqrt(b)), b, sp.oo) - mu,
                ),
            ),
        ),
        page="derivations/adam_path_integral",
        source=f"that the path sum is near a root of the Fisher, through its bias: {UNIFYING}; the"
        " expectations and their errors: derived here",
        results={
            "si": si,
            "siu": siu,
            "sib": (1 - first) * sigma**2 / root,
            "si_corrected": si_near,
            "siu_corrected": siu_near,
            "shuffled": mu**2 + ((1 - first) * N / b - 1) * s**2 / (N - 1),
        },
    )
