"""Spiking networks with stochastic synapses, compiled: the fast engine."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from synapses._events_network import Network, random_network
from synapses._events_neurons import Neurons
from synapses._events_recording import Events, OperationCounts, Recording, arrivals
from theory.checks import as_integer, as_number, one_of, shown
from theory.streams import Streams, uniforms

__all__ = [
    "Events",
    "Network",
    "Neurons",
    "OperationCounts",
    "Recording",
    "random_network",
    "release_uniforms",
    "simulate",
]

MOST_STEPS = 2**31 - 1
"""A synapse releases at most once a step, so its 32-bit count of releases cannot overflow."""

MOST_ARRIVALS = 100.0
"""Largest mean number of external events of a neuron in a step."""

WHOLE = 1e-6
"""How far, in steps, a time may be from a whole number of steps."""


def release_uniforms(
    seed: int, steps: int, synapses: int, first_step: int = 0
) -> Float[ndarray, "step synapse"]:
    r"""Return the numbers that ``per-synapse`` compares with the release probabilities.

    **Equation.** ``uniforms(Streams(seed).key("release"), (synapse, step, 0, 0))``: a
    spike that reaches a synapse in a step releases if this number is < p. They can be
    handed to any other simulator.

    **Shapes and units.** (step, synapse), in [0, 1).

    Parameters
    ----------
    seed : int
        Seed of the run.
    steps : int
        How many steps.
    synapses : int
        How many synapses, at most 2**32.
    first_step : int
        The step of the first row.

    Returns
    -------
    Float[ndarray, "step synapse"]
        The numbers.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Derived here; the generator is that of :func:`theory.streams.uniforms`.

    Examples
    --------
    >>> numbers = release_uniforms(3, steps=2, synapses=4)
    >>> numbers.shape, bool((release_uniforms(3, 1, 4, first_step=1) == numbers[1]).all())
    ((2, 4), True)
    """
    first = as_integer("first_step", first_step, low=0, high=MOST_STEPS)
    steps = as_integer("steps", steps, low=1, high=MOST_STEPS - first)
    synapses = as_integer("synapses", synapses, low=0, high=2**32)
    counter = (np.arange(synapses), first + np.arange(steps)[:, None], 0, 0)
    return np.asarray(uniforms(Streams(seed).key("release"), counter))


def _steps(name: str, time_s: float, dt_s: float, *, low: int) -> int:
    """Return how many steps a time is."""
    number = time_s / dt_s
    whole = round(number)
    if abs(number - whole) > WHOLE or not low <= whole <= MOST_STEPS:
        raise ValueError(
            f"{name} = {time_s:g}: must be a whole number of steps of dt_s = {dt_s:g}, in"
            f" [{low}, {MOST_STEPS}], and is {number:.9g}"
        )
    return whole


def _checked_uniforms(numbers: Any, steps: int, synapses: int) -> ndarray:
    """Return injected numbers in float64."""
    array = np.asarray(numbers)
    if array.shape != (steps, synapses) or array.dtype.kind != "f":
        raise ValueError(
            f"uniforms has shape {array.shape} and type {array.dtype}: must be floats of shape"
            f" {(steps, synapses)}, a row for every step and a column for every synapse"
        )
    array = np.ascontiguousarray(array, dtype=np.float64).view()
    if not ((array >= 0) & (array < 1)).all():  # NaN fails as well
        raise ValueError("uniforms: every number must be in [0, 1)")
    # numba takes an array that can be written to for another type, and would compile anew
    array.flags.writeable = False
    return array


def simulate(
    network: Network,
    duration_s: float,
    dt_s: float,
    seed: int,
    sampler: Literal["per-synapse", "skip"] = "per-synapse",
    uniforms: Float[ndarray, "step synapse"] | None = None,
    *,
    threads: int = 1,
    record_events: bool = False,
) -> Recording:
    r"""Simulate a network of spiking neurons with stochastic synapses.

    **Equation.** A step n covers [n dt, (n + 1) dt): (1) v and the currents move by dt,
    exactly, v only where it is not held; (2) neurons above the threshold spike and are
    reset and held; (3) spikes of step n - delay / dt arrive, and each synapse releases
    with its probability; (4) external events arrive. ``per-synapse`` draws one number for
    every synapse that a spike reaches, addressed by (seed, step of arrival, synapse).
    ``skip`` draws, addressed by (seed, step of arrival, unit), the geometric gaps between
    candidates at the largest probability :math:`\hat p` of the row, and keeps a candidate
    with probability :math:`p / \hat p`: the same distribution, at a cost that follows the
    candidates. A row with one large p among small ones gains nothing.

    **Shapes and units.** Seconds. The result does not depend on ``threads``, to the last
    bit: a neuron sums what arrives in a step in the order of sending unit and synapse.
    Memory: that of the network, 4 bytes a synapse, and 8 bytes (16 with several threads)
    for each synapse that spikes reach within one delay.

    Parameters
    ----------
    network : Network
        The network.
    duration_s : float
        A whole number of steps, at least one.
    dt_s : float
        Time step, > 0; refractory time and delay are whole numbers of it.
    seed : int
        Root of the streams "release", "skip", "external" and "sources".
    sampler : {"per-synapse", "skip"}
        How releases are drawn.
    uniforms : Float[ndarray, "step synapse"] or None
        Numbers in [0, 1) to use in place of drawn ones, with ``per-synapse`` only: a
        spike that reaches synapse k in step n releases if ``uniforms[n, k]`` < p.
    threads : int
        How many threads share the network. They meet once in every delay, so that short
        delays and small networks gain nothing.
    record_events : bool
        Whether to keep every arrival of a spike at a synapse.

    Returns
    -------
    Recording
        Spikes, releases, the final state and the work done.

    Raises
    ------
    ValueError
        If an argument is out of range, or a time is not a whole number of steps.

    References
    ----------
    Exact integration: Rotter & Diesmann (1999), doi:10.1007/s004220050570. Windows of one
    delay: Morrison et al. (2005), doi:10.1162/0899766054026648. Skipping with thinning:
    Devroye (1986), "Non-Uniform Random Variate Generation", ch. VI.

    Examples
    --------
    >>> neurons = Neurons(
    ...     100, 0.02, -0.049, -0.06, -0.05, refractory_s=0.005, tau_exc_s=0.005, tau_inh_s=0.01
    ... )
    >>> network = random_network(neurons, 20, seed=1, release_probability=0.25)
    >>> run = simulate(network, duration_s=0.1, dt_s=0.0001, seed=2, sampler="skip")
    >>> run.total_releases == run.operations.releases, run.steps
    (True, 1000)
    """
    if not isinstance(network, Network):
        raise ValueError(f"network = {shown(network)}: must be a Network")
    dt = as_number("dt_s", dt_s, low=0.0, open_low=True)
    duration = as_number("duration_s", duration_s, low=0.0, open_low=True)
    one_of("sampler", sampler, ("per-synapse", "skip"))
    steps = _steps("duration_s", duration, dt, low=1)
    delay = _steps("delay_s", network.delay_s, dt, low=1)
    held = _steps("refractory_s", network.neurons.refractory_s, dt, low=0)
    threads = as_integer("threads", threads, low=1, high=1024)
    received = float(np.max(network.neurons.external_rate_hz)) * dt
    if received > MOST_ARRIVALS:
        raise ValueError(
            f"external_rate_hz: {received:g} events a step of dt_s = {dt:g}, must be at most"
            f" {MOST_ARRIVALS:g}; take a shorter step"
        )
    spikes = float(np.max(network.source_rate_hz, initial=0.0)) * dt
    if spikes > 1:
        raise ValueError(
            f"source_rate_hz: {spikes:g} spikes a step of dt_s = {dt:g}, must be at most 1; take"
            " a shorter step"
        )
    if uniforms is not None:
        if sampler != "per-synapse":
            raise ValueError(
                f"uniforms with sampler = {sampler!r}: must be None; only 'per-synapse' draws one"
                " number a synapse"
            )
        uniforms = _checked_uniforms(uniforms, steps, network.target.size)

    from synapses._events_run import Job, run  # brings numba

    job = Job(
        network, steps, min(delay, steps), max(held, 1), dt, seed, sampler, uniforms,
        min(threads, network.neurons.count), record_events,
    )  # fmt: skip
    found = run(job)
    draws, visits, releases, updates, external = (int(n) for n in found.pop("counters"))
    release_step, release_synapse = found.pop("event_step"), found.pop("event_synapse")
    events = None
    if record_events:
        step = np.concatenate([found["spike_step"], found["source_spike_step"]])
        source = found["source_spike_source"] + network.neurons.count
        unit = np.concatenate([found["spike_neuron"], source])
        events = arrivals(
            network, step, unit, release_step, release_synapse, steps=steps, delay=delay
        )
    return Recording(
        dt_s=dt,
        steps=steps,
        population_count=np.bincount(found["spike_step"], minlength=steps),
        operations=OperationCounts(draws, visits, releases, updates, external),
        events=events,
        **found,
    )
