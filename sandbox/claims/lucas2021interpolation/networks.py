"""Networks: two linear layers, decided exactly; wide layers, whose paths are nearly straight."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.lucas2021interpolation.paper import PAPER

if TYPE_CHECKING:
    import numpy as np

__all__: list[str] = []

TWO_LAYERS = lazy("theory.interpolation:two_layer_interpolation")


class Pair(NamedTuple):
    """Two networks of two linear layers, with data in columns."""

    first: tuple[np.ndarray, np.ndarray]
    last: tuple[np.ndarray, np.ndarray]
    inputs: np.ndarray
    targets: np.ndarray | None


def unrelated(generator: np.random.Generator, examples: int) -> Pair:
    """Return two random networks; the loss is measured from the second one's outputs."""
    draw = generator.standard_normal
    first, last = ((draw((4, 3)), draw((2, 4))) for _ in range(2))
    return Pair(first, last, draw((3, examples)), None)


def trained(generator: np.random.Generator, scale: float, *, to_end: bool) -> Pair:
    """Return a random network, and the same after gradient descent to a teacher's outputs."""
    import numpy as np

    draw = generator.standard_normal
    first = scale * draw((4, 3)), scale * draw((2, 4))
    inputs = draw((3, 6))
    targets = draw((2, 4)) @ draw((4, 3)) @ inputs
    one, two = first
    # few steps: where targets are reached, the slope at the end is 0 within rounding, of any sign
    for _ in range(100):
        error = two @ one @ inputs - targets
        slopes = two.T @ error @ inputs.T, error @ (one @ inputs).T
        # large starts have steep losses
        rates = [3e-3 * min(1.0, 30.0 / float(np.linalg.norm(slope))) for slope in slopes]
        one, two = one - rates[0] * slopes[0], two - rates[1] * slopes[1]
    return Pair(first, (one, two), inputs, None if to_end else targets)


def forward_passes(pair: Pair, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return outputs (alpha, output, example) and losses along the line."""
    import numpy as np

    alpha = np.linspace(0, 1, points)[:, None, None]
    one, two = ((1 - alpha) * v + alpha * w for v, w in zip(pair.first, pair.last, strict=True))
    outputs = two @ (one @ pair.inputs)
    goal = outputs[-1] if pair.targets is None else pair.targets
    return outputs, ((outputs - goal) ** 2).sum(axis=(1, 2)) / 2


def turned_tangents(outputs: np.ndarray) -> np.ndarray:
    """Return how far the numerical tangent of every example turns along the samples."""
    import numpy as np

    steps = np.diff(outputs, axis=0)
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    chords = np.linalg.norm(np.diff(steps, axis=0), axis=1)
    return np.asarray(2 * np.arcsin(np.minimum(chords / 2, 1.0)).sum(axis=0))


@PAPER.claim(
    "two-linear-layers",
    says="Between two networks of two linear layers outputs are quadratic in α and the loss is"
    " quartic: the roots of its derivative decide whether and how far it rises, and the Gauss"
    " length of an example is the angle between its first and last tangent.",
    tag="derived",
    derivation=TWO_LAYERS,
)
def two_linear_layers(run: Run) -> list[Comparison]:
    """Run unrelated and trained networks forward at many places of the line."""
    import numpy as np

    from theory.interpolation import two_layer_path

    points, count = run.pick(quick=(1001, 10), full=(10_001, 40))
    kinds = {
        "1 example": [unrelated(run.seeds.generator("one", k), 1) for k in range(count)],
        "6 examples": [unrelated(run.seeds.generator("six", k), 6) for k in range(count)],
        "trained, from targets": [
            trained(run.seeds.generator("small", k), 0.5, to_end=False) for k in range(count)
        ],
        "trained, from the end": [
            trained(run.seeds.generator("large", k), 2.0, to_end=True) for k in range(count)
        ],
    }
    rises, measured, agree, lengths, turned = [], [], [], [], []
    for name, pairs in kinds.items():
        for pair in run.progress(pairs, label=name):
            path = two_layer_path(
                pair.first,
                pair.last,
                pair.inputs.T,
                None if pair.targets is None else pair.targets.T,
            )
            decision = path.decide()
            outputs, losses = forward_passes(pair, points)
            rise = float((losses - np.minimum.accumulate(losses)).max() / losses.max())
            rises.append(decision.rise / losses.max() if decision.status == "rises" else 0.0)
            measured.append(rise)
            # undecided agrees with nothing
            agree.append(decision.status == ("rises" if rise > 1e-9 else "monotone"))
            lengths.append(path.gauss_lengths[0])
            turned.append(turned_tangents(outputs)[0])
    order = np.argsort(rises, kind="stable")
    numbers = tuple(range(1, len(rises) + 1))
    return [
        Comparison(
            "decisions",
            np.ones(len(kinds)),
            np.array(agree, dtype=float).reshape(len(kinds), -1).mean(axis=1),
            tolerance=0.0,
            reason="Every decision by roots must agree with the rise on the grid.",
            quantity="share of decisions that agree",
            axes=(Axis("networks", tuple(kinds)),),
        ),
        Comparison(
            "largest rise, share of largest loss",
            np.array(rises)[order],
            np.array(measured)[order],
            tolerance=1e-4,
            reason="Half a step off an extremum of a quartic whose second derivative is at most a"
            " few hundred times its largest value.",
            quantity="rise over largest loss",
            log=True,
            axes=(Axis("pair of networks", numbers),),
        ),
        Comparison(
            "Gauss length of the first example",
            np.sort(lengths),
            np.array(turned)[np.argsort(lengths, kind="stable")],
            tolerance=0.02,
            reason="The polygon leaves out the turning in the first and last half step; sharp turns"
            " at an end are the worst.",
            quantity="Gauss length",
            unit="rad",
            axes=(Axis("pair of networks", numbers),),
        ),
    ]


ACTIVATIONS = ("linear", "tanh")


def log_lengths(
    activation: str, widths: tuple[int, ...], generator: np.random.Generator
) -> np.ndarray:
    """Train two-layer networks of several widths on one task; return log Gauss lengths."""
    import numpy as np

    from theory.interpolation import gauss_length

    size, outputs, rate, steps = 4, 2, 0.5, 40
    x = np.linalg.qr(generator.standard_normal((size, size)))[0] * np.sqrt(size)
    y = generator.standard_normal((outputs, size))
    found = []
    for width in widths:
        root, scale = np.sqrt(width), np.sqrt(size)
        start = (
            generator.standard_normal((width, size)),
            generator.standard_normal((outputs, width)),
        )
        one, two = (w.copy() for w in start)
        for _ in range(steps):
            before = one @ x / scale
            hidden = np.tanh(before) if activation == "tanh" else before
            slope = 1 - hidden**2 if activation == "tanh" else np.ones_like(hidden)
            error = two @ hidden / root - y
            step_two = error @ hidden.T / root
            one -= rate * (two.T @ error * slope) @ x.T / (root * scale)
            two -= rate * step_two
        path = []
        for alpha in np.linspace(0, 1, 21):
            before = ((1 - alpha) * start[0] + alpha * one) @ x / scale
            hidden = np.tanh(before) if activation == "tanh" else before
            path.append(((1 - alpha) * start[1] + alpha * two) @ hidden / root)
        found.append([np.log(gauss_length(np.array(path)[:, :, n])) for n in range(size)])
    return np.array(found)


@PAPER.claim(
    "wide-layers",
    says="In wide two-layer networks the path is nearly straight: trained by gradient descent from"
    " random weights, with the output divided by the root of the width, the Gauss length falls as"
    " one over the width. Every network then falls monotonically along the line.",
    tag="derived",
    derivation=TWO_LAYERS,
)
def wide_layers(run: Run) -> list[Comparison]:
    """Train linear and tanh networks of several widths on four examples, in numpy."""
    import numpy as np
    from scipy.stats import t as student

    tasks = run.pick(quick=16, full=100)
    widths = run.pick(quick=(64, 128, 256, 512), full=(64, 128, 256, 512, 1024, 2048))
    logs = np.array([
        [log_lengths(name, widths, run.seeds.generator(name, k)) for k in range(tasks)]
        for name in run.progress(ACTIVATIONS, label="activations")
    ])
    # the mean over a task's examples, and the largest of all
    means, largest = logs.mean(axis=-1), np.exp(logs.max(axis=(1, 3)))
    slopes = np.polyfit(np.log(widths), means.reshape(-1, len(widths)).T, 1)[0].reshape(2, tasks)
    factor = float(student.ppf(1 - 0.5e-3, tasks - 1)) / np.sqrt(tasks)
    words = f"99.9 % interval over {tasks} tasks"
    return [
        Comparison(
            "exponent of the width",
            np.full(2, -1.0),
            slopes.mean(axis=1),
            tolerance=0.5,
            reason="An interval that tells -1 from -1/2, the bound by norms alone, and from -3/2.",
            relation="inside",
            uncertainty=factor * slopes.std(axis=1, ddof=1),
            confidence=words,
            quantity="slope of log Gauss length",
            axes=(Axis("hidden layer", ACTIVATIONS),),
        ),
        Comparison(
            f"largest Gauss length of {tasks} tasks",
            np.full((len(widths), 2), np.pi / 2),
            largest.T,
            tolerance=0.0,
            reason="The sufficient condition, met by every example of every network: none rises.",
            relation="at_most",
            quantity="Gauss length",
            unit="rad",
            axes=(Axis("width", widths, log=True), Axis("hidden layer", ACTIVATIONS)),
            log=True,
        ),
    ]
