"""Short-term plasticity: resources that are used up, sites that run empty."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from synapses._trains import as_spikes
from synapses.release import ReleaseModel
from theory.checks import as_number, as_vector, one_of
from theory.information import depression_steady_state, facilitation_steady_state


@dataclass(frozen=True, slots=True)
class TsodyksMarkram:
    r"""Deterministic short-term depression and facilitation.

    **Equation.** Of the available share x of resources a spike releases the share u,

    .. math::

        \dot x = (1-x)/\tau_{rec}, \qquad x \leftarrow x - ux, \qquad \text{amplitude } A\,ux .

    *jump-first*: u decays to 0, a spike lets :math:`u \leftarrow u + U(1-u)` and uses u after
    the jump. *jump-last*: u decays to U, a spike uses u and lets it jump afterwards. Both
    release the same; u between the spikes is another.

    **Shapes and units.** Seconds, shares; the amplitude in any unit.

    Parameters
    ----------
    use : float
        U, in (0, 1].
    recovery_s : float
        Time constant of recovery, > 0.
    facilitation_s : float or None
        Time constant of facilitation, > 0; None for none, u being U.
    amplitude : float
        A, of all resources at once, > 0.
    convention : {"jump-first", "jump-last"}
        What u means between spikes.

    Raises
    ------
    ValueError
        If a number is out of range or the convention unknown.

    References
    ----------
    Tsodyks & Markram (1997), doi:10.1073/pnas.94.2.719; Tsodyks, Pawelzik & Markram (1998),
    doi:10.1162/089976698300017502; jump-last: Costa, Froemke, Sjöström & van Rossum (2015),
    eLife 4:e09457.

    Examples
    --------
    >>> from synapses.traces import regular_train
    >>> synapse = TsodyksMarkram(use=0.5, recovery_s=0.8)
    >>> u, x = synapse.at_spikes(regular_train(20.0, 0.15))
    >>> (u * x).round(6).tolist()
    [0.5, 0.265147, 0.154835]
    """

    use: float = 0.5
    recovery_s: float = 0.8
    facilitation_s: float | None = None
    amplitude: float = 1.0
    convention: Literal["jump-first", "jump-last"] = "jump-first"

    def __post_init__(self) -> None:
        _set_constants(self)
        amplitude = as_number("amplitude", self.amplitude, low=0.0, open_low=True)
        object.__setattr__(self, "amplitude", amplitude)
        one_of("convention", self.convention, ("jump-first", "jump-last"))

    def at_spikes(
        self, spikes_s: Float[ndarray, " spike"]
    ) -> tuple[Float[ndarray, " spike"], Float[ndarray, " spike"]]:
        """Return the u that every spike uses and x just before it; all is available at first."""
        spikes = as_spikes("spikes_s", spikes_s)
        return _at_spikes(self.use, self.recovery_s, self.facilitation_s, spikes)

    def course(
        self, spikes_s: Float[ndarray, " spike"], times_s: Float[ndarray, " time"]
    ) -> tuple[Float[ndarray, " time"], Float[ndarray, " time"]]:
        """Return u and x at any times; at the time of a spike, just after it."""
        return _between_spikes(
            self.use,
            self.recovery_s,
            self.facilitation_s,
            as_spikes("spikes_s", spikes_s),
            as_vector("times_s", times_s),
            jump_first=self.convention == "jump-first",
        )

    def steady_state(self, interval_s: float) -> tuple[float, float]:
        """Return u and x at a spike of a long regular train."""
        return _steady_state(self, interval_s)


@dataclass(frozen=True, slots=True)
class QuantalDepression:
    r"""Release sites that run empty and refill at random.

    **Equation.** Each of N sites is full or empty. An empty one refills at rate
    :math:`1/\tau_{rec}`; at a spike a full one releases one quantum with probability u and is
    empty then; u is that of :class:`TsodyksMarkram`. The number of quanta at spike k is
    exactly :math:`\mathrm{Bin}(N, u_k x_k)` with the deterministic :math:`x_k` of that model,
    in any train; successive numbers are correlated
    (:func:`theory.information.site_covariance`).

    **Shapes and units.** Seconds, shares; ``quantal_size`` in any unit of amplitude.

    Parameters
    ----------
    sites : int
        N, >= 1.
    use : float
        U, in (0, 1].
    recovery_s : float
        Time constant of refilling, > 0.
    facilitation_s : float or None
        Time constant of facilitation, > 0; None for none.
    quantal_size, quantal_cv : float
        Mean and coefficient of variation of a quantum, as for :class:`ReleaseModel`.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Fuhrmann, Segev, Markram & Tsodyks (2002), doi:10.1152/jn.00258.2001; the law at a spike:
    derived here.

    Examples
    --------
    >>> from synapses.traces import regular_train
    >>> synapse = QuantalDepression(sites=5, use=0.5, recovery_s=0.8)
    >>> [round(law.mean(), 6) for law in synapse.laws(regular_train(20.0, 0.15))]
    [2.5, 1.325734, 0.774173]
    """

    sites: int = 5
    use: float = 0.5
    recovery_s: float = 0.8
    facilitation_s: float | None = None
    quantal_size: float = 1.0
    quantal_cv: float = 0.0

    def __post_init__(self) -> None:
        _set_constants(self)
        law = ReleaseModel(self.sites, 1.0, self.quantal_size, self.quantal_cv)
        for name in ("sites", "quantal_size", "quantal_cv"):
            object.__setattr__(self, name, getattr(law, name))

    def at_spikes(
        self, spikes_s: Float[ndarray, " spike"]
    ) -> tuple[Float[ndarray, " spike"], Float[ndarray, " spike"]]:
        """Return u at every spike and the probability x that a site is full just before it."""
        spikes = as_spikes("spikes_s", spikes_s)
        return _at_spikes(self.use, self.recovery_s, self.facilitation_s, spikes)

    def laws(self, spikes_s: Float[ndarray, " spike"]) -> list[ReleaseModel]:
        """Return the law of the amplitude at every spike, from full sites at the start."""
        u, x = self.at_spikes(spikes_s)
        return [
            ReleaseModel(self.sites, float(p), self.quantal_size, self.quantal_cv) for p in u * x
        ]

    def steady_state(self, interval_s: float) -> tuple[float, float]:
        """Return u and x at a spike of a long regular train."""
        return _steady_state(self, interval_s)


def _at_spikes(
    use: float, recovery_s: float, facilitation_s: float | None, spikes_s: ndarray
) -> tuple[ndarray, ndarray]:
    """Return the u that every spike uses, and x just before it, from x = 1 at the start."""
    gaps = np.diff(spikes_s, prepend=spikes_s[0])
    refilled = -np.expm1(-gaps / recovery_s)
    u, x = np.empty_like(spikes_s), np.empty_like(spikes_s)
    decayed = np.exp(-gaps / facilitation_s) if facilitation_s is not None else np.zeros_like(gaps)
    now_u, now_x = use, 1.0
    for k in range(len(spikes_s)):
        if k:
            now_u = use + (1 - use) * now_u * decayed[k]
            now_x += (1 - now_x) * refilled[k]
        u[k], x[k] = now_u, now_x
        now_x -= now_u * now_x
    return u, x


def _between_spikes(
    use: float,
    recovery_s: float,
    facilitation_s: float | None,
    spikes_s: ndarray,
    times_s: ndarray,
    *,
    jump_first: bool,
) -> tuple[ndarray, ndarray]:
    """Return u and x at any times; at a spike's own time, just after it."""
    u, x = _at_spikes(use, recovery_s, facilitation_s, spikes_s)
    last = np.searchsorted(spikes_s, times_s, side="right") - 1
    before = last < 0
    gap = np.where(before, 0.0, times_s - spikes_s[last])
    full = 1 - (1 - x[last] * (1 - u[last])) * np.exp(-gap / recovery_s)
    full = np.where(before, 1.0, full)
    if facilitation_s is None:
        return np.full_like(times_s, use), full
    decayed = u[last] * np.exp(-gap / facilitation_s)
    if jump_first:
        return np.where(before, 0.0, decayed), full
    return np.where(before, use, use + (1 - use) * decayed), full


def _set_constants(synapse: TsodyksMarkram | QuantalDepression) -> None:
    """Check the constants that both models of short-term plasticity share."""
    for name in ("use", "recovery_s", "facilitation_s"):
        value = getattr(synapse, name)
        if name != "facilitation_s" or value is not None:
            high = 1.0 if name == "use" else math.inf
            value = as_number(name, value, low=0.0, high=high, open_low=True)
        object.__setattr__(synapse, name, value)


def _steady_state(
    synapse: TsodyksMarkram | QuantalDepression, interval_s: float
) -> tuple[float, float]:
    """Return u and x at a spike of a long regular train."""
    interval = as_number("interval_s", interval_s, low=0.0, open_low=True)
    if synapse.facilitation_s is None:
        return synapse.use, depression_steady_state(synapse.use, synapse.recovery_s, interval)
    return facilitation_steady_state(
        synapse.use, synapse.recovery_s, synapse.facilitation_s, interval
    )
