"""A quadratic bowl with a cosine on it, bare and convolved with noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from theory._stationary import find_wells
from theory.checks import as_number, shown

__all__ = ["Places", "RippledBowl", "evaluated"]

Points: TypeAlias = Float[ndarray, "*points"]
Places = TypeVar("Places", float, Points)


def evaluated(name: str, value: Places, function: Callable[[Any], Any]) -> Places:
    """Return a function of a number or an array, in kind, refusing what is not finite."""
    raw = np.asarray(value)
    if raw.dtype.kind not in "iuf" or not np.isfinite(raw).all():
        raise ValueError(f"{name} = {shown(value)}: must be a finite number or an array of them")
    with np.errstate(over="ignore", invalid="ignore"):
        result = np.asarray(function(raw.astype(np.float64)))
    if not np.isfinite(result).all():
        raise ValueError(f"{name} = {shown(value)}: the result is beyond the largest float")
    answer: Any = result if isinstance(value, ndarray) or result.ndim else float(result)
    return cast("Places", answer)


@dataclass(frozen=True)
class RippledBowl:
    """The landscape of a rugged bowl, without temperature: see RuggedBowl."""

    curvature: float = 1.0
    roughness: float = 0.1
    wavenumber: float = 5.0
    phase: float = 0.0

    def __post_init__(self) -> None:
        a = as_number("curvature", self.curvature, low=0.0, open_low=True)
        k = as_number("wavenumber", self.wavenumber, low=0.0, open_low=True)
        phi = as_number("phase", self.phase)
        eps = as_number("roughness", self.roughness)
        if eps < 0:
            raise ValueError(
                f"roughness = {eps:g}: must be >= 0; for the opposite sign shift the phase by pi"
            )
        for name, value in zip(
            ("curvature", "roughness", "wavenumber", "phase"), (a, eps, k, phi), strict=True
        ):
            object.__setattr__(self, name, value)
        unit = a / k / k
        if not (0 < unit < math.inf and 1 / unit < math.inf and eps / unit < math.inf):
            raise ValueError(
                f"wavenumber = {k:g} with curvature = {a:g} and roughness = {eps:g}: wavenumber² /"
                " curvature and the ruggedness must be floats; choose units nearer to 1"
            )

    @property
    def energy_unit(self) -> float:
        """The unit of energy and temperature, curvature / wavenumber²."""
        return self.curvature / self.wavenumber / self.wavenumber

    @property
    def ruggedness(self) -> float:
        """The ruggedness ρ = roughness x wavenumber² / curvature: the load of the model."""
        return self.roughness / self.energy_unit

    def _loss(self, x: Any, roughness: float) -> Any:
        """Return the loss with another amplitude of the cosine."""
        cosine = np.cos(self.wavenumber * x + self.phase)
        return self.curvature * x * x / 2 - roughness * cosine

    def _damped(self, s: float) -> float:
        """Return the amplitude of the cosine that a smoothing leaves."""
        width = self.wavenumber * as_number("s", s, low=0.0)
        return self.roughness * math.exp(-width * width / 2)

    def _slope(self, x: Any, roughness: float) -> Any:
        """Return the derivative of the loss with another amplitude of the cosine."""
        k = self.wavenumber
        return self.curvature * x + roughness * k * np.sin(k * x + self.phase)

    def loss(self, x: Places) -> Places:
        """Return L(x) = a x²/2 - ε cos(kx + φ).

        Parameters
        ----------
        x : float or ndarray
            Positions.

        Returns
        -------
        float or ndarray
            Energies.
        """
        return evaluated("x", x, lambda y: self._loss(y, self.roughness))

    def grad(self, x: Places) -> Places:
        """Return L'(x) = a x + ε k sin(kx + φ).

        Parameters
        ----------
        x : float or ndarray
            Positions.

        Returns
        -------
        float or ndarray
            Energies per length.
        """
        return evaluated("x", x, lambda y: self._slope(y, self.roughness))

    def hess(self, x: Places) -> Places:
        """Return L''(x) = a + ε k² cos(kx + φ), the sharpness.

        Parameters
        ----------
        x : float or ndarray
            Positions.

        Returns
        -------
        float or ndarray
            Energies per length².
        """
        a, rho, k = self.curvature, self.ruggedness, self.wavenumber
        return evaluated("x", x, lambda y: a * (1 + rho * np.cos(k * y + self.phase)))

    def smoothed(self, x: Places, s: float) -> Places:
        r"""Return the noise-convolved loss, the landscape that noisy gradient descent sees.

        **Equation.** With z standard normal, :math:`L_s(x) = \langle L(x + sz)\rangle
        = a(x^2 + s^2)/2 - \varepsilon e^{-k^2s^2/2} \cos(kx + \varphi)`. Gradient descent of step
        η with gradient noise σ/√B has s = ησ/√B.

        Parameters
        ----------
        x : float or ndarray
            Positions.
        s : float
            Width of the noise, a length >= 0.

        Returns
        -------
        float or ndarray
            Energies.
        """
        eps, a = self._damped(s), self.curvature
        return evaluated("x", x, lambda y: self._loss(y, eps) + a * s * s / 2)

    def smoothed_grad(self, x: Places, s: float) -> Places:
        """Return the derivative of the noise-convolved loss.

        Parameters
        ----------
        x : float or ndarray
            Positions.
        s : float
            Width of the noise, a length >= 0.

        Returns
        -------
        float or ndarray
            Energies per length.
        """
        eps = self._damped(s)
        return evaluated("x", x, lambda y: self._slope(y, eps))

    def effective_ruggedness(self, s: Places) -> Places:
        """Return the ruggedness of the noise-convolved loss, ρ exp(-k²s²/2).

        Parameters
        ----------
        s : float or ndarray
            Widths of the noise, >= 0.

        Returns
        -------
        float or ndarray
            From ρ at s = 0 downwards.

        Raises
        ------
        ValueError
            If a width is negative.
        """
        rho, k = self.ruggedness, self.wavenumber
        left = evaluated("s", s, lambda w: rho * np.exp(-k * w * k * w / 2))
        if np.any(np.asarray(s) < 0):
            raise ValueError(f"s = {shown(s)}: must be >= 0, the width of a noise")
        return left

    def convexity_scale(self) -> float:
        """Return the noise from which the noise-convolved loss is convex, √(2 ln ρ)/k.

        Returns
        -------
        float
            A length; 0 where the loss is convex already.
        """
        return math.sqrt(2 * math.log(max(self.ruggedness, 1.0))) / self.wavenumber

    def minima(self, s: float = 0.0) -> Float[ndarray, " well"]:
        """Return all local minima of the noise-convolved loss, from left to right.

        Parameters
        ----------
        s : float
            Width of the noise, >= 0; 0 for the loss itself.

        Returns
        -------
        Float[ndarray, " well"]
            Positions; none is missed, since their number is known beforehand.
        """
        as_number("s", s, low=0.0)
        return find_wells(self.effective_ruggedness(float(s)), self.phase).minima / self.wavenumber
