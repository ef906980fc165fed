"""Schug, Benzing & Steger (2021): presynaptic stochasticity improves energy efficiency."""

READING_ORDER = (
    "rule",
    "perceptron",
    "energy",
    "forgetting",
    "importance",
    "gradients",
    "engines",
    "quantal",
    "spiking",
    "sjostrom",
)
