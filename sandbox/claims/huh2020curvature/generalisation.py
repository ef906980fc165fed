"""Faster learning of the training data can cost generalisation."""

from __future__ import annotations

from typing import Any

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.huh2020curvature.networks import RULES, rule_named
from sandbox.claims.huh2020curvature.paper import PAPER

__all__: list[str] = []


def _gradient_curve(t: Any, s: float, start: float) -> Any:
    import numpy as np

    return s / (1 + (s / start**2 - 1) * np.exp(-2 * s * t))


def _square_root_curve(t: Any, s: float, start: float) -> Any:
    import numpy as np

    return s * np.tanh(np.sqrt(s / 2) * t + np.arctanh(start / np.sqrt(s))) ** 2


def _natural_curve(t: Any, s: float, start: float) -> Any:
    import numpy as np

    return s + (start**2 - s) * np.exp(-t)


@PAPER.claim(
    "early-stopping",
    says="One signal mode and one noise mode, learned from small balanced weights: the best test"
    " error over time follows from the exact mode curves, and natural gradient from vanishing"
    " weights, which learns both modes at once, does no better than"
    " |T|² − ⟨W*, T⟩² / |W*|², T the teacher.",
    tag="derived",
    derivation=lazy("deeplinear.derivations:early_stopping"),
)
def early_stopping(run: Run) -> list[Comparison]:
    """Minimise the test error of integrated networks and of the closed-form mode curves."""
    import numpy as np
    from scipy.optimize import minimize_scalar

    from deeplinear import matrix_flow

    start, strengths = 0.01, np.array([3.0, 1.0])
    teacher = (3 + 5**0.5) / 2  # appears at teacher + 1/teacher = 3 under unit noise
    overlap = np.array([teacher - 1 / teacher, 0.0])
    curves = (_gradient_curve, _square_root_curve, _natural_curve)
    # a teacher whose singular vectors overlap with the first observed pair as the theory says
    cosine = np.sqrt(overlap[0] / teacher)
    vector = np.array([cosine, 0.0, np.sqrt(1 - cosine**2)])
    weights_of_teacher = teacher * np.outer(vector, vector)
    target = np.diag([3.0, 1.0, 0.0])
    best, found, histories = [], [], []
    times = np.linspace(0.0, 6.0, run.pick(quick=1201, full=4801))
    for name, curve in zip(RULES, curves, strict=True):

        def error(t: float, curve: Any = curve) -> float:
            u = np.array([curve(t, s, start) for s in strengths])
            return float(np.sum(u**2 - 2 * overlap * u) + teacher**2)

        coarse = times[int(np.argmin([error(t) for t in times]))]
        bounds = (max(coarse - 0.1, 0.0), coarse + 0.1)
        best.append(minimize_scalar(error, bounds=bounds, method="bounded").fun)
        layer = start * np.diag([1.0, 1.0, 0.0])
        first, second = matrix_flow(rule_named(name), [layer, layer], target, times)
        tests = np.sum((second @ first - weights_of_teacher) ** 2, axis=(1, 2))
        low = int(np.argmin(tests))
        fit = np.polyfit(times[low - 2 : low + 3] - times[low], tests[low - 2 : low + 3], 2)
        found.append(fit[2] - fit[1] ** 2 / (4 * fit[0]))
        histories.append(tests)
    floor = teacher**2 - (strengths[0] * overlap[0]) ** 2 / np.sum(strengths**2)
    thinned = slice(None, None, len(times) // 20)
    grid = np.array([[c(times, s, start) for s in strengths] for c in curves])  # rule, mode, time
    theory = np.einsum("rat,rat->tr", grid, grid - 2 * overlap[:, None]) + teacher**2
    return [
        Comparison(
            "test error during learning",
            theory[thinned],
            np.array(histories).T[thinned],
            tolerance=1e-7,
            reason="The flow is integrated to 1e-10; errors of the map enter multiplied by ~10.",
            quantity="test error",
            axes=(Axis("time", tuple(times[thinned]), "1/learning rate"), Axis("rule", RULES)),
            curve=(times, theory),
        ),
        Comparison(
            "best test error",
            np.array(best),
            np.array(found),
            tolerance=2e-5,
            reason="A parabola through five samples 0.005 apart misses the minimum by its fourth"
            " derivative, of order 10^4 for gradient descent, times 0.005^4.",
            quantity="test error",
            axes=(Axis("rule", RULES),),
        ),
        Comparison(
            "floor of natural gradient for vanishing start",
            np.array(floor),
            np.array(found[2]),
            tolerance=1e-4,
            relation="at_least",
            reason="The start enters linearly through u(0) = 0.01^2 = 1e-4.",
            quantity="test error",
        ),
    ]


@PAPER.claim(
    "faster-generalises-worse",
    says="Faster convergence of the input-output map can hurt generalisation: on a noisy low-rank"
    " teacher, learned from small random weights, the best test error of natural gradient is worse"
    " than that of gradient descent.",
    tag="paper",
    derivation=lazy("deeplinear.derivations:early_stopping"),
)
def faster_generalises_worse(run: Run) -> list[Comparison]:
    """Compare the rules' best test errors, paired on the same teacher, noise and start."""
    import numpy as np

    from deeplinear import matrix_flow

    size, teachers = run.pick(quick=(12, 12), full=(40, 40))
    # the test errors are flat at their best, between t = 0.6 and 2.3: a grid of 0.1 misses it by
    # about 0.01, most for gradient descent
    times = np.linspace(0.0, 4.0, run.pick(quick=41, full=81))
    scores = np.empty((teachers, len(RULES)))
    for i in run.progress(range(teachers), label="teachers"):
        generator = run.seeds.generator("teacher", i)
        left, right = np.linalg.qr(generator.normal(size=(2, size, 2)))[0]
        teacher = (left * [3.0, 2.0]) @ right.T
        observed = teacher + generator.normal(size=(size, size)) / np.sqrt(size)
        weights = list(0.05 * generator.normal(size=(2, size, size)) / np.sqrt(size))
        for j, name in enumerate(RULES):
            first, second = matrix_flow(rule_named(name), weights, observed, times, rtol=1e-6)
            scores[i, j] = np.min(np.sum((second @ first - teacher) ** 2, axis=(1, 2)))
    rise = scores[:, 2] - scores[:, 0]
    # 4.44 is Student's 99.9 % two-sided point at 11 degrees of freedom, 3.56 at 39
    half = run.pick(quick=4.44, full=3.56) * rise.std(ddof=1) / np.sqrt(teachers)
    return [
        Comparison(
            "rise of the best test error from gradient descent to natural gradient",
            np.array(0.0),
            np.array(rise.mean()),
            tolerance=0.0,
            reason="Any rise confirms the statement; the interval must exclude none.",
            relation="at_least",
            uncertainty=np.array(half),
            confidence=f"99.9 % interval over {teachers} teachers, paired",
            quantity="rise of the test error",
        ),
        Comparison(
            "best test error, mean over teachers",
            np.array([0.0, 1.0, 2.0]),
            scores.mean(0),
            tolerance=0.0,
            reason="The order from slow to fast; any step up confirms it.",
            relation="ordered",
            quantity="test error",
            axes=(Axis("rule", RULES),),
        ),
    ]
