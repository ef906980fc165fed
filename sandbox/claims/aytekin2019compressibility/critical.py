"""Critical points of the ratio norm: ternary, as the paper says, and saddles, as it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.aytekin2019compressibility.paper import PAPER

if TYPE_CHECKING:
    import numpy as np

__all__: list[str] = []

CRITICAL = lazy("theory.sparsity:ratio_norm_critical_points")
SIZE = 8
COUNTS = tuple(range(1, SIZE + 1))


def ratios(w: np.ndarray) -> np.ndarray:
    """Return the ratio of numpy's norms, of vectors along the last axis."""
    import numpy as np

    return np.asarray(np.linalg.norm(w, 1, axis=-1) / np.linalg.norm(w, axis=-1))


def ternary(generator: np.random.Generator, count: int) -> np.ndarray:
    """Return a ternary vector of 8 entries, with a number of them nonzero, of size 0.7."""
    import numpy as np

    w = np.zeros(SIZE)
    w[generator.permutation(SIZE)[:count]] = 0.7 * generator.choice([-1.0, 1.0], count)
    return w


def slopes(w: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """Return central differences along every entry."""
    import numpy as np

    shift = step * np.eye(len(w))
    return np.asarray((ratios(w + shift) - ratios(w - shift)) / (2 * step))


@PAPER.claim(
    "ternary-critical",
    says="At any critical point of the ratio of the 1-norm to the 2-norm the weights are ternary,"
    " and its value is the square root of the number of nonzero weights. Nowhere else does the"
    " gradient vanish.",
    tag="paper",
    derivation=CRITICAL,
)
def ternary_critical(run: Run) -> list[Comparison]:
    """Take the slopes by central differences, at ternary points and at disturbed ones."""
    import numpy as np

    from theory.sparsity import ratio_norm_gradient

    points = [ternary(run.seeds.generator("signs", k), k) for k in COUNTS]
    spreads = np.geomspace(1e-3, 1.0, run.pick(quick=10, full=40))
    generator = run.seeds.generator("disturbed")
    pattern = generator.standard_normal(SIZE)
    disturbed = [0.7 * np.exp(spread * pattern) for spread in spreads]
    counts = Axis("nonzero weights of 8", COUNTS)
    return [
        Comparison(
            "value at ternary points",
            np.sqrt(COUNTS),
            np.array([ratios(w) for w in points]),
            tolerance=1e-14,
            reason="Rounding.",
            quantity="f",
            axes=(counts,),
        ),
        Comparison(
            "steepest slope at ternary points",
            np.zeros(SIZE),
            np.array([np.abs(slopes(w)[w != 0]).max() for w in points]),
            tolerance=1e-9,
            reason="The rounding of f, 2e-16, over the step of 1e-6.",
            quantity="slope",
            axes=(counts,),
        ),
        Comparison(
            "gradient where magnitudes differ",
            np.array([np.linalg.norm(ratio_norm_gradient(w)) for w in disturbed]),
            np.array([np.linalg.norm(slopes(w)) for w in disturbed]),
            tolerance=1e-8,
            reason="The rounding of f, 2e-16, over the step of 1e-6, of eight entries.",
            quantity="length of the gradient",
            axes=(Axis("spread of log magnitudes", tuple(spreads), log=True),),
            log=True,
        ),
    ]


@PAPER.claim(
    "ternary-saddles",
    says="Ternary points with two nonzero weights or more, but not all, are saddles: within their"
    " support f falls in k − 1 directions with the curvature −1/(c²√k), along zeros it rises at"
    " the slope 1/|w|₂. Only a single nonzero weight is a minimum. Descent from a point disturbed"
    " by a millionth leaves it.",
    tag="derived",
    derivation=CRITICAL,
)
def ternary_saddles(run: Run) -> list[Comparison]:
    """Take the Hessian on the support by differences, and descend from disturbed points."""
    import numpy as np

    from theory.sparsity import inertia

    step, rate, steps = 1e-4, 0.02, run.pick(quick=2000, full=10_000)
    negative, lowest, kinks, starts, predicted = [], [], [], [], []
    for k in COUNTS:
        w = ternary(run.seeds.generator("signs", k), k)
        exact = inertia(w)
        h = step * np.eye(SIZE)[w != 0]
        a, b = h[:, None], h[None]
        hessian = (
            ratios(w + a + b) - ratios(w + a - b) - ratios(w - a + b) + ratios(w - a - b)
        ) / (4 * step**2)
        values = np.linalg.eigvalsh(hessian)
        negative.append(float((values < -0.05).sum()))
        lowest.append(values[0])
        side = 1e-8 * np.eye(SIZE)[w == 0]
        rise = (ratios(w + side) - ratios(w)) / 1e-8
        kinks.append(rise.mean() if rise.size else 0.0)
        starts.append(w + 1e-6 * run.seeds.generator("disturbance", k).standard_normal(SIZE))
        predicted.append(exact)
    at = np.array(starts)
    for _ in range(steps):
        norms = np.linalg.norm(at, axis=1)
        at -= rate * (np.sign(at) - at * (ratios(at) / norms)[:, None]) / norms[:, None]
    # zeros jitter about 0 by less than the rate over the norm
    sizes = np.abs(at)
    left = (sizes > sizes.max(axis=1, keepdims=True) / 2).sum(axis=1) != COUNTS
    counts = Axis("nonzero weights of 8", COUNTS)
    return [
        Comparison(
            "directions of negative curvature",
            np.array([float(point.negative) for point in predicted]),
            np.array(negative),
            tolerance=0.0,
            reason="A count: eigenvalues below -0.05, where exact ones are 0 or below -0.7.",
            quantity="directions",
            axes=(counts,),
        ),
        Comparison(
            "curvature, and slope along a zero",
            np.array([[point.eigenvalue, point.kink_slope] for point in predicted]),
            np.array([lowest, kinks]).T,
            tolerance=1e-5,
            reason="Differences: rounding over the step squared, 1e-8, and the step squared.",
            quantity="per weight², per weight",
            axes=(counts, Axis("direction", ("within the support", "along a zero"))),
        ),
        Comparison(
            "descent leaves the point",
            np.array([float(point.kind != "local minimum") for point in predicted]),
            left.astype(float),
            tolerance=0.0,
            reason="It has left if not k weights, but fewer, are above half the largest.",
            quantity="left (1) or stayed (0)",
            axes=(counts,),
        ),
    ]


@PAPER.claim(
    "ternary-entropy",
    says="Ternary weights of random places and signs, a share p of them nonzero, need"
    " −p log₂p − (1−p) log₂(1−p) + p bits each: 0.569 bits at p = 0.1, a 56th of 32 bits.",
    tag="derived",
    derivation=CRITICAL,
)
def entropy(run: Run) -> Comparison:
    """Draw ternary weights, and number every vector with as many nonzeros: the code's length."""
    import math

    import numpy as np

    from theory.sparsity import ternary_entropy

    size, draws = run.pick(quick=(4000, 10), full=(20_000, 40))
    shares = (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 2 / 3, 0.8, 0.95)
    grid = np.linspace(0.0, 1.0, 101)
    header = math.ceil(math.log2(size + 1))
    measured, spread = [], []
    for number, share in enumerate(run.progress(shares, label="shares")):
        generator = run.seeds.generator("weights", number)
        lengths = []
        for _ in range(draws):
            count = int((generator.random(size) < share).sum())
            # the number of nonzeros, the number of their places, and a sign each
            lengths.append(header + (math.comb(size, count) - 1).bit_length() + count)
        bits = np.array(lengths) / size
        measured.append(bits.mean())
        spread.append(4 * bits.std(ddof=1) / np.sqrt(draws) + header / size)
    return Comparison(
        "length of an enumerative code",
        np.array([ternary_entropy(share) for share in shares]),
        np.array(measured),
        tolerance=0.04,
        reason="Four standard errors and the header; a part in forty of the largest entropy.",
        relation="inside",
        uncertainty=np.array(spread),
        confidence="4 standard errors over draws (false alarm 6e-5 a point), and the header",
        quantity="bits per weight",
        axes=(Axis("share of nonzero weights", shares),),
        curve=(grid, np.array([ternary_entropy(share) for share in grid])),
    )
