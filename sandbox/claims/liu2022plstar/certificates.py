"""Certified, converged without a certificate, not converged: three outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.liu2022plstar.paper import PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__: list[str] = []

WEYL = lazy("theory.conditioning:singular_value_certificate")
SOLVED = 1e-6
"""Share of the first loss below which a descent counts as converged."""


@PAPER.claim(
    "certificates",
    says="From a certified start everything promised is kept: the kernel's least eigenvalue, the"
    " ball, the rate. An uncertified start may converge as well, or not.",
    tag="derived",
    derivation=WEYL,
)
def certificates(run: Run) -> list[Comparison]:
    """Descend from certified and uncertified starts of tanh networks of two inputs."""
    import numpy as np

    from sandbox.claims.liu2022plstar._experiments import descend
    from sandbox.claims.liu2022plstar._instances import tanh_network

    cases = ((8000, 1.0), (1300, 1.0), (300, 1.0), (20, 1.0), (4, 3.0))
    names, kept, ends, promises = [], [], [], []
    steps = 12
    for number, (width, residual) in enumerate(run.progress(cases, label="starts")):
        instance = tanh_network("", run, width, residual, number)
        known = instance.certificate
        names.append(f"m = {width}, |r₀| = {residual:g}, {known.status}")
        end = descend(
            instance.system, instance.start, instance.targets, known.step_size, steps, watch=True
        )
        shares = end.losses / end.losses[0]
        ends.append(shares[-1])
        certified = known.status == "certified"
        promises.append(known.rate**steps if certified else np.inf)
        if certified:
            clear = shares > 1e-20
            factor = (end.losses[1:] / np.where(clear, end.losses, np.inf)[:-1]).max()
            kept.append([
                known.mu / end.eigenvalues.min(),
                end.path / known.radius,
                factor / known.rate,
            ])  # fmt: skip
    good = tuple(name.removesuffix(", certified") for name in names[: len(kept)])
    return [
        Comparison(
            "promises of certified starts",
            np.ones((3, len(kept))),
            np.array(kept).T,
            tolerance=1e-9,
            reason="rounding",
            relation="at_most",
            quantity="share of what is allowed",
            axes=(Axis("promise", ("μ over λ_min", "path", "rate")), Axis("start", good)),
        ),
        Comparison(
            f"loss after {steps} steps: promised, or not",
            np.array(promises),
            np.array(ends),
            tolerance=0.0,
            reason="a bound where there is one; infinite where nothing is promised",
            relation="at_most",
            quantity="loss, share of the first",
            axes=(Axis("start", tuple(names)),),
            log=True,
        ),
    ]


def draw_outcomes(figure: Figure, comparisons: list[Comparison]) -> None:
    """Draw the map of outcomes beside the certifying widths."""
    from sandbox.bench.figures import draw_comparison

    shares, widths = comparisons
    figure.set_size_inches(9.6, 5.0)
    grid = figure.add_gridspec(2, 2, height_ratios=[3.0, 1.3])
    axes = figure.add_subplot(grid[:, 0])
    columns, rows = (axis.values for axis in shares.axes)
    looks = {
        "certified": ("o", "#0072B2", "full"),
        "uncertified, converged": ("s", "#009E73", "none"),
        "uncertified, not all converged": ("X", "#D55E00", "full"),
    }
    places: dict[str, list[tuple[Any, Any]]] = {name: [] for name in looks}
    for i, width in enumerate(columns):
        for j, residual in enumerate(rows):
            promised, found = shares.predicted[i, j], shares.measured[i, j]
            kind = (
                "certified" if promised == 1
                else "uncertified, converged" if found == 1
                else "uncertified, not all converged"
            )  # fmt: skip
            places[kind].append((width, float(str(residual).split()[-1])))
    for name, (marker, colour, fill) in looks.items():
        x, y = zip(*places[name], strict=True) if places[name] else ((), ())
        axes.plot(x, y, ls="none", marker=marker, color=colour, fillstyle=fill, ms=7, label=name)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(columns, [f"{width:g}" for width in columns])
    heights = [float(str(residual).split()[-1]) for residual in rows]
    axes.set_yticks(heights, [f"{height:g}" for height in heights])
    axes.minorticks_off()
    axes.set_xlabel("width m")
    axes.set_ylabel("error |r₀| at the start")
    axes.set_title("four starts a place", pad=44)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=1)
    upper = figure.add_subplot(grid[0, 1])
    draw_comparison(upper, figure.add_subplot(grid[1, 1], sharex=upper), widths)


@PAPER.claim(
    "three-outcomes",
    says="Of tanh networks of two inputs all that are certified converge, and most that are not:"
    " certified, converged without a certificate and not converged are three outcomes. Theorems 2"
    " and 6 ask for 6523|r₀|² units, the length of the path for 1278|r₀|², singular values for"
    " 176|r₀|².",
    tag="derived",
    derivation=WEYL,
    plot=draw_outcomes,
)
def three_outcomes(run: Run) -> list[Comparison]:
    """Descend from four starts at every width and error; look for the least width that does."""
    import numpy as np

    from sandbox.claims.liu2022plstar._experiments import descend
    from sandbox.claims.liu2022plstar._instances import tanh_network
    from theory.conditioning import certifying_width
    from theory.wide_kernels import slope_second_moment

    widths = run.pick(
        quick=(2, 8, 32, 128, 512, 2048), full=(2, 4, 8, 16, 32, 64, 128, 512, 2048, 8192)
    )
    residuals = (0.25, 0.5, 1.0, 2.0, 4.0)
    starts = 4
    promised = np.zeros((len(widths), len(residuals)))
    solved = np.zeros_like(promised)
    for i, width in enumerate(run.progress(widths, label="widths")):
        for j, residual in enumerate(residuals):
            for number in range(starts):
                instance = tanh_network("", run, width, residual, 1000 * i + 10 * j + number)
                known = instance.certificate
                end = descend(
                    instance.system, instance.start, instance.targets, known.step_size, 1000,
                    below=SOLVED * residual**2 / 2,
                )  # fmt: skip
                promised[i, j] += known.status == "certified"
                solved[i, j] += end.losses[-1] < SOLVED * residual**2 / 2
    least = slope_second_moment("tanh")
    bend = 4 / (3 * np.sqrt(3))
    proofs = {"published": "theorems 2, 6", "path": "path", "singular value": "singular values"}
    needed = np.array([
        [certifying_width(least, bend, r, outputs=2, proof=proof) for proof in proofs]
        for r in residuals
    ])  # fmt: skip
    enough = []
    for j in range(len(residuals)):
        bad = np.flatnonzero(solved[:, j] < starts)
        # the first width from which on every start converges
        enough.append(float(widths[bad[-1] + 1]) if len(bad) else float(widths[0]))
    return [
        Comparison(
            "share of starts that converge, at least the certified share",
            promised / starts,
            solved / starts,
            tolerance=0.0,
            reason="whole starts",
            relation="at_least",
            quantity="share",
            axes=(
                Axis("width m", widths, log=True),
                Axis("error", tuple(f"|r₀| = {r:g}" for r in residuals)),
            ),
        ),
        Comparison(
            "width from which on all converged",
            needed,
            np.repeat(np.array(enough)[:, None], 3, axis=1),
            tolerance=0.0,
            reason="sufficient widths; how much is spared is what the figure shows",
            relation="at_most",
            quantity="width m",
            axes=(
                Axis("error |r₀| at the start", residuals, log=True),
                Axis("certified by", tuple(proofs.values())),
            ),
            log=True,
        ),
    ]
