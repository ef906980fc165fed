"""Several parameters: landscapes of boundaries, drawn one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.duersch2024glass.paper import PAPER

if TYPE_CHECKING:
    import numpy as np

    from theory.glass_geometry import Boundaries

__all__: list[str] = []

GEOMETRY = lazy("theory._glass_estimator_derivations:boundary_geometry")
CONFIDENCE = "4 standard errors over landscapes (false alarm 6e-5 a point)"


class Landscapes:
    """Many losses, sums of a max(0, n.theta - c) with offsets c drawn in a range around 0."""

    def __init__(
        self, walls: Boundaries, reach: float, count: int, generator: np.random.Generator
    ) -> None:
        """Draw the offsets of every family in every landscape."""
        import numpy as np

        self.walls, self.count, self.families = walls, count, []
        for normal, rate in zip(walls.normals, walls.rates, strict=True):
            far = reach * np.abs(normal).sum()
            numbers = generator.poisson(2 * far * rate, count)
            offsets = generator.uniform(-far, far, int(numbers.sum()))
            self.families.append((np.repeat(np.arange(count), numbers), offsets))

    def gradient(self, theta: np.ndarray) -> np.ndarray:
        """Return gradient less that at 0, (landscape, parameter), at one place or one for each."""
        import numpy as np

        total = np.zeros((self.count, self.walls.normals.shape[1]))
        for (owner, offsets), normal, slope in zip(
            self.families, self.walls.normals, self.walls.slopes, strict=True
        ):
            along = np.broadcast_to(theta @ normal, self.count)[owner]
            active = np.subtract(offsets < along, offsets < 0, dtype=float)
            counts = np.bincount(owner, active, minlength=self.count)
            total += slope * counts[:, None] * normal
        return total

    def loss(self, theta: np.ndarray) -> np.ndarray:
        """Return the loss less its linear part at 0, landscape by landscape."""
        import numpy as np

        total = np.zeros(self.count)
        for (owner, offsets), normal, slope in zip(
            self.families, self.walls.normals, self.walls.slopes, strict=True
        ):
            along = float(theta @ normal)
            kinks = np.maximum(along - offsets, 0) - np.maximum(-offsets, 0)
            kinks -= along * (offsets < 0)
            total += slope * np.bincount(owner, kinks, minlength=self.count)
        return total


@PAPER.claim(
    "boundary-glass",
    says="Random boundaries with normals n and slopes a bend the mean gradient like the Hessian"
    " Σ λ a n nᵀ, which no pointwise Hessian shows, and scatter it along u by the glass density"
    " Σ λ a² |n·u|³.",
    tag="derived",
    derivation=GEOMETRY,
)
def boundary_glass(run: Run) -> list[Comparison]:
    """Draw landscapes of three families in two parameters and walk in all directions."""
    import numpy as np

    from sandbox.claims.duersch2024glass._simulate import four_errors
    from theory.glass_geometry import Boundaries

    count, reach = run.pick(quick=12_000, full=200_000), 0.3
    walls = Boundaries(
        np.array([[0.6, 0.8], [-0.5, 0.2], [0.1, -0.9]]),
        np.array([1.0, -2.0, 0.5]),
        np.full(3, 10.0),
    )
    degrees, grid = np.linspace(0.0, 165.0, 12), np.linspace(0.0, 165.0, 56)

    def unit(angle: float) -> np.ndarray:
        """Return the direction at an angle in degrees."""
        return np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])

    drawn = Landscapes(walls, reach, count, run.seeds.generator("landscapes"))
    along = np.array([drawn.gradient(reach * unit(a)) @ unit(a) for a in degrees]) / reach
    squares = (along - along.mean(axis=1, keepdims=True)) ** 2 * reach
    hessian = walls.effective_hessian()
    bent, fine = (
        np.array([unit(a) @ hessian @ unit(a) for a in angles]) for angles in (degrees, grid)
    )
    dense, smooth = (
        np.array([walls.density(unit(a)) for a in angles]) for angles in (degrees, grid)
    )
    axes = (Axis("direction", tuple(degrees), "°"),)
    return [
        Comparison(
            "mean curvature along a direction",
            bent,
            along.mean(axis=1),
            tolerance=0.25,
            reason="four standard errors, a fiftieth of the range over directions",
            relation="inside",
            uncertainty=four_errors(along),
            confidence=CONFIDENCE,
            quantity="uᵀ H u",
            unit="loss/parameter²",
            axes=axes,
            curve=(grid, fine),
        ),
        Comparison(
            "glass density along a direction",
            dense,
            squares.mean(axis=1),
            tolerance=0.6,
            reason="four standard errors, at most a tenth of the largest density",
            relation="inside",
            uncertainty=four_errors(squares),
            confidence=CONFIDENCE,
            quantity="ρ(u)",
            unit="gradient²/parameter",
            axes=axes,
            curve=(grid, smooth),
        ),
    ]


@PAPER.claim(
    "diagonal-dominance",
    says="The density that three gradients measure when all parameters move by random signs is"
    " that of a parameter moved alone only where boundaries face the axes; elsewhere it is more,"
    " but far less than the row sum of the glass matrix, its upper bound.",
    tag="derived",
    derivation=GEOMETRY,
)
def diagonal_dominance(run: Run) -> list[Comparison]:
    """Turn six families from the axes to random directions and measure both densities."""
    import numpy as np

    from sandbox.claims.duersch2024glass._simulate import four_errors
    from theory.glass_geometry import Boundaries

    size, sigma, count = 6, 0.4, run.pick(quick=6_000, full=100_000)
    spread = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    generator = run.seeds.generator("normals")
    turned = generator.standard_normal((size, size))
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)

    def facing(share: float) -> Boundaries:
        """Return families of unit normals, each turned by a share of its way."""
        normals = (1 - share) * np.eye(size) + share * turned
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        return Boundaries(
            np.repeat(normals, 2, axis=0), np.tile([1.0, -1.0], size), np.ones(2 * size)
        )

    def readings(share: float) -> list[float]:
        """Return own-coordinate and sign-averaged density, means over parameters."""
        walls = facing(share)
        return [float(walls.own().mean()), float(walls.rademacher().mean())]

    found, widths = np.empty((len(spread), 2)), np.empty((len(spread), 2))
    rows = np.empty(len(spread))
    for row, share in enumerate(spread):
        walls = facing(share)
        rows[row] = walls.matrix().sum(axis=1).mean()
        draw = run.seeds.generator("landscapes", row)
        drawn = Landscapes(walls, sigma, count, draw)
        signs = draw.choice([-1.0, 1.0], (count, size))

        def density(move: np.ndarray, drawn: Landscapes = drawn) -> np.ndarray:
            """Return the estimate from three gradients, (landscape, parameter)."""
            bend = (drawn.gradient(move) + drawn.gradient(-move)) / 2
            found: np.ndarray = 2 * bend**2 / sigma
            return found

        alone = np.mean(
            [density(sigma * axis)[:, i] for i, axis in enumerate(np.eye(size))], axis=0
        )
        together = density(sigma * signs).mean(axis=1)
        for column, samples in enumerate((alone, together)):
            found[row, column], widths[row, column] = samples.mean(), four_errors(samples)
    grid = np.linspace(0, 1, 41)
    axis = Axis("share turned from the axes", tuple(spread))
    return [
        Comparison(
            "glass density of a parameter",
            np.array([readings(share) for share in spread]),
            found,
            tolerance=0.2,
            reason="four standard errors, a fifth of what spreading changes",
            relation="inside",
            uncertainty=widths,
            confidence=CONFIDENCE,
            quantity="mean of ρᵢ",
            unit="gradient²/par.",
            axes=(axis, Axis("moved", ("alone", "all by random signs"))),
            curve=(grid, np.array([readings(share) for share in grid])),
        ),
        Comparison(
            "measured with all moved, against the row sum",
            rows,
            found[:, 1],
            tolerance=0.2,
            reason="four standard errors where boundaries face the axes and both agree",
            relation="at_most",
            quantity="mean of ρᵢ",
            unit="gradient²/par.",
            axes=(axis,),
        ),
    ]


@PAPER.claim(
    "separable-sum",
    says="Adding every parameter's expected change bounds that of glass that is independent from"
    " parameter to parameter, up to √n above it. Boundaries across which n parameters move"
    " together break the bound, by √n.",
    tag="derived",
    derivation=GEOMETRY,
)
def separable_sum(run: Run) -> list[Comparison]:
    """Average sizes of loss changes in landscapes of aligned and of axis boundaries."""
    import numpy as np

    from sandbox.claims.duersch2024glass._simulate import four_errors
    from theory.glass_geometry import Boundaries

    count = run.pick(quick=8_000, full=100_000)
    sizes, crossings = np.array([1, 2, 4, 8, 16]), 24.0
    found, widths = np.empty((len(sizes), 2)), np.empty((len(sizes), 2))
    for row, n in enumerate(sizes):
        step = np.ones(n)
        # either sign of slope alike: no mean curvature
        aligned = Boundaries(
            np.ones((2, n)), np.array([1.0, -1.0]), np.full(2, crossings / (2 * n))
        )
        axes = Boundaries(
            np.repeat(np.eye(n), 2, axis=0), np.tile([1.0, -1.0], n), np.full(2 * n, crossings / 2)
        )
        for column, walls in enumerate((axes, aligned)):
            generator = run.seeds.generator(f"landscapes {column}", row)
            drawn = Landscapes(walls, 1.0, count, generator)
            size = np.abs(drawn.loss(step)) / walls.losses(step).separable
            found[row, column], widths[row, column] = size.mean(), four_errors(size)
    # c is approached from below: 3/(40 m) is missing at m crossings
    widths += found * 3 / (40 * crossings)
    axis = Axis("parameters n", tuple(sizes.astype(float)), log=True)
    grid = np.geomspace(1, 16, 31)
    return [
        Comparison(
            "mean size over the separable sum",
            np.stack([sizes**-0.5, sizes**0.5], axis=1),
            found,
            tolerance=0.08,
            reason="four standard errors and what 24 crossings take, a twelfth at most",
            relative=True,
            relation="inside",
            uncertainty=widths,
            confidence=CONFIDENCE,
            quantity="⟨|I|⟩ / c Σ √ρᵢ |dᵢ|^1.5",
            axes=(axis, Axis("boundaries", ("face the axes", "aligned"))),
            log=True,
            curve=(grid, np.stack([grid**-0.5, grid**0.5], axis=1)),
        ),
    ]
