"""Closed forms of gradient descent: times and states of one mode, depth by depth."""

from __future__ import annotations

from collections.abc import Callable

import sympy as sp

from deeplinear.derivations._symbols import (
    SAXE,
    depth,
    layer_gradient,
    mode,
    mode_loss,
    modulo,
    target,
    time,
)
from theory.derivation import Derivation, Step

__all__ = ["gradient_descent_depth_d", "gradient_descent_depth_two"]

_START, _STOP = sp.symbols("u_0 u_f", positive=True)


def _depth_two_time(c: sp.Expr) -> tuple[sp.Expr, sp.Symbol, sp.Expr]:
    """Return the antiderivative of 1 / (v (s - u)), its variable and v(u)."""
    u = sp.Symbol("u", real=True)
    rate, total = sp.sqrt(c**2 + 4 * target**2), sp.sqrt(c**2 + 4 * u**2)
    inside = (c**2 + 4 * target * u + rate * total) / (target - u)
    return sp.log(inside) / rate, u, total


def _depth_two_state() -> tuple[sp.Matrix, list[sp.Expr], Callable[[sp.Expr], sp.Expr]]:
    """Return w(t) by the rank-one Riccati equation, its residuals, and how they vanish."""
    w = sp.Matrix(mode(2))
    kap, E = sp.symbols("k E", positive=True)
    flow = -layer_gradient(mode_loss(tuple(w)), w)
    c = w[0] ** 2 - w[1] ** 2
    F = sp.Matrix([[c / 2, target], [target, -c / 2]])
    vector_form = flow - (F * w - w.dot(w) * w / 2)

    start = sp.Matrix(sp.symbols("w_10 w_20", real=True))
    c_0 = start[0] ** 2 - start[1] ** 2
    F_0 = sp.Matrix([[c_0 / 2, target], [target, -c_0 / 2]])
    square = F_0**2 - (c_0**2 + 4 * target**2) / 4 * sp.eye(2)
    # E = exp(kap t / 2) makes cosh and sinh rational
    cosh, sinh = (E + 1 / E) / 2, (E - 1 / E) / 2
    numerator = (cosh * sp.eye(2) + 2 / kap * sinh * F_0) * start
    phi = 2 * sinh * cosh / kap * sp.eye(2) + 2 / kap**2 * (2 * sinh**2) * F_0
    denominator = 1 + (start.T * phi * start)[0]
    moving = numerator.applyfunc(lambda x: sp.diff(x, E) * kap * E / 2) - F_0 * numerator
    growing = sp.diff(denominator, E) * kap * E / 2 - numerator.dot(numerator)
    at_zero = [numerator.subs(E, 1) - start, sp.Matrix([denominator.subs(E, 1) - 1])]
    residuals = [*vector_form, *square, *moving, growing]
    residuals += [x for block in at_zero for x in block]

    rate = sp.sqrt(c_0**2 + 4 * target**2)
    explicit = {kap: rate, E: sp.exp(rate * time / 2)}
    state = (numerator / sp.sqrt(denominator)).subs(explicit)
    return state, residuals, modulo((kap**2 - c_0**2 - 4 * target**2, kap))


def gradient_descent_depth_two() -> Derivation:
    r"""Derive the time and the state of gradient descent at depth 2, any imbalance.

    **Equation.** With :math:`c = w_1^2 - w_2^2`, :math:`k = \sqrt{c^2 + 4s^2}`,
    :math:`v(u) = \sqrt{c^2 + 4u^2}`: :math:`\dot u = v(u)(s - u)` and
    :math:`T = k^{-1} \ln \frac{[c^2 + 4 s u_f + k v(u_f)](s - u_0)}
    {[c^2 + 4 s u_0 + k v(u_0)](s - u_f)}`; the state solves a rank-one
    Riccati equation.

    **Shapes and units.** Time is learning rate x steps.

    Returns
    -------
    Derivation
        Results ``time`` (u_0, u_f, s, c), ``state`` (2, 1) in w_10, w_20, s, t,
        ``balanced`` (u_0, s, t) and ``balanced_time``.

    References
    ----------
    Saxe, McClelland & Ganguli (2014), arXiv:1312.6120 (balanced case and the
    hyperbolic angle); the forms regular at c = 0 are derived here.

    Examples
    --------
    >>> gradient_descent_depth_two().results["balanced"]
    s/((s/u_0 - 1)*exp(-2*s*t) + 1)
    """
    c = sp.Symbol("c", real=True)
    kap, v = sp.symbols("k v", positive=True)
    w_1, w_2 = mode(2)
    gradient = [sp.diff(mode_loss((w_1, w_2)), w) for w in (w_1, w_2)]
    product_speed = -(gradient[0] * w_2 + gradient[1] * w_1)
    squares = w_1**2 + w_2**2
    speed = squares * (target - w_1 * w_2)
    antiderivative, u, total = _depth_two_time(c)
    slope = sp.diff(antiderivative, u) - 1 / (total * (target - u))
    roots = {sp.sqrt(c**2 + 4 * target**2): kap, total: v}
    slope = slope.subs(roots)
    T = antiderivative.subs(u, _STOP) - antiderivative.subs(u, _START)
    state, residuals, relation = _depth_two_state()
    balanced = target / (1 + (target / _START - 1) * sp.exp(-2 * target * time))
    logistic = sp.diff(balanced, time) - 2 * balanced * (target - balanced)
    balanced_time = sp.log(_STOP * (target - _START) / (_START * (target - _STOP))) / 2 / target
    end = [(kap + c) / 2, (kap - c) / 2]
    return Derivation(
        title="Gradient descent at depth 2, any imbalance",
        steps=(
            Step(
                "Differentiate L = (s - w_1 w_2)^2 / 2: c = w_1^2 - w_2^2 is constant and"
                " du/dt = (w_1^2 + w_2^2)(s - u).",
                sp.Eq(sp.Derivative(sp.Symbol("u"), time, evaluate=False), speed),
                (gradient[0] * w_1 - gradient[1] * w_2, product_speed - speed),
                sp.expand,
            ),
            Step(
                "The invariant closes the equation: (w_1^2 + w_2^2)^2 = c^2 + 4 u^2.",
                sp.Eq(squares, sp.sqrt(c**2 + 4 * u**2)),
                (squares**2 - (w_1**2 - w_2**2) ** 2 - 4 * (w_1 * w_2) ** 2,),
                sp.expand,
            ),
            Step(
                "Separate variables; the slope of the antiderivative is 1 / (v (s - u)).",
                sp.Eq(sp.Symbol("T"), T),
                (slope,),
                modulo((kap**2 - c**2 - 4 * target**2, kap), (v**2 - c**2 - 4 * u**2, v)),
            ),
            Step(
                "The flow is dw/dt = F w - |w|^2 w / 2 with F = [[c/2, s], [s, -c/2]] and"
                " F^2 = (c^2 + 4 s^2)/4: with N' = F N and D' = |N|^2 the solution is N / sqrt(D).",
                sp.Eq(sp.Symbol("w"), sp.Symbol("N") / sp.sqrt(sp.Symbol("D"))),
                tuple(residuals),
                relation,
            ),
            Step(
                "End point: w_1^2 and w_2^2 have product s^2 and difference c.",
                sp.Eq(w_1**2, (sp.sqrt(c**2 + 4 * target**2) + c) / 2),
                (end[0] * end[1] - target**2, end[0] - end[1] - c),
                modulo((kap**2 - c**2 - 4 * target**2, kap)),
            ),
            Step(
                "Balanced start, c = 0: the logistic curve, and the time is its inverse.",
                sp.Eq(sp.Symbol("u"), balanced),
                (
                    logistic,
                    balanced.subs(time, 0) - _START,
                    sp.exp(2 * target * T.subs(c, 0)) - sp.exp(2 * target * balanced_time),
                ),
                sp.simplify,
            ),
        ),
        page="derivations/gradient_descent_depth_two",
        source=f"{SAXE} (balanced; hyperbolic angle); forms regular at c = 0 derived here",
        results={"time": T, "state": state, "balanced": balanced, "balanced_time": balanced_time},
    )


def gradient_descent_depth_d() -> Derivation:
    r"""Derive the learning time of gradient descent at depth d from a balanced start.

    **Equation.** :math:`\dot a = a^{d-1}(s - a^d)`,
    :math:`\dot u = d\,u^{2-2/d}(s - u)`; elementary antiderivatives at depth 3 and 4
    in :math:`x = a / s^{1/d}`, and the limit of many layers.

    **Shapes and units.** Time is learning rate x steps.

    Returns
    -------
    Derivation
        Results ``time_3``, ``time_4`` (a_0, a_f, s) and ``deep`` (d, u_0, u_f, s).

    References
    ----------
    Saxe, McClelland & Ganguli (2014), arXiv:1312.6120; the antiderivatives at
    depth 3 and 4 are derived here.

    Examples
    --------
    >>> sorted(gradient_descent_depth_d().results)
    ['deep', 'time_3', 'time_4']
    """
    a, u, x = sp.symbols("a u x", positive=True)
    balanced: list[sp.Expr] = []
    squares: list[sp.Expr] = []
    for layers in (2, 3, 4):
        weights = mode(layers)
        velocity = [-sp.diff(mode_loss(weights), w) for w in weights]
        same = dict.fromkeys(weights, a)
        balanced += [v.subs(same) - a ** (layers - 1) * (target - a**layers) for v in velocity]
        product = sp.Mul(*weights)
        growth = 2 * product * (target - product)
        squares += [2 * w * v - growth for w, v in zip(weights, velocity, strict=True)]
    map_speed = depth * a ** (depth - 1) * a ** (depth - 1) * (target - a**depth)
    expected = depth * u ** (2 - 2 / depth) * (target - u)
    root3 = sp.sqrt(3)
    forms = {
        3: -1 / x
        - sp.log(1 - x) / 3
        + sp.log(1 + x + x**2) / 6
        - sp.atan((2 * x + 1) / root3) / root3,
        4: -1 / (2 * x**2) + sp.atanh(x**2) / 2,
    }
    slopes = [sp.diff(form, x) - x ** (1 - d) / (1 - x**d) for d, form in forms.items()]
    deep = (
        sp.log(_STOP * (target - _START) / (_START * (target - _STOP))) / target**2
        + (1 / _START - 1 / _STOP) / target
    ) / depth
    a_0, a_f = sp.symbols("a_0 a_f", positive=True)

    def elapsed(layers: int) -> sp.Expr:
        size = target ** sp.Rational(1, layers)
        span = forms[layers].subs(x, a_f / size) - forms[layers].subs(x, a_0 / size)
        return span / target ** (2 - sp.Rational(2, layers))

    return Derivation(
        title="Gradient descent at depth d",
        steps=(
            Step(
                "With equal layers w_i = a, differentiating the loss gives the same speed for"
                " all of them (depths 2-4).",
                sp.Eq(
                    sp.Derivative(a, time, evaluate=False),
                    a ** (depth - 1) * (target - a**depth),
                ),
                tuple(balanced),
                sp.expand,
            ),
            Step(
                "The map u = a^d, any depth.",
                sp.Eq(sp.Derivative(u, time, evaluate=False), expected),
                (map_speed.subs(a, u ** (1 / depth)) - expected,),
                lambda residual: sp.powsimp(sp.expand(residual)),
            ),
            Step(
                "Unequal layers: every w_i^2 grows at the same speed, 2 u (s - u), so"
                " w_i^2 = y + c_i and the time is one integral over y.",
                sp.Eq(sp.Derivative(sp.Symbol("y"), time, evaluate=False), 2 * u * (target - u)),
                tuple(squares),
                sp.expand,
            ),
            Step(
                "Depth 3 and 4: antiderivatives of x^(1-d) / (1 - x^d), x = a / s^(1/d).",
                sp.Eq(sp.Symbol("T_3") * target ** sp.Rational(4, 3), forms[3]),
                tuple(slopes),
                sp.cancel,
            ),
            Step(
                "Many layers: u^(2-2/d) tends to u^2, and the time to 1/d of a fixed one.",
                sp.Eq(sp.Symbol("T"), deep),
                (
                    sp.limit(u ** (2 - 2 / depth), depth, sp.oo) - u**2,
                    sp.diff(deep, _STOP) - 1 / (depth * _STOP**2 * (target - _STOP)),
                ),
                sp.simplify,
            ),
        ),
        page="derivations/gradient_descent_depth_d",
        source=f"{SAXE}; antiderivatives at depth 3 and 4 derived here",
        results={"time_3": elapsed(3), "time_4": elapsed(4), "deep": deep},
    )
