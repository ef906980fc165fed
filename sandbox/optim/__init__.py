"""Optimisers that take the same rule objects as the theory."""

from sandbox.optim.curvature import CurvatureCorrected

__all__ = ["CurvatureCorrected"]
