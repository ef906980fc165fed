"""Each singular mode of the data is learned along a sigmoid, the strong ones first."""

from __future__ import annotations

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.saxe2014dynamics.paper import PAPER

__all__: list[str] = []

MODES = lazy("deeplinear.derivations:saxe_modes")


@PAPER.claim(
    "digits-modes",
    says="In a two-layer linear network on whitened inputs, started from small decoupled weights,"
    " each singular mode of the input-output correlations grows along its own sigmoid"
    " u(t) = s / (1 + (s/u₀ − 1) exp(−2st)).",
    tag="paper",
    derivation=MODES,
)
def digits_modes(run: Run) -> list[Comparison]:
    """Train a torch network by plain gradient descent on handwritten digits."""
    import numpy as np
    import torch

    from deeplinear.teacher import teacher
    from sandbox.training.data import load, one_hot
    from sandbox.training.models import deep_linear

    dataset = load("digits", dtype="float64")
    digits = dataset.everything
    labels = one_hot(digits.targets, len(dataset.classes))
    task = teacher(digits.inputs, labels - labels.mean(0))
    whitened = torch.from_numpy(task.inputs(digits.inputs))
    outputs = torch.from_numpy(labels - labels.mean(0))
    left, strengths, right = task.left, task.singular_values, task.right
    kept = strengths > 1e-8 * strengths[0]
    left, strengths, right = left[:, kept], strengths[kept], right[:, kept]
    start = 0.05
    rotation = np.linalg.qr(
        run.seeds.generator("hidden").normal(size=(len(strengths), len(strengths)))
    )[0]
    net = deep_linear([start * rotation @ right.T, start * left @ rotation.T])
    first, second = net.parameters()
    steps, end = run.pick(quick=(1000, 20.0), full=(8000, 20.0))
    rate = end / steps
    optimiser = torch.optim.SGD(net.parameters(), lr=rate)
    marks = np.linspace(0, steps, 11).astype(int)
    every = np.arange(steps + 1) * rate
    measured = []
    for _ in run.progress(range(steps + 1), label="gradient descent"):
        product = (second @ first).detach().numpy()
        measured.append(np.einsum("oa,oi,ia->a", left, product, right))
        optimiser.zero_grad()
        # the project's loss: half the squared error, summed over outputs, mean over samples
        loss = 0.5 * (net(whitened) - outputs).pow(2).sum(1).mean()
        loss.backward()
        optimiser.step()

    def sigmoid(times: np.ndarray) -> np.ndarray:
        growth = np.exp(-2 * strengths * times[:, None])
        return np.asarray(strengths / (1 + (strengths / start**2 - 1) * growth))

    times = marks * rate
    modes = Axis("mode", tuple(range(1, len(strengths) + 1)))
    grid = np.linspace(0, end, 201)
    half_theory = np.log(strengths / start**2 - 1) / (2 * strengths)
    history = np.array(measured)
    # the growth rate of an Euler step, log(1 + rate s) / rate, lags behind s by rate s^2 / 2
    lag = rate * np.log(strengths[0] / start**2) / 4
    return [
        Comparison(
            "strength of each mode",
            sigmoid(times),
            history[marks],
            tolerance=strengths[0] ** 2 * lag,
            reason=f"Euler steps of {rate:g} lag behind the flow by {lag:.2g} in time at half"
            " strength; the steepest mode turns this into s^2/2 times as much, doubled here.",
            quantity="mode strength",
            axes=(Axis("time", tuple(times), "1/learning rate"), modes),
            curve=(grid, sigmoid(grid)),
        ),
        Comparison(
            "time to half strength",
            half_theory,
            np.array([np.interp(0.5 * s, history[:, a], every) for a, s in enumerate(strengths)]),
            tolerance=2 * lag,
            reason=f"Euler steps of {rate:g} lag by about {lag:.2g} at half strength; twice that.",
            quantity="half-time",
            unit="1/learning rate",
            axes=(Axis("mode", tuple(range(1, len(strengths) + 1))),),
        ),
    ]
