"""Columns of a Jacobian's transpose, layer by layer, from one forward pass of a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sandbox.network.evaluation import evaluated, watched
from sandbox.network.layers import FactorLayer, factor_dtype
from sandbox.network.output_gradients import (
    Index,
    Labels,
    Likelihood,
    label_columns,
    model_outputs,
    place_gradients,
)

__all__ = ["LayerColumns", "fisher_columns", "layer_columns"]

PIECE = 2**24
"""Numbers held at once where per-sample gradients must be formed."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerColumns:
    r"""One layer's part of the columns of G, as factors.

    **Equation.** Column (k, n) is :math:`\sum_p e_{knp} a_{np}^\top`.

    Parameters
    ----------
    inputs : Tensor
        a, what the layer is fed.
    slopes : Tensor
        e, of the root of the Fisher matrix in the layer's outputs, weight of the column included.
    """

    inputs: Float[Tensor, "sample position in"]
    slopes: Float[Tensor, "label sample position out"]

    @property
    def columns(self) -> int:
        """How many columns there are."""
        return self.slopes.shape[0] * self.slopes.shape[1]

    @property
    def entries(self) -> int:
        """How many parameters the layer has."""
        return self.slopes.shape[3] * self.inputs.shape[2]

    def to(self, dtype: torch.dtype) -> LayerColumns:
        """Return the same in another type."""
        return LayerColumns(self.inputs.to(dtype), self.slopes.to(dtype))

    def gram(self) -> Float[Tensor, "column column"]:
        """Return G'G of this layer."""
        labels, samples, places, out = self.slopes.shape
        if places > 1 and self._forming_is_cheaper():
            total = self.slopes.new_zeros(self.columns, self.columns)
            for piece in self._formed():
                rows = piece.flatten(0, 1).flatten(1)
                total.addmm_(rows, rows.T)
            return total
        if places <= 1:
            rows = self.slopes.reshape(self.columns, places * out)
            found = (rows @ rows.T).view(labels, samples, labels, samples)
            fed = self.inputs.flatten(1)
            return found.mul_((fed @ fed.T)[:, None]).view(self.columns, self.columns)
        fed = self.inputs.flatten(0, 1)
        alike = (fed @ fed.T).view(samples, places, samples, places)
        total = fed.new_empty(labels, samples, labels, samples)
        every = self.slopes.reshape(-1, out)
        for left in range(labels):
            rows = self.slopes[left].reshape(-1, out)
            found = (rows @ every.T).view(samples, places, labels, samples, places)
            torch.sum(found.mul_(alike[:, :, None]), dim=(1, 4), out=total[left])
        return total.view(self.columns, self.columns)

    def transposed(self, matrix: Float[Tensor, "out in"]) -> Float[Tensor, " column"]:
        """Return G'u for a matrix u of the layer's shape."""
        through = self.inputs.flatten(0, 1) @ matrix.T
        labels, samples, places, out = self.slopes.shape
        flat = self.slopes.reshape(labels, samples, places * out)
        return (flat * through.view(samples, places * out)).sum(dim=2).view(-1)

    def combined(
        self, weights: Float[Tensor, " column"], onto: Tensor | None = None, scale: float = 1.0
    ) -> Float[Tensor, "out in"]:
        """Return G w, a matrix of the layer's shape, or scale (u - G w) for a matrix u."""
        labels, samples, places, out = self.slopes.shape
        factors = weights.view(labels, samples, 1, 1)
        # a sum over one label would be a copy
        summed = self.slopes[0] * factors[0] if labels == 1 else (self.slopes * factors).sum(dim=0)
        left, right = summed.reshape(samples * places, out).T, self.inputs.flatten(0, 1)
        if onto is None:
            return left @ right
        return torch.addmm(onto, left, right, beta=scale, alpha=-scale)

    def squares(self) -> Float[Tensor, "out in"]:
        """Return the diagonal of G G', as a matrix of the layer's shape."""
        if self.inputs.shape[1] <= 1:
            fed = self.inputs.flatten(0, 1).square()
            return self.slopes.square().sum(dim=0).flatten(0, 1).T @ fed
        return torch.cat([piece.square().sum(dim=(0, 1)) for piece in self._formed()])

    def absolutes(self) -> Float[Tensor, "out in"]:
        """Return the sum of absolute values over columns, as a matrix of the layer's shape."""
        if self.inputs.shape[1] <= 1:
            fed = self.inputs.flatten(0, 1).abs()
            return self.slopes.abs().sum(dim=0).flatten(0, 1).T @ fed
        return torch.cat([piece.abs().sum(dim=(0, 1)) for piece in self._formed()])

    def rows(self, first: int, last: int) -> Float[Tensor, "row parameter"]:
        """Return columns of G from first to last, as rows."""
        samples = self.slopes.shape[1]
        places = torch.arange(first, last, device=self.inputs.device)
        chosen = self.slopes.flatten(0, 1)[first:last]
        return torch.einsum("cpo,cpi->coi", chosen, self.inputs[places % samples]).flatten(1)

    def _forming_is_cheaper(self) -> bool:
        """Whether G'G takes fewer multiplications from per-sample gradients."""
        labels, samples, places, out = self.slopes.shape
        width = self.inputs.shape[2]
        by_places = (samples * places) ** 2 * (width + labels**2 * out)
        formed = self.columns * self.entries * (places + self.columns)
        # what is held at once counts too: it cannot be cut where places are compared
        too_large = labels * (samples * places) ** 2 > 4 * PIECE
        return formed < by_places or too_large

    def _formed(self) -> Iterator[Float[Tensor, "label sample piece in"]]:
        """Give the per-sample gradients, some outputs of the layer at a time."""
        width = self.inputs.shape[2]
        step = max(1, PIECE // max(1, self.columns * width))
        for slopes in torch.split(self.slopes, step, dim=3):
            yield torch.einsum("knpo,npi->knoi", slopes, self.inputs)


def layer_columns(
    model: nn.Module,
    layers: Sequence[FactorLayer],
    inputs: Tensor,
    probe: Callable[[Tensor], Tensor],
    *,
    likelihood: Likelihood = "categorical",
    outputs: Index | None = None,
) -> list[LayerColumns]:
    r"""Return what every layer has in some columns of the Jacobian's transpose.

    **Equation.** Column (k, n) is :math:`J_n^\top c_{kn}`, c the columns at the outputs.

    Parameters
    ----------
    model : torch.nn.Module
        Evaluated in evaluation mode; left as it is, gradients too.
    layers : sequence of FactorLayer
        Of the model.
    inputs : Tensor
        As the model takes them.
    probe : callable
        Gives the columns (column, sample, output) from the outputs, which have no graph.
    likelihood : {"categorical", "gaussian"}
        What the outputs must be fit for.
    outputs : index or None
        Which of the model's outputs the loss looks at.

    Returns
    -------
    list of LayerColumns
        One a layer; without positions for a layer that the outputs do not depend on.

    Raises
    ------
    ValueError
        If a layer is called twice, or outputs do not fit the likelihood.
    """
    samples = len(inputs)
    parameter = layers[0].parameters[0]
    device = parameter.device
    by_name = {layer.called: layer for layer in layers}
    modules: dict[str, nn.Module] = {called: layer.module for called, layer in by_name.items()}

    def rows(called: str, into: Tensor) -> Tensor:
        return by_name[called].rows(into)

    watching = watched(modules, rows, ", and there is no factor rule for that")
    with evaluated(model, device), torch.enable_grad(), watching as seen:
        made = model(inputs)
    # outside of what puts randomness back: else every call would draw the same labels
    with torch.autocast(device.type, enabled=False), torch.enable_grad():
        flat = model_outputs(made, likelihood, outputs)
        if len(flat) != samples:
            raise ValueError(
                f"model gives {tuple(made.shape)}: must be a tensor of shape ({samples}, ...)"
            )
        probes = probe(flat.detach())
        used = [called for called in by_name if called in seen]
        parts = list(place_gradients(flat, [seen[called][1] for called in used], probes))
    slopes = {
        called: torch.cat([part[i] for part in parts]) if len(parts) > 1 else parts[0][i]
        for i, called in enumerate(used)
    }
    wide = factor_dtype(parameter.dtype)
    return [_columns(layer, seen, slopes, samples, len(probes), wide) for layer in layers]


def fisher_columns(
    model: nn.Module,
    layers: Sequence[FactorLayer],
    inputs: Tensor,
    labels: Labels | Tensor,
    likelihood: Likelihood,
    generator: torch.Generator | None,
    outputs: Index | None = None,
) -> list[LayerColumns]:
    """Return what every layer has in the columns of G, F = G G', at these samples.

    Parameters
    ----------
    model, layers, inputs, likelihood, outputs
        As for :func:`layer_columns`.
    labels : {"sampled", "full"} or Tensor
        Drawn, all of them, or given.
    generator : torch.Generator or None
        Where labels are drawn from.

    Returns
    -------
    list of LayerColumns
        One a layer; F is a mean over samples.
    """

    def probe(flat: Tensor) -> Tensor:
        return label_columns(flat, labels, likelihood, generator) / math.sqrt(len(inputs))

    return layer_columns(model, layers, inputs, probe, likelihood=likelihood, outputs=outputs)


def _columns(
    layer: FactorLayer,
    seen: dict[str, tuple[Tensor, Tensor]],
    slopes: dict[str, Tensor],
    samples: int,
    labels: int,
    dtype: torch.dtype,
) -> LayerColumns:
    """Return one layer's part."""
    if layer.called not in seen:
        none = layer.parameters[0].new_empty(0, dtype=dtype)
        return LayerColumns(
            none.view(samples, 0, layer.columns), none.view(labels, samples, 0, layer.out)
        )
    rows = seen[layer.called][0].to(dtype)
    found = slopes[layer.called]
    if len(rows) != samples:
        raise ValueError(
            f"{layer.called} is fed {len(rows)} rows: the Fisher matrix needs those of every sample"
            f" apart, {samples} in front"
        )
    apart = layer.slopes(found.flatten(0, 1)).to(dtype).contiguous()
    return LayerColumns(rows.contiguous(), apart.view(labels, samples, *apart.shape[1:]))
