"""Stochastic-release synapses: release models, the presynaptic rule, what release costs.

One description of a synapse, three engines: torch layers (:mod:`synapses.layers`) trained
by the rule (:mod:`synapses.consolidation`), brian2 synapses (:mod:`synapses.brian`) and
compiled spiking networks (:mod:`synapses.events`), with bridges between them
(:mod:`synapses.bridge`). The rule in numpy, :meth:`PresynapticRule.step`, is what every
engine is held against.
"""

from synapses.energy import EnergyModel
from synapses.release import ReleaseModel
from synapses.rule import PresynapticRule

__all__ = ["EnergyModel", "PresynapticRule", "ReleaseModel"]
