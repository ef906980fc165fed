"""Natural gradient: the straight chord of the map, and the matrix root of its layer form."""

from __future__ import annotations

import sympy as sp

from deeplinear.derivations._symbols import (
    DERIVED,
    HUH,
    depth,
    entries,
    jacobian,
    layer_gradient,
    map_of,
    mode,
    mode_loss,
    modulo,
    network,
    network_loss,
    others,
    partials,
    power,
    scale,
    target,
    time,
)
from theory.derivation import Derivation, Step

__all__ = ["layer_natural_gradient_root", "natural_gradient_chord"]


def _jacobian_blocks() -> list[sp.Expr]:
    """Return J - [B_i' (x) A_i] for a 2-2-2 network, J by differentiation."""
    layers = network((2, 2, 2))
    after, before = partials(layers)
    blocks = [sp.Matrix(sp.kronecker_product(b.T, a)) for a, b in zip(after, before, strict=True)]
    return list(jacobian(layers) - sp.Matrix.hstack(*blocks))


def _chord_at_points() -> list[sp.Expr]:
    """Return J v + vec Delta for the natural velocity v of 2-2-2 networks, exact rationals."""
    layers = network((2, 2, 2))
    symbols = [*layers[0].vec(), *layers[1].vec()]
    goal = sp.Matrix([[3, 1], [-2, 2]])
    J, error = jacobian(layers), (map_of(layers) - goal).vec()
    loss = network_loss(layers, goal)
    gradient = sp.Matrix.vstack(*[layer_gradient(loss, w).vec() for w in layers])
    defects: list[sp.Expr] = []
    for shift in (1, 2):
        numbers = [sp.Rational((5 * k + 3 * shift) % 13 - 6, 4) for k in range(8)]
        at = dict(zip(symbols, numbers, strict=True))
        J_0, error_0, gradient_0 = J.subs(at), error.subs(at), gradient.subs(at)
        v = -J_0.T * (J_0 * J_0.T).LUsolve(error_0)
        # v is the pseudo-inverse solution: H v = -g, and v lies in the range of J'
        defects += [*(J_0 * v + error_0), *(J_0.T * J_0 * v + gradient_0)]
    return defects


def _bottleneck() -> list[sp.Expr]:
    """Return (I - P) J and the defect of (I - P)^2 = I - P for the tangent projector P, 2-1-2."""
    layers = network((2, 1, 2))
    row, column = layers
    lengths = (row.dot(row), column.dot(column))
    eye = sp.eye(2)
    # multiplied by the squared lengths of both layers everything is a polynomial
    away = sp.Matrix(
        sp.kronecker_product(lengths[0] * eye - row.T * row, lengths[1] * eye - column * column.T)
    )
    return [*(away * jacobian(layers)), *(away * away - lengths[0] * lengths[1] * away)]


def natural_gradient_chord() -> Derivation:
    r"""Derive that natural gradient moves the map along a straight chord.

    **Equation.** :math:`\bar W(t) = W^* + (\bar W(0) - W^*) e^{-t}` for any start
    with a full-rank tangent kernel; a mode takes
    :math:`T = \ln[(s - u_0)/(s - u_f)]` at every depth.

    **Shapes and units.** Time is learning rate x steps.

    Returns
    -------
    Derivation
        Results ``map`` (u_0, s, t), ``time`` (u_0, u_f, s) and ``layers``: squares
        of both layers at depth 2, (2, 1), in u and c = w_1^2 - w_2^2.

    References
    ----------
    Derived here; that the path of the weights is gradient descent's is claimed in
    Huh (2020), PMLR 119, 4552-4560.

    Examples
    --------
    >>> natural_gradient_chord().results["time"]
    log((s - u_0)/(s - u_f))
    """
    start, stop = sp.symbols("u_0 u_f", positive=True)
    map_speeds = []
    for layers in (2, 3, 4):
        weights = mode(layers)
        p = others(weights)
        S = sum(p_i**2 for p_i in p)
        velocity = [-sp.diff(mode_loss(weights), w) / S for w in weights]
        map_speed = sum(p_i * v for p_i, v in zip(p, velocity, strict=True))
        map_speeds.append(map_speed - (target - sp.Mul(*weights)))
    chord = target + (start - target) * sp.exp(-time)
    T = sp.log((target - start) / (target - stop))
    u, c = sp.symbols("u c", real=True)
    v, e = sp.symbols("v e", positive=True)
    squares = [(v + c) / 2, (v - c) / 2]
    # d(w_1^2)/dt = 2 w_1 p_1 e / S = 2 u e / v against the chain rule with dv/du = 4u/v
    layer_speed = sp.diff(sp.sqrt(c**2 + 4 * u**2), u).subs(sp.sqrt(c**2 + 4 * u**2), v) * e / 2
    relation = modulo((v**2 - c**2 - 4 * u**2, v))
    total = sp.sqrt(c**2 + 4 * u**2)
    return Derivation(
        title="Natural gradient moves the map along a straight chord",
        steps=(
            Step(
                "One mode: dividing the gradient of the loss by S = sum_i p_i^2 leaves"
                " du/dt = s - u, whatever the depth or the imbalance (depths 2-4).",
                sp.Eq(sp.Derivative(sp.Symbol("u"), time, evaluate=False), target - u),
                tuple(map_speeds),
                sp.cancel,
            ),
            Step(
                "Hence an exponential approach, the same for every singular value.",
                sp.Eq(sp.Symbol("u"), chord),
                (
                    sp.diff(chord, time) - (target - chord),
                    chord.subs(time, 0) - start,
                    chord.subs(time, T) - stop,
                ),
                sp.simplify,
            ),
            Step(
                "Layers at depth 2 follow from the invariant c and from w_1^2 + w_2^2 = v.",
                sp.Eq(sp.Symbol("w_1") ** 2, (total + c) / 2),
                (squares[0] * squares[1] - u**2, squares[0] - squares[1] - c),
                relation,
            ),
            Step(
                "Those layers have the speed of the rule, d(w_i^2)/dt = 2 u e / (w_1^2 + w_2^2).",
                None,
                (layer_speed - 2 * u * e / (squares[0] + squares[1]),),
                relation,
            ),
            Step(
                "Matrices: the Jacobian of vec W_d ... W_1 is [B_i' (x) A_i] (column-major).",
                None,
                tuple(_jacobian_blocks()),
                sp.expand,
            ),
            Step(
                "v = -J' (J J')^(-1) vec Delta solves H v = -g and moves the map by -Delta."
                " Checked for 2-2-2 networks in exact rational arithmetic.",
                None,
                tuple(_chord_at_points()),
                sp.cancel,
            ),
            Step(
                "A bottleneck (2-1-2): the map moves by the projection of -Delta on the tangent"
                " space of rank-one matrices, Delta - (I - P_U) Delta (I - P_V).",
                None,
                tuple(_bottleneck()),
                sp.expand,
            ),
        ),
        page="derivations/natural_gradient_chord",
        source=f"{DERIVED}; the path of the weights is claimed in {HUH}",
        results={
            "map": chord,
            "time": T,
            "layers": sp.Matrix([(total + c) / 2, (total - c) / 2]),
        },
    )


def _root_residuals(layers: int) -> list[sp.Expr]:
    """Return A_i (dW_i/dt) B_i - P_d Y^(d-1) Y' P_0^(-1) in the eigenbasis of the map's ratio."""
    roots, speeds = sp.symbols("y_1 y_2", positive=True), sp.symbols("v_1 v_2", real=True)
    Y, dY = sp.diag(*roots), sp.diag(*speeds)
    # P_i = W_i ... W_1 V at the start, V the eigenvectors of W_bar(0)^-1 W*
    P = [entries(name, 2, 2) for name in ("p", "q", "r", "z")[: layers + 1]]
    if layers > 2:
        # with every frame symbolic this is slow: only the outer ones stay so
        P[1:-1] = [sp.Matrix([[2, 1], [-n, 3]]) for n in range(1, layers)]
    # each inverse frame occurs once in every product: adjugates clear the denominators
    inverse = [matrix.adjugate() for matrix in P]
    cleared = sp.Mul(*[matrix.det() for matrix in P[1:-1]])
    W = [P[i + 1] * Y * inverse[i] for i in range(layers)]
    after, before = partials(W)
    expected = P[-1] * Y ** (layers - 1) * dY * inverse[0] * cleared
    defects: list[sp.Expr] = []
    for i in range(layers):
        velocity = P[i + 1] * dY * inverse[i]
        defects += list(after[i] * velocity * before[i] - expected)
    return defects


def _imbalance() -> tuple[sp.Expr, list[sp.Expr]]:
    """Return the half log-ratio of the layers at the end (depth 2) and its residuals."""
    sigma, gamma = sp.symbols("sigma gamma", positive=True)
    half = sp.asinh(sigma ** (2 - 2 * power) * gamma / (2 * target ** (1 - power))) / (
        2 - 2 * power
    )
    h, x = sp.symbols("h x", real=True)
    # the layers are sqrt(s) exp(h) and sqrt(s) exp(-h)
    powers = [target ** (1 - power) * sp.exp(sign * (2 - 2 * power) * h) for sign in (1, -1)]
    sinh = sp.sinh((2 - 2 * power) * h)
    double = 2 * target ** (1 - power)
    kept = double * sinh.subs(h, half) - sigma ** (2 - 2 * power) * gamma
    small = sp.series(sp.asinh(x), x, 0, 3).removeO() - x
    return half, [powers[0] - powers[1] - double * sinh.rewrite(sp.exp), kept, small]


def layer_natural_gradient_root() -> Derivation:
    r"""Derive the exact solution of layer-block natural gradient (the K-FAC structure).

    **Equation.** With square invertible layers, :math:`P_i = W_i \cdots W_1` at the
    start and :math:`X(t) = \bar W(0)^{-1} \bar W(t)`:
    :math:`W_i(t) = P_i X(t)^{1/d} P_{i-1}^{-1}`, singular at
    :math:`t^* = \ln(1 + 1/|\mu|)/(\kappa d)` for an eigenvalue :math:`\mu < 0` of
    :math:`\bar W(0)^{-1} W^*`. Small starts of size :math:`\sigma` end with an
    imbalance of order :math:`\sigma^{2-2q}`.

    **Shapes and units.** Time is learning rate x steps.

    Returns
    -------
    Derivation
        Results ``growth`` (w_i(t)/w_i(0) of a mode: mu, kappa, d, t), ``blow_up``
        (m the magnitude of mu, kappa, d) and ``half_log_ratio`` (sigma, gamma, q, s), half of
        ln(w_1/w_2) at the end, depth 2.

    References
    ----------
    Derived here. The rule is that of Bernacchia, Lengyel & Hennequin (2018),
    NeurIPS, at scale 1/d.

    Examples
    --------
    >>> layer_natural_gradient_root().results["blow_up"]
    log(1 + 1/m)/(d*kappa)
    """
    layers = network((2, 2, 2))
    goal = entries("t", 2, 2)
    loss = network_loss(layers, goal)
    after, before = partials(layers)
    delta = map_of(layers) - goal
    rule: list[sp.Expr] = []
    for layer, a, b in zip(layers, after, before, strict=True):
        # determinants cleared: (A'A) v (BB') = -g for v = -A^-1 Delta B^-1
        solved = (a.T * a) * a.adjugate() * delta * b.adjugate() * (b * b.T)
        rule += list(solved - a.det() * b.det() * layer_gradient(loss, layer))
    mu = sp.Symbol("mu", real=True)
    m, x = sp.symbols("m x", positive=True)
    decay = sp.exp(-scale * depth * time)
    ratio = decay + (1 - decay) * mu
    growth = ratio ** (1 / depth)
    blow_up = sp.log(1 + 1 / m) / (scale * depth)
    half, imbalance = _imbalance()
    return Derivation(
        title="Layer-block natural gradient: matrix root, blow-up and imbalance",
        steps=(
            Step(
                "The block H_ii = (B_i B_i') (x) (A_i' A_i) is inverted by"
                " v_i = -A_i^(-1) Delta B_i^(-1): it solves H_ii v_i = -g_i (2-2-2, g from the"
                " loss).",
                None,
                tuple(rule),
                sp.expand,
            ),
            Step(
                "So each layer moves the map by -kappa Delta, and the map runs along the chord,"
                " d kappa times as fast; in the eigenbasis of W_bar(0)^(-1) W* its ratio X to"
                " the start has entries exp(-kappa d t) + (1 - exp(-kappa d t)) mu.",
                sp.Eq(sp.Symbol("x"), ratio),
                (sp.diff(ratio, time) + scale * depth * (ratio - mu), ratio.subs(time, 0) - 1),
                sp.simplify,
            ),
            Step(
                "W_i = P_i Y P_(i-1)^(-1) with Y^d = X moves every A_i (dW_i/dt) B_i by the same"
                " P_d Y^(d-1) (dY/dt) P_0^(-1), because X and dX/dt share eigenvectors (depth 2"
                " symbolic; depth 3 with numbers for the inner frames).",
                None,
                (*_root_residuals(2), *_root_residuals(3)),
                sp.expand,
            ),
            Step(
                "That common motion is 1/d of the map's: d y^(d-1) dy = dx for y = x^(1/d).",
                sp.Eq(sp.Symbol("y"), growth),
                (depth * (x ** (1 / depth)) ** (depth - 1) * sp.diff(x ** (1 / depth), x) - 1,),
                sp.simplify,
            ),
            Step(
                "A negative mu makes X, hence every layer, singular at a finite time.",
                sp.Eq(sp.Symbol("t_blow"), blow_up),
                (ratio.subs(mu, -m).subs(time, blow_up),),
                sp.simplify,
            ),
            Step(
                "End imbalance at depth 2: |w_1|^(2-2q) - |w_2|^(2-2q) = sigma^(2-2q) gamma is"
                " kept while w_1 w_2 grows to s; with w = sqrt(s) exp(+-h) this is"
                " 2 s^(1-q) sinh((2-2q) h) = sigma^(2-2q) gamma, linear for small sigma.",
                sp.Eq(sp.Symbol("h"), half),
                tuple(imbalance),
                sp.simplify,
            ),
        ),
        page="derivations/layer_natural_gradient_root",
        source=f"{DERIVED}; the rule is that of Bernacchia, Lengyel & Hennequin (2018), NeurIPS",
        results={"growth": growth, "blow_up": blow_up, "half_log_ratio": half},
    )
