"""Products of weights: what is certified, and what a change of sign does."""

from __future__ import annotations

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.liu2022plstar.paper import PAPER

__all__: list[str] = []

PRODUCT = lazy("theory.descent_rates:product_model_certificate")
CHAINS = lazy("sandbox.claims.liu2022plstar._derivations:sign_flip")
SOLVED = 1e-6
"""Share of the first loss below which a descent counts as converged."""


@PAPER.claim(
    "deep-chain",
    says="A product of weights that must change its sign ends at the singular point 0 if it starts"
    " balanced, two weights as 1/√(2e^{2t} − 1); if one weight is smaller than the others, it"
    " converges, and its kernel falls to c^{d−1} on the way, c being the invariant difference of"
    " squares.",
    tag="derived",
    derivation=CHAINS,
)
def deep_chain(run: Run) -> list[Comparison]:
    """Follow gradient flow of chains of two to five weights towards -1."""
    import numpy as np

    from sandbox.claims.liu2022plstar._experiments import Chain, flow

    target = np.array([-1.0])
    times = np.linspace(0, 6, 13)
    balanced = flow(Chain(), np.ones(2), target, times)[:, 0]
    grid = np.linspace(0, 6, 121)
    depths, lasts = (2, 3, 5), (0.5, 0.9)
    least = np.empty((len(depths), len(lasts)))
    ends = np.empty((len(depths), len(lasts) + 1))
    for row, depth in enumerate(run.progress(depths, label="depths")):
        for column, last in enumerate((*lasts, 1.0)):
            start = np.append(np.ones(depth - 1), last)
            long = np.append(0.0, np.geomspace(1e-2, 400, run.pick(quick=4000, full=80_000)))
            states = flow(Chain(), start, target, long, stiff=True)[:, :-1]
            ends[row, column] = (np.prod(states[-1]) + 1) ** 2 / 2
            if last < 1:
                others = [np.prod(np.delete(states, i, axis=1), axis=1) ** 2 for i in range(depth)]
                least[row, column] = np.sum(others, axis=0).min()
    bottom = np.array([[(1 - last**2) ** (depth - 1) for last in lasts] for depth in depths])
    names = tuple(f"last weight {last:g}" for last in lasts)
    return [
        Comparison(
            "two equal weights towards −1",
            1 / np.sqrt(2 * np.exp(2 * times) - 1),
            balanced,
            tolerance=1e-8,
            reason="the solver's 1e-11 a step, over some hundred steps",
            quantity="w",
            axes=(Axis("time t", tuple(times)),),
            log=True,
            curve=(grid, 1 / np.sqrt(2 * np.exp(2 * grid) - 1)),
        ),
        Comparison(
            "least kernel on the way",
            bottom,
            least,
            tolerance=1e-3,
            reason="times 0.26 % apart: the least may lie half a step off a sampled one",
            relative=True,
            quantity="least K",
            axes=(Axis("depth", depths), Axis("start", names)),
            log=True,
        ),
        Comparison(
            "loss in the end",
            np.repeat([[0.0] * len(lasts) + [0.5]], len(depths), axis=0),
            ends,
            tolerance=0.02,
            reason="deep equal weights near 0 as a power of time: a product of 0.01 may be left",
            quantity="L at t = 400",
            axes=(Axis("depth", depths), Axis("start", (*names, "balanced"))),
        ),
    ]


@PAPER.claim(
    "product-limits",
    says="For w₁w₂ the published ball certifies errors up to 0.0567|w₀|², the path of descent up to"
    " |w₀|²/8 and that of flow up to |w₀|²/4; the first error from which flow fails is |w₀|²/2.",
    tag="derived",
    derivation=PRODUCT,
)
def product_limits(run: Run) -> list[Comparison]:
    """Descend from starts all round a circle, with ever larger errors, until one fails."""
    import numpy as np

    from theory.descent_rates import product_model_limit

    count = run.pick(quick=16, full=64)
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    # rounded, so that balanced starts are exactly balanced and stay so
    starts = np.round(np.stack([np.cos(angles), np.sin(angles)]), 12)
    errors = np.array([0.02, 0.0567, 0.09, 0.125, 0.19, 0.25, 0.35, 0.45, 0.55, 0.7])
    signed = np.stack([errors, -errors], axis=1).ravel()
    v, w = np.repeat(starts[:, None], len(signed), axis=1)
    targets = v * w + signed[:, None]
    step = 0.05
    for _ in range(run.pick(quick=2000, full=8000)):
        error = v * w - targets
        v, w = v - step * error * w, w - step * error * v
    left = ((v * w - targets) / signed[:, None]) ** 2
    solved = (left < SOLVED).reshape(len(errors), 2 * count).mean(axis=1)
    # two of the four balanced starts can go up and two down to a target of the other sign
    real = np.where(errors < 0.5, 1.0, 1 - 4 / (2 * count))
    limits = [product_model_limit(1.0, name) for name in ("theorem", "descent", "flow")]
    promised = np.array([[float(error <= limit * 1.001) for limit in limits] for error in errors])
    place = Axis("error |r₀| over |w₀|²", tuple(errors))
    return [
        Comparison(
            "share of starts from which descent converges, at least what is certified",
            promised,
            np.repeat(solved[:, None], 3, axis=1),
            tolerance=0.0,
            reason="every certified start converges",
            relation="at_least",
            quantity="share of starts",
            axes=(place, Axis("ball", ("published", "descent's path", "flow's path"))),
        ),
        Comparison(
            "the same, where only balanced starts with a change of sign fail",
            real,
            solved,
            tolerance=0.0,
            reason="whole starts",
            quantity="share of starts",
            axes=(place,),
        ),
    ]
