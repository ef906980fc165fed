"""Strength at the start, and the energy of counted releases."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from theory.derivation import Derivation

__all__ = ["initial_strength", "release_energy"]


def initial_strength() -> Derivation:
    """Derive mean and variance of the summed strengths of a layer at torch's initialisation."""
    import sympy as sp

    from theory.derivation import Derivation, Step

    w = sp.Symbol("w", real=True)
    a, b = sp.symbols("a b", positive=True)  # numbers of inputs and outputs
    end = 1 / sp.sqrt(a)
    mean = sp.integrate(w, (w, 0, end)) / end
    variance = sp.integrate(w**2, (w, 0, end)) / end - mean**2
    total, spread = a * b * mean, a * b * variance
    return Derivation(
        "Summed strength of a layer at the start",
        (
            Step(
                "A weight of a layer with a inputs is uniform between -1/√a and 1/√a; its size is"
                " uniform between 0 and 1/√a.",
                sp.Eq(sp.Symbol("E|w|"), mean),
                (mean - end / 2, variance - end**2 / 12),
            ),
            Step(
                "The a b weights are independent: means add, and so do variances.",
                sp.Eq(sp.Symbol("E_0"), total),
                (total - b * sp.sqrt(a) / 2, spread - b / 12),
            ),
        ),
        page="synapses",
        source="derived here",
        results={"mean": total, "variance": spread},
    )


def release_energy() -> Derivation:
    """Derive mean and variance of the energy of n spikes at a synapse of fixed probability."""
    import sympy as sp

    from theory.derivation import Derivation, Step

    n, p, c, d, t = sp.symbols("n p c d t", positive=True)
    residuals = []
    for N in (1, 2, 3):
        # generating function of the releases of a spike, summed over their binomial law
        spike = sum(
            sp.binomial(N, k) * p**k * (1 - p) ** (N - k) * sp.exp(t * (c + d * k))
            for k in range(N + 1)
        )
        slope = sp.diff(sp.log(spike), t).subs(t, 0)
        bend = sp.diff(sp.log(spike), t, 2).subs(t, 0)
        residuals += [slope - (c + d * N * p), bend - d**2 * N * p * (1 - p)]
    sites = sp.Symbol("N", positive=True)
    mean, variance = n * (c + d * sites * p), n * d**2 * sites * p * (1 - p)
    return Derivation(
        "Energy of counted releases",
        (
            Step(
                "A spike costs c, and d for each release; of N sites each releases with"
                " probability p. The cumulants of the energy of a spike are derivatives of the log"
                " of its generating function.",
                sp.Eq(sp.Symbol("Var"), d**2 * sites * p * (1 - p)),
                tuple(residuals),
                sp.simplify,
            ),
            Step(
                "Spikes are independent while p does not change: cumulants of n spikes are n times"
                " those of one.",
                sp.Eq(sp.Symbol("E"), mean),
                (),
            ),
        ),
        page="synapses",
        source="derived here",
        results={"mean": mean, "variance": variance},
    )
