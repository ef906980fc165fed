"""Quenched walkers in the wells of a rugged bowl, and how many wells a random one has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.yang2021taxonomy.paper import PAPER

if TYPE_CHECKING:
    import numpy as np

__all__: list[str] = []

CONFIDENCE = "4 standard errors over {} (false alarm 6e-5 a point)"
RUGGEDNESS = 12.0


def gibbs_draws(count: int, temperature: float, generator: np.random.Generator) -> np.ndarray:
    """Return draws from exp(-(u²/2 - ρ cos u)/t): normal ones, rejected by the cosine."""
    import numpy as np

    kept: list[np.ndarray] = []
    while sum(map(len, kept)) < count:
        u = np.sqrt(temperature) * generator.standard_normal(count)
        chance = np.exp(RUGGEDNESS / temperature * (np.cos(u) - 1))
        kept.append(u[generator.random(count) < chance])
    draws: np.ndarray = np.concatenate(kept)[:count]
    return draws


def quench(u: np.ndarray) -> np.ndarray:
    """Return where plain gradient descent takes walkers."""
    import numpy as np

    u = u.copy()
    moving = np.arange(len(u))
    while moving.size:
        slope = u[moving] + RUGGEDNESS * np.sin(u[moving])
        u[moving] -= slope / (1 + RUGGEDNESS)
        moving = moving[abs(slope) > 1e-9]
    return u


def straight_connectivity(first: float, second: float) -> float:
    """Return mean loss of two ends less the loss between them that deviates most."""
    import numpy as np

    u = np.linspace(first, second, 4001)
    losses = u**2 / 2 - RUGGEDNESS * np.cos(u)
    gaps = (losses[0] + losses[-1]) / 2 - losses
    return float(gaps[np.argmax(abs(gaps))])


@PAPER.claim(
    "quench-statistics",
    says="On this project's one-dimensional rugged bowl walkers of a Gibbs law, quenched by"
    " gradient descent, end in one well the less often the hotter they were. The weights of the"
    " wells, the chance to share one, mode connectivity, loss and sharpness follow from integrals"
    " over the basins.",
    tag="derived",
    derivation=lazy("theory.rugged:well_energies"),
)
def quench_claim(run: Run) -> list[Comparison]:
    """Draw walkers by rejection, quench them by gradient descent, and walk between their ends."""
    import numpy as np

    from theory.rugged import RuggedBowl
    from theory.wells import quench_statistics

    temperatures = (3.0, 5.0, 10.0, 20.0, 40.0)
    pairs = run.pick(quick=30_000, full=400_000)
    bowl = RuggedBowl(1.0, RUGGEDNESS, 1.0)
    places = bowl.minima()
    measured, widths = np.zeros((2, len(temperatures), 4))
    shares = np.zeros(len(places))
    for row, t in enumerate(run.progress(temperatures, label="temperatures")):
        ends = quench(gibbs_draws(2 * pairs, t, run.seeds.generator("walkers", row)))
        well = np.rint(ends / (2 * np.pi)).astype(int).reshape(2, pairs)
        centre = [float(np.mean(ends[well.ravel() == n])) for n in np.unique(well)]
        table = np.array([[straight_connectivity(u, v) for v in centre] for u in centre])
        number = np.searchsorted(np.unique(well), well)
        columns = np.stack([
            well[0] == well[1],
            table[number[0], number[1]],
            (ends**2 / 2 - RUGGEDNESS * np.cos(ends)).reshape(2, pairs).mean(axis=0),
            (1 + RUGGEDNESS * np.cos(ends)).reshape(2, pairs).mean(axis=0),
        ])  # fmt: skip
        measured[row] = columns.mean(axis=1)
        widths[row] = 4 * columns.std(axis=1, ddof=1) / np.sqrt(pairs)
        if t == 10:
            shares = np.array([np.mean(well == round(u / (2 * np.pi))) for u in places])
    theory = quench_statistics(bowl, 10.0).weights
    grid = np.geomspace(temperatures[0], temperatures[-1], 25)
    curves, predicted = (
        np.array([
            [q.share_a_well, q.mean_connectivity, q.mean_loss, q.mean_curvature]
            for q in (quench_statistics(bowl, float(t)) for t in where)
        ])
        for where in (grid, temperatures)
    )  # fmt: skip
    axes = (Axis("temperature t", temperatures, log=True),)
    words = (
        ("two walkers share a well", "probability", "", 0.03, "twentieth"),
        ("mean connectivity", "mode connectivity", "a/k²", 0.5, "sixteenth"),
        ("quenched loss", "mean loss", "a/k²", 0.5, "thirtieth"),
        ("quenched sharpness", "mean curvature", "a", 0.05, "thirtieth"),
    )
    return [
        Comparison(
            "weights of the wells, t = 10",
            theory,
            shares,
            tolerance=0.02,
            reason="four standard errors, at most a sixth of the share beside the centre",
            relation="inside",
            # of a share as predicted: the outermost wells hold few walkers
            uncertainty=4 * np.sqrt(theory * (1 - theory) / (2 * pairs)),
            confidence=CONFIDENCE.format("walkers"),
            quantity="share",
            axes=(Axis("well at kx", tuple(places.round(2))),),
        ),
        *(
            Comparison(
                name,
                predicted[:, k],
                measured[:, k],
                tolerance=tolerance,
                reason=f"four standard errors, at most a {share} of the range",
                relation="inside",
                uncertainty=widths[:, k],
                confidence=CONFIDENCE.format("pairs of walkers"),
                quantity=quantity,
                unit=unit,
                axes=axes,
                curve=(grid, curves[:, k]),
            )
            for k, (name, quantity, unit, tolerance, share) in enumerate(words)
        ),
    ]


def rough_slopes(
    places: np.ndarray, deviation: float, length: float, count: int, generator: np.random.Generator
) -> np.ndarray:
    """Return slopes of random bowls: waves of equally spaced frequencies, normal amplitudes."""
    import numpy as np

    # the period of the sum is longer than the places by ten lengths
    spacing = 2 * np.pi / (places[-1] - places[0] + 10 * length)
    frequency = spacing * np.arange(1, int(8 / length / spacing) + 1)
    power = deviation**2 * length * np.sqrt(2 / np.pi) * np.exp(-((length * frequency) ** 2) / 2)
    amplitude = frequency * np.sqrt(power * spacing)
    turns = np.outer(frequency, places)
    waves = np.concatenate([np.cos(turns), np.sin(turns)])
    weights = generator.standard_normal((count, 2 * len(frequency))) * np.tile(amplitude, 2)
    slopes: np.ndarray = places + weights @ waves
    return slopes


@PAPER.claim(
    "random-roughness",
    says="On this project's bowl with Gaussian roughness the expected number of minima is"
    " Φ(1/R) + Rφ(1/R): R falls with the root of the number of examples averaged over, and with"
    " the 5/4th power of 1 + 2s²/l² under noise of width s.",
    tag="derived",
    derivation=lazy("theory.random_roughness:expected_minima"),
)
def random_roughness(run: Run) -> list[Comparison]:
    """Count sign changes of the slope in random landscapes, and in their running averages."""
    import numpy as np

    from theory.random_roughness import curvature_spread, mean_minima

    one, length, chunk = 1.2, 0.3, 500
    step = length / 24
    chunks = range(run.pick(quick=2, full=40))
    examples = (4, 8, 16, 32, 64, 128, 256)
    smoothings = (0.0, 0.1, 0.2, 0.3, 0.5)

    def draw(deviation: float, margin: float, name: str, index: int) -> np.ndarray:
        """Return slopes where the bowl's is within seven deviations of the roughness's."""
        half = int((7 * deviation / length + length + margin) / step)
        places = step * np.arange(-half, half + 1)
        return rough_slopes(places, deviation, length, chunk, run.seeds.generator(name, index))

    def minima(slopes: np.ndarray) -> np.ndarray:
        """Return how often each slope crosses 0 upwards."""
        counts: np.ndarray = ((slopes[:, :-1] < 0) & (slopes[:, 1:] >= 0)).sum(axis=1)
        return counts

    def averaged(slopes: np.ndarray, s: float) -> np.ndarray:
        """Return slopes averaged over normal displacements, where five deviations fit in."""
        reach, size = int(5 * s / step), slopes.shape[1]
        kernel = np.exp(-((step * np.arange(-reach, reach + 1)) ** 2) / (2 * s * s or 1.0))
        spectrum = np.fft.rfft(kernel / kernel.sum(), 2 * size)
        return np.fft.irfft(np.fft.rfft(slopes, 2 * size) * spectrum, 2 * size)[:, 2 * reach : size]

    by_examples, by_smoothing = [], []
    for i in run.progress(chunks, label="landscapes"):
        rows = [draw(one / np.sqrt(n), 0.0, f"examples {n}", i) for n in examples]
        by_examples.append([minima(row) for row in rows])
        wide = draw(one / 4, 5 * max(smoothings), "smoothing", i)
        by_smoothing.append([minima(averaged(wide, s)) for s in smoothings])
    counts = [np.concatenate(rows, axis=1) for rows in (by_examples, by_smoothing)]
    means = [rows.mean(axis=1) for rows in counts]
    widths = [4 * rows.std(axis=1, ddof=1) / np.sqrt(rows.shape[1]) for rows in counts]

    def theory(count: float, s: float) -> float:
        """Return the expected number of minima."""
        return mean_minima(curvature_spread(one / np.sqrt(count), length, smoothing=s))

    many, fine = np.geomspace(examples[0], examples[-1], 61), np.linspace(0, smoothings[-1], 61)
    confidence = CONFIDENCE.format("landscapes")
    reason = (
        "four standard errors, at most a tenth; pairs that the grid does not resolve are 0.03 %"
    )
    return [
        Comparison(
            "minima against examples",
            np.array([theory(n, 0.0) for n in examples]),
            means[0],
            tolerance=0.1,
            reason=reason,
            relation="inside",
            relative=True,
            uncertainty=widths[0],
            confidence=confidence,
            quantity="number of minima",
            axes=(Axis("examples", examples, log=True),),
            curve=(many, np.array([theory(float(n), 0.0) for n in many])),
        ),
        Comparison(
            "minima after smoothing, 16 examples",
            np.array([theory(16, s) for s in smoothings]),
            means[1],
            tolerance=0.1,
            reason=reason,
            relation="inside",
            relative=True,
            uncertainty=widths[1],
            confidence=confidence,
            quantity="number of minima",
            axes=(Axis("width s of the noise, l = 0.3", smoothings),),
            curve=(fine, np.array([theory(16, float(s)) for s in fine])),
        ),
    ]
