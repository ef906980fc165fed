"""Derivations behind the rate and the radii of descent under PL*."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation, Step

__all__ = ["path_length_radius", "pl_linear_rate", "product_model_certificate"]


def pl_linear_rate() -> Derivation:
    """Derive the PL* constant from the tangent kernel, and the loss factor of a descent step.

    Returns
    -------
    Derivation
        With the error at the start alone in the step size.

    Examples
    --------
    >>> pl_linear_rate().check()
    6
    """
    J = sp.Matrix(2, 3, sp.symbols("j11 j12 j13 j21 j22 j23", real=True))
    r = sp.Matrix(sp.symbols("r1 r2", real=True))
    low, extra, c1, c2 = sp.symbols("mu delta c1 c2", positive=True)
    L, g, s, eta, mu, slack = sp.symbols("L g s eta mu x", positive=True)
    theta, top = sp.symbols("theta Lambda", positive=True)
    gradient = J.T * r
    along = L - s * g**2 + s**2 * g**2 / (2 * eta)
    quadratic = mu * theta**2 / 2
    moved = quadratic.subs(theta, theta - eta * mu * theta)
    return Derivation(
        "Loss factor of descent under PL*",
        (
            Step(
                "With L = |r|²/2 the squared gradient is a quadratic form of the tangent kernel"
                " K = J Jᵀ.",
                sp.Eq(sp.Symbol("|grad L|^2"), sp.Symbol("r^T K r")),
                (sp.expand((gradient.T * gradient)[0] - (r.T * (J * J.T) * r)[0]),),
            ),
            Step(
                "In the eigenbasis of K with least eigenvalue mu, it is at least mu |r|² = 2 mu L.",
                sp.Ge(sp.Symbol("|grad L|^2") / 2, mu * L),
                (low * c1**2 + (low + extra) * c2**2 - (low * (c1**2 + c2**2) + extra * c2**2),),
            ),
            Step(
                "The Hessian of L is JᵀJ + sum r_i H_i, of norm at most lipschitz² + smoothness |r|"
                " = 1/eta as long as |r| is no larger than at the start. Along a step s <= eta the"
                " loss then falls by s|grad L|²/2 and the rest is not positive. So the loss stays"
                " below that of the start, and with it |r|: the condition renews itself, and the"
                " error elsewhere in the ball does not matter.",
                sp.Le(sp.Symbol("L(s)"), L - s * g**2 / 2),
                (along - (L - s * g**2 / 2 - s * (1 - s / eta) * g**2 / 2),),
            ),
            Step(
                "A full step, with |grad L|² = 2 mu L + x, x >= 0.",
                sp.Le(sp.Symbol("L(eta)"), (1 - eta * mu) * L),
                (
                    (along.subs(s, eta) - (1 - eta * mu) * L + eta * slack / 2).subs(
                        g, sp.sqrt(2 * mu * L + slack)
                    ),
                ),
            ),
            Step(
                "On a parabola of curvature mu the factor is the square of that: the bound is half"
                " the true rate on a logarithmic scale when eta mu is small. With eta = 1/Lambda it"
                " is (1 - mu/Lambda)².",
                sp.Eq(sp.Symbol("L(eta)") / L, (1 - eta * mu) ** 2),
                (
                    moved / quadratic - (1 - eta * mu) ** 2,
                    (1 - eta * mu - (1 - eta * mu) ** 2 - eta * mu * (1 - eta * mu)).subs(
                        eta, 1 / top
                    ),
                ),
            ),
        ),
        page="derivations/pl_linear_rate",
        source="Liu, Zhu & Belkin (2022), theorems 1 and 6, arXiv:2003.00307; the renewal of the"
        " condition: derived here",
        results={"factor": 1 - eta * mu, "parabola": (1 - eta * mu) ** 2},
    )


def path_length_radius() -> Derivation:
    """Derive how far flow and descent can travel, from the square root of the loss.

    Returns
    -------
    Derivation
        Both radii, and their ratio to the published one.

    Examples
    --------
    >>> path_length_radius().check()
    7
    """
    t = sp.Symbol("t", positive=True)
    a, b, g, s, mu, r, top, L0 = sp.symbols("a b g s mu r l L0", positive=True)
    loss = sp.Function("L", positive=True)(t)
    slope = sp.diff(sp.sqrt(loss), t).subs(sp.diff(loss, t), -(g**2))
    flow = sp.sqrt(2 * L0 / mu)
    descent = 4 / sp.sqrt(2 * mu) * sp.sqrt(L0)
    published = 2 * top * r / mu
    return Derivation(
        "Length of the path of descent",
        (
            Step(
                "Along gradient flow the loss falls at the rate g², g = |grad L|, so its square"
                " root falls by g/(2 sqrt L) a unit of length: at least sqrt(mu/2) as g² >= 2 mu L."
                " It cannot fall below 0.",
                sp.Le(sp.Symbol("length"), flow),
                (
                    slope / g + g / (2 * sp.sqrt(loss)),
                    (g / (2 * a)).subs(g, sp.sqrt(2 * mu) * a) - sp.sqrt(mu / 2),
                    sp.sqrt(L0) / sp.sqrt(mu / 2) - flow,
                ),
            ),
            Step(
                "A descent step takes the loss from a² to b² <= a² - s g²/2 (see the loss factor),"
                " so the root falls by at least s g²/(2(a + b)), which is at least s g²/(4a).",
                sp.Ge(a - b, s * g**2 / (4 * a)),
                (
                    (a**2 - b**2) / (a + b) - (a - b),
                    s * g**2 / (2 * (a + b))
                    - s * g**2 / (4 * a)
                    - s * g**2 * (a - b) / (4 * a * (a + b)),
                ),
            ),
            Step(
                "With g >= sqrt(2 mu) a that is at least sqrt(2 mu)/4 of the length s g. Summed,"
                " for every part of every step: the path cannot leave a ball of this radius, so"
                " bounds that hold in the ball are all that is needed.",
                sp.Le(sp.Symbol("length"), 2 * sp.sqrt(2 * L0 / mu)),
                ((descent - 2 * flow).subs(L0, r**2 / 2),),
            ),
            Step(
                "The published radius is larger by lipschitz / sqrt(mu), the root of the condition"
                " number of a linear model.",
                sp.Eq(sp.Symbol("ratio"), top / sp.sqrt(mu)),
                (published / (2 * r / sp.sqrt(mu)) - top / sp.sqrt(mu),),
            ),
        ),
        page="derivations/path_length_radius",
        source="derived here; the published radius: Liu, Zhu & Belkin (2022), arXiv:2003.00307",
        results={"flow": r / sp.sqrt(mu), "descent": 2 * r / sp.sqrt(mu), "published": published},
    )


def product_model_certificate() -> Derivation:
    """Derive what is certified for f = w1 w2, and what the flow really does.

    Returns
    -------
    Derivation
        Limits of the initial error by three radii; the invariant; where the loss is not convex.

    Examples
    --------
    >>> product_model_certificate().check()
    11
    """
    v, w, y, N, R, x = sp.symbols("w1 w2 y N R x", positive=True)
    q = v * w
    J = sp.Matrix([[sp.diff(q, v), sp.diff(q, w)]])
    hessian_f = sp.hessian(q, (v, w))
    loss = (q - y) ** 2 / 2
    descent = R * (N - R) / 2
    theorem = x * (1 - x) ** 2 / (1 + x)
    best = (sp.sqrt(17) - 3) / 4
    limit = (71 - 17 * sp.sqrt(17)) / 16
    flow_v, flow_w = -sp.diff(loss, v), -sp.diff(loss, w)
    c = sp.Symbol("c", real=True)
    end = (c + sp.sqrt(c**2 + 4 * y**2)) / 2
    return Derivation(
        "The product model",
        (
            Step(
                "The tangent kernel is |w|², singular at 0 only; the Hessian of the output is"
                " constant with eigenvalues -1 and 1, so at distance R the Jacobian is at least"
                " N - R and at most N + R, N = |w0|.",
                sp.Eq(sp.Symbol("K"), v**2 + w**2),
                (
                    (J * J.T)[0] - (v**2 + w**2),
                    sp.det(hessian_f) + 1,
                    sp.trace(hessian_f),
                ),
            ),
            Step(
                "The ball of radius R = 2|r0|/(N - R) keeps the path of descent for"
                " |r0| <= R(N - R)/2, largest at R = N/2; half the radius suffices for flow.",
                sp.Le(sp.Symbol("|r0|"), N**2 / 8),
                (
                    sp.diff(descent, R).subs(R, N / 2),
                    descent.subs(R, N / 2) - N**2 / 8,
                    2 * descent.subs(R, N / 2) - N**2 / 4,
                ),
            ),
            Step(
                "The published radius asks for R(N - R)² >= 2(N + R)|r0|. With x = R/N the most is"
                " reached at x = (sqrt 17 - 3)/4.",
                sp.Le(sp.Symbol("|r0|"), limit * N**2),
                (
                    sp.radsimp(sp.diff(theorem, x).subs(x, best)),
                    sp.radsimp(theorem.subs(x, best) / 2 - limit),
                ),
            ),
            Step(
                "Gradient flow conserves w1² - w2² = c, which gives its end point on w1 w2 = y.",
                sp.Eq(v**2, end),
                (
                    2 * v * flow_v - 2 * w * flow_w,
                    sp.expand(end**2 - c * end - y**2),
                ),
            ),
            Step(
                "The Hessian of the loss has a negative determinant just beyond any solution:"
                " the loss is not convex near any, although the Hessian of the output has rank 2.",
                sp.Eq(sp.Symbol("det H"), (3 * q - y) * (y - q)),
                (sp.expand(sp.det(sp.hessian(loss, (v, w))) - (3 * q - y) * (y - q)),),
            ),
        ),
        page="derivations/product_model_certificate",
        source="derived here; the published radius: Liu, Zhu & Belkin (2022), arXiv:2003.00307",
        results={
            "theorem": limit * N**2,
            "descent": N**2 / 8,
            "flow": N**2 / 4,
            "end": sp.sqrt(end),
        },
    )
