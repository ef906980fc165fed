"""Full rules share one path per mode; natural gradient takes the straight chord."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.huh2020curvature.networks import (
    rotated,
    unrotated,
)
from sandbox.claims.huh2020curvature.paper import PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sandbox.claims.huh2020curvature.networks import Array

POWERS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.0)
DAMPINGS = (0.0, 0.0, 0.0, 0.0, 0.0, 0.1)
NAMES = (*(f"power {q:g}" for q in POWERS[:5]), "power 1, damping 0.1")
SOLVER = "The flow is integrated to a relative tolerance of 1e-10, which grows along the path."


def _plot_path(figure: Figure, comparisons: list[Comparison]) -> None:
    """Draw each layer's weight against the product, every rule on one curve, and the errors."""
    import numpy as np

    figure.set_size_inches(9.0, 5.8)
    upper, lower = figure.subplots(2, 2, sharex="col", sharey="row", height_ratios=[3.0, 1.3])
    for above, below, c in zip(upper, lower, comparisons, strict=True):
        products, layers, rules = (axis.values for axis in c.axes)
        for i, layer in enumerate(layers):
            above.plot(products, c.predicted[:, i, 0], label=f"theory, layer {layer:g}")
        for j, (rule, marker) in enumerate(zip(rules, "os^Dv*", strict=True)):
            look = {"ls": "none", "marker": marker, "mfc": "none", "color": "0.25"}
            above.plot(products, c.measured[:, :, j], **look, ms=4 + j)
            above.plot([], [], label=f"measured, {rule}", **look, ms=4 + j)
            errors = np.abs(c.measured - c.predicted)[:, :, j].max(axis=1)
            below.plot(products, np.maximum(errors, 1e-16), **look, ms=3 + j / 2)
        below.axhline(c.tolerance, color="black", ls=":", lw=1)
        below.set_yscale("log")
        above.set_title(c.name)
        below.set_xlabel("product of the weights u")
    upper[0].set_ylabel("weight of the layer")
    lower[0].set_ylabel("largest error")
    figure.legend(*upper[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)


@PAPER.claim(
    "same-path",
    says="Each decoupled mode follows one and the same path under every full rule, whatever the"
    " power of the curvature and the damping: the rules differ only in the speed along it. Modes"
    " run on different clocks, so the path of several modes together differs.",
    tag="paper",
    derivation=lazy("deeplinear.derivations:conservation_full"),
    plot=_plot_path,
)
def same_path(run: Run) -> list[Comparison]:
    """Compare the hyperbola w_i^2 - w_j^2 = const with integrated networks of two modes."""
    import numpy as np
    from scipy.optimize import brentq

    from deeplinear import CurvatureCorrection, learning_time, matrix_flow

    start = np.array([[0.6, 0.2], [0.3, 0.7], [0.2, 0.4]])
    strengths = np.array([1.5, 0.8])
    weights, frames = rotated(start, run.seeds.generator("rotations"))
    target = (frames[-1] * strengths) @ frames[0].T
    names = ("mode 1, strength 1.5", "mode 2, strength 0.8")
    comparisons = []
    fractions = np.linspace(0.1, 0.98, run.pick(quick=9, full=40))
    for mode, name in enumerate(names):
        squares = start[:, mode] ** 2
        products = start[:, mode].prod() + fractions * (strengths[mode] - start[:, mode].prod())

        def path(u: float, squares: Array = squares) -> Array:
            spare = squares - squares.min()
            root = brentq(lambda y: np.prod(y + spare) - u * u, 0.0, 4.0, xtol=1e-15)
            return np.asarray(np.sqrt(root + spare))

        predicted = np.array([path(u) for u in products])
        measured = np.empty((len(products), 3, len(POWERS)))
        for j, (power, damping) in enumerate(zip(POWERS, DAMPINGS, strict=True)):
            rule = CurvatureCorrection(power, damping=damping)
            times = [learning_time(rule, start[:, mode], strengths[mode], u) for u in products]
            flow = matrix_flow(rule, weights, target, np.array(times))
            measured[:, :, j] = unrotated(flow, frames)[:, :, mode]
        comparisons.append(
            Comparison(
                name,
                np.repeat(predicted[:, :, None], len(POWERS), axis=2),
                measured,
                tolerance=1e-8,
                reason=SOLVER,
                quantity="weight",
                axes=(
                    Axis("product of the weights", tuple(products)),
                    Axis("layer", (1, 2, 3)),
                    Axis("rule", NAMES),
                ),
            )
        )
    return comparisons


@PAPER.claim(
    "straight-chord",
    says="Under full natural gradient descent the input-output map moves on the straight chord"
    " to the target, W(t) = W* + (W(0) − W*) exp(−t), from any start with full-rank curvature.",
    tag="derived",
    derivation=lazy("deeplinear.derivations:natural_gradient_chord"),
)
def straight_chord(run: Run) -> list[Comparison]:
    """Compare the chord with integrated networks of random, unbalanced, unaligned weights."""
    import numpy as np

    from deeplinear import CurvatureCorrection, matrix_flow

    times = np.linspace(0.0, 4.0, 9)
    comparisons = []
    for widths in run.pick(
        quick=((3, 4, 3), (2, 4, 3, 2)), full=((6, 8, 5), (4, 6, 6, 4), (3, 5, 4, 5, 3))
    ):
        generator = run.seeds.generator("start", len(widths))
        weights = [
            generator.normal(size=(after, before)) / np.sqrt(before)
            for before, after in pairwise(widths)
        ]
        target = generator.normal(size=(widths[-1], widths[0]))
        first = np.linalg.multi_dot(weights[::-1])
        flow = matrix_flow(CurvatureCorrection(1.0), weights, target, times)
        measured = flow[0]
        for layer in flow[1:]:
            measured = layer @ measured
        predicted = target + (first - target) * np.exp(-times)[:, None, None]
        entries = tuple(
            f"entry {o + 1},{i + 1}" for o in range(widths[-1]) for i in range(widths[0])
        )
        comparisons.append(
            Comparison(
                "widths " + "-".join(map(str, widths)),
                predicted.reshape(len(times), -1),
                measured.reshape(len(times), -1),
                tolerance=1e-7,
                reason=SOLVER,
                quantity="entry of the map",
                axes=(Axis("time", tuple(times), "1/learning rate"), Axis("entry", entries)),
            )
        )
    return comparisons
