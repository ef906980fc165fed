"""Plasticity on both sides of a synapse, spike by spike: the reference of ``brian.costa2015``."""

from __future__ import annotations

import math
from collections.abc import Sequence

import sympy as sp

from synapses._brian_costa import Costa2015
from theory.checks import as_number, as_times, shown
from theory.derivation import Derivation, Step

__all__ = ["Costa2015", "costa2015_change", "paired_pulse_ratio", "timing_rule"]


def _constants(constants: Costa2015 | None) -> Costa2015:
    """Return the constants, the published ones for None."""
    if constants is None:
        return Costa2015()
    if not isinstance(constants, Costa2015):
        raise ValueError(f"constants = {shown(constants)}: must be a Costa2015, or None")
    return constants


def costa2015_change(
    pre_s: Sequence[float],
    post_s: Sequence[float],
    *,
    gain: float = 1.0,
    release_probability: float = 0.5,
    quantal_amplitude: float = 1.0,
    constants: Costa2015 | None = None,
) -> tuple[float, float]:
    r"""Return release probability and quantal amplitude after spikes on both sides.

    **Equation.** Traces :math:`x_+` (of presynaptic spikes), :math:`y_+`, :math:`y_-` (of
    postsynaptic ones) decay exponentially and grow by 1 a spike. With the traces before the
    spike and the gain g,

    .. math::

        \text{pre: } P \leftarrow P + g\,(d_+ x_+ - d_- y_-)\,y_+, \qquad
        \text{post: } q \leftarrow q + g\,c_+ x_+ y_- ,

    kept in [0, 1] and [0, 2]. Of two spikes at one time the presynaptic one comes first.

    **Shapes and units.** Seconds; P and q are numbers.

    Parameters
    ----------
    pre_s, post_s : sequence of float
        Times of the spikes, >= 0, sorted; either may be empty.
    gain : float
        g, >= 0: 1 as printed, 0.15 in the released program.
    release_probability : float
        P at the start, in [0, 1].
    quantal_amplitude : float
        q at the start, in [0, 2].
    constants : Costa2015 or None
        Time constants and rates; None for the published ones.

    Returns
    -------
    P, q : float
        After the last spike.

    References
    ----------
    Costa, Froemke, Sjöström & van Rossum (2015), doi:10.7554/eLife.09457, Eqs. 3-8; program:
    ModelDB 184487.

    Examples
    --------
    >>> P, q = costa2015_change([0.01], [0.0])
    >>> round(P - 0.5, 12), q
    (-0.124893785577, 1.0)
    """
    c = _constants(constants)
    g = as_number("gain", gain, low=0.0)
    P = as_number("release_probability", release_probability, low=0.0, high=1.0)
    q = as_number("quantal_amplitude", quantal_amplitude, low=0.0, high=c.largest_amplitude)
    spikes = [(float(t), 0) for t in (as_times("pre_s", pre_s) if len(pre_s) else [])]
    spikes += [(float(t), 1) for t in (as_times("post_s", post_s) if len(post_s) else [])]
    x_plus = y_plus = y_minus = before = 0.0
    for time, side in sorted(spikes):
        x_plus *= math.exp(-(time - before) / c.x_plus_s)
        y_plus *= math.exp(-(time - before) / c.y_plus_s)
        y_minus *= math.exp(-(time - before) / c.y_minus_s)
        before = time
        if side == 0:
            growth = (c.d_plus * x_plus - c.d_minus * y_minus) * y_plus
            P = min(max(P + g * growth, 0.0), 1.0)
            x_plus += 1
        else:
            q = min(q + g * c.c_plus * x_plus * y_minus, c.largest_amplitude)
            y_plus += 1
            y_minus += 1
    return P, q


def paired_pulse_ratio(
    release_probability: float, interval_s: float, constants: Costa2015 | None = None
) -> float:
    r"""Return the second response of a rested synapse over the first.

    **Equation.** :math:`[1 + (1-P)e^{-\Delta/F}]\,[1 - Pe^{-\Delta/D}]`: facilitation times
    what depression leaves. It falls as P grows: a synapse that releases more depresses more.

    **Shapes and units.** Seconds; a ratio.

    Parameters
    ----------
    release_probability : float
        P, in [0, 1].
    interval_s : float
        Interval of the two spikes, > 0.
    constants : Costa2015 or None
        Time constants D and F; None for the published ones.

    Returns
    -------
    float
        Above 1 for facilitation, below for depression.

    References
    ----------
    From Eqs. 1-2 of Costa, Froemke, Sjöström & van Rossum (2015), doi:10.7554/eLife.09457:
    derived here.

    Examples
    --------
    >>> round(paired_pulse_ratio(0.5, 0.05), 6), round(paired_pulse_ratio(0.2, 0.05), 6)
    (0.722913, 1.092703)
    """
    c = _constants(constants)
    P = as_number("release_probability", release_probability, low=0.0, high=1.0)
    gap = as_number("interval_s", interval_s, low=0.0, open_low=True)
    grown = 1 + (1 - P) * math.exp(-gap / c.facilitation_s)
    return grown * (1 - P * math.exp(-gap / c.recovery_s))


def timing_rule() -> Derivation:
    """Derive what one pair of spikes does, and how the paired-pulse ratio follows P.

    Returns
    -------
    Derivation
        From the equations of the traces and of short-term plasticity.

    Examples
    --------
    >>> timing_rule().check()
    5
    """
    t, lag, a, b = sp.symbols("t Delta tau_- tau_+", positive=True)
    d, dp, P, f, e = sp.symbols("d_- d_+ P f e", positive=True)
    trace = sp.Function("y")
    minus, plus = sp.exp(-t / a), sp.exp(-t / b)
    x_plus = sp.Integer(0)  # no presynaptic spike before
    change = ((dp * x_plus - d * minus) * plus).subs(t, lag)
    # after the first spike p is P + P(1 - P) and r is 1 - P
    second = (P + P * (1 - P) * f) * (1 - P * e)
    ratio = (1 + (1 - P) * f) * (1 - P * e)
    slope = -f * (1 - P * e) - e * (1 + (1 - P) * f)
    solved = sp.dsolve(sp.Eq(a * trace(t).diff(t), -trace(t)), trace(t), ics={trace(0): 1})
    return Derivation(
        "Spike pairs and the paired-pulse ratio",
        (
            Step(
                "A postsynaptic spike leaves both its traces at 1, which then decay. A presynaptic"
                " spike Δ later finds no presynaptic trace, and takes from P.",
                sp.Eq(sp.Symbol("dP"), change),
                (
                    sp.simplify(solved.rhs - minus),
                    sp.simplify(change + d * sp.exp(-lag * (1 / a + 1 / b))),
                ),
            ),
            Step(
                "In the other order nothing happens: a presynaptic spike without postsynaptic"
                " traces changes nothing, and a first postsynaptic one finds y₋ = 0. It takes a"
                " third spike to raise P or q.",
            ),
            Step(
                "The second of two spikes finds p = P + P(1 - P)f and r = 1 - Pe, with what the"
                " interval leaves of facilitation (f) and depression (e). Over the first response"
                " P, this is the paired-pulse ratio.",
                sp.Eq(sp.Symbol("PPR"), ratio),
                (sp.simplify(second / P - ratio),),
            ),
            Step(
                "It falls with P at every interval, both terms of its slope being negative.",
                sp.Eq(sp.Symbol("dPPR/dP"), slope),
                (
                    sp.expand(sp.diff(ratio, P) - slope),
                    sp.expand(slope.subs({P: 1, e: 1}) + 1),
                ),
            ),
        ),
        page="derivations/timing_rule",
        source="the rule: Costa, Froemke, Sjöström & van Rossum (2015), doi:10.7554/eLife.09457;"
        " consequences: derived here",
        results={"change": change, "ratio": ratio},
    )
