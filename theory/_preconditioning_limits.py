"""Derivations of what preconditioned steps become: gradients, and orthogonalised gradients."""

from __future__ import annotations

import sympy as sp

from theory._preconditioning_derivations import generic, numerator, symmetric
from theory.derivation import Derivation, Step

__all__ = ["infinite_damping", "muon_half_power"]


def infinite_damping() -> Derivation:
    """Derive how preconditioned steps approach the gradient as the damping grows.

    Returns
    -------
    Derivation
        First order in the inverse damping, or its root, for symmetric matrices.

    Examples
    --------
    >>> infinite_damping().check()
    14
    """
    x, q, s, lam, a, e, ratio = sp.symbols("x q s lambda a e pi", positive=True)
    A, one = symmetric("a", 2), sp.eye(2)
    damped = one + x * A
    scaled = damped.adjugate() / damped.det()
    root = sp.Symbol("r", positive=True)  # one over the root of the damping
    # one eigenvalue of each factor, times the damping: pi/r and 1/(pi r) are the dampings
    heuristic = 1 / ((1 + a * root / ratio) * (1 + e * ratio * root))
    standard = 1 / (1 + root**2 * a * e)
    return Derivation(
        "Infinite damping is gradient descent",
        (
            Step(
                "λ(A + λI)⁻¹ = (I + xA)⁻¹ with x = 1/λ. At x = 0 it is the identity, with slope -A:"
                " λ times the step is G - GA/λ and so on. A may be the inputs' covariance, a"
                " Kronecker product or the Fisher matrix.",
                sp.Eq(sp.Symbol("λ(A + λI)⁻¹"), sp.Symbol("I") - x * sp.Symbol("A")),
                (
                    *(scaled.subs(x, 0) - one),
                    *(scaled.diff(x).subs(x, 0) + A),
                ),
                numerator,
            ),
            Step(
                "With the power q: λ to the power q times the step, with slope -qA.",
                sp.Eq((lam / (s + lam)) ** q, (1 + x * s) ** (-q), evaluate=False),
                (
                    ((lam / (s + lam)) ** q).subs(lam, 1 / x) - (1 + x * s) ** (-q),
                    sp.diff((1 + x * s) ** (-q), x).subs(x, 0) + q * s,
                ),
            ),
            Step(
                "Standard damping deviates from the gradient by ae/λ, for eigenvalues a and e.",
                sp.Eq(sp.Symbol("λ/(ae + λ)"), standard),
                (
                    sp.diff(standard, root).subs(root, 0),
                    sp.diff(standard, root, 2).subs(root, 0) + 2 * a * e,
                ),
            ),
            Step(
                "Heuristic damping by a/λ_A + e/λ_E, of the order of one over the *root* of λ: it"
                " comes to the gradient more slowly.",
                sp.Eq(sp.Symbol("λ/((a + λ_A)(e + λ_E))"), heuristic),
                (
                    heuristic.subs(root, 0) - 1,
                    sp.diff(heuristic, root).subs(root, 0) + a / ratio + ratio * e,
                ),
            ),
        ),
        page="derivations/infinite_damping",
        results={"heuristic": heuristic, "standard": standard},
    )


def muon_half_power() -> Derivation:
    """Derive when the orthogonalised gradient is half-power descent on neurons.

    Returns
    -------
    Derivation
        Two inputs and three samples; the rotations stand for any columns that are orthonormal.

    Examples
    --------
    >>> muon_half_power().check()
    19
    """
    c = sp.Symbol("c", positive=True)
    S, one = symmetric("s", 2), sp.eye(2)
    u, v, w = sp.symbols("u v w", real=True)
    # a rational rotation of three samples; its first two rows are orthonormal
    skew = sp.Matrix([[0, -u, v], [u, 0, -w], [-v, w, 0]])
    turn = ((sp.eye(3) - skew) * (sp.eye(3) + skew).inv()).applyfunc(sp.cancel)
    Q = turn[:2, :]
    A = S * Q  # every matrix of full rank is a positive root times orthonormal rows
    back = sp.cancel(1 / S.det()) * S.adjugate()
    E = sp.sqrt(c) * sp.eye(3)  # up to a rotation of the outputs: it cancels on the left
    G = E * A.T
    polar = G * back / sp.sqrt(c)
    general = generic("g", 2, 2)
    left, right = general * general.T, general.T * general
    return Derivation(
        "Orthogonalised gradients as half-power descent on neurons",
        (
            Step(
                "G = EAᵀ. Errors of different samples that are orthogonal and of equal length,"
                " EᵀE = cI, leave the covariance of the inputs: GᵀG = A(EᵀE)Aᵀ = c AAᵀ. This needs"
                " at least as many outputs as samples.",
                sp.Eq(sp.Symbol("GᵀG"), c * sp.Symbol("AAᵀ")),
                (
                    *(G.T * G - c * A * A.T),
                    *(A * A.T - S * S),
                ),
                numerator,
            ),
            Step(
                "The polar factor, which Muon takes of its momentum, is G(GᵀG)^(-1/2): here"
                " G(AAᵀ)^(-1/2)/√c. It has orthonormal columns and gives back G when multiplied by"
                " the positive root √c (AAᵀ)^(1/2).",
                sp.Eq(sp.Symbol("polar"), sp.Symbol("G (AAᵀ)^(-1/2)") / sp.sqrt(c)),
                (
                    *(polar.T * polar - one),
                    polar.row(0).dot(sp.sqrt(c) * S.col(0)) - G[0, 0],
                    polar.row(2).dot(sp.sqrt(c) * S.col(1)) - G[2, 1],
                ),
                numerator,
            ),
            Step(
                "From the left it is the same, (GGᵀ)^(-1/2)G, since any polynomial p has"
                " p(GGᵀ)G = G p(GᵀG): orthonormal *inputs*, AᵀA = cI, make it the half power"
                " of EEᵀ instead.",
                sp.Eq(sp.Symbol("(GGᵀ)^k G"), sp.Symbol("G (GᵀG)^k")),
                (
                    *(left * general - general * right),
                    (left * left * general - general * right * right)[0],
                ),
                sp.expand,
            ),
        ),
        page="derivations/muon_half_power",
        results={"polar": polar},
    )
