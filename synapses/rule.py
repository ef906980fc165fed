"""The presynaptic rule: release probability follows the size of the gradient."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from synapses._walk import mean_first_passage
from theory.checks import as_number, one_of, shown

__all__ = ["PresynapticRule"]


@dataclass(frozen=True, slots=True)
class PresynapticRule:
    r"""Plasticity of strength and release probability from one gradient.

    **Equation.** With the gradient g of the loss in the expected strength
    :math:`\bar w = pm`, one step is, strength first,

    .. math::

        \bar w &\leftarrow \bar w - \eta\,(g\,\rho(p) + \lambda \bar w), \\
        p &\leftarrow \mathrm{clip}\bigl(p + \kappa(p)\,[\,+p_{up}\text{ if } |g| > g_{lim},
        \text{ else } -p_{down}\,],\; p_{min},\, p_{max}\bigr)

    with p as it was before the step. *printed*: :math:`\rho = 1 - p`, :math:`\kappa = 1`, p
    frozen for good once :math:`p > p_{freeze}`. *program*: :math:`\rho = \kappa = p_{max} - p`,
    up where :math:`|g| \ge g_{lim}`, frozen where :math:`p \ge p_{freeze}`. Without rate
    modulation :math:`\rho = 1`. A frozen synapse keeps its rate :math:`\eta \rho`.

    **Shapes and units.** Probabilities per step; ``g_lim`` in units of the gradient.

    Parameters
    ----------
    p_up, p_down : float
        Steps of p, in [0, 1].
    g_lim : float
        Threshold, >= 0.
    p_freeze : float
        Release probability beyond which p stays; 1 for never.
    p_min, p_max : float
        Range of p, 0 < p_min <= p_max <= 1.
    variant : {"printed", "program"}
        As the paper prints the rule, or as the authors' program computes it.
    rate_modulation : bool
        Whether reliable synapses learn more slowly.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Schug, Benzing & Steger (2021), eLife 10:e69884, Eqs. 3-7, and their program
    (github.com/smonsays/presynaptic-stochasticity).

    Examples
    --------
    >>> rule = PresynapticRule(0.07, 0.07, g_lim=0.001)
    >>> strength, p = rule.step(np.array([0.1]), np.array([0.5]), np.array([-0.02]), 0.05)
    >>> strength.round(6).tolist(), p.round(6).tolist()
    ([0.1005], [0.57])
    """

    p_up: float
    p_down: float
    g_lim: float
    p_freeze: float = 1.0
    p_min: float = 0.25
    p_max: float = 1.0
    variant: Literal["printed", "program"] = "printed"
    rate_modulation: bool = True

    def __post_init__(self) -> None:
        one_of("variant", self.variant, ("printed", "program"))
        for name in ("p_up", "p_down", "p_freeze", "p_max"):
            object.__setattr__(self, name, as_number(name, getattr(self, name), low=0.0, high=1.0))
        object.__setattr__(self, "g_lim", as_number("g_lim", self.g_lim, low=0.0))
        low = as_number("p_min", self.p_min, low=0.0, high=1.0, open_low=True)
        object.__setattr__(self, "p_min", low)
        if self.p_min > self.p_max:
            raise ValueError(f"p_min = {self.p_min}: must be <= p_max = {self.p_max}")
        if not isinstance(self.rate_modulation, bool):
            raise ValueError(
                f"rate_modulation = {shown(self.rate_modulation)}: must be True or False"
            )

    def step(
        self,
        strength: Float[ndarray, "*synapse"],
        release_probability: Float[ndarray, "*synapse"],
        gradient: Float[ndarray, "*synapse"],
        learning_rate: float,
        weight_decay: float = 0.0,
    ) -> tuple[Float[ndarray, "*synapse"], Float[ndarray, "*synapse"]]:
        """Return strength and release probability after one step; the exact reference.

        The other engines are held against this function. In float32 a release
        probability near ``p_max`` sticks: the step is smaller than the spacing of numbers
        there. A warning says so when it happens.

        Parameters
        ----------
        strength : ndarray
            Expected strength p m of every synapse.
        release_probability : ndarray
            In [0, 1].
        gradient : ndarray
            Of the loss in the expected strength.
        learning_rate : float
            eta, >= 0.
        weight_decay : float
            lambda, >= 0; not modulated.

        Returns
        -------
        strength, release_probability : ndarray
            New arrays of the type of the old ones.

        Raises
        ------
        ValueError
            If shapes differ, numbers are not finite or p is not in [0, 1].
        """
        rate = as_number("learning_rate", learning_rate, low=0.0)
        decay = as_number("weight_decay", weight_decay, low=0.0)
        w, g = _floats("strength", strength), _floats("gradient", gradient)
        p = _floats("release_probability", release_probability)
        if not w.shape == p.shape == g.shape:
            raise ValueError(
                f"strength, release_probability and gradient have shapes {w.shape}, {p.shape} and"
                f" {g.shape}: must be the same"
            )
        if ((p < 0) | (p > 1)).any():
            worst = p.flat[int(np.argmax(np.abs(p - 0.5)))]
            raise ValueError(f"release_probability holds {worst}: must be in [0, 1]")
        rest = self.room(p)
        slope = g * rest if self.rate_modulation else g
        moved = w - rate * (slope + decay * w)
        size = np.where(self.goes_up(g), self.p_up, -self.p_down).astype(p.dtype)
        if self.variant == "program":
            size = size * rest
        frozen = self.is_frozen(p)
        after = np.where(frozen, p, np.clip(p + size, self.p_min, self.p_max))
        stuck = ~frozen & (size != 0) & (p + size == p)
        if stuck.any():
            warnings.warn(
                f"{int(stuck.sum())} release probabilities of type {p.dtype} are so near p_max that"
                " their step is lost in rounding; use float64, or a p_freeze below 1",
                RuntimeWarning,
                stacklevel=2,
            )
        return moved, after.astype(p.dtype, copy=False)

    def room(self, release_probability: ndarray) -> ndarray:
        """Return 1 - p (printed) or p_max - p (program)."""
        top = 1.0 if self.variant == "printed" else self.p_max
        return np.asarray(top - release_probability)

    def goes_up(self, gradient: ndarray) -> ndarray:
        """Return whether the gradient exceeds the threshold (program: reaches it)."""
        size = np.abs(gradient)
        return np.asarray(size > self.g_lim if self.variant == "printed" else size >= self.g_lim)

    def is_frozen(self, release_probability: ndarray) -> ndarray:
        """Return whether p exceeds ``p_freeze`` (program: reaches it)."""
        p = release_probability
        return np.asarray(p > self.p_freeze if self.variant == "printed" else p >= self.p_freeze)

    def critical_up_frequency(self) -> float:
        r"""Return the frequency of up-steps at which the drift of p changes sign.

        **Equation.** printed :math:`p_{down}/(p_{up} + p_{down})`; program
        :math:`\ln(1+p_{down}) / [\ln(1+p_{down}) - \ln(1-p_{up})]`, since
        :math:`\ln(p_{max} - p)` does a random walk.

        Returns
        -------
        float
            In [0, 1], per step.

        Raises
        ------
        ValueError
            If both steps are 0.

        References
        ----------
        Derived here.

        Examples
        --------
        >>> PresynapticRule(0.07, 0.07, 0.001, variant="program").critical_up_frequency()
        0.4824856755541302
        """
        if not self.p_up and not self.p_down:
            raise ValueError("p_up = p_down = 0: release probabilities do not move at all")
        if self.variant == "printed":
            return self.p_down / (self.p_up + self.p_down)
        if self.p_up == 1:
            return 0.0
        down = math.log1p(self.p_down)
        return down / (down - math.log1p(-self.p_up))

    def mean_steps_to_freeze(self, pi: float, start: float | None = None) -> float:
        r"""Return the mean number of steps until p freezes, under a shared mask.

        A synapse that did not release has gradient zero, so that p goes up with
        probability p pi and down otherwise: :math:`\ln(p_{max} - p)` does a random walk with
        a wall at ``p_min``, whose steps depend on the place. The linear equations for the
        mean time are solved exactly.

        Parameters
        ----------
        pi : float
            Probability that the gradient of a released synapse reaches ``g_lim``, in (0, 1].
        start : float or None
            Release probability at the beginning; ``p_min`` if None.

        Returns
        -------
        float
            In steps.

        Raises
        ------
        ValueError
            For the printed variant, without freezing, or if freezing cannot be reached.

        References
        ----------
        Derived here.

        Examples
        --------
        >>> rule = PresynapticRule(0.052, 0.0516, 0.001, p_freeze=0.9353, variant="program")
        >>> round(rule.mean_steps_to_freeze(1.0), 6)
        962.242077
        """
        if self.variant != "program":
            raise ValueError(
                f"variant = {self.variant!r}: mean_steps_to_freeze is known for the program's rule"
                " alone"
            )
        pi = as_number("pi", pi, low=0.0, high=1.0, open_low=True)
        if not self.p_min < self.p_freeze < self.p_max:
            raise ValueError(
                f"p_freeze = {self.p_freeze}: must lie between p_min = {self.p_min} and p_max ="
                f" {self.p_max} to be reached"
            )
        if not 0 < self.p_up < 1 or not self.p_down:
            raise ValueError(
                f"p_up = {self.p_up}, p_down = {self.p_down}: must be in (0, 1) and > 0 for a walk"
            )
        first = self.p_min if start is None else as_number("start", start, low=0.0, high=1.0)
        if first >= self.p_freeze:
            return 0.0
        return mean_first_passage(
            start=math.log(self.p_max - max(first, self.p_min)),
            floor=math.log(self.p_max - self.p_min),
            goal=math.log(self.p_max - self.p_freeze),
            up=math.log1p(-self.p_up),
            down=math.log1p(self.p_down),
            chance=lambda log_room: pi * (self.p_max - np.exp(log_room)),
        )


def _floats(name: str, values: ndarray) -> ndarray:
    """Return an array of finite real numbers."""
    array = np.asarray(values)
    if array.dtype.kind != "f":
        raise ValueError(f"{name} has type {array.dtype}: must be real numbers")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds numbers that are not finite: every one must be")
    return array
