r"""The gradient along one coordinate as a process with jumps, and the loss change it makes.

:math:`g(t) = g_0 + h t + W(t)`: boundaries come at a constant rate, each adds an independent jump
of mean zero, and W is two-sided with W(0) = 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import erf

from theory._glass_arrays import Real, as_real, matched, within_range
from theory.checks import as_number, one_of

__all__ = ["JumpProcess"]

LAWS = ("signs", "normal")
FOURTH = {"signs": 1.0, "normal": 3.0}
PANELS = 400
"""Half-periods of the characteristic function that are integrated; the tail is added."""

MANY = 600.0
"""Crossings of which the chance of none, exp(-600), no longer counts."""


@dataclass(frozen=True)
class JumpProcess:
    r"""Jumps of the gradient along a line: a compound Poisson process, two-sided.

    **Equation.** With rate lambda and jumps J of mean zero,
    :math:`\rho = \lambda \langle J^2 \rangle`; :math:`I(d) = \int_0^d W` is the loss change that
    the jumps add, and its cumulants are
    :math:`\kappa_n = \lambda \langle J^n \rangle |d|^{n+1} / (n+1)` for even n.

    **Shapes and units.** Rate per unit of the parameter, jump in units of the gradient.

    Parameters
    ----------
    rate : float
        lambda > 0, boundaries crossed per unit of the parameter.
    jump : float
        s > 0, root mean square of a jump.
    law : {"signs", "normal"}
        Jumps of +s or -s with equal chance, or normal ones.

    References
    ----------
    Derived here; see ``docs/derivations/glass_loss_change.md``. That boundaries of rectified
    linear units add up to such a glass: Duersch et al. (2024), arXiv:2411.16914.

    Examples
    --------
    >>> glass = JumpProcess(rate=50.0, jump=0.1)
    >>> round(glass.density, 12), round(float(glass.expected_size(0.2)), 9)
    (0.5, 0.028907346)
    """

    rate: float
    jump: float
    law: str = "signs"

    def __post_init__(self) -> None:
        rate = as_number("rate", self.rate, low=0.0, open_low=True)
        jump = as_number("jump", self.jump, low=0.0, open_low=True)
        one_of("law", self.law, LAWS)
        density = rate * jump * jump
        if not 0 < density < math.inf:
            raise ValueError(
                f"jump = {jump:g}: with rate {rate:g} the density is {density:g}, out of range;"
                " rescale loss or parameter"
            )
        for name, value in (("rate", rate), ("jump", jump)):
            object.__setattr__(self, name, value)

    @property
    def density(self) -> float:
        r"""The glass density :math:`\rho = \lambda s^2`: growth of the gradient's variance."""
        return self.rate * self.jump * self.jump

    @property
    def fourth_rate(self) -> float:
        r"""The growth :math:`\lambda \langle J^4 \rangle` of the gradient's fourth cumulant."""
        fourth = FOURTH[self.law] * self.density * self.jump * self.jump
        return float(within_range("jump", self.jump, fourth))

    def covariance(self, first: Real, second: Real) -> Real:
        r"""Return the covariance of W at two places.

        **Equation.** :math:`\rho \min(|t|, |u|)` on one side of 0, else 0.

        **Shapes and units.** Arrays that broadcast; gradient².

        Parameters
        ----------
        first, second : Real
            t and u, of either sign.

        Returns
        -------
        Real
            The covariance; :math:`\rho |t|` where t = u.

        References
        ----------
        Derived here.
        """
        t, u = matched(first=as_real("first", first), second=as_real("second", second))
        shared = np.where(np.sign(t) * np.sign(u) > 0, np.minimum(np.abs(t), np.abs(u)), 0.0)
        with np.errstate(over="ignore"):
            return within_range("first", t, self.density * shared)

    def loss_variance(self, distance: Real) -> Real:
        r"""Return the variance of I.

        **Equation.** :math:`\rho |d|^3 / 3`.

        **Shapes and units.** Any shape; loss².

        Parameters
        ----------
        distance : Real
            d, of either sign.

        Returns
        -------
        Real
            The variance.

        References
        ----------
        Derived here.
        """
        d = np.abs(as_real("distance", distance))
        with np.errstate(over="ignore"):
            return within_range("distance", d, self.density * d * d * d / 3)

    def loss_gradient_covariance(self, distance: Real) -> Real:
        r"""Return the covariance of I with W at the end of the step.

        **Equation.** :math:`\rho\, d |d| / 2`: at every distance the correlation is
        :math:`\sqrt3 / 2`, with the sign of d.

        **Shapes and units.** Any shape; loss times gradient.

        Parameters
        ----------
        distance : Real
            d, of either sign.

        Returns
        -------
        Real
            The covariance.

        References
        ----------
        Derived here.
        """
        d = as_real("distance", distance)
        with np.errstate(over="ignore"):
            return within_range("distance", d, self.density * d * np.abs(d) / 2)

    def loss_fourth_cumulant(self, distance: Real) -> Real:
        r"""Return the fourth cumulant of I.

        **Equation.** :math:`\lambda \langle J^4 \rangle |d|^5 / 5`; over the squared variance it
        falls as :math:`1/(\lambda |d|)`.

        **Shapes and units.** Any shape; loss⁴.

        Parameters
        ----------
        distance : Real
            d, of either sign.

        Returns
        -------
        Real
            The cumulant.

        References
        ----------
        Derived here.
        """
        d = np.abs(as_real("distance", distance))
        with np.errstate(over="ignore", invalid="ignore"):
            return within_range("distance", d, self.fourth_rate * d**5 / 5)

    def loss_bound(self, distance: Real) -> Real:
        r"""Return the bound on the mean size of I that holds for any jumps.

        **Equation.** :math:`\langle |I| \rangle \le \sqrt{\rho / 3}\, |d|^{3/2}`.

        **Shapes and units.** Any shape; loss.

        Parameters
        ----------
        distance : Real
            d, of either sign.

        Returns
        -------
        Real
            The bound, :math:`\sqrt{\pi/2}` of :func:`theory.glass.expected_change`'s last term.

        References
        ----------
        Jensen's inequality; derived here.
        """
        d = np.abs(as_real("distance", distance))
        with np.errstate(over="ignore"):
            return within_range("distance", d, math.sqrt(self.density / 3) * d * np.sqrt(d))

    def expected_size(self, distance: Real) -> Real:
        r"""Return the mean size of I, exactly for this law of the jumps.

        **Equation.** With :math:`m = \lambda |d|` crossings expected and the characteristic
        function :math:`\chi` of a jump s J' times a uniform number,

        .. math:: \langle |I| \rangle = s |d|\, \frac{2}{\pi} \int_0^\infty
            \frac{1 - e^{-m (1 - \chi(\tau))}}{\tau^2}\, d\tau .

        It is at most :math:`c \sqrt\rho\, |d|^{3/2}`, which it approaches for many crossings; for
        few it is :math:`\lambda \langle |J| \rangle d^2 / 2`.

        **Shapes and units.** Any shape; loss.

        Parameters
        ----------
        distance : Real
            d, of either sign.

        Returns
        -------
        Real
            The mean, with a relative error below 1e-11.

        References
        ----------
        Derived here.

        Examples
        --------
        >>> rare = JumpProcess(rate=1e-6, jump=2.0)
        >>> round(float(rare.expected_size(1.0)) * 1e6, 6)
        1.0
        """
        d = np.abs(as_real("distance", distance))
        sizes = [self.jump * each * _reduced_size(self.rate * each, self.law) for each in d.flat]
        return within_range("distance", d, np.array(sizes).reshape(d.shape))


def _gap(tau: np.ndarray, law: str) -> np.ndarray:
    """Return 1 - chi(tau), by its series where the difference would lose digits."""
    square = tau * tau
    small = square < 0.25
    if law == "signs":
        # 1 - sin(x)/x
        series = (
            square
            / 6
            * (1 - square / 20 * (1 - square / 42 * (1 - square / 72 * (1 - square / 110))))
        )
        far = np.where(small, 1.0, tau)
        return np.where(small, series, 1 - np.sin(far) / far)
    terms = [(-1.0) ** (n + 1) / (2**n * math.factorial(n) * (2 * n + 1)) for n in range(1, 9)]
    series = square * np.polynomial.polynomial.polyval(square, terms)
    far = np.where(small, 1.0, tau)
    return np.where(small, series, 1 - math.sqrt(math.pi / 2) * erf(far / math.sqrt(2)) / far)


def _reduced_size(crossings: float, law: str) -> float:
    """Return the mean size of I in units of s |d|, of a given mean number of crossings."""
    if crossings == 0:
        return 0.0
    # the integrand bends at 1/sqrt(crossings) first; panels double up to pi, then keep its period
    first = min(1.0, 1 / math.sqrt(crossings))
    edges = np.concatenate([
        [0.0],
        np.geomspace(first, math.pi, 2 + math.ceil(math.log2(math.pi / first))),
        math.pi * (np.arange(2, PANELS + 1) + 0.5 * (np.arange(2, PANELS + 1) == PANELS)),
    ])  # fmt: skip
    node, weight = np.polynomial.legendre.leggauss(16)
    half = np.diff(edges)[:, None] / 2
    tau = edges[:-1, None] + half * (1 + node)
    body = float(np.sum(half * weight * -np.expm1(-crossings * _gap(tau, law)) / tau**2))
    end = float(edges[-1])
    tail = -math.expm1(-crossings) / end
    if crossings < MANY:
        tail -= math.exp(-crossings) * _tail(crossings, end, law)
    return 2 / math.pi * (body + tail)


def _tail(crossings: float, end: float, law: str) -> float:
    """Return the integral of (exp(m chi(x)) - 1)/x² from the end on."""
    if law == "signs":
        # sin vanishes on average, its square does not: what is integrated has the mean m²/4x⁴
        return crossings**2 / (12 * end**3)
    slope = crossings * math.sqrt(math.pi / 2)
    return (math.expm1(slope / end) - slope / end) / slope
