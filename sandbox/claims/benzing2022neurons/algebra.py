"""What holds exactly: the steps as formulas, the two scalings, and relatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.benzing2022neurons.paper import PAPER

if TYPE_CHECKING:
    import numpy as np

__all__: list[str] = []

NEURONS = lazy("theory.preconditioning:neuron_descent")
SCALING = lazy("theory.preconditioning:preconditioner_scaling")
MUON = lazy("theory.preconditioning:muon_half_power")


@PAPER.claim(
    "toy-in-one-step",
    says="Two inputs (3, 1) and (1, 0) with targets 1 and −1: every step along the gradient,"
    " however short, takes the second sample further from its target (a step η makes its loss"
    " (1 + η)²/2, from 1/2); one step of FOOF fits both.",
    tag="paper",
    derivation=NEURONS,
)
def toy_in_one_step(run: Run) -> list[Comparison]:
    """Let torch's SGD and FOOF make one step from zero weights."""
    import numpy as np
    import torch

    from sandbox.optim.foof import FOOF

    inputs = torch.tensor([[3.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    targets = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)

    def after_one_step(make: Any) -> np.ndarray:
        model = torch.nn.Linear(2, 1, bias=False, dtype=torch.float64)
        torch.nn.init.zeros_(model.weight)
        optimiser = make(model)
        (0.5 * (model(inputs) - targets).square().sum(dim=1).mean()).backward()
        optimiser.step()
        outputs: np.ndarray = model(inputs).detach().numpy().ravel()
        return outputs

    damping = 1e-10
    fitted = after_one_step(lambda model: FOOF(model, 1.0, damping))
    rates = np.geomspace(1e-3, 1.0, run.pick(quick=7, full=61))
    ends = [
        after_one_step(lambda model, lr=float(lr): torch.optim.SGD(model.parameters(), lr))
        for lr in rates
    ]
    second = 0.5 * (np.array(ends)[:, 1] + 1) ** 2
    return [
        Comparison(
            "outputs after one step of FOOF",
            np.array([1.0, -1.0]),
            fitted,
            tolerance=1e-8,
            reason="damping 1e-10 over 0.046, the least eigenvalue of the inputs' covariance",
            quantity="output",
            axes=(Axis("sample", ("(3, 1)", "(1, 0)")),),
        ),
        Comparison(
            "second sample after one step of SGD",
            (1 + rates) ** 2 / 2,
            second,
            tolerance=1e-12,
            reason="rounding; the shortest step raises the loss by 1e-3, from 1/2",
            quantity="loss of the second sample",
            axes=(Axis("learning rate", tuple(rates), log=True),),
            log=True,
        ),
    ]


@PAPER.claim(
    "two-scalings",
    says="With input covariances summed over a batch of B, as in the authors' public code, learning"
    " rate η and damping λ make the steps that η/B and λ/B make with averages. So the paper's"
    " FOOF (30, 100) at batch 100 is (0.3, 1), its K-FAC (0.3, 1) is (0.003, 0.01).",
    tag="derived",
    derivation=SCALING,
)
def two_scalings(run: Run) -> Comparison:
    """Train with both scalings from the same start; compare weights along the way."""
    import numpy as np
    import torch
    from torch.nn.functional import cross_entropy

    from sandbox.claims.benzing2022neurons._presets import preset
    from sandbox.optim.foof import FOOF
    from sandbox.optim.kfac import KFAC
    from sandbox.training.data import load
    from sandbox.training.models import mlp
    from theory.preconditioning import scaled_settings

    updates, size = run.pick(quick=(8, 100), full=(100, 100))
    train = load("digits", scaling="standard", dtype="float64").train
    rows = run.seeds.generator("batches").choice(len(train), (updates, size))
    kinds: dict[str, tuple[Any, dict[str, Any], tuple[str, str]]] = {
        "FOOF": (FOOF, {}, ("4B", "FOOF")),
        "K-FAC": (KFAC, {"rule": "heuristic"}, ("4B", "K-FAC")),
        "K-FAC, standard": (KFAC, {"rule": "standard"}, ("3A", "K-FAC, standard")),
    }

    def path(kind: Any, lr: float, damping: float, **options: Any) -> np.ndarray:
        model = mlp((64, 16, 10), streams=run.seeds, bias=False, dtype=torch.float64)
        optimiser = kind(model, lr, damping, T=2, S=2, **options)
        ends = []
        for chosen in rows:
            inputs, labels = (torch.tensor(part[chosen]) for part in (train.inputs, train.targets))
            optimiser.zero_grad()
            torch.autograd.backward(cross_entropy(model(inputs), labels))
            optimiser.step()
            ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]).norm())
        return torch.stack(ends).numpy()

    predicted, measured = [], []
    for kind, options, (figure, arm) in kinds.values():
        printed = preset(figure, arm)
        rule = {"K-FAC": "heuristic", "K-FAC, standard": "standard"}.get(arm, "foof")
        rate, damping = scaled_settings(printed.lr, printed.damping or 0.0, size, rule=rule)
        predicted.append(path(kind, rate, damping, scaling="mean", **options))
        measured.append(path(kind, printed.lr, printed.damping or 0.0, scaling="paper", **options))
    return Comparison(
        "length of all weights along the way",
        np.array(predicted).T,
        np.array(measured).T,
        tolerance=1e-9,
        reason="rounding of inverses with condition numbers of some thousands, step after step",
        relative=True,
        quantity="norm of the weights",
        axes=(Axis("update", tuple(range(1, updates + 1))), Axis("optimiser", tuple(kinds))),
    )


@PAPER.claim(
    "muon-half-power",
    says="Where the errors of different samples are orthogonal and of equal length, the polar"
    " factor of the gradient, which Muon steps along, is FOOF with the inverse root of the"
    " covariance; where they are not, it is not.",
    tag="derived",
    derivation=MUON,
)
def muon_half_power(run: Run) -> list[Comparison]:
    """Compare FOOF's step with torch's Muon and with a singular value decomposition."""
    import numpy as np
    import torch

    from sandbox.claims.benzing2022neurons._experiments import moved
    from sandbox.optim.foof import FOOF

    draws = run.pick(quick=4, full=40)
    kinds = ("orthonormal", "random")
    from_polar = np.empty((2, draws))
    from_muon = np.empty(draws)
    singular = []
    for draw in range(draws):
        seed = run.seeds.generator("errors", draw)
        inputs = torch.tensor(seed.normal(size=(10, 6)))
        random = torch.tensor(seed.normal(size=(10, 16)))
        for k, errors in enumerate((torch.linalg.qr(random.T)[0].T, random / 4)):
            steps = []
            for name in ("FOOF", "Muon", "Muon, convergent"):
                model = torch.nn.Linear(6, 16, bias=False, dtype=torch.float64)
                torch.nn.init.zeros_(model.weight)
                # the last name is of a known factor: 0.2 sqrt(16)
                plain: dict[str, Any] = {"weight_decay": 0.0, "momentum": 0.0, "nesterov": False,
                                         "adjust_lr_fn": "match_rms_adamw"}  # fmt: skip
                if name == "Muon, convergent":
                    plain |= {"ns_coefficients": (1.875, -1.25, 0.375), "ns_steps": 30}
                optimiser: torch.optim.Optimizer = (
                    FOOF(model, 1.0, 1e-12, power=0.5)
                    if name == "FOOF"
                    else torch.optim.Muon(model.parameters(), 1.0, **plain)
                )
                # half the squared error against targets that leave these errors
                (0.5 * (model(inputs) + errors).square().sum(dim=1).mean()).backward()
                gradient = next(model.parameters()).grad
                steps.append(moved(model, optimiser)[0])
            left, _, right = np.linalg.svd(np.asarray(gradient), full_matrices=False)
            # both are means over n samples: G'G = A/n for orthonormal errors
            foof = steps[0] * np.sqrt(len(inputs))
            from_polar[k, draw] = np.abs(foof - left @ right).max()
            if k == 0:
                singular.append(np.linalg.svd(steps[1] / 0.8, compute_uv=False))
                from_muon[draw] = np.abs(steps[2] / 0.8 - foof).max()
    axis = Axis("draw", tuple(range(draws)))
    values = np.array(singular)
    return [
        Comparison(
            "FOOF from the polar factor, orthonormal errors",
            np.zeros(draws),
            from_polar[0],
            tolerance=1e-9,
            reason="damping 1e-12 over the least eigenvalue of the covariance, above 1e-2",
            quantity="largest difference of an entry",
            axes=(axis,),
        ),
        Comparison(
            f"FOOF from the polar factor, {kinds[1]} errors",
            np.full(draws, 0.05),
            from_polar[1],
            tolerance=0.0,
            reason="a fifth of the entries' root mean square, 1/4: no rounding error",
            relation="at_least",
            quantity="largest difference of an entry",
            axes=(axis,),
        ),
        Comparison(
            "FOOF from torch's Muon with a convergent iteration",
            np.zeros(draws),
            from_muon,
            tolerance=2**-6,
            reason="the iteration runs in bfloat16, which has 8 bits; entries are below 1",
            quantity="largest difference of an entry",
            axes=(axis,),
        ),
        Comparison(
            "torch's Muon as it comes: singular values that should be 1",
            np.ones(values.shape),
            values,
            tolerance=0.35,
            reason="its five steps map (0, 1] into 0.68 to 1.14 at best; bfloat16 adds a few per"
            " cent",
            quantity="singular value",
            axes=(axis, Axis("number", tuple(range(1, 7)))),
        ),
    ]
