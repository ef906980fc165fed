"""One point of a training run: loss, gradient, spectrum of the tangent kernel."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sandbox.landscape._path import trained
from sandbox.landscape._singular import rounding, why_singular
from sandbox.landscape.tangent import kernel_matrix
from sandbox.network.evaluation import evaluated

__all__ = ["Point", "Watched", "measure"]


class Watched(Protocol):
    """What the monitor needs of a training run; the training loop's moments have it.

    ``plan.loss``, if there, names the loss.
    """

    model: nn.Module
    optimizer: Optimizer
    step: int


@dataclass(frozen=True, slots=True)
class Point:
    """What is measured at one place of the parameters; NaN where the loss is not finite.

    Parameters
    ----------
    loss : float
        L = |F - y|^2 / 2.
    slope : Tensor
        Its gradient in the trained parameters, flat.
    lambda_min, lambda_max : float
        Ends of the kernel's spectrum.
    ratio : float
        |grad L|^2 / (2 L).
    blur : float
        What rounding may do to eigenvalues.
    loss_blur : float
        What rounding may do to the loss.
    cause : str
        Why the kernel is singular; empty if it is not.
    """

    loss: float
    slope: Tensor
    lambda_min: float = math.nan
    lambda_max: float = math.nan
    ratio: float = math.nan
    blur: float = math.nan
    loss_blur: float = 0.0
    cause: str = ""


def measure(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    kernel: Callable[[nn.Module, Tensor], Tensor],
    scale: float,
) -> Point:
    """Return loss, gradient and spectrum; singular is what rounding of ``scale`` may hide."""
    parameters = trained(model)
    if not parameters:
        raise ValueError("model has no parameter that requires a gradient: nothing is trained")
    inputs = inputs.to(parameters[0])
    with evaluated(model, inputs.device), torch.enable_grad():
        outputs = model(inputs).reshape(len(inputs), -1)
        wanted = _values(targets.to(inputs.device), outputs)
        loss = (outputs - wanted).square().sum() / 2
        slopes = torch.autograd.grad(loss, parameters, materialize_grads=True)
    slope = torch.cat([s.reshape(-1) for s in slopes])
    value = float(loss.detach())
    if not math.isfinite(value):
        return Point(value, slope)
    matrix = kernel_matrix(kernel(model, inputs))
    share = rounding(len(matrix), matrix.dtype)
    matrix = matrix.double()
    spectrum = torch.linalg.eigvalsh(matrix)
    least, largest = float(spectrum[0]), float(spectrum[-1])
    cause = ""
    blur = share * max(largest, scale)
    if not least > blur:
        cause = why_singular(matrix, inputs, wanted, slope.numel(), share)
    ratio = float(slope.double().square().sum()) / (2 * value) if value > 0 else math.nan
    size = max(float(outputs.detach().abs().max()), float(wanted.abs().max()))
    return Point(
        value, slope, least, largest, ratio, blur,
        len(matrix) * (8 * torch.finfo(slope.dtype).eps * size) ** 2, cause,
    )  # fmt: skip


def _values(targets: Tensor, outputs: Tensor) -> Tensor:
    """Return targets as (sample, output) values."""
    width = outputs.shape[1]
    if not targets.is_floating_point():
        if targets.ndim != 1 or int(targets.min()) < 0 or int(targets.max()) >= width:
            raise ValueError(
                f"targets of shape {tuple(targets.shape)} and type {targets.dtype}: class numbers"
                f" must be (sample,), from 0 to {width - 1}; values must be floating point"
            )
        return nn.functional.one_hot(targets.long(), width).to(outputs.dtype)
    flat = targets.to(outputs.dtype).reshape(len(outputs), -1)
    if flat.shape[1] != width:
        raise ValueError(
            f"targets of shape {tuple(targets.shape)}: must have the shape of the model's outputs,"
            f" {len(outputs)} x {width}"
        )
    return flat
