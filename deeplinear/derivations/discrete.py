"""Explicit Euler steps: how large they may be, and what they do to the invariants."""

from __future__ import annotations

import sympy as sp

from deeplinear.derivations._symbols import (
    DERIVED,
    depth,
    entries,
    mode,
    mode_loss,
    network,
    others,
    partials,
    power,
    scale,
    target,
)
from theory.derivation import Derivation, Step

__all__ = ["euler_stability"]


def _linearised(layers: int) -> tuple[list[sp.Expr], list[sp.Expr]]:
    """Return J v + rate v at the optimum for the full and for the layer rule."""
    weights = mode(layers, positive=True)
    p = others(weights)
    S = sum(p_i**2 for p_i in p)
    gradient = [sp.diff(mode_loss(weights), w) for w in weights]
    optimum = {target: sp.Mul(*weights)}

    def defect(gains: list[sp.Expr], direction: list[sp.Expr], rate: sp.Expr) -> list[sp.Expr]:
        velocity = sp.Matrix([-gain * g for gain, g in zip(gains, gradient, strict=True)])
        slope = velocity.jacobian(sp.Matrix(weights)).subs(optimum)
        moved = slope * sp.Matrix(direction)
        # divided by its gain each entry is a sum of products of powers
        return [
            m / gain + rate * v / gain for m, v, gain in zip(moved, direction, gains, strict=True)
        ]

    full = defect([S ** (-power)] * layers, p, S ** (1 - power))
    gains = [scale * p_i ** (-2 * power) for p_i in p]
    rate = scale * sum(p_i ** (2 - 2 * power) for p_i in p)
    layer = defect(gains, [p_i ** (1 - 2 * power) for p_i in p], rate)
    return full, layer


def _drift() -> list[sp.Expr]:
    """Return D(after) - D(before) - eta^2 (G_2'G_2 - G_1 G_1') for a 2-3-2 full-rule step."""
    layers, common = network((2, 3, 2)), entries("m", 2, 2)
    eta = sp.Symbol("eta", positive=True)
    after, before = partials(layers)
    steps = [a.T * common * b.T for a, b in zip(after, before, strict=True)]
    moved = [w - eta * step for w, step in zip(layers, steps, strict=True)]

    def imbalance(pair: list[sp.Matrix]) -> sp.Matrix:
        return pair[1].T * pair[1] - pair[0] * pair[0].T

    return list(imbalance(moved) - imbalance(layers) - eta**2 * imbalance(steps))


def euler_stability() -> Derivation:
    r"""Derive the largest explicit Euler steps and the drift of the invariant.

    **Equation.** Near the optimum :math:`\eta < 2 / S_*^{1-q}` (full) and
    :math:`\eta < 2 / (\kappa \sum_i |p_i|^{2-2q})` (layer). First step from balanced
    layers :math:`a_0` without overshoot:
    :math:`\eta \le d^q (s^{1/d} - a_0) / (a_0^{(d-1)(1-2q)} (s - a_0^d))`. A full
    rule's step moves :math:`D_i` by exactly :math:`\eta^2 (G_{i+1}^\top G_{i+1} -
    G_i G_i^\top)`.

    **Shapes and units.** eta is a step of time, learning rate x 1.

    Returns
    -------
    Derivation
        Results ``near_optimum`` (S, q), ``balanced`` (s, d, q) and ``first_step``
        (a_0, s, d, q).

    References
    ----------
    Derived here.

    Examples
    --------
    >>> q = sp.Symbol("q", real=True)
    >>> euler_stability().results["near_optimum"].subs(q, 1)
    2
    """
    full, layer = zip(*(_linearised(layers) for layers in (2, 3)), strict=True)
    S, a_0, rate, eta = sp.symbols("S a_0 r eta", positive=True)
    bound = 2 / S ** (1 - power)
    sharpness = depth * target ** (2 - 2 / depth)
    balanced = 2 / (depth ** (1 - power) * target ** ((2 - 2 / depth) * (1 - power)))
    speed = depth ** (-power) * a_0 ** ((depth - 1) * (1 - 2 * power)) * (target - a_0**depth)
    first = (target ** (1 / depth) - a_0) / speed
    landing = a_0 + first * speed - target ** (1 / depth)
    natural = first.subs(power, 1) - depth * a_0 ** (depth - 1) * (target ** (1 / depth) - a_0) / (
        target - a_0**depth
    )
    return Derivation(
        title="Explicit Euler: stable steps and the drift of the invariant",
        steps=(
            Step(
                "Linearise the full rule at the optimum: p is an eigenvector with rate S^(1-q)"
                " (every other direction is at rest; depths 2 and 3, any power).",
                sp.Eq(sp.Symbol("r"), S ** (1 - power)),
                tuple(x for pair in full for x in pair),
                _powers,
            ),
            Step(
                "The layer rule: eigenvector p_i^(1-2q), rate kappa sum_i p_i^(2-2q).",
                None,
                tuple(x for pair in layer for x in pair),
                _powers,
            ),
            Step(
                "A step multiplies the distance by 1 - eta r: stable if and only if eta < 2/r,"
                " where it reaches -1.",
                sp.Eq(sp.Symbol("eta_max"), bound),
                ((1 - eta * rate).subs(eta, 2 / rate) + 1, bound * S ** (1 - power) - 2),
                sp.simplify,
            ),
            Step(
                "A balanced optimum has S = d s^(2-2/d).",
                sp.Eq(sp.Symbol("eta_max"), balanced),
                (bound.subs(S, sharpness) / balanced - 1,),
                lambda residual: sp.simplify(sp.expand_power_base(residual)),
            ),
            Step(
                "First step from equal layers a_0: the largest that lands on s^(1/d). At q = 1 it"
                " shrinks as a_0^(d-1); at q = 1/2 it does not.",
                sp.Eq(sp.Symbol("eta_1"), first),
                (landing, natural),
                sp.simplify,
            ),
            Step(
                "The terms linear in eta cancel by the conservation law: a step of a full rule"
                " moves D_i by eta^2 (G_(i+1)' G_(i+1) - G_i G_i'), exactly (2-3-2).",
                None,
                tuple(_drift()),
                sp.expand,
            ),
        ),
        page="derivations/euler_stability",
        source=DERIVED,
        results={"near_optimum": bound, "balanced": balanced, "first_step": first},
    )


def _powers(residual: sp.Expr) -> sp.Expr:
    """Bring a sum of products of symbolic powers to zero."""
    return sp.expand(sp.powsimp(sp.expand_power_base(sp.expand(residual))))
