"""Load and temperature: valleys against width, double descent, and the phase diagram's reading."""

from __future__ import annotations

from itertools import starmap
from typing import TYPE_CHECKING

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.yang2021taxonomy.paper import PAPER

if TYPE_CHECKING:
    import numpy as np

__all__: list[str] = []

VALLEY = lazy("theory.product_valley:valley_connectivity")


def product_losses(weights: np.ndarray) -> np.ndarray:
    """Return (v·w - 1)²/2 of weights (..., 2h)."""
    half = weights.shape[-1] // 2
    product: np.ndarray = (weights[..., :half] * weights[..., half:]).sum(axis=-1)
    return (product - 1) ** 2 / 2


def descend(weights: np.ndarray, most: int) -> np.ndarray:
    """Return weights after gradient descent to a loss of rounding size, or so many steps."""
    import numpy as np

    half = weights.shape[-1] // 2
    for _ in range(most):
        v, w = weights[..., :half], weights[..., half:]
        gap = (v * w).sum(axis=-1, keepdims=True) - 1
        if abs(gap).max() < 1e-12:
            break
        rate = 0.2 / (1 + (weights**2).sum(axis=-1, keepdims=True))
        weights = weights - rate * gap * np.concatenate([w, v], axis=-1)
    return weights


def relaxed_chain(start: np.ndarray, stop: np.ndarray, knots: int, rounds: int) -> np.ndarray:
    """Return a chain from start to stop whose knots slid into the valley, equally far apart."""
    import numpy as np

    share = np.linspace(0, 1, knots)
    chain: np.ndarray = (1 - share[:, None]) * start + share[:, None] * stop
    # off the straight line, which may lead across a saddle
    chain += 0.1 * np.sin(np.pi * share)[:, None] * np.roll(start, 1)
    for _ in range(rounds):
        chain[1:-1] = descend(chain[1:-1], 2)
        length = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(chain, axis=0), axis=1)))
        chain = np.stack(
            [np.interp(share * length[-1], length, column) for column in chain.T], axis=1
        )
    return chain


def connectivity(chain: np.ndarray, fine: int) -> float:
    """Return mean loss of the ends less the loss on a polygon that deviates most."""
    import numpy as np

    share = np.arange(fine)[:, None, None] / fine
    points = ((1 - share) * chain[:-1] + share * chain[1:]).reshape(-1, chain.shape[1])
    losses = product_losses(np.concatenate([points, chain[-1:]]))
    gaps = product_losses(chain[[0, -1]]).mean() - losses
    return float(gaps[np.argmax(abs(gaps))])


@PAPER.claim(
    "valleys-by-width",
    says="In this project's smallest network, loss (v·w − 1)²/2, two solutions found by descent"
    " from random starts are connected by solutions if there are two hidden units or more; with"
    " one, two of opposite signs have at best a barrier of 1/2 between them. Straight paths show"
    " barriers at every width.",
    tag="derived",
    derivation=VALLEY,
)
def valleys_by_width(run: Run) -> list[Comparison]:
    """Train pairs from random starts, and relax chains of weights between them."""
    import numpy as np

    from theory.product_valley import ProductValley

    widths = (1, 2, 3, 5, 10)
    pairs, knots, rounds = run.pick(quick=(12, 41, 40), full=(60, 81, 120))
    trained, along, worst, straight, exact = [], [], [], [], []
    for h in run.progress(widths, label="widths"):
        valley = ProductValley(h)
        starts = run.seeds.generator("starts", h).standard_normal((pairs, 2, 2 * h))
        ends = descend(starts, 20_000)
        side = np.sign(ends[:, 0, 0] * ends[:, 1, 0])
        groups = [side > 0, side < 0] if h == 1 else [np.full(pairs, True)]
        chains = [relaxed_chain(first, second, knots, rounds) for first, second in ends]
        found = np.array([connectivity(chain, 20) for chain in chains])
        trained += [found[group].mean() for group in groups]
        best = np.array(list(starmap(valley.best_connectivity, ends)))
        along += [best[group].mean() for group in groups]
        straight.append(np.mean([connectivity(e, 4000) for e in ends]))
        exact.append(np.mean(list(starmap(valley.straight_connectivity, ends))))
        if h > 1:
            paths = [valley.connecting_path(first, second, 400) for first, second in ends]
            worst.append(max(product_losses(path).max() for path in paths))
    names = ("1, same sign", "1, opposite", *(str(h) for h in widths[1:]))
    return [
        Comparison(
            "best path found by relaxing a chain",
            np.array(along),
            np.array(trained),
            tolerance=1e-4,
            reason="what a polygon of 41 knots or more cuts off the bends of a valley: v·w off by"
            " 0.01 at most, for sides of 0.2 or less, and half its square",
            quantity="mean mode connectivity",
            axes=(Axis("hidden units", names),),
        ),
        Comparison(
            "straight path",
            np.array(exact),
            np.array(straight),
            tolerance=1e-10,
            reason="between solutions the loss is highest midway, a point of the grid: what their"
            " own v·w lacks of 1, 1e-12, a hundredfold",
            quantity="mean mode connectivity",
            relative=True,
            axes=(Axis("hidden units", widths, log=True),),
        ),
        Comparison(
            "loss on the path of solutions",
            np.zeros(len(worst)),
            np.array(worst),
            tolerance=1e-26,
            reason="the square of a hundred units of rounding",
            quantity="greatest loss",
            axes=(Axis("hidden units", widths[1:], log=True),),
        ),
    ]


@PAPER.claim(
    "barrier-of-the-curve",
    says="A quadratic Bézier curve between mirrored solutions (x, 1/x) and (1/x, x) of one hidden"
    " unit, trained for least mean loss, keeps a barrier, though the valley has none: it belongs"
    " to the family of curves and grows with the distance of the ends.",
    tag="derived",
    derivation=VALLEY,
)
def barrier_of_the_curve(run: Run) -> list[Comparison]:
    """Train both coordinates of the control point by quasi-Newton descent of the mean loss."""
    import numpy as np
    from scipy.optimize import minimize

    from theory.product_valley import ProductValley, symmetric_bend

    ends = run.pick(quick=(1.5, 2.0, 2.5, 3.0, 4.0), full=(1.25, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0))
    # Gauss-Legendre: exact for the polynomial of degree 8 that the loss is along the curve
    nodes, weights = np.polynomial.legendre.leggauss(8)
    fine = np.linspace(0, 1, 4001)

    def losses(control: np.ndarray, x: float, t: np.ndarray) -> np.ndarray:
        """Return the losses along a curve."""
        tips = np.array([[x, 1 / x], [1 / x, x]])
        s = t[:, None]
        return product_losses((1 - s) ** 2 * tips[0] + 2 * s * (1 - s) * control + s**2 * tips[1])

    controls, barriers, lines = [], [], []
    for x in run.progress(ends, label="ends"):
        start = np.array([1.0, 0.8])

        def mean_loss(control: np.ndarray, x: float = x) -> float:
            """Return 2000 times the mean loss of a curve."""
            return float(1e3 * weights @ losses(control, x, (nodes + 1) / 2))

        fit = minimize(mean_loss, start, method="BFGS", tol=1e-10)
        controls.append(fit.x.mean())
        barriers.append(losses(fit.x, x, fine).max())
        lines.append(losses(np.array([x + 1 / x] * 2) / 2, x, fine).max())
    bends = [symmetric_bend(x, "mean") for x in ends]
    straight = [
        -ProductValley(1).straight_connectivity(np.array([x, 1 / x]), np.array([1 / x, x]))
        for x in ends
    ]
    axes = (Axis("first weight x of an end", ends),)
    smooth = np.linspace(ends[0], ends[-1], 81)
    curve = [symmetric_bend(float(x), "mean") for x in smooth]
    return [
        Comparison(
            "control point",
            np.array([bend.control for bend in bends]),
            np.array(controls),
            tolerance=1e-6,
            reason="slopes are differences over 1.5e-8; what that moves the optimum, a hundredfold",
            quantity="both coordinates",
            axes=axes,
            curve=(smooth, np.array([bend.control for bend in curve])),
        ),
        Comparison(
            "barrier",
            np.array([[bend.max_loss, top] for bend, top in zip(bends, straight, strict=True)]),
            np.array([barriers, lines]).T,
            tolerance=1e-3,
            reason="the greatest loss at x = 1.25 moves by so much with the control point by 1e-7",
            relative=True,
            quantity="greatest loss",
            axes=(*axes, Axis("path", ("trained curve", "straight"))),
            log=True,
        ),
    ]


@PAPER.claim(
    "double-descent",
    says="Least squares with Gaussian inputs has the excess risk (σ² + T)p/(n − p − 1) below the"
    " number n of examples, T being the temperature of a Gibbs law of weights, and σ²n/(p − n − 1)"
    " + |β|²(1 − n/p) above it: temperature acts as noise of the outcomes and raises the peak.",
    tag="derived",
    derivation=lazy("theory.double_descent:temperature_double_descent"),
)
def double_descent(run: Run) -> list[Comparison]:
    """Solve drawn regressions, and draw weights from the Gibbs law."""
    import numpy as np

    from theory.double_descent import excess_risk, inverse_trace

    n, noise, temperatures = 20, 0.5, (0.0, 0.25, 1.0)
    below, above = (2, 5, 8, 11, 14), (26, 30, 40, 60, 100)
    chunk = 250
    chunks = range(run.pick(quick=8, full=120))
    risk: dict[tuple[int, float], list[np.ndarray]] = {}
    trace: dict[int, list[np.ndarray]] = {}
    for number in run.progress(chunks, label="draws"):
        for p in (*below, *above):
            generator = run.seeds.generator(f"regressions {p}", number)
            X = generator.standard_normal((chunk, n, p))
            beta = generator.standard_normal(p)
            beta /= np.linalg.norm(beta)
            y = X @ beta + np.sqrt(noise) * generator.standard_normal((chunk, n))
            back = X.transpose(0, 2, 1)
            inverse = np.linalg.inv(back @ X if p < n else X @ back)
            onto = inverse @ back if p < n else back @ inverse
            theta = (onto @ y[..., None])[..., 0]
            trace.setdefault(p, []).append(np.trace(inverse, axis1=1, axis2=2))
            root = np.linalg.cholesky(inverse) if p < n else onto
            for T in temperatures[: 1 if p > n else None]:
                # a normal draw of covariance T (X'X)^-1
                draw = np.sqrt(T) * root @ generator.standard_normal((chunk, min(n, p), 1))
                errors = theta + draw[..., 0] - beta
                risk.setdefault((p, T), []).append((errors**2).sum(axis=1))

    def summary(parts: list[np.ndarray]) -> tuple[float, float]:
        """Return mean and four standard errors."""
        whole = np.concatenate(parts)
        return whole.mean(), 4 * whole.std(ddof=1) / np.sqrt(len(whole))

    under = np.array([[summary(risk[p, T]) for T in temperatures] for p in below])
    over = np.array([summary(risk[p, 0.0]) for p in above])
    traces = np.array([summary(trace[p]) for p in (*below, *above)])
    confidence = "4 standard errors over regressions (false alarm 6e-5 a point)"
    reason = "four standard errors, at most a fifth; fewer than six from n their variance grows"
    place = "parameters p, n = 20"
    right = np.linspace(above[0], above[-1], above[-1] - above[0] + 1)
    # but for the three places where the mean is infinite
    across = np.linspace(below[0], above[-1], above[-1] - below[0] + 1)
    across = across[abs(across - n) > 1]
    return [
        Comparison(
            "least squares, p < n",
            np.array([
                [excess_risk(n, p, noise=noise, temperature=T) for T in temperatures] for p in below
            ]),
            under[..., 0],
            tolerance=0.2,
            reason=reason,
            relation="inside",
            relative=True,
            uncertainty=under[..., 1],
            confidence=confidence,
            quantity="excess risk",
            axes=(
                Axis(place, below),
                Axis("temperature", tuple(f"T = {T:g}" for T in temperatures)),
            ),
            log=True,
        ),
        Comparison(
            "least norm, p > n",
            np.array([excess_risk(n, p, noise=noise) for p in above]),
            over[:, 0],
            tolerance=0.2,
            reason=reason,
            relation="inside",
            relative=True,
            uncertainty=over[:, 1],
            confidence=confidence,
            quantity="excess risk",
            axes=(Axis(place, above, log=True),),
            curve=(right, np.array([excess_risk(n, int(p), noise=noise) for p in right])),
        ),
        Comparison(
            "trace of the inverse kernel",
            np.array([inverse_trace(n, p) for p in (*below, *above)]),
            traces[:, 0],
            tolerance=0.2,
            reason=reason,
            relation="inside",
            relative=True,
            uncertainty=traces[:, 1],
            confidence=confidence,
            quantity="mean trace",
            axes=(Axis(place, (*below, *above), log=True),),
            curve=(across, np.array([inverse_trace(n, int(p)) for p in across])),
            log=True,
        ),
    ]


@PAPER.claim(
    "phase-reading",
    says="Clear of the boundary of the frozen region in this project's phase diagram of its rugged"
    " bowl the diagram can be believed: a hundredfold in time inside, at temperatures of 2 and"
    " more, walkers started away from the centre remember it after the training; a fourfold in"
    " time outside they have forgotten it.",
    tag="derived",
    derivation=lazy("theory.rough_diffusion:trapping_line"),
)
def phase_reading(run: Run) -> list[Comparison]:
    """Start Langevin walkers in an outer well and see what is left of their mean position."""
    import numpy as np

    from theory.langevin import langevin
    from theory.phase_diagram import phase
    from theory.rugged import RuggedBowl

    # The last four: I0(ρ/t)² is 100 to 140 times the training time. Between them and the boundary
    # walkers thaw where the diagram says frozen.
    points = [
        (0.8, 1.0, 8.0), (3.0, 1.0, 8.0), (8.0, 4.0, 60.0), (12.0, 10.0, 20.0), (20.0, 14.0, 20.0),
        (11.2, 2.0, 20.0), (15.7, 3.0, 10.0), (22.4, 4.0, 20.0), (45.0, 8.0, 20.0),
    ]  # fmt: skip
    if run.scale != "quick":  # an ergodic one: such trainings are long
        points.append((14.0, 2.0, 1.2e5))
    count = 160
    rows: dict[bool, list[tuple[str, float, float]]] = {True: [], False: []}
    for index, (rho, t, time) in enumerate(run.progress(points, label="points")):
        bowl = RuggedBowl(1.0, rho, 1.0)
        # the well beside the central one, or as far out where there is none
        start = next((float(u) for u in bowl.minima() if u > 1), 2 * np.pi)
        steps = int(np.ceil(time * (1 + rho) / 0.05))
        walk = langevin(
            bowl, t, np.full(count, start), time / steps, steps, run.seeds.key("walkers", index)
        )
        ends = walk.position[:, -1] / start
        regime = phase(rho, t, time)
        label = f"{rho:g}, {t:g}, {time:g}: {regime.region}"
        width = 4 * ends.std(ddof=1) / np.sqrt(count)
        rows[regime.connected].append((label, float(ends.mean()), float(width)))

    def compare(connected: bool) -> Comparison:
        """Return the memory on one side of the boundary."""
        labels, left, widths = zip(*rows[connected], strict=True)
        return Comparison(
            "memory where walkers come together" if connected else "memory where they are frozen",
            np.full(len(left), np.exp(-1)),
            np.array(left),
            tolerance=0.0,
            reason="none: the interval decides, and the points are clear of the boundary",
            relation="at_most" if connected else "at_least",
            uncertainty=np.array(widths),
            confidence="4 standard errors over walkers (false alarm 6e-5 a point)",
            quantity="mean position over start",
            axes=(Axis("ρ, t, aτ: region", labels),),
        )

    return [compare(True), compare(False)]
