"""When the bounds of Alice make its step Adam's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from theory.derivation import Derivation

__all__ = ["bounds_of_adam"]


def bounds_of_adam() -> Derivation:
    """Derive when the upper bound acts, and which step of Adam it then is."""
    import sympy as sp

    from theory.derivation import Derivation, Step

    G, h, alpha, s, epsilon, V = sp.symbols("G h alpha s epsilon V", positive=True)
    rate, phi, beta = sp.symbols("lr_max phi beta", positive=True)
    t = sp.Symbol("t", positive=True)
    effective = alpha + h + sp.sqrt(alpha * (alpha + 2 * h))
    # where the step meets the bound: alpha as a function of h and s
    meeting = (s - h) ** 2 / (2 * s)
    bound = rate * G / (sp.sqrt(V) + epsilon)
    room = (sp.sqrt(V) + epsilon) / rate
    first, second = sp.symbols("beta_1 beta_2", positive=True)
    eta = sp.Symbol("eta", positive=True)
    adam = eta * (G / (1 - first**t)) / (sp.sqrt(V / (1 - second**t)) + epsilon)
    late = adam.subs({first**t: 0, second**t: 0})
    # h below s, written so that sympy sees it
    below = sp.Symbol("u", positive=True)
    inside = sp.sqrt(sp.factor(sp.expand((meeting * (meeting + 2 * h)).subs(s, h + below))))
    total = (meeting + h).subs(s, h + below) + inside
    return Derivation(
        "When the bounds of Alice are Adam's step",
        (
            Step(
                "The length |G|/h_opt is cut to lr_max |G|/(√V + ε) where the effective curvature"
                " leaves room: h_opt ≤ s with s = (√V + ε)/lr_max, whatever |G| is.",
                sp.Eq(s, room),
                (G / room - bound,),
            ),
            Step(
                "That is so for h ≤ s and α ≤ (s - h)²/2s: there α + h + √(α(α + 2h)), which grows"
                " with α, reaches s.",
                sp.Eq(alpha, meeting),
                (sp.simplify(total - (h + below)),),
            ),
            Step(
                "Squaring loses nothing for α + h ≤ s: the difference of the squares is"
                " (s - h)² - 2sα.",
                None,
                (
                    sp.expand(
                        (s - alpha - h) ** 2
                        - (effective - alpha - h) ** 2
                        - ((s - h) ** 2 - 2 * s * alpha)
                    ),
                ),
            ),
            Step(
                "The weights then move by φ lr_max G/(√V + ε): Adam's step with learning rate"
                " φ lr_max, once its corrections for the start are 1.",
                sp.Eq(sp.Symbol("mu'") - sp.Symbol("mu"), -phi * bound),
                (sp.simplify(late.subs(eta, phi * rate) - phi * bound),),
            ),
            Step(
                "The weights of the averages, min(β, (t-1)/t), are β from t = 1/(1-β) on.",
                None,
                (sp.simplify(((t - 1) / t).subs(t, 1 / (1 - beta)) - beta),),
            ),
        ),
        page="derivations/alice_bounds",
        source="derived here",
        results={"room": room, "glass": meeting},
    )
