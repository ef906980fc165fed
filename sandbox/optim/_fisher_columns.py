"""The columns of a Fisher matrix's root, layer by layer, from one forward pass of a model."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from sandbox.optim._factors import factor_dtype
from sandbox.optim._gram import LayerColumns
from sandbox.optim._layers import FactorLayer
from sandbox.optim._output_gradients import (
    Index,
    Likelihood,
    exact_columns,
    model_outputs,
    place_gradients,
    sampled_columns,
)
from theory.checks import shown

__all__ = ["Labels", "as_inputs", "evaluated", "layer_columns"]

Labels: TypeAlias = Literal["sampled", "full"]
"""One label a sample, drawn from the model, or all of them, weighted by their probabilities."""


def as_inputs(inputs: object, called: str = "inputs") -> Tensor:
    """Return inputs without a graph, or say what is wrong with them."""
    if not isinstance(inputs, Tensor) or inputs.ndim < 2 or not inputs.numel():
        wrong = tuple(inputs.shape) if isinstance(inputs, Tensor) else shown(inputs)
        raise ValueError(f"{called} = {wrong}: must be a non-empty tensor of shape (sample, ...)")
    if inputs.is_floating_point() and not inputs.sum().isfinite():
        finite = inputs.flatten(1).isfinite().all(dim=1)
        # a sum of finite numbers may overflow
        if not finite.all():
            first = int((~finite).nonzero()[0])
            raise ValueError(
                f"{called}[{first}] is not finite: every entry must be a finite number"
            )
    return inputs.detach()


@contextmanager
def evaluated(model: nn.Module, device: torch.device) -> Generator[None]:
    """Put a model into evaluation mode and full precision; put modes and randomness back after."""
    modes = [(part, part.training) for part in model.modules()]
    devices = [device] if device.type == "cuda" else []
    try:
        with (
            torch.random.fork_rng(devices=devices),
            torch.autocast(device.type, enabled=False),
        ):
            model.eval()
            yield
    finally:
        for part, mode in modes:
            part.training = mode


def layer_columns(
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
    model : torch.nn.Module
        Evaluated in evaluation mode; left as it is, gradients too.
    layers : sequence of FactorLayer
        Of the model.
    inputs : Tensor
        As the model takes them.
    labels : {"sampled", "full"} or Tensor
        Drawn, all of them, or given.
    likelihood : {"categorical", "gaussian"}
        Of the labels.
    generator : torch.Generator or None
        Where labels are drawn from.
    outputs : index or None
        Which of the model's outputs the loss looks at.

    Returns
    -------
    list of LayerColumns
        One a layer; without positions for a layer that the outputs do not depend on.

    Raises
    ------
    ValueError
        If a layer is called twice, or outputs and labels do not fit the likelihood.
    """
    samples = len(inputs)
    parameter = layers[0].parameters[0]
    device = parameter.device
    with evaluated(model, device), torch.enable_grad(), _watched(layers) as seen:
        made = model(inputs)
    # outside of what puts randomness back: else every call would draw the same labels
    with torch.autocast(device.type, enabled=False), torch.enable_grad():
        flat = model_outputs(made, likelihood, outputs)
        if len(flat) != samples:
            raise ValueError(
                f"model gives {tuple(made.shape)}: must be a tensor of shape ({samples}, ...)"
            )
        probes = _probes(flat.detach(), labels, likelihood, generator) / math.sqrt(samples)
        used = [layer for layer in layers if layer.name in seen]
        parts = list(place_gradients(flat, [seen[layer.name][1] for layer in used], probes))
    slopes = {
        layer.name: torch.cat([part[i] for part in parts]) if len(parts) > 1 else parts[0][i]
        for i, layer in enumerate(used)
    }
    wide = factor_dtype(parameter.dtype)
    return [_columns(layer, seen, slopes, samples, len(probes), wide) for layer in layers]


def _columns(
    layer: FactorLayer,
    seen: dict[str, tuple[Tensor, Tensor]],
    slopes: dict[str, Tensor],
    samples: int,
    labels: int,
    dtype: torch.dtype,
) -> LayerColumns:
    """Return one layer's part."""
    if layer.name not in seen:
        none = layer.parameters[0].new_empty(0, dtype=dtype)
        return LayerColumns(
            none.view(samples, 0, layer.columns), none.view(labels, samples, 0, layer.out)
        )
    rows = seen[layer.name][0].to(dtype)
    found = slopes[layer.name]
    if len(rows) != samples:
        raise ValueError(
            f"{layer.called} is fed {len(rows)} rows: the Fisher matrix needs those of every sample"
            f" apart, {samples} in front"
        )
    apart = layer.slopes(found.flatten(0, 1)).to(dtype).contiguous()
    return LayerColumns(rows.contiguous(), apart.view(labels, samples, *apart.shape[1:]))


@contextmanager
def _watched(layers: Sequence[FactorLayer]) -> Generator[dict[str, tuple[Tensor, Tensor]]]:
    """Keep input rows and outputs of every layer that is called."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def hook(layer: FactorLayer) -> Any:
        def keep(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any], out: Tensor) -> Tensor:
            into: Tensor = args[0] if args else named["input"]
            if layer.name in seen:
                raise ValueError(
                    f"{layer.called} is called twice in one forward pass: its weights are shared"
                    " between the two places, and there is no factor rule for that"
                )
            seen[layer.name] = (layer.rows(into.detach()), out)
            # what follows may overwrite its input, as ReLU(inplace=True) does
            return out.clone()

        return keep

    handles = [
        layer.module.register_forward_hook(hook(layer), prepend=True, with_kwargs=True)
        for layer in layers
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _probes(
    outputs: Tensor,
    labels: Labels | Tensor,
    likelihood: Likelihood,
    generator: torch.Generator | None,
) -> Tensor:
    """Return the columns at the outputs, (column, sample, output), each of weight one."""
    if isinstance(labels, Tensor):
        return _given(outputs, labels, likelihood)
    if labels == "full":
        return exact_columns(outputs, likelihood)
    return sampled_columns(outputs, likelihood, generator)


def _given(outputs: Tensor, labels: Tensor, likelihood: Likelihood) -> Tensor:
    """Return the loss's gradient in the outputs for given labels."""
    if likelihood == "gaussian":
        values = labels.detach().to(outputs).reshape(len(labels), -1)
        if values.shape != outputs.shape:
            raise ValueError(
                f"labels have shape {tuple(labels.shape)}: must match the outputs,"
                f" {tuple(outputs.shape)}"
            )
        return (outputs - values)[None]
    whole = not labels.is_floating_point() and not labels.is_complex()
    if labels.shape != outputs.shape[:1] or not whole or labels.dtype == torch.bool:
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} and type {labels.dtype}: must be"
            f" {len(outputs)} class numbers"
        )
    numbers = labels.detach().to(outputs.device).long()
    wrong = (numbers < 0) | (numbers >= outputs.shape[1])
    if wrong.any():
        first = int(wrong.nonzero()[0])
        raise ValueError(
            f"labels[{first}] = {int(numbers[first])}: must be a class number in"
            f" [0, {outputs.shape[1]})"
        )
    chances = torch.softmax(outputs, dim=1)
    return chances.scatter_add(1, numbers[:, None], -torch.ones_like(chances[:, :1]))[None]
