"""Where small random networks have glass: exponents of second differences of gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.duersch2024glass.paper import PAPER

if TYPE_CHECKING:
    import numpy as np

__all__: list[str] = []

WIDTHS = (20, 40, 40, 1)
LAYERS = ("first layer", "second layer", "last layer")


def gradients(
    weights: list[np.ndarray], inputs: np.ndarray, targets: np.ndarray, rectified: bool
) -> list[np.ndarray]:
    """Return the squared error's gradients, layer by layer, (direction, out, in)."""
    import numpy as np

    active, slopes = [inputs], []
    for weight in weights[:-1]:
        drive = active[-1] @ np.swapaxes(weight, -1, -2)
        rates = np.maximum(drive, 0) if rectified else np.tanh(drive)
        slopes.append((drive > 0).astype(float) if rectified else 1 - rates**2)
        active.append(rates)
    delta = (active[-1] @ np.swapaxes(weights[-1], -1, -2) - targets) / len(inputs)
    found = []
    for layer in reversed(range(len(weights))):
        found.append(np.swapaxes(delta, -1, -2) @ active[layer])
        if layer:
            delta = (delta @ weights[layer]) * slopes[layer - 1]
    return found[::-1]


@PAPER.claim(
    "network-exponents",
    says="The squared second difference of a gradient grows with the distance to the power 1 where"
    " the gradient jumps, 3 where it has kinks, and 4 where it is smooth. In random rectified"
    " networks hidden layers have jumps and the last layer kinks; with tanh all is smooth.",
    tag="derived",
    derivation=lazy("theory._glass_estimator_derivations:three_gradient_estimators"),
)
def network_exponents(run: Run) -> list[Comparison]:
    """Move all weights of random networks by random signs and fit exponents, layer by layer."""
    import itertools

    import numpy as np

    networks, directions = run.pick(quick=(6, 10), full=(24, 40))
    sigmas = np.geomspace(1e-3, 1.6e-2, 5)
    slopes = np.empty((2, networks, len(LAYERS)))
    for row, rectified in enumerate((True, False)):
        for number in range(networks):
            draw = run.seeds.generator(f"network {row}", number)
            gain = np.sqrt(2) if rectified else 1.0
            base = [
                gain / np.sqrt(n) * draw.standard_normal((1, m, n))
                for n, m in itertools.pairwise(WIDTHS)
            ]
            inputs = draw.standard_normal((200, WIDTHS[0]))
            targets = draw.standard_normal((200, 1))
            signs = [draw.choice([-1.0, 1.0], (directions, *w.shape[1:])) for w in base]
            middle = gradients(base, inputs, targets, rectified)
            squares = np.empty((len(sigmas), len(LAYERS)))
            for k, sigma in enumerate(sigmas):
                ends = [
                    gradients(
                        [w + side * sigma * z for w, z in zip(base, signs, strict=True)],
                        inputs,
                        targets,
                        rectified,
                    )
                    for side in (1, -1)
                ]
                squares[k] = [
                    np.mean(((up + down) / 2 - mid) ** 2)
                    for up, down, mid in zip(*ends, middle, strict=True)
                ]
            slopes[row, number] = np.polyfit(np.log(sigmas), np.log(squares), 1)[0]
    mean, width = slopes.mean(axis=1), 4 * slopes.std(axis=1, ddof=1) / np.sqrt(networks)
    confidence = (
        f"4 standard errors over {networks} networks (t distribution: false alarm at most 1 %)"
    )
    return [
        Comparison(
            "hidden layers of a rectified network",
            np.array([1.0, 1.0]),
            mean[0, :2],
            tolerance=0.4,
            reason="four standard errors and 0.1 for the smooth part, a seventh of the gap to 4",
            relation="inside",
            uncertainty=width[0, :2] + 0.1,
            confidence=confidence + ", and 0.1",
            quantity="exponent",
            axes=(Axis("layer", LAYERS[:2]),),
        ),
        Comparison(
            "last layer of a rectified network",
            np.array([3.5]),
            mean[0, 2:],
            tolerance=0.4,
            reason="between kinks, 3, and a smooth part, 4; a tenth short of either, as the tanh"
            " network's smooth gradients show 3.99",
            quantity="exponent",
            axes=(Axis("layer", LAYERS[2:]),),
        ),
        Comparison(
            "layers of a tanh network",
            np.full(3, 4.0),
            mean[1],
            tolerance=0.06,
            reason="terms of sixth power at the largest distance",
            quantity="exponent",
            axes=(Axis("layer", LAYERS),),
        ),
    ]
