"""What a monitor says of a run, and how losses relate to half the summed squared error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from sandbox.landscape._measure import Point
from theory.checks import as_integer, one_of

__all__ = ["SLACK", "PLVerdict", "loss_scale", "radii", "reasons", "scale_of"]

SLACK = 1e-6
"""Relative slack of the bounds a run is held against."""


def loss_scale(
    samples: int, outputs: int, loss: Literal["squared", "mse", "mse-sum"] = "squared"
) -> float:
    r"""Return how a loss relates to half the summed squared error.

    **Equation.** loss = scale x L with :math:`L = \tfrac12 |F - y|^2` summed over samples and
    outputs, so that learning rate x scale is the step :math:`\eta` of descent on L. For n
    samples of c outputs: 1/n for the training loop's "squared" (and "reconstruction"), 2/(nc)
    for ``torch.nn.MSELoss()``, 2 for ``torch.nn.MSELoss(reduction="sum")``.

    **Shapes and units.** Without unit.

    Parameters
    ----------
    samples, outputs : int
        n and c.
    loss : {"squared", "mse", "mse-sum"}
        Which one.

    Returns
    -------
    float
        The factor.

    Raises
    ------
    ValueError
        If a number is no count or the name is unknown.

    Examples
    --------
    >>> loss_scale(100, 10), loss_scale(100, 10, "mse")
    (0.01, 0.002)
    """
    n, c = as_integer("samples", samples, low=1), as_integer("outputs", outputs, low=1)
    one_of("loss", loss, ("squared", "mse", "mse-sum"))
    return {"squared": 1 / n, "mse": 2 / (n * c), "mse-sum": 2.0}[loss]


@dataclass(frozen=True, slots=True)
class PLVerdict:
    """Whether the PL* picture held at the recorded points of one run; never a certificate.

    Parameters
    ----------
    word : {"held", "broken"}
        Broken if there is a reason.
    reasons : tuple of str
        What was seen to fail first, of each kind, with the numbers.
    notes : tuple of str
        What could not be judged, and why.
    mu : float
        Least eigenvalue of the kernel over the records; 0 if it was singular.
    lipschitz : float
        Root of its largest eigenvalue over the records.
    """

    word: Literal["held", "broken"]
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    mu: float
    lipschitz: float


def scale_of(plan: object, samples: int) -> float:
    """Return a run's loss over L, from the name of the loss in its plan."""
    name = getattr(plan, "loss", None)
    if name not in {"squared", "reconstruction"}:
        what = "there is no plan.loss to read" if name is None else f"not for {name!r}"
        raise ValueError(
            f"loss_scale = None: known for the losses 'squared' and 'reconstruction', {what};"
            " PL* is about squared errors: train on one and pass its factor, e.g."
            " loss_scale(samples, outputs, 'mse')"
        )
    return loss_scale(samples, 1)


def radii(mu: float, lipschitz: float, residual: float) -> dict[str, float]:
    """Return the radii that a path is held against, infinite where mu is 0."""
    # the derivations beside these functions take a while to import
    from theory import descent_rates as rates

    least = rates.least_distance(lipschitz, residual) if lipschitz > 0 else math.inf
    if not mu > 0:
        return dict.fromkeys(("flow", "descent", "theorem"), math.inf) | {"least distance": least}
    return {
        "least distance": least,
        "flow": rates.path_radius_flow(residual, mu),
        "descent": rates.path_radius_descent(residual, mu),
        "theorem": rates.theorem_radius(lipschitz, residual, mu),
    }


def reasons(point: Point, bound: float, before: float, step: int) -> dict[str, str]:
    """Return what is broken at one record, by kind; ``before`` is the loss a record earlier."""
    found = {}
    if not math.isfinite(point.loss):
        found["loss"] = f"the loss is not finite at step {step}"
    if point.cause:
        found["singular"] = (
            f"K is singular at step {step}, lambda_min = {point.lambda_min:.3g} with lambda_max ="
            f" {point.lambda_max:.3g}: {point.cause}"
        )
    if point.ratio < point.lambda_min * (1 - SLACK) - 8 * point.blur:
        found["ratio"] = (
            f"the PL ratio at step {step}, {point.ratio:.6g}, is below lambda_min ="
            f" {point.lambda_min:.6g}: gradient and kernel are not of one function"
        )
    if point.loss > bound * (1 + SLACK) + point.loss_blur:
        found["bound"] = f"L = {point.loss:.6g} at step {step} is above its bound {bound:.6g}"
    if point.loss > before * (1 + SLACK) + point.loss_blur:
        found["descent"] = f"L rises from {before:.6g} to {point.loss:.6g} at step {step}"
    return found
