"""Derivations of Kronecker-factored curvature: its damping, its spellings, where it is exact."""

from __future__ import annotations

import sympy as sp

from theory._preconditioning_derivations import BENZING, generic, numerator, symmetric
from theory.derivation import Derivation, Step

__all__ = ["kronecker_damping", "kronecker_gauss_newton"]


def rotation(t: sp.Expr) -> sp.Matrix:
    """Return a rotation of the plane, rational in the tangent of half its angle."""
    return sp.Matrix([[1 - t**2, -2 * t], [2 * t, 1 - t**2]]) / (1 + t**2)


def eigen_step(
    left: sp.Matrix, values: sp.Matrix, right: sp.Matrix, gradient: sp.Matrix
) -> sp.Matrix:
    """Return the gradient in two bases, over the values entry by entry, and back."""
    inside = (left.T * gradient * right).multiply_elementwise(values.applyfunc(lambda d: 1 / d))
    return left * inside * right.T


def kronecker_damping() -> Derivation:
    """Derive what heuristic damping adds to standard damping, and how each is inverted.

    Returns
    -------
    Derivation
        For factors of size two; matrices are flattened row by row, so that E comes first.

    Examples
    --------
    >>> kronecker_damping().check()
    34
    """
    lam, mean_a, mean_e, x = sp.symbols("lambda a e x", positive=True)
    A, E, G = symmetric("a", 2), symmetric("e", 2), generic("g", 2, 2)
    damp_a, damp_e = sp.symbols("lambda_A lambda_E", positive=True)
    one = sp.eye(2)
    heuristic = sp.kronecker_product(E + damp_e * one, A + damp_a * one)
    crossed = damp_e * sp.kronecker_product(one, A) + damp_a * sp.kronecker_product(E, one)
    added = heuristic - sp.kronecker_product(E, A) - damp_a * damp_e * sp.eye(4) - crossed
    best = sp.sqrt(lam * mean_a / mean_e)
    cost = lam / x * mean_a + x * mean_e
    U = (E + damp_e * one).adjugate() * G * (A + damp_a * one).adjugate()
    # the step X in the bases; the gradient there is X times the damped spectrum, entry by entry
    t = sp.symbols("t", real=True)
    values_a, values_e = sp.symbols("p_1:3", positive=True), sp.symbols("q_1:3", positive=True)
    inside = generic("x", 2, 2)
    spectra = sp.Matrix(2, 2, lambda i, j: values_e[i] * values_a[j] + lam)
    scaled = inside.multiply_elementwise(spectra)
    of_a, of_e = rotation(sp.Rational(1, 2)), rotation(sp.Rational(1, 3))
    turned_a = of_a * sp.diag(*values_a) * of_a.T

    def equation(left: sp.Matrix) -> sp.Matrix:
        """Return what a step with that left basis leaves of EΔWA + λΔW = G."""
        factor, move = left * sp.diag(*values_e) * left.T, left * inside * of_a.T
        return factor * move * turned_a + lam * move - left * scaled * of_a.T

    # eigenvalues 3 and 1 with vectors (1, 1) and (-1, 1); no structure in the inputs; damping 1
    basis, grid = sp.Matrix([[1, -1], [1, 1]]) / sp.sqrt(2), sp.Matrix([[4, 4], [2, 2]])
    at = sp.Matrix([[1, 0], [0, 0]])
    right = eigen_step(basis, grid, one, at)
    wrong = eigen_step(basis.T, grid, one, at)
    other_sign = basis * sp.diag(1, -1)
    factor = basis * sp.diag(3, 1) * basis.T
    return Derivation(
        "Damping of Kronecker-factored curvature",
        (
            Step(
                "Heuristic damping inverts (A + λ_A I) and (E + λ_E I) separately. Their Kronecker"
                " product has the damping λ_A λ_E and two cross terms more than A and E have.",
                sp.Eq(sp.Symbol("H"), sp.Symbol("E⊗A + λ_E I⊗A + λ_A E⊗I + λ_A λ_E I")),
                tuple(added[i, j] for i in range(4) for j in range(i, 4)),
                sp.expand,
            ),
            Step(
                "It is applied as (E + λ_E I)⁻¹G(A + λ_A I)⁻¹, here multiplied out with adjugates.",
                None,
                tuple(
                    (E + damp_e * one) * U * (A + damp_a * one)
                    - (E + damp_e * one).det() * (A + damp_a * one).det() * G
                )[:2],
                sp.expand,
            ),
            Step(
                "Among all splits with λ_A λ_E = λ the trace of the cross terms is least where"
                " λ_A/λ_E is the ratio of the mean eigenvalues a and e of A and E.",
                sp.Eq(damp_a, best),
                (
                    sp.diff(cost, x).subs(x, best),
                    best * sp.sqrt(lam * mean_e / mean_a) - lam,
                    best / sp.sqrt(lam * mean_e / mean_a) - mean_a / mean_e,
                ),
            ),
            Step(
                "Both cross terms have the mean eigenvalue √(λae) then, the geometric mean of λ and"
                " of what is damped: as long as λ is below ae they outweigh λ itself.",
                sp.Eq(sp.Symbol("cross terms"), 2 * sp.sqrt(lam * mean_a * mean_e)),
                (
                    cost.subs(x, best) - 2 * sp.sqrt(lam * mean_a * mean_e),
                    (mean_a + best) * (mean_e + lam / best)
                    - (sp.sqrt(mean_a * mean_e) + sp.sqrt(lam)) ** 2,
                ),
            ),
            Step(
                "Standard damping inverts E⊗A + λI: in the eigenbases A = U_A S_A U_Aᵀ and"
                " E = U_E S_E U_Eᵀ, entry by entry. ΔW = U_E[(U_Eᵀ G U_A)/(s_E s_Aᵀ + λ)]U_Aᵀ"
                " solves EΔWA + λΔW = G, as the bases are orthogonal; multiplied out for two"
                " rotations.",
                sp.Eq(sp.Symbol("EΔWA + λΔW"), sp.Symbol("G")),
                (
                    *(rotation(t).T * rotation(t) - one)[:2],
                    *equation(of_e),
                ),
                numerator,
            ),
            Step(
                "With the left basis transposed, U_Eᵀ[(U_E G U_A)/(s_E s_Aᵀ + λ)]U_Aᵀ, as in the"
                " public program, it is the inverse for another factor, U_Eᵀ S_E U_E. That is"
                " positive, with E's eigenvalues, so that the step descends; its eigenvectors mean"
                " nothing.",
                sp.Eq(sp.Symbol("E'ΔWA + λΔW"), sp.Symbol("G")),
                tuple(equation(of_e.T)),
                sp.expand,
            ),
            Step(
                "E = ((2, 1), (1, 2)), A = I, λ = 1, G = ((1, 0), (0, 0)): ΔW is (3/8, -1/8) in"
                " the first column, and (3/8, 1/8) with the transposed basis, the opposite sign.",
                sp.Eq(sp.Symbol("ΔW"), right, evaluate=False),
                (
                    *(factor - sp.Matrix([[2, 1], [1, 2]]))[:2],
                    *(right - sp.Matrix([[3, 0], [-1, 0]]) / 8)[::2],
                    *(wrong - sp.Matrix([[3, 0], [1, 0]]) / 8)[::2],
                ),
            ),
            Step(
                "An eigenvector may be turned round: then the transposed basis is right here. What"
                " the public program does depends on signs that its solver leaves open.",
                None,
                ((eigen_step(other_sign.T, grid, one, at) - right)[2],),
            ),
        ),
        page="derivations/kronecker_damping",
        source=f"both dampings: Martens & Grosse (2015), arXiv:1503.05671, and {BENZING}; the size"
        " of the cross terms and the transposed basis: derived here",
        results={"split": best, "counterexample": right, "transposed": wrong},
    )


def kronecker_gauss_newton() -> Derivation:
    """Derive where a Kronecker product of factors is a block of the Gauss-Newton matrix.

    Returns
    -------
    Derivation
        The middle layer of a deep linear network of width two, with two samples.

    Examples
    --------
    >>> kronecker_gauss_newton().check()
    26
    """
    first, W, last = generic("u", 2, 2), generic("w", 2, 2), generic("v", 2, 2)
    samples = [sp.Matrix(sp.symbols(f"x{i}_1:3", real=True)) for i in (1, 2)]
    half = sp.Rational(1, 2)
    inputs = [first * x for x in samples]
    jacobians = [(last * W * a).jacobian(list(W)) for a in inputs]
    newton = half * sum((J.T * J for J in jacobians), sp.zeros(4, 4))
    over_inputs = half * sum((a * a.T for a in inputs), sp.zeros(2, 2))
    over_outputs = last.T * last
    # four pairs of noises ±1: mean zero, covariance the identity
    signs = [sp.Matrix(pair) for pair in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
    drawn = sum((last.T * z * z.T * last for z in signs), sp.zeros(2, 2)) / 4
    A = [symmetric(f"a{i}", 2) for i in (1, 2)]
    E = [symmetric(f"e{i}", 2) for i in (1, 2)]
    mean = half * sum((sp.kronecker_product(E[i], A[i]) for i in (0, 1)), sp.zeros(4, 4))
    product = sp.kronecker_product(half * (E[0] + E[1]), half * (A[0] + A[1]))
    gap = sp.kronecker_product(E[0] - E[1], A[0] - A[1]) / 4
    missed = mean - product - gap
    one_datum = sp.kronecker_product(E[0], A[0])
    return Derivation(
        "Where K-FAC is the Gauss-Newton block",
        (
            Step(
                "The outputs of a deep linear network move with layer W by V dW a: a is the layer's"
                " input, V the product of the later layers. Flattened row by row the Jacobian is"
                " V⊗aᵀ.",
                sp.Eq(sp.Symbol("J"), sp.Symbol("V⊗aᵀ")),
                tuple(jacobians[0] - sp.kronecker_product(last, inputs[0].T)),
                sp.expand,
            ),
            Step(
                "V is the same for all samples, so the mean of JᵀJ, the Gauss-Newton block for half"
                " the squared error, is the Kronecker product of VᵀV and the mean of aaᵀ.",
                sp.Eq(sp.Symbol("block"), sp.Symbol("VᵀV⊗A")),
                tuple(
                    (newton - sp.kronecker_product(over_outputs, over_inputs))[i, j]
                    for i in range(4)
                    for j in range(i, 4)
                ),
                sp.expand,
            ),
            Step(
                "VᵀV is K-FAC's output factor: targets drawn from the model, with noise z of unit"
                " covariance, have the output gradients Vᵀz.",
                sp.Eq(sp.Symbol("E"), sp.Symbol("VᵀV")),
                tuple(drawn - over_outputs)[:2],
                sp.expand,
            ),
            Step(
                "Otherwise E and A belong together sample by sample. The mean of their products"
                " less the product of their means is their covariance; for two samples it is"
                " (E_1 - E_2)⊗(A_1 - A_2)/4, 0 for a single datum.",
                sp.Eq(sp.Symbol("gap"), sp.Symbol("(E_1 - E_2)⊗(A_1 - A_2)/4")),
                (
                    *(missed[0, j] for j in range(4)),
                    missed[1, 2],
                    (mean.subs(dict(zip((*A[1], *E[1]), (*A[0], *E[0]), strict=True))) - one_datum)[
                        0
                    ],
                ),
                sp.expand,
            ),
        ),
        page="derivations/kronecker_gauss_newton",
        source="deep linear networks: Bernacchia et al. (2018); Martens & Grosse (2015),"
        " arXiv:1503.05671; the gap for two samples: derived here",
        results={"gap": sp.Matrix(gap)},
    )
