"""Stochastic-release synapses: release models, the presynaptic rule, what release costs.

One description of a synapse, several engines: torch layers (:mod:`synapses.layers`)
trained by the rule (:mod:`synapses.consolidation`), and brian2 synapses
(:mod:`synapses.brian`). The rule in numpy, :meth:`PresynapticRule.step`, is what every
engine is held against.
"""

from synapses.release import ReleaseModel
from synapses.rule import PresynapticRule

__all__ = ["PresynapticRule", "ReleaseModel"]
