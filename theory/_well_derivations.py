"""Derivations behind the wells of the rugged bowl: where they begin, and how high they are."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation, Step

__all__ = ["stationary_thresholds", "washboard_barrier"]


def stationary_thresholds() -> Derivation:
    """Derive from which ruggedness on the bowl has one more well.

    Returns
    -------
    Derivation
        For u + r sin(u + phase) = 0, and the one-point convexity that the same points decide.

    Examples
    --------
    >>> stationary_thresholds().check()
    8
    """
    u, v, r, q = sp.symbols("u v r q", positive=True)
    root = sp.sqrt(r**2 - 1)
    turn = sp.acos(-1 / r)
    level = v + r * sp.sin(v)
    sinc = sp.sin(u) / u
    folded = -1 / sp.cos(u)
    return Derivation(
        "Where wells begin",
        (
            Step(
                "In v = u + phase a stationary point solves v + r sin v = phase. The left side"
                " turns at arccos(-1/r) and at its images; there it is π + q - arctan q away from"
                " a multiple of 2π, with q = √(r² - 1).",
                sp.Eq(sp.Symbol("H"), turn + root),
                (
                    sp.diff(level, v).subs(v, turn),
                    (level - v).subs(v, turn) - root,
                    # arccos(-1/r) is π - arctan q: same cosine, and both in [0, π]
                    sp.cos(sp.pi - sp.atan(root)) - sp.cos(turn),
                ),
            ),
            Step(
                "Each rising piece reaches the phase once or not: a minimum for every n with"
                " |phase - 2πn| < H, which grows with r, so that wells are only added.",
                sp.Eq(sp.Symbol("H'"), root / r),
                (sp.diff(turn + root, r) - root / r,),
            ),
            Step(
                "With phase 0 a pair begins where tan u = u and r cos u = -1, hence r² = 1 + u²:"
                " the point is stationary and its curvature 0.",
                sp.Eq(sp.Symbol("r_j"), sp.sqrt(1 + u**2)),
                (
                    (u + folded * sp.sin(u)) - (u - sp.tan(u)),
                    1 + folded * sp.cos(u),
                    sp.simplify(folded**2 - 1 - sp.tan(u) ** 2),
                ),
            ),
            Step(
                "sin u / u is stationary where tan u = u as well, with the value cos u = -1/r_j:"
                " u l'(u) ≥ (1 - r/r_1) u².",
                sp.Eq(sp.Symbol("c"), 1 - r / sp.Symbol("r_1")),
                (sp.diff(sinc, u) - (sp.cos(u) - sinc) / u,),
            ),
        ),
        page="derivations/stationary_thresholds",
        source="derived here",
        results={"half_width": turn + root, "excess": q - sp.atan(q)},
    )


def washboard_barrier() -> Derivation:
    """Derive barrier and curvature of a cosine on a slope.

    Returns
    -------
    Derivation
        For W = -cos y + g y, with the tilt g = cos θ in units of the steepest slope.

    Examples
    --------
    >>> washboard_barrier().check()
    6
    """
    y, theta = sp.symbols("y theta", positive=True)
    g = sp.cos(theta)
    W = -sp.cos(y) + g * y
    bottom, top = theta - sp.pi / 2, -theta - sp.pi / 2
    barrier = 2 * (sp.sin(theta) - theta * sp.cos(theta))
    bessel = sp.sin(theta) / theta**2 - sp.cos(theta) / theta
    return Derivation(
        "The barrier of a tilted cosine",
        (
            Step(
                "W is stationary where sin y = -g: at the minimum θ - π/2, and downhill of it at"
                " the maximum -θ - π/2.",
                None,
                (sp.diff(W, y).subs(y, bottom), sp.diff(W, y).subs(y, top)),
            ),
            Step(
                "Both have curvatures of the same size, √(1 - g²).",
                sp.Eq(sp.Symbol("kappa"), sp.sin(theta)),
                (
                    sp.diff(W, y, 2).subs(y, bottom) - sp.sin(theta),
                    sp.diff(W, y, 2).subs(y, top) + sp.sin(theta),
                ),
            ),
            Step(
                "The barrier downhill is 2(sin θ - θ cos θ), that is 2θ² times the spherical"
                " Bessel function j_1(θ), which does not cancel near the steepest slope.",
                sp.Eq(sp.Symbol("Delta"), barrier),
                (W.subs(y, top) - W.subs(y, bottom) - barrier, barrier - 2 * theta**2 * bessel),
            ),
        ),
        page="derivations/washboard_barrier",
        source="derived here",
        results={"barrier": barrier, "curvature": sp.sin(theta)},
    )
