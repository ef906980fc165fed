"""Duersch, Catanach, Safonov & Wendt (2024): curvature of the expected loss from gradient jumps."""

READING_ORDER = ("along", "step", "gradients", "boundaries", "lookahead", "networks", "optimiser")
