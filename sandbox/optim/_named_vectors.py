"""Vectors of a model's parameters by name, and as one matrix a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from sandbox.network.layers import FactorLayer
from theory.checks import shown

__all__ = ["NamedVectors"]


class NamedVectors:
    """Translates between mappings from names to tensors and lists of layers' matrices.

    Parameters
    ----------
    model : torch.nn.Module
        Whose names count.
    layers : sequence of FactorLayer
        Of the model.

    Attributes
    ----------
    shapes : dict
        Of the parameters by name, in the order of the layers.
    """

    def __init__(self, model: nn.Module, layers: Sequence[FactorLayer]) -> None:
        called = {id(p): name for name, p in model.named_parameters()}
        self._layers = [(layer, [called[id(p)] for p in layer.parameters]) for layer in layers]
        self.shapes = {
            name: tuple(p.shape)
            for layer, names in self._layers
            for name, p in zip(names, layer.parameters, strict=True)
        }

    def matrices(self, vector: Mapping[str, Tensor], like: Tensor) -> list[Tensor]:
        """Return a vector as a matrix a layer, or say what does not fit."""
        if not isinstance(vector, Mapping) or set(vector) != set(self.shapes):
            wrong = shown(sorted(map(str, vector)) if isinstance(vector, Mapping) else vector)
            raise ValueError(f"vector has {wrong}: must have a tensor for each of {[*self.shapes]}")
        for name, shape in self.shapes.items():
            part = vector[name]
            if not isinstance(part, Tensor) or tuple(part.shape) != shape:
                wrong = str(tuple(part.shape)) if isinstance(part, Tensor) else shown(part)
                raise ValueError(f"vector[{name!r}] = {wrong}: must be a tensor of shape {shape}")
        return [
            layer.matrix(*(vector[name].to(like) for name in names))
            for layer, names in self._layers
        ]

    def named(self, matrices: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return matrices as tensors of the parameters' shapes, by name."""
        made: dict[str, Tensor] = {}
        for (layer, names), matrix in zip(self._layers, matrices, strict=True):
            made |= dict(zip(names, layer.split(matrix), strict=True))
        return made
