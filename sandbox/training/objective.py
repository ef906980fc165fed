"""What training minimises, and how a network is measured: losses and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sandbox.training._precision import forward_in
from sandbox.training.names import LossName, Precision
from sandbox.training.samples import Samples
from theory.checks import one_of, shown

__all__ = ["LOSSES", "Batch", "Evaluation", "Loss", "evaluate", "loss_function"]

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Outputs (sample, output) and targets to a scalar, the mean over samples."""

LOSSES: dict[str, str] = {
    "cross-entropy": "mean over samples of minus the log softmax probability of the target class",
    "squared": "half the squared error, summed over outputs, mean over samples;"
    " a class counts as its one-hot vector",
    "reconstruction": "half the squared error between outputs and inputs, summed over features,"
    " mean over samples",
}
"""The losses by name, in words."""

CHUNK = 2000
"""Samples evaluated at once."""


def as_values(targets: Tensor, outputs: Tensor) -> Tensor:
    """Return targets as values to compare with outputs: classes become one-hot vectors."""
    if targets.is_floating_point():
        if targets.shape != outputs.shape:  # subtracted, they would be stretched to fit
            raise ValueError(
                f"targets of shape {tuple(targets.shape)}: must have the shape of the model's"
                f" outputs, {tuple(outputs.shape)}"
            )
        return targets
    classes = torch.arange(outputs.shape[1], device=outputs.device)
    return (targets[:, None] == classes).to(outputs.dtype)


def _squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - as_values(targets, outputs)).square().sum() / (2 * len(outputs))


def loss_function(name: LossName) -> Loss:
    r"""Return a loss by name.

    **Equation.** cross-entropy :math:`-\frac1N\sum_n \log p_{n,y_n}`; squared and
    reconstruction :math:`\frac1{2N}\sum_n |f_n - y_n|^2`, which is torch's mean-reduced
    MSE times outputs / 2.

    **Shapes and units.** Outputs (sample, output); nats for the cross-entropy.

    Parameters
    ----------
    name : {"cross-entropy", "squared", "reconstruction"}
        Which one.

    Returns
    -------
    callable
        ``loss(outputs, targets)``.

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> loss_function("squared")(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))
    tensor(12.5000)
    """
    one_of("loss", name, tuple(LOSSES))
    return nn.functional.cross_entropy if name == "cross-entropy" else _squared


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples as tensors on a device.

    Parameters
    ----------
    inputs : Tensor
        (sample, feature).
    targets : Tensor
        (sample,) class numbers or (sample, output) values.
    """

    inputs: Float[Tensor, "sample feature"]
    targets: Tensor

    @classmethod
    def of(
        cls, samples: Samples, loss: LossName, *, dtype: torch.dtype, device: torch.device
    ) -> Batch:
        """Return samples as tensors; for a reconstruction the inputs are the targets.

        Parameters
        ----------
        samples : Samples
            What to convert.
        loss : str
            What the targets are for.
        dtype : torch.dtype
            Type of the inputs, and of targets that are values.
        device : torch.device
            Where to.

        Returns
        -------
        Batch
            Copies.

        Raises
        ------
        ValueError
            If the loss needs classes and the targets are values.
        """
        if loss == "cross-entropy" and samples.targets.dtype.kind != "i":
            raise ValueError(
                "loss = 'cross-entropy': needs targets that are classes, and these are values; use"
                " 'squared'"
            )
        inputs = torch.tensor(samples.inputs, dtype=dtype, device=device)
        if loss == "reconstruction":
            return cls(inputs, inputs)
        kind = torch.int64 if samples.targets.dtype.kind == "i" else dtype
        return cls(inputs, torch.tensor(samples.targets, dtype=kind, device=device))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Loss and accuracy on a set of samples.

    Parameters
    ----------
    loss : float
        Mean over the samples.
    accuracy : float
        Share of samples whose largest output is the target; NaN if targets are values.
    """

    loss: float
    accuracy: float


@contextmanager
def evaluating(model: nn.Module) -> Generator[None]:
    """Put a model into evaluation mode, and every module back into its own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def refuse_outputs(found: Tensor, targets: Tensor, outputs: tuple[int, ...]) -> None:
    """Refuse a model with too few outputs; some losses would not notice.

    Parameters
    ----------
    found : Tensor
        Outputs for some samples.
    targets : Tensor
        Of all samples.
    outputs : tuple of int
        Columns of the outputs that count, all if empty.

    Raises
    ------
    ValueError
        If outputs are not (sample, output), or too few for the task or its classes.
    """
    if found.ndim != 2:
        raise ValueError(
            f"model gives outputs of shape {tuple(found.shape)}: must be (sample, output)"
        )
    width = found.shape[1]
    if outputs and max(outputs) >= width:
        raise ValueError(
            f"model has {width} outputs: the task uses the outputs {shown(outputs)}, from 0"
        )
    largest = -1 if targets.is_floating_point() else int(targets.max())
    if largest >= (len(outputs) or width):
        raise ValueError(
            f"model has {len(outputs) or width} outputs for this task: its largest class number is"
            f" {largest}, from 0"
        )


def evaluate(
    model: nn.Module,
    batch: Batch,
    loss: Loss,
    outputs: tuple[int, ...] = (),
    precision: Precision = "full",
) -> Evaluation:
    """Measure a network on samples, in evaluation mode; the model is left as it was.

    **Shapes and units.** The loss's own units; accuracy in [0, 1].

    Parameters
    ----------
    model : torch.nn.Module
        Maps (sample, feature) to (sample, output).
    batch : Batch
        The samples.
    loss : callable
        As :func:`loss_function` returns.
    outputs : tuple of int
        Columns of the outputs that count, all if empty.
    precision : {"full", "bfloat16-mixed"}
        Of the forward pass, as in :class:`~sandbox.training.plan.Plan`.

    Returns
    -------
    Evaluation
        Summed in float64 over chunks of 2,000 samples.

    Raises
    ------
    ValueError
        If there is no sample, or the model's outputs do not fit the targets.

    Examples
    --------
    >>> model = nn.Identity()
    >>> logits = Batch(torch.eye(4), torch.tensor([0, 1, 2, 0]))
    >>> evaluate(model, logits, loss_function("cross-entropy")).accuracy
    0.75
    """
    count = len(batch.inputs)
    if not count:
        raise ValueError("batch holds no samples: there is nothing to measure")
    total = torch.zeros((), dtype=torch.float64, device=batch.inputs.device)
    right = torch.zeros((), dtype=torch.int64, device=batch.inputs.device)
    classes = not batch.targets.is_floating_point()
    forward = forward_in(model, precision)
    with evaluating(model):
        for start in range(0, count, CHUNK):
            targets = batch.targets[start : start + CHUNK]
            found = forward(batch.inputs[start : start + CHUNK])
            if not start:
                refuse_outputs(found, batch.targets, outputs)
            if outputs:
                found = found[:, list(outputs)]
            total += loss(found, targets).double() * len(targets)
            if classes:
                right += (found.argmax(dim=1) == targets).sum()
    accuracy = int(right) / count if classes else float("nan")
    return Evaluation(float(total) / count, accuracy)
