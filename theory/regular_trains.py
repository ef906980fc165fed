"""Why depression and facilitation settle in a regular train, in either convention."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation, Step

__all__ = ["regular_trains"]


def regular_trains() -> Derivation:
    """Derive steady utilisation and resources, and that both conventions are one model.

    Returns
    -------
    Derivation
        By the map from one spike to the next.

    Examples
    --------
    >>> regular_trains().check()
    5
    """
    U, a, b, u, x = sp.symbols("U a b u x", positive=True)
    steady_u = U / (1 - (1 - U) * a)
    steady_x = (1 - b) / (1 - (1 - u) * b)
    # used before the jump: what is left of u + U(1 - u) above U, on top of U
    jump_last = U + (u + U * (1 - u) - U) * a
    jump_first = u * a + U * (1 - u * a)
    return Derivation(
        "Steady state in a regular train",
        (
            Step(
                "u decays to 0 by the factor a = exp(-D/τ_f) in an interval, jumps by U(1 - u) and"
                " is used then.",
                sp.Eq(sp.Symbol("u'"), U + (1 - U) * a * u),
                (
                    sp.expand(jump_first - (U + (1 - U) * a * u)),
                    sp.simplify(jump_first.subs(u, steady_u) - steady_u),
                ),
            ),
            Step(
                "Used before the jump and decaying to U instead, it obeys the same map from the"
                " same start U. Decaying to U and used after the jump, it would start at U(2 - U).",
                None,
                (
                    sp.expand(jump_last - jump_first),
                    sp.expand((U + U * (1 - U)) - U * (2 - U)),
                ),
            ),
            Step(
                "A spike leaves x(1 - u), of whose distance to 1 the interval leaves b ="
                " exp(-D/τ_r).",
                sp.Eq(sp.Symbol("x"), steady_x),
                (sp.simplify(1 - (1 - x * (1 - u)) * b - x).subs(x, steady_x).simplify(),),
            ),
        ),
        page="derivations/regular_trains",
        source="Tsodyks & Markram (1997), doi:10.1073/pnas.94.2.719; Tsodyks, Pawelzik & Markram"
        " (1998), doi:10.1162/089976698300017502; the two conventions: derived here",
        results={"u": steady_u, "x": steady_x},
    )
