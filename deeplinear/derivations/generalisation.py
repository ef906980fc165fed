"""Test error of a linear student on a noisy linear teacher, and early stopping."""

from __future__ import annotations

import sympy as sp

from deeplinear.derivations._symbols import DERIVED, entries, modulo, rotation
from theory.derivation import Derivation, Step

__all__ = ["early_stopping"]


def early_stopping() -> Derivation:
    r"""Derive the test error along training and its least value for natural gradient.

    **Equation.** With :math:`m_a = u_a^\top W_T v_a` the overlap of the teacher with
    mode a of the target: :math:`E(t) = \sum_a (u_a^2 - 2 m_a u_a) + \|W_T\|^2`.
    Natural gradient learns all modes alike, so its least error is
    :math:`\|W_T\|^2 - \langle W^*, W_T\rangle^2 / \|W^*\|^2`; the best of all
    stopping rules, one a mode, reaches :math:`\|W_T\|^2 - \sum_a m_a^2`.

    **Shapes and units.** Squared error of the map, without a factor 1/2 and
    without the noise floor.

    Returns
    -------
    Derivation
        Results ``error`` (g, W, X, T), where W and T are the squared norms of W* and
        W_T, X is their inner product and g the fraction learned, ``best_error``
        (W, X, T), ``stop`` the best g and ``stop_time``.

    References
    ----------
    Test error: Lampinen & Ganguli (2019), ICLR, arXiv:1809.10374. The bound for
    natural gradient is derived here.

    Examples
    --------
    >>> early_stopping().results["best_error"]
    T - X**2/W
    """
    alpha, beta = sp.symbols("alpha beta")
    sines: dict[sp.Expr, sp.Expr] = {}
    relations = []
    for angle in (alpha, beta):
        x, y = sp.symbols(f"x_{angle} y_{angle}")
        sines.update({sp.cos(angle): x, sp.sin(angle): y})
        relations.append((x**2 + y**2 - 1, x))
    left, right = (rotation(angle).subs(sines) for angle in (alpha, beta))
    learned = sp.symbols("u_1 u_2", real=True)
    teacher = entries("t", 2, 2)
    student = left * sp.diag(*learned) * right.T
    error = sum(x**2 for x in student - teacher)
    overlaps = [(left[:, a].T * teacher * right[:, a])[0] for a in (0, 1)]
    norm = sum(x**2 for x in teacher)
    sum_form = sum(u**2 - 2 * m * u for u, m in zip(learned, overlaps, strict=True)) + norm

    W, T, t = sp.symbols("W T t", positive=True)
    X, g = sp.symbols("X g", real=True)
    goal = entries("r", 2, 2)
    chord = sum(x**2 for x in g * goal - teacher)
    inner = sum(a * b for a, b in zip(goal, teacher, strict=True))
    size = sum(x**2 for x in goal)
    quadratic = g**2 * W - 2 * g * X + T
    best = T - X**2 / W
    u, m = sp.symbols("u_a m_a", real=True)
    stop_time = -sp.log(1 - X / W)
    return Derivation(
        title="Test error and early stopping",
        steps=(
            Step(
                "Whitened test inputs make the error |W_bar - W_T|^2. In the singular frames of"
                " the student it is a sum over modes.",
                sp.Eq(
                    sp.Symbol("E"),
                    sp.Sum(u**2 - 2 * m * u, (sp.Symbol("a"), 1, sp.Symbol("n"))) + T,
                ),
                (error - sum_form,),
                modulo(*relations),
            ),
            Step(
                "Mode by mode the best place to stop is u_a = m_a, which gains m_a^2.",
                sp.Eq(u, m),
                (
                    sp.diff(u**2 - 2 * m * u, u).subs(u, m),
                    (u**2 - 2 * m * u).subs(u, m) + m**2,
                ),
                sp.expand,
            ),
            Step(
                "Natural gradient from small weights: W_bar = g W* with g = 1 - exp(-t).",
                sp.Eq(sp.Symbol("E"), quadratic),
                (chord - quadratic.subs({W: size, X: inner, T: norm}),),
                sp.expand,
            ),
            Step(
                "A parabola in g, with its least value at g = X / W (reached if 0 <= X < W).",
                sp.Eq(sp.Symbol("E_min"), best),
                (
                    sp.diff(quadratic, g).subs(g, X / W),
                    quadratic.subs(g, X / W) - best,
                    sp.diff(quadratic, g, 2) - 2 * W,
                ),
                sp.cancel,
            ),
            Step(
                "The time to stop.",
                sp.Eq(sp.Symbol("t_stop"), stop_time),
                ((1 - sp.exp(-t)).subs(t, stop_time) - X / W,),
                sp.simplify,
            ),
        ),
        page="derivations/early_stopping",
        source=f"Test error: Lampinen & Ganguli (2019), arXiv:1809.10374; the rest {DERIVED}",
        results={
            "error": quadratic,
            "best_error": best,
            "stop": X / W,
            "stop_time": stop_time,
        },
    )
