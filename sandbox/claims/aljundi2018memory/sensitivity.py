"""Importance is the outputs' sensitivity: what it measures, and that it asks for no labels."""

from __future__ import annotations

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.aljundi2018memory.paper import PAPER

__all__: list[str] = []


@PAPER.claim(
    "sensitivity-of-the-squared-norm",
    says="The importance of a weight is how much the squared norm of the network's outputs changes"
    " with it, one input at a time, averaged over inputs.",
    tag="paper",
)
def sensitivity_of_the_squared_norm(run: Run) -> Comparison:
    """Move weights, one at a time and both ways, and look at the outputs of every input."""
    import numpy as np

    from sandbox.claims.aljundi2018memory._networks import activities, flat, trained
    from sandbox.regularisers import memory_aware

    model, inputs, _ = trained(run.seeds.integer("network"))
    inputs = inputs[: run.pick(quick=200, full=1400)]
    importance = flat(memory_aware(model, inputs, output="logit"))
    # below a hundredth of the largest, differences of squares are rounding: pixels always dark
    generator = run.seeds.generator("weights")
    likely = np.flatnonzero(importance > 0.01 * importance.max())
    chosen = np.sort(generator.permutation(likely)[: run.pick(quick=40, full=200)])
    places = [(p, k) for p in model.parameters() for k in range(p.numel())]
    step = 1e-7
    moved = []
    for index in chosen:
        parameter, place = places[index]
        # a view: what is written there is written into the model
        weight = parameter.detach().view(-1)
        before, squares = weight[place].item(), []
        for sign in (1, -1):
            weight[place] = before + sign * step
            squares.append((activities(model, inputs)[-1] ** 2).sum(axis=1))
        weight[place] = before
        moved.append(np.abs(squares[0] - squares[1]).mean() / (2 * step))
    order = np.argsort(importance[chosen])
    return Comparison(
        "change of the squared norm over that of a weight",
        importance[chosen][order],
        np.array(moved)[order],
        tolerance=1e-3,
        reason="rounding leaves 1e-7; a step that carries one of the inputs across a rectifier's"
        " threshold, where its slope jumps, may cost a thousandth",
        relative=True,
        quantity="importance",
        axes=(Axis("weight, by rank", tuple(map(float, range(len(chosen))))),),
    )


@PAPER.claim(
    "needs-no-labels",
    says="The importance asks for inputs alone: it stays the same, bit for bit, whatever the labels"
    " are, where squared gradients of the loss at given labels change.",
    tag="paper",
)
def needs_no_labels(run: Run) -> list[Comparison]:
    """Permute the labels; leave them out."""
    import numpy as np
    import torch

    from sandbox.claims.aljundi2018memory._networks import flat, trained
    from sandbox.regularisers import fisher_diagonal, memory_aware

    model, inputs, targets = trained(run.seeds.integer("network"))
    order = torch.from_numpy(run.seeds.generator("labels").permutation(len(targets)))
    alone = flat(memory_aware(model, inputs, output="logit"))
    given = {"own labels": targets, "permuted labels": targets[order]}
    found = np.array([
        flat(memory_aware(model, (inputs, labels), output="logit")) for labels in given.values()
    ])
    own, other = (
        flat(fisher_diagonal(model, (inputs, labels), "empirical")) for labels in given.values()
    )
    return [
        Comparison(
            "importance with labels against that of inputs alone",
            np.zeros(2),
            np.abs(found - alone).max(axis=1),
            tolerance=0.0,
            reason="labels take no part in the computation",
            quantity="largest difference",
            axes=(Axis("given", tuple(given)),),
        ),
        Comparison(
            "empirical Fisher diagonal of permuted labels over that of the data's",
            np.array(1.0),
            np.array(other.sum() / own.sum()),
            tolerance=0.0,
            reason="an ordering: wrong labels have the larger gradients",
            relation="at_least",
            quantity="ratio of totals",
        ),
    ]


@PAPER.claim(
    "local-version-is-hebbian",
    says="For the squared norm of a rectifying layer's own output, and inputs that are not"
    " negative, the importance of a weight is twice the mean product of the activities on its two"
    " sides: Hebb's rule.",
    tag="paper",
    derivation=lazy("sandbox.claims.aljundi2018memory._derivations:hebbian_importance"),
)
def local_version_is_hebbian(run: Run) -> list[Comparison]:
    """Take every hidden layer as a network of its own, fed what the layers below give."""
    import numpy as np
    import torch

    from sandbox.claims.aljundi2018memory._networks import activities, trained
    from sandbox.regularisers import memory_aware

    model, inputs, _ = trained(run.seeds.integer("network"))
    fed = activities(model, inputs)
    linear = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
    comparisons = []
    for place, layer in enumerate(linear[:-1]):
        alone = torch.nn.Sequential(layer, torch.nn.ReLU())
        found = memory_aware(alone, torch.from_numpy(fed[place]), output="logit")["0.weight"]
        product = 2 * fed[place + 1].T @ fed[place] / len(inputs)
        order = np.argsort(product, axis=None)
        comparisons.append(
            Comparison(
                f"importance for the output of hidden layer {place + 1}",
                product.ravel()[order],
                found.numpy().ravel()[order],
                tolerance=1e-10,
                reason="double precision: rounding of sums over 1,438 inputs, values up to 10",
                quantity="importance",
                axes=(Axis("weight, by rank", tuple(map(float, range(product.size)))),),
            )
        )
    return comparisons
