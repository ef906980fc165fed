"""Derivation of one quadratic penalty in place of many."""

from __future__ import annotations

import sympy as sp

from theory._preconditioning_derivations import generic, numerator, symmetric
from theory.derivation import Derivation, Step

__all__ = ["merged_penalties"]


def merged_penalties() -> Derivation:
    """Derive the one penalty that several are, and what the newest anchor changes.

    Returns
    -------
    Derivation
        Of one parameter, or of two with a full matrix where said; strengths without 1/2.

    Examples
    --------
    >>> merged_penalties().check()
    23
    """
    F1, F2, F3, gamma = sp.symbols("F_1 F_2 F_3 gamma", positive=True)
    t1, t2, t3, theta = sp.symbols("t_1 t_2 t_3 theta", real=True)
    a1, a2 = sp.symbols("a_1 a_2", real=True)

    def merge(
        first: tuple[sp.Expr, sp.Expr, sp.Expr], strength: sp.Expr, anchor: sp.Expr
    ) -> tuple[sp.Expr, sp.Expr, sp.Expr]:
        """Return strength, centre and constant of a penalty and one more."""
        old, centre, constant = first
        both = old + strength
        middle = (old * centre + strength * anchor) / both
        return both, middle, constant + old * strength / both * (centre - anchor) ** 2

    def value(penalty: tuple[sp.Expr, sp.Expr, sp.Expr]) -> sp.Expr:
        """Return the penalty at theta."""
        strength, centre, constant = penalty
        return strength * (theta - centre) ** 2 + constant

    start = (F1, t1, sp.Integer(0))
    two = merge(start, F2, t2)
    three = merge(two, F3, t3)
    other = merge(merge((F3, t3, sp.Integer(0)), F1, t1), F2, t2)
    separate = F1 * (theta - t1) ** 2 + F2 * (theta - t2) ** 2
    spread = F1 * (t1 - two[1]) ** 2 + F2 * (t2 - two[1]) ** 2
    newest = (F1 + F2) * (theta - t2) ** 2
    third = (F1 + F2 + F3) * (theta - t3) ** 2
    decayed = (gamma * F1 + F2) * (theta - t2) ** 2
    pull = 2 * F1 * (t2 - t1)
    # tasks with quadratic losses of minima a: the second is trained under the first's penalty
    joint = (F1 * a1 + F2 * a2) / (F1 + F2)
    losses = F1 * (theta - a1) ** 2 + F2 * (theta - a2) ** 2
    online = (F1 + F2) * (theta - joint) ** 2
    offline = (F1 * a1 + F2 * joint) / (F1 + F2)
    A, B = symmetric("a", 2), symmetric("b", 2)
    m, n, x = generic("m", 2, 1), generic("n", 2, 1), generic("x", 2, 1)
    middle = (A + B).adjugate() / (A + B).det() * (A * m + B * n)

    def form(matrix: sp.Matrix, centre: sp.Matrix) -> sp.Expr:
        """Return the quadratic form round a centre."""
        return ((x - centre).T * matrix * (x - centre))[0]

    rest = form(A, m) + form(B, n) - form(A + B, middle)
    return Derivation(
        "One penalty in place of many",
        (
            Step(
                "Complete the square: two penalties are one of the summed strength round the"
                " weighted mean, and a constant that no weight depends on.",
                sp.Eq(sp.Symbol("constant"), F1 * F2 / (F1 + F2) * (t1 - t2) ** 2),
                (
                    separate - value(two),
                    two[2] - F1 * F2 / (F1 + F2) * (t1 - t2) ** 2,
                    two[2] - spread,
                ),
                numerator,
            ),
            Step(
                "Task by task: strengths add, the mean moves to the new anchor by its share of the"
                " strength, the constant grows. The order of tasks does not matter.",
                sp.Eq(sp.Symbol("t'"), two[1] + F3 / (F1 + F2 + F3) * (t3 - two[1])),
                (
                    separate + F3 * (theta - t3) ** 2 - value(three),
                    three[1] - two[1] - F3 / (F1 + F2 + F3) * (t3 - two[1]),
                    three[1] - other[1],
                    three[2] - other[2],
                ),
                numerator,
            ),
            Step(
                "A weight that no task needs has strength 0 and no centre; one that a single task"
                " needs has that task's.",
                None,
                (two[1].subs(F2, 0) - t1, two[1].subs(F1, 0) - t2, two[2].subs(F2, 0)),
                numerator,
            ),
            Step(
                "The newest anchor for all of the strength instead (online, decay 1): the gradient"
                " differs by 2F₁(t₂ - t₁), a constant pull; with more tasks by the sum of these.",
                sp.Eq(sp.Symbol("offline' - online'"), pull),
                (
                    sp.diff(separate - newest, theta) - pull,
                    sp.diff(separate + F3 * (theta - t3) ** 2 - third, theta)
                    - 2 * F1 * (t3 - t1)
                    - 2 * F2 * (t3 - t2),
                    two[1] - t2 - F1 / (F1 + F2) * (t1 - t2),
                    sp.diff(separate - decayed, theta) - pull - 2 * (1 - gamma) * F1 * (theta - t2),
                ),
                numerator,
            ),
            Step(
                "Quadratic losses F(θ - a)²: trained under the first task's penalty, the second"
                " ends at the joint minimum, so that the newest anchor is the weighted mean of the"
                " minima, and the online penalty both losses but for a constant.",
                sp.Eq(sp.Symbol("t_2"), joint),
                (
                    sp.diff(losses, theta).subs(theta, joint),
                    sp.diff(losses - online, theta),
                ),
                numerator,
            ),
            Step(
                "A separate penalty round each anchor counts the first task again, as it is in the"
                " second anchor already: its centre is off the joint minimum.",
                sp.Eq(sp.Symbol("t'") - joint, F1 * F2 / (F1 + F2) ** 2 * (a1 - a2)),
                (
                    offline - joint - F1 * F2 / (F1 + F2) ** 2 * (a1 - a2),
                    offline - ((F1 * (F1 + F2) + F1 * F2) * a1 + F2**2 * a2) / (F1 + F2) ** 2,
                ),
                numerator,
            ),
            Step(
                "With full matrices all of this holds, the mean being (A + B)⁻¹(Am + Bn): here two"
                " weights. With the diagonals alone the mean of each weight ignores the others.",
                sp.Eq(sp.Symbol("t"), sp.Symbol("(A + B)⁻¹(A m + B n)")),
                (
                    *((A + B) * middle - A * m - B * n),
                    *(sp.diff(rest, entry) for entry in x),
                    rest.subs(dict.fromkeys(x, 0))
                    - ((m - n).T * A * (A + B).adjugate() * B * (m - n))[0] / (A + B).det(),
                ),
                numerator,
            ),
        ),
        page="derivations/merged_penalties",
        source="completing the square: standard; one penalty with the newest anchor: Huszár (2018),"
        " doi:10.1073/pnas.1717042115, and Schwarz et al. (2018), arXiv:1805.06370; differences:"
        " derived here",
        results={
            "strength": two[0],
            "anchor": two[1],
            "constant": two[2],
            "pull": pull,
            "double_count": F1 * F2 / (F1 + F2) ** 2 * (a1 - a2),
        },
    )
