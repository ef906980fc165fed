"""The settings of the paper's experiments, as its public program states them."""

from __future__ import annotations

from typing import Any

__all__ = ["BASELINES", "CURVATURE_MODES", "LOOKAHEAD", "METHODS", "POWER_LAW", "TRAINING"]

CURVATURE_MODES: dict[str, dict[str, Any]] = {
    "glass": {"hessian": "off", "glass": True},
    "Hessian": {"hessian": "abs", "glass": False},
    "glass and Hessian": {"hessian": "abs", "glass": True},
    "root mean square Hessian": {"hessian": "rms", "glass": False},
}
"""The four curvature terms that the experiments compare."""

METHODS: dict[str, dict[str, Any]] = {
    name: {"lr": 5e-3, "lr_min": 0.0, "lr_max": 1e-2, "quick_steps": 0, **mode}
    for name, mode in CURVATURE_MODES.items()
}
"""Options of :class:`sandbox.optim.Alice` in the comparison of methods."""

LOOKAHEAD: dict[str, dict[str, Any]] = {
    f"{name}, φ = {phi:g}": {
        **METHODS[name],
        "bounds": "fixed",
        "lr_max": 5e-3,
        "omega": 1.0,
        "phi": phi,
    }
    for name in CURVATURE_MODES
    for phi in (1.0, 0.1)
}
"""Options in the study of the look-ahead."""

POWER_LAW: dict[str, Any] = {"lr": 2e-3, "quick_steps": 0, "omega": 1.0, "phi": 0.1}
"""Options in the study of gradient variation; it lasts 40 epochs of batches of 100."""

BASELINES: dict[str, dict[str, Any]] = {
    "Adam": {"lr": 1e-3},
    "SGD with momentum": {"lr": 0.1, "momentum": 0.9},
    "AdaHessian": {"lr": 0.15},
}
"""The other optimisers of the comparison of methods."""

TRAINING: dict[str, Any] = {
    "network": "ResNet-18, 64 channels, with scaled channels",
    "data": "CIFAR-10, padded by 4, flipped, cropped to 32",
    "batch_size": 100,
    "epochs": {"methods": 90, "look-ahead": 60, "power law": 40},
    "lr_falls": {"epoch": 80, "factor": 0.1},
    "seeds": {"methods": 30, "look-ahead": 10, "power law": 10},
}
"""What the runs have in common."""
