"""Dynamics over the ripples: diffusion, relaxation, escape and what training time resolves."""

from __future__ import annotations

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.yang2021taxonomy.paper import PAPER

__all__: list[str] = []

ROUGH = lazy("theory.rough_diffusion:rough_potential_diffusion")
LINE = lazy("theory.rough_diffusion:trapping_line")

FLAT = 1e-9
"""Curvature of a bowl too wide to be felt within any run."""

MONITORED = 0.5826
"""-zeta(1/2) / sqrt(2 pi): ends looked at every step seem so many steps' noise farther away."""


@PAPER.claim(
    "slowed-diffusion",
    says="Over a cosine of amplitude ε a particle diffuses with T/I₀(ε/T)², whatever the period.",
    tag="standard",
    derivation=ROUGH,
)
def slowed_diffusion(run: Run) -> Comparison:
    """Measure the growth of the mean square displacement between two times."""
    import numpy as np

    from theory.langevin import langevin
    from theory.rough_diffusion import cosine_diffusion
    from theory.rugged import RuggedBowl

    flat = RuggedBowl(curvature=FLAT, roughness=1.0, wavenumber=1.0)
    ratios, lasting = (0.5, 1.0, 2.0, 3.0), (60.0, 60.0, 120.0, 400.0)
    dt, early = 0.02, 20.0
    replicas = run.pick(quick=4096, full=65_536)
    found, width = [], []
    for index, (ratio, late) in enumerate(zip(ratios, lasting, strict=True)):
        shots = [round(early / dt), round(late / dt)]
        x = langevin(
            flat, 1 / ratio, np.zeros(replicas), dt, shots[-1], run.seeds.key("noise", index),
            snapshots=shots,
        ).position  # fmt: skip
        # the slope, not the displacement over the time: that would add the motion in a well
        share = (x[:, 1] ** 2 - x[:, 0] ** 2) / (2 * (late - early)) * ratio
        found.append(share.mean())
        width.append(4 * share.std(ddof=1) / np.sqrt(replicas) + dt * share.mean())
    grid = np.linspace(0.1, 3.2, 81)
    return Comparison(
        "diffusion constant over the temperature",
        np.array([cosine_diffusion(ratio, 1.0) for ratio in ratios]),
        np.array(found),
        tolerance=0.2,
        reason="four standard errors, and the step times the largest curvature",
        relation="inside",
        relative=True,
        uncertainty=np.array(width),
        confidence="4 standard errors over replicas (false alarm 6e-5 a point) and 2 % for the"
        " step",
        quantity="D / T",
        axes=(Axis("roughness / temperature", ratios),),
        log=True,
        curve=(grid, np.array([cosine_diffusion(float(r), 1.0) for r in grid])),
    )


@PAPER.claim(
    "coarse-relaxation",
    says="A rugged bowl is relaxed at the rate a/I₀(ε/T)² where many ripples fit into the width of"
    " its equilibrium, T/a ≫ (2π/k)²; with few of them it is faster, and the"
    " spectral gap tells by how much.",
    tag="derived",
    derivation=LINE,
)
def coarse_relaxation(run: Run) -> list[Comparison]:
    """Compare gaps of the Fokker-Planck operator with the formula, and simulations with gaps."""
    import numpy as np

    from theory.langevin import langevin
    from theory.rough_diffusion import cosine_relaxation, spectral_gap
    from theory.rugged import RuggedBowl

    a, eps = 1.0, 0.1

    def gap(k: float, T: float) -> float:
        """Return the gap on a grid of twenty points a ripple."""
        bowl = RuggedBowl(a, eps, k)
        points = max(400, round(57 * k * np.sqrt(T)))
        return float(spectral_gap(bowl.grad, bowl.hess, T, 9 * np.sqrt(T / a), points)[1])

    wavenumbers, temperatures = (20.0, 40.0), (0.025, 0.0333, 0.05, 0.1)
    rates = [[gap(k, T) for k in wavenumbers] for T in temperatures]
    few = [(10.0, 0.05), (5.0, 0.1), (10.0, 0.0333), (5.0, 0.05)]
    ratios = [gap(k, T) / cosine_relaxation(a, eps, T) for k, T in few]
    times = run.pick(quick=1, full=8)
    # wavenumber, temperature, replicas, and relaxation times until one mode is left: from 2.5
    # standard deviations, faster modes then change the rate by 0.3 % or less
    cases = [(20.0, 0.1, 6144, 1.0), (10.0, 0.1, 16_384, 1.0), (5.0, 0.1, 65_536, 1.5)]
    cases.append((10.0, 0.05, 16_384, 1.0))
    found, width, exact = [], [], []
    for index, (k, T, count, first_look) in enumerate(cases):
        exact.append(gap(k, T))
        dt = 0.025 / (a + eps * k * k)
        shots = [round(n / exact[-1] / dt) for n in (first_look, first_look + 1)]
        x = langevin(
            RuggedBowl(a, eps, k), T, np.full(count * times, 2.5 * np.sqrt(T / a)), dt, shots[1],
            run.seeds.key("noise", index), snapshots=shots,
        ).position  # fmt: skip
        first, second = x.mean(axis=0)
        lasting = (shots[1] - shots[0]) * dt
        found.append(np.log(first / second) / lasting)
        spread = (x[:, 0] / first - x[:, 1] / second).std(ddof=1)
        width.append(4 * spread / np.sqrt(len(x)) / lasting)
    grid = np.geomspace(0.024, 0.105, 61)
    line = np.array([cosine_relaxation(a, eps, float(T)) for T in grid])
    return [
        Comparison(
            "relaxation rate, ripples fine against the bowl",
            np.array([[cosine_relaxation(a, eps, T)] * 2 for T in temperatures]),
            np.array(rates),
            tolerance=0.06,
            reason="the gap converges as k^-2; at k = 20 it is off by 5 % where T = 0.05",
            relative=True,
            quantity="rate",
            unit="1/time",
            axes=(
                Axis("temperature", temperatures, "energy", log=True),
                Axis("gap", tuple(f"k = {k:g}" for k in wavenumbers)),
            ),
            log=True,
            curve=(grid, np.stack([line, line], axis=1)),
        ),
        Comparison(
            "few ripples: the formula is too slow",
            np.full(len(few), 1.4),
            np.array(ratios),
            tolerance=0.0,
            reason="a bound well away from 1: with ripples as wide as the bowl the rate is that of"
            " few wells",
            relation="at_least",
            quantity="gap / (a / I₀²)",
            axes=(Axis("ripples, temperature", tuple(f"k={k:g}, T={T:g}" for k, T in few)),),
            log=True,
        ),
        Comparison(
            "decay of the mean, simulated",
            np.array(exact),
            np.array(found),
            tolerance=0.25,
            reason="four standard errors of the logarithm of two means of replicas",
            relation="inside",
            relative=True,
            uncertainty=np.array(width),
            confidence="4 standard errors over replicas (false alarm 6e-5 a point)",
            quantity="rate",
            unit="1/time",
            axes=(Axis("ripples, temperature", tuple(f"k={k:g}, T={T:g}" for k, T, *_ in cases)),),
        ),
    ]


@PAPER.claim(
    "escape-time",
    says="From the bottom of a ripple the mean time to either neighbouring bottom is exactly"
    " (2π/k)²/(2D) over a cosine, and the double integral of the first-passage problem in a bowl.",
    tag="derived",
    derivation=ROUGH,
)
def escape_time(run: Run) -> Comparison:
    """Time the first passage of replicas, with ends moved inwards for the time between looks."""
    import numpy as np

    from theory.langevin import langevin
    from theory.rough_diffusion import cosine_diffusion
    from theory.rugged import RuggedBowl

    flat = RuggedBowl(curvature=FLAT, roughness=1.0, wavenumber=1.0)
    bowl = RuggedBowl(curvature=0.05, roughness=1.0, wavenumber=1.0)
    minima = bowl.minima()
    inner = minima.size // 2
    period = 2 * np.pi
    cases: list[tuple[str, RuggedBowl, float, float, float, float, float]] = [
        (f"flat, ε/T={r:g}", flat, 1 / r, 0.0, -period, period,
         period**2 / (2 * cosine_diffusion(r, 1.0)) * r)
        for r in (0.5, 1.0, 1.5)
    ]  # fmt: skip
    for side in (0, 1):
        low, x0, high = (float(x) for x in minima[inner + side - 1 : inner + side + 2])
        where = "bottom" if side == 0 else "next well"
        cases.append((f"bowl, {where}", bowl, 1.0, x0, low, high, bowl.escape_time(x0, 1.0)))
    replicas, dt = run.pick(quick=(768, 0.01), full=(16_384, 0.01))
    found, width = [], []
    for index, (_, which, T, x0, low, high, mean) in enumerate(cases):
        inward = MONITORED * np.sqrt(2 * T * dt)
        last = 7 * mean  # about e^-7 of the replicas or fewer are still inside
        times = langevin(
            which, T, np.full(replicas, x0), dt, round(last / dt), run.seeds.key("noise", index),
            exits=(low + inward, high - inward),
        ).exit_time  # fmt: skip
        assert times is not None
        passed = np.minimum(times, last)
        found.append(passed.mean())
        width.append(4 * passed.std(ddof=1) / np.sqrt(replicas) + dt * passed.mean())
    return Comparison(
        "mean time to a neighbouring bottom",
        np.array([case[-1] for case in cases]),
        np.array(found),
        tolerance=0.2,
        reason="four standard errors, and the step times the largest curvature",
        relation="inside",
        relative=True,
        uncertainty=np.array(width),
        confidence="4 standard errors over replicas (false alarm 6e-5 a point) and 1 % for the"
        " step",
        quantity="time",
        unit="1/(curvature of a ripple)",
        axes=(Axis("potential", tuple(case[0] for case in cases)),),
    )


@PAPER.claim(
    "trapping-line",
    says="A training time τ resolves the bowl behind its ripples above the temperature where"
    " I₀(ε/T)² = aτ: there the displacement has fallen to 1/e; at half that temperature most runs"
    " have not left the ripple that they started in.",
    tag="derived",
    derivation=LINE,
)
def trapping(run: Run) -> list[Comparison]:
    """Start replicas two ripples away from the bottom and look at them after τ."""
    import numpy as np

    from theory.langevin import langevin
    from theory.rough_diffusion import cosine_relaxation, trapping_temperature
    from theory.rugged import RuggedBowl

    bowl = RuggedBowl(curvature=1.0, roughness=0.1, wavenumber=40.0)
    dt = 0.05 / (bowl.curvature + bowl.roughness * bowl.wavenumber**2)
    minima = bowl.minima()
    low, x0, high = (float(x) for x in minima[minima.size // 2 + 1 : minima.size // 2 + 4])
    times = run.pick(quick=(3.0, 10.0), full=(3.0, 10.0, 30.0))
    relative = (0.5, 0.7, 1.0, 1.5)
    replicas = run.pick(quick=768, full=4096)
    shape = (len(relative), len(times))
    left, width, gone, share = (np.empty(shape) for _ in range(4))
    expected, law = np.empty(shape), np.empty(shape)
    for column, time in enumerate(run.progress(times, label="training time")):
        line = trapping_temperature(bowl.roughness, bowl.curvature, time)
        for row, factor in enumerate(relative):
            T = line * factor
            result = langevin(
                bowl, T, np.full(replicas, x0), dt, round(time / dt),
                run.seeds.key(f"noise {time:g}", row), exits=(low, high),
            )  # fmt: skip
            assert result.exit_time is not None
            x = result.position[:, 0] / x0
            left[row, column] = x.mean()
            width[row, column] = 4 * x.std(ddof=1) / np.sqrt(replicas)
            gone[row, column] = np.isfinite(result.exit_time).mean()
            rate = cosine_relaxation(bowl.curvature, bowl.roughness, T)
            expected[row, column] = np.exp(-rate * time)
            law[row, column] = -np.expm1(-time / bowl.escape_time(x0, T))
    # Agresti and Coull's: the width of a share, not 0 where all or none have left
    centred = (gone * replicas + 8) / (replicas + 16)
    share = 4 * np.sqrt(centred * (1 - centred) / replicas)
    names = tuple(f"aτ = {time:g}" for time in times)
    axes = (Axis("temperature / that of the line", relative, log=True), Axis("after", names))
    return [
        Comparison(
            "displacement left after training",
            expected,
            left,
            tolerance=0.25,
            reason="four standard errors: equilibrium is as wide as the start is far",
            relation="inside",
            uncertainty=width,
            confidence="4 standard errors over replicas (false alarm 6e-5 a point)",
            quantity="mean x / x₀",
            axes=axes,
        ),
        Comparison(
            "share of runs that reached another ripple",
            law,
            gone,
            tolerance=0.15,
            reason="four standard errors, 0.03 for a law of escape that is exponential for high"
            " barriers alone, and 0.02 for the step",
            relation="inside",
            uncertainty=share + 0.05,
            confidence="4 standard errors over replicas, and 0.05",
            quantity="share",
            axes=axes,
        ),
    ]
