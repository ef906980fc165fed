"""Riccati closed form against integrating the flow, depth 2, n = 256.

One output time t. The flow is integrated by ``matrix_flow`` at several tolerances and
compared with the closed form: as the tolerance falls their difference falls with it, to
rounding at 1e-12, which bounds the closed form's own error; so the ratio at the tightest
tolerance is the one "to the same error". Draws the ratio against t and tolerance.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from paired import in_turns, write

from deeplinear import CurvatureCorrection, matrix_flow
from deeplinear.balanced import balanced_gram
from sandbox.bench.figures import house_style

SIZE = 256
SPANS = (0.3, 3.0, 30.0, 100.0)  # t in units of 1 / largest singular value
TOLERANCES = (1e-3, 1e-6, 1e-9, 1e-12)
ROUNDS = 1  # after one unclocked call of each; a flow takes seconds, far above the jitter


def balanced_start(generator: np.random.Generator) -> tuple[list[np.ndarray], np.ndarray]:
    """Return a balanced two-layer start and a Gaussian target."""
    first = 0.1 * generator.normal(size=(SIZE, SIZE)) / np.sqrt(SIZE)
    values, vectors = np.linalg.eigh(first @ first.T)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    rotation = np.linalg.qr(generator.normal(size=(SIZE, SIZE)))[0]
    return [first, rotation @ root], generator.normal(size=(SIZE, SIZE)) / np.sqrt(SIZE)


def flow_map(weights: list, target: np.ndarray, end: float, rtol: float) -> np.ndarray:
    """Integrate gradient descent and return the map at the end."""
    layers = matrix_flow(CurvatureCorrection(0.0), weights, target, np.array([end]), rtol=rtol)
    return layers[1][0] @ layers[0][0]


def draw(rows: list[dict]) -> None:
    """Draw the ratio of times against t, one line a tolerance."""
    with house_style():
        figure = Figure(figsize=(5.2, 3.6))
        axes = figure.subplots()
        for rtol, marker in zip(TOLERANCES, "os^D", strict=True):
            mine = [r for r in rows if r["rtol"] == rtol]
            x = [r["t_times_largest_singular_value"] for r in mine]
            axes.plot(x, [r["ratio"] for r in mine], marker=marker, label=f"rtol {rtol:.0e}")
        axes.axhline(1.0, color="black", lw=1, ls="-")
        axes.annotate("equal", (SPANS[0], 1.15), fontsize=8)
        axes.set(xscale="log", yscale="log", xlabel="t × largest singular value of the target",
                 ylabel="time of the flow / time of the closed form",
                 title=f"Depth 2, n = {SIZE}, one output time")  # fmt: skip
        axes.legend()
        figure.savefig(Path(__file__).with_suffix(".svg"), metadata={"Date": None})


def main() -> None:
    """Measure, write the figures and draw the crossover."""
    weights, target = balanced_start(np.random.default_rng(2))
    largest = np.linalg.norm(target, 2)
    flow_map(weights, target, 1e-3 / largest, 1e-3)  # compiles, before any clock runs
    rows = []
    for span in SPANS:
        end = span / largest
        for rtol in TOLERANCES:
            seconds, results = in_turns(
                {
                    "closed form": lambda t=end: balanced_gram(weights, target, np.array([t])),
                    "flow": lambda t=end, r=rtol: flow_map(weights, target, t, r),
                },
                rounds=ROUNDS,
            )
            exact = results["closed form"][0, SIZE:, :SIZE]
            error = float(np.linalg.norm(results["flow"] - exact) / np.linalg.norm(exact))
            rows.append({
                "t_times_largest_singular_value": span, "rtol": rtol,
                "seconds_flow": seconds["flow"], "seconds_closed_form": seconds["closed form"],
                "ratio": seconds["flow"] / seconds["closed form"], "relative_difference": error,
            })  # fmt: skip
    headline = rows[-1]
    write(__file__, {
        "n": SIZE,
        "ratio_at_t_100_to_the_same_error": headline["ratio"],
        "relative_difference_there": headline["relative_difference"],
        "rows": rows,
    })  # fmt: skip
    draw(rows)


if __name__ == "__main__":
    main()
