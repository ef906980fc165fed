"""What the flows conserve: balance under full rules, other powers under layer rules."""

from __future__ import annotations

import itertools

import sympy as sp

from deeplinear.derivations._symbols import (
    DERIVED,
    HUH,
    damping,
    entries,
    layer_gradient,
    map_of,
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
from theory.derivation import Derivation, Step

__all__ = ["conservation_full", "conservation_layer"]


def _full_mode() -> tuple[list[sp.Expr], list[sp.Expr]]:
    """Return d(w_i^2 - w_j^2)/dt and the defects of dw_i/dw_j = w_j/w_i, depths 2 to 4."""
    gain = sp.Function("f")(sp.Symbol("S"))
    laws, slopes = [], []
    for layers in (2, 3, 4):
        weights = mode(layers)
        loss = mode_loss(weights)
        velocity = [-gain * sp.diff(loss, w) for w in weights]
        for i, j in itertools.combinations(range(layers), 2):
            laws.append(2 * weights[i] * velocity[i] - 2 * weights[j] * velocity[j])
            slopes.append(velocity[i] * weights[i] - velocity[j] * weights[j])
    return laws, slopes


def _full_matrix(widths: tuple[int, ...]) -> tuple[list[sp.Expr], list[sp.Expr]]:
    """Return defects of g_i = A_i' Delta B_i' and of dD_i/dt = 0 for a common matrix M."""
    layers = network(widths)
    goal = entries("t", widths[-1], widths[0])
    common = entries("m", widths[-1], widths[0])
    loss = network_loss(layers, goal)
    after, before = partials(layers)
    delta = map_of(layers) - goal
    gradient, velocity = [], []
    for layer, a, b in zip(layers, after, before, strict=True):
        gradient += list(layer_gradient(loss, layer) - a.T * delta * b.T)
        velocity.append(-a.T * common * b.T)
    law: list[sp.Expr] = []
    for i in range(len(layers) - 1):
        upper = velocity[i + 1].T * layers[i + 1]
        lower = velocity[i] * layers[i].T
        law += list(upper + upper.T - lower - lower.T)
    return gradient, law


def _push_through() -> list[sp.Expr]:
    """Return the entries of (J'J)^n J' - J' (JJ')^n for n = 1, 2, a 1-2-1 network."""
    layers = network((1, 2, 1))
    J = sp.Matrix([map_of(layers)[0]]).jacobian(sp.Matrix([*layers[0], *layers[1]]))
    H, K = J.T * J, J * J.T
    return [entry for n in (1, 2) for entry in H**n * J.T - J.T * K**n]


def conservation_full() -> Derivation:
    r"""Derive that every full rule conserves the imbalance and traces the same curve.

    **Equation.** :math:`w_i^2 - w_j^2` and, for matrices,
    :math:`D_i = W_{i+1}^\top W_{i+1} - W_i W_i^\top` are constant for every power
    and damping; a mode's curve does not depend on either, only its clock does.

    **Shapes and units.** D_i is (n_i, n_i), in units of weight squared.

    Returns
    -------
    Derivation
        Results ``invariant`` (w_1^2 - w_2^2), ``clock`` (dt_q / dt_GD) and
        ``slope`` (dw_1 / dw_2).

    References
    ----------
    The statement is claimed in Huh (2020), PMLR 119, 4552-4560; this proof is
    derived here.

    Examples
    --------
    >>> conservation_full().results["slope"]
    w_2/w_1
    """
    laws, slopes = _full_mode()
    gradient_2, law_2 = _full_matrix((2, 3, 2))
    gradient_3, law_3 = _full_matrix((2, 2, 2, 2))
    w_1, w_2 = mode(2, positive=True)
    S = sp.Symbol("S", positive=True)
    p_i, e = sp.symbols("p_i e", real=True)
    speed = p_i * e * (S + damping) ** (-power)
    clock = (S + damping) ** power
    m, n, k = sp.symbols("n_{i-1} n_i n_{i+1}", integer=True, positive=True)
    lower, upper = sp.MatrixSymbol("W_i", n, m), sp.MatrixSymbol("W_{i+1}", k, n)
    return Derivation(
        title="Conservation of balance under every full rule",
        steps=(
            Step(
                "A full rule multiplies the gradient of a mode by one number f(S), the same for"
                " all layers. Since w_i dL/dw_i = w_j dL/dw_j, squares grow alike (depths 2-4,"
                " any f: any power, any damping).",
                sp.Eq(sp.Derivative(w_1**2 - w_2**2, sp.Symbol("t"), evaluate=False), 0),
                tuple(laws),
                sp.expand,
            ),
            Step(
                "The curve in weight space: dw_i / dw_j = w_j / w_i holds neither power nor"
                " damping.",
                sp.Eq(sp.Derivative(w_1, w_2, evaluate=False), w_2 / w_1),
                tuple(slopes),
                sp.expand,
            ),
            Step(
                "Only the clock differs: time of the power q over time of gradient descent on"
                " the same piece of the curve.",
                sp.Eq(sp.Derivative(*sp.symbols("t_q t_0"), evaluate=False), clock),
                (p_i * e / speed - clock,),
                sp.powsimp,
            ),
            Step(
                "Matrices: differentiate the loss entry by entry; every gradient is"
                " A_i' Delta B_i' (networks 2-3-2 and 2-2-2-2).",
                None,
                (*gradient_2, *gradient_3),
                sp.expand,
            ),
            Step(
                "f(J'J) J' = J' f(JJ') for powers, hence for every f: a full rule replaces Delta"
                " by one matrix M, common to all layers.",
                None,
                tuple(_push_through()),
                sp.expand,
            ),
            Step(
                "For dW_i/dt = -A_i' M B_i' with any common M, both W_i dW_i'/dt and"
                " dW_(i+1)'/dt W_(i+1) equal -B_(i+1) M' A_i: D_i does not move.",
                sp.Eq(sp.MatrixSymbol("D_i", n, n), upper.T * upper - lower * lower.T),
                (*law_2, *law_3),
                sp.expand,
            ),
        ),
        page="derivations/conservation_full",
        source=f"{DERIVED}; the statement is claimed in {HUH}",
        results={"invariant": w_1**2 - w_2**2, "clock": clock, "slope": w_2 / w_1},
    )


def _layer_mode() -> tuple[list[sp.Expr], list[sp.Expr], list[sp.Expr]]:
    """Return defects of equal growth of |w|^(2-2q), of ln|w| at q = 1, and with signs."""
    laws, ratios, signed = [], [], []
    for layers in (2, 3, 4):
        weights = mode(layers, positive=True)
        loss = mode_loss(weights)
        p = others(weights)
        velocity = [
            -scale * sp.diff(loss, w) * (p_i**2) ** (-power)
            for w, p_i in zip(weights, p, strict=True)
        ]
        growth = [
            sp.diff(w ** (2 - 2 * power), w) * v for w, v in zip(weights, velocity, strict=True)
        ]
        laws += [growth[0] - other for other in growth[1:]]
        rate = [v.subs(power, 1) / w for w, v in zip(weights, velocity, strict=True)]
        ratios += [rate[0] - other for other in rate[1:]]
    sizes, error = mode(3, positive=True), sp.Symbol("e", real=True)
    for signs in itertools.product((1, -1), repeat=3):
        weights_signed = [sign * size for sign, size in zip(signs, sizes, strict=True)]
        p = [sp.Mul(*weights_signed[:i], *weights_signed[i + 1 :]) for i in range(3)]
        growth = [
            size ** (1 - 2 * power) * sign * p_i * (p_i**2) ** (-power) * error
            for size, sign, p_i in zip(sizes, signs, p, strict=True)
        ]
        signed += [growth[0] - other for other in growth[1:]]
    return laws, ratios, signed


def _damped_depth_two() -> tuple[sp.Expr, sp.Expr, sp.Expr]:
    """Return defects of the damped depth-2 law for q < 1 and q = 1, and the depth-3 defect."""
    w_1, w_2 = mode(2, positive=True)
    loss = mode_loss((w_1, w_2))
    velocity = [
        -sp.diff(loss, w) * (p**2 + damping) ** (-power) for w, p in ((w_1, w_2), (w_2, w_1))
    ]
    squares = [(w**2 + damping) ** (1 - power) for w in (w_1, w_2)]
    law = sp.diff(squares[0], w_1) * velocity[0] - sp.diff(squares[1], w_2) * velocity[1]
    ratio = sp.log((w_1**2 + damping) / (w_2**2 + damping))
    change = sp.diff(ratio, w_1) * velocity[0] + sp.diff(ratio, w_2) * velocity[1]
    return law, change.subs(power, 1), squares[0] - squares[1]


def _damped_matrices() -> tuple[list[sp.Expr], list[sp.Expr]]:
    """Return the defects of the trace law (1-2-1, any q) and of the log-det law (2-2-2, q = 1)."""
    W_1, W_2 = network((1, 2, 1))
    loss = network_loss([W_1, W_2], sp.Matrix([[target]]))
    norms = (sum(x**2 for x in W_1), sum(x**2 for x in W_2))
    # the powers eps^-q and (|W_i|^2 + eps)^-q enter only as numbers: one symbol each
    floor, *gains = sp.symbols("f g_1 g_2", positive=True)

    def inverse_power(gram: sp.Matrix, i: int) -> sp.Matrix:
        # gram has eigenvalues |W_i|^2 and 0, so its powers are combinations of it and the identity
        return floor * sp.eye(2) + (gains[i] - floor) / norms[i] * gram

    velocity = (
        -inverse_power(W_2.T * W_2, 1) * layer_gradient(loss, W_1),
        -layer_gradient(loss, W_2) * inverse_power(W_1 * W_1.T, 0),
    )
    size = sp.Symbol("n", positive=True)
    slope = sp.diff((size + damping) ** (1 - power), size) * (size + damping) ** power
    growth = [
        sp.powsimp(slope) * gain * sum(sp.diff(norm, x) * v for x, v in zip(W, speed, strict=True))
        for gain, norm, W, speed in zip(gains, norms, (W_1, W_2), velocity, strict=True)
    ]

    return [growth[0] - growth[1]], [_log_det_defect(shift) for shift in (0, 1, 2)]


def _log_det_defect(shift: int) -> sp.Expr:
    """Return d/dt [ln det(W_1 W_1' + eps) - ln det(W_2' W_2 + eps)] at a rational point."""
    layers = network((2, 2, 2))
    point = {
        entry: sp.Rational((7 * k + 3 * shift) % 11 - 4, 3 + (k + shift) % 4)
        for k, entry in enumerate([*layers[0], *layers[1]])
    }
    eps = sp.Rational(1, 5 + shift)
    loss = network_loss(layers, sp.Matrix([[2, shift], [-1, 1]]))
    W_1, W_2 = layers
    grams = (W_1 * W_1.T + eps * sp.eye(2), W_2.T * W_2 + eps * sp.eye(2))
    gradient = [layer_gradient(loss, layer).subs(point) for layer in layers]
    speeds = (-grams[1].subs(point).inv() * gradient[0], -gradient[1] * grams[0].subs(point).inv())
    change = sp.Integer(0)
    for sign, gram, layer, speed in zip((1, -1), grams, layers, speeds, strict=True):
        det = gram.det()
        change += sign * sum(
            sp.diff(det, x).subs(point) / det.subs(point) * v
            for x, v in zip(layer, speed, strict=True)
        )
    return change


def conservation_layer() -> Derivation:
    r"""Derive what layer rules conserve instead of the balance.

    **Equation.** :math:`|w_i|^{2-2q} - |w_j|^{2-2q}` is constant for
    :math:`q < 1` and :math:`w_i / w_j` for :math:`q = 1`. At depth 2 with damping:
    :math:`\operatorname{tr}(W_1W_1^\top + \varepsilon)^{1-q} -
    \operatorname{tr}(W_2^\top W_2 + \varepsilon)^{1-q}`, and log-determinants at
    :math:`q = 1`.

    **Shapes and units.** Scalars; weight to the power 2 - 2q.

    Returns
    -------
    Derivation
        Results ``invariant`` (q < 1), ``ratio`` (q = 1), ``damped`` (depth 2).

    References
    ----------
    Derived here. Huh (2020), PMLR 119, 4552-4560, claims that block-diagonal
    natural gradient destroys the balance and that its square root keeps it.

    Examples
    --------
    >>> conservation_layer().results["ratio"]
    w_1/w_2
    """
    laws, ratios, signed = _layer_mode()
    damped, damped_log, damped_invariant = _damped_depth_two()
    trace, log_det = _damped_matrices()
    w_1, w_2 = mode(2, positive=True)
    invariant = w_1 ** (2 - 2 * power) - w_2 ** (2 - 2 * power)
    clock = sp.Symbol("t")

    def powers(residual: sp.Expr) -> sp.Expr:
        return sp.expand(sp.powsimp(sp.expand_power_base(sp.expand(residual))))

    def sums_of_powers(residual: sp.Expr) -> sp.Expr:
        return sp.expand(sp.powsimp(sp.expand_power_base(residual)))

    return Derivation(
        title="What layer rules conserve",
        steps=(
            Step(
                "The layer rule divides each gradient by its own p_i^(2q). With all weights"
                " positive, w_i^(1-2q) dw_i/dt = kappa u^(1-2q) e is the same for every layer"
                " (depths 2-4, any q).",
                sp.Eq(sp.Derivative(invariant, clock, evaluate=False), 0),
                tuple(laws),
                powers,
            ),
            Step(
                "Signs do not matter: the same holds for |w_i| with any signs (depth 3).",
                None,
                tuple(signed),
                powers,
            ),
            Step(
                "At q = 1 the logarithms grow alike: each path is a ray, K-FAC never balances.",
                sp.Eq(sp.Derivative(w_1 / w_2, clock, evaluate=False), 0),
                tuple(ratios),
                sp.cancel,
            ),
            Step(
                "Damping at depth 2: w_i^2 is replaced by w_i^2 + epsilon.",
                sp.Eq(sp.Derivative(damped_invariant, clock, evaluate=False), 0),
                (damped, damped_log),
                sums_of_powers,
            ),
            Step(
                "Depth 2 with matrices: both traces grow as tr[(W_1 W_1' + epsilon)^(-q)"
                " (W_2' W_2 + epsilon)^(-q) W_2' Delta W_1'], the same number read in two cyclic"
                " orders. Checked for the 1-2-1 network at any power.",
                None,
                tuple(trace),
                sp.cancel,
            ),
            Step(
                "At q = 1 the trace of the power becomes ln det. Checked for the 2-2-2 network"
                " in exact rational arithmetic at three points (evidence; the cyclic argument"
                " is the proof).",
                None,
                tuple(log_det),
                sp.cancel,
            ),
        ),
        page="derivations/conservation_layer",
        source=DERIVED,
        results={"invariant": invariant, "ratio": w_1 / w_2, "damped": damped_invariant},
    )
