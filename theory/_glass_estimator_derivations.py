"""Derivations of what gradients tell of glass: along a line, and in several parameters."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from theory.derivation import Derivation, Step

__all__ = ["boundary_geometry", "three_gradient_estimators"]


def three_gradient_estimators() -> Derivation:
    """Derive the estimators of curvature and glass density from increments, and their errors.

    Returns
    -------
    Derivation
        For increments of any law with the given cumulants; the normal law has the fourth 0.

    Examples
    --------
    >>> three_gradient_estimators().check()
    21
    """
    h, low, mid, high = sp.symbols("h g_- g_0 g_+", real=True)
    rho, sigma, v, left, right = sp.symbols("rho sigma v t_- t_+", positive=True)
    kappa, w = sp.symbols("kappa w", real=True)
    N = sp.Symbol("N", integer=True, positive=True)
    curvature = (high - low) / (2 * sigma)
    density = 2 * ((high + low) / 2 - mid) ** 2 / sigma
    first, second = mid - low, high - mid
    mean = (first + second) / 2
    noise = sp.symbols("z_1:4", real=True)

    def expect(expression: sp.Expr, spread: sp.Expr, fourth: sp.Expr) -> sp.Expr:
        """Return the mean over independent numbers of given variance and fourth cumulant."""
        moments = (1, 0, spread, sp.Symbol("mu_3"), fourth + 3 * spread**2)
        total = sp.Integer(0)
        for powers, factor in sp.Poly(sp.expand(expression), *noise).terms():
            total += factor * sp.prod([moments[power] for power in powers])
        return sp.expand(total)

    def variance_of(parts: Sequence[sp.Expr]) -> sp.Expr:
        """Return the unbiased sample variance."""
        centre = sum(parts) / sp.Integer(len(parts))
        return sum((part - centre) ** 2 for part in parts) / sp.Integer(len(parts) - 1)

    def residual_of(count: int) -> sp.Expr:
        """Return what the rule for the variance of a sample variance misses."""
        sample = variance_of(noise[:count])
        found = expect(sample**2, v, kappa) - expect(sample, v, kappa) ** 2
        return sp.expand(found - kappa / count - 2 * v**2 / (count - 1))

    drawn = {
        low: -h * sigma - noise[0],
        mid: sp.Integer(0),
        high: h * sigma + noise[1],
    }
    measured, glass = curvature.subs(drawn), density.subs(drawn)
    rules = (rho * sigma, kappa * sigma)  # cumulants of an increment over sigma
    spread = expect(glass**2, *rules) - expect(glass, *rules) ** 2
    lever = right / (left + right)
    signal = lever**2 * left + (1 - lever) ** 2 * right
    at = sp.Symbol("x", real=True)
    met = ((at, 0, sigma),)  # a boundary at x is as likely as one at -x
    jumped = 2 * sp.integrate((v / 2) ** 2, *met)
    bent = 2 * sp.integrate((v * (sigma - at) / 2) ** 2, *met)
    folded = sp.sqrt(2 * v / sp.pi) * sp.exp(-(h**2) / (2 * v)) + h * sp.erf(h / sp.sqrt(2 * v))
    return Derivation(
        "Curvature and glass density from three gradients",
        (
            Step(
                "The increments g_0 - g_-, g_+ - g_0 are independent with mean hσ and variance ρσ."
                " The estimates are their sample mean and unbiased sample variance, over σ.",
                sp.Eq(sp.Symbol("rho_hat"), density),
                (
                    curvature - mean / sigma,
                    sp.expand(density - ((first - mean) ** 2 + (second - mean) ** 2) / sigma),
                ),
            ),
            Step(
                "Both are unbiased. Mean and sample variance are complete and sufficient for normal"
                " increments: no unbiased estimates have less variance.",
                None,
                (expect(measured, *rules) - h, expect(glass, *rules) - rho),
            ),
            Step(
                "Glass leaks into the curvature: Var(h_hat) = ρ/(2σ). Its square, less the estimate"
                " of that, is unbiased. The two estimates correlate by the third moment alone.",
                sp.Eq(sp.Symbol("E h_hat^2"), h**2 + rho / (2 * sigma)),
                (
                    expect(measured**2, *rules) - h**2 - rho / (2 * sigma),
                    expect(measured**2 - glass / (2 * sigma), *rules) - h**2,
                    sp.expand(expect(measured * glass, *rules) - h * rho).subs("mu_3", 0),
                ),
            ),
            Step(
                "The mean size of a normal number of mean h grows with h as the chance of its sign,"
                " erf(h/√(2v)), from √(2v/π); with v = ρ/(2σ) that is √(ρ/(πσ)).",
                sp.Eq(sp.Symbol("E|h_hat|"), folded),
                (
                    sp.diff(folded, h) - sp.erf(h / sp.sqrt(2 * v)),
                    folded.subs(h, 0).subs(v, rho / (2 * sigma)) - sp.sqrt(rho / (sp.pi * sigma)),
                ),
            ),
            Step(
                "The sample variance of N increments of variance v and fourth cumulant κ has the"
                " variance κ/N + 2v²/(N - 1), as textbooks write with the fourth moment; here by"
                " enumeration of moments for N = 2 and 3.",
                sp.Eq(sp.Symbol("Var s^2"), kappa / N + 2 * v**2 / (N - 1)),
                (
                    residual_of(2),
                    residual_of(3),
                    (kappa + 3 * v**2) / N
                    - v**2 * (N - 3) / (N * (N - 1))
                    - kappa / N
                    - 2 * v**2 / (N - 1),
                ),
            ),
            Step(
                "Three gradients: 2ρ² and, for few jumps, λ⟨J⁴⟩/(2σ). n over a length l: the first"
                " falls as 2ρ²/(n - 2), the second stays at λ⟨J⁴⟩/l.",
                sp.Eq(sp.Symbol("Var rho_hat"), 2 * rho**2 + kappa / (2 * sigma)),
                (
                    spread - 2 * rho**2 - kappa / (2 * sigma),
                    # N = n - 1 increments of spacing l / N, cumulants rho and kappa times it
                    ((kappa * sigma / N) / N + 2 * (rho * sigma / N) ** 2 / (N - 1))
                    / (sigma / N) ** 2
                    - kappa / sigma
                    - 2 * rho**2 / (N - 1),
                ),
            ),
            Step(
                "Weights on places -t_-, 0, t_+ that give 0 on every constant and linear gradient"
                " are unique up to a factor; ends symmetric: (1/2, -1, 1/2).",
                sp.Eq(w, lever),
                (
                    lever - 1 + left / (left + right),
                    -lever * left + (1 - lever) * right,
                    lever.subs(right, left) - sp.Rational(1, 2),
                ),
            ),
            Step(
                "What glass leaves of them, ρ t_- t_+/(t_- + t_+), grows with either distance: the"
                " best places are the ends of the range, where it is ρσ/2.",
                sp.Eq(sp.Symbol("E T^2"), rho * left * right / (left + right)),
                (
                    signal - left * right / (left + right),
                    signal.subs({left: sigma, right: sigma}) - sigma / 2,
                ),
            ),
            Step(
                "T² of a boundary between the ends, averaged over its place: a jump v gives v²/4"
                " wherever it is, a kink that adds v to the slope (v(σ - |x|)/2)². Times the"
                " chance of meeting one the powers of σ are 1 and 3; a smooth gradient has"
                " T = g''σ²/2 and the power 4.",
                sp.Eq(sp.Symbol("E T^2"), v**2 * sigma**3 / 6),
                (jumped - v**2 * sigma / 2, sp.expand(bent) - v**2 * sigma**3 / 6),
            ),
        ),
        page="derivations/three_gradient_estimators",
        results={
            "curvature": curvature,
            "density": density,
            "density_variance": 2 * rho**2 + kappa / (2 * sigma),
        },
    )


def boundary_geometry() -> Derivation:
    """Derive effective Hessian and directional glass density of random boundaries.

    Returns
    -------
    Derivation
        For one family, in two parameters where coordinates are needed; families add.

    Examples
    --------
    >>> boundary_geometry().check()
    13
    """
    a, n1, n2, x = sp.symbols("a n_1 n_2 x", real=True)
    lam, t = sp.symbols("lambda t", positive=True)
    n = sp.Matrix([n1, n2])
    small, extra = sp.symbols("n_small n_extra", positive=True)
    p, q, r = sp.symbols("p q r", nonnegative=True)
    count = lam * sp.Abs(x) * t
    jump = sp.sign(x) * a * n
    drawn = (sp.Abs(n1 + n2) + sp.Abs(n1 - n2)) / 2
    two = {n1: small + extra, n2: small}
    terms = (p, q, r)
    pairs = (p - q) ** 2 + (p - r) ** 2 + (q - r) ** 2
    return Derivation(
        "Glass of boundaries in several parameters",
        (
            Step(
                "A loss that is continuous across a boundary cannot change its slope along it:"
                " the gradient jumps by a n, along the normal.",
                sp.Eq(sp.Symbol("jump"), a * n1),
                (sp.expand((a * n).dot(sp.Matrix([-n2, n1]))),),
            ),
            Step(
                "A move by tu changes n·θ by tx, x = n·u, and crosses a Poisson number of"
                " boundaries of mean λ|x|t, upward or downward. The mean change of the gradient is"
                " that of the Hessian λ a n nᵀ.",
                sp.Eq(sp.Symbol("H"), lam * a * n1 * n2),
                tuple(sp.expand(count * jump - lam * a * n * x * t)),
            ),
            Step(
                "The variance is the number times the squared jump: along u it grows by λa²|n·u|³"
                " a unit of length, for parameter i by λ a² n_i² |n·u|.",
                sp.Eq(sp.Symbol("rho(u)"), lam * a**2 * sp.Abs(x) ** 3),
                (
                    count / t * (sp.sign(x) * a * x) ** 2 - lam * a**2 * sp.Abs(x) ** 3,
                    count / t * jump[0] ** 2 - lam * a**2 * n1**2 * sp.Abs(x) * sp.sign(x) ** 2,
                ),
            ),
            Step(
                "All parameters moved by random signs, |n·z| is on average at least every |n_i|,"
                " by Jensen's inequality, and at most the sum of them: own-coordinate value,"
                " measured value and row sum are in this order. In two parameters it is the larger"
                " of the two.",
                sp.Eq(sp.Symbol("E|n.z|"), drawn),
                (
                    drawn.subs(two) - (small + extra),
                    drawn.subs({n1: small, n2: -small - extra}) - (small + extra),
                    (two[n1] + two[n2]) - drawn.subs(two) - small,
                ),
            ),
            Step(
                "With glass of its own for every parameter, x_i² = ρ_i|d_i|³, the variances add."
                " The sum of the roots exceeds the root of the sum by mixed terms, and by no more"
                " than √n.",
                sp.Le(sp.sqrt(p**2 + q**2 + r**2), p + q + r),
                (
                    sp.expand(sum(terms) ** 2 - sum(e**2 for e in terms))
                    - 2 * (p * q + p * r + q * r),
                    sp.expand(3 * sum(e**2 for e in terms) - sum(terms) ** 2 - pairs),
                ),
            ),
            Step(
                "A boundary across which all n parameters move alike has the variance n³ against"
                " n of independent glass, so that the mean size is √n times the sum of the roots:"
                " that sum is no bound. More than n² is not possible (power means; here n = 2).",
                sp.Le((p + q) ** 3, 4 * (p**3 + q**3)),
                (
                    *(
                        sp.ones(size, 1).dot(sp.ones(size, 1)) ** 3 - size**2 * size
                        for size in (2, 3)
                    ),
                    sp.expand(4 * (p**3 + q**3) - (p + q) ** 3 - 3 * (p + q) * (p - q) ** 2),
                ),
            ),
        ),
        page="derivations/boundary_geometry",
        results={
            "hessian": lam * a * n1 * n2,
            "density": lam * a**2 * sp.Abs(x) ** 3,
            "rademacher": lam * a**2 * n1**2 * drawn,
        },
    )
