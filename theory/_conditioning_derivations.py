"""Derivations behind the conditioning of tangent kernels."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation, Step

__all__ = ["composition_conditioning", "erf_tangent_kernel", "singular_value_certificate"]


def singular_value_certificate() -> Derivation:
    """Derive when a ball keeps its own path, by Weyl's inequality, and the widths that suffice.

    Returns
    -------
    Derivation
        The least radius, the limit of the initial error, three certifying widths.

    Examples
    --------
    >>> singular_value_certificate().check()
    9
    """
    sigma, beta, R, r, top, b, n, mu, least = sp.symbols(
        "sigma beta R r l b n mu lambda", positive=True
    )
    root = sp.sqrt(sigma**2 - 8 * beta * r)
    radius = 4 * r / (sigma + root)
    kept = R * (sigma - beta * R) / 2
    weyl = (sigma - beta * R) ** 2
    # published control: |H| = b/sqrt(m) <= (lambda - mu) / (2 l sqrt(n) R)
    root_width = 2 * top * sp.sqrt(n) * R * b / (least - mu)
    by_theorem = root_width.subs(R, 2 * top * r / mu)
    by_path = root_width.subs(R, 2 * r / sp.sqrt(mu))
    return Derivation(
        "Certificate from the least singular value",
        (
            Step(
                "Singular values move by no more than the norm of the change (Weyl), so"
                " sigma_min >= sigma - beta R on the ball of radius R about a Jacobian with least"
                " singular value sigma. The square is at least the published bound"
                " lambda_0 - 2 l beta R, as sigma <= l.",
                sp.Ge(sp.Symbol("mu(R)"), weyl),
                (
                    sp.expand(
                        weyl
                        - (sigma**2 - 2 * top * beta * R)
                        - (2 * (top - sigma) * beta * R + beta**2 * R**2)
                    ),
                ),
            ),
            Step(
                "The ball keeps the path 2r/(sigma - beta R) of descent for"
                " r <= R(sigma - beta R)/2: for some R if and only if r <= sigma²/(8 beta).",
                sp.Le(r, sigma**2 / (8 * beta)),
                (
                    sp.diff(kept, R).subs(R, sigma / (2 * beta)),
                    kept.subs(R, sigma / (2 * beta)) - sigma**2 / (8 * beta),
                ),
            ),
            Step(
                "The least such radius; it gives the largest constant and the largest step.",
                sp.Eq(R, radius),
                (sp.simplify(sp.expand((kept.subs(R, radius) - r) * (sigma + root) ** 2)),),
            ),
            Step(
                "A two-layer network of width m has beta = b/sqrt(m), with n outputs and"
                " lambda = sigma². By the published control and radius the best constant is"
                " lambda/2.",
                sp.Ge(sp.Symbol("m"), (16 * top**2 * sp.sqrt(n) * r * b / least**2) ** 2),
                (
                    sp.diff(1 / by_theorem, mu).subs(mu, least / 2),
                    by_theorem.subs(mu, least / 2) - 16 * top**2 * sp.sqrt(n) * r * b / least**2,
                ),
            ),
            Step(
                "With the path's radius in place of the published one it is lambda/3.",
                sp.Ge(sp.Symbol("m"), 108 * n * (top * r * b) ** 2 / least**3),
                (
                    sp.simplify(sp.diff(1 / by_path, mu).subs(mu, least / 3)),
                    sp.simplify(
                        by_path.subs(mu, least / 3) ** 2 - 108 * n * (top * r * b) ** 2 / least**3
                    ),
                ),
            ),
            Step(
                "By Weyl's inequality the number of outputs drops out.",
                sp.Ge(sp.Symbol("m"), (8 * r * b / least) ** 2),
                (least / (8 * b / (8 * r * b / least)) - r,),
            ),
        ),
        page="derivations/singular_value_certificate",
        source="derived here; the published control and radius: Liu, Zhu & Belkin (2022), theorems"
        " 2 and 6, arXiv:2003.00307",
        results={
            "radius": radius,
            "limit": sigma**2 / (8 * beta),
            "published width": (16 * top**2 * sp.sqrt(n) * r * b / least**2) ** 2,
            "path width": 108 * n * (top * r * b) ** 2 / least**3,
            "singular value width": (8 * r * b / least) ** 2,
        },
    )


def composition_conditioning() -> Derivation:
    """Derive what composition does to a tangent kernel and to its least eigenvalue.

    Returns
    -------
    Derivation
        For h = g o f, for an output map, and the separation of random Fourier features.

    Examples
    --------
    >>> composition_conditioning().check()
    7
    """
    G = sp.Matrix(2, 2, sp.symbols("g1:5", real=True))
    A = sp.Matrix(2, 2, sp.symbols("a1:5", real=True))
    F = sp.Matrix(2, 2, sp.symbols("f1:5", real=True))
    whole = G.row_join(A * F)
    both = whole * whole.T - (G * G.T + A * (F * F.T) * A.T)
    u, v, p, q, mu, x, z = sp.symbols("u v p q mu x z", real=True)
    moved = (p * u) ** 2 * mu + (q * v) ** 2 * (mu + x)
    floor = mu * p**2 * (u**2 + v**2)
    rest = (q * v) ** 2 * x + mu * (q**2 - p**2) * v**2
    phi = z + sp.sin(z) / 2
    n = sp.Symbol("n", integer=True, positive=True)
    d = sp.sqrt(2 * sp.log(2 * n - 2)) / n
    return Derivation(
        "Conditioning of a composed model",
        (
            Step(
                "h = g(f) with parameters in both: the Jacobian has the block of g's own parameters"
                " and that of f's, carried through J_g. The kernels add.",
                sp.Eq(
                    sp.Symbol("K_h"), sp.Symbol("K_g") + sp.Symbol("J_g") * sp.Symbol("K_f J_g^T")
                ),
                tuple(sp.expand(both[i, j]) for i in range(2) for j in range(i, 2)),
            ),
            Step(
                "A map of the outputs multiplies the Jacobian from the left by J, and K becomes"
                " J K Jᵀ: its form at a unit vector is at least mu times the least singular value"
                " of J squared, rho². Shown for diagonal J = diag(p, q), p <= q, and K.",
                sp.Ge(sp.Symbol("lambda_min"), mu * sp.Symbol("rho") ** 2),
                (sp.expand(moved - floor - rest),),
            ),
            Step(
                "For z + sin(z)/2 on every output, rho = 1/2, at z = pi.",
                sp.Eq(sp.Symbol("rho"), sp.Rational(1, 2)),
                (
                    sp.diff(phi, z).subs(z, sp.pi) - sp.Rational(1, 2),
                    sp.diff(phi, z, 2).subs(z, sp.pi),
                ),
            ),
            Step(
                "Random Fourier features with frequencies of standard deviation n see inputs a"
                " distance d apart with kernel exp(-n²d²/2); by Gershgorin the least eigenvalue is"
                " at least 1 - (n - 1) exp(-n²d²/2), which is 1/2 at this separation.",
                sp.Eq(sp.Symbol("d"), d),
                (sp.simplify(1 - (n - 1) * sp.exp(-(n**2) * d**2 / 2) - sp.Rational(1, 2)),),
            ),
        ),
        page="derivations/composition_conditioning",
        source="Liu, Zhu & Belkin (2022), theorem 3 and proposition 4, arXiv:2003.00307",
        results={"separation": d},
    )


def erf_tangent_kernel() -> Derivation:
    """Derive the tangent kernel of an infinitely wide two-layer erf network.

    Returns
    -------
    Derivation
        For Gaussian fields with covariance q11, q12, q22.

    Examples
    --------
    >>> erf_tangent_kernel().check()
    4
    """
    q11, q22, a, u = sp.symbols("q11 q22 a u", positive=True)
    q12 = sp.Symbol("q12", real=True)
    D = (1 + 2 * q11) * (1 + 2 * q22)
    value = 2 / sp.pi * sp.asin(2 * q12 / sp.sqrt(D))
    slope = 4 / sp.pi / sp.sqrt(D - 4 * q12**2)
    Q = sp.Matrix([[q11, q12], [q12, q22]])
    one = sp.integrate(
        4 / sp.pi * sp.exp(-2 * u**2) * sp.exp(-(u**2) / (2 * a)) / sp.sqrt(2 * sp.pi * a),
        (u, -sp.oo, sp.oo),
    )
    return Derivation(
        "Tangent kernel of a wide erf network",
        (
            Step(
                "The slope of erf is 2/sqrt(pi) exp(-u²): its second moment under Gaussian fields"
                " of covariance Q is 4/pi over the root of det(1 + 2Q).",
                sp.Eq(sp.Symbol("E a'a'"), slope),
                (
                    sp.expand(sp.det(sp.eye(2) + 2 * Q) - (D - 4 * q12**2)),
                    sp.simplify(one - slope.subs({q12: a, q11: a, q22: a})),
                ),
            ),
            Step(
                "By Price's theorem it is the derivative of E a a by the covariance q12, which is 0"
                " for q12 = 0 because erf is odd.",
                sp.Eq(sp.Symbol("E a a"), value),
                (
                    sp.simplify((sp.diff(value, q12) / slope) ** 2 - 1),
                    value.subs(q12, 0),
                ),
            ),
            Step(
                "The outer weights contribute E a a, the inner ones, of unit variance outside, the"
                " inputs' product q12 times E a'a'.",
                sp.Eq(sp.Symbol("Theta"), value + q12 * slope),
            ),
        ),
        page="derivations/erf_tangent_kernel",
        source="Williams (1997), Computing with infinite networks, NeurIPS 9, for E a a; Jacot,"
        " Gabriel & Hongler (2018), arXiv:1806.07572, for the tangent kernel",
        results={"kernel": value + q12 * slope, "value": value, "slope": slope},
    )
