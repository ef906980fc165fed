"""From settings to an optimiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from deeplinear.rules import CurvatureCorrection
from sandbox.optim import FOOF, KFAC, Alice, CurvatureCorrected, NaturalGradient, split_params
from sandbox.training._muon import MuonWithAdamW
from sandbox.training.config import TrainConfig
from theory.streams import Streams

__all__ = ["build_optimizer"]


def build_optimizer(config: TrainConfig, model: nn.Module) -> Optimizer:
    """Return the optimiser that the settings name.

    Parameters
    ----------
    config : TrainConfig
        The settings.
    model : torch.nn.Module
        Whose parameters it moves.

    Returns
    -------
    torch.optim.Optimizer
        Fresh.

    Raises
    ------
    ValueError
        If the network has parameters that the optimiser has no rule for.
    """
    return BUILDERS[config.optimizer](config, model)


def _sgd(config: TrainConfig, model: nn.Module) -> Optimizer:
    return SGD(model.parameters(), **_asked(config, "lr", "momentum", "weight_decay"))


def _adam(config: TrainConfig, model: nn.Module) -> Optimizer:
    kind = Adam if config.optimizer == "adam" else AdamW
    return kind(model.parameters(), **_asked(config, "lr", "betas", "weight_decay"))


def _muon(config: TrainConfig, model: nn.Module) -> Optimizer:
    names = ("lr", "momentum", "weight_decay", "fallback_lr")
    return MuonWithAdamW(model, **_asked(config, *names))


def _foof(config: TrainConfig, model: nn.Module) -> Optimizer:
    return FOOF(model, **_factored(config, model))


def _kfac(config: TrainConfig, model: nn.Module) -> Optimizer:
    own = _asked(config, "rule", "fisher", "output_factor") | _drawn(config)
    return KFAC(model, **_factored(config, model), **own)


def _natural(config: TrainConfig, model: nn.Module) -> Optimizer:
    names = ("lr", "damping", "momentum", "weight_decay", "fisher", "blocks")
    own = _layered(config, model) | _drawn(config) | {"fisher_samples": config.factor_samples}
    return NaturalGradient(model, **_asked(config, *names), **own)


def _alice(config: TrainConfig, model: nn.Module) -> Optimizer:
    names = ("lr", "betas", "lr_min", "lr_max", "quick_steps", "hessian", "glass", "bounds")
    # of its two weight decays, the one that makes an L2 term
    decay: dict[str, Any] = {"weight_decay": (0.0, config.weight_decay)}
    return Alice(
        model.named_parameters(),
        **_asked(config, *names, "omega", "phi"),
        **decay,
        model=model,
        nonfinite="skip",
        seed=Streams(config.seed).integer("optimizer"),
    )


def _curvature(config: TrainConfig, model: nn.Module) -> Optimizer:
    rule = CurvatureCorrection(**_asked(config, "power", "blocks", "damping", "scale"))
    own: dict[str, Any] = _asked(config, "lr")
    own["loss"] = "cross_entropy" if config.loss == "cross-entropy" else "squared"
    return CurvatureCorrected(model.parameters(), rule, **own)


BUILDERS: dict[str, Callable[[TrainConfig, nn.Module], Optimizer]] = {
    "sgd": _sgd,
    "adam": _adam,
    "adamw": _adam,
    "muon": _muon,
    "foof": _foof,
    "kfac": _kfac,
    "natural": _natural,
    "alice": _alice,
    "curvature": _curvature,
}
"""What makes each of them."""


def _asked(config: TrainConfig, *names: str) -> dict[str, Any]:
    """Return settings by name."""
    return {name: getattr(config, name) for name in names}


def _factored(config: TrainConfig, model: nn.Module) -> dict[str, Any]:
    """Return the settings that foof and kfac share, under the names of their constructors."""
    names = ("lr", "damping", "power", "sharing", "momentum", "weight_decay", "side")
    own = {
        "scaling": config.factor_scaling,
        "T": config.refresh_every,
        "S": config.collect,
        "decay": config.factor_decay,
    }
    return _asked(config, *names, "factor_samples") | _layered(config, model) | own


def _layered(config: TrainConfig, model: nn.Module) -> dict[str, Any]:
    """Return what every optimiser that goes layer by layer is told."""
    if config.fallback == "none":
        left = split_params(model, config.bias_rule or "augment")[1]["names"]
        if left:
            raise ValueError(
                f"fallback = 'none': there is no factor rule for {', '.join(left[:8])}"
                f"{', ...' * (len(left) > 8)}; set fallback to adamw or sgd"
            )
    others = {"optimizer": config.fallback, "lr": config.fallback_lr}
    # the loop stops by itself where a loss is not finite, and says so
    return {
        "bias": config.bias_rule,
        "fallback": None if config.fallback == "none" else others,
        "nonfinite": "skip",
    }


def _drawn(config: TrainConfig) -> dict[str, Any]:
    """Return what optimisers with labels from the model need: their law and their seed."""
    law = "categorical" if config.loss == "cross-entropy" else "gaussian"
    return {"likelihood": law, "seed": Streams(config.seed).integer("optimizer")}
