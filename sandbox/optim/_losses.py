r"""Losses as the curvature sees them: value, output gradient and a root of the output Hessian.

With :math:`R^\top R = H_{out}` the Hessian of one sample's loss in its outputs, the
rows of :math:`RJ/\sqrt N` have the Gauss-Newton matrix as their Gram matrix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from theory.checks import shown

__all__ = ["DIVERGED", "OutputLoss", "checked", "cross_entropy", "squared"]

DIVERGED = "training has diverged; use a smaller lr, more damping or a smaller power"
"""Why numbers become infinite, and what to do about it."""


@dataclass(frozen=True, slots=True)
class OutputLoss:
    r"""A loss seen from the network's outputs.

    Parameters
    ----------
    value : Tensor
        The loss, a scalar.
    gradient : Tensor
        dL/df, shape (sample, output).
    residual : Tensor
        r with :math:`R^\top r / \sqrt N` equal to the gradient, shape (sample, output).
    chances : Tensor or None
        Softmax probabilities p, shape (sample, output), which make
        :math:`R = \operatorname{diag}(\sqrt p) - \sqrt p\,p^\top`; None for R = 1.
    """

    value: Tensor
    gradient: Float[Tensor, "sample output"]
    residual: Float[Tensor, "sample output"]
    chances: Float[Tensor, "sample output"] | None = None

    def rooted(self, jacobian: Float[Tensor, "row parameter"]) -> Float[Tensor, "row parameter"]:
        """Return R J / sqrt(N); rows run over outputs within samples."""
        samples, outputs = self.gradient.shape
        if self.chances is None:
            return jacobian / math.sqrt(samples)
        rows = jacobian.reshape(samples, outputs, -1)
        mean = torch.einsum("no,nop->np", self.chances, rows)
        rows = (self.chances / samples).sqrt()[:, :, None] * (rows - mean[:, None, :])
        return rows.reshape(samples * outputs, -1)


def squared(
    outputs: Float[Tensor, "sample output"], targets: Float[Tensor, "sample output"]
) -> OutputLoss:
    """Return half the squared error, summed over outputs and averaged over samples."""
    error = outputs - targets
    samples = len(outputs)
    value = error.square().sum() / (2 * samples)
    return OutputLoss(value, error / samples, error / math.sqrt(samples))


def cross_entropy(outputs: Float[Tensor, "sample output"], targets: Tensor) -> OutputLoss:
    """Return the mean cross-entropy of logits with class numbers or probabilities."""
    chosen = targets
    if not targets.is_floating_point():
        chosen = torch.nn.functional.one_hot(_classes(targets, outputs), outputs.shape[1])
        chosen = chosen.to(outputs.dtype)
    samples = len(outputs)
    logs = torch.log_softmax(outputs, dim=1)
    chances = logs.exp()
    error = chances - chosen
    # sums of p - y vanish, so (p - y) / sqrt(p) is the residual that R' brings back to p - y
    safe = chances.clamp_min(torch.finfo(chances.dtype).tiny)
    residual = error / (safe * samples).sqrt()
    return OutputLoss(-(chosen * logs).sum() / samples, error / samples, residual, chances)


def _classes(targets: Tensor, outputs: Tensor) -> Int[Tensor, " sample"]:
    """Return class numbers as int64 after checking their range."""
    numbers = targets.long()
    wrong = (numbers < 0) | (numbers >= outputs.shape[1])
    if wrong.any():
        first = int(wrong.nonzero()[0])
        raise ValueError(
            f"targets[{first}] = {int(targets[first])}: must be a class number in"
            f" [0, {outputs.shape[1]})"
        )
    return numbers


def checked(outputs: object, targets: object, loss: str) -> tuple[Tensor, Tensor]:
    """Return outputs as (sample, output) and targets to match, or say what is wrong."""
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor):
        raise ValueError(
            f"closure() = ({shown(outputs)}, {shown(targets)}): must be two tensors,"
            " (outputs, targets)"
        )
    if not outputs.is_floating_point() or outputs.ndim == 0 or outputs.numel() == 0:
        raise ValueError(
            f"outputs of shape {tuple(outputs.shape)} and type {outputs.dtype}: must be"
            " non-empty real numbers of shape (sample, ...)"
        )
    if not outputs.requires_grad:
        raise ValueError(
            "outputs carry no graph: the closure must compute them from the parameters, outside"
            " torch.no_grad() and without detach()"
        )
    if not outputs.isfinite().all():
        raise RuntimeError(f"outputs are not finite: {DIVERGED}")
    if targets.is_floating_point() and not targets.isfinite().all():
        raise ValueError("targets are not finite: every target must be a finite number")
    rows = outputs.reshape(len(outputs), -1)
    if loss == "squared":
        if targets.shape != outputs.shape:
            raise ValueError(
                f"targets have shape {tuple(targets.shape)}: must be {tuple(outputs.shape)},"
                " the shape of the outputs"
            )
        return rows, targets.reshape(rows.shape)
    return rows, _checked_classes(outputs, targets)


def _checked_classes(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return targets of a cross-entropy after checking shape and normalisation."""
    if outputs.ndim != 2:
        raise ValueError(
            f"outputs have shape {tuple(outputs.shape)}: cross-entropy wants (sample, class)"
        )
    if not targets.is_floating_point():
        if targets.shape != outputs.shape[:1] or targets.dtype == torch.bool:
            raise ValueError(
                f"targets of shape {tuple(targets.shape)} and type {targets.dtype}: must be"
                f" {len(outputs)} class numbers, or probabilities of shape {tuple(outputs.shape)}"
            )
        return targets
    if targets.shape != outputs.shape:
        raise ValueError(
            f"targets have shape {tuple(targets.shape)}: probabilities must have the outputs'"
            f" shape {tuple(outputs.shape)}"
        )
    excess = (targets.sum(dim=1) - 1).abs().max()
    if bool((targets < 0).any()) or excess > torch.finfo(targets.dtype).eps ** 0.5:
        raise ValueError(
            "targets are not probabilities: every row must be non-negative and sum to 1"
            f" (largest deviation {float(excess):.3g}, smallest entry {float(targets.min()):.3g})"
        )
    return targets
