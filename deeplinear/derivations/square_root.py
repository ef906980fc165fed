"""The square-root rule: constant speed, tanh curves, elementary learning times."""

from __future__ import annotations

import sympy as sp

from deeplinear.derivations._symbols import (
    DERIVED,
    HUH,
    depth,
    entries,
    layer_gradient,
    map_of,
    mode,
    mode_loss,
    modulo,
    network,
    network_loss,
    others,
    power,
    rotation,
    scale,
    target,
    time,
)
from theory.derivation import Derivation, Step

__all__ = ["square_root_rule"]


def _speeds() -> tuple[list[sp.Expr], list[sp.Expr]]:
    """Return |dw/dt|^2 - e^2 for full rules and the same for each layer, depths 2 to 4."""
    full, layer = [], []
    for layers in (2, 3, 4):
        weights = mode(layers, positive=True)
        error = target - sp.Mul(*weights)
        p = others(weights)
        S = sum(p_i**2 for p_i in p)
        gradient = [sp.diff(mode_loss(weights), w) for w in weights]
        full.append(sum(g**2 for g in gradient) / S - error**2)
        layer += [g**2 / p_i**2 - error**2 for g, p_i in zip(gradient, p, strict=True)]
    return full, layer


def _layer_matrix() -> list[sp.Expr]:
    """Return |dW_1/dt|^2 - |Delta|^2 and the defect of the rule for W_2 = turn P."""
    angle = sp.Symbol("phi")
    x, y = sp.symbols("x y", real=True)
    turn = rotation(angle).subs({sp.cos(angle): x, sp.sin(angle): y})
    # W_2 = turn P, P symmetric: the turn is its polar factor, P a root of W_2' W_2
    P = sp.Matrix([[sp.Symbol("p_1"), sp.Symbol("p_2")], [sp.Symbol("p_2"), sp.Symbol("p_3")]])
    W_1 = entries("w", 2, 2)
    W_2 = network((2, 2, 2))[1]
    goal = entries("t", 2, 2)
    gradient = layer_gradient(network_loss([W_1, W_2], goal), W_1)
    gradient = gradient.subs(dict(zip(W_2, turn * P, strict=True)))
    velocity = -turn.T * (map_of([W_1, turn * P]) - goal)
    delta = turn * P * W_1 - goal
    norm = sum(v**2 for v in velocity) - sum(d**2 for d in delta)
    return [norm, *(P * velocity + gradient), *((turn * P).T * (turn * P) - P * P)]


def _partial_fractions() -> list[sp.Expr]:
    """Return 1/P(x) - sum_k 1 / (P'(r_k)(x - r_k)) for two and three roots."""
    x, *roots = sp.symbols("x r_1 r_2 r_3")
    defects = []
    for count in (2, 3):
        polynomial = sp.Mul(*[x - r for r in roots[:count]])
        slope = sp.diff(polynomial, x)
        terms = [1 / (slope.subs(x, r) * (x - r)) for r in roots[:count]]
        defects.append(1 / polynomial - sum(terms))
    return defects


def _inverse_forms() -> tuple[dict[int, sp.Expr], sp.Symbol]:
    """Return antiderivatives of 1 / (1 - x^d) at depth 2, 3 and 4."""
    x = sp.Symbol("x", positive=True)
    root3 = sp.sqrt(3)
    cubic = -sp.log(1 - x) / 3 + sp.log(1 + x + x**2) / 6
    return {
        2: sp.atanh(x),
        3: cubic + sp.atan((2 * x + 1) / root3) / root3,
        4: (sp.atanh(x) + sp.atan(x)) / 2,
    }, x


def square_root_rule() -> Derivation:
    r"""Derive the square-root rule's constant speed and its closed forms.

    **Equation.** :math:`\|\dot\theta\| = \|\Delta\|`; balanced
    :math:`\dot a = (s - a^d)/\sqrt d`, hence at depth 2
    :math:`a = \sqrt s \tanh(t\sqrt{s/2} + \operatorname{artanh}(a_0/\sqrt s))`. The
    layer rule at depth 2 with imbalance :math:`\delta = w_1 - w_2`:
    :math:`(w_1 + w_2)/2 = r \tanh(\kappa r t + \dots)`, :math:`r^2 = s + \delta^2/4`.

    **Shapes and units.** Time is learning rate x steps.

    Returns
    -------
    Derivation
        Results ``balanced`` (a_0, s, t), ``layer_mean`` (m_0, delta, s, kappa, t),
        ``time_2``, ``time_3``, ``time_4`` (a_0, a_f, s).

    References
    ----------
    Derived here; the rule is that of Huh (2020), PMLR 119, 4552-4560.

    Examples
    --------
    >>> square_root_rule().results["time_2"].free_symbols == set(
    ...     sp.symbols("a_0 a_f s", positive=True)
    ... )
    True
    """
    full, layer = _speeds()
    a, a_0, a_f = sp.symbols("a a_0 a_f", positive=True)
    balanced_speed = a ** (depth - 1) * (target - a**depth) / sp.sqrt(depth * a ** (2 * depth - 2))
    curve = sp.sqrt(target) * sp.tanh(sp.sqrt(target / 2) * time + sp.atanh(a_0 / sp.sqrt(target)))
    delta, m, m_0 = sp.symbols("delta m m_0", real=True)
    r = sp.sqrt(target + delta**2 / 4)
    mean = r * sp.tanh(scale * r * time + sp.atanh(m_0 / r))
    error = target - (m + delta / 2) * (m - delta / 2)
    forms, x = _inverse_forms()
    slopes = [sp.diff(form, x) - 1 / (1 - x**d) for d, form in forms.items()]
    tanh = sp.Symbol("T")
    tanh_relations = [
        _logistic_defect(curve, (target - tanh**2) / sp.sqrt(2), sp.sqrt(target), tanh),
        _logistic_defect(mean, scale * error.subs(m, tanh), r, tanh),
    ]

    def elapsed(layers: int) -> sp.Expr:
        size = target ** sp.Rational(1, layers)
        span = forms[layers].subs(x, a_f / size) - forms[layers].subs(x, a_0 / size)
        return sp.sqrt(layers) * span * target ** (sp.Rational(1, layers) - 1)

    S, e = sp.symbols("S e", positive=True)
    return Derivation(
        title="The square-root rule: constant speed and tanh curves",
        steps=(
            Step(
                "The full rule's squared speed v^2 is S^(1-2q) e^2; at q = 1/2 it is the error"
                " itself, with no plateau and no blow-up (depths 2-4).",
                sp.Eq(sp.Symbol("v") ** 2, S ** (1 - 2 * power) * e**2),
                tuple(full),
                sp.cancel,
            ),
            Step(
                "The layer rule moves every layer at the same speed v_i, kappa |e|.",
                sp.Eq(sp.Symbol("v_i"), scale * e),
                tuple(layer),
                sp.cancel,
            ),
            Step(
                "Matrices, layer rule: with W_2 = O P the root of the block is P, the velocity"
                " -O' Delta solves P v = -g, and its norm is the error's (2-2-2, layer 1).",
                None,
                tuple(_layer_matrix()),
                modulo((
                    sp.Symbol("x", real=True) ** 2 + sp.Symbol("y", real=True) ** 2 - 1,
                    sp.Symbol("x", real=True),
                )),
            ),
            Step(
                "Balanced layers: S = d a^(2d-2).",
                sp.Eq(sp.Derivative(a, time, evaluate=False), (target - a**depth) / sp.sqrt(depth)),
                (balanced_speed - (target - a**depth) / sp.sqrt(depth),),
                sp.simplify,
            ),
            Step(
                "Depth 2, full rule, balanced: a hyperbolic tangent.",
                sp.Eq(a, curve),
                (tanh_relations[0], curve.subs(time, 0) - a_0),
                sp.expand,
            ),
            Step(
                "Depth 2, layer rule: w_1 - w_2 = delta is kept, the mean m obeys"
                " dm/dt = kappa (s + delta^2/4 - m^2).",
                sp.Eq(m, mean),
                (
                    error - (target + delta**2 / 4 - m**2),
                    tanh_relations[1],
                    mean.subs(time, 0) - m_0,
                ),
                modulo(),
            ),
            Step(
                "Learning times: antiderivatives of 1 / (1 - x^d), x = a / s^(1/d), times"
                " sqrt(d) s^(1/d - 1).",
                sp.Eq(sp.Symbol("I_3"), forms[3]),
                tuple(slopes),
                sp.cancel,
            ),
            Step(
                "Layer rule at any depth: w_i = x + delta_i with common x; partial fractions of"
                " 1 / (prod (x + delta_i) - s) over its roots integrate the time.",
                None,
                tuple(_partial_fractions()),
                modulo(),
            ),
        ),
        page="derivations/square_root_rule",
        source=f"{DERIVED}; the rule is that of {HUH}",
        results={
            "balanced": curve,
            "layer_mean": mean,
            "time_2": elapsed(2),
            "time_3": elapsed(3),
            "time_4": elapsed(4),
        },
    )


def _logistic_defect(curve: sp.Expr, speed: sp.Expr, size: sp.Expr, value: sp.Symbol) -> sp.Expr:
    """Return d(curve)/dt minus its speed, the tanh in both replaced by value / size."""
    shape = next(iter(curve.atoms(sp.tanh)))
    return sp.diff(curve, time).subs(shape, value / size) - speed
