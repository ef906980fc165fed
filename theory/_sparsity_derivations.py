"""Derivation of the critical points of the ratio of the 1-norm to the 2-norm."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation, Step

__all__ = ["ratio_norm_critical_points"]


def ratio_norm_critical_points() -> Derivation:
    """Derive that critical points are ternary, their inertia, and what descent conserves.

    Returns
    -------
    Derivation
        In magnitudes: f depends on them alone. Three or four weights where they are written out,
        any number k of nonzeros where it is a symbol.

    Examples
    --------
    >>> ratio_norm_critical_points().check()
    21
    """
    w = sp.symbols("w_1:4", positive=True)
    square, total = sp.symbols("N_2 N_1", positive=True)
    one, two = sum(w), sp.sqrt(sum(v**2 for v in w))
    ratio = one / two
    slopes = [sp.diff(ratio, v) for v in w]
    threshold = two**2 / one
    c, k, e, rate = sp.symbols("c k epsilon eta", positive=True)
    entry = 1 / (c**2 * k ** sp.Rational(3, 2))
    hessians = []
    for count in (2, 3, 4):
        v = sp.symbols(f"w_1:{count + 1}", positive=True)
        at = dict.fromkeys(v, c)
        curved = sp.hessian(sum(v) / sp.sqrt(sum(u**2 for u in v)), v).subs(at)
        own, other = ((value * entry).subs(k, count) for value in (1 - k, 1))
        hessians += [curved[0, 0] - own, curved[0, 1] - other]
    along = (1 - k) * entry + (k - 1) * entry
    across = (1 - k) * entry - entry
    kink = (k * c + e) / sp.sqrt(k * c**2 + e**2)
    steepness = sum(g**2 for g in slopes)
    stepped = sum((v - rate * g) ** 2 for v, g in zip(w, slopes, strict=True))
    n, t, start = sp.symbols("n t N_0", positive=True)
    grown = start**4 + 2 * rate**2 * (n - 1) * t
    # velocities of magnitudes under descent, and the gap of two of them
    velocity = [-g for g in slopes]
    gap = velocity[0] - velocity[1] - (w[0] - w[1]) / (two * threshold)
    return Derivation(
        "Critical points of the ratio of norms",
        (
            Step(
                "The slope along a nonzero magnitude vanishes where it equals the threshold"
                " c = N₂²/N₁, N₁ and N₂ the norms: all nonzero magnitudes are equal.",
                sp.Eq(sp.Symbol("f_i"), 1 / square - sp.Symbol("w_i") * total / square**3),
                (
                    *(g - (1 / two - v * one / two**3) for g, v in zip(slopes, w, strict=True)),
                    slopes[0] - (threshold - w[0]) * one / two**3,
                ),
            ),
            Step(
                "With k nonzero entries of magnitude c the threshold is c, and f is the root of"
                " their number.",
                sp.Eq(sp.Symbol("f"), sp.sqrt(k)),
                (k * c**2 / (k * c) - c, k * c / sp.sqrt(k * c**2) - sp.sqrt(k)),
            ),
            Step(
                "The Hessian on them is (ssᵀ − kI)/(c² k^(3/2)), s their signs: two weights enter"
                " symmetrically, so that it has one value on the diagonal and one beside it"
                " (checked for k = 2, 3, 4).",
                sp.Eq(sp.Symbol("f_ii"), (1 - k) * entry),
                tuple(hessians),
            ),
            Step(
                "Its eigenvalue along s is 0, as f does not depend on scale; orthogonally to s, in"
                " k − 1 dimensions, it is −1/(c²√k), for every k: within their support ternary"
                " points are maxima.",
                sp.Eq(sp.Symbol("lambda"), -1 / (c**2 * sp.sqrt(k))),
                (along, across + 1 / (c**2 * sp.sqrt(k))),
            ),
            Step(
                "A zero entry moved by ε raises f to both sides, at the slope 1/N₂. With two"
                " nonzeros and a zero or more, f falls in some directions and rises in others: a"
                " saddle. One nonzero has f = 1, the least; with no zero f is the largest, √n.",
                sp.Eq(sp.Symbol("f_+"), 1 / (c * sp.sqrt(k))),
                (kink.diff(e).subs(e, 0) - 1 / (c * sp.sqrt(k)),),
            ),
            Step(
                "The gradient is orthogonal to w: a flow conserves N₂.",
                sp.Eq(sp.Symbol("w·∇f"), 0),
                (sum(g * v for g, v in zip(slopes, w, strict=True)),),
            ),
            Step(
                "Its squared length is (k − f²)/N₂² for k nonzeros, so that a step adds that, times"
                " the squared rate, to the squared norm. Once weights but one jitter about 0, k = n"
                " and f is near 1: after t steps N₂⁴ has grown by 2η²(n − 1)t.",
                sp.Eq(sp.Symbol("|∇f|²"), (k - sp.Symbol("f") ** 2) / square**2),
                (
                    steepness - (3 - ratio**2) / two**2,
                    stepped - two**2 - rate**2 * (3 - ratio**2) / two**2,
                    sp.diff(sp.sqrt(grown), t) - rate**2 * (n - 1) / sp.sqrt(grown),
                ),
            ),
            Step(
                "Under the flow the gap of two magnitudes grows at the rate 1/(cN₂). The threshold"
                " is at least the mean nonzero magnitude, since N₁² ≤ kN₂², so that the least one"
                " always shrinks: a single largest magnitude is left.",
                sp.Eq(sp.Symbol("(w_1 - w_2)'"), (w[0] - w[1]) * total / square**3),
                (gap, 3 * two**2 - one**2 - sum((a - b) ** 2 for a, b in _pairs(w))),
            ),
        ),
        page="derivations/ratio_norm_critical_points",
        source="ternary critical points and their value: Aytekin, Cricri & Aksu (2019),"
        " arXiv:1905.01044; the rest: derived here",
        results={
            "value": sp.sqrt(k),
            "eigenvalue": -1 / (c**2 * sp.sqrt(k)),
            "kink_slope": 1 / (c * sp.sqrt(k)),
            "norm": grown ** sp.Rational(1, 4),
        },
    )


def _pairs(values: tuple[sp.Symbol, ...]) -> list[tuple[sp.Symbol, sp.Symbol]]:
    """Return all unordered pairs."""
    return [(a, b) for i, a in enumerate(values) for b in values[i + 1 :]]
