"""Torch networks as models that certificates of the PL* condition can be asked of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from sandbox.landscape._layers import as_outputs, fitting_inputs
from sandbox.landscape._singular import equal_rows
from sandbox.landscape.tangent import jacobian_at
from sandbox.network.evaluation import evaluated
from theory.checks import as_vector

__all__ = ["TorchModel", "tangent_model"]


@dataclass(frozen=True, slots=True)
class TorchModel:
    r"""A torch network on fixed inputs, as a function of its trained parameters.

    **Equation.** :math:`F(w)_{ic} = f_c(x_i; w)`, rows in the order of
    ``outputs.reshape(-1)``, w in that of ``module.named_parameters()``.

    **Shapes and units.** Parameters (parameter,), outputs (sample x output,), float64 outside,
    the module's own type inside. There is no ``bounds``: nothing is known about the network
    between the points it is evaluated at, so that :func:`theory.plstar.certify_pl` says
    "uncertified" at most. Make one with :func:`tangent_model`.

    Parameters
    ----------
    module : torch.nn.Module
        Never changed: parameters are handed to it.
    inputs : Tensor
        (sample, ...).

    Examples
    --------
    >>> model = tangent_model(nn.Linear(2, 1).double(), torch.tensor([[5.0, 7.0]]).double())
    >>> model(np.array([1.0, 2.0, 3.0])), model.jacobian(np.zeros(3))
    (array([22.]), array([[5., 7., 1.]]))
    """

    module: nn.Module
    inputs: Tensor

    @property
    def parameters(self) -> Float[ndarray, " parameter"]:
        """The module's trained parameters as they stand, flat."""
        trained = [p.detach().reshape(-1) for p in self._trained().values()]
        return torch.cat(trained).double().cpu().numpy()

    @property
    def parameter_count(self) -> int:
        """Number of trained parameters."""
        return sum(p.numel() for p in self._trained().values())

    def __call__(self, parameters: Float[ndarray, " parameter"]) -> Float[ndarray, " row"]:
        """Return the outputs at these parameters, shape (sample x output,)."""
        chosen = self._chosen(parameters)
        with evaluated(self.module, self.inputs.device), torch.no_grad():
            found = torch.func.functional_call(self.module, chosen, (self.inputs,))
        flat = as_outputs(found, len(self.inputs))
        return flat.reshape(-1).double().cpu().numpy()

    def jacobian(self, parameters: Float[ndarray, " parameter"]) -> Float[ndarray, "row parameter"]:
        """Return the derivatives of the outputs, shape (sample x output, parameter)."""
        found = jacobian_at(self.module, self.inputs, self._chosen(parameters))
        return found.double().cpu().numpy()

    def twins(self) -> list[tuple[int, int]]:
        """Return the pairs of outputs that agree for all parameters, those of equal inputs."""
        with evaluated(self.module, self.inputs.device), torch.no_grad():
            width = as_outputs(self.module(self.inputs[:1]), 1).shape[1]
        pairs = equal_rows(self.inputs)
        return [(i * width + k, j * width + k) for i, j in pairs for k in range(width)]

    def _trained(self) -> dict[str, Tensor]:
        return {name: p for name, p in self.module.named_parameters() if p.requires_grad}

    def _chosen(self, parameters: ndarray) -> dict[str, Tensor]:
        """Return a vector of parameters as tensors by name."""
        trained = self._trained()
        flat = as_vector("parameters", parameters)
        sizes = [p.numel() for p in trained.values()]
        if flat.size != sum(sizes):
            raise ValueError(
                f"parameters has shape {flat.shape}: must be ({sum(sizes)},), the module's trained"
                " parameters"
            )
        pieces = np.split(flat, np.cumsum(sizes)[:-1])
        return {
            name: torch.as_tensor(piece.reshape(p.shape)).to(p)
            for (name, p), piece in zip(trained.items(), pieces, strict=True)
        }


def tangent_model(module: nn.Module, inputs: Tensor) -> TorchModel:
    """Return a torch network on fixed inputs as a model of the theory room.

    **Shapes and units.** As :class:`TorchModel`.

    Parameters
    ----------
    module : torch.nn.Module
        Any that :func:`sandbox.landscape.tangent.output_jacobian` takes.
    inputs : Tensor
        (sample, ...), of the parameters' type.

    Returns
    -------
    TorchModel
        With ``parameters``, the start as a vector.

    Raises
    ------
    ValueError
        If module and inputs do not fit, or nothing is trained.

    Examples
    --------
    >>> from theory.plstar import certify_pl
    >>> model = tangent_model(nn.Linear(2, 1).double(), torch.tensor([[5.0, 7.0]]).double())
    >>> certify_pl(model, model.parameters, np.array([1.0])).status
    'uncertified'
    """
    return TorchModel(module, fitting_inputs(module, inputs))
