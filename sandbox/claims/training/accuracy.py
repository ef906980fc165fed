"""The measures of continual learning against counts of right answers."""

from __future__ import annotations

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.training.paper import PAPER

__all__: list[str] = []


@PAPER.claim(
    "accuracy-identities",
    says="For T tasks learned in turn, average accuracy = learning accuracy + (T − 1)/T × backward"
    " transfer exactly, and forgetting is never less than minus backward transfer.",
    tag="derived",
    derivation=lazy("sandbox.claims.training.derivations:accuracy_identities"),
)
def accuracy_identities(run: Run) -> list[Comparison]:
    """Train plain networks on three streams; count right answers, not accuracies."""
    import numpy as np
    import torch

    from sandbox.training.data import load
    from sandbox.training.loop import fit
    from sandbox.training.models import mlp
    from sandbox.training.plan import Plan
    from sandbox.training.tasks import permuted_tasks, split_tasks
    from theory.streams import Streams

    seeds, epochs = run.pick(quick=(3, 3), full=(20, 20))
    digits = load("digits", scaling="standard")
    plan = Plan(epochs=epochs, batch_size=32)
    names = ("split, shared outputs", "split, own outputs", "permuted")
    shape = (len(names), seeds)
    through, counted = np.empty(shape), np.empty(shape)
    forgetting, lost = np.empty(shape), np.empty(shape)
    for seed in run.progress(range(seeds), label="seeds"):
        own = Streams(run.seeds.integer("network", seed))
        kinds = (
            split_tasks(digits, scenario="domain"),
            split_tasks(digits, scenario="task"),
            permuted_tasks(digits, 3, streams=own),
        )
        for kind, stream in enumerate(kinds):
            network = mlp([64, 32, stream.outputs], streams=own)
            optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
            found = fit(network, stream, optimiser, plan, streams=own).accuracy_matrix()
            share = (found.tasks - 1) / found.tasks
            through[kind, seed] = found.learning + share * found.backward
            forgetting[kind, seed], lost[kind, seed] = found.forgetting, -found.backward
            shares = []
            for task in stream.tasks:
                samples = task.samples("test")
                with torch.no_grad():
                    outputs = network(torch.tensor(samples.inputs)).numpy()
                answers = outputs[:, list(task.outputs) or slice(None)].argmax(axis=1)
                shares.append(np.count_nonzero(answers == samples.targets) / len(samples))
            counted[kind, seed] = sum(shares) / len(shares)
    axes = (Axis("stream", names), Axis("seed", tuple(range(seeds))))
    return [
        Comparison(
            "average accuracy",
            through,
            counted,
            tolerance=1e-12,
            reason="rounding: sums of a dozen fractions",
            quantity="average accuracy",
            axes=axes,
        ),
        Comparison(
            "forgetting against accuracy lost since learning",
            lost,
            forgetting,
            tolerance=1e-12,
            reason="rounding: sums of a dozen fractions",
            relation="at_least",
            quantity="forgetting",
            axes=axes,
        ),
    ]
