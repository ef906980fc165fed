"""Stochastic-release synapses: release models, the presynaptic rule, energy.

Three engines will share one description of a synapse: brian2 (the reference),
numba (fast, event driven) and torch (a differentiable layer). The room is
laid out and empty; it is the next part of the project to be built.
"""
