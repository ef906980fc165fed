"""Costa, Froemke, Sjöström & van Rossum (2015): plasticity on both sides of the synapse."""

READING_ORDER = ("timing", "dynamics")
