"""Settings of training runs with nothing left at its default, as files and as flags."""

import dataclasses

from sandbox.training.config import TrainConfig

FIELDS = [field.name for field in dataclasses.fields(TrainConfig)]
ROLLING = {"lr": 1e-05, "momentum": 0.75, "weight_decay": 0.25}
LAYERED = {
    **ROLLING, "damping": 3.0, "factor_samples": 6, "bias_rule": "fallback", "fallback": "sgd",
    "fallback_lr": 0.5,
}  # fmt: skip
FACTORED = {
    **LAYERED, "power": 0.25, "factor_scaling": "paper", "sharing": "reduce", "refresh_every": 7,
    "collect": 3, "factor_decay": 0.5, "side": "activation",
}  # fmt: skip
ADAM = {"lr": 0.5, "weight_decay": 0.25, "betas": (0.8, 0.95)}
OWN = {
    "sgd": ROLLING,
    "adam": ADAM,
    "adamw": ADAM,
    "muon": {**ROLLING, "fallback_lr": 0.5},
    "foof": FACTORED,
    "kfac": {**FACTORED, "rule": "standard", "fisher": "exact", "output_factor": False},
    "natural": {**LAYERED, "fisher": "full", "blocks": "layer"},
    "alice": {
        **ADAM, "lr_min": 0.125, "lr_max": 0.25, "quick_steps": 0, "hessian": "rms", "glass": False,
        "bounds": "sgdm", "omega": 2.0, "phi": 0.5,
    },
    "curvature": {"lr": 0.5, "damping": 0.0, "power": 0.75, "blocks": "layer", "scale": 2.0},
}  # fmt: skip


def file(tmp_path, text, name="settings.toml"):
    path = tmp_path / name
    path.write_text(text)
    return path
