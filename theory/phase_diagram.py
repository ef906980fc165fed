"""The phase diagram of a rugged bowl: roughness against temperature, for a given training time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import brentq

from theory._bessel import log_i0
from theory._types import Vector
from theory.checks import as_number, as_vector

__all__ = ["UNIMODAL_LIMIT", "Regime", "log_slowing", "phase", "trapping_boundary"]

Region = Literal["convex", "unimodal", "ergodic", "frozen"]

UNIMODAL_LIMIT = math.hypot(1.0, 4.493409457909064)
"""Ruggedness from which u²/2 - r cos u has a second minimum: √(1 + u²) at first tan u = u > 0."""


@dataclass(frozen=True)
class Regime:
    r"""Where a noisy descent stands in the phase diagram, with the numbers that decided.

    **Equation.** Energies in units a/k², times in 1/a, lengths in 1/k: see :func:`phase`.

    **Shapes and units.** Scalars without unit.

    Parameters
    ----------
    region : {"convex", "unimodal", "ergodic", "frozen"}
        The landscape that the descent sees, or "frozen" where it stays in the well it is in.
    ruggedness : float
        ρ, that of the loss, or of the smoothed loss where a smoothing was given.
    reduced_temperature : float
        t.
    reduced_time : float
        aτ.
    effective_ruggedness : float
        Roughness left at the descent's own thermal width, or at the smoothing given.
    log_slowing : float
        2 ln I0(ρ/t), by which the roughness slows the descent; held against ln(aτ).
    thermal_excess : float
        t/2, the loss that the noise keeps up in the bowl.
    loss_tolerance : float
        The excess that counts as converged.

    Examples
    --------
    >>> phase(12.0, 0.5, 1e4).region, phase(12.0, 0.5, 1e4).analogue
    ('frozen', 'III')
    """

    region: Region
    ruggedness: float
    reduced_temperature: float
    reduced_time: float
    effective_ruggedness: float
    log_slowing: float
    thermal_excess: float
    loss_tolerance: float

    @property
    def connected(self) -> bool:
        """Whether two descents come together: everywhere but in the frozen region."""
        return self.region != "frozen"

    @property
    def hot(self) -> bool:
        """Whether the thermal excess is above the loss tolerance."""
        return self.thermal_excess > self.loss_tolerance

    @property
    def analogue(self) -> str:
        """Phase of Yang et al. (2021) that this resembles: I, II (hot), III, IV (cold)."""
        return ("II" if self.hot else "IV") if self.connected else ("I" if self.hot else "III")


def log_slowing(ruggedness: float, reduced_temperature: float) -> float:
    r"""Return the logarithm of the factor by which roughness slows diffusion.

    **Equation.** :math:`2 \ln I_0(\rho/t)`, without overflow.

    **Shapes and units.** Scalars without unit.

    Parameters
    ----------
    ruggedness : float
        ρ = roughness x wavenumber² / curvature, >= 0.
    reduced_temperature : float
        t = temperature x wavenumber² / curvature, > 0.

    Returns
    -------
    float
        0 without roughness; about 2ρ/t - ln(2πρ/t) where the barriers are high.

    References
    ----------
    Diffusion in a cosine: Lifson & Jackson (1962), doi:10.1063/1.1732899.

    Examples
    --------
    >>> log_slowing(0.0, 1.0), round(log_slowing(1e6, 1.0), 3)
    (0.0, 1999984.347)
    """
    rho = as_number("ruggedness", ruggedness, low=0.0)
    ratio = rho / as_number("reduced_temperature", reduced_temperature, low=0.0, open_low=True)
    return 2 * log_i0(ratio)


def phase(
    ruggedness: float,
    reduced_temperature: float,
    reduced_time: float,
    *,
    smoothing: float | None = None,
    loss_tolerance: float = 0.5,
) -> Regime:
    r"""Return the regime of noisy descent in the bowl u²/2 - ρ cos u.

    **Equation.** A loss with wells, :math:`\rho > 4.6033`, is *frozen* if
    :math:`I_0(\rho/t)^2 > a\tau`: the descent has no time to leave them. Else it spreads to its
    thermal width :math:`\sqrt{t}`, which leaves :math:`\rho_\mathrm{eff} = \rho e^{-t/2}` of the
    roughness: *convex* up to 1, *unimodal* up to 4.6033, *ergodic* above. *Hot* is a reading
    apart: :math:`t/2` above the loss tolerance.

    A smoothing ks, by noise of known width in place of the thermal one, leaves
    :math:`\rho e^{-(ks)^2/2}`, which then takes the place of both ρ and its effective value.

    **Shapes and units.** Scalars without unit: energies in a/k², times in 1/a, lengths in 1/k.

    Parameters
    ----------
    ruggedness : float
        ρ = roughness x wavenumber² / curvature, >= 0.
    reduced_temperature : float
        t = temperature x wavenumber² / curvature, > 0: without noise there is no thermal width.
    reduced_time : float
        aτ = curvature x training time, > 0. Below 1 not even a smooth bowl has relaxed.
    smoothing : float or None
        ks >= 0; None for the descent's own thermal width.
    loss_tolerance : float
        Excess loss that counts as converged, >= 0. At 0.5 a descent is hot where its thermal
        width in the bowl is above 1/k.

    Returns
    -------
    Regime
        Region, hot or cold, and the numbers. A value on a boundary belongs to the smoother
        side, and to the cold one.

    Notes
    -----
    The order matters. The thermal width counts only once it is reached: at ρ = 100, t = 10 it
    would make the loss convex, but takes 10⁷ relaxation times of the bowl. And a loss without
    wells freezes at no temperature, though its :math:`I_0(\rho/t)^2` grows beyond bounds. The
    slowing is a law for thermal widths of many periods; nearer, the line is a rule of thumb:
    walkers run for aτ = 20 from the well beside the centre still thaw beyond it, up to
    :math:`I_0(\rho/t)^2/a\tau` of about 10 at t = 4 and 8, 100 at t = 2, 1000 at t = 1. An ergodic
    region exists for aτ above 7227 only, and begins at t = 2.

    References
    ----------
    Model and reading: derived here. The phases it is likened to: Yang et al. (2021),
    arXiv:2107.11228.

    Examples
    --------
    >>> [phase(rho, 2.0, 1e4).region for rho in (2.0, 5.0, 12.7, 20.0)]
    ['convex', 'unimodal', 'ergodic', 'frozen']
    >>> phase(20.0, 8.0, 1.0, smoothing=3.0).region
    'convex'
    """
    rho = as_number("ruggedness", ruggedness, low=0.0)
    t = as_number("reduced_temperature", reduced_temperature, low=0.0, open_low=True)
    time = as_number("reduced_time", reduced_time, low=0.0, open_low=True)
    tolerance = as_number("loss_tolerance", loss_tolerance, low=0.0)
    if smoothing is None:
        effective = rho * math.exp(-t / 2)
    else:
        width = as_number("smoothing", smoothing, low=0.0)
        effective = rho = rho * math.exp(-width * width / 2)
    slowing = log_slowing(rho, t)
    region: Region = "ergodic"
    if rho > UNIMODAL_LIMIT and slowing > math.log(time):
        region = "frozen"
    elif effective <= 1:
        region = "convex"
    elif effective <= UNIMODAL_LIMIT:
        region = "unimodal"
    return Regime(region, rho, t, time, effective, slowing, t / 2, tolerance)


def trapping_boundary(reduced_time: float, reduced_temperature: Vector) -> Vector:
    r"""Return the ruggedness beyond which the descent is frozen.

    **Equation.** :math:`I_0(\rho/t)^2 = a\tau`, a straight line :math:`\rho = c\,t`, but not below
    4.6033, where there are no wells.

    **Shapes and units.** Temperatures and result (temperature,), without unit.

    Parameters
    ----------
    reduced_time : float
        aτ >= 1: below, the descent is frozen in any well.
    reduced_temperature : Vector
        t, > 0, at most 1e300.

    Returns
    -------
    Vector
        ρ at each temperature.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Derived here.

    Examples
    --------
    >>> trapping_boundary(1e4, np.array([0.1, 2.0])).round(4)
    array([ 4.6033, 12.8672])
    """
    time = as_number("reduced_time", reduced_time, low=1.0)
    t = as_vector("reduced_temperature", reduced_temperature)
    as_number("min(reduced_temperature)", float(t.min()), low=0.0, open_low=True)
    as_number("max(reduced_temperature)", float(t.max()), high=1e300)
    half = math.log(time) / 2

    def short(ratio: float) -> float:
        """Return what ln I0 lacks of half the logarithm of the time."""
        return log_i0(ratio) - half

    # I0(z) > exp(z)/(1 + 2z), so ln I0 is above half at 2 half + 3
    ratio = brentq(short, 0.0, 2 * half + 3, xtol=1e-300, rtol=1e-15) if half else 0.0
    return np.maximum(ratio * t, UNIMODAL_LIMIT)
