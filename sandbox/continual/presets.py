"""Published settings of continual learning, by name: what ``--preset`` stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

__all__ = ["PRESETS", "Preset"]


@dataclass(frozen=True, slots=True)
class Preset:
    """Settings of an experiment as its authors ran it.

    Parameters
    ----------
    source : str
        Where they come from.
    settings : mapping
        Fields of :class:`sandbox.continual.config.ContinualConfig`.
    about : str
        What differs from the original nevertheless.
    """

    source: str
    settings: Mapping[str, Any]
    about: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))


_NETWORK: dict[str, Any] = {
    "data": "mnist",
    "scaling": "unit",
    "tasks": "permuted",
    "count": 10,
    "model": "mlp",
    "widths": (2000, 2000),
    "init": "glorot-uniform",
    "optimizer": "adam",
    "lr": 0.001,
    "epochs": 20,
    "batch_size": 256,
    "xi": 0.1,
}
_BENZING = "Benzing (2022), arXiv:2006.06357, and its program"
_STARTS = "the program's biases start from 0.1, here from 0"

PRESETS: dict[str, Preset] = {
    "benzing-permuted-mnist": Preset(
        _BENZING,
        _NETWORK
        | {
            "regulariser": (
                *("none", "si", "siu", "sib", "sos"),
                *("mas", "absolute-fisher", "root-fisher", "ewc", "mas-logit"),
            ),
            "strength": "published",
            "re_init": "published",
            "samples": 1000,
            "reset_optimizer": True,
        },
        _STARTS,
    ),
    "benzing-permuted-mnist-large-batch": Preset(
        _BENZING,
        _NETWORK
        | {
            "regulariser": ("none", "si", "sos-large-batch"),
            "strength": "si=1.0,sos-large-batch=10",
            "re_init": "published",
            "batch_size": 2048,
            "lr": 0.008,
            "reset_optimizer": True,
        },
        _STARTS,
    ),
    "zenke-permuted-mnist": Preset(
        "Zenke, Poole & Ganguli (2017), arXiv:1703.04200, and its program",
        _NETWORK
        | {
            "regulariser": ("none", "si"),
            "strength": "0.1",
            "clamp": "running",
            "re_init": "never",
            "reset_optimizer": False,
        },
        "the initialisation is that of the settings above",
    ),
}
"""Settings by name."""
