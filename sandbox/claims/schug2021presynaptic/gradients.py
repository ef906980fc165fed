"""Gradients in the release probability: what is unbiased, and what straight-through gets wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.schug2021presynaptic.paper import PAPER

if TYPE_CHECKING:
    import numpy as np

__all__: list[str] = []

STRENGTHS, CHANCES, INPUTS = (0.8, -0.5, 0.3), (0.25, 0.6, 0.9), (1.0, 2.0, -1.5)
SYNAPSE = Axis("synapse", ("1", "2", "3"))


def mean_loss(chances: np.ndarray) -> float:
    """Return the mean over all masks of -ln sigmoid(z), without torch."""
    import itertools

    import numpy as np

    total = 0.0
    for mask in itertools.product((0, 1), repeat=3):
        weight = np.prod(np.where(mask, chances, 1 - chances))
        z = float((np.array(STRENGTHS) * mask / chances) @ INPUTS)
        total += weight * np.log1p(np.exp(-z))
    return float(total)


def slopes() -> np.ndarray:
    """Return the derivatives of the mean loss by fourth-order differences."""
    import numpy as np

    step = 1e-4  # error of order step^4 / p^5 and rounding of order 1e-12
    found = np.empty(3)
    for i in range(3):
        shift = np.zeros(3)
        shift[i] = step
        ends = [mean_loss(np.array(CHANCES) + k * shift) for k in (-2, -1, 1, 2)]
        found[i] = (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * step)
    return found


def estimate(samples: int | None, method: Any, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient of a layer of three synapses onto one unit, and its standard error."""
    import torch

    from synapses.layers import StochasticLinear
    from synapses.probability_gradients import release_gradient

    chances = torch.tensor([CHANCES], dtype=torch.float64)
    layer = StochasticLinear(3, 1, bias=False, release_probability=chances, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([STRENGTHS], dtype=torch.float64))
    inputs = torch.tensor([INPUTS], dtype=torch.float64)
    found = release_gradient(
        layer,
        lambda net: torch.nn.functional.softplus(-net(inputs)).sum(),
        samples,
        method,
        generator=torch.Generator().manual_seed(seed),
    )
    return found.gradients[""][0].numpy(), found.standard_errors[""][0].numpy()


@PAPER.claim(
    "release-gradient",
    says="The likelihood ratio estimates the gradient of the mean loss in the release"
    " probabilities without bias; in a layer of three synapses the straight-through estimator is"
    " off by a tenth of it or more, and through the mask alone has the wrong sign at two.",
    tag="derived",
    derivation=lazy("synapses._estimator_derivations:likelihood_ratio"),
)
def release_gradient(run: Run) -> list[Comparison]:
    """Hold torch's estimates against differences of the mean loss over all eight masks."""
    import numpy as np

    samples = run.pick(quick=1000, full=100_000)
    exact = slopes()
    enumerated, _ = estimate(None, "likelihood-ratio")
    sampled, error = estimate(samples, "likelihood-ratio", run.seeds.integer("masks"))
    both, _ = estimate(None, "straight-through")
    mask, _ = estimate(None, "straight-through-mask")
    return [
        Comparison(
            "likelihood ratio, all masks",
            exact,
            enumerated,
            tolerance=1e-9,
            reason="the difference quotient's rounding and its error of fourth order",
            quantity="gradient",
            axes=(SYNAPSE,),
        ),
        Comparison(
            f"likelihood ratio, {samples} samples",
            exact,
            sampled,
            tolerance=12.0 / np.sqrt(samples),
            reason="four standard errors, the largest of one sample being about 2.6",
            relation="inside",
            uncertainty=4.0 * error,
            confidence="4 standard errors over samples (false alarm 6e-5 a point)",
            quantity="gradient",
            axes=(SYNAPSE,),
        ),
        Comparison(
            "bias of straight-through, relative",
            np.full(3, 0.1),
            np.abs(both / exact - 1),
            tolerance=0.0,
            reason="a bound: the bias is a tenth of the gradient or more, computed over all masks",
            relation="at_least",
            quantity="|estimate / gradient − 1|",
            axes=(SYNAPSE,),
        ),
        Comparison(
            "straight-through by the mask alone",
            np.zeros(2),
            mask[1:] / exact[1:],
            tolerance=0.0,
            reason="a sign: the ratio is negative, computed over all masks",
            relation="at_most",
            quantity="estimate / gradient",
            axes=(Axis("synapse", ("2", "3")),),
        ),
    ]
