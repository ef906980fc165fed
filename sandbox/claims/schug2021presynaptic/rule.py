"""The presynaptic rule: where its drift changes sign, how long freezing takes, what it averages."""

from __future__ import annotations

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.schug2021presynaptic.paper import PAPER

__all__: list[str] = []

WALK = lazy("synapses.derivations:release_walk")
MEAN_GRADIENT = lazy("synapses.derivations:masked_gradient")


@PAPER.claim(
    "critical-frequency",
    says="A release probability drifts up where the share of up-steps exceeds"
    " p↓/(p↑ + p↓) under the rule as printed, ln(1+p↓)/[ln(1+p↓) − ln(1−p↑)] under the rule of the"
    " authors' program, whose steps shrink with 1 − p.",
    tag="derived",
    derivation=WALK,
)
def critical_frequency(run: Run) -> list[Comparison]:
    """Feed random gradients to the rule; find the frequency at which the mean step vanishes."""
    import numpy as np

    from synapses import PresynapticRule

    walkers, steps = run.pick(quick=(20_000, 40), full=(200_000, 100))
    settings = {
        "0.07 / 0.07": (0.07, 0.07),
        "0.0520 / 0.0516": (0.0520, 0.0516),
        "0.0516 / 0.0520": (0.0516, 0.0520),
        "0.02 / 0.09": (0.02, 0.09),
    }
    comparisons = []
    for variant in ("program", "printed"):
        predicted, measured, half = [], [], []
        for number, (up, down) in enumerate(settings.values()):
            rule = PresynapticRule(up, down, 0.5, p_min=1e-9, variant=variant)
            generator = run.seeds.generator(f"{variant} gradients", number)
            frequencies = np.array([0.25, 0.75])
            drifts, errors = [], []
            for share in frequencies:
                # far from both ends of its range; printed steps are put back before each one
                p = np.full(walkers, 0.5)
                moves = []
                for _ in range(steps):
                    gradient = np.where(generator.random(walkers) < share, 1.0, 0.0)
                    _, after = rule.step(np.zeros(walkers), p, gradient, 0.0)
                    if variant == "program":
                        moves.append(np.log(1 - p) - np.log(1 - after))
                        p = np.where((after > 0.05) & (after < 0.95), after, 0.5)
                    else:
                        moves.append(after - p)
                sample = np.mean(moves, axis=0)
                drifts.append(sample.mean())
                errors.append(sample.std(ddof=1) / np.sqrt(walkers))
            # the mean step is linear in the share of up-steps: the zero lies on the chord
            slope = (drifts[1] - drifts[0]) / (frequencies[1] - frequencies[0])
            measured.append(frequencies[0] - drifts[0] / slope)
            half.append(4.0 * float(np.hypot(*errors)) / slope)
            predicted.append(rule.critical_up_frequency())
        comparisons.append(
            Comparison(
                f"critical share of up-steps, rule as {variant}",
                np.array(predicted),
                np.array(measured),
                tolerance=0.01,
                reason="four standard errors over the walkers, at most a hundredth",
                relation="inside",
                uncertainty=np.array(half),
                confidence="4 standard errors over walkers (false alarm 6e-5 a point)",
                quantity="share of up-steps",
                axes=(Axis("p↑ / p↓", tuple(settings)),),
            )
        )
    return comparisons


@PAPER.claim(
    "steps-to-freeze",
    says="With a mask that a whole batch shares, a release probability at its floor 0.25 freezes"
    " after hundreds of steps if every release brings a large gradient, after tens of thousands if"
    " four in five do: leaving the floor is a rare fluctuation.",
    tag="derived",
    derivation=WALK,
)
def steps_to_freeze(run: Run) -> Comparison:
    """Let synapses release, feed the rule gradients of 0 or 1, and count steps."""
    import numpy as np

    from synapses import PresynapticRule

    walkers = run.pick(quick=2000, full=40_000)
    shares = run.pick(quick=(1.0, 0.97, 0.95), full=(1.0, 0.95, 0.9, 0.85, 0.8))
    rule = PresynapticRule(0.0520, 0.0516, 0.5, p_freeze=0.9353, variant="program")
    means, half = [], []
    for number, share in enumerate(run.progress(shares, label="shares")):
        generator = run.seeds.generator("walks", number)
        p = np.full(walkers, rule.p_min)
        taken = np.zeros(walkers)
        alive = np.arange(walkers)
        step = 0
        while alive.size:
            step += 1
            released = generator.random(alive.size) < p[alive]
            large = generator.random(alive.size) < share
            gradient = (released & large).astype(float)
            _, p[alive] = rule.step(np.zeros(alive.size), p[alive], gradient, 0.0)
            done = rule.is_frozen(p[alive])
            taken[alive[done]] = step
            alive = alive[~done]
        means.append(taken.mean())
        half.append(4.0 * taken.std(ddof=1) / np.sqrt(walkers))
    predicted = [rule.mean_steps_to_freeze(share) for share in shares]
    return Comparison(
        "mean steps from the floor to freezing",
        np.array(predicted),
        np.array(means),
        tolerance=0.12 * max(predicted),
        reason="four standard errors over the walkers; the times are nearly exponential, so the"
        " standard error is the mean over the root of their number",
        relation="inside",
        uncertainty=np.array(half),
        confidence="4 standard errors over walkers (false alarm 6e-5 a point)",
        quantity="steps",
        axes=(Axis("share of releases with a large gradient", tuple(shares)),),
    )


@PAPER.claim(
    "mean-gradient",
    says="The gradient of a sampled network in the expected strengths is an unbiased estimate of"
    " the gradient of the mean loss, although masks are drawn and not differentiated.",
    tag="derived",
    derivation=MEAN_GRADIENT,
)
def mean_gradient(_: Run) -> list[Comparison]:
    """Enumerate every mask of a small layer; average torch's gradients with their chances."""
    import itertools

    import numpy as np
    import torch

    from synapses.layers import StochasticLinear

    strengths = np.array([[0.8, -0.5, 0.3]])
    chances = np.array([[0.25, 0.6, 0.9]])
    inputs = np.array([[1.0, 2.0, -1.5]])

    def mean_loss(weights: np.ndarray) -> float:
        """Return the mean over masks of -ln sigmoid(z), without torch."""
        total = 0.0
        for mask in itertools.product((0, 1), repeat=3):
            weight = np.prod(np.where(mask, chances[0], 1 - chances[0]))
            z = float((weights[0] * mask / chances[0]) @ inputs[0])
            total += weight * np.log1p(np.exp(-z))
        return float(total)

    step = 1e-5
    predicted = np.empty(3)
    for i in range(3):
        shift = np.zeros((1, 3))
        shift[0, i] = step
        # fourth-order difference: error of order step^4 and rounding of order 1e-11
        ends = [mean_loss(strengths + k * shift) for k in (-2, -1, 1, 2)]
        predicted[i] = (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * step)

    layer = StochasticLinear(
        3, 1, bias=False, release_probability=torch.tensor(chances), dtype=torch.float64
    )
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(strengths))
    measured = np.zeros(3)
    for mask in itertools.product((0.0, 1.0), repeat=3):
        layer.draw = lambda *_, mask=mask: torch.tensor([mask], dtype=torch.float64)  # type: ignore[method-assign]  # every mask once
        layer.zero_grad()
        loss = torch.nn.functional.softplus(-layer(torch.tensor(inputs))).sum()
        torch.autograd.backward(loss)
        weight = np.prod(np.where(mask, chances[0], 1 - chances[0]))
        assert layer.weight.grad is not None
        measured += weight * layer.weight.grad.numpy()[0]
    return [
        Comparison(
            "mean of the sampled gradients, all eight masks",
            predicted,
            measured,
            tolerance=1e-9,
            reason="the difference quotient's rounding, 1e-16/step",
            quantity="gradient",
            axes=(Axis("synapse", (1, 2, 3)),),
        )
    ]
