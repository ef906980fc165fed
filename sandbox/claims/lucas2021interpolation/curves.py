"""Curves in output space: what a small Gauss length guarantees, and where it stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.lucas2021interpolation.paper import PAPER

if TYPE_CHECKING:
    import numpy as np

__all__: list[str] = []

CONDITION = lazy("theory.interpolation:gauss_length_condition")
POINTS = 201
ROUNDING = 1e-12


def polynomial_curve(generator: np.random.Generator) -> np.ndarray:
    """Return a polynomial path of degree 2 to 6, bent little or much, sampled."""
    import numpy as np

    outputs, degree = int(generator.integers(2, 9)), int(generator.integers(2, 7))
    powers = np.vander(np.linspace(0, 1, POINTS), degree + 1, increasing=True)
    terms = generator.standard_normal((degree + 1, outputs))
    terms[2:] *= 10 ** generator.uniform(-1, 1)
    return np.asarray(powers @ terms)


def wave_curve(generator: np.random.Generator) -> np.ndarray:
    """Return a straight path with three sine waves on every output, sampled."""
    import numpy as np

    outputs = generator.integers(2, 9)
    alpha = np.linspace(0, 1, POINTS)[:, None]
    waves = np.sin(np.pi * alpha * np.arange(1, 4) + generator.uniform(0, 2 * np.pi, 3))
    sizes = generator.standard_normal((3, outputs)) * 10 ** generator.uniform(-2, 0)
    return np.asarray(alpha * generator.standard_normal(outputs) + waves @ sizes)


def cornered_curve(generator: np.random.Generator) -> np.ndarray:
    """Return a path of two to five straight edges, sampled."""
    import numpy as np

    outputs, edges = generator.integers(2, 9), generator.integers(2, 6)
    steps = generator.standard_normal(outputs) + 10 ** generator.uniform(
        -1, 0.7
    ) * generator.standard_normal((edges, outputs))
    corners = np.concatenate([np.zeros((1, outputs)), steps.cumsum(axis=0)])
    place = np.linspace(0, edges, 40 * edges + 1)
    return np.array([np.interp(place, np.arange(edges + 1), c) for c in corners.T]).T


CURVES = {
    "polynomials": polynomial_curve,
    "sine waves": wave_curve,
    "straight edges": cornered_curve,
}


def rises(path: np.ndarray) -> bool:
    """Return whether half the squared distance to the end rises between any two samples."""
    import numpy as np

    losses = ((path - path[-1]) ** 2).sum(axis=-1) / 2
    return bool((np.diff(losses) > ROUNDING * losses.max()).any())


@PAPER.claim(
    "gauss-length-condition",
    says="If no example's path in output space turns by more than π/2 (its Gauss length), the"
    " squared error never rises along it. Of paths that turn more, some rise.",
    tag="paper",
    derivation=CONDITION,
)
def condition(run: Run) -> list[Comparison]:
    """Draw curves of three families, and evaluate the squared distance to their ends."""
    import numpy as np

    from theory.interpolation import gauss_length, sufficient_condition

    count = run.pick(quick=500, full=20_000)
    edges = np.array([0.0, 0.5, 1.0, 1.25, 1.5, 2.0, 3.0])
    lengths = np.empty((len(CURVES), count))
    risen = np.zeros((len(CURVES), count), dtype=bool)
    for row, (name, draw) in enumerate(CURVES.items()):
        generator = run.seeds.generator(name)
        for k in run.progress(range(count), label=name):
            path = draw(generator)
            lengths[row, k] = gauss_length(path)
            risen[row, k] = rises(path)
    safe = np.array([[sufficient_condition(np.array([v])) for v in row] for row in lengths])
    bins = np.digitize(lengths / (np.pi / 2), edges) - 1
    shares = np.array([risen[bins == n].mean() for n in range(2, len(edges))])
    words = ("1–1.25", "1.25–1.5", "1.5–2", "2–3", "above 3")
    return [
        Comparison(
            f"turning up to π/2: {int(safe.sum())} of {safe.size} curves",
            np.zeros(len(CURVES)),
            (risen & safe).sum(axis=1).astype(float),
            tolerance=0.0,
            reason="A theorem: not one curve may rise by more than rounding, 1e-12 of its loss.",
            quantity="curves that rise",
            axes=(Axis("curves", tuple(CURVES)),),
        ),
        Comparison(
            "turning more than π/2",
            np.full(len(words), 0.01),
            shares,
            tolerance=0.0,
            reason="A hundredth of the curves of each class is enough to say that they may rise.",
            relation="at_least",
            quantity="share of curves that rise",
            axes=(Axis("Gauss length over π/2", words),),
        ),
    ]


@PAPER.claim(
    "right-angle-is-sharp",
    says="A corner of any angle θ above π/2, before an edge b, raises the squared error by"
    " b²cos²θ/2 if the edge before it is at least b|cos θ| long; but turning π/2 or less is not"
    " necessary: an arc is monotone until it turns by π, beyond which the loss rises by 1 + cos Θ"
    " (radius 1).",
    tag="derived",
    derivation=CONDITION,
)
def sharpness(run: Run) -> list[Comparison]:
    """Sample corners and arcs densely, and take the largest rise."""
    import numpy as np

    from theory.interpolation import corner_rise

    points = run.pick(quick=20_001, full=200_001)
    way = np.linspace(0, 1, points)[:, None]
    edges = {"edges 1 and 1": (1.0, 1.0), "0.5 and 1": (0.5, 1.0), "1 and 1.5": (1.0, 1.5)}

    def measured(path: np.ndarray) -> float:
        """Return the largest rise of half the squared distance to the end."""
        losses = ((path - path[-1]) ** 2).sum(axis=1) / 2
        return float((losses - np.minimum.accumulate(losses)).max())

    def corner(angle: float, before: float, after: float) -> np.ndarray:
        """Return two straight edges with a corner at the origin."""
        turned = after * np.array([np.cos(angle), np.sin(angle)])
        return np.concatenate([(way - 1) * np.array([before, 0.0]), way * turned])

    angles = np.linspace(0.4, 1.0, 13) * np.pi
    grid = np.linspace(0.4, 1.0, 121) * np.pi
    turns = np.linspace(0.25, 2.0, 15) * np.pi
    fine = np.linspace(0.25, 2.0, 141) * np.pi

    def arc_rise(turn: np.ndarray) -> np.ndarray:
        """Return the rise on arcs of radius 1."""
        return np.where(turn > np.pi, 1 + np.cos(turn), 0.0)

    sampling = "The least distance is sampled to half a step: an error below 1e-8, squared."
    return [
        Comparison(
            "one corner",
            np.array([[corner_rise(angle, *pair) for pair in edges.values()] for angle in angles]),
            np.array([
                [measured(corner(angle, *pair)) for pair in edges.values()] for angle in angles
            ]),
            tolerance=1e-8,
            reason=sampling,
            quantity="rise of half the squared error",
            axes=(Axis("corner / π", tuple(angles / np.pi)), Axis("edges", tuple(edges))),
            curve=(
                grid / np.pi,
                np.array([[corner_rise(a, *pair) for pair in edges.values()] for a in grid]),
            ),
        ),
        Comparison(
            "an arc of radius 1",
            arc_rise(turns),
            np.array([
                measured(np.concatenate([np.cos(turn * way), np.sin(turn * way)], axis=1))
                for turn in turns
            ]),
            tolerance=1e-7,
            reason="The farthest point is sampled to half a step of 3e-4, squared.",
            quantity="rise of half the squared error",
            axes=(Axis("turn / π", tuple(turns / np.pi)),),
            curve=(fine / np.pi, arc_rise(fine)),
        ),
    ]
