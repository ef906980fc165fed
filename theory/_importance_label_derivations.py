"""Derivations of what the measures over a model's own labels have to do with each other."""

from __future__ import annotations

import sympy as sp

from theory._importance_noise_derivations import UNIFYING
from theory._preconditioning_derivations import numerator
from theory.derivation import Derivation, Step

__all__ = ["memory_and_absolute_fisher", "two_classes"]

ALJUNDI = "Aljundi et al. (2018), arXiv:1711.09601"


def chances(count: int) -> tuple[tuple[sp.Symbol, ...], list[sp.Expr]]:
    """Return logits and the probabilities that softmax makes of them."""
    logits = sp.symbols(f"z_1:{count + 1}", real=True)
    powers = [sp.exp(z) for z in logits]
    return logits, [power / sum(powers) for power in powers]


def total(terms: list[sp.Expr]) -> sp.Expr:
    """Return the sum."""
    return sum(terms, sp.Integer(0))


def memory_and_absolute_fisher() -> Derivation:
    """Derive that memory aware synapses and the absolute Fisher meet in confident networks.

    Returns
    -------
    Derivation
        Of one input and one parameter; label 1 is the likeliest. With softmax of three logits
        where probabilities are written out.

    Examples
    --------
    >>> memory_and_absolute_fisher().check()
    19
    """
    logits, p = chances(3)
    z = logits[0]
    slopes = [-sp.diff(sp.log(each), z) for each in p]
    terms = [each * slope for each, slope in zip(p, slopes, strict=True)]
    top, low, gap, excess = sp.symbols("p_1 p_min d e", positive=True)
    plus, minus, more, a, c = sp.symbols("P M m a c", positive=True)
    p2, p3 = sp.symbols("p_2 p_3", positive=True)
    # gradients' magnitudes under two probabilities, for the variance that Jensen leaves
    weight, u, v = sp.symbols("w u v", positive=True)
    ratio = sp.Symbol("m") / sp.Symbol("M")
    x, scale, q = sp.symbols("x sigma q", positive=True)
    bell = sp.exp(-(x**2) / (2 * scale**2)) * sp.sqrt(2 / sp.pi) / scale
    tent = sp.exp(-x / scale) / scale

    def moment(density: sp.Expr, power: int) -> sp.Expr:
        """Return the moment of a magnitude."""
        return sp.integrate(x**power * density, (x, 0, sp.oo))

    # labels 2 and 3 below the top by d and by d + e
    weights = (gap, gap + excess)
    same = 2 * (weights[0] * a + weights[1] * c)
    return Derivation(
        "Memory aware synapses and the absolute Fisher",
        (
            Step(
                "g_y is the gradient of -log p_y. Probabilities add up to one, hence Σ p_y g_y = 0:"
                " with t_y = p_y g_y and S the sum over all labels but the likeliest, p₁g₁ = -S.",
                sp.Eq(sp.Symbol("p_1 g_1"), -sp.Symbol("S")),
                (total(terms), terms[0] + terms[1] + terms[2]),
            ),
            Step(
                "The gradient of the likeliest label's squared probability is -2p₁²g₁ = 2p₁S.",
                sp.Eq(sp.Symbol("MASX"), 2 * top * sp.Abs(sp.Symbol("S"))),
                (
                    sp.diff(p[0] ** 2, z) + 2 * p[0] ** 2 * slopes[0],
                    2 * p[0] * (terms[1] + terms[2]) + 2 * p[0] ** 2 * slopes[0],
                ),
            ),
            Step(
                "The gradient of the squared norm is -2Σp_y²g_y = 2Σ(p₁-p_y)t_y over the others.",
                sp.Eq(sp.Symbol("MAS"), 2 * sp.Abs(sp.Symbol("Σ (p_1 - p_y) t_y"))),
                (
                    sp.diff(total([each**2 for each in p]), z)
                    + 2 * total([each * term for each, term in zip(p, terms, strict=True)]),
                    sp.diff(total([each**2 for each in p]), z)
                    - 2 * total([(p[0] - p[k]) * terms[k] for k in (1, 2)]),
                ),
            ),
            Step(
                "Let P be the sum of the positive t_y of the others and M that of the sizes of the"
                " negative ones. Then S = P - M, and the absolute Fisher |S| + P + M is twice the"
                " larger.",
                sp.Eq(sp.Symbol("AF"), 2 * sp.Max(plus, minus)),
                (
                    sp.Abs(more) + (minus + more) + minus - 2 * (minus + more),
                    sp.Abs(-more) + plus + (plus + more) - 2 * (plus + more),
                ),
            ),
            Step(
                "MASX is 2p₁|P - M|, so that its share of p₁ AF is one minus the ratio of the"
                " smaller to the larger: at most p₁ AF, and equal to it if and only if all the"
                " t_y of the others that are not 0 have one sign.",
                sp.Eq(sp.Symbol("MASX"), top * sp.Symbol("AF") * (1 - ratio)),
                (
                    2 * top * more - top * 2 * (minus + more) * (1 - minus / (minus + more)),
                    (2 * top * plus - top * 2 * plus * (1 - minus / plus)).subs(minus, 0),
                ),
            ),
            Step(
                "MAS is at most (p₁ - p_min) AF, the least probable label's weight being largest;"
                " with one sign it is at least (p₁ - p₂) AF, p₂ the runner-up.",
                sp.Le(sp.Symbol("MAS"), (top - low) * sp.Symbol("AF")),
                (
                    weights[1] * 2 * (a + c) - same - 2 * excess * a,
                    same - weights[0] * 2 * (a + c) - 2 * excess * c,
                    # opposite signs: the larger side alone bounds both
                    weights[1] * 2 * a
                    - 2 * (weights[0] * a - weights[1] * c)
                    - 2 * (excess * a + weights[1] * c),
                ),
            ),
            Step(
                "Without the factor, MAS and MASX differ by Σ p_y t_y over the others, so that"
                " |MAS - MASX| is at most p₂ AF: they meet as p₁ goes to one.",
                sp.Le(sp.Symbol("|MAS - MASX|"), p2 * sp.Symbol("AF")),
                (
                    2 * ((top - p2) * a + (top - p3) * c)
                    - 2 * top * (a + c)
                    + 2 * (p2 * a + p3 * c),
                    2 * p2 * (a + c) - 2 * (p2 * a + (p2 - excess) * c) - 2 * excess * c,
                ),
            ),
            Step(
                "The Fisher diagonal is the mean of g², the absolute Fisher that of |g|: the square"
                " of the second is less than the first by the variance of |g| over labels and"
                " inputs.",
                sp.Le(sp.Symbol("AF") ** 2, sp.Symbol("F")),
                (
                    weight * u**2
                    + (1 - weight) * v**2
                    - (weight * u + (1 - weight) * v) ** 2
                    - weight * (1 - weight) * (u - v) ** 2,
                ),
            ),
            Step(
                "Weights whose gradients have laws that differ in scale alone have one ratio of AF"
                " to √F: √(2/π) for normal ones, 1/√2 for Laplace's. A gradient that is 0 but for"
                " a share q of the draws has √q times that: sparsity is what sets them apart.",
                sp.Eq(sp.Symbol("AF") / sp.sqrt(sp.Symbol("F")), sp.sqrt(2 / sp.pi)),
                (
                    moment(bell, 1) / sp.sqrt(moment(bell, 2)) - sp.sqrt(2 / sp.pi),
                    moment(tent, 1) / sp.sqrt(moment(tent, 2)) - 1 / sp.sqrt(2),
                    q * u / sp.sqrt(q * u**2) - sp.sqrt(q),
                ),
            ),
        ),
        page="derivations/memory_and_absolute_fisher",
        source=f"the measure: {ALJUNDI}; that it is near the absolute Fisher, on probabilities:"
        f" {UNIFYING}; the identities and bounds: derived here",
        results={
            "absolute": 2 * sp.Max(plus, minus),
            "memory_top": 2 * top * sp.Abs(plus - minus),
            "normal_ratio": sp.sqrt(2 / sp.pi),
            "laplace_ratio": 1 / sp.sqrt(2),
            "sparse_ratio": sp.sqrt(q),
        },
    )


def two_classes() -> Derivation:
    """Derive the exact relations of the measures for two labels.

    Returns
    -------
    Derivation
        Of one input and one parameter, p the probability of the likelier label.

    Examples
    --------
    >>> two_classes().check()
    10
    """
    p, g = sp.symbols("p g", positive=True)  # g: magnitude of the likelier label's gradient
    other = p * g / (1 - p)
    absolute = p * g + (1 - p) * other
    fisher = p * g**2 + (1 - p) * other**2
    # signed gradients g and -other, under a probability above one half
    memory = 2 * (p**2 * g - (1 - p) ** 2 * other)
    top = 2 * p**2 * g
    logits, chance = chances(2)
    z = logits[0] - logits[1]
    slope = p * (1 - p)
    return Derivation(
        "Importance over two labels",
        (
            Step(
                "Σ p_y g_y = 0 leaves one gradient: (1-p)g₂ = -p g₁. Both terms of the absolute"
                " Fisher are equal.",
                sp.Eq(sp.Symbol("AF"), 2 * p * g),
                (p * g - (1 - p) * other, absolute - 2 * p * g),
                numerator,
            ),
            Step(
                "Of the likelier label's squared probability the gradient is 2p²g: p times AF.",
                sp.Eq(sp.Symbol("MASX"), p * sp.Symbol("AF")),
                (top - p * absolute,),
                numerator,
            ),
            Step(
                "Of the squared norm it is 2(p² g₁ + (1-p)² g₂): |2p - 1| AF, less than MASX by"
                " (1-p) AF.",
                sp.Eq(sp.Symbol("MAS"), (2 * p - 1) * sp.Symbol("AF")),
                (memory - (2 * p - 1) * absolute, top - memory - (1 - p) * absolute),
                numerator,
            ),
            Step(
                "The Fisher diagonal is AF²/(4p(1-p)). Over inputs of different confidence its root"
                " is not proportional to AF: the sure ones count for more in it.",
                sp.Eq(sp.Symbol("F"), sp.Symbol("AF") ** 2 / (4 * p * (1 - p))),
                (fisher - absolute**2 / (4 * p * (1 - p)), p * g**2 / (1 - p) - fisher),
                numerator,
            ),
            Step(
                "In terms of the slope of the difference of the logits, AF is 2p(1-p) and F p(1-p)"
                " times its size and its square.",
                sp.Eq(sp.Symbol("AF"), 2 * p * (1 - p) * sp.Abs(sp.Symbol("z'"))),
                (
                    sp.simplify(chance[0] - 1 / (1 + sp.exp(-z))),
                    2 * p * (1 - p) - absolute.subs(g, 1 - p),
                    slope - fisher.subs(g, 1 - p),
                ),
                sp.simplify,
            ),
        ),
        page="derivations/two_classes",
        source=f"derived here, after {UNIFYING}",
        results={
            "memory_top": p * sp.Symbol("AF"),
            "memory": (2 * p - 1) * sp.Symbol("AF"),
            "fisher": sp.Symbol("AF") ** 2 / (4 * p * (1 - p)),
        },
    )
