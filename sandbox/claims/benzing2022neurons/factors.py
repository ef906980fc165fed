"""K-FAC's two factors and its damping, against dense solutions and formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.benzing2022neurons.paper import PAPER

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__: list[str] = []

DAMPING = lazy("theory.preconditioning:kronecker_damping")


def two_layers(
    seed: np.random.Generator, samples: int = 40
) -> tuple[torch.nn.Module, Any, Any, list[tuple[np.ndarray, np.ndarray, np.ndarray]]]:
    """Return a small network, data, and by hand every layer's gradient and both factors."""
    import numpy as np
    import torch

    inputs = seed.normal(size=(samples, 6)) @ np.diag([3.0, 2.0, 1.0, 1.0, 0.3, 0.1])
    labels = seed.integers(0, 4, samples)
    first, second = seed.normal(size=(8, 6)) / 2, seed.normal(size=(4, 8)) / 2
    below, above = torch.nn.Linear(6, 8, bias=False), torch.nn.Linear(8, 4, bias=False)
    model = torch.nn.Sequential(below, torch.nn.ReLU(), above).double()
    with torch.no_grad():
        for layer, weight in ((below, first), (above, second)):
            layer.weight.copy_(torch.tensor(weight))
    drive = inputs @ first.T
    hidden = np.maximum(drive, 0)
    chances = np.exp(hidden @ second.T)
    chances /= chances.sum(axis=1, keepdims=True)
    active = (drive > 0).astype(float)
    error = chances - np.eye(4)[labels]
    slopes = (error @ second * active, error)
    # output factors in expectation over all labels
    factors = [np.zeros((8, 8)), np.zeros((4, 4))]
    for label in range(4):
        each = chances - np.eye(4)[label]
        for factor, e in zip(factors, (each @ second * active, each), strict=True):
            factor += (e * chances[:, [label]]).T @ e / samples
    layers = [
        (e.T @ a / samples, a.T @ a / samples, factor)
        for e, a, factor in zip(slopes, (inputs, hidden), factors, strict=True)
    ]
    return model, torch.tensor(inputs), torch.tensor(labels), layers


def first_step(run: Run, kind: Any, *settings: float, **options: Any) -> list[np.ndarray]:
    """Return what an optimiser's first step takes from the weights of :func:`two_layers`."""
    import torch
    from torch.nn.functional import cross_entropy

    from sandbox.claims.benzing2022neurons._experiments import moved

    model, inputs, labels, _ = two_layers(run.seeds.generator("two layers"))
    optimiser = kind(model, 1.0, *settings, **options)
    torch.autograd.backward(cross_entropy(model(inputs), labels))
    return moved(model, optimiser)


@PAPER.claim(
    "one-factor-kfac",
    says="K-FAC without its output factor is FOOF, with the damping λ_A that heuristic damping"
    " gives to the input factor, times 1/λ_E.",
    tag="paper",
    derivation=DAMPING,
)
def one_factor_kfac(run: Run) -> list[Comparison]:
    """Compare K-FAC's step without the output factor with FOOF's, and with the formula."""
    import numpy as np

    from sandbox.optim.foof import FOOF
    from sandbox.optim.kfac import KFAC
    from theory.preconditioning import neuron_step, split_damping

    *_, layers = two_layers(run.seeds.generator("two layers"))
    dampings = run.pick(quick=(1e-4, 1e-2, 1.0), full=(1e-6, 1e-4, 1e-2, 1.0, 100.0))
    errors = np.zeros((len(dampings), 2, 2))
    for i, damping in enumerate(dampings):
        one = first_step(run, KFAC, damping, fisher="exact", output_factor=False)
        for k, (gradient, inputs, outputs) in enumerate(layers):
            over_inputs, over_outputs = split_damping(inputs, outputs, damping)
            formula = neuron_step(gradient, inputs, over_inputs) / over_outputs
            foof = first_step(run, FOOF, over_inputs)[k] / over_outputs
            for j, other in enumerate((formula, foof)):
                errors[i, k, j] = np.abs(one[k] - other).max() / np.abs(other).max()
    return [
        Comparison(
            "K-FAC without the output factor",
            np.zeros(errors.shape),
            errors,
            tolerance=1e-9,
            reason="rounding times the condition of the damped factors, at most a million",
            quantity="relative difference",
            axes=(
                Axis("damping", dampings, log=True),
                Axis("layer", ("first layer", "last layer")),
                Axis("from", ("formula", "FOOF")),
            ),
        )
    ]


@PAPER.claim(
    "standard-damping-spellings",
    says="Standard damping through eigenbases solves the damped Kronecker system exactly. As the"
    " authors' public code spells it, with the left eigenbasis transposed, it does not: it solves"
    " the system of another matrix with the same eigenvalues, right only in the limit of infinite"
    " damping, where both are gradient descent.",
    tag="derived",
    derivation=DAMPING,
)
def standard_damping_spellings(run: Run) -> list[Comparison]:
    """Solve the system as a dense one; compare K-FAC's first steps in both spellings."""
    import numpy as np

    from sandbox.optim.kfac import KFAC

    *_, layers = two_layers(run.seeds.generator("two layers"))
    dampings = run.pick(quick=(1e-3, 1e-1, 10.0, 1e3), full=tuple(10.0**k for k in range(-5, 5)))
    spellings = ("standard", "standard-published")
    away = np.zeros((len(dampings), 2, 2))
    bound = np.zeros((len(dampings), 2))
    for i, damping in enumerate(dampings):
        steps = [first_step(run, KFAC, damping, fisher="exact", rule=rule) for rule in spellings]
        for k, (gradient, inputs, outputs) in enumerate(layers):
            dense = np.kron(outputs, inputs) + damping * np.eye(gradient.size)
            exact = np.linalg.solve(dense, gradient.ravel()).reshape(gradient.shape)
            for j in range(2):
                away[i, k, j] = np.linalg.norm(steps[j][k] - exact) / np.linalg.norm(exact)
            # both inverses are G/λ up to a share s/(s + λ) of it, s the largest eigenvalue
            largest = np.linalg.norm(inputs, 2) * np.linalg.norm(outputs, 2)
            share = largest / (largest + damping)
            bound[i, k] = 2 * share / (1 - share)
    axes = (Axis("damping", dampings, log=True), Axis("layer", ("first layer", "last layer")))
    small = [i for i, damping in enumerate(dampings) if damping <= 1e-3]
    return [
        Comparison(
            "correct spelling against a dense solution",
            np.zeros(bound.shape),
            away[..., 0],
            tolerance=1e-8,
            reason="rounding times the condition of the damped system, at most ten million",
            quantity="relative distance",
            axes=axes,
        ),
        Comparison(
            "published spelling at small damping",
            np.full((len(small), 2), 0.5),
            away[small, :, 1],
            tolerance=0.0,
            reason="half the length of the solution is nothing that rounding could do",
            relation="at_least",
            quantity="relative distance",
            axes=(Axis("damping", tuple(dampings[i] for i in small), log=True), axes[1]),
            log=True,
        ),
        Comparison(
            "published spelling: gradient descent in the limit",
            bound,
            away[..., 1],
            tolerance=1e-12,
            reason="an exact bound, up to rounding",
            relation="at_most",
            quantity="relative distance",
            axes=axes,
            log=True,
        ),
    ]
