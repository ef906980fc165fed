"""Gradient descent: the loop and the ensemble against a closed form and against each other."""

from __future__ import annotations

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.training.paper import PAPER

__all__: list[str] = []

QUADRATIC = lazy("sandbox.claims.training.derivations:quadratic_descent")
ROUNDING = 1e-10


@PAPER.claim(
    "quadratic-descent",
    says="On linear regression, full-batch gradient descent moves every eigenmode of the Hessian"
    " geometrically: c(t) = (1 − ηλ)ᵗ c(0) + (1 − (1 − ηλ)ᵗ) b/λ. So do a network in the loop and"
    " all members of an ensemble with different learning rates, those that diverge included.",
    tag="standard",
    derivation=QUADRATIC,
)
def quadratic_descent(run: Run) -> list[Comparison]:
    """Compare the losses along the path with those of the closed form."""
    import numpy as np
    import torch

    from sandbox.training.data import load, one_hot
    from sandbox.training.ensembles import Descent, fit_ensemble
    from sandbox.training.loop import fit
    from sandbox.training.models import mlp
    from sandbox.training.plan import Plan

    steps = run.pick(quick=40, full=1000)
    rates = np.array([0.02, 0.05, 0.1, 0.2])
    digits = load("digits", dtype="float64")
    plan = Plan(epochs=steps, batch_size=None, loss="squared")

    def network(_: int = 0) -> torch.nn.Module:
        return mlp([64, 10], streams=run.seeds, bias=False, dtype=torch.float64)

    alone = network()
    start = next(alone.parameters()).detach().numpy().copy()
    optimiser = torch.optim.SGD(alone.parameters(), lr=rates[0])
    history = fit(alone, digits, optimiser, plan, streams=run.seeds)
    members = [network() for _ in rates]
    histories = fit_ensemble(members, digits, Descent("sgd", rates), plan, streams=run.seeds)

    inputs, outputs = digits.train.inputs, one_hot(digits.train.targets, 10)
    values, vectors = np.linalg.eigh(inputs.T @ inputs / len(inputs))
    slopes = vectors.T @ (inputs.T @ outputs) / len(inputs)
    times = np.arange(1, steps + 1)

    def losses(rate: float) -> np.ndarray:
        """Return the test loss after each step, from the closed form."""
        shrink = (1 - rate * values) ** times[:, None]
        # (1 - x^t) / lambda as a sum of powers where lambda is zero or nearly so
        gain = np.where(
            values > 1e-12, (1 - shrink) / np.maximum(values, 1e-12), rate * times[:, None]
        )
        path = shrink[:, :, None] * (vectors.T @ start.T) + gain[:, :, None] * slopes
        errors = digits.test.inputs @ (vectors @ path) - one_hot(digits.test.targets, 10)
        return np.asarray(0.5 * np.square(errors).sum(axis=2).mean(axis=1))

    predicted = np.stack([losses(rate) for rate in rates], axis=1)
    reason = "rounding: some hundred float64 operations a step"
    time = Axis("step", tuple(times))
    return [
        Comparison(
            "loop",
            predicted[:, 0],
            history.column("test_loss")[1:],
            tolerance=ROUNDING,
            reason=reason,
            relative=True,
            quantity="test loss",
            axes=(time,),
        ),
        Comparison(
            "ensemble",
            predicted,
            np.stack([h.column("test_loss")[1:] for h in histories], axis=1),
            tolerance=ROUNDING,
            reason=reason,
            relative=True,
            quantity="test loss",
            axes=(time, Axis("learning rate", tuple(rates))),
            log=True,
        ),
    ]


@PAPER.claim(
    "ensemble-equals-loop",
    says="A network trained inside a vectorised ensemble (SGD, momentum, Adam) takes the path of"
    " the same network trained alone, up to rounding.",
    tag="derived",
)
def ensemble_equals_loop(run: Run) -> list[Comparison]:
    """Train the same networks twice, and compare losses and weights."""
    import numpy as np
    import torch

    from sandbox.training.data import load
    from sandbox.training.ensembles import Descent, fit_ensemble
    from sandbox.training.loop import fit
    from sandbox.training.models import mlp
    from sandbox.training.plan import Plan
    from theory.streams import Streams

    count, epochs = run.pick(quick=(4, 4), full=(16, 30))
    digits = load("digits", dtype="float64")
    plan = Plan(epochs=epochs, batch_size=50, schedule="cosine")
    streams = [Streams(run.seeds.integer("member", i)) for i in range(count)]
    rules = {
        "SGD": (Descent("sgd", 0.2), torch.optim.SGD, {"lr": 0.2}),
        "momentum": (Descent("sgd", 0.05, 0.9), torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
        "Adam": (Descent("adam", 0.01), torch.optim.Adam, {"lr": 0.01}),
    }

    def networks() -> list[torch.nn.Module]:
        return [
            mlp([64, 16, 10], streams=run.seeds, index=i, dtype=torch.float64) for i in range(count)
        ]

    alone, together, apart = [], [], []
    for rule, kind, options in run.progress(rules.values(), label="rules"):
        ones, many = networks(), networks()
        histories = [
            fit(net, digits, kind(net.parameters(), **options), plan, streams=own)
            for net, own in zip(ones, streams, strict=True)
        ]
        alone.append([h.column("train_loss")[1:] for h in histories])
        histories = fit_ensemble(many, digits, rule, plan, streams=streams)
        together.append([h.column("train_loss")[1:] for h in histories])
        apart.append(
            max(
                float((p - q).detach().abs().max())
                for one, copy in zip(ones, many, strict=True)
                for p, q in zip(one.parameters(), copy.parameters(), strict=True)
            )
        )
    reason = "rounding: sums are taken in another order, some hundred steps"
    axes = (Axis("epoch", tuple(range(1, epochs + 1))), Axis("rule", tuple(rules)))
    first, other = (np.array(losses)[:, 0].T for losses in (alone, together))
    return [
        Comparison(
            "training loss of the first member",
            first,
            other,
            tolerance=ROUNDING,
            reason=reason,
            quantity="training loss",
            unit="nat",
            axes=axes,
            log=True,
        ),
        Comparison(
            "largest difference of a weight, all members",
            np.zeros(len(rules)),
            np.array(apart),
            tolerance=ROUNDING,
            reason=reason,
            quantity="difference",
            axes=(Axis("rule", tuple(rules)),),
        ),
    ]
