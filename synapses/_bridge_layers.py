"""Which torch layers can be carried to other engines, and torch fed with given numbers."""

from __future__ import annotations

import itertools
from collections.abc import Generator as Yields
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from synapses.ablations import AblatedLinear
from synapses.layers import StochasticLinear, stochastic_layers
from theory.checks import as_matrix, shown

__all__ = ["by_source", "chain", "inject_uniforms", "numbers", "single"]


@contextmanager
def inject_uniforms(layer: nn.Module, uniforms: Float[ndarray, "step synapse"]) -> Yields[None]:
    """Let a torch layer release by given numbers, a row for every forward pass.

    A synapse releases where its number is below its release probability, compared in float64,
    as in the other engines.

    **Shapes and units.** (forward pass, synapse), in [0, 1); synapse ``i * out_features + j``
    joins input i to output j.

    Parameters
    ----------
    layer : torch.nn.Module
        A ``StochasticLinear`` with one mask a batch, or a module around a single one.
    uniforms : ndarray
        The numbers.

    Yields
    ------
    None
        Afterwards the layer draws as before.

    Raises
    ------
    ValueError
        If the numbers do not fit the layer, or there are more forward passes than rows.

    Examples
    --------
    >>> layer = StochasticLinear(2, 1, release_probability=0.5)
    >>> with inject_uniforms(layer, np.array([[0.2, 0.7]])):
    ...     _ = layer(torch.ones(1, 2))
    >>> layer.last_mask
    tensor([[1., 0.]])
    """
    layer = single(layer)
    if layer.mask_kind != "batch":
        raise ValueError(
            f"layer has mask = {layer.mask_kind!r}: must be 'batch', as a row of numbers serves a"
            " whole forward pass; present one example at a time"
        )
    given = as_matrix("uniforms", uniforms)
    pairs = layer.in_features * layer.out_features
    if given.shape[1] != pairs or not ((given >= 0) & (given < 1)).all():
        raise ValueError(
            f"uniforms has shape {given.shape} and numbers from {given.min()} to"
            f" {given.max()}: must have {pairs} columns and be in [0, 1)"
        )
    rows = iter(given)

    def draw(*_: int) -> Tensor:
        """Compare the next row with the release probabilities."""
        row = next(rows, None)
        if row is None:
            raise ValueError(
                f"uniforms has {len(given)} rows: must have one for every forward pass"
            )
        p = layer.release_probability
        here = torch.as_tensor(row, device=p.device).reshape(p.shape[::-1]).T
        return (here < p.double()).to(p.dtype)

    layer.draw = draw  # type: ignore[method-assign]  # for the time being
    try:
        yield
    finally:
        del layer.draw


def single(module: nn.Module) -> StochasticLinear:
    """Return the one stochastic layer of a module."""
    if not isinstance(module, nn.Module):
        raise ValueError(f"layer = {shown(module)}: must be a StochasticLinear")
    layers = stochastic_layers(module)
    if len(layers) != 1:
        listed = f": pass one of them ({', '.join(map(repr, layers))})" if layers else ""
        raise ValueError(
            f"layer = {type(module).__name__}: has {len(layers)} stochastic layers, must have"
            f" one{listed}"
        )
    return _linear(*layers.popitem())


def _linear(name: str, layer: Any) -> StochasticLinear:
    """Refuse convolutions, ablated layers, and releases by rounded probabilities."""
    which = f"layer {name!r}" if name else "layer"
    if not isinstance(layer, StochasticLinear):
        raise ValueError(
            f"{which} is a {type(layer).__name__}: must be a StochasticLinear, as the"
            " places of an image share its weights and their releases, which synapses do not"
        )
    if isinstance(layer, AblatedLinear):
        raise ValueError(
            f"{which} has ablation = {layer.ablation!r}: must be a plain StochasticLinear, as other"
            " engines release by p, in amplitudes that p normalises"
        )
    if layer.draws != "exact":
        raise ValueError(
            f"{which} has draws = {layer.draws!r}: must be 'exact', as other engines do not"
            " round release probabilities"
        )
    return layer


def chain(module: nn.Module) -> list[StochasticLinear]:
    """Return the layers of a module that holds nothing else."""
    if not isinstance(module, nn.Module) or not stochastic_layers(module):
        raise ValueError(f"module = {shown(module)}: must have StochasticLinear layers")
    layers = list(itertools.starmap(_linear, stochastic_layers(module).items()))
    known = {id(layer.weight) for layer in layers}
    others = [name for name, value in module.named_parameters() if id(value) not in known]
    if others:
        raise ValueError(
            f"module has the parameters {', '.join(others)}: must have stochastic weights alone;"
            " build it with bias=False, and put constant inputs into neurons.drive_volt"
        )
    for one, two in itertools.pairwise(layers):
        if one.out_features != two.in_features:
            raise ValueError(
                f"module: a layer of {one.out_features} outputs comes before one of"
                f" {two.in_features} inputs; must be a chain"
            )
    return layers


def numbers(tensor: Tensor) -> ndarray:
    """Return float64 numbers."""
    return np.asarray(tensor.detach().cpu().double())


def by_source(tensor: Tensor) -> ndarray:
    """Return (out, in) as float64 numbers in the order of synapses."""
    return numbers(tensor).T.ravel()
