"""Loss landscapes of torch networks: tangent kernels, and what training shows of PL*."""

from sandbox.landscape.adapter import TorchModel, tangent_model
from sandbox.landscape.monitor import PLMonitor, PLVerdict, loss_scale
from sandbox.landscape.tangent import (
    dense_tangent_kernel,
    kernel_matrix,
    output_jacobian,
    tangent_kernel,
)

__all__ = [
    "PLMonitor",
    "PLVerdict",
    "TorchModel",
    "dense_tangent_kernel",
    "kernel_matrix",
    "loss_scale",
    "output_jacobian",
    "tangent_kernel",
    "tangent_model",
]
