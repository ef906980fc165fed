"""Huh (2020): curvature-corrected learning dynamics in deep neural networks."""

READING_ORDER = ("paths", "times", "layers", "generalisation")
