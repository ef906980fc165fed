"""How fast a leaky integrate-and-fire neuron fires on the noise of unreliable synapses."""

from __future__ import annotations

import math

import numpy as np
import sympy as sp
from scipy.integrate import quad
from scipy.special import erfcx

from theory.checks import as_integer, as_number
from theory.derivation import Derivation, Step

__all__ = ["check_neuron", "firing_rate", "siegert_rate", "synaptic_drive"]


def synaptic_drive(
    rate_hz: float,
    tau_m_s: float,
    *,
    quantal_size: float,
    sites: int = 1,
    release_probability: float = 1.0,
    quantal_cv: float = 0.0,
) -> tuple[float, float]:
    r"""Return mean and noise of the drive that unreliable synapses give a neuron.

    **Equation.** Poisson spikes of total rate r, each answered by an amplitude A of N sites:

    .. math::

        \mu = \tau r \langle A \rangle, \quad \sigma^2 = \tau r \langle A^2 \rangle, \quad
        \langle A \rangle = Npq, \quad
        \langle A^2 \rangle = q^2 \bigl[Np(1 - p + c^2) + N^2p^2\bigr].

    Without a threshold the voltage has the mean mu and the variance sigma**2 / 2. At a given
    mean amplitude J one site makes :math:`\sigma^2 = \tau r J^2 / p`: failures do not move the
    mean, they add noise.

    **Shapes and units.** Seconds, 1/s; mu and sigma in the unit of ``quantal_size``, from rest.

    Parameters
    ----------
    rate_hz : float
        r of all inputs together, >= 0.
    tau_m_s : float
        Membrane time constant tau, > 0.
    quantal_size : float
        q, > 0.
    sites : int
        N, >= 1.
    release_probability : float
        p, in [0, 1].
    quantal_cv : float
        Coefficient of variation c of a quantum, >= 0.

    Returns
    -------
    mean, noise : float
        mu and sigma.

    References
    ----------
    Campbell's theorem; see :func:`firing_rate`.

    Examples
    --------
    >>> synaptic_drive(9000.0, 0.02, quantal_size=0.1)[1] ** 2
    1.8
    >>> synaptic_drive(9000.0, 0.02, quantal_size=0.4, release_probability=0.25)[0]
    18.0
    """
    events = as_number("rate_hz", rate_hz, low=0.0) * as_number(
        "tau_m_s", tau_m_s, low=0.0, open_low=True
    )
    q = as_number("quantal_size", quantal_size, low=0.0, open_low=True)
    count = as_integer("sites", sites, low=1)
    p = as_number("release_probability", release_probability, low=0.0, high=1.0)
    spread = as_number("quantal_cv", quantal_cv, low=0.0) ** 2
    second = q**2 * (count * p * (1 - p + spread) + (count * p) ** 2)
    return events * count * p * q, math.sqrt(events * second)


def check_neuron(
    tau_m_s: float, threshold: float, reset: float, refractory_s: float
) -> tuple[float, float, float, float]:
    """Return the neuron's checked numbers."""
    tau = as_number("tau_m_s", tau_m_s, low=0.0, open_low=True)
    top = as_number("threshold", threshold)
    bottom = as_number("reset", reset, high=top, open_high=True)
    return tau, top, bottom, as_number("refractory_s", refractory_s, low=0.0)


def _log_integral(low: float, high: float) -> float:
    """Return ln of the integral of exp(u^2) (1 + erf u) from low to high."""
    total = -math.inf
    if low < 0:
        # erfcx falls as 1/u: even on an axis of asinh u
        part, _ = quad(
            lambda s: float(erfcx(math.sinh(s))) * math.cosh(s),
            math.asinh(max(-high, 0.0)),
            math.asinh(-low),
            epsabs=0.0,
            epsrel=1e-13,
            limit=200,
        )
        total = math.log(part)
    if high > 0:
        # all of it near the upper end, within about 1/high, and far beyond floats unless scaled
        scale = math.exp(-(high**2)) if high < 27 else 0.0
        reach = min(high - max(low, 0.0), 40.0 / high)
        part, _ = quad(
            lambda v: 2 * math.exp(-v * (2 * high - v)) - scale * float(erfcx(high - v)),
            0.0,
            reach,
            epsabs=0.0,
            epsrel=1e-13,
            limit=200,
        )
        total = float(np.logaddexp(total, high**2 + math.log(part)))
    return total


def siegert_rate(
    mean: float,
    noise: float,
    *,
    tau_m_s: float,
    threshold: float,
    reset: float,
    refractory_s: float = 0.0,
) -> float:
    r"""Return the firing rate of a leaky integrate-and-fire neuron driven by white noise.

    **Equation.** For :math:`\tau \dot v = \mu - v + \sigma\sqrt\tau\,\xi`, threshold
    :math:`\theta`, reset :math:`v_r` and refractory time :math:`t_r` (Siegert's formula),

    .. math::

        \frac1\nu = t_r + \tau\sqrt\pi \int_{(v_r-\mu)/\sigma}^{(\theta-\mu)/\sigma}
        e^{u^2} (1 + \operatorname{erf} u)\,du .

    **Shapes and units.** Voltages in one unit, from one zero; seconds; 1/s. The integral is
    computed as a logarithm, so that it may be beyond floats; a rate below them is 0.

    Parameters
    ----------
    mean : float
        mu.
    noise : float
        sigma, >= 0; 0 is the noiseless neuron.
    tau_m_s : float
        Membrane time constant, > 0.
    threshold, reset : float
        The reset lies below the threshold.
    refractory_s : float
        Refractory time, >= 0.

    Returns
    -------
    float
        nu.

    References
    ----------
    Siegert (1951), doi:10.1103/PhysRev.81.617; for neurons Ricciardi (1977), "Diffusion
    Processes and Related Topics in Biology".

    Examples
    --------
    >>> neuron = dict(tau_m_s=0.02, threshold=20.0, reset=10.0, refractory_s=0.002)
    >>> [round(siegert_rate(18.0, (1.8 / p) ** 0.5, **neuron), 4) for p in (1, 0.5, 0.25)]
    [3.2259, 7.0594, 11.1395]
    """
    mu = as_number("mean", mean)
    sigma = as_number("noise", noise, low=0.0)
    tau, top, bottom, dead = check_neuron(tau_m_s, threshold, reset, refractory_s)
    low = (bottom - mu) / sigma if sigma else -math.inf
    if not math.isfinite(low):
        if mu <= top:
            return 0.0
        return 1 / (dead + tau * math.log((mu - bottom) / (mu - top)))
    passage = math.log(tau * math.sqrt(math.pi)) + _log_integral(low, (top - mu) / sigma)
    whole = passage if dead == 0 else float(np.logaddexp(math.log(dead), passage))
    return math.exp(-whole)


def firing_rate() -> Derivation:
    """Derive the drive of unreliable synapses and the firing rate of a neuron under it.

    Returns
    -------
    Derivation
        From Campbell's theorem to Siegert's formula.

    Examples
    --------
    >>> firing_rate().check()
    9
    """
    tau, r, a, t, J, q, p, c = sp.symbols("tau r a t J q p c", positive=True)
    N = sp.Symbol("N", positive=True)
    pulse = a * sp.exp(-t / tau)
    second = q**2 * (N * p * (1 - p + c**2) + (N * p) ** 2)
    matched = second.subs(q, J / (N * p))
    u, mu, sigma = sp.symbols("u mu sigma", real=True)
    slope = -tau * sp.sqrt(sp.pi) * sp.exp(u**2) * (1 + sp.erf(u))
    far = sp.exp(u**2) * sp.erfc(-u) * (-u)
    top, bottom = sp.symbols("theta v_r", positive=True)
    path = mu - (mu - bottom) * sp.exp(-t / tau)
    return Derivation(
        "Firing rate under synaptic noise",
        (
            Step(
                "An amplitude a leaves a e^(-t/τ) behind. Campbell's theorem: amplitudes at Poisson"
                " times of rate r give a voltage of mean r⟨A⟩τ and variance r⟨A²⟩τ/2, which is"
                " called σ²/2.",
                sp.Eq(sp.Symbol("sigma") ** 2, tau * r * sp.Symbol("A2")),
                (
                    sp.integrate(pulse, (t, 0, sp.oo)) - a * tau,
                    sp.integrate(pulse**2, (t, 0, sp.oo)) - a**2 * tau / 2,
                ),
            ),
            Step(
                "Of N sites with quanta of mean q and coefficient of variation c, ⟨A²⟩ is variance"
                " plus squared mean.",
                sp.Eq(sp.Symbol("A2"), second),
                (
                    sp.expand(
                        N * (p * q**2 * (1 + c**2) - (p * q) ** 2) + (N * p * q) ** 2 - second
                    ),
                ),
            ),
            Step(
                "At a given mean amplitude J = Npq failures leave the mean alone and add noise; one"
                " site with fixed quanta makes ⟨A²⟩ = J²/p.",
                sp.Eq(sp.Symbol("A2"), J**2 * (1 + (1 - p + c**2) / (N * p))),
                (
                    sp.simplify(matched - J**2 * (1 + (1 - p + c**2) / (N * p))),
                    sp.simplify(matched.subs({N: 1, c: 0}) - J**2 / p),
                ),
            ),
            Step(
                "With many small amplitudes the voltage diffuses. In u = (v - μ)/σ the mean time T"
                " to the threshold obeys T''/2 - u T' = -τ.",
                sp.Eq(sp.Symbol("T'(u)"), slope),
                (
                    sp.simplify(sp.diff(slope, u) / 2 - u * slope + tau),
                    # bounded far below, which rules the solutions out that grow as exp(u^2)
                    sp.limit(far, u, -sp.oo) - 1 / sp.sqrt(sp.pi),
                ),
            ),
            Step(
                "T vanishes at the threshold, so that its integral from reset to threshold is the"
                " mean time between spikes, less the refractory time.",
                sp.Eq(
                    1 / sp.Symbol("nu"),
                    sp.Symbol("t_r")
                    + tau
                    * sp.sqrt(sp.pi)
                    * sp.Integral(
                        sp.exp(u**2) * (1 + sp.erf(u)),
                        (u, (sp.Symbol("v_r") - mu) / sigma, (sp.Symbol("theta") - mu) / sigma),
                    ),
                ),
            ),
            Step(
                "Without noise and with μ above the threshold the way takes τ ln[(μ-v_r)/(μ-θ)],"
                " as the formula says, whose integrand is -1/(u√π) far below zero.",
                None,
                (
                    sp.simplify(tau * sp.diff(path, t) - (mu - path)),
                    sp.simplify(path.subs(t, tau * sp.log((mu - bottom) / (mu - top))) - top),
                ),
            ),
        ),
        page="derivations/firing_rate",
        source="Siegert (1951), doi:10.1103/PhysRev.81.617; the noise of failing sites: derived"
        " here",
        results={"second_moment": second},
    )
