"""Benzing (2022): gradient descent on neurons, and what K-FAC has to do with it."""

READING_ORDER = ("algebra", "factors", "training", "damping", "directions")
