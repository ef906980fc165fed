"""The firing rate of a leaky integrate-and-fire neuron, jump by jump."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.polynomial import chebyshev
from scipy.sparse import block_diag, coo_array, csc_array, diags_array, eye_array, kron
from scipy.sparse.linalg import spsolve

from theory.checks import as_number, as_vector
from theory.firing_rate import check_neuron

__all__ = ["shot_noise_rate"]

NODES = 16
"""Chebyshev points a jump: enough for twelve digits where jumps are below the threshold."""

MOST_JUMPS = 2000
"""Most jumps that may fit between rest and threshold."""


def shot_noise_rate(
    rate_hz: float,
    jump: float,
    probabilities: Float[ndarray, " quanta"],
    *,
    tau_m_s: float,
    threshold: float,
    reset: float,
    refractory_s: float = 0.0,
) -> float:
    r"""Return the firing rate of a leaky integrate-and-fire neuron whose voltage jumps.

    **Equation.** Between Poisson events of rate r the voltage decays to 0; an event adds k
    quanta of size J with probability :math:`w_k`, and the neuron fires at or above the
    threshold. The mean time T(v) to fire obeys

    .. math::

        \frac{v}{\tau} T'(v) = 1 + r \sum_k w_k \bigl[T(v + kJ) - T(v)\bigr], \qquad
        T = 0 \text{ from } \theta \text{ on},

    which is solved by collocation, in pieces of length J counted from the threshold, where T
    is smooth. The rate is :math:`1/(t_r + T(v_r))`; what comes in the refractory time is lost.

    **Shapes and units.** Voltages from rest, in one unit; seconds; 1/s.

    Parameters
    ----------
    rate_hz : float
        r, > 0.
    jump : float
        J, above 1/2000 of the threshold.
    probabilities : Float[ndarray, " quanta"]
        :math:`w_0, w_1, \dots`, adding up to 1, with :math:`w_0 < 1`.
    tau_m_s : float
        Membrane time constant, > 0.
    threshold, reset : float
        The reset lies below the threshold, and at rest or above it.
    refractory_s : float
        Refractory time, >= 0.

    Returns
    -------
    float
        The rate, free of the diffusion approximation and of time steps.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    The model: Stein (1965), doi:10.1016/S0006-3495(65)86709-1. Equation and solution: derived
    here.

    Examples
    --------
    >>> neuron = dict(tau_m_s=0.02, threshold=20.0, reset=10.0, refractory_s=0.002)
    >>> round(shot_noise_rate(9000.0, 0.4, np.array([0.75, 0.25]), **neuron), 4)
    11.0113
    """
    rate = as_number("rate_hz", rate_hz, low=0.0, open_low=True)
    tau, top, bottom, dead = check_neuron(tau_m_s, threshold, reset, refractory_s)
    if bottom < 0:
        raise ValueError(f"reset = {bottom:g}: must be >= 0, the resting voltage")
    size = as_number("jump", jump, low=top / MOST_JUMPS, open_low=True)
    chances = as_vector("probabilities", probabilities)
    if (chances < 0).any() or not math.isclose(chances.sum(), 1.0, abs_tol=1e-9):
        raise ValueError(f"probabilities = {chances.tolist()}: must be >= 0 and add up to 1")
    if chances[0] >= 1:
        raise ValueError("probabilities[0] = 1: some event must bring a quantum")
    pieces = math.ceil(top / size)
    points = chebyshev.chebpts2(NODES)
    powers = chebyshev.chebvander(points, NODES - 1)
    slopes = chebyshev.chebval(points, chebyshev.chebder(np.eye(NODES))).T
    differ = slopes @ np.linalg.inv(powers)
    # piece j lies j jumps below the uppermost one
    starts = top - size * np.arange(1, pieces + 1)
    places = starts[:, None] + size * (points + 1) / 2
    decay = block_diag([(v / tau * 2 / size)[:, None] * differ for v in places])
    reach = min(chances.size, pieces)
    gain = diags_array(chances[:reach], offsets=-np.arange(reach), shape=(pieces, pieces))
    system = decay - rate * (kron(gain, eye_array(NODES)) - eye_array(pieces * NODES))
    known = np.ones(pieces * NODES)
    # a piece begins where the one below ends; the lowest one holds v = 0, which fixes T there
    joints = np.arange(pieces - 1) * NODES
    known[joints] = 0.0
    joined = coo_array(
        (
            np.repeat([1.0, -1.0], joints.size),
            (np.tile(joints, 2), np.concatenate([joints, joints + 2 * NODES - 1])),
        ),
        shape=system.shape,
    )
    kept = np.ones(pieces * NODES)
    kept[joints] = 0.0
    times = spsolve(csc_array(diags_array(kept) @ system + joined), known)
    piece = min(int((top - bottom) / size), pieces - 1)
    inside = 2 * (bottom - starts[piece]) / size - 1
    own = times[piece * NODES : (piece + 1) * NODES]
    return float(1 / (dead + chebyshev.chebval(inside, np.linalg.solve(powers, own))))
