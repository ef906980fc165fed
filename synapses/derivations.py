"""Derivations behind the stochastic synapse: its gradient, and the walk of its probability."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation, Step

__all__ = ["masked_gradient", "release_walk"]


def masked_gradient() -> Derivation:
    """Derive that the sampled gradient in the expected strength has the right mean.

    Returns
    -------
    Derivation
        For two synapses and any loss.

    Examples
    --------
    >>> masked_gradient().check()
    2
    """
    p1, p2, a1, a2, w1, w2 = sp.symbols("p_1 p_2 a_1 a_2 w_1 w_2", positive=True)
    loss, slope = sp.Function("L"), sp.Function("L'")
    mean = sp.Integer(0)
    sampled = [sp.Integer(0), sp.Integer(0)]
    for r1 in (0, 1):
        for r2 in (0, 1):
            chance = (p1 if r1 else 1 - p1) * (p2 if r2 else 1 - p2)
            sum_ = w1 * r1 / p1 * a1 + w2 * r2 / p2 * a2
            mean += chance * loss(sum_)
            sampled[0] += chance * slope(sum_) * r1 / p1 * a1
            sampled[1] += chance * slope(sum_) * r2 / p2 * a2

    def derived(w: sp.Symbol) -> sp.Expr:
        """Return the derivative of the mean loss, with L' at a place as a function of it."""
        return sp.diff(mean, w).replace(sp.Subs, lambda _, __, place: slope(place[0]))

    defects = [sp.expand(derived(w) - s) for w, s in zip((w1, w2), sampled, strict=True)]
    return Derivation(
        "The mean of the sampled gradient",
        (
            Step(
                "The mean loss is a sum over masks of chance times loss. Chances do not depend on"
                " the expected strengths, so the derivative goes under the sum.",
                sp.Eq(
                    sp.Symbol("dE[L]/dw_i"),
                    sp.Symbol("E[L'(z) r_i a_i / p_i]"),
                ),
                tuple(defects),
            ),
        ),
        page="derivations/masked_gradient",
        source="derived here",
    )


def release_walk() -> Derivation:
    """Derive the random walk of the release probability and where its drift changes sign.

    Returns
    -------
    Derivation
        For both variants of the rule.

    Examples
    --------
    >>> release_walk().check()
    5
    """
    up, down, p, f = sp.symbols("p_up p_down p f", positive=True)
    q, top = sp.symbols("q p_max", positive=True)
    drift_printed = f * up - (1 - f) * down
    critical_printed = down / (up + down)
    log_up, log_down = sp.log(1 - up), sp.log(1 + down)
    drift_program = -(f * log_up + (1 - f) * log_down)
    critical_program = log_down / (log_down - log_up)
    return Derivation(
        "The walk of a release probability",
        (
            Step(
                "As printed, p moves by +p_up in a share f of the steps, else by -p_down. The mean"
                " step vanishes at the critical share.",
                sp.Eq(f, critical_printed),
                (sp.simplify(drift_printed.subs(f, critical_printed)),),
            ),
            Step(
                "In the program the step is multiplied by the room q = p_max - p, so that an"
                " up-step multiplies q by 1 - p_up and a down-step by 1 + p_down.",
                sp.Eq(sp.Symbol("q'"), q * (1 - up)),
                (
                    sp.expand((top - (p + up * (top - p))) - (top - p) * (1 - up)),
                    sp.expand((top - (p - down * (top - p))) - (top - p) * (1 + down)),
                ),
            ),
            Step(
                "ln q does a random walk; its mean step vanishes where f ln(1 - p_up) + (1 - f)"
                " ln(1 + p_down) = 0.",
                sp.Eq(f, critical_program),
                (
                    sp.simplify(drift_program.subs(f, critical_program)),
                    # for small steps of one size both rules agree
                    sp.limit(critical_program.subs(down, up), up, 0)
                    - critical_printed.subs(down, up),
                ),
            ),
            Step(
                "Under a mask that the batch shares, a synapse that did not release has gradient 0:"
                " f = p π with the chance π that a released synapse's gradient is large. The floor"
                " attracts whenever p_min π is below the critical share, and p = f/π is unstable.",
            ),
        ),
        page="derivations/release_walk",
        source="the rule: Schug, Benzing & Steger (2021), Eqs. 4-7, and their program; the walk:"
        " derived here",
        results={"printed": critical_printed, "program": critical_program},
    )
