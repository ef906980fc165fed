"""Every closed form three times: sympy derivation, float64 kernel, brute-force reference.

The references are in ``brute_force.py``: they know only the definition of the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import mpmath as mp
import numpy as np
from brute_force import flow, path_time, time_of_event, velocity
from scipy.optimize import brentq, minimize_scalar

from deeplinear.balanced import balanced_gram
from deeplinear.flow import matrix_flow
from deeplinear.matrices import (
    blow_up_time,
    layer_natural_gradient_weights,
    natural_gradient_map,
)
from deeplinear.modes import mode_trajectory
from deeplinear.rules import CurvatureCorrection, mode_velocity
from deeplinear.sweep import mode_sweep
from deeplinear.times import learning_time

GD = CurvatureCorrection(power=0.0)
ROOT = CurvatureCorrection(power=0.5)
NATURAL = CurvatureCorrection(power=1.0)


@dataclass(frozen=True)
class Pair:
    """One result of a derivation, the kernel that computes it and a brute-force value."""

    derivation: str
    result: str
    at: Mapping[str, float]
    kernel: Callable[[], object]
    reference: Callable[[], object]
    rtol: float = 1e-9  # DOP853 at rtol 1e-12 over at most a few hundred steps

    @property
    def name(self) -> str:
        return f"{self.derivation}.{self.result}"


def moved(rule, w_0, s, t):
    """Weights at time t by the kernel."""
    return mode_trajectory(rule, np.array(w_0), s, np.array([t]))[-1]


def _layer(power, damping=0.0, scale=None):
    return CurvatureCorrection(power=power, blocks="layer", damping=damping, scale=scale)


def _aligned_mode(u_0, s, t):
    """Largest singular value of the map of a turned two-mode network, gradient descent."""
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    root = np.diag(np.sqrt([u_0, 0.05]))
    target = turn @ np.diag([s, 0.3]) @ turn
    first, second = matrix_flow(
        GD, [turn.T @ root @ turn, turn @ root @ turn], target, np.array([t]), rtol=1e-12
    )
    return np.linalg.svd(second[-1] @ first[-1], compute_uv=False)[0]


def _imbalance(power, layers):
    """|w_1|^(2-2q) - |w_2|^(2-2q)."""
    return layers[0] ** (2 - 2 * power) - layers[1] ** (2 - 2 * power)


_TEACHER = np.array([[1.0, 0.5], [-0.2, 0.8]])
_SEEN = np.array([[1.3, 0.4], [0.1, 1.1]])
_SIZES = {
    "W": float((_SEEN**2).sum()),
    "X": float((_SEEN * _TEACHER).sum()),
    "T": float((_TEACHER**2).sum()),
}


def _stopped_error():
    """Test error of natural gradient at the derived stopping time."""
    stop = -np.log1p(-_SIZES["X"] / _SIZES["W"])
    learned = natural_gradient_map(np.zeros((2, 2)), _SEEN, np.array([stop]))[-1]
    return ((learned - _TEACHER) ** 2).sum()


def _least_error():
    """Least test error along the chord by scalar minimisation."""
    result = minimize_scalar(
        lambda g: ((g * _SEEN - _TEACHER) ** 2).sum(), bounds=(0, 1), options={"xatol": 1e-10}
    )
    return result.fun


def _balanced(result, rule, at, depth, derivation="learning_time"):
    """A time between balanced starts u_0 or a_0 and stops u_f or a_f."""
    u_0 = at["u_0"] if "u_0" in at else at["a_0"] ** depth
    u_f = at["u_f"] if "u_f" in at else at["a_f"] ** depth
    start, s = [u_0 ** (1 / depth)] * depth, at["s"]
    return Pair(
        derivation,
        result,
        at,
        lambda: learning_time(rule, np.array(start), s, u_f),
        lambda: path_time(rule, start, s, u_f),
    )


_W3 = {"w_1": 0.6, "w_2": 0.3, "w_3": 0.2, "s": 1.5, "epsilon": 0.02}
_START3 = [0.6, 0.3, 0.2]

PAIRS = [
    Pair(
        "mode_velocities",
        "full",
        {**_W3, "q": 0.7, "kappa": 1.3},
        lambda: mode_velocity(CurvatureCorrection(0.7, "full", 0.02, 1.3), np.array(_START3), 1.5),
        lambda: velocity(CurvatureCorrection(0.7, "full", 0.02, 1.3), np.array(_START3), 1.5),
    ),
    Pair(
        "mode_velocities",
        "layer",
        {**_W3, "q": 0.7, "kappa": 1.3},
        lambda: mode_velocity(_layer(0.7, 0.02, 1.3), np.array(_START3), 1.5),
        lambda: velocity(_layer(0.7, 0.02, 1.3), np.array(_START3), 1.5),
    ),
    Pair(
        "saxe_modes",
        "mode",
        {"u_0": 0.01, "s": 2.0, "t": 1.0},
        lambda: _aligned_mode(0.01, 2.0, 1.0),
        lambda: np.prod(flow(GD, [0.1, 0.1], 2.0, 1.0)),
    ),
    _balanced("time", GD, {"u_0": 0.01, "u_f": 1.9, "s": 2.0}, 2, "saxe_modes"),
    Pair(
        "saxe_modes",
        "half_time",
        {"u_0": 0.01, "s": 2.0},
        lambda: learning_time(GD, np.array([0.1, 0.1]), 2.0, 1.0),
        lambda: path_time(GD, [0.1, 0.1], 2.0, 1.0),
    ),
    # invariants: the expression at the start, the same of the weights at a later time
    Pair(
        "conservation_full",
        "invariant",
        {"w_1": 0.6, "w_2": 0.3},
        lambda: moved(ROOT, _START3, 1.5, 1.3)[0] ** 2 - moved(ROOT, _START3, 1.5, 1.3)[1] ** 2,
        lambda: -np.subtract(*flow(ROOT, _START3, 1.5, 1.3)[1::-1] ** 2),
    ),
    Pair(
        "conservation_layer",
        "invariant",
        {"w_1": 0.6, "w_2": 0.3, "q": 0.25},
        lambda: _imbalance(0.25, moved(_layer(0.25), _START3, 1.5, 1.3)),
        lambda: _imbalance(0.25, flow(_layer(0.25), _START3, 1.5, 1.3)),
    ),
    Pair(
        "conservation_layer",
        "ratio",
        {"w_1": 0.6, "w_2": 0.3},
        lambda: np.divide(*moved(_layer(1.0), _START3, 1.5, 1.3)[:2]),
        lambda: np.divide(*flow(_layer(1.0), _START3, 1.5, 1.3)[:2]),
    ),
    Pair(
        "conservation_layer",
        "damped",
        {"w_1": 0.6, "w_2": 0.3, "q": 0.75, "epsilon": 0.1},
        lambda: np.subtract(*(moved(_layer(0.75, 0.1), [0.6, 0.3], 1.5, 1.3) ** 2 + 0.1) ** 0.25),
        lambda: np.subtract(*(flow(_layer(0.75, 0.1), [0.6, 0.3], 1.5, 1.3) ** 2 + 0.1) ** 0.25),
    ),
    Pair(
        "gradient_descent_depth_two",
        "time",
        {"u_0": 0.05, "u_f": 1.9, "s": 2.0, "c": 0.5**2 - 0.1**2},
        lambda: learning_time(GD, np.array([0.5, 0.1]), 2.0, 1.9),
        lambda: path_time(GD, [0.5, 0.1], 2.0, 1.9),
    ),
    # a start with the wrong sign passes by the saddle
    Pair(
        "gradient_descent_depth_two",
        "state",
        {"w_10": 0.5, "w_20": -0.1, "s": 2.0, "t": 1.0},
        lambda: moved(GD, [0.5, -0.1], 2.0, 1.0),
        lambda: flow(GD, [0.5, -0.1], 2.0, 1.0),
    ),
    Pair(
        "gradient_descent_depth_two",
        "state",
        {"w_10": 0.2, "w_20": 0.7, "s": 1.2, "t": 0.6},
        lambda: mode_sweep(
            GD, np.array([[0.2, 0.7]]), np.array([1.2]), np.array([0.6]), rtol=1e-12
        ),
        lambda: flow(GD, [0.2, 0.7], 1.2, 0.6),
    ),
    Pair(
        "gradient_descent_depth_two",
        "balanced",
        {"u_0": 0.01, "s": 2.0, "t": 1.5},
        lambda: np.prod(moved(GD, [0.1, 0.1], 2.0, 1.5)),
        lambda: np.prod(flow(GD, [0.1, 0.1], 2.0, 1.5)),
    ),
    _balanced("time_3", GD, {"a_0": 0.05, "a_f": 1.2, "s": 2.0}, 3, "gradient_descent_depth_d"),
    _balanced("time_4", GD, {"a_0": 0.1, "a_f": 1.1, "s": 2.0}, 4, "gradient_descent_depth_d"),
    Pair(
        "natural_gradient_chord",
        "map",
        {"u_0": 0.036, "s": 1.5, "t": 1.3},
        lambda: natural_gradient_map(np.array([[0.036]]), np.array([[1.5]]), np.array([1.3])),
        lambda: np.prod(flow(NATURAL, _START3, 1.5, 1.3)),
    ),
    Pair(
        "natural_gradient_chord",
        "time",
        {"u_0": 0.036, "u_f": 1.425, "s": 1.5},
        lambda: learning_time(NATURAL, np.array(_START3), 1.5, 1.425),
        lambda: path_time(NATURAL, _START3, 1.5, 1.425),
    ),
    Pair(
        "natural_gradient_chord",
        "layers",
        {"u": 2.0 + (0.05 - 2.0) * np.exp(-1.0), "c": 0.5**2 - 0.1**2},
        lambda: moved(NATURAL, [0.5, 0.1], 2.0, 1.0) ** 2,
        lambda: flow(NATURAL, [0.5, 0.1], 2.0, 1.0) ** 2,
    ),
    _balanced(
        "time",
        CurvatureCorrection(power=1.0, damping=0.1),
        {"u_0": 0.01, "u_f": 1.9, "s": 2.0, "epsilon": 0.1},
        2,
        "damping_identity",
    ),
    Pair(
        "square_root_rule",
        "balanced",
        {"a_0": 0.1, "s": 2.0, "t": 1.0},
        lambda: moved(ROOT, [0.1, 0.1], 2.0, 1.0)[0],
        lambda: flow(ROOT, [0.1, 0.1], 2.0, 1.0)[0],
    ),
    Pair(
        "square_root_rule",
        "layer_mean",
        {"m_0": 0.3, "delta": 0.4, "s": 2.0, "kappa": 1.0, "t": 1.0},
        lambda: moved(_layer(0.5, scale=1.0), [0.5, 0.1], 2.0, 1.0).mean(),
        lambda: flow(_layer(0.5, scale=1.0), [0.5, 0.1], 2.0, 1.0).mean(),
    ),
    *(
        _balanced(
            f"time_{depth}", ROOT, {"a_0": 0.05, "a_f": 1.1, "s": 2.0}, depth, "square_root_rule"
        )
        for depth in (2, 3, 4)
    ),
    # k = 0.04, -0.96 and 0.7: all three signs of what the power leaves near zero
    _balanced(
        "time",
        CurvatureCorrection(power=0.4),
        {"u_0": 1e-5, "u_f": 0.95, "s": 1.0, "q": 0.4, "d": 5},
        5,
    ),
    _balanced("time", GD, {"u_0": 1e-3, "u_f": 1.9, "s": 2.0, "q": 0.0, "d": 6}, 6),
    _balanced(
        "time",
        CurvatureCorrection(power=0.8),
        {"u_0": 1e-4, "u_f": 1.4, "s": 1.5, "q": 0.8, "d": 4},
        4,
    ),
    _balanced(
        "log_branch",
        CurvatureCorrection(power=0.25),
        {"u_0": 1e-4, "u_f": 1.4, "s": 1.5, "q": 0.25, "d": 3},
        3,
    ),
    Pair(
        "learning_time",
        "layer_factor",
        {"q": 0.5, "d": 3, "kappa": 1.0},
        lambda: (
            learning_time(_layer(0.5, scale=1.0), np.full(3, 0.1), 1.5, 1.4)
            / learning_time(ROOT, np.full(3, 0.1), 1.5, 1.4)
        ),
        lambda: (
            time_of_event(_layer(0.5, scale=1.0), [0.1] * 3, 1.5, 1.4)
            / time_of_event(ROOT, [0.1] * 3, 1.5, 1.4)
        ),
    ),
    # one mode is lambda-balanced at every start
    Pair(
        "riccati_balanced",
        "gram",
        {"w_10": 0.5, "w_20": 0.2, "s": 2.0, "t": 0.8},
        lambda: balanced_gram(
            [np.array([[0.5]]), np.array([[0.2]])], np.array([[2.0]]), np.array([0.8])
        ),
        lambda: np.outer(flow(GD, [0.5, 0.2], 2.0, 0.8), flow(GD, [0.5, 0.2], 2.0, 0.8)),
    ),
    Pair(
        "layer_natural_gradient_root",
        "growth",
        {"mu": 1.5 / 0.036, "kappa": 1.0, "d": 3, "t": 0.4},
        lambda: (
            layer_natural_gradient_weights(
                [np.array([[w]]) for w in _START3], np.array([[1.5]]), np.array([0.4]), 1.0
            )[0].item()
            / 0.6
        ),
        lambda: flow(_layer(1.0, scale=1.0), _START3, 1.5, 0.4)[0] / 0.6,
    ),
    Pair(
        "layer_natural_gradient_root",
        "blow_up",
        {"m": 2.0 / 0.2, "kappa": 1.0, "d": 2},
        lambda: blow_up_time([np.array([[-0.4]]), np.array([[0.5]])], np.array([[2.0]]), 1.0),
        # the map, -0.2 at the start, reaches zero at speed kappa d (s - u)
        lambda: float(mp.quad(lambda u: 1 / (2 * (2 - u)), [-0.2, 0])),
    ),
    Pair(
        "layer_natural_gradient_root",
        "half_log_ratio",
        {"sigma": 0.1, "gamma": 5.0 - 3.0, "q": 0.5, "s": 2.0},
        lambda: np.log(np.divide(*moved(_layer(0.5), [0.5, 0.3], 2.0, 60.0))) / 2,
        # w_1 - w_2 = 0.2 is kept and w_1 w_2 = 2 reached
        lambda: np.log(brentq(lambda r: (r - 1) ** 2 * 2 - 0.04 * r, 1, 5, xtol=1e-15)) / 2,
    ),
    Pair(
        "early_stopping",
        "best_error",
        _SIZES,
        _stopped_error,
        _least_error,
    ),
]
