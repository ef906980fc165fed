"""One network in every engine: from torch to brian2 and back, and to the compiled engine.

A layer with weights (out, in) becomes synapses of all pairs, source by source: the synapse from
input i to output j has the number ``i * out_features + j`` in every engine, and that is its
column in injected numbers (:func:`inject_uniforms` for torch, ``uniforms`` elsewhere). All
engines compare number and release probability in float64, so that the same numbers lead to the
same releases.

brian2 is imported by the first call that needs it, not with this module.
"""

from synapses._bridge_brian import Learning, from_brian, to_brian
from synapses._bridge_events import to_events
from synapses._bridge_layers import inject_uniforms

__all__ = ["Learning", "from_brian", "inject_uniforms", "to_brian", "to_events"]
