"""Models that a PL* certificate can be asked of: outputs, Jacobian, bounds on a ball."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from numpy import ndarray

from theory._linear_models import Linear, RandomFeatures
from theory._network_models import DeepLinear, TwoLayer

__all__ = ["DeepLinear", "Linear", "RandomFeatures", "TangentModel", "TwoLayer"]


@runtime_checkable
class TangentModel(Protocol):
    r"""What :func:`theory.plstar.certify_pl` asks of a model.

    **Equation.** :math:`F : \mathbb{R}^p \to \mathbb{R}^n`, one entry an output of a sample.

    **Shapes and units.** Parameters (p,), outputs (n,), Jacobian (n, p).

    Two more methods are optional. ``bounds(parameters, radius)`` returns ``(lipschitz,
    smoothness)``, over the closed ball of that radius :math:`\|DF\| \le` ``lipschitz`` and
    :math:`\|DF(u) - DF(v)\| \le` ``smoothness`` :math:`|u - v|` in the spectral norm, neither
    smaller for a larger ball; or None where none are known. ``twins()`` returns the pairs of
    outputs (i, j) that agree for all parameters.

    References
    ----------
    Liu, Zhu & Belkin (2022), section 2, arXiv:2003.00307.

    Examples
    --------
    >>> isinstance(Linear([[1.0, 2.0]]), TangentModel)
    True
    """

    def __call__(self, parameters: Float[ndarray, " parameter"]) -> Float[ndarray, " output"]:
        """Return the outputs."""

    def jacobian(
        self, parameters: Float[ndarray, " parameter"]
    ) -> Float[ndarray, "output parameter"]:
        """Return the derivatives of the outputs by the parameters."""
