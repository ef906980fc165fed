"""Riccati closed form against integrating the flow, depth 2, n = 256.

One output time t. The flow is integrated by ``matrix_flow`` at several
tolerances; its error is measured against the closed form, and the closed form's
own error against the flow at the tightest tolerance, so that "to the same error"
is a measured statement. Writes the crossover against t and tolerance as a figure.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from paired import in_turns, write

from deeplinear import CurvatureCorrection, matrix_flow
from deeplinear.balanced import balanced_gram
from sandbox.bench.figures import house_style

SIZE = 256
SPANS = (0.03, 0.3, 3.0, 30.0, 100.0)  # t in units of 1 / largest singular value
TOLERANCES = (1e-3, 1e-6, 1e-9, 1e-12)


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
    rows, own_error = [], {}
    for span in SPANS:
        end = span / largest
        closed = {"closed form": lambda t=end: balanced_gram(weights, target, np.array([t]))}
        seconds, results = in_turns(closed, rounds=5)
        exact = results["closed form"][0, SIZE:, :SIZE]
        for rtol in TOLERANCES:
            start = time.perf_counter()
            found = flow_map(weights, target, end, rtol)
            spent = time.perf_counter() - start
            error = float(np.linalg.norm(found - exact) / np.linalg.norm(exact))
            rows.append({
                "t_times_largest_singular_value": span, "rtol": rtol, "seconds_flow": spent,
                "seconds_closed_form": seconds["closed form"],
                "ratio": spent / seconds["closed form"], "relative_difference": error,
            })  # fmt: skip
        own_error[f"{span:g}"] = rows[-1]["relative_difference"]
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
