"""The two-layer network as a set of sigmoidal modes."""

from __future__ import annotations

import sympy as sp

from deeplinear.derivations._symbols import (
    SAXE,
    entries,
    layer_gradient,
    map_of,
    modulo,
    network,
    network_loss,
    rotation,
    target,
    time,
)
from theory.derivation import Derivation, Step

__all__ = ["saxe_modes"]

_START, _STOP = sp.symbols("u_0 u_f", positive=True)


def saxe_modes() -> Derivation:
    r"""Derive the decoupling of the two-layer network into sigmoidal modes.

    **Equation.** In the singular frames of the target the layers' modes obey
    :math:`\dot a = b (s - ab)`, :math:`\dot b = a (s - ab)`; a balanced mode is
    :math:`u(t) = s e^{2 s t} / (e^{2 s t} - 1 + s/u_0)`, half learned at
    :math:`t = \ln(s/u_0 - 1) / 2s`.

    **Shapes and units.** Time is learning rate x steps.

    Returns
    -------
    Derivation
        Results ``mode`` (u_0, s, t), ``half_time`` (u_0, s) and ``time``
        (u_0, u_f, s).

    References
    ----------
    Saxe, McClelland & Ganguli (2014), arXiv:1312.6120.

    Examples
    --------
    >>> saxe_modes().results["half_time"]
    log(s/u_0 - 1)/(2*s)
    """
    layers = network((2, 2, 2))
    goals = sp.diag(*sp.symbols("s_1 s_2", positive=True))
    left, middle, right = (rotation(angle) for angle in sp.symbols("alpha beta gamma"))
    plain = network_loss(layers, goals)
    turned = [middle * layers[0] * right.T, left * layers[1] * middle.T]
    # the middle turn cancels inside the map, the outer ones inside the norm
    error = entries("e", 2, 2)
    outer = sum(x**2 for x in left * error * right.T) - sum(x**2 for x in error)
    inner = list(map_of(turned) - left * map_of(layers) * right.T)
    diagonal = {w[i, 1 - i]: 0 for w in layers for i in (0, 1)}
    gradients = [layer_gradient(plain, w).subs(diagonal) for w in layers]
    off = [gradient[i, 1 - i] for gradient in gradients for i in (0, 1)]
    on = []
    for i in (0, 1):
        a, b, s = layers[0][i, i], layers[1][i, i], goals[i, i]
        on += [gradients[0][i, i] + b * (s - a * b), gradients[1][i, i] + a * (s - a * b)]
    # a rotation's entries obey sin^2 + cos^2 = 1; each pair becomes two symbols
    sines = {}
    relations = []
    for angle in sp.symbols("alpha beta gamma"):
        x, y = sp.symbols(f"x_{angle} y_{angle}")
        sines.update({sp.cos(angle): x, sp.sin(angle): y})
        relations.append((x**2 + y**2 - 1, x))
    u = target * sp.exp(2 * target * time) / (sp.exp(2 * target * time) - 1 + target / _START)
    half = sp.log(target / _START - 1) / (2 * target)
    T = sp.log(_STOP * (target - _START) / (_START * (target - _STOP))) / (2 * target)
    logistic = [
        sp.diff(u, time) - 2 * u * (target - u),
        u.subs(time, 0) - _START,
        u.subs(time, half) - target / 2,
        u.subs(time, T) - _STOP,
    ]
    return Derivation(
        title="Modes of the two-layer network",
        steps=(
            Step(
                "Orthogonal turns of inputs, hidden units and outputs leave the loss as it is,"
                " so the target may be taken diagonal (its singular value decomposition).",
                None,
                tuple(x.subs(sines) for x in (outer, *inner)),
                modulo(*relations),
            ),
            Step(
                "On diagonal layers the off-diagonal gradients vanish: diagonal stays diagonal.",
                None,
                tuple(off),
                sp.expand,
            ),
            Step(
                "Each diagonal pair (a, b) follows its own equation.",
                sp.Eq(
                    sp.Derivative(sp.Symbol("a"), time, evaluate=False),
                    sp.Symbol("b") * (target - sp.Symbol("a") * sp.Symbol("b")),
                ),
                tuple(on),
                sp.expand,
            ),
            Step(
                "Balanced, a = b: u = a b is a sigmoid, half learned after a time of order 1/s.",
                sp.Eq(sp.Symbol("u"), u),
                tuple(logistic),
                sp.simplify,
            ),
            Step(
                "Strong modes come first: the half time of a small start falls as 1/s (up to a"
                " logarithm).",
                sp.Eq(sp.Symbol("t_half"), half),
                (sp.limit(half * 2 * target / sp.log(1 / _START), _START, 0) - 1,),
                sp.simplify,
            ),
        ),
        page="derivations/saxe_modes",
        source=SAXE,
        results={"mode": u, "half_time": half, "time": T},
    )
