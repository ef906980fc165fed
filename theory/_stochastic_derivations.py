"""Derivations behind stochastic descent under PL*, and PL* above a level of the loss."""

from __future__ import annotations

import itertools

import sympy as sp

from theory.derivation import Derivation, Step

__all__ = ["pl_epsilon", "sgd_step"]


def _enumerated(step: sp.Expr) -> sp.Expr:
    """Return the expected loss after one step: two samples, batches of two, all four of them."""
    rows = (sp.Matrix([[1, 1, 0]]), sp.Matrix([[0, 1, 1]]))
    targets = (1, -1)
    total = sp.Integer(0)
    for batch in itertools.product(range(2), repeat=2):
        # from w = 0 the error of sample i is minus its target
        weights = sum((step * targets[i] * rows[i].T for i in batch), sp.zeros(3, 1))
        total += sum(((rows[i] * weights)[0] - targets[i]) ** 2 for i in range(2)) / 2
    return sp.nsimplify(total / 4)


def sgd_step() -> Derivation:
    """Derive a step of stochastic descent, about n times the published one, with the same rate.

    Returns
    -------
    Derivation
        For batches drawn with replacement and the loss a sum over samples.

    Examples
    --------
    >>> sgd_step().check()
    8
    """
    L, g2, q, mu, beta, eta, x = sp.symbols("L G q mu beta eta x", positive=True)
    n, s = sp.symbols("n s", positive=True)
    a, b = sp.symbols("a b", real=True)
    pairs = sum((u + v) ** 2 for u in (a, b) for v in (a, b)) / 4
    # batch of s of n: mean s/n of the gradient, second moment from pairs of equal and other draws
    second = s * q / n + s * (s - 1) * g2 / n**2
    after = L - eta * s / n * g2 + n * beta * eta**2 / 2 * second
    bound = L * (1 - eta * s / n * (2 * mu - eta * mu * beta * (s - 1) - eta * n * beta**2))
    sharp = mu / (beta * (n * beta + mu * (s - 1)))
    published = n * mu / (n * beta * (n**2 * beta + mu * (s - 1)))
    factor = 1 - mu * s * eta / n
    case = {n: 2, s: 2, beta: 2, mu: 1}
    return Derivation(
        "A step of stochastic descent",
        (
            Step(
                "The sum of s gradients drawn with replacement from n has the second moment"
                " s q/n + s(s - 1)G/n², with G = |grad L|² and q the sum of the |grad l_i|²; here"
                " for two scalar gradients and s = 2.",
                sp.Eq(sp.Symbol("E|sum|^2"), second),
                (sp.expand(pairs - second.subs({n: 2, s: 2, q: a**2 + b**2, g2: (a + b) ** 2})),),
            ),
            Step(
                "The whole loss is smooth with constant n beta, and |grad l_i|² <= 2 beta l_i, so"
                " q <= 2 beta L. With G = 2 mu L + x the expected loss is at most"
                " L[1 - (eta s/n)(2mu - eta mu beta(s - 1) - eta n beta²)], less"
                " (eta s/n)(1 - eta beta(s - 1)/2)x.",
                sp.Le(sp.Symbol("E L"), bound),
                (
                    sp.expand(
                        after.subs({q: 2 * beta * L, g2: 2 * mu * L + x})
                        - bound
                        + eta * s / n * (1 - eta * beta * (s - 1) / 2) * x
                    ),
                ),
            ),
            Step(
                "The factor is 1 - mu s eta/n where the bracket is mu. At this step"
                " eta beta(s - 1) < 1, so x only helps.",
                sp.Eq(eta, sharp),
                (
                    sp.simplify((bound / L - factor).subs(eta, sharp)),
                    sp.simplify(1 - beta * (s - 1) * sharp - n * beta / (n * beta + mu * (s - 1))),
                ),
            ),
            Step(
                "Two samples, all four batches, exactly: with the published step the expected loss"
                " is 587/648 <= 17/18, with this one 171/200 <= 9/10.",
                sp.Eq(sp.Symbol("E L"), sp.Rational(171, 200)),
                (
                    published.subs(case) - sp.Rational(1, 18),
                    sharp.subs(case) - sp.Rational(1, 10),
                    _enumerated(sp.Rational(1, 18)) - sp.Rational(587, 648),
                    _enumerated(sp.Rational(1, 10)) - sp.Rational(171, 200),
                ),
            ),
        ),
        page="derivations/sgd_step",
        source="derived here; the published step: Liu, Zhu & Belkin (2022), theorem 7,"
        " arXiv:2003.00307",
        results={"published": published, "sharp": sharp, "factor": factor},
    )


def pl_epsilon() -> Derivation:
    """Derive the largest PL* constant of a linear system above a level of the loss.

    Returns
    -------
    Derivation
        In singular coordinates, two directions and the part out of reach.

    Examples
    --------
    >>> pl_epsilon().check()
    4
    """
    low, extra, v1, v2, e, level, mu, eta, L0 = sp.symbols(
        "sigma delta v1 v2 e epsilon mu eta L0", positive=True
    )
    high = low + extra
    least = e**2 / 2
    loss = ((low * v1) ** 2 + (high * v2) ** 2) / 2 + least
    square = (low**2 * v1) ** 2 + (high**2 * v2) ** 2
    best = low**2 * (1 - sp.Symbol("L_*") / level)
    reached = sp.sqrt(2 * level - e**2) / low
    steps = sp.log(L0 / level) / (eta * mu)
    return Derivation(
        "PL* above a level of the loss",
        (
            Step(
                "Measured from the least-squares solution in singular directions, the loss is L_*"
                " and a sum of squares; half the squared gradient is sigma_min²(L - L_*) and more.",
                sp.Ge(sp.Symbol("|grad L|^2") / 2, low**2 * sp.Symbol("L - L_*")),
                (
                    sp.expand(
                        square / 2
                        - low**2 * (loss - least)
                        - (high**2 - low**2) * (high * v2) ** 2 / 2
                    ),
                ),
            ),
            Step(
                "Divided by L, where L >= epsilon, that is at least sigma_min²(1 - L_*/epsilon);"
                " reached at L = epsilon along the least singular direction: no larger constant"
                " will do, and none at all for epsilon <= L_*.",
                sp.Eq(mu, best),
                (
                    sp.simplify(loss.subs({v2: 0, v1: reached}) - level),
                    sp.simplify(
                        (square / (2 * loss)).subs({v2: 0, v1: reached})
                        - best.subs(sp.Symbol("L_*"), least)
                    ),
                ),
            ),
            Step(
                "Until the level is reached the loss falls by (1 - eta mu) <= exp(-eta mu) a step.",
                sp.Eq(sp.Symbol("T"), sp.ceiling(steps)),
                (sp.simplify(L0 * sp.exp(-eta * mu * steps) - level),),
            ),
        ),
        page="derivations/pl_epsilon",
        source="derived here; the definition and the steps: Liu, Zhu & Belkin (2022), definition 5"
        " and theorem 9, arXiv:2003.00307",
        results={"constant": best, "steps": steps},
    )
