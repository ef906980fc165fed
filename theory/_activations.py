"""Activations of the shipped models: values, slopes, and how steep and how bent they get."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

__all__ = ["ACTIVATIONS", "Activation"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Activation:
    """An activation with the largest magnitude of its first two derivatives."""

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    steepest: float
    bend: float
    """sup |a''|; infinite where the slope jumps."""


def _tanh_slope(z: Array) -> Array:
    # 1 - tanh² has no digits left where tanh is close to 1
    decay = np.exp(-2 * np.abs(z))
    return np.asarray(4 * decay / (1 + decay) ** 2)


def _erf_slope(z: Array) -> Array:
    return np.asarray(2 / math.sqrt(math.pi) * np.exp(-(z**2)))


ACTIVATIONS = {
    "tanh": Activation(np.tanh, _tanh_slope, 1.0, 4 / (3 * math.sqrt(3))),
    "erf": Activation(erf, _erf_slope, 2 / math.sqrt(math.pi), 4 / math.sqrt(2 * math.pi * math.e)),
    "sin": Activation(np.sin, np.cos, 1.0, 1.0),
    "relu": Activation(
        lambda z: np.maximum(z, 0.0), lambda z: np.where(z > 0, 1.0, 0.0), 1.0, math.inf
    ),
}
