"""What a run of a spiking network leaves: spikes, releases, the work done."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt32
from numpy import ndarray

from synapses._events_network import Network

__all__ = ["Events", "OperationCounts", "Recording", "arrivals"]


@dataclass(frozen=True, slots=True)
class OperationCounts:
    """How much work a run took, and of which kind.

    Parameters
    ----------
    draws : int
        Evaluations of the counter-based generator for releases: a number each for
        ``per-synapse``, a pair of numbers each for ``skip``, none with injected uniforms.
    visits : int
        Synapses looked at: all that a spike reached, or the candidates of ``skip``.
    releases : int
        Synaptic events.
    state_updates : int
        Neurons times steps.
    external_draws : int
        Numbers drawn for external inputs and for the intervals of sources.
    """

    draws: int
    visits: int
    releases: int
    state_updates: int
    external_draws: int


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """Every arrival of a spike at a synapse, in order of step and synapse.

    Parameters
    ----------
    step : Int[ndarray, " event"]
        Step of the arrival.
    synapse : Int[ndarray, " event"]
        Index into the network's synapses.
    released : Bool[ndarray, " event"]
        Whether the synapse released.
    """

    step: Int[ndarray, " event"]
    synapse: Int[ndarray, " event"]
    released: Bool[ndarray, " event"]


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """What a run leaves.

    Parameters
    ----------
    dt_s : float
        Time step, in seconds.
    steps : int
        Number of steps.
    spike_step, spike_neuron : Int[ndarray, " spike"]
        Spikes of neurons, in order of step and neuron.
    source_spike_step, source_spike_source : Int[ndarray, " source_spike"]
        Spikes of sources, in order of step and source.
    released : UInt32[ndarray, " synapse"]
        Releases of each synapse.
    population_count : Int[ndarray, " step"]
        Spikes of neurons in each step.
    operations : OperationCounts
        The work done.
    final_v_volt : Float[ndarray, " neuron"]
        Voltages at the end.
    final_g_exc_volt, final_g_inh_volt : Float[ndarray, " current"]
        Currents at the end, (neuron,), in units of voltage; empty for neurons without.
    events : Events or None
        Every arrival of a spike, if asked for.
    """

    dt_s: float
    steps: int
    spike_step: Int[ndarray, " spike"]
    spike_neuron: Int[ndarray, " spike"]
    source_spike_step: Int[ndarray, " source_spike"]
    source_spike_source: Int[ndarray, " source_spike"]
    released: UInt32[ndarray, " synapse"]
    population_count: Int[ndarray, " step"]
    operations: OperationCounts
    final_v_volt: Float[ndarray, " neuron"]
    final_g_exc_volt: Float[ndarray, " current"]
    final_g_inh_volt: Float[ndarray, " current"]
    events: Events | None

    @property
    def spike_time_s(self) -> Float[ndarray, " spike"]:
        """Times of the spikes of neurons: the beginnings of their steps."""
        return np.asarray(self.spike_step * self.dt_s)

    @property
    def source_spike_time_s(self) -> Float[ndarray, " source_spike"]:
        """Times of the spikes of sources."""
        return np.asarray(self.source_spike_step * self.dt_s)

    @property
    def total_releases(self) -> int:
        """Releases of all synapses together."""
        return int(self.released.sum(dtype=np.int64))


def arrivals(
    network: Network,
    spike_step: Int[ndarray, " spike"],
    spike_unit: Int[ndarray, " spike"],
    release_step: Int[ndarray, " release"],
    release_synapse: Int[ndarray, " release"],
    *,
    steps: int,
    delay: int,
) -> Events:
    """Return all arrivals, from the spikes and those arrivals that led to a release."""
    step = spike_step.astype(np.int64) + delay
    unit, step = spike_unit[step < steps], step[step < steps]
    lengths = network.indptr[unit + 1] - network.indptr[unit]
    # the rows of all spikes, one after the other
    first = network.indptr[unit] - np.cumsum(lengths) + lengths
    synapse = np.repeat(first, lengths) + np.arange(lengths.sum())
    step = np.repeat(step, lengths)
    order = np.lexsort((synapse, step))
    step, synapse = step[order], synapse[order]
    size = network.target.size
    released = np.isin(
        step * size + synapse, release_step * size + release_synapse, assume_unique=True
    )
    return Events(step, synapse, released)
