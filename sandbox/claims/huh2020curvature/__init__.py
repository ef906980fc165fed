"""Huh (2020): curvature-corrected learning dynamics in deep neural networks."""

READING_ORDER = ("paths", "balance", "times", "stability", "layers", "generalisation")
