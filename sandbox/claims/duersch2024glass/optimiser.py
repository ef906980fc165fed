"""Alice, the optimiser: what its look-ahead, its bounds and its diagnosis are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.duersch2024glass.paper import PAPER

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor, nn

    from sandbox.optim.alice import Alice, GlassDiagnosis
    from sandbox.training.names import Activation

__all__: list[str] = []


def closure_of(
    optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor]
) -> Callable[[], Tensor]:
    """Return what an optimiser's step is given."""
    import torch

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        torch.autograd.backward(value)
        return value

    return closure


@PAPER.claim(
    "optimiser-lookahead",
    says="Alice's averaged gradient is the gradient at the model's weights, on a linear network"
    " with square loss, in all curvature modes of the paper's study of the look-ahead and on steps"
    " with and without curvature, if and only if φ = ω(1-β): 0.1, not 1, of its two settings.",
    tag="derived",
    derivation=lazy("theory._glass_derivations:lookahead_exactness"),
)
def optimiser_lookahead(run: Run) -> list[Comparison]:
    """Compare the average that the optimiser keeps with autograd at the weights it leaves."""
    import numpy as np
    import torch
    from torch import nn

    from sandbox.claims.duersch2024glass._presets import CURVATURE_MODES, LOOKAHEAD
    from sandbox.optim.alice import Alice
    from sandbox.training.models import mlp
    from theory.glass import exact_move

    sizes = run.pick(quick=(6, 3), full=(60, 20))
    steps, beta = run.pick(quick=20, full=300), 0.9
    draw = run.seeds.generator("samples")
    inputs = torch.from_numpy(draw.standard_normal((40, sizes[0])))
    targets = torch.from_numpy(draw.standard_normal((40, sizes[1])))

    def walk(
        share: float, mode: str, omega: float, quick: int, steps: int, top: float = 5e-3
    ) -> tuple[float, float]:
        """Return the largest error once the weights move, and the first move's over |A d|."""
        net = mlp(list(sizes), streams=run.seeds, dtype=torch.float64)
        phi = share * exact_move(beta, omega)
        options = LOOKAHEAD[f"{mode}, φ = 0.1"] | {
            "omega": omega,
            "phi": phi,
            "betas": (beta, 0.999),
            "quick_steps": quick,
            "lr_max": top,
        }
        optimizer = Alice(net.parameters(), **options)

        def loss() -> Tensor:
            return nn.functional.mse_loss(net(inputs), targets)

        def slopes() -> Tensor:
            found = torch.autograd.grad(loss(), list(net.parameters()))
            return torch.cat([part.flatten() for part in found])

        def average() -> Tensor:
            kept = [optimizer.state[p]["gradient"] for p in net.parameters()]
            return torch.cat([part.flatten() for part in kept])

        at, errors, first = slopes(), [], 0.0
        for _ in range(10 + steps):
            optimizer.step(closure_of(optimizer, loss))
            # the average is of the weights before the move that has just been made
            errors.append(float((average() - at).norm()))
            new = slopes()
            if len(errors) == 11:
                first = float((new - at).norm()) / phi
            at = new
        return max(errors[11:]), errors[11] / first

    modes = tuple(CURVATURE_MODES)
    quick_steps = (0, 3)  # steps without curvature between two with it
    # the published bound of 5e-3 ends all steps here, whatever the curvature; 0.5 leaves it a part
    exact = np.array([[walk(1.0, m, 1.0, q, steps, 0.5)[0] for q in quick_steps] for m in modes])
    shares = np.array([0.5, 0.9, 1.1, 2.0, 10.0])
    omegas = (1.0, 1.5)
    wrong = np.array([[walk(s, modes[2], w, 3, 2)[1] for w in omegas] for s in shares])
    return [
        Comparison(
            "error of the average, φ = 0.1",
            np.zeros(exact.shape),
            exact,
            tolerance=1e-12,
            reason="rounding, of some tens or hundreds of steps with gradients below 1",
            quantity="|G - ∇L(μ)|",
            unit="gradient",
            axes=(
                Axis("curvature", ("glass", "|h|", "both", "rms h")),
                Axis("quick steps", quick_steps),
            ),
        ),
        Comparison(
            "error after one move, other φ",
            np.array([[abs(s - 1) * exact_move(beta, w) for w in omegas] for s in shares]),
            wrong,
            tolerance=1e-9,
            reason="rounding, over a first move of 5e-3 and the smallest difference of φ",
            relative=True,
            quantity="|G - ∇L(μ)| / |A d|",
            axes=(Axis("φ over ω(1-β)", tuple(shares), log=True), Axis("ω", omegas)),
            log=True,
        ),
    ]


@PAPER.claim(
    "bounds-are-adams",
    says="With the bounds 'adam' and curvature too small to matter, Alice without look-ahead moves"
    " exactly as Adam with learning rate φ·lr_max; with a larger lr_max curvature shortens steps"
    " and it does not.",
    tag="derived",
    derivation=lazy("sandbox.claims.duersch2024glass._derivations:bounds_of_adam"),
)
def bounds_are_adams(run: Run) -> list[Comparison]:
    """Go on from one burn-in with Alice and with torch's Adam, and compare the weights."""
    import numpy as np
    import torch
    from torch import nn

    from sandbox.optim.alice import Alice
    from sandbox.training.models import mlp

    # normal inputs: a pixel that is nearly always dark has gradients smaller than any bound
    steps, widths = run.pick(quick=(40, [10, 16, 5]), full=(1000, [20, 64, 64, 10]))
    draw = run.seeds.generator("samples")
    inputs = torch.from_numpy(draw.standard_normal((100, widths[0])))
    targets = torch.from_numpy(draw.integers(widths[-1], size=100))
    betas, burn_in = (0.9, 0.95), 20  # as long as the longer memory: plain averages until then

    def apart(lr_max: float, phi: float) -> tuple[float, float]:
        """Return how far Alice and Adam end from each other, and how far Adam has gone."""
        nets = [
            mlp(widths, streams=run.seeds, activation="tanh", dtype=torch.float64) for _ in range(2)
        ]
        alice = Alice(
            nets[0].parameters(),
            lr_max / 2,
            betas=betas,
            burn_in=burn_in,
            phi=phi,
            omega=phi,  # no look-ahead
            sigma=1e-3,
        )

        def step_of(optimizer: torch.optim.Optimizer, net: nn.Module) -> Callable[[], Tensor]:
            return closure_of(optimizer, lambda: nn.functional.cross_entropy(net(inputs), targets))

        for _ in range(burn_in):
            alice.step(step_of(alice, nets[0]))
        start = torch.cat([p.detach().flatten() for p in nets[1].parameters()])
        adam = torch.optim.Adam(nets[1].parameters(), lr=phi * lr_max, betas=betas)
        for mine, own in zip(nets[1].parameters(), nets[0].parameters(), strict=True):
            adam.state[mine] = {
                "step": torch.tensor(1e9),  # so late that its corrections for the start are 1
                "exp_avg": alice.state[own]["gradient"].clone(),
                "exp_avg_sq": alice.state[own]["second_moment"].clone(),
            }
        for _ in range(steps):
            alice.step(step_of(alice, nets[0]))
            adam.step(step_of(adam, nets[1]))
        ends = [torch.cat([p.detach().flatten() for p in net.parameters()]) for net in nets]
        moved = float((ends[1] - start).abs().max())
        return float((ends[0] - ends[1]).abs().max()) / moved, moved

    small, phis = (1e-7, 1e-6), (0.1, 1.0)
    same = np.array([[apart(lr_max, phi)[0] for phi in phis] for lr_max in small])
    large = np.array([apart(0.1, phi)[0] for phi in phis])
    return [
        Comparison(
            "distance from Adam, small bounds",
            np.zeros(same.shape),
            same,
            tolerance=1e-8,
            reason="rounding of weights of size 1 over ways of 6e-7 and more",
            quantity="distance / way",
            axes=(Axis("lr_max", small, log=True), Axis("φ", phis)),
        ),
        Comparison(
            "distance from Adam, lr_max 0.1",
            np.full(large.shape, 0.01),
            large,
            tolerance=0.0,
            reason="curvature of size 1 ends steps of 0.1 |G|/√V that gradients of 0.01 allow",
            relation="at_least",
            quantity="distance / way",
            axes=(Axis("φ", phis),),
        ),
    ]


LAYERS = ("first layer", "second layer", "last layer")


def trained(
    run: Run, activation: Activation, number: int, widths: tuple[int, ...], goal: float
) -> tuple[nn.Module, Alice, Callable[[Tensor], Callable[[], Tensor]], Tensor]:
    """Return a network that Alice has trained on digits, and what diagnoses it."""
    import numpy as np
    import torch
    from torch import nn

    from sandbox.claims.duersch2024glass._presets import POWER_LAW
    from sandbox.optim.alice import Alice
    from sandbox.training.data import load
    from sandbox.training.models import mlp

    samples = load("digits", scaling="standard").train
    inputs = torch.tensor(samples.inputs, dtype=torch.float64)
    targets = torch.tensor(samples.targets)
    net = mlp(
        [64, *widths, 10],
        streams=run.seeds,
        index=number,
        activation=activation,
        dtype=torch.float64,
    )
    # published options at the scale of the paper; else longer steps, fewer of them with curvature
    options = run.pick(
        quick={"lr": 2e-3, "lr_max": 0.1},
        full={"lr": 2e-3, "lr_max": 0.1},
        paper=POWER_LAW,
    )
    optimizer = Alice(net.named_parameters(), **options)

    def on(chosen: Tensor) -> Callable[[], Tensor]:
        return closure_of(
            optimizer, lambda: nn.functional.cross_entropy(net(inputs[chosen]), targets[chosen])
        )

    draw = run.seeds.generator(f"batches {activation}", number)
    epochs, losses = run.pick(quick=20, full=40), [np.inf]
    for _ in range(epochs):
        order = torch.from_numpy(draw.permutation(len(inputs)))
        for batch in torch.split(order, 100):
            losses.append(float(optimizer.step(on(batch))))
            if run.scale != "paper" and np.mean(losses[-10:]) < goal:
                return net, optimizer, on, torch.arange(len(inputs))
    return net, optimizer, on, torch.arange(len(inputs))


@PAPER.claim(
    "trained-exponents",
    says="In trained rectified networks second differences of gradients show glass, exponent 1, in"
    " the hidden layers and next to none in the last, between 3 and 4; with tanh and GELU it is 4"
    " in every layer. The exponent of the gradient's change is 2 but for rectified hidden layers.",
    tag="derived",
    derivation=lazy("theory._glass_estimator_derivations:three_gradient_estimators"),
)
def trained_exponents(run: Run) -> list[Comparison]:
    """Train networks on digits with Alice and let it diagnose them on all training samples."""
    import numpy as np

    networks, directions = run.pick(quick=(4, 4), full=(12, 24), paper=(10, 24))
    widths = run.pick(quick=(64, 32), full=(256, 128), paper=(512, 256))
    goal = run.pick(quick=0.3, full=0.02)  # mean loss, of 2.3 at the start
    sigmas = np.geomspace(8e-4, 6.4e-3, run.pick(quick=3, full=7))

    def found(activation: Activation, number: int, along: int) -> GlassDiagnosis:
        _, optimizer, on, everything = trained(run, activation, number, widths, goal)
        return optimizer.diagnose(on(everything), sigmas=sigmas, directions=along, seed=number)

    rectified = [
        found("relu", number, directions).exponents()
        for number in run.progress(range(networks), label="networks")
    ]
    # smooth losses have the same exponents in every direction
    smooth = [found("tanh", 0, 2).exponents(), found("gelu", 0, 2).exponents()]
    second = np.array([each["second_difference"] for each in rectified])
    change = np.array([each["change"] for each in rectified])
    mean = second.mean(axis=0)
    width = 6 * second.std(axis=0, ddof=1) / np.sqrt(networks)
    names = Axis("layer", LAYERS)
    return [
        Comparison(
            "hidden layers of rectified networks",
            np.array([1.0, 1.0]),
            mean[:2],
            tolerance=1.0,
            reason="a third of the gap to the 4 of a smooth loss",
            relation="inside",
            uncertainty=width[:2] + 0.2,
            confidence=f"6 standard errors over {networks} networks (t distribution: false alarm at"
            " most 1 % a layer), and 0.2 for the smooth part",
            quantity="exponent",
            axes=(Axis("layer", LAYERS[:2]),),
        ),
        Comparison(
            "last layer of rectified networks",
            np.array([3.5]),
            mean[2:],
            tolerance=0.6,
            reason="between kinks, 3, and a smooth part, 4, and a tenth for the fit",
            quantity="exponent",
            axes=(Axis("layer", LAYERS[2:]),),
        ),
        Comparison(
            "layers of smooth networks",
            np.full((2, 3), 4.0),
            np.array([each["second_difference"] for each in smooth]),
            tolerance=0.1,
            reason="terms of sixth power at the largest distance, 0.05 for GELU",
            quantity="exponent",
            axes=(Axis("activation", ("tanh", "GELU")), names),
        ),
        Comparison(
            "change of the gradient where it is smooth",
            np.full((3, 3), 2.0)[:, 2:],
            np.stack([change.mean(axis=0), *(each["change"] for each in smooth)])[:, 2:],
            tolerance=0.03,
            reason="terms of third and fourth power at the largest distance",
            quantity="exponent",
            axes=(Axis("activation", ("rectified", "tanh", "GELU")), Axis("layer", LAYERS[2:])),
        ),
        Comparison(
            "change of the gradient in rectified networks",
            np.array([1.0, 1.0, 2.0]),
            change.mean(axis=0),
            tolerance=0.0,
            reason="glass and Hessian share hidden layers, the last has a Hessian alone",
            relation="ordered",
            quantity="exponent",
            axes=(names,),
        ),
    ]
