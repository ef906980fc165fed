"""Estimates of the Fisher diagonal, as programs make them, against gradients by hand."""

from __future__ import annotations

from typing import Any

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.kirkpatrick2017elastic.paper import PAPER

__all__: list[str] = []

LAYERS = Axis("weights", ("first layer", "last layer"))


@PAPER.claim(
    "batched-fisher-falls-as-one-over-batch",
    says="The squared gradient of batches, which programs take for the Fisher diagonal, is the"
    " squared mean gradient plus (N - b)/(b(N - 1)) of the variance: about 1/b of the empirical"
    " Fisher at batch size b.",
    tag="derived",
    derivation=lazy("theory.importance:batched_fisher"),
)
def batched_fisher_falls(run: Run) -> list[Comparison]:
    """Shuffle the samples, cut them into batches, estimate; per-sample gradients by hand."""
    import numpy as np

    from sandbox.claims.kirkpatrick2017elastic._networks import (
        by_hand,
        flat,
        t_interval,
        trained_network,
    )
    from sandbox.regularisers import fisher_diagonal
    from theory.importance import batched_fisher_mean

    count = 128
    model, inputs, targets = trained_network(run.seeds, count)
    given = by_hand(model, inputs)[1][np.arange(count), targets.numpy()]
    moments = given.mean(axis=0), given.var(axis=0)
    sizes = (4, 16, 32)
    # more orders where there are fewer batches in each
    orders = [run.pick(quick=10, full=100) * factor for factor in (1, 3, 8)]
    border = next(model.parameters()).numel()

    def layers(importance: np.ndarray) -> list[float]:
        """Return the importance of each layer, summed over its weights."""
        return [importance[:border].sum(), importance[border:].sum()]

    predicted = np.array([
        layers(np.asarray(batched_fisher_mean(*moments, b, count))) for b in sizes
    ])
    empirical: np.ndarray = np.array(layers((given**2).mean(axis=0)))
    centre, half = np.empty((2, len(sizes), 2))
    for i, (size, many) in enumerate(zip(sizes, orders, strict=True)):
        found = np.empty((many, 2))
        for k in range(many):
            order = run.seeds.generator(f"order of batches of {size}", k).permutation(count)
            data = (inputs[order], targets[order])
            found[k] = layers(flat(fisher_diagonal(model, data, "batched", batch_size=size)))
        centre[i], half[i] = t_interval(found / predicted[i], 0.999)
    ends = [
        flat(fisher_diagonal(model, (inputs, targets), "batched", batch_size=size))
        for size in (1, count)
    ]
    wanted = [np.asarray(batched_fisher_mean(*moments, size, count)) for size in (1, count)]
    axes = (Axis("batch size", sizes, log=True), LAYERS)
    return [
        Comparison(
            "mean over orders of the samples",
            np.ones(centre.shape),
            centre,
            tolerance=0.2,
            reason="less than the quarter by which 1/b would be off for the largest size",
            relation="inside",
            uncertainty=half,
            confidence=f"99.9 % interval of each of six over {orders[0]} orders or more: less than"
            " one false alarm in 160",
            quantity="summed estimate over its expectation",
            axes=axes,
        ),
        Comparison(
            "batches of one, and one of all samples",
            np.zeros(2),
            np.array([np.abs(a - b).max() / b.max() for a, b in zip(ends, wanted, strict=True)]),
            tolerance=1e-9,
            reason="no order to be drawn: rounding alone",
            quantity="largest error over largest entry",
            axes=(Axis("batch size", (1, count), log=True),),
        ),
        Comparison(
            "batch size times estimate over empirical Fisher",
            np.ones((2, 2)),
            (np.array(sizes)[:, None] * centre * predicted / empirical)[:2],
            tolerance=0.2,
            reason="a factor (N - b)/(N - 1) of 0.88, b - 1 times the share that the squared mean"
            " has of the empirical Fisher, and the interval above",
            quantity="b times batched over empirical",
            axes=(Axis("batch size", sizes[:2], log=True), LAYERS),
        ),
    ]


@PAPER.claim(
    "labels-from-the-model-repair-batches",
    says="With labels drawn from the model, batch size times the squared gradient of a batch is an"
    " unbiased estimate of the exact Fisher diagonal.",
    tag="derived",
    derivation=lazy("theory.importance:batched_fisher"),
)
def labels_from_the_model(run: Run) -> list[Comparison]:
    """Draw labels many times; compare the mean over draws with the sum over all labels."""
    import numpy as np
    import torch

    from sandbox.claims.kirkpatrick2017elastic._networks import (
        by_hand,
        flat,
        t_interval,
        trained_network,
    )
    from sandbox.regularisers import fisher_diagonal

    count, draws = 128, run.pick(quick=40, full=400)
    model, inputs, _ = trained_network(run.seeds, count, steps=10)
    p, scores = by_hand(model, inputs)
    fisher = np.einsum("nc,ncp->p", p, scores**2) / count
    border = next(model.parameters()).numel()
    sizes = (8, 32)
    found = np.empty((draws, len(sizes), 2))
    sums = p.cumsum(axis=1)
    for k in range(draws):
        uniform = run.seeds.generator("labels", k).random((count, 1))
        drawn = torch.tensor((uniform > sums).sum(axis=1).clip(max=p.shape[1] - 1))
        for i, size in enumerate(sizes):
            estimate = flat(fisher_diagonal(model, (inputs, drawn), "batched", batch_size=size))
            for j, part in enumerate((slice(border), slice(border, None))):
                found[k, i, j] = size * estimate[part].sum() / fisher[part].sum()
    centre, half = t_interval(found, 0.999)
    return [
        Comparison(
            "batch size times estimate",
            np.ones(centre.shape),
            centre,
            tolerance=0.2,
            reason="a fourth of what is lost at b = 8 without the factor b",
            relation="inside",
            uncertainty=half,
            confidence=f"99.9 % interval of each of four over {draws} draws: less than one false"
            " alarm in 250",
            quantity="summed estimate over exact Fisher",
            axes=(Axis("batch size", sizes, log=True), LAYERS),
        )
    ]


@PAPER.claim(
    "exact-fisher-is-expected-curvature",
    says="The Fisher diagonal over all labels is the diagonal of the Gauss-Newton matrix, and of"
    " the Hessian in expectation over the model's labels; that over the given labels is neither.",
    tag="standard",
    derivation=lazy("theory.preconditioning:fisher_gauss_newton"),
)
def exact_fisher_is_curvature(run: Run) -> list[Comparison]:
    """Form the Jacobian and every label's Hessian by automatic differentiation."""
    import numpy as np
    import torch
    from torch.nn.functional import linear

    from sandbox.claims.kirkpatrick2017elastic._networks import flat
    from sandbox.regularisers import fisher_diagonal

    generator = run.seeds.generator("net")
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 3)
    ).double()
    shapes = [weight.shape for weight in model.parameters()]
    sizes = [weight.numel() for weight in model.parameters()]
    start = torch.tensor(generator.normal(size=sum(sizes)))
    inputs = torch.tensor(generator.normal(size=(run.pick(quick=6, full=30), 4)))
    targets = torch.tensor(generator.integers(0, 3, len(inputs)))
    ends = np.cumsum(sizes)
    functional: Any = torch.autograd.functional

    def cut(vector: torch.Tensor) -> list[torch.Tensor]:
        """Return a flat vector in the shapes of the parameters."""
        places = zip(ends - sizes, ends, shapes, strict=True)
        return [vector[a:b].view(shape) for a, b, shape in places]

    def outputs(vector: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return the logits at one input as a function of the flat parameters."""
        first, shift, second, last = cut(vector)
        return linear(linear(x, first, shift).tanh(), second, last)

    def loss(vector: torch.Tensor, x: torch.Tensor, label: int) -> torch.Tensor:
        """Return -log p of a label."""
        return -outputs(vector, x).log_softmax(0)[label]

    newton, curved = torch.zeros(2, sum(sizes), dtype=torch.float64)
    for x in inputs:
        slopes = functional.jacobian(lambda vector, x=x: outputs(vector, x), start)
        p = outputs(start, x).softmax(0)
        inner = torch.diag(p) - torch.outer(p, p)
        newton += (slopes * (inner @ slopes)).sum(0) / len(inputs)
        for label in range(3):
            each = functional.hessian(
                lambda vector, x=x, label=label: loss(vector, x, label), start
            )
            curved += p[label] * each.diagonal() / len(inputs)
    with torch.no_grad():
        for weight, part in zip(model.parameters(), cut(start), strict=True):
            weight.copy_(part)
    exact = flat(fisher_diagonal(model, inputs))
    empirical = flat(fisher_diagonal(model, (inputs, targets), "empirical"))
    largest = float(newton.max())
    errors = [np.abs(exact - other.numpy()).max() / largest for other in (newton, curved)]
    return [
        Comparison(
            "over all labels",
            np.zeros(2),
            np.array(errors),
            tolerance=1e-12,
            reason="rounding of some hundred products of numbers of order one",
            quantity="largest difference over largest entry",
            axes=(Axis("from", ("Gauss-Newton", "expected Hessian")),),
        ),
        Comparison(
            "over the given labels",
            np.array(0.1),
            np.abs(empirical - newton.numpy()).max() / largest,
            tolerance=0.0,
            reason="a tenth of the largest entry is nothing that rounding could do",
            relation="at_least",
            quantity="largest difference over largest entry",
        ),
    ]
