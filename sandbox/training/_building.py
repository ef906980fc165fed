"""What every builder of networks shares: activations, widths, weights drawn by name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import torch
from torch import nn

from sandbox.training.initial import initialise
from theory.checks import as_integer, as_number, one_of, shown

__all__ = [
    "ACTIVATIONS",
    "activation_module",
    "bias_start",
    "image_shape",
    "layer_widths",
    "placed",
    "scaled",
    "undrawn",
]

P = ParamSpec("P")
T = TypeVar("T")

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "linear": nn.Identity,
}
"""Activation functions by name."""


def activation_module(name: str) -> nn.Module:
    """Return an activation function as a module."""
    return ACTIVATIONS[one_of("activation", name, tuple(ACTIVATIONS))]()


def layer_widths(name: str, widths: Sequence[int], least: int) -> list[int]:
    """Return layer widths after checking them."""
    if isinstance(widths, str) or len(widths) < least:
        raise ValueError(f"{name} = {shown(widths)}: must be {least} or more layer widths")
    return [as_integer(f"{name}[{i}]", width, low=1) for i, width in enumerate(widths)]


def image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Return (channel, height, width) of one sample, after checking it."""
    sizes = layer_widths("shape", shape, 2)
    if len(sizes) > 3:
        raise ValueError(f"shape = {tuple(shape)}: must be (height, width), with channels or not")
    channels, height, width = sizes if len(sizes) == 3 else (1, *sizes)
    return channels, height, width


def scaled(channels: Sequence[int], width: float) -> list[int]:
    """Return numbers of channels times a factor, rounded, at least 1."""
    factor = as_number("width", width, low=0.0, open_low=True)
    return [max(1, round(factor * count)) for count in channels]


def bias_start(bias: bool | float) -> float | None:
    """Return what biases start from; None where the initialisation decides, or there are none."""
    return None if isinstance(bias, bool) else as_number("bias", bias)


def placed(
    layers: list[nn.Module],
    dtype: torch.dtype,
    device: torch.device | str,
    **options: Any,
) -> nn.Sequential:
    """Return a network on its device, its weights drawn anew by name."""
    model = nn.Sequential(*layers).to(device=device, dtype=dtype)
    initialise(model, **options)
    return model


def undrawn(build: Callable[P, T]) -> Callable[P, T]:
    """Leave torch's own generator as it was: layers draw weights when they are made."""

    @functools.wraps(build)
    def quietly(*args: P.args, **options: P.kwargs) -> T:
        with torch.random.fork_rng(devices=[]):
            return build(*args, **options)

    return quietly
