"""Builders of brian2 synapses: stochastic release, depletion, plasticity, the presynaptic rule.

Each takes a source group, a target group and parameters with units, and returns connected
``Synapses`` to be put in a network. What they have in common:

- Variables of the synapses end in ``_syn``, so that they do not clash with those of neurons;
  ``n_rel`` counts releases and ``energy_syn`` adds up their sizes.
- With ``record=True`` the attribute ``recorder`` holds every synaptic event
  (:class:`EventRecorder`), on the targets numpy, cython and cpp_standalone; it is None
  otherwise.
- With ``uniforms`` the releases follow given numbers instead of random ones: the way to
  compare engines number by number.
- Draws are local to a synapse, which brian2 is told: its warning that the outcome may depend
  on the order of execution is not given for them, and is given as ever for code of your own.

brian2 is imported by the first call, not with this module.
"""

from synapses._brian_costa import Costa2015, costa2015
from synapses._brian_depletion import quantal_depression, tsodyks_markram
from synapses._brian_events import EventRecorder
from synapses._brian_release import stochastic_synapses
from synapses._brian_rule import presynaptic_rule

__all__ = [
    "Costa2015",
    "EventRecorder",
    "costa2015",
    "presynaptic_rule",
    "quantal_depression",
    "stochastic_synapses",
    "tsodyks_markram",
]
