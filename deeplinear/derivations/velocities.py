"""From the loss of one mode to the velocity of its layers, for every rule."""

from __future__ import annotations

import sympy as sp

from deeplinear.derivations._symbols import (
    HUH,
    SAXE,
    damping,
    layer_gradient,
    mode,
    mode_loss,
    network,
    network_loss,
    others,
    partials,
    power,
    scale,
    target,
)
from deeplinear.derivations._symbols import jacobian as network_jacobian
from theory.derivation import Derivation, Step

__all__ = ["mode_velocities"]


def _mode_facts() -> tuple[list[sp.Expr], list[sp.Expr], list[sp.Expr]]:
    """Return residuals at depth 2, 3, 4: gradient, rank-one curvature, its eigenvector."""
    gradients, curvatures, eigenvectors = [], [], []
    for layers in (2, 3, 4):
        weights = mode(layers)
        loss, u = mode_loss(weights), sp.Mul(*weights)
        p = others(weights)
        gradients += [
            sp.diff(loss, w) + p_i * (target - u) for w, p_i in zip(weights, p, strict=True)
        ]
        # Gauss-Newton: the Hessian of the loss less the part that the error multiplies
        curvature = sp.hessian(loss, weights) - (u - target) * sp.hessian(u, weights)
        column = sp.Matrix(p)
        curvatures += list(curvature - column * column.T)
        eigenvectors += list(curvature * column - sum(p_i**2 for p_i in p) * column)
    return gradients, curvatures, eigenvectors


def _inverse_power_residuals() -> tuple[sp.Expr, ...]:
    """Return residuals of F_a F_b = F_{a+b}, F_1 = H + epsilon, F_q v = S-power rule."""
    curvature, trace = sp.symbols("H S", positive=True)
    a, b = sp.symbols("a b", real=True)

    def family(exponent: sp.Expr) -> sp.Expr:
        grown = (trace + damping) ** exponent - damping**exponent
        return damping**exponent + grown / trace * curvature

    constant, linear, quadratic = (
        sp.expand(family(a) * family(b) - family(a + b)).coeff(curvature, n) for n in range(3)
    )
    identity = family(sp.Integer(0)) - 1
    generator = family(sp.Integer(1)) - (curvature + damping)
    # on the eigenvector p the curvature H acts as the number S
    on_gradient = family(-power).subs(curvature, trace) - (trace + damping) ** (-power)
    # H^2 = S H turns the quadratic coefficient into a linear one
    return (constant, linear + trace * quadratic, identity, generator, on_gradient)


def _two_modes() -> tuple[list[sp.Expr], list[sp.Expr]]:
    """Return off-diagonal gradients and tangent-kernel entries of a diagonal two-mode network."""
    layers = network((2, 2, 2))
    goals = sp.symbols("s_1 s_2", positive=True)
    off_diagonal = {w[i, 1 - i]: 0 for w in layers for i in (0, 1)}
    loss = network_loss(layers, sp.diag(*goals))
    gradients = [layer_gradient(loss, w)[i, 1 - i] for w in layers for i in (0, 1)]
    jacobian = network_jacobian(layers).subs(off_diagonal)
    kernel = jacobian * jacobian.T
    after, before = partials(layers)
    expected = sp.zeros(4, 4)
    for a, b in zip(after, before, strict=True):
        output, given = (a * a.T).subs(off_diagonal), (b.T * b).subs(off_diagonal)
        expected += sp.diag(*[output[i, i] * given[j, j] for j in (0, 1) for i in (0, 1)])
    return [g.subs(off_diagonal) for g in gradients], list(kernel - expected)


def mode_velocities() -> Derivation:
    r"""Derive the velocity of one decoupled mode under every rule, from its loss.

    **Equation.** Full rules :math:`\dot w_i = \kappa\,p_i (S + \varepsilon)^{-q} e`,
    layer rules :math:`\dot w_i = \kappa\,p_i (p_i^2 + \varepsilon)^{-q} e` with
    :math:`p_i = \prod_{j\ne i} w_j`, :math:`S = \sum_i p_i^2`, :math:`e = s - u`.

    **Shapes and units.** Weights dimensionless; time is learning rate x steps.

    Returns
    -------
    Derivation
        Results ``full`` and ``layer``: velocities at depth 3, (layer, 1), in
        w_1, w_2, w_3, s, q, epsilon and kappa.

    References
    ----------
    Saxe, McClelland & Ganguli (2014), arXiv:1312.6120 (power 0);
    Huh (2020), PMLR 119, 4552-4560 (powers 1/2 and 1); other powers derived here.

    Examples
    --------
    >>> mode_velocities().check() > 60
    True
    """
    gradients, curvatures, eigenvectors = _mode_facts()
    off_diagonal, kernel = _two_modes()
    loss, u, S, e, x = sp.symbols("L u S e x", positive=True)
    w, rest, a = sp.symbols("w_i p_i a", real=True)
    H, vector = sp.symbols("H p", commutative=False)
    speed = sp.Derivative(w, sp.Symbol("t"), evaluate=False)
    whitened = x * rest * e * (x * S) ** (-power) - x ** (1 - power) * rest * e * S ** (-power)

    weights = mode(3, positive=True)
    error = target - sp.Mul(*weights)
    p_3 = sp.Matrix(others(weights))
    S_3 = sum(p_i**2 for p_i in p_3)
    full = scale * p_3 * (S_3 + damping) ** (-power) * error
    layer = p_3.applyfunc(lambda p_i: scale * p_i * (p_i**2 + damping) ** (-power) * error)
    return Derivation(
        title="Velocities of one mode under every curvature-corrected rule",
        steps=(
            Step(
                "Differentiate the loss of one mode, L = (s - u)^2 / 2 with u = w_1 ... w_d"
                " (done explicitly at depth 2, 3 and 4).",
                sp.Eq(sp.Derivative(loss, w, evaluate=False), -rest * e, evaluate=False),
                tuple(gradients),
                sp.expand,
            ),
            Step(
                "Any depth: u = w_i p_i and p_i does not contain w_i, so du/dw_i = p_i.",
                sp.Eq(u, w * rest),
                (sp.diff((target - w * rest) ** 2 / 2, w) + rest * (target - w * rest),),
                sp.expand,
            ),
            Step(
                "The Gauss-Newton curvature (the Hessian less its error-weighted part) is the"
                " rank-one matrix H = p p'.",
                sp.Eq(sp.Symbol("H_ij"), sp.Symbol("p_i") * sp.Symbol("p_j")),
                tuple(curvatures),
                sp.expand,
            ),
            Step(
                "The gradient -e p is an eigenvector of H with eigenvalue S = sum_i p_i^2.",
                sp.Eq(H * vector, S * vector),
                tuple(eigenvectors),
                sp.expand,
            ),
            Step(
                "H^2 = S H makes all powers explicit: F_a = epsilon^a + ((S + epsilon)^a -"
                " epsilon^a) H / S obeys F_a F_b = F_(a+b) and F_1 = H + epsilon, so F_a ="
                " (H + epsilon)^a; on p it is the number (S + epsilon)^a.",
                sp.Eq(sp.Symbol("F_a"), damping**a + ((S + damping) ** a - damping**a) / S * H),
                _inverse_power_residuals(),
                lambda residual: sp.simplify(sp.powsimp(sp.expand(residual))),
            ),
            Step(
                "Hence the full rule, -kappa (H + epsilon)^(-q) times the gradient.",
                sp.Eq(speed, scale * rest * e * (S + damping) ** (-power)),
            ),
            Step(
                "The layer rule keeps only the diagonal of H, the numbers p_i^2.",
                sp.Eq(speed, scale * rest * e * (rest**2 + damping) ** (-power)),
                tuple(layer - p_3.applyfunc(lambda p_i: p_i * _corrected(p_i) * error)),
                sp.expand,
            ),
            Step(
                "A network whose layers share singular frames is a set of such modes: with two"
                " modes, off-diagonal gradients vanish and the tangent kernel J J' is diagonal,"
                " so no power of it mixes modes and diagonal weights stay diagonal.",
                None,
                (*off_diagonal, *kernel),
                sp.expand,
            ),
            Step(
                "Inputs of variance x along the mode scale gradient and curvature by x: every"
                " undamped rule is sped up by x^(1-q) and keeps its path.",
                sp.Eq(speed, scale * x ** (1 - power) * rest * e * S ** (-power)),
                (whitened,),
                lambda residual: sp.powsimp(sp.expand_power_base(residual)),
            ),
        ),
        page="derivations/mode_velocities",
        source=f"{SAXE} (power 0); {HUH} (powers 1/2 and 1); other powers derived here",
        results={"full": full, "layer": layer},
    )


def _corrected(p: sp.Expr) -> sp.Expr:
    """Return the layer gain: the damped second derivative of the loss, to the power -q."""
    own, error = sp.symbols("w e_0", real=True)
    block = sp.diff((error - own * p) ** 2 / 2, own, 2)
    return scale * (block + damping) ** (-power)
