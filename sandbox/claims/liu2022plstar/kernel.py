"""The tangent kernel: what it says of the gradient, and how well Gaussian ones are conditioned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.liu2022plstar.paper import PAPER

if TYPE_CHECKING:
    import numpy as np

__all__: list[str] = []

CONDITIONING = lazy("theory.descent_rates:pl_linear_rate")
TWO_EQUATIONS = lazy("sandbox.claims.liu2022plstar._derivations:two_equations_condition")
FOUR = "4 standard errors over draws (false alarm 6e-5 a point)"


def networks(run: Run) -> dict[str, Any]:
    """Return small float64 networks of two and three layers, by what they are."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seeds.integer("networks"))
        nn = torch.nn
        chosen = {
            "tanh 2-12-3": nn.Sequential(nn.Linear(2, 12), nn.Tanh(), nn.Linear(12, 3)),
            "ReLU 2-40-1": nn.Sequential(nn.Linear(2, 40), nn.ReLU(), nn.Linear(40, 1)),
            "tanh 2-10-10-2": nn.Sequential(
                nn.Linear(2, 10), nn.Tanh(), nn.Linear(10, 10), nn.Tanh(), nn.Linear(10, 2)
            ),
        }
    return {name: module.double() for name, module in chosen.items()}


@PAPER.claim(
    "gradient-identity",
    says="The squared gradient of half the squared error is rᵀKr, r being the errors and K the"
    " tangent kernel; half of it over the loss is therefore at least the least eigenvalue of K,"
    " at every point that gradient descent passes.",
    tag="paper",
    derivation=CONDITIONING,
)
def gradient_identity(run: Run) -> list[Comparison]:
    """Descend with torch; hold each gradient against the structured tangent kernel."""
    import numpy as np
    import torch

    from sandbox.landscape import kernel_matrix, tangent_kernel

    generator = run.seeds.generator("data")
    samples, marks = 6, (0, 1, 3, 10, 30, 100, 300)
    inputs = torch.from_numpy(generator.standard_normal((samples, 2)))
    identity, condition = [], []
    chosen = networks(run)
    for module in run.progress(chosen.values(), label="networks"):
        weights = list(module.parameters())
        shape = module(inputs).shape
        targets = torch.from_numpy(generator.standard_normal(shape))
        for step in range(max(marks) + 1):
            error = module(inputs) - targets
            loss = error.square().sum() / 2
            half = loss.item()
            slopes = torch.autograd.grad(loss, weights)
            if step in marks:
                squared = float(sum(part.square().sum() for part in slopes))
                kernel = kernel_matrix(tangent_kernel(module, inputs)).numpy()
                r = error.detach().numpy().ravel()
                identity.append((r @ kernel @ r, squared))
                condition.append((np.linalg.eigvalsh(kernel)[0], squared / (2 * half)))
            with torch.no_grad():
                for weight, part in zip(weights, slopes, strict=True):
                    weight -= 0.02 * part
    both, bound = (
        np.array(pairs).reshape(len(chosen), len(marks), 2).transpose(2, 1, 0)
        for pairs in (identity, condition)
    )
    axes = (
        Axis("point", tuple(f"step {mark}" for mark in marks)),
        Axis("network", tuple(chosen)),
    )
    return [
        Comparison(
            "squared gradient",
            both[0],
            both[1],
            tolerance=1e-10,
            reason="rounding: sums of some hundred products in double precision",
            relative=True,
            quantity="rᵀKr and |∇L|²",
            axes=axes,
            log=True,
        ),
        Comparison(
            "half the squared gradient over the loss, against the least eigenvalue",
            bound[0],
            bound[1],
            tolerance=1e-10,
            reason="rounding",
            relation="at_least",
            quantity="|∇L|²/2L",
            axes=axes,
            log=True,
        ),
    ]


@PAPER.claim(
    "gaussian-conditioning",
    says="A Gaussian n × m Jacobian is the better conditioned the more parameters it has: the mean"
    " of log κ(K) is below 2 log(m/(m−n+1)) + 5, and for two equations it is B((m−1)/2, 1/2)"
    " exactly (derived here).",
    tag="paper",
    derivation=TWO_EQUATIONS,
)
def gaussian_conditioning(run: Run) -> list[Comparison]:
    """Draw Gaussian matrices of ten rows and of two."""
    import numpy as np
    from scipy.special import beta

    draws = run.pick(quick=1500, full=40_000)

    def sampled(rows: int, columns: tuple[int, ...], draws: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean of log kappa and four standard errors, by number of columns."""
        means, widths = [], []
        for m in columns:
            generator = run.seeds.generator(f"matrices of {rows} rows", m)
            # a few at a time: all at once would take gigabytes at full scale
            logs = np.concatenate([
                2 * np.ptp(np.log(np.linalg.svd(part, compute_uv=False)), axis=1)
                for part in (generator.standard_normal((500, rows, m)) for _ in range(draws // 500))
            ])  # fmt: skip
            means.append(logs.mean())
            widths.append(4 * logs.std(ddof=1) / np.sqrt(len(logs)))
        return np.array(means), np.array(widths)

    rows, many = 10, (11, 12, 15, 20, 40, 100, 200)
    mean, width = sampled(rows, many, draws)
    grid = np.geomspace(many[0], many[-1], 81)
    few = (2, 3, 4, 6, 10, 20, 50)
    exact, spread = sampled(2, few, 10 * draws)
    fine = np.geomspace(few[0], few[-1], 81)
    return [
        Comparison(
            "ten equations",
            2 * np.log(np.array(many) / (np.array(many) - rows + 1)) + 5,
            mean,
            tolerance=0.0,
            reason="a bound, held against four standard errors",
            relation="at_most",
            uncertainty=width,
            confidence=FOUR,
            quantity="mean of log κ(K)",
            axes=(Axis("parameters m", many, log=True),),
            curve=(grid, 2 * np.log(grid / (grid - rows + 1)) + 5),
        ),
        Comparison(
            "two equations",
            np.asarray(beta((np.array(few) - 1) / 2, 0.5), dtype=float),
            exact,
            tolerance=0.08,
            reason="four standard errors, at most a fortieth of the largest mean",
            relation="inside",
            uncertainty=spread,
            confidence=FOUR,
            quantity="mean of log κ(K)",
            axes=(Axis("parameters m", few, log=True),),
            curve=(fine, np.asarray(beta((fine - 1) / 2, 0.5), dtype=float)),
        ),
    ]
