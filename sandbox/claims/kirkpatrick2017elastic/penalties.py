"""Separate penalties, one penalty, the newest anchor: what is equal to what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.kirkpatrick2017elastic.paper import PAPER

if TYPE_CHECKING:
    import numpy as np

__all__: list[str] = []

MERGED = lazy("theory.importance:merged_penalties")


@PAPER.claim(
    "separate-penalties-are-one",
    says="A penalty for every task, each round its own anchor, is one penalty round the mean of"
    " the anchors weighted by importance. The online form with decay 1 and the newest anchor"
    " differs from it by a constant force, twice the sum of importance times distance of the"
    " older anchors from the newest.",
    tag="derived",
    derivation=MERGED,
)
def separate_penalties_are_one(run: Run) -> list[Comparison]:
    """Consolidate three tasks in both ways; sum the penalties and forces by hand."""
    import numpy as np
    import torch

    from sandbox.regularisers import QuadraticPenalty
    from theory.importance import merge_penalties

    tasks, size, strength = run.pick(quick=3, full=8), 40, 0.7
    generator = run.seeds.generator("tasks")
    importances = generator.exponential(size=(tasks, size))
    anchors = generator.normal(size=(tasks, size))
    places = generator.normal(size=(5, size))
    model = torch.nn.Linear(size, 1, bias=False).double()
    separate = QuadraticPenalty(strength, "separate")
    online = QuadraticPenalty(strength, "online", 1.0)
    for importance, anchor in zip(importances, anchors, strict=True):
        _place(model, anchor)
        for penalty in (separate, online):
            penalty.consolidate({"weight": torch.tensor(importance)[None]}, model)
    values, forces = np.empty((5, 2)), np.empty((5, 2, size))
    for i, place in enumerate(places):
        _place(model, place)
        for j, penalty in enumerate((separate, online)):
            value = penalty.penalty(model)
            values[i, j] = value.item()
            forces[i, j] = torch.autograd.grad(value, model.weight)[0].numpy()[0]
    away = places[:, None] - anchors
    summed = strength * (importances * away**2).sum(axis=(1, 2))
    pull = 2 * strength * (importances * (anchors[-1] - anchors)).sum(axis=0)
    newest = strength * (importances.sum(axis=0) * away[:, -1] ** 2).sum(axis=1)
    merged = merge_penalties(importances, anchors)
    at = Axis("place", tuple(range(5)))
    order = "the same sums of some hundred terms in another order"
    return [
        Comparison(
            "penalties",
            np.stack([summed, newest], axis=1),
            values,
            tolerance=1e-12,
            reason=order,
            relative=True,
            quantity="penalty",
            axes=(at, Axis("anchors", ("separate", "newest"))),
        ),
        Comparison(
            "what is left at the weighted mean",
            np.array(merged.constant),
            np.array(separate.constant),
            tolerance=1e-12,
            reason=order,
            relative=True,
            quantity="constant over strength",
        ),
        Comparison(
            "force of the separate penalties less that of the newest anchor",
            np.zeros(5),
            np.abs(forces[:, 0] - forces[:, 1] - pull).max(axis=1) / np.abs(pull).max(),
            tolerance=1e-12,
            reason=order,
            quantity="largest error over largest force",
            axes=(at,),
        ),
    ]


def _place(model: Any, weights: np.ndarray) -> None:
    """Put a linear model at some weights."""
    import torch

    with torch.no_grad():
        model.weight.copy_(torch.tensor(weights).reshape(model.weight.shape))


def _minimise(model: Any, objective: Any) -> np.ndarray:
    """Put a model at the minimum of a quadratic objective by one Newton step; return it."""
    import numpy as np
    import torch

    (slope,) = torch.autograd.grad(objective(model), model.weight, create_graph=True)
    rows = [
        torch.autograd.grad(each, model.weight, retain_graph=True)[0].numpy()[0]
        for each in slope[0]
    ]
    step = np.linalg.solve(np.array(rows), slope.detach().numpy()[0])
    weights: np.ndarray = model.weight.detach().numpy()[0] - step
    _place(model, weights)
    return weights


def _regressions(
    run: Run, tasks: int, samples: int, size: int, *, correlated: bool
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return linear regressions with different solutions; inputs correlated, or orthogonal."""
    import numpy as np

    found = []
    for k in range(tasks):
        generator = run.seeds.generator("regression", k)
        inputs = generator.normal(size=(samples, size))
        inputs = np.linalg.qr(inputs)[0] * generator.uniform(1.0, 5.0, size)
        if correlated:
            inputs = inputs @ generator.normal(size=(size, size))
        noise = 0.3 * generator.normal(size=samples)
        found.append((inputs, inputs @ generator.normal(size=size) + noise))
    return found


@PAPER.claim(
    "quadratic-losses-are-kept-exactly",
    says="On tasks with quadratic losses, learned one after the other, the penalty with the full"
    " Fisher matrix and the newest anchor ends exactly where training on all tasks together does."
    " With the diagonal alone it does so if no two inputs are correlated, and misses otherwise.",
    tag="derived",
    derivation=MERGED,
)
def quadratic_losses_are_kept(run: Run) -> list[Comparison]:
    """Fit linear regressions in sequence by minimising loss and penalty; solve them at once."""
    import numpy as np
    import torch

    from sandbox.regularisers import QuadraticPenalty, fisher_diagonal

    tasks, samples, size = 4, 30, 6
    ways = ("diagonal, uncorrelated", "full, correlated", "diagonal, correlated")
    away, forgotten = np.empty(3), np.empty(3)
    for i, way in enumerate(ways):
        data = _regressions(run, tasks, samples, size, correlated="un" not in way)
        model = torch.nn.Linear(size, 1, bias=False).double()
        _place(model, np.zeros(size))
        # equally many samples a task: the sum of mean losses is the loss of all of them
        diagonal = QuadraticPenalty(0.5, "online")
        full = np.zeros((size, size))
        anchor = np.zeros(size)
        for x, y in data:
            inputs, wanted = torch.tensor(x), torch.tensor(y)
            matrix, centre = torch.tensor(full), torch.tensor(anchor)

            def objective(
                model: Any,
                inputs: Any = inputs,
                wanted: Any = wanted,
                matrix: Any = matrix,
                centre: Any = centre,
                way: str = way,
                diagonal: QuadraticPenalty = diagonal,
            ) -> Any:
                """Return half the mean squared error and the penalty."""
                loss = (model(inputs)[:, 0] - wanted).square().mean() / 2
                if "full" in way:
                    off = model.weight[0] - centre
                    return loss + 0.5 * off @ matrix @ off
                return loss + diagonal.penalty(model)

            anchor = _minimise(model, objective)
            full = full + x.T @ x / samples
            fisher = fisher_diagonal(model, (inputs, wanted[:, None]), likelihood="gaussian")
            diagonal.consolidate(fisher, model)
        every = np.concatenate([x for x, _ in data]), np.concatenate([y for _, y in data])
        joint, least, *_ = np.linalg.lstsq(*every, rcond=None)
        start = np.linalg.lstsq(*data[-1], rcond=None)[0]
        away[i] = np.linalg.norm(anchor - joint) / np.linalg.norm(start - joint)
        forgotten[i] = ((every[0] @ anchor - every[1]) ** 2).sum() / least[0] - 1
    return [
        Comparison(
            "distance from the joint solution",
            np.zeros(2),
            away[:2],
            tolerance=1e-9,
            reason="rounding times the condition of four solutions, at most a hundred thousand",
            quantity="over that of the last task's own solution",
            axes=(Axis("penalty and inputs", ways[:2]),),
        ),
        Comparison(
            "distance with the diagonal, inputs correlated",
            np.array(0.01),
            away[2],
            tolerance=0.0,
            reason="ten million times what rounding leaves",
            relation="at_least",
            quantity="over that of the last task's own solution",
        ),
        Comparison(
            "squared error over all tasks with the diagonal, inputs correlated",
            np.array(0.01),
            forgotten[2],
            tolerance=0.0,
            reason="one hundredth more than the least possible shows that something is forgotten",
            relation="at_least",
            quantity="excess over the least, over the least",
        ),
    ]


@PAPER.claim(
    "separate-anchors-count-twice",
    says="Separate penalties count the first task twice, as the second anchor was found under its"
    " penalty: for two quadratic losses of curvatures F₁ and F₂ their centre is"
    " F₁F₂/(F₁ + F₂)² times the distance of the two solutions off the joint one, that of the newest"
    " anchor is the joint one.",
    tag="derived",
    derivation=MERGED,
)
def separate_anchors_count_twice(run: Run) -> list[Comparison]:
    """Learn two regressions with uncorrelated inputs; read the penalties' centres."""
    import numpy as np
    import torch

    from sandbox.regularisers import QuadraticPenalty, fisher_diagonal

    samples, size = 30, 6
    data = _regressions(run, 2, samples, size, correlated=False)
    curvatures = [(x**2).mean(axis=0) for x, _ in data]
    solutions = [np.linalg.lstsq(x, y, rcond=None)[0] for x, y in data]
    joint = sum(F * a for F, a in zip(curvatures, solutions, strict=True)) / sum(curvatures)
    model = torch.nn.Linear(size, 1, bias=False).double()
    _place(model, np.zeros(size))
    penalties = QuadraticPenalty(0.5, "online"), QuadraticPenalty(0.5, "separate")
    for x, y in data:
        inputs, wanted = torch.tensor(x), torch.tensor(y)

        def objective(model: Any, inputs: Any = inputs, wanted: Any = wanted) -> Any:
            """Return half the mean squared error and the penalty."""
            loss = (model(inputs)[:, 0] - wanted).square().mean() / 2
            return loss + penalties[0].penalty(model)

        _minimise(model, objective)
        fisher = fisher_diagonal(model, (inputs, wanted[:, None]), likelihood="gaussian")
        for penalty in penalties:
            penalty.consolidate(fisher, model)
    found = []
    for penalty in penalties:
        assert penalty.anchor is not None
        found.append(penalty.anchor["weight"].numpy()[0])
    first, second = curvatures
    off = first * second / (first + second) ** 2 * (solutions[0] - solutions[1])
    return [
        Comparison(
            "centres of the penalties",
            np.array([joint, joint + off]),
            np.array(found),
            tolerance=1e-11,
            reason="rounding times the condition of a few solutions, at most a hundred",
            quantity="weight",
            axes=(
                Axis("anchors", ("newest", "separate")),
                Axis("weight", tuple(range(size))),
            ),
        )
    ]
