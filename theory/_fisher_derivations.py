"""Derivations of natural gradient by Gram matrices, and of samples from a Laplace posterior."""

from __future__ import annotations

import sympy as sp

from theory._preconditioning_derivations import BENZING, generic, numerator
from theory.derivation import Derivation, Step

__all__ = ["fisher_gauss_newton", "gram_natural_gradient", "laplace_samples"]


def gram_natural_gradient() -> Derivation:
    """Derive natural gradient from layers' inputs and output gradients alone.

    Returns
    -------
    Derivation
        Two layers and two draws, every entry generic; more add rows to the same sums.

    Examples
    --------
    >>> gram_natural_gradient().check()
    19
    """
    lam = sp.Symbol("lambda", positive=True)
    # rows are draws: inputs and output gradients of a 2 x 2 and of a 1 x 2 layer
    A, E = (generic("a", 2, 2), generic("b", 2, 2)), (generic("e", 2, 2), generic("f", 2, 1))
    columns = sp.Matrix.hstack(
        *(
            sp.Matrix.vstack(
                *(
                    (e.row(i).T * a.row(i)).reshape(e.cols * a.cols, 1)
                    for a, e in zip(A, E, strict=True)
                )
            )
            for i in range(2)
        )
    )
    gram = sum(
        ((a * a.T).multiply_elementwise(e * e.T) for a, e in zip(A, E, strict=True)), sp.zeros(2, 2)
    )
    layers = (generic("u", 2, 2), generic("v", 1, 2))
    flat = sp.Matrix([*layers[0], *layers[1]])
    weights = sp.Matrix(sp.symbols("w_1:3", real=True))
    products = [
        sum(
            ((e.row(i) * U * a.row(i).T)[0] for a, e, U in zip(A, E, layers, strict=True)),
            sp.Integer(0),
        )
        for i in range(2)
    ]
    backward = sp.Matrix([
        entry for a, e in zip(A, E, strict=True) for entry in (e.T * sp.diag(*weights) * a)
    ])
    # Woodbury's identity for any columns: three parameters, two draws
    G, u = generic("g", 3, 2), generic("h", 3, 1)
    one = sp.eye(2)
    inner = lam * one + G.T * G
    solved = inner.det() * u - G * inner.adjugate() * G.T * u  # times lambda det
    # E of an inverse is not the inverse of E: two equally likely curvatures
    p, q = sp.symbols("p q", positive=True)
    return Derivation(
        "Natural gradient by the Gram matrix",
        (
            Step(
                "The gradient of one draw in a layer is the outer product of its output gradient"
                " e and input a. Two of them multiply as (a_i·a_j)(e_i·e_j): the Gram matrix of all"
                " draws is the sum over layers of (AAᵀ)∘(EEᵀ), entry by entry.",
                sp.Eq(sp.Symbol("GᵀG"), sp.Symbol("Σ (AAᵀ)∘(EEᵀ)")),
                tuple((columns.T * columns - gram)[i] for i in (0, 1, 3)),
                sp.expand,
            ),
            Step(
                "The products of all draws with a vector u are eᵀUa, summed over layers.",
                sp.Eq(sp.Symbol("(Gᵀu)_i"), sp.Symbol("Σ e_iᵀ U a_i")),
                tuple((columns.T * flat)[i] - products[i] for i in range(2)),
                sp.expand,
            ),
            Step(
                "A weighted sum of the draws is Eᵀ diag(w) A in every layer. The matrix G of all"
                " gradients is never formed.",
                sp.Eq(sp.Symbol("Gw"), sp.Symbol("Eᵀ diag(w) A")),
                tuple(columns * weights - backward),
                sp.expand,
            ),
            Step(
                "F = GGᵀ, the draws over the root of their number. Woodbury:"
                " (λI + GGᵀ)⁻¹u = [u - G(λI + GᵀG)⁻¹Gᵀu]/λ, as many equations as draws.",
                sp.Eq(sp.Symbol("(λI + F)⁻¹u"), sp.Symbol("[u - G(λI + GᵀG)⁻¹Gᵀu]/λ")),
                tuple((lam * sp.eye(3) + G * G.T) * solved - lam * inner.det() * u),
                sp.expand,
            ),
            Step(
                "In the other spelling, u/λ - G(I + GᵀG/λ)⁻¹Gᵀu/λ²: the matrix inside is that"
                " above, over λ.",
                None,
                tuple((one + G.T * G / lam) * lam * inner.adjugate() - inner.det() * one),
                sp.expand,
            ),
            Step(
                "The mean of an inverse exceeds the inverse of the mean: with a Fisher matrix from"
                " an independent batch the undamped step is too long on average. Shown for two"
                " equally likely curvatures.",
                sp.Ge((1 / p + 1 / q) / 2, 2 / (p + q)),
                ((1 / p + 1 / q) / 2 - 2 / (p + q) - (p - q) ** 2 / (2 * p * q * (p + q)),),
                numerator,
            ),
        ),
        page="derivations/gram_natural_gradient",
        source=f"{BENZING}, section 2 and appendix I",
        results={"gram": gram},
    )


def fisher_gauss_newton() -> Derivation:
    """Derive that the Fisher matrix of a softmax is the Gauss-Newton matrix, and a short root.

    Returns
    -------
    Derivation
        For three classes.

    Examples
    --------
    >>> fisher_gauss_newton().check()
    30
    """
    logits = sp.symbols("z_1:4", real=True)
    powers = [sp.exp(z) for z in logits]
    p = sp.Matrix(powers) / sum(powers, sp.Integer(0))
    loss = [sp.log(sum(powers, sp.Integer(0))) - z for z in logits]
    rational = dict(zip(powers, sp.symbols("x_1:4", positive=True), strict=True))
    units = [sp.Matrix([int(i == c) for i in range(3)]) for c in range(3)]
    k1, k2 = sp.symbols("p_1 p_2", positive=True)
    chances = sp.Matrix([k1, k2, 1 - k1 - k2])
    scores = [chances - unit for unit in units]
    spread = sp.diag(*chances) - chances * chances.T
    outer = sum((chances[c] * scores[c] * scores[c].T for c in range(3)), sp.zeros(3, 3))
    hessian = sp.hessian(loss[0], logits)
    k3 = 1 - k1 - k2
    corner, middle = sp.sqrt(k1 * (k2 + k3)), sp.sqrt(k2 * k3 / (k2 + k3))
    root = sp.Matrix([
        [corner, 0],
        [-corner * k2 / (k2 + k3), middle],
        [-corner * k3 / (k2 + k3), -middle],
    ])
    minor = sp.Matrix([[k1 * (1 - k1), -k1 * k2], [-k1 * k2, k2 * (1 - k2)]])
    J = generic("j", 3, 2)

    def settled(residual: sp.Expr) -> sp.Expr:
        """Return the numerator in the exponentials of the logits."""
        return numerator(residual.subs(rational))

    pulled = sum((chances[c] * J.T * scores[c] * scores[c].T * J for c in range(3)), sp.zeros(2, 2))

    noises = [sp.Matrix(pair) for pair in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
    half_squared = sum((z * z.T for z in noises), sp.zeros(2, 2)) / 4
    return Derivation(
        "The Fisher matrix of a softmax",
        (
            Step(
                "The gradient of -log p(c) in the logits is p - e_c.",
                sp.Eq(sp.Symbol("score"), sp.Symbol("p - e_c")),
                tuple(
                    sp.diff(loss[c], logits[i]) - (p - units[c])[i]
                    for c in range(3)
                    for i in range(3)
                ),
                settled,
            ),
            Step(
                "Averaged over the classes by p, the scores of one input vanish.",
                sp.Eq(sp.Symbol("Σ p_c (p - e_c)"), sp.Integer(0), evaluate=False),
                tuple(sum((p[c] * (p - units[c]) for c in range(3)), sp.zeros(3, 1))),
                settled,
            ),
            Step(
                "Their covariance is diag(p) - ppᵀ, which is the Hessian of the loss in the logits,"
                " whatever the label.",
                sp.Eq(sp.Symbol("Σ p_c (p - e_c)(p - e_c)ᵀ"), sp.Symbol("diag(p) - ppᵀ")),
                (
                    *((outer - spread)[i] for i in (0, 1, 5)),
                    *((hessian - (sp.diag(*p) - p * p.T))[i] for i in (0, 1, 5)),
                ),
                settled,
            ),
            Step(
                "Pulled back by the Jacobian of the logits, the Fisher matrix with all labels is"
                " the Gauss-Newton matrix. The same holds for half squared errors, where noise of"
                " unit covariance has the identity in the middle.",
                sp.Eq(sp.Symbol("F"), sp.Symbol("Jᵀ(diag(p) - ppᵀ)J")),
                (
                    *((pulled - J.T * spread * J)[i] for i in (0, 1, 3)),
                    *(half_squared - sp.eye(2))[:2],
                ),
                settled,
            ),
            Step(
                "C - 1 columns make it, not C: those of the Cholesky factor. With the tails"
                " q_j = p_{j+1} + ... + p_C they are L_jj = √(p_j q_j/q_{j-1}) and"
                " L_ij = -L_jj p_i/q_j below; quotients of at most one.",
                sp.Eq(sp.Symbol("LLᵀ"), sp.Symbol("diag(p) - ppᵀ")),
                tuple((root * root.T - spread)[i, j] for i in range(3) for j in range(i, 3)),
                numerator,
            ),
            Step(
                "Fewer do not: a minor of size C - 1 has the determinant p_1 ... p_C.",
                sp.Eq(sp.Symbol("minor"), k1 * k2 * (1 - k1 - k2)),
                (minor.det() - k1 * k2 * (1 - k1 - k2),),
                sp.expand,
            ),
        ),
        page="derivations/fisher_gauss_newton",
        source="standard (Martens 2020, arXiv:1412.1193); the root with C - 1 columns: Tanabe &"
        " Sagae (1992), doi:10.1111/j.2517-6161.1992.tb01875.x",
        results={"root": root},
    )


def laplace_samples() -> Derivation:
    """Derive exact samples of a Gaussian whose precision is a prior plus few gradients.

    Returns
    -------
    Derivation
        Two parameters and two gradients, every entry generic.

    Examples
    --------
    >>> laplace_samples().check()
    9
    """
    V = generic("v", 2, 2)
    U = sp.eye(2) + V.T * V
    # everything times the determinant of U: polynomials
    whole, back = U.det(), U.adjugate()
    from_y, from_z = whole * sp.eye(2) - V * back * V.T, -V * back
    covariance = from_y * from_y.T + from_z * from_z.T
    prior, D, g, a = sp.symbols("Lambda_0 D g a", positive=True)
    scaled = sp.sqrt(D / prior) * g
    return Derivation(
        "Samples of a Laplace posterior",
        (
            Step(
                "Draw y and z, standard normal numbers as many as parameters and as gradients. With"
                " U = I + VᵀV take x = y - VU⁻¹(Vᵀy + z). Its covariance is that of the two maps,"
                " (I - VU⁻¹Vᵀ)² + VU⁻²Vᵀ = I - VU⁻¹Vᵀ.",
                sp.Eq(sp.Symbol("Cov x"), sp.Symbol("I - VU⁻¹Vᵀ")),
                tuple((covariance - whole * from_y)[i, j] for i in range(2) for j in range(i, 2)),
                sp.expand,
            ),
            Step(
                "That is (I + VVᵀ)⁻¹: no other normal law has it, so the samples are exact.",
                sp.Eq(sp.Symbol("Cov x"), sp.Symbol("(I + VVᵀ)⁻¹")),
                tuple((sp.eye(2) + V * V.T) * from_y - whole * sp.eye(2)),
                sp.expand,
            ),
            Step(
                "For the precision Λ₀ + DF with F = GGᵀ take V = √D Λ₀^(-1/2) G and return"
                " Λ₀^(-1/2)x. Here for one parameter.",
                sp.Eq(sp.Symbol("Cov"), sp.Symbol("(Λ₀ + DF)⁻¹")),
                (
                    1 / prior / (1 + scaled**2) - 1 / (prior + D * g**2),
                    # squaring out the sampled map shows the cross term that makes it exact
                    (1 - a / (1 + a)) ** 2 + a / (1 + a) ** 2 - 1 / (1 + a),
                ),
            ),
        ),
        page="derivations/laplace_samples",
        source=f"{BENZING}, appendix C; the identity written out: derived here",
        results={"covariance": from_y / whole},
    )
