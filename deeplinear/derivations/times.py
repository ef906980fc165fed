"""Learning times of every power, the critical power, and what damping adds."""

from __future__ import annotations

import sympy as sp

from deeplinear.derivations._symbols import (
    DERIVED,
    damping,
    depth,
    mode,
    mode_loss,
    others,
    power,
    scale,
    target,
)
from theory.derivation import Derivation, Step, numeric_zero

__all__ = ["critical_power", "damping_identity", "learning_time"]

_U, _START, _STOP = sp.symbols("u u_0 u_f", positive=True)


def _exponent() -> sp.Expr:
    """Return k = 1 - (2 - 2/d)(1 - q), the power of u in the learning time near zero."""
    return 1 - (2 - 2 / depth) * (1 - power)


def _primitive(k: sp.Expr) -> sp.Expr:
    """Return u^k / (k s) 2F1(1, k; 1 + k; u/s)."""
    return _U**k / (k * target) * sp.hyper((1, k), (1 + k,), _U / target)


def _balanced_speeds() -> list[sp.Expr]:
    """Return defects of da/dt and du/dt for equal layers, from the loss, depths 2 to 4."""
    a = sp.Symbol("a", positive=True)
    defects = []
    for layers in (2, 3, 4):
        weights = mode(layers, positive=True)
        same = dict.fromkeys(weights, a)
        S = sum(p**2 for p in others(weights)).subs(same)
        gradient = sp.diff(mode_loss(weights), weights[0]).subs(same)
        speed = -gradient * S ** (-power)
        claim = layers ** (-power) * a ** ((layers - 1) * (1 - 2 * power)) * (target - a**layers)
        defects.append(speed / claim - 1)
        map_speed = layers * a ** (layers - 1) * claim
        u_claim = (
            layers ** (1 - power)
            * a ** (layers * (2 - sp.Rational(2, layers)) * (1 - power))
            * (target - a**layers)
        )
        defects.append(map_speed / u_claim - 1)
    return defects


def _series_terms() -> tuple[sp.Expr, ...]:
    """Return the defects of the term-by-term proof of the hypergeometric primitive."""
    n = sp.Symbol("n", integer=True, nonnegative=True)
    k, z = sp.symbols("k z", positive=True)
    coefficient = sp.rf(1, n) * sp.rf(k, n) / (sp.rf(1 + k, n) * sp.factorial(n))
    term = coefficient / k * z ** (n + k)
    closed = z ** (n + k) / (n + k)
    slope = sp.diff(closed, z) / z ** (n + k - 1) - 1
    # sum_n z^(n+k-1) = z^(k-1) / (1 - z): the geometric series, by its recurrence
    geometric = z ** (k - 1) / (1 - z)
    return (
        sp.gammasimp((term / closed).rewrite(sp.gamma)) - 1,
        slope,
        geometric - z * geometric - z ** (k - 1),
    )


def _numeric_slopes() -> tuple[sp.Expr, ...]:
    """Return the slope of the primitive less the integrand at three points, k < 0 among them."""
    k = sp.Symbol("k", real=True)
    defect = sp.diff(_primitive(k), _U) - _U ** (k - 1) / (target - _U)
    points = [(sp.Rational(-1, 3), 2), (sp.Rational(1, 2), 1), (sp.Rational(5, 7), 3)]
    return tuple(
        numeric_zero(defect, {k: value, target: sp.Integer(s), _U: sp.Rational(s, 3)})
        for value, s in points
    )


def learning_time() -> Derivation:
    r"""Derive the learning time of every power at every depth from a balanced start.

    **Equation.** With :math:`k = 1 - (2 - 2/d)(1 - q)`:
    :math:`T_q = d^{q-1} \bigl[\tfrac{u^k}{k s}\,
    {}_2F_1(1, k; 1 + k; u/s)\bigr]_{u_0}^{u_f}` for :math:`0 < u < s`;
    :math:`T_q = d^{q-1} s^{-1} [\ln \tfrac{u}{s-u}]` at :math:`k = 0`.

    **Shapes and units.** Time is learning rate x steps. Layer rules take
    :math:`d^{-q}/\kappa` times as long.

    Returns
    -------
    Derivation
        Results ``time`` (u_0, u_f, s, q, d), ``log_branch`` (u_0, u_f, s, q, d),
        ``exponent`` k (q, d) and ``layer_factor`` (d, q, kappa).

    References
    ----------
    Derived here.

    Examples
    --------
    >>> learning_time().results["layer_factor"]
    1/(d**q*kappa)
    """
    k, k_name = _exponent(), sp.Symbol("k", real=True)
    slowness = depth ** (power - 1) * _U ** (-(2 - 2 / depth) * (1 - power)) / (target - _U)
    integrand = depth ** (power - 1) * _U ** (k_name - 1) / (target - _U)
    primitive = depth ** (power - 1) * _primitive(k)
    T = primitive.subs(_U, _STOP) - primitive.subs(_U, _START)
    branch = depth ** (power - 1) / target * sp.log(_U / (target - _U))
    log_time = branch.subs(_U, _STOP) - branch.subs(_U, _START)
    x, a = sp.symbols("x a", positive=True)
    # da / (d^-q a^m (s - a^d)) with a = x s^(1/d)
    m = (depth - 1) * (1 - 2 * power)
    scaling = (target ** (1 / depth) * depth**power / (x * target ** (1 / depth)) ** m / target) / (
        depth**power * target ** (-(2 - 2 / depth) * (1 - power)) * x ** (-m)
    )
    layer_speed = scale * a ** ((depth - 1) * (1 - 2 * power))
    full_speed = depth ** (-power) * a ** ((depth - 1) * (1 - 2 * power))
    factor = depth ** (-power) / scale
    return Derivation(
        title="Learning time of every power at every depth",
        steps=(
            Step(
                "Equal layers: differentiate the loss and divide by S^q with S = d a^(2d-2)"
                " (depths 2-4; ratios to the claimed speeds of a and of u = a^d).",
                sp.Eq(
                    sp.Derivative(_U, sp.Symbol("t"), evaluate=False),
                    depth ** (1 - power) * _U ** ((2 - 2 / depth) * (1 - power)) * (target - _U),
                ),
                tuple(_balanced_speeds()),
                lambda residual: sp.simplify(sp.expand_power_base(residual)),
            ),
            Step(
                "Separate variables: dT/du = d^(q-1) u^(k-1) / (s - u).",
                sp.Eq(sp.Symbol("k"), k),
                (slowness / (depth ** (power - 1) * _U ** (k - 1) / (target - _U)) - 1,),
                lambda residual: sp.simplify(sp.powsimp(residual)),
            ),
            Step(
                "Integrate term by term: the n-th term of z^k/k 2F1(1, k; 1+k; z) is"
                " z^(n+k)/(n+k), whose slopes sum to z^(k-1)/(1-z) for |z| < 1.",
                sp.Eq(sp.Symbol("T_q"), depth ** (power - 1) * _primitive(k_name)),
                _series_terms(),
                sp.simplify,
            ),
            Step(
                "The primitive's slope, evaluated to 40 digits at k = -1/3, 1/2, 5/7 (evidence"
                " beside the series proof, k < 0 included).",
                sp.Eq(sp.Derivative(sp.Symbol("T_q"), _U, evaluate=False), integrand),
                _numeric_slopes(),
                sp.expand,
            ),
            Step(
                "At k = 0 the primitive is a logarithm.",
                sp.Eq(sp.Symbol("T_q"), branch),
                (sp.diff(branch, _U) - depth ** (power - 1) / (_U * (target - _U)),),
                sp.simplify,
            ),
            Step(
                "In x = a / s^(1/d) all the dependence on the singular value is a power:"
                " T_q = d^q s^(-(2-2/d)(1-q)) I(x_0, x_f).",
                sp.Eq(
                    sp.Symbol("T_q"),
                    depth**power * target ** (-(2 - 2 / depth) * (1 - power)) * sp.Symbol("I"),
                ),
                (scaling - 1,),
                lambda residual: sp.simplify(sp.expand_power_base(residual)),
            ),
            Step(
                "The layer rule differs by a constant factor of speed.",
                sp.Eq(sp.Symbol("T_layer") / sp.Symbol("T_q"), factor),
                (full_speed / layer_speed - factor,),
                sp.powsimp,
            ),
        ),
        page="derivations/learning_time",
        source=DERIVED,
        results={"time": T, "log_branch": log_time, "exponent": k, "layer_factor": factor},
    )


def critical_power() -> Derivation:
    r"""Derive which powers escape from zero weights in finite time at bounded speed.

    **Equation.** The time stays finite as :math:`u_0 \to 0` if and only if
    :math:`q > q_c = (d-2)/(2(d-1))`; the layers' speed stays bounded there if and
    only if :math:`q \le 1/2`. As :math:`q_c \to 1/2`, the square root is the only
    power that has both at every depth.

    **Shapes and units.** Dimensionless.

    Returns
    -------
    Derivation
        Results ``critical`` (d) and ``speed_exponent`` (d, q).

    References
    ----------
    Derived here.

    Examples
    --------
    >>> critical_power().results["critical"].subs(sp.Symbol("d", positive=True), 3)
    1/4
    """
    k = _exponent()
    critical = (depth - 2) / (2 * (depth - 1))
    speed = (depth - 1) * (1 - 2 * power)
    kk, start = sp.symbols("k u_0", positive=True)
    near_zero = sp.integrate(_U ** (kk - 1), (_U, start, 1))
    return Derivation(
        title="The critical power, and why the square root",
        steps=(
            Step(
                "Near zero the time is the integral of u^(k-1), finite as u_0 -> 0 if and only"
                " if k > 0 (the value for k > 0 is 1/k).",
                sp.Eq(sp.Symbol("k"), k),
                (
                    sp.limit(near_zero.subs(kk, sp.Rational(1, 3)), start, 0) - 3,
                    1 / sp.limit(sp.log(1 / start), start, 0, "+"),
                ),
                sp.simplify,
            ),
            Step(
                "k grows with q and vanishes at q_c.",
                sp.Eq(sp.Symbol("q_c"), critical),
                (k.subs(power, critical), k - 2 * (depth - 1) / depth * (power - critical)),
                sp.simplify,
            ),
            Step(
                "A layer's speed near zero is a^((d-1)(1-2q)): bounded if and only if q <= 1/2.",
                sp.Eq(sp.Symbol("m"), speed),
                (speed.subs(power, sp.Rational(1, 2)), sp.diff(speed, power) + 2 * (depth - 1)),
                sp.expand,
            ),
            Step(
                "q_c stays below 1/2 by 1/(2(d-1)) and tends to it: only q = 1/2 lies in every"
                " interval (q_c(d), 1/2].",
                sp.Eq(sp.Limit(critical, depth, sp.oo), sp.Rational(1, 2), evaluate=False),
                (
                    sp.Rational(1, 2) - critical - 1 / (2 * (depth - 1)),
                    sp.limit(critical, depth, sp.oo) - sp.Rational(1, 2),
                ),
                sp.simplify,
            ),
        ),
        page="derivations/critical_power",
        source=DERIVED,
        results={"critical": critical, "speed_exponent": speed},
    )


def damping_identity() -> Derivation:
    r"""Derive that damping adds a fraction of gradient descent's learning time.

    **Equation.** :math:`T_{\mathrm{NGD},\varepsilon} = T_{\mathrm{NGD}} +
    \varepsilon\,T_{\mathrm{GD}}` between the same two points, at any depth and
    imbalance.

    **Shapes and units.** Damping in units of curvature; time is learning rate x steps.

    Returns
    -------
    Derivation
        Results ``time`` (u_0, u_f, s, epsilon; depth 2, balanced) and ``slowness``
        (S, e, epsilon).

    References
    ----------
    Derived here.

    Examples
    --------
    >>> damping_identity().check()
    8
    """
    slow, laws = [], []
    for layers in (2, 3, 4):
        weights = mode(layers)
        p = others(weights)
        S = sum(p_i**2 for p_i in p)
        gradient = [sp.diff(mode_loss(weights), w) for w in weights]
        damped, natural, plain = (
            sum(-gain * g * p_i for p_i, g in zip(p, gradient, strict=True))
            for gain in (1 / (S + damping), 1 / S, sp.Integer(1))
        )
        slow.append(1 / damped - 1 / natural - damping / plain)
        velocity = [-g / (S + damping) for g in gradient]
        laws.append(velocity[0] * weights[0] - velocity[1] * weights[1])
    S, e = sp.symbols("S e", positive=True)
    slowness = 1 / e + damping / (S * e)
    gd = sp.log(_STOP * (target - _START) / (_START * (target - _STOP))) / (2 * target)
    T = sp.log((target - _START) / (target - _STOP)) + damping * gd
    return Derivation(
        title="Damping adds a fraction of gradient descent's learning time",
        steps=(
            Step(
                "Damping leaves the path as it is: w_1^2 - w_2^2 stays put (depths 2-4).",
                None,
                tuple(laws),
                sp.cancel,
            ),
            Step(
                "On one path dt = du / (du/dt), and (S + epsilon)/(S e) = 1/e + epsilon/(S e):"
                " slownesses add (depths 2-4, any imbalance, from the loss).",
                sp.Eq((S + damping) / (S * e), slowness, evaluate=False),
                (*slow, (S + damping) / (S * e) - slowness),
                sp.cancel,
            ),
            Step(
                "Integrate from u_0 to u_f; at depth 2, balanced, both parts are elementary.",
                sp.Eq(sp.Symbol("T_NGD_epsilon"), T),
                (sp.diff(T, _STOP) - (2 * _STOP + damping) / (2 * _STOP * (target - _STOP)),),
                sp.simplify,
            ),
        ),
        page="derivations/damping_identity",
        source=DERIVED,
        results={"time": T, "slowness": slowness},
    )
