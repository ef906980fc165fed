"""What a network of synapses spends: strengths, releases, reliability, or molecules of ATP."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
from numpy import ndarray

from synapses._energy_constants import ATP_CONSTANTS, EXPONENTS, AtpConstant
from synapses._energy_operations import Operations, count_operations, is_module, neuron_energy
from synapses._energy_result import Energy, bits_per_energy
from synapses._events_network import Network
from synapses._events_recording import Recording
from synapses.release import ReleaseModel
from theory.checks import as_integer, as_number, one_of, shown

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "ATP_CONSTANTS",
    "EXPONENTS",
    "AtpConstant",
    "Energy",
    "EnergyModel",
    "Operations",
    "bits_per_energy",
    "count_operations",
    "neuron_energy",
]

Kind = Literal["strength", "releases", "reliability", "atp"]
Parts: TypeAlias = "dict[str, tuple[ndarray, float, tuple[str, ...]]]"
"""By layer: energy of every synapse, energy of the spikes that reach it, names of the axes."""


class EnergyModel:
    r"""What synapses cost.

    **Equation.** With expected strength :math:`\bar w = pm`, standard deviation of the
    transmitted amplitude :math:`\sigma = |m| \sqrt{p(1-p)}`, and numbers :math:`n_s` of spikes
    and :math:`n_r` of releases:

    .. math::

        E_{strength} &= \sum |\bar w|, \qquad
        E_{reliability} = c \sum \sigma^{-\rho} + \lambda \sum |\bar w|, \\
        E_{releases} &= c_{spike} n_s + c_{release} n_r, \qquad
        E_{atp} = \text{the same with molecules of ATP}.

    **Shapes and units.** Named by the result: the unit of the weights, releases, the unit of
    ``reliability_cost``, or ATP. Of a spiking network strengths are in volt.

    A recording has spikes and releases, counted; spikes that had not arrived when it ended
    count as well. A torch network has their *expected* numbers for one presentation (one
    sample): a unit whose activity is not zero spikes once, and each of its synapses releases
    with its probability, plain layers always. The activity is that of one sampled forward
    pass over ``inputs``, in evaluation mode; masks and random generators are left as they
    were. Normalised inputs are hardly ever zero, so that every input unit spikes. A unit
    that feeds several layers spikes once for each. Biases cost nothing.

    Parameters
    ----------
    kind : {"strength", "releases", "reliability", "atp"}
        Which cost.
    **constants : float or str
        *releases*: ``spike_cost`` (0) and ``release_cost`` (1), in releases. *reliability*:
        ``mechanism`` ("calcium", "membrane", "actin" or "trafficking", which sets rho = 1/2,
        2/3, 4/3 or 2; no default), ``reliability_cost`` c (1) and ``magnitude_cost`` lambda
        (0). *atp*: any entry of :data:`ATP_CONSTANTS`, which holds the defaults, their
        sources, and which are assumptions; every vesicle costs the same, whatever its
        amplitude.

    Raises
    ------
    ValueError
        If a name is unknown, or a number out of range.

    References
    ----------
    strength: Schug, Benzing & Steger (2021), eLife 10:e69884. reliability: Malkin et al.
    (2024), eLife 12:RP92595, Eqs. 3-4. atp: Attwell & Laughlin (2001),
    doi:10.1097/00004647-200110000-00001. releases: derived here.

    Examples
    --------
    >>> EnergyModel("releases", spike_cost=0.5).moments(1000, ReleaseModel(5, 0.3))
    (2000.0, 1050.0)
    """

    def __init__(self, kind: Kind = "strength", **constants: float | str) -> None:
        self.kind = one_of("kind", kind, get_args(Kind))
        defaults: dict[str, dict[str, float | str]] = {
            "strength": {},
            "releases": {"spike_cost": 0.0, "release_cost": 1.0},
            "reliability": {"mechanism": "", "reliability_cost": 1.0, "magnitude_cost": 0.0},
            "atp": {name: constant.value for name, constant in ATP_CONSTANTS.items()},
        }
        known = defaults[kind]
        for name, value in constants.items():
            if name not in known:
                listed = ", ".join(known) or "none"
                raise ValueError(
                    f"{name} = {shown(value)}: no constant of kind = {kind!r}; these are {listed}"
                )
            if name != "mechanism":
                value = as_number(name, value, low=0.0)  # type: ignore[arg-type]  # as_number checks
            known[name] = value
        if kind == "reliability":
            one_of("mechanism", str(known["mechanism"]), tuple(EXPONENTS))
        self.constants: Mapping[str, float | str] = MappingProxyType(known)

    def __repr__(self) -> str:
        """Return the call that makes an equal model."""
        given = "".join(f", {name}={value!r}" for name, value in self.constants.items())
        return f"EnergyModel({self.kind!r}{given})"

    @property
    def unit(self) -> str:
        """Unit of the energy, except of strengths, which have that of the weights."""
        return {
            "strength": "weight",
            "releases": "release",
            "reliability": "reliability cost",
            "atp": "ATP",
        }[self.kind]

    def _costs(self) -> tuple[float, float]:
        """Return what a spike and a release cost."""
        values = {name: float(value) for name, value in self.constants.items()}
        if self.kind == "releases":
            return values["spike_cost"], values["release_cost"]
        spike = values.pop("action_potential")
        return spike, sum(values.values())

    def moments(self, spikes: int, release: ReleaseModel) -> tuple[float, float]:
        r"""Return mean and variance of the energy of some spikes at a synapse.

        **Equation.** :math:`n (c_{spike} + c_{release} N p)` and :math:`n\, c_{release}^2 N
        p (1-p)`, for n spikes, N sites and a release probability that does not change.

        Parameters
        ----------
        spikes : int
            n, >= 0.
        release : ReleaseModel
            N and p.

        Returns
        -------
        mean, variance : float
            In releases or ATP, and their square.

        Raises
        ------
        ValueError
            For kinds that do not count releases.

        References
        ----------
        Derived here.
        """
        self._refuse(self.kind in {"releases", "atp"}, "moments", "'releases' or 'atp'")
        count = as_integer("spikes", spikes, low=0)
        spike, vesicle = self._costs()
        p, sites = release.release_probability, release.sites
        return count * (spike + vesicle * sites * p), count * vesicle**2 * sites * p * (1 - p)

    def _refuse(self, fits: bool, what: str, kinds: str) -> None:
        if not fits:
            raise ValueError(f"kind = {self.kind!r}: {what} needs kind {kinds}")

    def of(
        self,
        subject: nn.Module | Network | Recording,
        *,
        inputs: Tensor | None = None,
        network: Network | None = None,
    ) -> Energy:
        """Return the energy of a network, or of a run of one.

        Parameters
        ----------
        subject : torch.nn.Module, synapses.events.Network or synapses.events.Recording
            Strengths and reliability are those of a network; releases and ATP those of a
            recording, or of a torch network with ``inputs``.
        inputs : Tensor or None
            Presentations (sample, feature) over which releases are averaged.
        network : synapses.events.Network or None
            That of a recording: parts the energy between the synapses of its neurons and
            those of its sources.

        Returns
        -------
        Energy
            Of a whole recording, of one presentation to a torch network, or of a network at
            rest.

        Raises
        ------
        ValueError
            If the kind does not fit what is given, or a synapse without any variability has
            a cost of reliability.

        Examples
        --------
        >>> import torch
        >>> from synapses.layers import StochasticLinear
        >>> net = StochasticLinear(10, 3, release_probability=0.25)
        >>> EnergyModel("releases").of(net, inputs=torch.ones(4, 10)).total
        7.5
        """
        if network is not None and not isinstance(subject, Recording):
            raise ValueError("network: must be None unless a recording is given")
        if inputs is not None and (self._at_rest or not is_module(subject)):
            raise ValueError(
                f"inputs: must be None for kind = {self.kind!r} of a {type(subject).__name__}"
            )
        if isinstance(subject, Recording):
            self._refuse(not self._at_rest, "a recording", "'releases' or 'atp'")
            return self._sum(self._of_recording(subject, network), self.unit)
        if isinstance(subject, Network):
            self._refuse(self._at_rest, "a Network that has not run", "'strength' or 'reliability'")
            p = subject.release_probability.astype(np.float64)
            costs = self._cost_at_rest("the network", p * subject.amplitude_volt, p)
            unit = "volt" if self.kind == "strength" else self.unit
            return self._sum(_by_sender(costs, subject, (0.0, 0.0)), unit)
        if not is_module(subject):
            raise ValueError(
                f"subject = {shown(subject)}: must be a torch module, or a Network or Recording of"
                " synapses.events"
            )
        if self._at_rest:
            return self._sum(self._of_module_at_rest(subject), self.unit)
        if inputs is None:
            raise ValueError(
                f"inputs = None: kind = {self.kind!r} of a torch network needs presentations"
            )
        return self._sum(self._of_presentations(subject, inputs), self.unit)

    @property
    def _at_rest(self) -> bool:
        """Whether the cost is one of having synapses, not of using them."""
        return self.kind in {"strength", "reliability"}

    def _cost_at_rest(self, name: str, mean: ndarray, p: ndarray) -> ndarray:
        """Return the cost at rest of every synapse."""
        size = np.abs(mean)
        if not np.isfinite(size).all():
            raise ValueError(f"network: {name} has strengths that are no finite numbers")
        if self.kind == "strength":
            return np.asarray(size)
        with np.errstate(divide="ignore", invalid="ignore"):
            sigma = np.where(p > 0, size * np.sqrt((1 - p) / p), 0.0)
        flat = int(np.count_nonzero(sigma == 0))
        if flat:
            raise ValueError(
                f"network: {flat} of {sigma.size} synapses of {name} have sigma = 0 (p = 0 or 1, or"
                " no strength), and an infinite cost of reliability; keep p below 1, e.g. by"
                " p_max = 0.99"
            )
        exponent = EXPONENTS[str(self.constants["mechanism"])]
        cost, magnitude = (float(self.constants[k]) for k in ("reliability_cost", "magnitude_cost"))
        return np.asarray(cost * sigma**-exponent + magnitude * size)

    def _of_recording(self, recording: Recording, network: Network | None) -> Parts:
        spike, vesicle = self._costs()
        numbers = vesicle * recording.released.astype(np.float64)
        spikes = (recording.spike_step.size * spike, recording.source_spike_step.size * spike)
        if network is None:
            return {"network": (numbers, sum(spikes), ("synapse",))}
        if not isinstance(network, Network) or network.target.size != numbers.size:
            raise ValueError(
                f"network = {shown(network)}: must be that of the recording, with {numbers.size}"
                " synapses"
            )
        return _by_sender(numbers, network, spikes)

    def _of_module_at_rest(self, model: nn.Module) -> Parts:
        from synapses._energy_torch import axes_of, moments_of, synaptic_layers

        parts: Parts = {}
        for name, layer in synaptic_layers(model).items():
            mean, p = (tensor.numpy() for tensor in moments_of(layer))
            costs = self._cost_at_rest(f"layer {name!r}", mean, p)
            parts[name] = (costs, 0.0, axes_of(layer))
        return parts

    def _of_presentations(self, model: nn.Module, inputs: Tensor) -> Parts:
        from synapses._energy_torch import moments_of, spikes_of, synaptic_layers

        spike, vesicle = self._costs()
        layers = synaptic_layers(model)
        parts: Parts = {}
        for name, spikes in spikes_of(model, inputs).items():
            _, p = moments_of(layers[name])
            parts[name] = (vesicle * p.numpy() * spikes, spike * float(spikes.sum()), ("out", "in"))
        return parts

    def _sum(self, parts: Parts, unit: str) -> Energy:
        by_layer = {name: float(part.sum()) + rest for name, (part, rest, _) in parts.items()}
        return Energy(
            self.kind,
            unit,
            sum(by_layer.values()),
            by_layer,
            {name: part for name, (part, _, _) in parts.items()},
            {name: axes for name, (_, _, axes) in parts.items()},
        )


def _by_sender(numbers: ndarray, network: Network, spikes: tuple[float, float]) -> Parts:
    """Part numbers, one a synapse, between those of neurons and those of sources."""
    cut = int(network.indptr[network.neurons.count])
    parts: Parts = {"neurons": (numbers[:cut], spikes[0], ("synapse",))}
    if network.source_rate_hz.size:
        parts["sources"] = (numbers[cut:], spikes[1], ("synapse",))
    return parts
