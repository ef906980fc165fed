"""Derivations of the loss change that glass makes, of the best step and of look-ahead gradients."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation, Step

__all__ = ["glass_loss_change", "lookahead_exactness", "optimal_glass_step"]


def glass_loss_change() -> Derivation:
    """Derive moments and mean size of the loss change that random gradient jumps make.

    Returns
    -------
    Derivation
        Along one coordinate, for independent jumps of mean zero at a constant rate.

    Examples
    --------
    >>> glass_loss_change().check()
    16
    """
    lam, s, d, V, q = sp.symbols("lambda s d V q", positive=True)
    x, y, z = sp.symbols("x y z", real=True)
    rho, kappa, kurtosis = sp.symbols("rho kappa_4 k", positive=True)
    variance = 2 * sp.integrate(sp.integrate(rho * y, (y, 0, x)), (x, 0, d))
    along = sp.integrate(rho * x, (x, 0, d))
    closed = lam * (sp.sin(q * s * d) / (q * s) - d)
    powers = sp.series(closed, q, 0, 6).removeO()
    half_normal = 2 * sp.integrate(
        z * sp.exp(-(z**2) / (2 * V)) / sp.sqrt(2 * sp.pi * V), (z, 0, sp.oo)
    )
    c = sp.sqrt(2 / (3 * sp.pi))
    size = c * sp.sqrt(rho) * d ** sp.Rational(3, 2)
    bell = sp.exp(-V * q**2 / 2)
    excess = sp.cos(x) - 1 + x**2 / 2
    shortfall = 2 / sp.pi * sp.integrate(q**2 * bell, (q, 0, sp.oo)) * kappa / 24
    return Derivation(
        "Loss change by glass",
        (
            Step(
                "W(t) is a sum of independent jumps of mean zero: Cov(W(x), W(y)) = ρ min(x, y)"
                " on one side. The loss change I is its integral; twice the integral over y < x.",
                sp.Eq(sp.Symbol("Var I"), rho * d**3 / 3),
                (variance - rho * d**3 / 3,),
            ),
            Step(
                "Its covariance with the last W is the integral of ρx, the correlation √3/2.",
                sp.Eq(sp.Symbol("Cov"), rho * d**2 / 2),
                (
                    along - rho * d**2 / 2,
                    sp.simplify(along / sp.sqrt(variance * rho * d)) - sp.sqrt(3) / 2,
                ),
            ),
            Step(
                "A jump J at x adds J(d - x). With jumps of ±s the logarithm of the characteristic"
                " function is the integral of λ(cos(qs(d - x)) - 1), even in q.",
                sp.Eq(sp.Symbol("log phi"), closed),
                (sp.diff(closed, d) - lam * (sp.cos(q * s * d) - 1), closed.subs(d, 0)),
            ),
            Step(
                "Its powers of q are the cumulants: the n-th is λ⟨J^n⟩ d^(n+1)/(n+1).",
                sp.Eq(sp.Symbol("kappa_4"), lam * s**4 * d**5 / 5),
                (
                    sp.expand(powers.coeff(q, 2) + lam * s**2 * d**3 / 3 / 2),
                    sp.expand(powers.coeff(q, 4) - lam * s**4 * d**5 / 5 / 24),
                ),
            ),
            Step(
                "Many jumps make I normal; the mean size of a normal number of variance V is"
                " √(2V/π).",
                sp.Eq(sp.Symbol("E|I|"), size),
                (
                    half_normal - sp.sqrt(2 * V / sp.pi),
                    sp.sqrt(2 * variance / sp.pi) - size,
                    sp.sqrt(variance) / size - sp.sqrt(sp.pi / 2),
                ),
            ),
            Step(
                "At any number of jumps ⟨|I|⟩ is 2/π times the integral of (1 - Re φ)/q²; for the"
                " normal law, by parts, the same √(2V/π).",
                sp.Eq(sp.Symbol("E|I|"), sp.sqrt(2 * V / sp.pi)),
                (
                    sp.diff(1 - bell, q) - V * q * bell,
                    2 / sp.pi * sp.integrate(V * bell, (q, 0, sp.oo)) - sp.sqrt(2 * V / sp.pi),
                ),
            ),
            Step(
                "cos x - 1 + x²/2 is 0 with its slope at 0 and convex, so never negative: for any"
                " symmetric jumps φ is at least the normal law's, and ⟨|I|⟩ at most its limit,"
                " which is √(2/π) of Jensen's bound √V.",
                excess >= 0,
                (
                    excess.subs(x, 0),
                    sp.diff(excess, x).subs(x, 0),
                    sp.diff(excess, x, 2) - 2 * sp.sin(x / 2) ** 2,
                ),
            ),
            Step(
                "The first correction for finitely many is that of the fourth cumulant: with"
                " m = λd crossings and jumps of kurtosis k, a share 3k/(40m) is missing.",
                sp.Eq(sp.Symbol("missing"), 3 * kurtosis / (40 * lam * d)),
                (
                    (shortfall / sp.sqrt(2 * V / sp.pi)).subs({
                        kappa: lam * kurtosis * s**4 * d**5 / 5,
                        V: lam * s**2 * d**3 / 3,
                    })
                    - 3 * kurtosis / (40 * lam * d),
                ),
            ),
        ),
        page="derivations/glass_loss_change",
        results={
            "half_normal": c,
            "variance": rho * d**3 / 3,
            "covariance": rho * d**2 / 2,
            "fourth_cumulant": lam * s**4 * d**5 / 5,
            "size": size,
        },
    )


def optimal_glass_step() -> Derivation:
    """Derive the step that minimises gradient, curvature and glass together.

    Returns
    -------
    Derivation
        For one parameter and a gradient of size g, the step taken downhill.

    Examples
    --------
    >>> optimal_glass_step().check()
    10
    """
    g, b, S, rho, y = sp.symbols("g b S rho y", positive=True)
    h = sp.Symbol("h", real=True)
    c = sp.sqrt(2 / (3 * sp.pi))
    d = sp.Symbol("d", positive=True)
    model = -g * d + h * d**2 / 2 + c * sp.sqrt(rho) * d ** sp.Rational(3, 2)
    slope = sp.diff(model, d)
    # S stands for the root of b^2 + 4hg: with h in its terms everything is rational
    root = 2 * g / (b + S)
    bend = {h: (S**2 - b**2) / (4 * g)}
    glass = sp.Rational(3, 2) * c * sp.sqrt(rho)
    alpha = b**2 / (2 * g)
    K = sp.Rational(9, 8) * c**2
    change = (-g * d + h * d**2 / 2).subs(d, y**2) + 2 * b / 3 * y**3
    optimum = alpha + h + b * S / (2 * g)
    return Derivation(
        "The optimal step through glass",
        (
            Step(
                "At d = y² the slope of the model is quadratic in y, with b = (3/2) c √ρ.",
                sp.Eq(h * y**2 + b * y, g),
                (sp.expand(slope.subs(d, y**2) - (-g + h * y**2 + 3 * c * sp.sqrt(rho) * y / 2)),),
            ),
            Step(
                "Its smaller positive root, in a form without cancellation, with S² = b² + 4hg.",
                sp.Eq(y, root),
                ((h * root**2 + b * root - g).subs(bend),),
            ),
            Step(
                "b² = 2Kρ with K = 9c²/8 = 3/(4π), so α = Kρ/g = b²/(2g). The step is g over"
                " h_opt = α + h + √(α(α + 2h)), whose root is bS/(2g).",
                sp.Eq(sp.Symbol("h_opt"), optimum),
                (
                    K - 3 / (4 * sp.pi),
                    glass**2 - 2 * K * rho,
                    ((b * S / (2 * g)) ** 2 - alpha * (alpha + 2 * h)).subs(bend),
                    (g / root**2 - optimum).subs(bend),
                ),
            ),
            Step(
                "The second derivative there is S/(2y): a minimum as long as b² + 4hg > 0, that is"
                " α + 2h > 0, also for negative h.",
                sp.Eq(sp.Symbol("L''"), S / (2 * y)),
                ((h + b / (2 * root) - S / (2 * root)).subs(bend),),
            ),
            Step(
                "Without glass it is Newton's step; without curvature y = g/b, which is 2πg²/(3ρ).",
                sp.Eq(d, 2 * sp.pi * g**2 / (3 * rho)),
                (
                    (root**2 - g / h).subs(bend).subs(b, 0),
                    (g / glass) ** 2 - 2 * sp.pi * g**2 / (3 * rho),
                ),
            ),
            Step(
                "Put back, the slope's equation removes the glass term from the change.",
                sp.Eq(sp.Symbol("Delta L"), -d * (2 * g + h * d) / 6),
                ((change + y**2 * (2 * g + h * y**2) / 6).subs(y, root).subs(bend),),
            ),
        ),
        page="derivations/optimal_glass_step",
        source="announced by Duersch et al. (2024), arXiv:2411.16914; derived here",
        results={
            "step_constant": K,
            "step": -((2 * g / (glass + sp.sqrt(glass**2 + 4 * h * g))) ** 2),
            "change": -d * (2 * g + h * d) / 6,
        },
    )


def lookahead_exactness() -> Derivation:
    """Derive when an averaged look-ahead gradient stays the gradient at the parameters.

    Returns
    -------
    Derivation
        On any quadratic loss, for any steps.

    Examples
    --------
    >>> lookahead_exactness().check()
    9
    """
    beta, omega, phi = sp.symbols("beta omega phi", real=True)
    a11, a12, a22 = sp.symbols("a_11 a_12 a_22", real=True)
    A = sp.Matrix([[a11, a12], [a12, a22]])
    offset, mu, d, error = (
        sp.Matrix(sp.symbols(f"{name}_1:3", real=True)) for name in ("b", "mu", "d", "e")
    )
    # letters that do not commute stand for matrix and vectors of any dimension
    L, B, M, D, E = sp.symbols("A b mu d e", commutative=False)
    gap = (1 - beta) * omega - phi

    def left_over(matrix: sp.Expr, b: sp.Expr, at: sp.Expr, move: sp.Expr, off: sp.Expr) -> sp.Expr:
        """Return the averaged gradient after a step, less the gradient there."""
        averaged = beta * (matrix * at - b + off) + (1 - beta) * (matrix * (at + omega * move) - b)
        return averaged - (matrix * (at + phi * move) - b)

    plane = left_over(A, offset, mu, d, error)
    law = beta * error + gap * A * d
    any_size = left_over(L, B, M, D, E)
    exact = {phi: omega * (1 - beta)}
    alone = plane.subs(dict(zip(error, (0, 0), strict=True)))
    steady = gap / (1 - beta) * A * d
    return Derivation(
        "Exactness of a look-ahead gradient",
        (
            Step(
                "Let G = ∇L(μ) + e with ∇L(μ) = Aμ - b. The gradient at μ + ωd enters G with weight"
                " 1 - β and μ moves by φd; the error becomes βe + ((1-β)ω - φ)Ad.",
                sp.Eq(sp.Symbol("e'"), beta * sp.Symbol("e") + gap * sp.Symbol("Ad")),
                tuple(sp.expand(plane - law)),
            ),
            Step(
                "Nothing there needs two dimensions: A acts linearly, and so do the vectors.",
                None,
                (sp.expand(any_size - beta * E - gap * L * D),),
                sp.expand,
            ),
            Step(
                "With φ = ω(1 - β) an exact G stays exact whatever d, and an inexact one forgets"
                " its error by β a step.",
                sp.Eq(phi, omega * (1 - beta)),
                tuple(sp.expand((plane - beta * error).subs(exact))),
            ),
            Step(
                "Conversely e = e' = 0 asks for ((1-β)ω - φ)Ad = 0: any other φ fails at every"
                " step that A does not annihilate.",
                sp.Eq(sp.Symbol("e'"), gap * sp.Symbol("Ad")),
                tuple(sp.expand(alone - gap * A * d)),
            ),
            Step(
                "Steps that do not change leave the error ((1-β)ω - φ)Ad/(1-β).",
                None,
                tuple(sp.simplify(beta * steady + gap * A * d - steady)),
            ),
        ),
        page="derivations/lookahead_exactness",
        source="announced by Duersch et al. (2024), arXiv:2411.16914; derived here",
        results={"move": omega * (1 - beta), "gap": gap},
    )
