"""Schug, Benzing & Steger (2021): presynaptic stochasticity improves energy efficiency."""

READING_ORDER = ("rule", "perceptron", "engines", "gradients", "energy", "quantal", "spiking", "sjostrom")
