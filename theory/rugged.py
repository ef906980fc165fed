"""A bowl with ripples, and the landscapes that noise and temperature make of it.

The model and its formulas are this project's own construction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from theory._bessel import log_i0
from theory._gibbs import bowl_moments
from theory._pl_ratio import pl_ratio
from theory._rippled_bowl import Places, RippledBowl, evaluated
from theory._rugged_derivations import (
    gibbs_identities,
    noise_convolved_loss,
    rugged_pl_constant,
    well_energies,
)
from theory._stationary import MOST_WELLS, find_wells
from theory.checks import as_number
from theory.phase_diagram import Regime, phase
from theory.rough_diffusion import cosine_diffusion, cosine_relaxation, passage_time

__all__ = [
    "Moments",
    "RuggedBowl",
    "gibbs_identities",
    "noise_convolved_loss",
    "rugged_pl_constant",
    "well_energies",
]


@dataclass(frozen=True, slots=True)
class Moments:
    """Equilibrium of a rugged bowl.

    Parameters
    ----------
    log_partition : float
        ln Z of Z = ∫ exp(-L/T) dx.
    second_moment : float
        ⟨x²⟩ about x = 0.
    mean_loss : float
        ⟨L⟩.
    mean_curvature : float
        ⟨L''⟩ = ⟨L'²⟩/T.
    """

    log_partition: float
    second_moment: float
    mean_loss: float
    mean_curvature: float


@dataclass(frozen=True)
class RuggedBowl(RippledBowl):
    r"""A quadratic bowl with a cosine on it: convex seen from afar, rugged from near.

    **Equation.** :math:`L(x) = a x^2/2 - \varepsilon\cos(kx + \varphi)`; in units 1/k of
    length, a/k² of energy and 1/a of time it has two numbers, the ruggedness
    :math:`\rho = \varepsilon k^2/a` and the reduced temperature :math:`t = Tk^2/a`.

    **Shapes and units.** Positions are numbers or arrays of any shape, answered in kind.
    Mobility is 1: :math:`dx = -L'\,d\tau + \sqrt{2T}\,dW`, so that T is an energy.

    Parameters
    ----------
    curvature : float
        a > 0, of the bowl.
    roughness : float
        :math:`\varepsilon \ge 0`, amplitude of the cosine.
    wavenumber : float
        k > 0.
    phase : float
        :math:`\varphi`; 0 puts a minimum at x = 0, π a maximum where ρ > 1. Counted modulo 2π.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    References
    ----------
    Derived here: :func:`noise_convolved_loss`, :func:`gibbs_identities`,
    :func:`rugged_pl_constant`, :func:`well_energies`.

    Examples
    --------
    >>> bowl = RuggedBowl(curvature=1.0, roughness=0.3, wavenumber=5.0)
    >>> bowl.ruggedness, round(bowl.smoothed(0.7, 0.3), 12)
    (7.5, 0.381206892231)
    >>> bowl.minima().round(6).tolist(), bowl.minima(s=0.2).tolist()
    ([-1.093303, 0.0, 1.093303], [0.0])
    """

    def _reduced(self, temperature: float) -> float:
        """Return the reduced temperature."""
        T = as_number("temperature", temperature, low=0.0, open_low=True)
        t = T / self.energy_unit
        if not 0 < t < math.inf or math.isinf(self.ruggedness / t):
            raise ValueError(
                f"temperature = {T:g}: out of the range of floats in the units of this bowl"
            )
        return t

    def coarse_grained(self, x: Places, temperature: float) -> Places:
        r"""Return the landscape that the Gibbs law shows when a period is not resolved.

        **Equation.** :math:`-T \ln \langle e^{-L/T} \rangle` over the phase of the cosine,
        :math:`a x^2/2 - T \ln I_0(\varepsilon/T)`: the shape of the bare bowl.

        Parameters
        ----------
        x : float or ndarray
            Positions.
        temperature : float
            T > 0.

        Returns
        -------
        float or ndarray
            Free energies.
        """
        self._reduced(temperature)
        T = float(temperature)
        depth = T * log_i0(self.roughness / T)
        return evaluated("x", x, lambda y: self.curvature * y * y / 2 - depth)

    def gibbs(self, temperature: float) -> Moments:
        """Return the moments of the Gibbs law exp(-L/T)/Z.

        Parameters
        ----------
        temperature : float
            T > 0.

        Returns
        -------
        Moments
            To twelve digits at any temperature and phase.

        Examples
        --------
        >>> round(RuggedBowl().gibbs(0.1).second_moment, 12)
        0.047987012282
        """
        a, k = self.curvature, self.wavenumber
        log_z, second, loss, curvature = bowl_moments(
            self.ruggedness, self.phase, self._reduced(temperature)
        )
        return Moments(log_z - math.log(k), second / k / k, loss * a / k / k, curvature * a)

    def effective_diffusion(self, temperature: float) -> float:
        """Return the diffusion constant over many ripples, T / I0(ε/T)².

        Parameters
        ----------
        temperature : float
            T > 0.

        Returns
        -------
        float
            Length²/time; at most T.
        """
        return cosine_diffusion(self.roughness, temperature)

    def relaxation_rate(self, temperature: float) -> float:
        """Return the rate at which the mean position relaxes over many ripples, a / I0(ε/T)².

        Parameters
        ----------
        temperature : float
            T > 0.

        Returns
        -------
        float
            1/time; valid where T/a is well above the square of the period.
        """
        return cosine_relaxation(self.curvature, self.roughness, temperature)

    def escape_time(self, x0: float, temperature: float) -> float:
        """Return the mean time from x0 until either neighbouring well's bottom is reached.

        Parameters
        ----------
        x0 : float
            Where the walk starts: in any basin, which then is left. The outermost basins can be
            left on one side only.
        temperature : float
            T > 0.

        Returns
        -------
        float
            Mean first passage time.

        Raises
        ------
        ValueError
            If there is one well only, x0 lies on a barrier, or the time overflows.

        Examples
        --------
        >>> round(RuggedBowl(roughness=0.3).escape_time(0.0, 0.2), 4)
        33.1331
        """
        start = as_number("x0", x0)
        self._reduced(temperature)
        # two periods more than x0 is away: its own well and both neighbours
        reach = 4.0 + abs(start) * self.wavenumber / (2 * math.pi)
        nearby = int(reach) if reach < MOST_WELLS else None
        wells = find_wells(self.ruggedness, self.phase, nearby)
        if wells.minima.size == 1:
            raise ValueError(
                f"roughness = {self.roughness:g}: the bowl has a single minimum and no neighbouring"
                " well; a ruggedness above 4.6033 has several at any phase"
            )
        tops = wells.tops / self.wavenumber
        if np.isclose(tops, start, rtol=1e-12, atol=1e-12 / self.wavenumber).any():
            raise ValueError(f"x0 = {start:g}: lies on a barrier, in no well; move it to one side")
        bottoms = np.concatenate([[-np.inf], wells.minima / self.wavenumber, [np.inf]])
        own = int(np.searchsorted(tops, start))
        low, high = float(bottoms[own]), float(bottoms[own + 2])
        return passage_time(lambda y: self._loss(y, self.roughness), start, low, high, temperature)

    def pl_constant(self, s: float = 0.0) -> float:
        r"""Return the constant of the PL inequality of the (smoothed) loss.

        **Equation.** The largest μ with :math:`\tfrac12 L_s'^2 \ge \mu (L_s - \min L_s)`
        everywhere.

        Parameters
        ----------
        s : float
            Width of the noise, >= 0.

        Returns
        -------
        float
            At most the curvature of the bowl; 0 where another point than one minimum is
            stationary (with two lowest minima: the maximum between them).

        Examples
        --------
        >>> [round(RuggedBowl(1.0, rho, 1.0).pl_constant(), 9) for rho in (0.5, 2.0, 4.0, 5.0)]
        [0.740581762, 0.252579446, 0.011516831, 0.0]
        """
        as_number("s", s, low=0.0)
        return self.curvature * pl_ratio(self.effective_ruggedness(float(s)), self.phase)

    def regime(self, temperature: float, training_time: float) -> Regime:
        """Return where noisy descent of this bowl stands in the phase diagram.

        Parameters
        ----------
        temperature : float
            T > 0.
        training_time : float
            Duration of the descent, > 0.

        Returns
        -------
        Regime
            See :func:`theory.phase_diagram.phase`.

        Raises
        ------
        ValueError
            If the phase is not 0, or a number out of range.
        """
        # a multiple of 2π is rounded
        rounding = 2 * np.finfo(float).eps * abs(self.phase)
        if abs(math.remainder(self.phase, 2 * math.pi)) > rounding:
            raise ValueError(
                f"phase = {self.phase:g}: the phase diagram is that of a minimum at the centre;"
                " take phase = 0"
            )
        time = as_number("training_time", training_time, low=0.0, open_low=True)
        return phase(self.ruggedness, self._reduced(temperature), self.curvature * time)
