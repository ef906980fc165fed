"""Derivations of path sums: what descent in finite steps adds, and what a bowl makes of them."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation, Step

__all__ = ["bowl_importance", "path_sum_of_descent"]

ZENKE = "Zenke, Poole & Ganguli (2017), arXiv:1703.04200"


def path_sum_of_descent() -> Derivation:
    """Derive by how much the path sum of descent on all data exceeds the loss that is lost.

    Returns
    -------
    Derivation
        To first order in the learning rate for any loss, exactly for a bowl.

    Examples
    --------
    >>> path_sum_of_descent().check()
    5
    """
    eta, h, x, n = sp.symbols("eta h x n", positive=True)
    theta, t = sp.Symbol("theta", real=True), sp.Symbol("t", real=True)
    loss = sp.Function("L")(theta)
    slope, bend = sp.diff(loss, theta), sp.diff(loss, theta, 2)
    moved = theta - eta * slope
    expanded = sp.series(sp.Function("L")(theta + t), t, 0, 3).removeO().doit()
    drop = loss - expanded.subs(t, moved - theta)
    shrink = 1 - eta * h
    path = eta * h**2 * x**2 * (1 - shrink ** (2 * n)) / (1 - shrink**2)
    lost = h * x**2 * (1 - shrink ** (2 * n)) / 2
    ends = h**2 * x**2 * (1 - shrink ** (2 * n))
    flow = sp.Function("theta")(t)
    speed = -slope.subs(theta, flow)
    change = sp.diff(slope.subs(theta, flow) ** 2, t).doit().subs(sp.diff(flow, t), speed)
    curved = bend.subs(theta, flow) * slope.subs(theta, flow) ** 2
    return Derivation(
        "The path sum of descent on all data",
        (
            Step(
                "A step moves a weight by -ηg. The path sum grows by ηg², the loss falls by ηg²"
                " less half of η²g'Hg: the sum exceeds the drop by the curvature along the step.",
                sp.Eq(sp.Symbol("excess"), eta**2 * sp.Symbol("g'Hg") / 2),
                (sp.expand(eta * slope**2 - drop - eta**2 * bend * slope**2 / 2),),
            ),
            Step(
                "Along the flow the squared gradient falls at the rate 2g'Hg.",
                sp.Eq(sp.Symbol("d(g'g)/dt"), -2 * sp.Symbol("g'Hg")),
                (sp.expand(change + 2 * curved),),
            ),
            Step(
                "A sum over steps of η² is an integral over time of η: the excess is η/4 times the"
                " fall of the squared gradient, and nothing for infinitely small steps.",
                sp.Eq(
                    sp.Symbol("excess"),
                    eta * (sp.Symbol("|g(0)|^2") - sp.Symbol("|g(T)|^2")) / 4,
                ),
                (eta / 2 * sp.Rational(1, 2) - eta / 4,),
            ),
            Step(
                "A bowl hx²/2 is a geometric sum: the excess is the same quarter times 1/(1 - ηh/2)"
                ", whatever the number of steps.",
                sp.Eq(sp.Symbol("excess"), eta * ends / (4 - 2 * eta * h)),
                (
                    sp.simplify(path - lost - eta * ends / (4 - 2 * eta * h)),
                    sp.limit(eta * ends / (4 - 2 * eta * h) / (eta * ends / 4), eta, 0) - 1,
                ),
            ),
        ),
        page="derivations/path_sum_of_descent",
        source=f"the limit of small steps: {ZENKE}; the excess: derived here",
        results={"excess_of_bowl": eta * ends / (4 - 2 * eta * h)},
    )


def bowl_importance() -> Derivation:
    """Derive the path integrals of a quadratic loss and what the surrogate makes of them.

    Returns
    -------
    Derivation
        In the eigenbasis of the Hessian; for two coupled weights in their own basis.

    Examples
    --------
    >>> bowl_importance().check()
    8
    """
    a, b, t = sp.symbols("lambda_a lambda_b t", positive=True)
    da, db, sigma, xi = sp.symbols("d_a d_b sigma xi", positive=True)
    angle = sp.Symbol("phi", real=True)
    pair = sp.integrate(a * da * sp.exp(-a * t) * b * db * sp.exp(-b * t), (t, 0, sp.oo))
    entry = a * b * da * db / (a + b)
    turn = sp.Matrix([[sp.cos(angle), -sp.sin(angle)], [sp.sin(angle), sp.cos(angle)]])
    hessian = turn * sp.diag(a, b) * turn.T
    paths = turn * sp.Matrix([[a * da**2 / 2, entry], [entry, b * db**2 / 2]]) * turn.T
    # starts at (sigma, sigma) and (sigma, -sigma) have the covariance sigma^2 1 and stand for all
    mean = (paths + paths.subs(db, -db)).subs({da: sigma, db: sigma}) / 2
    drop = (a * da**2 + b * db**2) / 2
    own = a * da**2 / 2
    surrogate = own / (da**2 + xi) * da**2
    return Derivation(
        "Path integrals of a quadratic loss",
        (
            Step(
                "Flow from a distance d shrinks every eigendirection by exp(-λt); the integral of"
                " the product of two components of the gradient is elementary.",
                sp.Eq(sp.Symbol("Q_ab"), entry),
                (sp.simplify(pair - entry), sp.simplify(entry.subs({b: a, db: da}) - own)),
            ),
            Step(
                "The path integrals of the weights are the diagonal of that matrix in the weights'"
                " own basis. Their sum is its trace, the loss at the start.",
                sp.Eq(sp.Symbol("tr Q"), drop),
                (sp.simplify(paths.trace() - drop),),
            ),
            Step(
                "Averaged over starts of covariance σ², products of different eigendirections"
                " vanish: half the Hessian is left, times σ², in any basis.",
                sp.Eq(sp.Symbol("E Q"), sigma**2 * sp.Symbol("H") / 2),
                tuple(sp.simplify(part) for part in mean - sigma**2 * hessian / 2),
            ),
            Step(
                "With a diagonal Hessian every weight has λd²/2, and over d² + ξ times d² the"
                " share d²/(d² + ξ) of it: the surrogate is the loss itself where ξ is small.",
                sp.Eq(sp.Symbol("surrogate"), surrogate),
                (sp.limit(surrogate, xi, 0) - own,),
            ),
        ),
        page="derivations/bowl_importance",
        source=f"{ZENKE}, for the matrix and its mean; the share: derived here",
        results={"matrix": entry, "surrogate": surrogate},
    )
