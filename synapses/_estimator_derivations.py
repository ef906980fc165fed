"""Derivations behind the estimators: the variance-mean parabola, the gradient in p."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation, Step

__all__ = ["likelihood_ratio", "mean_variance_parabola"]


def mean_variance_parabola() -> Derivation:
    """Derive the parabola of variance against mean, and what ignoring variable quanta does.

    Returns
    -------
    Derivation
        From the moments of quantal release.

    Examples
    --------
    >>> mean_variance_parabola().check()
    7
    """
    N, p, q, c, mu = sp.symbols("N p q c mu", positive=True)
    mean = N * p * q
    variance = q**2 * (N * p * (1 - p) + N * p * c**2)
    curve = q * (1 + c**2) * mu - mu**2 / N
    at_mean = variance / mean + mean / N
    silent = (1 - p) ** N
    fail, share = sp.symbols("f F", positive=True)
    return Derivation(
        "Variance against mean of quantal release",
        (
            Step(
                "At fixed N, q and c the release probability p = μ/(Nq) is all that varies."
                " Inserted into the variance it gives a parabola through the origin.",
                sp.Eq(sp.Symbol("sigma^2"), curve),
                (sp.expand(variance.subs(p, mu / (N * q)) - curve),),
            ),
            Step(
                "Its slope at the origin is q(1 + c²), its bend 1/N: q and c cannot be told apart,"
                " N can.",
                None,
                (
                    sp.diff(curve, mu).subs(mu, 0) - q * (1 + c**2),
                    sp.diff(curve, mu, 2) + 2 / N,
                ),
            ),
            Step(
                "At one release probability and known N, σ²/μ + μ/N estimates q(1 + c²), so that"
                " p is underestimated by the same factor.",
                sp.Eq(sp.Symbol("sigma^2/mu + mu/N"), q * (1 + c**2)),
                (
                    sp.simplify(at_mean - q * (1 + c**2)),
                    sp.simplify(mean / (N * at_mean) - p / (1 + c**2)),
                ),
            ),
            Step(
                "N(1 - F^(1/N)) gives the content Np from the share F of failures. For large N it"
                " becomes -ln F, which means -N ln(1 - p) > Np.",
                sp.Eq(sp.Symbol("F"), silent),
                (
                    # 1 - p is positive, as a symbol of its own
                    sp.simplify((N * (1 - silent ** (1 / N)) - N * p).subs(p, 1 - fail)),
                    sp.limit(N * (1 - share ** (1 / N)), N, sp.oo) + sp.log(share),
                ),
            ),
        ),
        page="derivations/mean_variance_parabola",
        source="the method: Clements & Silver (2000); the estimators with c = 0: Costa et al."
        " (2015); with variable quanta: derived here",
        results={"parabola": curve, "quantal_size": at_mean},
    )


def likelihood_ratio() -> Derivation:
    """Derive the gradient of the mean loss in a release probability, and straight-through's bias.

    Returns
    -------
    Derivation
        For two synapses with any loss, and for one with a square loss.

    Examples
    --------
    >>> likelihood_ratio().check()
    6
    """
    p1, p2, a1, a2, w1, w2, b = sp.symbols("p_1 p_2 a_1 a_2 w_1 w_2 b", positive=True)
    loss, slope = sp.Function("L"), sp.Function("L'")
    chances = (p1, p2)
    mean = sp.Integer(0)
    sampled, scores = [sp.Integer(0)] * 2, [sp.Integer(0)] * 2
    for r in ((0, 0), (0, 1), (1, 0), (1, 1)):
        chance = sp.prod([p if k else 1 - p for k, p in zip(r, chances, strict=True)])
        sum_ = w1 * r[0] / p1 * a1 + w2 * r[1] / p2 * a2
        mean += chance * loss(sum_)
        for i, (p, w, a) in enumerate(((p1, w1, a1), (p2, w2, a2))):
            score = r[i] / p - (1 - r[i]) / (1 - p)
            explicit = -slope(sum_) * a * w * r[i] / p**2
            sampled[i] += chance * (explicit + (loss(sum_) - b) * score)
            scores[i] += chance * score

    def derived(p: sp.Symbol) -> sp.Expr:
        """Return the derivative of the mean loss, with L' at a place as a function of it."""
        return sp.diff(mean, p).replace(sp.Subs, lambda _, __, place: slope(place[0]))

    defects = [sp.simplify(derived(p) - s) for p, s in zip(chances, sampled, strict=True)]
    # one synapse, L = (w r/p)^2
    p, w, a, r, slope_now, gap = sp.symbols("p w a r L'(z) (L-b)", positive=True)
    score_now = r / p - (1 - r) / (1 - p)
    exact = sp.diff(p * (w / p) ** 2, p)
    gain = 2 * p * (w / p)  # mean of dL/d(w r/p)
    through_mask = gain * w / p
    through_both = gain * (w / p - w / p**2)
    return Derivation(
        "The gradient in the release probability",
        (
            Step(
                "The score r/p - (1 - r)/(1 - p), the derivative of the log chance of r, has mean"
                " zero: a baseline b that does not know r changes no mean.",
                sp.Eq(sp.Function("E")(score_now), 0),
                tuple(sp.simplify(score) for score in scores),
            ),
            Step(
                "The mean loss is a sum over releases of chance times loss. In its derivative g the"
                " chance gives chance times score; the loss at fixed releases gives the explicit"
                " derivative, through w r/p.",
                sp.Eq(
                    sp.Symbol("g"),
                    sp.Function("E")(-slope_now * a * w * r / p**2 + gap * score_now),
                ),
                tuple(defects),
            ),
            Step(
                "Straight-through puts dr/dp = 1 instead. With one synapse and L = (w r/p)² the"
                " mean loss is w²/p and its derivative -w²/p²; straight-through gives +2w²/p"
                " through the mask alone, -2w²(1 - p)/p² through mask and 1/p.",
                sp.Eq(sp.Symbol("g"), exact),
                (
                    sp.simplify(through_mask - 2 * w**2 / p),
                    sp.simplify(through_both + 2 * w**2 * (1 - p) / p**2),
                ),
            ),
        ),
        page="derivations/likelihood_ratio",
        source="the likelihood ratio: Williams (1992); with the explicit term, and"
        " straight-through's bias: derived here",
    )
