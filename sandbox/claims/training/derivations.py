"""The recurrence of gradient descent on a quadratic, and identities of the accuracy matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from theory.derivation import Derivation

__all__ = ["accuracy_identities", "quadratic_descent"]


def quadratic_descent() -> Derivation:
    """Derive the path of gradient descent on one eigenmode of a quadratic loss."""
    import sympy as sp

    from theory.derivation import Derivation, Step

    rate, curvature, slope, start = sp.symbols("eta lambda b c_0", positive=True)
    t = sp.Symbol("t", integer=True, nonnegative=True)
    shrink = (1 - rate * curvature) ** t
    path = shrink * start + (1 - shrink) * slope / curvature
    c = sp.Symbol("c")
    loss = curvature * c**2 / 2 - slope * c
    step = sp.expand(c - rate * sp.diff(loss, c))
    flat = sp.limit(path, curvature, 0)
    return Derivation(
        "Gradient descent on an eigenmode of a quadratic loss",
        (
            Step(
                "In an eigenvector of the Hessian, with eigenvalue λ and coordinate c, the loss of"
                " linear regression is λc²/2 − bc; one step of size η maps c to (1 − ηλ)c + ηb.",
                sp.Eq(sp.Symbol("c_{t+1}"), (1 - rate * curvature) * c + rate * slope),
                (step - ((1 - rate * curvature) * c + rate * slope),),
            ),
            Step(
                "The claimed path starts at c₀ and satisfies the recurrence.",
                sp.Eq(sp.Symbol("c_t"), path),
                (
                    path.subs(t, 0) - start,
                    path.subs(t, t + 1) - step.subs(c, path),
                ),
            ),
            Step(
                "Where the inputs do not vary, λ = 0 and with it b = 0: the coordinate stays.",
                None,
                (flat.subs(slope, 0) - start,),
            ),
        ),
        page="training",
        source="standard",
        results={"path": path},
    )


def accuracy_identities() -> Derivation:
    """Derive what holds between average accuracy, learning accuracy, transfer and forgetting."""
    import sympy as sp

    from theory.derivation import Derivation, Step

    steps = []
    for tasks in (2, 3, 4):
        R = sp.MatrixSymbol("R", tasks, tasks).as_explicit()
        average = sum(R[tasks - 1, j] for j in range(tasks)) / sp.Integer(tasks)
        learning = sum(R[j, j] for j in range(tasks)) / sp.Integer(tasks)
        backward = sum(R[tasks - 1, j] - R[j, j] for j in range(tasks - 1)) / sp.Integer(tasks - 1)
        share = sp.Rational(tasks - 1, tasks)
        # the best accuracy on task j is that right after learning it, plus a gain >= 0
        gains = sp.symbols(f"g_1:{tasks}", nonnegative=True)
        best = [R[j, j] + gains[j] for j in range(tasks - 1)]
        forgetting = sum(best[j] - R[tasks - 1, j] for j in range(tasks - 1)) / sp.Integer(
            tasks - 1
        )
        steps += [
            Step(
                f"{tasks} tasks: the last task has been learned last, so its term drops out of the"
                " difference between average and learning accuracy; what is left is backward"
                " transfer.",
                sp.Eq(sp.Symbol("A") - sp.Symbol("L"), share * sp.Symbol("B")),
                (average - learning - share * backward,),
                sp.expand,
            ),
            Step(
                f"{tasks} tasks: forgetting exceeds the loss since learning by the mean gain of the"
                " best accuracy over that right after learning, which is never negative.",
                sp.Eq(sp.Symbol("F") + sp.Symbol("B"), sp.Add(*gains) / sp.Integer(tasks - 1)),
                (forgetting + backward - sum(gains) / sp.Integer(tasks - 1),),
                sp.expand,
            ),
        ]
    return Derivation(
        "Identities of the accuracy matrix",
        tuple(steps),
        page="training",
        source="derived here from the definitions of Lopez-Paz & Ranzato (2017) and Chaudhry"
        " et al. (2018)",
    )
