"""Derivations behind claims about small systems: invariants, floors, two equations."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation, Step

__all__ = [
    "loss_floors",
    "sign_flip",
    "two_equations_condition",
]


def two_equations_condition() -> Derivation:
    """Derive the mean log condition number of two Gaussian equations.

    Returns
    -------
    Derivation
        For m parameters, from the eigenvalues' joint law.

    Examples
    --------
    >>> two_equations_condition().check()
    7
    """
    m, u, S, k = sp.symbols("m u S kappa", positive=True)
    x = sp.sqrt(1 - u**2)
    high, low = S * (1 + x) / 2, S * (1 - x) / 2
    jacobian = sp.Matrix([high, low]).jacobian([S, u]).det()
    density = sp.simplify((high * low) ** ((m - 3) / 2) * (high - low) * sp.exp(-S / 2) * jacobian)
    wanted = u ** (m - 2) * S ** (m - 1) * sp.exp(-S / 2)
    log_kappa = 2 * sp.acosh(1 / u)

    def mean(count: int) -> sp.Expr:
        """Return the mean after integration by parts."""
        return 2 * sp.integrate(u ** (count - 2) / sp.sqrt(1 - u**2), (u, 0, 1))

    def closed(count: int) -> sp.Expr:
        """Return the beta function by gamma functions."""
        half = sp.Rational(1, 2)
        a = sp.Rational(count - 1, 2)
        return sp.gamma(a) * sp.gamma(half) / sp.gamma(a + half)

    ratio = wanted / density
    return Derivation(
        "Condition number of two Gaussian equations",
        (
            Step(
                "With eigenvalues of sum S and u = 2 sqrt(det)/S, their joint law is a power of u"
                " times a function of S alone: u has the density (m - 1)u^(m - 2) on (0, 1).",
                sp.Eq(sp.Symbol("f(u)"), (m - 1) * u ** (m - 2)),
                (
                    sp.simplify(sp.diff(sp.log(ratio.subs(m, 5)), u)),
                    sp.simplify(sp.diff(sp.log(ratio.subs(m, 5)), S)),
                ),
            ),
            Step(
                "The condition number follows from u alone.",
                sp.Eq(sp.log(k), log_kappa),
                (sp.simplify((high / low + low / high + 2) - 4 / u**2),),
            ),
            Step(
                "By parts, the mean is twice the integral of u^(m - 2)/sqrt(1 - u²): a beta"
                " function. For two to five parameters: pi, 2, pi/2, 4/3.",
                sp.Eq(sp.Symbol("E log kappa"), sp.Symbol("B((m - 1)/2, 1/2)")),
                tuple(mean(count) - closed(count) for count in (2, 3, 4, 5)),
            ),
        ),
        page="derivations/two_equations_condition",
        source="derived here, from the law of eigenvalues of a Wishart matrix",
        results={"mean": sp.beta((m - 1) / 2, sp.Rational(1, 2))},
    )


def sign_flip() -> Derivation:
    """Derive what becomes of a product of weights that must change its sign.

    Returns
    -------
    Derivation
        Balanced pairs in closed form; the least kernel of an unbalanced chain.

    Examples
    --------
    >>> sign_flip().check()
    9
    """
    t, c, s, y = sp.symbols("t c s y", positive=True)
    w = 1 / sp.sqrt(2 * sp.exp(2 * t) - 1)
    a, b, e = sp.symbols("a b e", real=True)
    error = a * b * e - y
    slopes = [-error * b * e, -error * a * e, -error * a * b]

    def kernel(depth: int) -> sp.Expr:
        """Return K of depth - 1 equal weights of square c + s and one of square s."""
        return (c + s) ** (depth - 1) + (depth - 1) * s * (c + s) ** (depth - 2)

    def slope(depth: int) -> sp.Expr:
        """Return the derivative of K by s, with no negative term."""
        return (depth - 1) * (c + s) ** (depth - 3) * (2 * (c + s) + (depth - 2) * s)

    return Derivation(
        "Chains that must change their sign",
        (
            Step(
                "Two equal weights towards -1 stay equal, w' = -(w² + 1)w, and from 1 go to the"
                " singular point.",
                sp.Eq(sp.Symbol("w"), w),
                (sp.simplify(sp.diff(w, t) + (w**2 + 1) * w), w.subs(t, 0) - 1),
            ),
            Step(
                "Differences of squares are conserved by gradient flow: every weight's square grows"
                " by the same. Shown for three weights.",
                sp.Eq(sp.Symbol("c"), sp.Symbol("w_i^2 - w_d^2")),
                (
                    sp.expand(a * slopes[0] - b * slopes[1]),
                    sp.expand(b * slopes[1] - e * slopes[2]),
                ),
            ),
            Step(
                "With the smallest weight's square s and the others' c + s the kernel grows with s;"
                " the product changes its sign where s = 0, and there K is least.",
                sp.Eq(sp.Symbol("least K"), c ** (sp.Symbol("d") - 1)),
                (
                    *(sp.expand(kernel(d).subs(s, 0) - c ** (d - 1)) for d in (2, 3)),
                    *(sp.simplify(sp.diff(kernel(d), s) - slope(d)) for d in (2, 3, 5)),
                ),
            ),
        ),
        page="derivations/sign_flip",
        source="derived here; the invariants: Saxe, McClelland & Ganguli (2013), arXiv:1312.6120",
        results={"balanced": w, "kernel": kernel(3)},
    )


def loss_floors() -> Derivation:
    """Derive losses that cannot be undercut, and a loss that is never reached.

    Returns
    -------
    Derivation
        Twins with different targets, bounded outputs, too few parameters, cross-entropy.

    Examples
    --------
    >>> loss_floors().check()
    8
    """
    f, y1, y2, x, m = sp.symbols("f y1 y2 x m", real=True)
    both = ((f - y1) ** 2 + (f - y2) ** 2) / 2
    A, y = sp.Matrix([[1, 0], [1, 1], [0, 2]]), sp.Matrix([1, 0, 1])
    best = (A.T * A).LUsolve(A.T * y)
    rest = A * best - y
    w = sp.Symbol("w", real=True)
    time = sp.exp(w) + w - 1
    loss = sp.log(1 + sp.exp(-w))
    L = sp.Symbol("L", positive=True)
    ratio = (1 - sp.exp(-L)) ** 2 / (2 * L)
    return Derivation(
        "Floors of the loss",
        (
            Step(
                "Two equal inputs have one output f: their losses are least together at the mean"
                " of the targets.",
                sp.Ge(L, (y1 - y2) ** 2 / 4),
                (
                    sp.diff(both, f).subs(f, (y1 + y2) / 2),
                    sp.expand(both.subs(f, (y1 + y2) / 2) - (y1 - y2) ** 2 / 4),
                ),
            ),
            Step(
                "m units between -1 and 1, with weights 1/sqrt(m), add up to less than sqrt(m).",
                sp.Lt(sp.Abs(f), sp.sqrt(m)),
                (sp.limit(sp.tanh(x), x, sp.oo) - 1, sp.diff(sp.tanh(x), x) - 1 + sp.tanh(x) ** 2),
            ),
            Step(
                "Three equations in two parameters, (1 0; 1 1; 0 2)w = (1, 0, 1), leave 1/2.",
                sp.Eq(sp.Symbol("L*"), sp.Rational(1, 2)),
                ((rest.T * rest)[0] / 2 - sp.Rational(1, 2),),
            ),
            Step(
                "Cross-entropy of one datum, L = ln(1 + e^-w), under gradient flow from w = 0:"
                " e^w + w - 1 is the time. The loss reaches 0 nowhere.",
                sp.Eq(sp.Symbol("t"), time),
                (sp.simplify(sp.diff(time, w) * -sp.diff(loss, w) - 1), time.subs(w, 0)),
            ),
            Step(
                "Half its squared gradient over the loss is a function of the loss alone, and falls"
                " with it as L/2: no mu > 0 does.",
                sp.Eq(sp.Symbol("ratio"), ratio),
                (sp.simplify(sp.diff(loss, w) ** 2 - (1 - sp.exp(-L)).subs(L, loss) ** 2),),
            ),
        ),
        page="derivations/loss_floors",
        source="derived here",
        results={"ratio": ratio},
    )
