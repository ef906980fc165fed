"""Mode sweep: 4,096 two-layer parameter sets, 51 outputs, against solve_ivp.

Contenders, all to the same outputs: ``mode_sweep``; a Python loop of
``solve_ivp`` (DOP853, rtol 1e-8), one call a set, timed on a part of the sets and
told per trajectory; all sets stacked into one ``solve_ivp`` system. Time scales
are spread over three decades through the target strengths.
"""

from __future__ import annotations

import numpy as np
from paired import in_turns, write
from scipy.integrate import solve_ivp

from deeplinear import CurvatureCorrection, mode_sweep, mode_trajectory

SETS, PART, OUTPUTS, RTOL = 4096, 64, 51, 1e-8


def velocity(power: float, first: np.ndarray, second: np.ndarray, target: np.ndarray) -> tuple:
    """Return dw/dt of two-layer modes, written out, for the peers."""
    pace = (target - first * second) * (first**2 + second**2) ** -power
    return second * pace, first * pace


def loop(power: float, weights: np.ndarray, targets: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Integrate one set after the other."""
    found = np.empty((len(targets), len(times), 2))
    for i, (start, target) in enumerate(zip(weights, targets, strict=True)):
        flow = solve_ivp(
            lambda _, w, s=target: velocity(power, w[0], w[1], s),
            (0.0, times[-1]), start, "DOP853", t_eval=times, rtol=RTOL, atol=1e-12,
        )  # fmt: skip
        found[i] = flow.y.T
    return found


def stacked(
    power: float, weights: np.ndarray, targets: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """Integrate all sets as one system."""
    count = len(targets)
    flow = solve_ivp(
        lambda _, w: np.concatenate(velocity(power, w[:count], w[count:], targets)),
        (0.0, times[-1]), weights.T.ravel(), "DOP853", t_eval=times, rtol=RTOL, atol=1e-12,
    )  # fmt: skip
    return flow.y.reshape(2, count, len(times)).transpose(1, 2, 0)


def main() -> None:
    """Measure and write the figures."""
    generator = np.random.default_rng(1)
    targets = 10 ** generator.uniform(-1.5, 1.5, SETS)
    weights = generator.uniform(0.01, 0.5, (SETS, 2))
    times = np.linspace(0.0, 20.0, OUTPUTS)
    figures = {"sets": SETS, "outputs": OUTPUTS, "rtol": RTOL, "rules": {}}
    for power in (0.0, 0.25, 0.5, 1.0):
        rule = CurvatureCorrection(power)
        ours = {"mode_sweep": lambda r=rule: mode_sweep(r, weights, targets, times, rtol=RTOL)}
        fast, results = in_turns(ours, rounds=9)
        peers = {
            "loop": lambda q=power: loop(q, weights[:PART], targets[:PART], times),
            "stacked": lambda q=power: stacked(q, weights, targets, times),
            "mode_sweep": ours["mode_sweep"],
        }
        seconds, found = in_turns(peers, rounds=3)
        exact = np.array([
            mode_trajectory(rule, w, s, times)
            for w, s in zip(weights[:256], targets[:256], strict=True)
        ])  # fmt: skip
        figures["rules"][f"power {power:g}"] = {
            "seconds_mode_sweep": seconds["mode_sweep"],
            "seconds_loop_per_trajectory": seconds["loop"] / PART,
            "seconds_stacked": seconds["stacked"],
            "ratio_loop": seconds["loop"] / PART * SETS / seconds["mode_sweep"],
            "ratio_stacked": seconds["stacked"] / seconds["mode_sweep"],
            "seconds_mode_sweep_alone": fast["mode_sweep"],
            "max_error": float(np.abs(results["mode_sweep"][:256] - exact).max()),
            "max_error_loop": float(np.abs(found["loop"] - exact[:PART]).max()),
            "max_error_stacked": float(np.abs(found["stacked"][:256] - exact).max()),
        }
    write(__file__, figures)


if __name__ == "__main__":
    main()
