"""Tsodyks, Pawelzik & Markram (1998): synapses that depress and facilitate."""

READING_ORDER = ("regular", "poisson")
