"""The Riccati equation of the lambda-balanced two-layer network."""

from __future__ import annotations

import sympy as sp

from deeplinear.derivations._symbols import (
    entries,
    layer_gradient,
    map_of,
    network,
    network_loss,
    target,
    time,
)
from theory.derivation import Derivation, Step

__all__ = ["riccati_balanced"]

_SOURCE = (
    "Fukumizu (1998); Braun et al. (2022), NeurIPS (lambda = 0);"
    " Domine et al. (2024), arXiv:2409.14623 (lambda != 0); general imbalance derived here"
)


def _flow() -> tuple[list[sp.Expr], list[sp.Expr]]:
    """Return defects of dQ/dt for any imbalance and of the Gram equation at C = lambda I."""
    W_1, W_2 = network((2, 2, 2))
    goal, lam = entries("t", 2, 2), sp.Symbol("lambda", real=True)
    loss = network_loss([W_1, W_2], goal)
    eye, zero = sp.eye(2), sp.zeros(2, 2)
    Q = sp.Matrix.vstack(W_1.T, W_2)
    dQ = sp.Matrix.vstack(-layer_gradient(loss, W_1).T, -layer_gradient(loss, W_2))
    F_0 = sp.Matrix(sp.BlockMatrix([[zero, goal.T], [goal, zero]]))
    sign = sp.diag(eye, -eye)
    C = W_2.T * W_2 - W_1 * W_1.T
    general = dQ - (F_0 * Q - Q * Q.T * Q / 2 - sign * Q * C / 2)

    F = sp.Matrix(sp.BlockMatrix([[-lam / 2 * eye, goal.T], [goal, lam / 2 * eye]]))
    balanced = F_0 * Q - Q * Q.T * Q / 2 - sign * Q * (lam * eye) / 2
    gram = balanced * Q.T + Q * balanced.T
    riccati = gram - (F * Q * Q.T + Q * Q.T * F - Q * Q.T * Q * Q.T)
    blocks = Q * Q.T - sp.Matrix(
        sp.BlockMatrix([[W_1.T * W_1, map_of([W_1, W_2]).T], [map_of([W_1, W_2]), W_2 * W_2.T]])
    )
    return list(general), [*riccati, *blocks]


def _solution() -> list[sp.Expr]:
    """Return the defect of the solution in the eigenbasis of a 2 x 2 matrix F, and at t = 0."""
    rates = sp.symbols("f_1 f_2", real=True, nonzero=True)
    grown = sp.symbols("E_1 E_2", positive=True)
    # a turn of the hidden units makes Q_0 triangular and leaves QQ' as it is
    F, Q_0 = sp.diag(*rates), entries("q", 2, 2)
    Q_0[0, 1] = 0
    E = sp.diag(*grown)
    N = E * Q_0
    M = sp.eye(2) + Q_0.T * (E * F.inv() * E - F.inv()) * Q_0 / 2
    # M^-1 = adj(M) / det(M); multiply the Riccati equation by det(M)^2
    adjugate, det = M.adjugate(), M.det()
    G = N * adjugate * N.T

    def moving(x: sp.Expr) -> sp.Expr:
        return sum(sp.diff(x, e) * f * e for e, f in zip(grown, rates, strict=True))

    slope = G.applyfunc(moving) * det - G * moving(det)
    defect = slope - (F * G * det + G * F * det - G * G)
    at_zero = (G - Q_0 * Q_0.T * det).subs(dict.fromkeys(grown, 1))
    return [*defect, *at_zero]


def _one_mode() -> tuple[sp.Matrix, list[sp.Expr]]:
    """Return QQ'(t) of one mode, (2, 2), and the defects of F^2 = k^2/4."""
    w_10, w_20 = sp.symbols("w_10 w_20", real=True)
    lam = w_20**2 - w_10**2
    F = sp.Matrix([[-lam / 2, target], [target, lam / 2]])
    root = sp.sqrt(lam**2 + 4 * target**2)
    square = F**2 - root**2 / 4 * sp.eye(2)
    start = sp.Matrix([w_10, w_20])
    angle = root * time / 2
    # exp(F t) and the integral of exp(2 F t) follow from F^2 = (root / 2)^2
    k = sp.Symbol("k", positive=True)
    growth = (sp.sinh(k * time) / k, 4 * sp.sinh(k * time / 2) ** 2 / k**2)
    slopes = (
        sp.diff(growth[0], time) - sp.cosh(k * time),
        sp.diff(growth[1], time) - 2 / k * sp.sinh(k * time),
    )
    N = (sp.cosh(angle) * sp.eye(2) + 2 / root * sp.sinh(angle) * F) * start
    integral = sp.eye(2) * growth[0] + F * growth[1]
    gram = N * N.T / (1 + (start.T * integral.subs(k, root) * start)[0])
    return gram, [*square, *(slope.rewrite(sp.exp) for slope in slopes)]


def riccati_balanced() -> Derivation:
    r"""Derive and solve the Riccati equation of the two-layer network.

    **Equation.** With :math:`Q = [W_1^\top; W_2]`,
    :math:`W_2^\top W_2 - W_1 W_1^\top = \lambda I` and
    :math:`F = \begin{pmatrix} -\lambda/2 & W^{*\top} \\ W^* & \lambda/2
    \end{pmatrix}`: :math:`\tfrac{d}{dt} QQ^\top = F QQ^\top + QQ^\top F -
    (QQ^\top)^2`, solved by :math:`e^{Ft}Q_0 [I + \tfrac12 Q_0^\top (e^{Ft}F^{-1}
    e^{Ft} - F^{-1}) Q_0]^{-1} Q_0^\top e^{Ft}`.

    **Shapes and units.** Q is (n_0 + n_2, n_1); time is learning rate x steps.

    Returns
    -------
    Derivation
        Result ``gram``: QQ'(t) of one mode, (2, 2), in w_10, w_20, s, t.

    References
    ----------
    Fukumizu (1998); Braun et al. (2022), NeurIPS; Domine et al. (2024),
    arXiv:2409.14623. The equation for general imbalance is derived here.

    Examples
    --------
    >>> riccati_balanced().results["gram"].shape
    (2, 2)
    """
    general, balanced = _flow()
    gram, one_mode = _one_mode()
    QQ, F = sp.Symbol("QQ'", commutative=False), sp.Symbol("F", commutative=False)
    return Derivation(
        title="The Riccati equation of the balanced two-layer network",
        steps=(
            Step(
                "Stack Q = [W_1'; W_2]. Differentiating the loss entry by entry (2-2-2),"
                " dQ/dt = F_0 Q - QQ'Q/2 - E Q C/2 with C = W_2'W_2 - W_1 W_1', for any C.",
                None,
                tuple(general),
                sp.expand,
            ),
            Step(
                "If C = lambda I, which gradient flow conserves, the last term joins F_0 and the"
                " Gram matrix QQ' (it holds W_1'W_1, the map and W_2 W_2') closes.",
                sp.Eq(sp.Derivative(QQ, time, evaluate=False), F * QQ + QQ * F - QQ**2),
                tuple(balanced),
                sp.expand,
            ),
            Step(
                "With N = exp(Ft) Q_0 and M' = N'N the solution is N M^(-1) N'. Checked for"
                " every invertible F of size 2 in its eigenbasis and every Q_0 of size 2 (up to a"
                " turn of the hidden units, which QQ' does not see).",
                None,
                tuple(_solution()),
                sp.expand,
            ),
            Step(
                "One mode, where lambda = w_2^2 - w_1^2: F^2 = (lambda^2 + 4 s^2)/4, so the"
                " exponential and its integral are hyperbolic functions.",
                None,
                tuple(one_mode),
                sp.expand,
            ),
        ),
        page="derivations/riccati_balanced",
        source=_SOURCE,
        results={"gram": gram},
    )
