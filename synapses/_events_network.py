"""Networks of neurons, Poisson sources and stochastic synapses in rows of one source each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Integer, Real
from numpy import ndarray

from synapses._events_neurons import Neurons, per_unit
from theory.checks import as_integer, as_number, shown
from theory.streams import Streams

__all__ = ["Network", "random_network"]


def _frozen(name: str, value: Any, kinds: str, dtype: Any) -> ndarray:
    """Return a vector of the type wanted that cannot be written to."""
    array = np.asarray(value)
    if array.ndim != 1 or (array.size and array.dtype.kind not in kinds):
        wanted = "whole numbers" if kinds == "iu" else "numbers"
        raise ValueError(
            f"{name} has shape {array.shape} and type {array.dtype}: must be a vector of {wanted}"
        )
    if np.dtype(dtype).kind == "f":
        fits = np.abs(array) <= np.finfo(dtype).max  # NaN fails as well
        if not fits.all():
            i = int(np.argmin(fits))
            raise ValueError(f"{name}[{i}] = {array[i]}: must be finite, in {np.dtype(dtype)}")
    # a copy: what the caller does to their array afterwards shall not reach the network
    array = np.array(array, dtype=dtype)
    array.flags.writeable = False
    return array


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    r"""Neurons, Poisson sources and the stochastic synapses from either onto the neurons.

    **Equation.** A spike of unit j in step n reaches the synapses of row j in step
    n + delay / dt. Each releases independently with its probability p, and a release is
    an event of amplitude m at the target. The units are the neurons, then the sources; a
    source spikes in each step with probability rate dt.

    **Shapes and units.** ``indptr`` (unit + 1,); ``target``, ``amplitude_volt`` and
    ``release_probability`` (synapse,), synapses in order of their source: row j holds
    ``indptr[j]`` to ``indptr[j + 1]``. Stored a synapse: 4 bytes of target, 4 of
    amplitude (float32), 4 of release probability (8 if it is given in float64).

    Parameters
    ----------
    neurons : Neurons
        The neurons.
    indptr : Integer[ndarray, " row"]
        Where the rows begin.
    target : Integer[ndarray, " synapse"]
        Index of the neuron that receives.
    amplitude_volt : Real[ndarray, " synapse"]
        m, rounded to float32.
    release_probability : Real[ndarray, " synapse"]
        p, in [0, 1]; float64 stays float64, everything else becomes float32.
    delay_s : float
        Transmission delay, common, a whole number of time steps and at least one.
    source_rate_hz : Real[ndarray, " source"]
        Rates of the Poisson sources, >= 0; none by default.

    Raises
    ------
    ValueError
        If the rows do not fit the units or the synapses, or a number is out of range.

    Examples
    --------
    >>> neurons = Neurons(2, 0.02, -0.06, -0.06, -0.05)
    >>> network = Network.from_pairs(
    ...     neurons, source=np.array([1, 0]), target=np.array([0, 1]),
    ...     amplitude_volt=0.001, release_probability=0.3, delay_s=0.001,
    ... )
    >>> network.indptr.tolist(), network.target.tolist(), network.bytes_per_synapse
    ([0, 1, 2], [1, 0], 12)
    """

    neurons: Neurons
    indptr: Integer[ndarray, " row"]
    target: Integer[ndarray, " synapse"]
    amplitude_volt: Real[ndarray, " synapse"]
    release_probability: Real[ndarray, " synapse"]
    delay_s: float
    source_rate_hz: Real[ndarray, " source"] = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        if not isinstance(self.neurons, Neurons):
            raise ValueError(f"neurons = {shown(self.neurons)}: must be a Neurons")
        rates = np.asarray(self.source_rate_hz)
        if rates.ndim != 1:
            raise ValueError(f"source_rate_hz has shape {rates.shape}: must be a vector of rates")
        put(
            "source_rate_hz",
            per_unit("source_rate_hz", rates, rates.size, low=0.0, each="source"),
        )
        put("delay_s", as_number("delay_s", self.delay_s, low=0.0, open_low=True))
        put("indptr", _frozen("indptr", self.indptr, "iu", np.int64))
        # looked at before it becomes 32 bits wide
        target = _frozen("target", self.target, "iu", np.int64)
        _check_rows(self.indptr, self.units, target, self.neurons.count)
        put("target", _frozen("target", target, "iu", np.int32))
        kept = np.asarray(self.release_probability).dtype == np.float64
        put("amplitude_volt", _frozen("amplitude_volt", self.amplitude_volt, "iuf", np.float32))
        put(
            "release_probability",
            _frozen(
                "release_probability",
                self.release_probability,
                "iuf",
                np.float64 if kept else np.float32,
            ),
        )
        for name in ("amplitude_volt", "release_probability"):
            if getattr(self, name).shape != self.target.shape:
                raise ValueError(
                    f"{name} has {getattr(self, name).size} numbers: must be"
                    f" {self.target.size}, one a synapse"
                )
        p = self.release_probability
        outside = (p < 0) | (p > 1)
        if outside.any():
            i = int(np.argmax(outside))
            raise ValueError(f"release_probability[{i}] = {p[i]}: must be in [0, 1]")

    @classmethod
    def from_pairs(
        cls,
        neurons: Neurons,
        *,
        source: Integer[ndarray, " synapse"],
        target: Integer[ndarray, " synapse"],
        amplitude_volt: float | Real[ndarray, " synapse"],
        release_probability: float | Real[ndarray, " synapse"],
        delay_s: float,
        source_rate_hz: Real[ndarray, " source"] | None = None,
    ) -> Network:
        """Build a network from synapses in any order.

        Parameters
        ----------
        neurons : Neurons
            The neurons.
        source : Integer[ndarray, " synapse"]
            Sending unit: a neuron, or ``neurons.count`` + a source.
        target : Integer[ndarray, " synapse"]
            Receiving neuron.
        amplitude_volt, release_probability : float or Real[ndarray, " synapse"]
            Of each synapse, or one for all; one release probability for all is stored
            in float32.
        delay_s : float
            Transmission delay.
        source_rate_hz : Real[ndarray, " source"] or None
            Rates of the Poisson sources; None for no sources.

        Returns
        -------
        Network
            Its synapses are sorted by source; those of one source keep their order.

        Raises
        ------
        ValueError
            If ``source`` names no unit, and wherever :class:`Network` raises.
        """
        rates = np.zeros(0) if source_rate_hz is None else np.asarray(source_rate_hz)
        units = neurons.count + rates.size
        sender = _frozen("source", source, "iu", np.int64)
        wrong = (sender < 0) | (sender >= units)
        if wrong.any():
            i = int(np.argmax(wrong))
            raise ValueError(f"source[{i}] = {sender[i]}: must be a unit, in [0, {units})")
        receiver = np.asarray(target)
        if receiver.shape != sender.shape:
            raise ValueError(f"target has shape {receiver.shape}: must be {sender.shape}")
        order = np.argsort(sender, kind="stable")
        columns = [receiver[order]]
        for name, value in (
            ("amplitude_volt", amplitude_volt), ("release_probability", release_probability)
        ):  # fmt: skip
            column = np.asarray(value)
            if column.shape not in {(), sender.shape}:
                raise ValueError(f"{name} has shape {column.shape}: must be {sender.shape} or ()")
            columns.append(np.full(sender.size, column) if column.ndim == 0 else column[order])
        if np.ndim(release_probability) == 0:
            columns[2] = columns[2].astype(np.float32)
        indptr = np.concatenate([[0], np.cumsum(np.bincount(sender, minlength=units))])
        return cls(neurons, indptr, columns[0], columns[1], columns[2], delay_s, rates)

    @property
    def units(self) -> int:
        """Neurons and sources together: the rows of synapses."""
        return self.neurons.count + int(self.source_rate_hz.size)

    @property
    def bytes_per_synapse(self) -> int:
        """Memory of one synapse, without the 4 bytes of its count of releases in a run."""
        columns = (self.target, self.amplitude_volt, self.release_probability)
        return sum(column.itemsize for column in columns)


def _check_rows(indptr: ndarray, units: int, target: ndarray, count: int) -> None:
    """Refuse rows that do not fit the units, and targets that are no neurons."""
    if indptr.size != units + 1:
        raise ValueError(
            f"indptr has {indptr.size} numbers: must be {units + 1}, one more than units"
        )
    falls = np.flatnonzero(np.diff(indptr) < 0)
    if falls.size:
        i = int(falls[0])
        raise ValueError(
            f"indptr[{i + 1}] = {indptr[i + 1]} after {indptr[i]}: must not decrease;"
            " sort the synapses by source, or use Network.from_pairs"
        )
    if indptr[0] != 0 or indptr[-1] != target.size:
        raise ValueError(
            f"indptr runs from {indptr[0]} to {indptr[-1]}: must run from 0 to"
            f" {target.size}, the number of synapses"
        )
    wrong = (target < 0) | (target >= count)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise ValueError(f"target[{i}] = {target[i]}: must be a neuron, in [0, {count})")


def random_network(
    neurons: Neurons,
    synapses_per_neuron: int,
    seed: int,
    *,
    excitatory_share: float = 0.8,
    excitatory_volt: float = 0.00162,
    inhibitory_volt: float = -0.009,
    release_probability: float = 1.0,
    delay_s: float = 0.0015,
) -> Network:
    r"""Build a random network in which every neuron sends the same number of synapses.

    **Equation.** The targets of a neuron are drawn without replacement from all the
    others. The first ``round(excitatory_share * count)`` neurons excite, the others
    inhibit. The starting voltages are uniform between reset and threshold, whatever
    ``neurons`` says about them.

    **Shapes and units.** Amplitudes in volt, those of a release; the mean amplitude of a
    spike is p times as large.

    Parameters
    ----------
    neurons : Neurons
        At least two.
    synapses_per_neuron : int
        In [1, ``neurons.count`` - 1].
    seed : int
        Root of the streams "targets" and "initial voltages".
    excitatory_share : float
        Share of excitatory neurons, in [0, 1].
    excitatory_volt, inhibitory_volt : float
        Amplitudes; >= 0 and <= 0.
    release_probability : float
        p of all synapses.
    delay_s : float
        Transmission delay.

    Returns
    -------
    Network
        With the targets of each neuron in increasing order.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Brette et al. (2007), doi:10.1007/s10827-007-0038-6, benchmark 2: the default
    amplitudes and share; there the number of synapses varies.

    Examples
    --------
    >>> neurons = Neurons(10, 0.02, -0.049, -0.06, -0.05, tau_exc_s=0.005, tau_inh_s=0.01)
    >>> network = random_network(neurons, 4, seed=1)
    >>> np.diff(network.indptr).tolist()
    [4, 4, 4, 4, 4, 4, 4, 4, 4, 4]
    """
    if not isinstance(neurons, Neurons):
        raise ValueError(f"neurons = {shown(neurons)}: must be a Neurons")
    count = neurons.count
    fan = as_integer("synapses_per_neuron", synapses_per_neuron, low=1, high=count - 1)
    share = as_number("excitatory_share", excitatory_share, low=0.0, high=1.0)
    excitation = as_number("excitatory_volt", excitatory_volt, low=0.0)
    inhibition = as_number("inhibitory_volt", inhibitory_volt, high=0.0)
    p = as_number("release_probability", release_probability, low=0.0, high=1.0)
    streams = Streams(seed)
    generator = streams.generator("targets")
    target = np.empty((count, fan), dtype=np.int32)
    for i in range(count):
        others = generator.choice(count - 1, fan, replace=False, shuffle=False)
        target[i] = np.sort(others + (others >= i))
    excites = np.arange(count) < round(share * count)
    start = streams.generator("initial voltages").uniform(
        neurons.v_reset_volt, neurons.v_threshold_volt, count
    )
    return Network(
        replace(neurons, v_initial_volt=start),
        indptr=np.arange(count + 1) * fan,
        target=target.ravel(),
        amplitude_volt=np.repeat(np.where(excites, excitation, inhibition), fan),
        release_probability=np.full(count * fan, p, dtype=np.float32),
        delay_s=delay_s,
    )
