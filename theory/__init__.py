"""Closed forms with their derivations, and the few objects that every room shares.

This room holds what is exact: argument checks, named random streams, the
:class:`Derivation` that ties a formula to a machine-checked chain of algebra,
and (as they arrive) the rugged one-dimensional landscape, PL* certificates,
importance identities and the information and energy of synaptic release. It
imports numpy, scipy, sympy and numba, never torch or brian2.
"""
