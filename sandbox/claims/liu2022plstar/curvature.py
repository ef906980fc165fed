"""Curvature of wide networks: how far a kernel can move, and how it stops moving."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.liu2022plstar.paper import PAPER

if TYPE_CHECKING:
    import numpy as np

__all__: list[str] = []

CONTROL = lazy("theory.conditioning:singular_value_certificate")
DIRECTIONS = lazy("sandbox.claims.liu2022plstar._curvature_derivations:random_directions")
BLOCKS = lazy("sandbox.claims.liu2022plstar._curvature_derivations:largest_hessian")
TENSOR = lazy("sandbox.claims.liu2022plstar._curvature_derivations:smoothness_norm")
ANGLES = (0.0, 1.0, 2.5)
BEND = 4 / (3 * 3**0.5)
"""Largest second derivative of tanh."""
SLOPE = "4 standard errors over networks (false alarm 6e-5 a slope)"


@PAPER.claim(
    "hessian-control",
    says="On a ball of radius R the tangent kernel's least eigenvalue is at least"
    " λ₀ − 2 L_F √n R sup|H_F|. On a tanh network the worst point found takes about a twentieth of"
    " that, a hundred random directions no more than a few thousandths.",
    tag="paper",
    derivation=CONTROL,
)
def hessian_control(run: Run) -> list[Comparison]:
    """Search balls about a tanh network for the softest kernel; try random directions too."""
    import numpy as np

    from sandbox.claims.liu2022plstar._experiments import TanhNetwork, unit_circle

    inputs, width = unit_circle(ANGLES), 1000
    generator = run.seeds.generator("network")
    network = TanhNetwork(inputs, generator.choice([-1.0, 1.0], width))
    start = generator.standard_normal(2 * width)
    radii = np.array([0.1, 0.2, 0.4, 0.8, 1.6])
    sweeps, draws = run.pick(quick=(12, 100), full=(100, 5000))
    first = network.jacobian(start) @ network.jacobian(start).T
    least = float(np.linalg.eigvalsh(first)[0])
    # over all weights the Jacobian is at most |X|, the Hessian of an output BEND/sqrt(width)
    control = 2 * np.linalg.norm(inputs, 2) * np.sqrt(len(inputs)) * BEND / np.sqrt(width) * radii
    drops, moves = [], []
    for radius in run.progress(radii, label="radii"):
        points = [network.worst_in_ball(start, radius, sweeps)]
        steps = generator.standard_normal((draws, 2 * width))
        points += list(start + radius * steps / np.linalg.norm(steps, axis=1, keepdims=True))
        kernels = [network.jacobian(w) @ network.jacobian(w).T for w in points]
        fallen = [least - float(np.linalg.eigvalsh(kernel)[0]) for kernel in kernels]
        moved = [float(np.linalg.norm(kernel - first, 2)) for kernel in kernels]
        drops.append([fallen[0], max(fallen[1:])])
        moves.append([moved[0], max(moved[1:])])
    axes = (
        Axis("radius R", tuple(radii), log=True),
        Axis("points", ("worst found", f"worst of {draws} random")),
    )
    predicted = np.repeat(control[:, None], 2, axis=1)
    return [
        Comparison(
            "change of the kernel",
            predicted,
            np.array(moves),
            tolerance=1e-12,
            reason="rounding",
            relation="at_most",
            quantity="|K − K₀|",
            axes=axes,
            log=True,
        ),
        Comparison(
            "fall of its least eigenvalue",
            predicted,
            np.array(drops),
            tolerance=1e-12,
            reason="rounding",
            relation="at_most",
            quantity="λ₀ − λ_min(K)",
            axes=axes,
            log=True,
        ),
    ]


@PAPER.claim(
    "random-directions",
    says="The worst change of the kernel's least eigenvalue in a ball falls as one over the root of"
    " the width, its change in a random direction as one over the width: by the root of the number"
    " of parameters, random directions make a network look more linear than it is.",
    tag="derived",
    derivation=DIRECTIONS,
)
def random_directions(run: Run) -> list[Comparison]:
    """Compare the worst direction with pairs of opposite random ones, by width."""
    import numpy as np

    from sandbox.claims.liu2022plstar._experiments import TanhNetwork, slope, unit_circle

    inputs, radius = unit_circle(ANGLES), 0.3
    widths = np.array([100, 200, 400, 800, 1600])
    count, pairs = run.pick(quick=(24, 40), full=(60, 200))
    worst = np.empty((len(widths), count))
    typical = np.empty((len(widths), count))
    for row, width in enumerate(run.progress(widths, label="widths")):
        for number in range(count):
            generator = run.seeds.generator(f"networks of {width}", number)
            network = TanhNetwork(inputs, generator.choice([-1.0, 1.0], width))
            start = generator.standard_normal(2 * width)
            least = network.softest(start)[0]
            softest = network.softest(network.worst_in_ball(start, radius, 4))[0]
            worst[row, number] = least - softest
            steps = generator.standard_normal((pairs, 2 * width))
            steps *= radius / np.linalg.norm(steps, axis=1, keepdims=True)
            # what is even in the direction is curvature, and does not belong to a slope
            odd = [network.softest(start + s)[0] - network.softest(start - s)[0] for s in steps]
            typical[row, number] = np.sqrt(np.mean(np.square(odd))) / 2
    fits = []
    for values in (worst, typical):
        logs = np.log(values)
        fits.append(slope(np.log(widths), logs.mean(axis=1), logs.std(axis=1, ddof=1)))
    measured, error = np.array(fits).T
    ratio = worst / typical
    return [
        Comparison(
            "exponents of the change",
            np.array([-0.5, -1.0]),
            measured,
            tolerance=0.15,
            reason="four standard errors, at most a third of the gap of the two",
            relation="inside",
            uncertainty=4 * error / np.sqrt(count),
            confidence=SLOPE,
            quantity="slope against log width",
            axes=(Axis("direction", ("worst", "random")),),
        ),
        Comparison(
            "worst over random change",
            np.sqrt(2.0 * widths),
            ratio.mean(axis=1),
            tolerance=0.2,
            reason="at the radius the slope itself has changed by about a tenth at width 100, and"
            " as much again for the interval",
            relative=True,
            uncertainty=4 * ratio.std(axis=1, ddof=1) / np.sqrt(count),
            confidence="4 standard errors over networks (false alarm 6e-5 a point)",
            quantity="ratio",
            axes=(Axis("width", tuple(widths), log=True),),
            log=True,
        ),
    ]


@PAPER.claim(
    "transition-to-linearity",
    says="The Hessian of a network with a linear output falls as one over the root of its width, up"
    " to a logarithm, at a random start and in a ball about it, while the kernel's least eigenvalue"
    " stays; behind a bent output the Hessian does not fall.",
    tag="paper",
    derivation=BLOCKS,
)
def transition_to_linearity(run: Run) -> list[Comparison]:
    """Draw both layers; take each Hessian's norm, and the kernel on three inputs."""
    import numpy as np

    from sandbox.claims.liu2022plstar._experiments import slope, unit_circle
    from sandbox.claims.liu2022plstar._wide import (
        WideNetwork,
        hessian_norms,
        kernel_matrix,
        limit_kernel,
        worst_norm,
    )
    from theory.tangent_models import TwoLayer

    inputs = unit_circle(ANGLES)
    widths = run.pick(quick=(100, 1000, 10_000), full=(100, 1000, 10_000, 100_000))
    count = run.pick(quick=40, full=80)
    norms = np.empty((3, len(widths), count))
    least, bounds = np.empty((2, len(widths), count))
    for row, width in enumerate(run.progress(widths, label="widths")):
        model = TwoLayer(inputs[1:2], width, train="both")
        for number in range(count):
            generator = run.seeds.generator(f"networks of {width}", number)
            network = WideNetwork.drawn(width, 2, generator)
            x, root = inputs[1], np.sqrt(width)
            norms[0, row, number] = hessian_norms(network, x).max() / root
            norms[1, row, number] = worst_norm(network, x, 1.0) / root
            bound = model.bounds(np.append(network.inner.ravel(), network.outer), 1.0)
            bounds[row, number] = np.nan if bound is None else bound[1]
            kernel = kernel_matrix(network, inputs)
            least[row, number] = np.linalg.eigvalsh(kernel)[0]
            # phi = z + sin(z)/2 adds phi'' grad f grad f^T: its size along the gradient
            output = network.outer @ np.tanh(network.inner @ x) / root
            norms[2, row, number] = abs(np.sin(output)) / 2 * kernel[1, 1]
    ln = np.log(np.array(widths))
    logs = np.log(norms.mean(axis=2))
    logs[:2] -= np.log(ln) / 2
    errors = norms.std(axis=2, ddof=1) / norms.mean(axis=2) / np.sqrt(count)
    fits = [slope(ln, y, error) for y, error in zip(logs, errors, strict=True)]
    measured, error = np.array(fits).T
    limit = float(np.linalg.eigvalsh(limit_kernel(inputs))[0])
    kinds = ("at the start", "worst in R = 1", "added by a bent output")
    return [
        Comparison(
            "exponents of |H| / √(ln m)",
            np.array([-0.5, -0.5, 0.0]),
            measured,
            tolerance=0.15,
            reason="the widest interval; the law of the largest unit is off by 0.02",
            uncertainty=4 * error,
            confidence=SLOPE,
            quantity="slope against log width",
            axes=(Axis("Hessian", kinds),),
        ),
        Comparison(
            "worst Hessian found within R = 1",
            bounds.mean(axis=1),
            norms[1].mean(axis=1),
            tolerance=1e-12,
            reason="rounding: every network has its own bound",
            relation="at_most",
            quantity="|H|",
            axes=(Axis("width m", widths, log=True),),
            log=True,
        ),
        Comparison(
            "least eigenvalue of the kernel",
            np.full(len(widths), limit),
            least.mean(axis=1),
            tolerance=0.15,
            reason="a twentieth by which the chance of 100 units may lower it, and the interval",
            relative=True,
            uncertainty=4 * least.std(axis=1, ddof=1) / np.sqrt(count),
            confidence="4 standard errors over networks (false alarm 6e-5 a point)",
            quantity="λ_min(K)",
            axes=(Axis("width m", widths, log=True),),
        ),
    ]


@PAPER.claim(
    "largest-hessian",
    says="The Hessian of a two-layer network is one block a unit, so that its norm is the largest"
    " of as many independent numbers as there are units: their law gives its mean at every width,"
    " logarithm and constant included.",
    tag="derived",
    derivation=BLOCKS,
)
def largest_hessian(run: Run) -> Comparison:
    """Diagonalise the blocks of random networks; compare with the law of the largest."""
    import numpy as np

    from sandbox.claims.liu2022plstar._wide import WideNetwork, hessian_norms, mean_largest

    widths = (10, 30, 100, 300, 1000, 3000, 10_000)
    units = run.pick(quick=60_000, full=2_000_000)
    means, errors = [], []
    x = np.array([0.6, 0.8])
    for width in run.progress(widths, label="widths"):
        generator = run.seeds.generator("units", width)
        count = max(units // width, 12)
        network = WideNetwork.drawn(width * count, 2, generator)
        largest = hessian_norms(network, x).reshape(count, width).max(axis=1)
        means.append(largest.mean())
        errors.append(4 * largest.std(ddof=1) / np.sqrt(count))
    grid = np.geomspace(widths[0], widths[-1], 41)
    return Comparison(
        "mean of |H| √m",
        mean_largest(np.array(widths)),
        np.array(means),
        tolerance=0.4,
        reason="four standard errors, at most a seventh",
        relation="inside",
        uncertainty=np.array(errors),
        confidence="4 standard errors over networks (false alarm 6e-5 a point for many networks)",
        quantity="|H| √m",
        axes=(Axis("width m", widths, log=True),),
        curve=(grid, mean_largest(grid)),
    )


def quadratic_maps(size: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Return Hessians (output, weight, weight) of quadratic maps, by what they share."""
    import numpy as np

    signs = generator.choice([-1.0, 1.0], size)
    basis = np.linalg.qr(generator.standard_normal((size, size)))[0]
    reflection = (basis * signs) @ basis.T
    planes = np.zeros((2, size, size))
    planes[0][:2, :2], planes[1][:2, :2] = [[1, 0], [0, -1]], [[0, 1], [1, 0]]
    return {
        "all the same": np.repeat(reflection[None], 4, axis=0),
        "two reflections of a plane": planes,
        "disjoint weights": np.eye(size)[:4, :, None] * np.eye(size)[:4, None, :],
    }


@PAPER.claim(
    "smoothness-norm",
    says="What bounds the error of a system's linear part is the norm of all its outputs' Hessians"
    " together, sup |Σ uᵢ Hᵢ| over unit u, not the largest of them: four equal ones are exceeded"
    " twofold.",
    tag="derived",
    derivation=TENSOR,
)
def smoothness_norm(run: Run) -> Comparison:
    """Search pairs of points of quadratic maps for the largest error of the linear part."""
    import numpy as np

    size = 6
    maps = quadratic_maps(size, run.seeds.generator("maps"))
    starts, sweeps = run.pick(quick=(40, 60), full=(400, 300))
    found = []
    for number, hessians in enumerate(maps.values()):
        generator = run.seeds.generator("starts", number)
        best = 0.0
        for _ in range(starts):
            step = generator.standard_normal(size)
            for _ in range(sweeps):
                step /= np.linalg.norm(step)
                change = np.einsum("oij,i,j->o", hessians, step, step)
                best = max(best, float(np.linalg.norm(change)))
                # uphill on the squared norm, shifted so that every step climbs
                step = np.einsum("o,oij,j->i", change, hessians, step) + 4 * step
        found.append(best)
    # of the largest single Hessian, whose norm is 1 in each map
    return Comparison(
        "largest error of the linear part, twice over the distance squared",
        np.array([2.0, 1.0, 1.0]),
        np.array(found),
        tolerance=1e-6,
        reason="the search has converged to it",
        quantity="β_F over max |Hᵢ|",
        axes=(Axis("Hessians", tuple(maps)),),
    )
