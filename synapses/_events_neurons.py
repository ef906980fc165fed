"""Integrate-and-fire neurons, their constant drive and their external input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Real
from numpy import ndarray

from theory.checks import as_integer, as_number, shown

__all__ = ["LARGEST", "Neurons", "per_unit"]

LARGEST = 2**31 - 1
"""Largest index of a unit: targets are stored in 32 bits."""


def per_unit(
    name: str, value: Any, count: int, *, low: float = -np.inf, each: str = "neuron"
) -> Float[ndarray, " unit"]:
    """Return finite float64 numbers, one a unit, that cannot be written to."""
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or array.shape not in {(), (count,)}:
        found = f"= {shown(value)}" if array.shape == () else f"has shape {array.shape}"
        raise ValueError(f"{name} {found}: must be a number or {count} numbers, one a {each}")
    numbers = np.broadcast_to(array.astype(np.float64), (count,))
    wrong = ~np.isfinite(numbers) | (numbers < low)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise ValueError(f"{name}[{i}] = {numbers[i]}: must be finite and >= {low:g}")
    return numbers


@dataclass(frozen=True, slots=True, eq=False)
class Neurons:
    r"""Leaky integrate-and-fire neurons with one set of parameters.

    **Equation.** With the currents in units of the voltage they would lead to,

    .. math::

        \tau_m \dot v = v_{rest} + d - v + g_E + g_I, \qquad
        \tau_E \dot g_E = -g_E, \qquad \tau_I \dot g_I = -g_I.

    Where v > v_threshold the neuron spikes; v is set to v_reset and held. A synaptic
    event of amplitude m adds m to :math:`g_E` if m >= 0, else to :math:`g_I`.
    Without time constants of currents it adds m to v itself, and is lost on a refractory
    neuron. The external input is a Poisson train of events of one amplitude.

    **Shapes and units.** Arguments named ``_volt``, ``_s``, ``_hz`` are in volt, seconds
    and 1/s. ``drive_volt``, ``v_initial_volt``, ``external_rate_hz`` and
    ``external_jump_volt`` are numbers or (neuron,) and are stored as (neuron,).

    Parameters
    ----------
    count : int
        Neurons, in [1, 2**31).
    tau_m_s : float
        Membrane time constant, > 0.
    v_rest_volt, v_reset_volt, v_threshold_volt : float
        Voltages; the reset lies below the threshold.
    refractory_s : float
        Time from a spike until v moves again, a whole number of time steps. A spike's
        time is the beginning of the step in which it occurs, and v never moves again
        before the next step.
    drive_volt : float or Float[ndarray, " neuron"]
        d, a constant input.
    tau_exc_s, tau_inh_s : float or None
        Time constants of the currents, > 0; both, or neither for jumps of v.
    v_initial_volt : float, Float[ndarray, " neuron"] or None
        v at time zero; None for the reset.
    external_rate_hz : float or Float[ndarray, " neuron"]
        Rate of the external events, >= 0, independent for every neuron.
    external_jump_volt : float or Float[ndarray, " neuron"]
        Amplitude of an external event.

    Raises
    ------
    ValueError
        If a number is not finite or out of range.

    References
    ----------
    Brette et al. (2007), doi:10.1007/s10827-007-0038-6, benchmarks 2 and 4, for neurons
    with currents and with jumps.

    Examples
    --------
    >>> neurons = Neurons(
    ...     count=2, tau_m_s=0.02, v_rest_volt=-0.06, v_reset_volt=-0.06, v_threshold_volt=-0.05
    ... )
    >>> neurons.has_currents, neurons.v_initial_volt.tolist()
    (False, [-0.06, -0.06])
    """

    count: int
    tau_m_s: float
    v_rest_volt: float
    v_reset_volt: float
    v_threshold_volt: float
    refractory_s: float = 0.0
    drive_volt: float | Real[ndarray, " neuron"] = 0.0
    tau_exc_s: float | None = None
    tau_inh_s: float | None = None
    v_initial_volt: float | Real[ndarray, " neuron"] | None = None
    external_rate_hz: float | Real[ndarray, " neuron"] = 0.0
    external_jump_volt: float | Real[ndarray, " neuron"] = 0.0

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        count = as_integer("count", self.count, low=1, high=LARGEST)
        put("count", count)
        put("tau_m_s", as_number("tau_m_s", self.tau_m_s, low=0.0, open_low=True))
        for name in ("v_rest_volt", "v_reset_volt", "v_threshold_volt"):
            put(name, as_number(name, getattr(self, name)))
        if self.v_reset_volt >= self.v_threshold_volt:
            raise ValueError(
                f"v_reset_volt = {self.v_reset_volt}: must be < v_threshold_volt ="
                f" {self.v_threshold_volt}"
            )
        put("refractory_s", as_number("refractory_s", self.refractory_s, low=0.0))
        if (self.tau_exc_s is None) != (self.tau_inh_s is None):
            raise ValueError(
                f"tau_exc_s = {self.tau_exc_s} and tau_inh_s = {self.tau_inh_s}: must both be"
                " given, or neither"
            )
        if self.has_currents:
            for name in ("tau_exc_s", "tau_inh_s"):
                put(name, as_number(name, getattr(self, name), low=0.0, open_low=True))
        if self.v_initial_volt is None:
            put("v_initial_volt", self.v_reset_volt)
        for name in ("drive_volt", "v_initial_volt", "external_jump_volt"):
            put(name, per_unit(name, getattr(self, name), count))
        rate = per_unit("external_rate_hz", self.external_rate_hz, count, low=0.0)
        put("external_rate_hz", rate)

    @property
    def has_currents(self) -> bool:
        """Whether synapses act through currents, not through jumps of v."""
        return self.tau_exc_s is not None
