"""Derivations behind claims about the curvature of networks."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation, Step

__all__ = ["largest_hessian", "random_directions", "smoothness_norm"]


def random_directions() -> Derivation:
    """Derive by how much random directions underrate the worst one.

    Returns
    -------
    Derivation
        First order in the radius, for a mean over units.

    Examples
    --------
    >>> random_directions().check()
    5
    """
    theta, phi = sp.symbols("theta phi", real=True)
    R, c, m, d, p = sp.symbols("R c m d p", positive=True)
    direction = (sp.sin(theta) * sp.cos(phi), sp.sin(theta) * sp.sin(phi), sp.cos(theta))

    def average(value: sp.Expr) -> sp.Expr:
        """Return the mean over the sphere."""
        inner = sp.integrate(value * sp.sin(theta), (theta, 0, sp.pi))
        return sp.integrate(inner, (phi, 0, 2 * sp.pi)) / (4 * sp.pi)

    third = sp.Rational(1, 3)
    return Derivation(
        "Random directions against the worst",
        (
            Step(
                "The least eigenvalue is a mean over m units of functions of their own weights: its"
                " gradient is a sum of m orthogonal parts of size c/m, and along it the change in a"
                " ball of radius R is largest.",
                sp.Eq(sp.Symbol("worst"), R * c / sp.sqrt(m)),
                (sp.simplify(R * sp.sqrt(m * (c / m) ** 2) - R * c / sp.sqrt(m)),),
            ),
            Step(
                "A random direction has components of mean square 1/p, p the number of parameters,"
                " and uncorrelated; shown for p = 3.",
                sp.Eq(sp.Symbol("E u_i u_j"), sp.Symbol("delta_ij") / p),
                (
                    average(direction[0] ** 2) - third,
                    average(direction[2] ** 2) - third,
                    average(direction[0] * direction[1]),
                ),
            ),
            Step(
                "So the root mean square change is smaller by the root of p = md: it falls as 1/m.",
                sp.Eq(sp.Symbol("random"), R * c / (m * sp.sqrt(d))),
                (sp.simplify(R * c / sp.sqrt(m) / sp.sqrt(m * d) - R * c / (m * sp.sqrt(d))),),
            ),
        ),
        page="derivations/random_directions",
        source="derived here",
        results={"ratio": sp.sqrt(m * d)},
    )


def largest_hessian() -> Derivation:
    """Derive the law of the norm of a two-layer network's Hessian.

    Returns
    -------
    Derivation
        Both layers trained, from the block of one unit.

    Examples
    --------
    >>> largest_hessian().check()
    6
    """
    a, b, h, x1, x2 = sp.symbols("a b h x1 x2", positive=True)
    length = sp.sqrt(x1**2 + x2**2)
    block = sp.Matrix([[a * x1**2, a * x1 * x2, b * x1], [a * x1 * x2, a * x2**2, b * x2],
                       [b * x1, b * x2, 0]])  # fmt: skip
    norm = a / 2 + sp.sqrt(a**2 / 4 + b**2)
    z = sp.Symbol("z")
    characteristic = block.charpoly(z).as_expr()
    y = sp.Symbol("y", positive=True)
    largest = sp.integrate(1 - (1 - sp.exp(-y)) ** 3, (y, 0, sp.oo))
    return Derivation(
        "Hessian of a two-layer network",
        (
            Step(
                "Units share no weights: the Hessian of f = m^(-1/2) sum v a(w.x) is one block a"
                " unit, of rank 2, acting on x and on the outer weight; a stands for v a'' and b"
                " for a'.",
                sp.Eq(sp.Symbol("lambda^2"), a * length**2 * z + b**2 * length**2),
                (sp.expand(characteristic - z * (z**2 - a * length**2 * z - b**2 * length**2)),),
            ),
            Step(
                "With |x| = 1 the larger eigenvalue by magnitude is a/2 + sqrt(a²/4 + b²).",
                sp.Eq(h, norm),
                (sp.expand(norm**2 - a * norm - b**2),),
            ),
            Step(
                "It is below h if and only if b <= h and |v a''| <= h - b²/h: for normal v and a"
                " given field this has an error function for its probability, and F(h) is its mean"
                " over the field.",
                sp.Le(a, h - b**2 / h),
                (
                    sp.simplify(norm.subs(a, h - b**2 / h) ** 2
                                - (h - b**2 / h) * norm.subs(a, h - b**2 / h) - b**2),
                    # both sides grow with their argument
                    sp.simplify(sp.diff(norm, a) * 2 * sp.sqrt(a**2 / 4 + b**2) - norm),
                    sp.diff(h - b**2 / h, h) - 1 - b**2 / h**2,
                ),
            ),
            Step(
                "The largest of m independent ones is below h with probability F(h)^m, and its mean"
                " is the integral of 1 - F^m; for three exponential variables 1 + 1/2 + 1/3.",
                sp.Eq(sp.Symbol("E |H| sqrt(m)"), sp.Symbol("integral(1 - F^m)")),
                (sp.simplify(largest - sp.Rational(11, 6)),),
            ),
        ),
        page="derivations/largest_hessian",
        source="derived here; the power of the width: Liu, Zhu & Belkin (2022), theorem 5,"
        " arXiv:2003.00307",
        results={"norm": norm},
    )  # fmt: skip


def smoothness_norm() -> Derivation:
    """Derive which norm of several Hessians bounds the error of the linear part.

    Returns
    -------
    Derivation
        For quadratic maps, where the bound is attained.

    Examples
    --------
    >>> smoothness_norm().check()
    4
    """
    x1, x2, t = sp.symbols("x1 x2 t", real=True)
    n = sp.Symbol("n", positive=True)
    size = sp.sqrt(x1**2 + x2**2)
    d = sp.Matrix([sp.cos(t), sp.sin(t)])
    planes = (sp.Matrix([[1, 0], [0, -1]]), sp.Matrix([[0, 1], [1, 0]]))
    change = [(d.T * plane * d)[0] for plane in planes]
    return Derivation(
        "Norm of several Hessians",
        (
            Step(
                "F(v + d) - F(v) - DF(v)d has the components dᵀHᵢd/2. The length of a vector is the"
                " largest of its products with unit vectors u, so twice the error over |d|² is at"
                " most sup |Σ uᵢHᵢ|.",
                sp.Eq(sp.Symbol("beta_F"), sp.Symbol("sup|sum u_i H_i|")),
                (sp.simplify(x1 * (x1 / size) + x2 * (x2 / size) - size),),
            ),
            Step(
                "n equal Hessians of norm 1 give sqrt(n), at the u with equal entries 1/sqrt(n).",
                sp.Eq(sp.Symbol("beta_F"), sp.sqrt(n)),
                (n / sp.sqrt(n) - sp.sqrt(n),),
            ),
            Step(
                "Two reflections of a plane turned by 45 degrees give 1: the sizes of two outputs"
                " are never both largest. Every Hessian has norm 1 here and before.",
                sp.Eq(sp.Symbol("beta_F"), 1),
                (
                    sp.simplify(change[0] ** 2 + change[1] ** 2 - 1),
                    sp.simplify(change[0] - sp.cos(2 * t)),
                ),
            ),
        ),
        page="derivations/smoothness_norm",
        source="derived here; definition 2 and the proof of theorem 8 of Liu, Zhu & Belkin (2022),"
        " arXiv:2003.00307, use the two norms",
        results={"equal": sp.sqrt(n)},
    )
