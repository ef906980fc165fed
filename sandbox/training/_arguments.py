"""What :func:`sandbox.training.loop.fit` is given, refused where the parts do not fit."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim import Optimizer

from sandbox.training.averaging import WeightAverage
from sandbox.training.plan import Plan
from sandbox.training.samples import Dataset
from sandbox.training.tasks import TaskStream
from theory.checks import shown
from theory.streams import Streams

__all__ = ["refuse_misfits"]


def refuse_misfits(
    model: nn.Module,
    data: TaskStream | Dataset,
    optimizer: Optimizer,
    plan: Plan | None,
    streams: Streams,
    average: WeightAverage | None = None,
) -> None:
    """Refuse arguments of other kinds or models, and types that mixed precision is not for."""
    for name, value, kinds, words in (
        ("model", model, nn.Module, "a torch.nn.Module"),
        ("data", data, TaskStream | Dataset, "a TaskStream or a Dataset"),
        ("optimizer", optimizer, Optimizer, "a torch.optim.Optimizer"),
        ("plan", plan, Plan | None, "a Plan, or None for the defaults"),
        ("streams", streams, Streams, "Streams, e.g. Streams(0)"),
        ("average", average, WeightAverage | None, "a WeightAverage, or None"),
    ):
        if not isinstance(value, kinds):
            raise ValueError(f"{name} = {shown(value)}: must be {words}")
    own = {id(parameter) for parameter in model.parameters()}
    if not own:
        raise ValueError(f"model = {shown(model)}: has no parameters to train")
    moved = [p for group in optimizer.param_groups for p in group["params"]]
    if not any(id(parameter) in own for parameter in moved):
        raise ValueError(
            f"optimizer = {type(optimizer).__name__}: has none of the model's parameters; make it"
            " from model.parameters()"
        )
    if plan is not None and plan.precision != "full":
        for name, parameter in model.named_parameters():
            if parameter.dtype != torch.float32:
                raise ValueError(
                    f"precision = {plan.precision!r}: is for parameters in float32, and {name!r} is"
                    f" {parameter.dtype}"
                )
    if average is not None:
        shapes = [
            [(n, p.shape, p.dtype) for n, p in m.named_parameters()] for m in (model, average.model)
        ]
        if shapes[0] != shapes[1]:
            raise ValueError("average: was made for a network with other parameters than model")
