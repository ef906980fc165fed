"""What lies outside the theorems: not certified, and not solved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.liu2022plstar.paper import PAPER

if TYPE_CHECKING:
    import numpy as np

__all__: list[str] = []

FLOORS = lazy("sandbox.claims.liu2022plstar._derivations:loss_floors")
STEPS = 100


def unsolved(run: Run) -> list[tuple[str, Any, float, float]]:
    """Return starts outside the theorems: name, instance, step (0: its own), floor of the loss."""
    import numpy as np

    from sandbox.claims.liu2022plstar._experiments import ReluNetwork, TanhNetwork
    from sandbox.claims.liu2022plstar._instances import MATRIX, Instance, chain, linear
    from theory.tangent_models import TwoLayer

    few = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    generator = run.seeds.generator("outside")
    signs = generator.choice([-1.0, 1.0], 50)
    twins = np.array([[0.6, 0.8], [0.6, 0.8]])
    weights = generator.standard_normal(100)
    # every unit is off for the second input
    dead = np.abs(generator.standard_normal((50, 2))) * np.array([1.0, -1.0])
    narrow = np.array([1.0, -1.0, 1.0, -1.0])
    stiff = float(np.linalg.norm(MATRIX, 2)) ** 2
    start = 0.1 * generator.standard_normal(8)
    # the part of the error along the stiffest direction alone
    vector = np.linalg.eigh(MATRIX @ MATRIX.T)[1][:, -1]
    targets = np.array([1.0, 2.0, 3.0])
    return [
        ("w = 0", chain("", (0.0, 0.0), 1.0), 0.1, 0.5),
        ("sign to change", chain("", (1.0, 1.0), -1.0), 0.1, 0.5),
        (
            "targets out of range",
            Instance(
                "", TwoLayer(np.eye(2), 4, outer=narrow), TanhNetwork(np.eye(2), narrow), start,
                np.array([3.0, -3.0]),
            ),
            0.0,
            (3 - 2) ** 2,
        ),
        (
            "dead ReLU input",
            Instance(
                "", TwoLayer(np.eye(2), 50, "relu", outer=signs), ReluNetwork(np.eye(2), signs),
                dead.ravel(), np.array([1.0, 1.0]),
            ),
            0.5,
            0.5,
        ),
        ("2 weights, 3 equations", linear("", few, np.array([1.0, 0.0, 1.0])), 0.1, 0.5),
        (
            "twins",
            Instance(
                "", TwoLayer(twins, 50, outer=signs), TanhNetwork(twins, signs), weights,
                np.array([1.0, -1.0]),
            ),
            0.5,
            (1.0 + 1.0) ** 2 / 4,
        ),
        (
            "step 2.05/λ_max",
            linear("", MATRIX, targets),
            2.05 / stiff,
            float(vector @ targets) ** 2 / 2 * 1.05 ** (2 * STEPS),
        ),
    ]  # fmt: skip


@PAPER.claim(
    "outside-the-theorems",
    says="None of these is covered by a certificate, and none is solved: a start on the singular"
    " set or drawn to it, targets out of range, an input without live units, too few parameters,"
    " equal inputs with different targets, too long a step; and cross-entropy, whose loss falls as"
    " 1/t, satisfies no PL* with a minimum of 0.",
    tag="derived",
    derivation=FLOORS,
)
def outside_the_theorems(run: Run) -> list[Comparison]:
    """Descend from each; hold what is left of the loss against what must be."""
    import numpy as np
    from scipy.integrate import solve_ivp
    from scipy.special import lambertw

    from sandbox.claims.liu2022plstar._experiments import descend

    names, floors, left = [], [], []
    for name, instance, step, floor in unsolved(run):
        known = instance.certificate
        covered = step <= known.step_size
        if known.status == "certified" and covered:
            raise ArithmeticError(f"{name}: certified, {known.reason}")
        end = descend(
            instance.system, instance.start, instance.targets, step or known.step_size,
            STEPS,
        )  # fmt: skip
        word = known.status if known.status != "certified" else "not covered"
        names.append(f"{name}: {word}")
        floors.append(floor / end.losses[0])
        left.append(end.losses[-1] / end.losses[0])
    times = np.geomspace(1, 1e5, 11)
    grid = np.geomspace(1, 1e5, 121)

    def ratio(t: np.ndarray) -> np.ndarray:
        """Return half the squared gradient over the cross-entropy, at times of its flow."""
        # e^w + w = t + 1, so that e^w is the Lambert function of e^(t + 1): by its logarithm
        w = np.log(lambert_of_exponential(t + 1))
        loss = np.log1p(np.exp(-w))
        return np.asarray((1 - np.exp(-loss)) ** 2 / (2 * loss))

    def lambert_of_exponential(z: np.ndarray) -> np.ndarray:
        """Return W(e^z), by Newton's method from z - ln z."""
        root = np.where(z < 50, lambertw(np.exp(np.minimum(z, 50))).real, z - np.log(z))
        for _ in range(20):
            root = root - (root + np.log(root) - z) / (1 + 1 / root)
        return np.asarray(root)

    solution = solve_ivp(
        lambda _, w: 1 / (1 + np.exp(w)), (0, times[-1]), [0.0], t_eval=times, rtol=1e-10,
        atol=1e-12,
    )  # fmt: skip
    w = solution.y[0]
    loss = np.logaddexp(0, -w)
    measured = (1 / (1 + np.exp(w))) ** 2 / (2 * loss)
    return [
        Comparison(
            f"loss left after {STEPS} steps",
            np.array(floors),
            np.array(left),
            tolerance=1e-9,
            reason="rounding",
            relation="at_least",
            relative=True,
            quantity="loss, share of the first",
            axes=(Axis("case", tuple(names)),),
            log=True,
        ),
        Comparison(
            "cross-entropy of one datum",
            ratio(times),
            measured,
            tolerance=1e-7,
            reason="the solver's 1e-10 a step, over some hundred steps",
            relative=True,
            quantity="half the squared gradient over L",
            axes=(Axis("time", tuple(times), log=True),),
            log=True,
            curve=(grid, ratio(grid)),
        ),
    ]
