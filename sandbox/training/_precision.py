"""Mixed precision: a forward pass in bfloat16 with parameters and outputs in float32."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sandbox.training.names import Precision

__all__ = ["forward_in"]


def forward_in(model: nn.Module, precision: Precision) -> Callable[[Tensor], Tensor]:
    """Return a network's forward pass in a precision; outputs have the inputs' type."""
    # losses need float32; the backward pass takes the types of the forward pass by itself
    if precision == "full":
        return model

    def forward(inputs: Tensor) -> Tensor:
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16):
            outputs: Tensor = model(inputs)
        return outputs.to(inputs.dtype)

    return forward
