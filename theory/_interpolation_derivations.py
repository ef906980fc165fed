"""Derivations of when the loss falls on the line between two networks."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation, Step

__all__ = ["gauss_length_condition", "two_layer_interpolation"]


def gauss_length_condition() -> Derivation:
    """Derive that a Gauss length of at most pi/2 keeps the squared error from rising, and no more.

    Returns
    -------
    Derivation
        For one example; half the squared distance to the end of its path.

    Examples
    --------
    >>> gauss_length_condition().check()
    10
    """
    alpha, s, t = sp.symbols("alpha s t", real=True)
    c = sp.symbols("c_1:4", real=True)
    z = sum(c[k] * alpha ** (k + 1) for k in range(3))
    velocity = z.diff(alpha)
    loss = (z - z.subs(alpha, 1)) ** 2 / 2
    slope = -sp.integrate(sp.expand(velocity.subs(alpha, s) * velocity), (s, alpha, 1))
    p, q, f, g = sp.symbols("p q f g", positive=True)
    tangents = sp.Matrix([p * sp.cos(f), p * sp.sin(f)]), sp.Matrix([q * sp.cos(g), q * sp.sin(g)])
    theta, a, b = sp.symbols("theta a b", positive=True)
    before = (t + b * sp.cos(theta)) ** 2 + (b * sp.sin(theta)) ** 2
    reach = -b * sp.cos(theta)
    rise = reach**2 / 2
    short = a * (2 * reach - a) / 2
    turned = sp.Symbol("Theta", positive=True)
    left = turned * (1 - alpha)
    arc = sp.Matrix([sp.sin(left), 1 - sp.cos(left)])
    arc_loss = sum(u**2 for u in arc) / 2
    return Derivation(
        "Gauss length and the squared error on a line of parameters",
        (
            Step(
                "The path runs to its end: z(1) - z(α) is the integral of what velocity is left."
                " The slope of half the squared distance to the end is therefore an integral of"
                " products of velocities (checked for one output and a cubic path; outputs add).",
                sp.Eq(
                    sp.Derivative(sp.Function("L")(alpha), alpha),
                    -sp.Integral(sp.Function("g")(s, alpha), (s, alpha, 1)),
                ),
                (sp.expand(loss.diff(alpha) - slope),),
                sp.expand,
            ),
            Step(
                "The product of two velocities has the sign of the cosine of their angle, which is"
                " at most the turning between them: the Gauss length is the length of the tangent's"
                " path on the sphere. Up to π/2 no product is negative: the slope is not positive.",
                sp.Eq(sp.Symbol("g"), p * q * sp.cos(f - g)),
                (tangents[0].dot(tangents[1]) - p * q * sp.cos(f - g),),
            ),
            Step(
                "A corner of angle θ is followed by an edge b. At the distance t before the corner"
                " the squared distance to the end is least at t = -b cos θ, which lies before the"
                " corner if θ > π/2.",
                sp.Eq(sp.Symbol("t"), reach),
                (
                    before.diff(t).subs(t, reach),
                    before.diff(t, 2) - 2,
                    before.subs(t, 0) - b**2,
                ),
            ),
            Step(
                "Half the squared distance rises from there to the corner: π/2 cannot be replaced"
                " by a larger number.",
                sp.Eq(sp.Symbol("rise"), rise),
                ((before.subs(t, 0) - before.subs(t, reach)) / 2 - rise,),
            ),
            Step(
                "An edge a before the corner that is shorter than this starts at the least"
                " distance; the two agree where it is as long.",
                sp.Eq(sp.Symbol("rise"), short),
                (
                    (before.subs(t, 0) - before.subs(t, a)) / 2 - short,
                    short.subs(a, reach) - rise,
                ),
            ),
            Step(
                "The condition is not necessary: on an arc of total turning Θ and radius 1 half the"
                " squared distance is 1 - cos(Θ(1 - α)), which never rises up to Θ = π, and beyond"
                " rises by 1 + cos Θ.",
                sp.Eq(sp.Symbol("L"), 1 - sp.cos(left)),
                (
                    arc_loss - (1 - sp.cos(left)),
                    2 - arc_loss.subs(alpha, 0) - (1 + sp.cos(turned)),
                ),
            ),
        ),
        page="derivations/gauss_length_condition",
        source="the condition: Lucas et al. (2021), arXiv:2104.11044; its sharpness, and the rise"
        " at a corner and on an arc: derived here",
        results={"rise": rise, "short_rise": short, "arc_rise": 1 + sp.cos(turned)},
    )


def two_layer_interpolation() -> Derivation:
    """Derive the path of two linear layers, its Gauss length, and what decides whether it rises.

    Returns
    -------
    Derivation
        For two inputs, two hidden units and two outputs where weights occur.

    Examples
    --------
    >>> two_layer_interpolation().check()
    12
    """
    alpha = sp.Symbol("alpha", real=True)

    def entries(name: str) -> sp.Matrix:
        """Return a 2 x 2 matrix of symbols."""
        return sp.Matrix(2, 2, sp.symbols(f"{name}_1:5", real=True))

    v1, v2, w1, w2 = (entries(name) for name in ("a", "b", "c", "d"))
    x = sp.Matrix(sp.symbols("x_1:3", real=True))
    path = ((1 - alpha) * v2 + alpha * w2) * ((1 - alpha) * v1 + alpha * w1) * x
    terms = v2 * v1 * x, (v2 * (w1 - v1) + (w2 - v2) * v1) * x, (w2 - v2) * (w1 - v1) * x
    claimed = terms[0] + alpha * terms[1] + alpha**2 * terms[2]
    start, u, v = (sp.Matrix(sp.symbols(f"{name}_1:3", real=True)) for name in "zuv")
    z = start + alpha * u + alpha**2 * v
    velocity = z.diff(alpha)
    cross = u[0] * v[1] - u[1] * v[0]
    angle = sp.atan(2 * alpha * cross / (u.dot(u) + 2 * alpha * u.dot(v)))
    left = z.subs(alpha, 1) - z
    midway = velocity.subs(alpha, (1 + alpha) / 2)
    loss = left.dot(left) / 2
    q0, q1, q2 = (u + v).dot(u + v), 2 * (u + v).dot(v), v.dot(v)
    judged = (q1 / 2 - q0) + (q2 - 3 * q1 / 2) * alpha - 2 * q2 * alpha**2
    y = sp.Matrix(sp.symbols("y_1:3", real=True))
    away = start - y
    moved, width = entries("m"), sp.Symbol("h", positive=True)
    root = sp.sqrt(width)
    bent = (moved * v1.T / root) * (v2.T * moved / root) * x / root
    quartic = [
        away.dot(away) / 2,
        away.dot(u),
        u.dot(u) / 2 + away.dot(v),
        u.dot(v),
        v.dot(v) / 2,
    ]
    whole = (z - y).dot(z - y) / 2
    last = u + 2 * v
    return Derivation(
        "Two linear layers on a line of parameters",
        (
            Step(
                "Both layers are linear in α, so that the output is quadratic.",
                sp.Eq(
                    sp.Symbol("z(alpha)"),
                    sp.Symbol("z_0") + alpha * sp.Symbol("z_1") + alpha**2 * sp.Symbol("z_2"),
                ),
                tuple(sp.expand(path - claimed)),
                sp.expand,
            ),
            Step(
                "Its velocity u + 2αv runs along a straight line and stays in the plane of u and v,"
                " where it turns one way: the Gauss length is the angle between u and u + 2v.",
                sp.Eq(sp.Symbol("phi(alpha)"), angle),
                (
                    angle.diff(alpha) - 2 * cross / velocity.dot(velocity),
                    sp.expand(
                        (u[0] * last[1] - u[1] * last[0]) ** 2
                        - (u.dot(u) * last.dot(last) - u.dot(last) ** 2)
                    ),
                ),
            ),
            Step(
                "The way left to the end is (1 - α) times the velocity midway. Measured from z(1),"
                " the loss of an example falls where the velocity at α and that at (1 + α)/2 are"
                " less than a right angle apart.",
                sp.Eq(
                    sp.Derivative(sp.Function("L")(alpha), alpha),
                    -(1 - alpha) * sp.Function("g")(alpha, (1 + alpha) / 2),
                ),
                (
                    *(left - (1 - alpha) * midway),
                    sp.expand(loss.diff(alpha) + (1 - alpha) * midway.dot(velocity)),
                ),
                sp.expand,
            ),
            Step(
                "What is left of the slope is a concave quadratic: it is summed over examples, and"
                " its maximum on [0, 1] decides. It ends at -|z'(1)|².",
                sp.Eq(sp.Symbol("R"), sp.Symbol("r_0") + sp.Symbol("r_1") * alpha - 2 * alpha**2),
                (
                    sp.expand(judged + midway.dot(velocity)),
                    sp.expand(judged.subs(alpha, 1) + last.dot(last)),
                ),
                sp.expand,
            ),
            Step(
                "Measured from targets, the loss is a quartic whose three critical points decide.",
                sp.Eq(sp.Symbol("L"), sum(sp.Symbol(f"l_{k}") * alpha**k for k in range(5))),
                (sp.expand(whole - sum(quartic[k] * alpha**k for k in range(5))),),
                sp.expand,
            ),
            Step(
                "Wide layers: with the output divided by the root of the width h, gradient descent"
                " from V₁, V₂ moves them, to first order, by V₂ᵀM/√h and MV₁ᵀ/√h, M the input"
                " times what error is left, summed over the steps. What bends the path is then"
                " 1/h times MFᵀM, F = V₂V₁/√h the map at the start, beside a velocity that does"
                " not depend on h: the Gauss length falls as 1/h.",
                sp.Eq(sp.Symbol("z_2"), sp.Symbol("M F^T M x") / width),
                tuple(sp.expand(bent - moved * (v2 * v1 / root).T * moved * x / width)),
                sp.expand,
            ),
        ),
        page="derivations/two_layer_interpolation",
        source="derived here",
        results={"angle": angle, "judged": judged, **{f"l_{k}": q for k, q in enumerate(quartic)}},
    )
