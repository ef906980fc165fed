"""Simulated Langevin dynamics against the Gibbs law, moment by moment."""

from __future__ import annotations

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.yang2021taxonomy.paper import PAPER

__all__: list[str] = []

NAMES = ("second_moment", "loss", "squared_gradient", "curvature")


@PAPER.claim(
    "gibbs-moments",
    says="Langevin dynamics in the rugged bowl settles at the moments of the Gibbs law that Bessel"
    " series give, and the mean curvature is the mean squared gradient over the temperature.",
    tag="derived",
    derivation=lazy("theory.rugged:gibbs_identities"),
)
def gibbs_moments(run: Run) -> list[Comparison]:
    """Average over time and replicas with two steps, and extrapolate to the step 0."""
    import numpy as np

    from theory.langevin import langevin
    from theory.rough_diffusion import cosine_relaxation
    from theory.rugged import RuggedBowl

    bowl = RuggedBowl(curvature=1.0, roughness=0.1, wavenumber=5.0)
    temperatures = (0.05, 0.1, 0.2, 0.4)
    replicas, length = run.pick(quick=(2048, 30.0), full=(8192, 120.0))
    coarse = 0.05 / (bowl.curvature + bowl.roughness * bowl.wavenumber**2)
    found = np.empty((len(temperatures), len(NAMES)))
    errors = np.empty_like(found)
    for row, T in enumerate(run.progress(temperatures, label="temperature")):
        # eight relaxation times: e^-8 of what the start has wrong
        settle = 8 / cosine_relaxation(bowl.curvature, bowl.roughness, T)
        parts = []
        for refinement in (1, 2):
            dt = coarse / refinement
            start = run.seeds.generator(f"start {T:g}", refinement).normal(size=replicas)
            result = langevin(
                bowl, T, start * np.sqrt(T / bowl.curvature), dt,
                round((settle + length) / dt), run.seeds.key(f"noise {T:g}", refinement),
                average_from=round(settle / dt), average_every=10 * refinement,
            )  # fmt: skip
            assert result.averages is not None
            estimates = result.averages.estimates()
            parts.append(np.array([estimates[name] for name in NAMES]))
        # the error is of first order in dt: twice the finer result less the coarser one
        found[row] = 2 * parts[1][:, 0] - parts[0][:, 0]
        errors[row] = np.hypot(2 * parts[1][:, 1], parts[0][:, 1])
    found[:, 2] /= temperatures
    errors[:, 2] /= temperatures
    exact = [bowl.gibbs(T) for T in temperatures]
    grid = np.geomspace(0.04, 0.5, 61)
    fine = [bowl.gibbs(float(T)) for T in grid]
    axis = Axis("temperature", temperatures, "energy", log=True)
    said = "4 standard errors over replicas (false alarm 6e-5 a point)"
    return [
        Comparison(
            "mean square position and mean loss",
            np.array([[each.second_moment, each.mean_loss] for each in exact]),
            found[:, :2],
            tolerance=0.03,
            reason="four standard errors, a thirteenth of the largest moment; steps are 1/20 and"
            " 1/40 of the shortest time, and the extrapolation leaves an error of second order",
            relation="inside",
            uncertainty=4 * errors[:, :2],
            confidence=said,
            quantity="moment",
            unit="length², energy",
            axes=(axis, Axis("moment", ("⟨x²⟩", "⟨L⟩"))),
            curve=(grid, np.array([[each.second_moment, each.mean_loss] for each in fine])),
        ),
        Comparison(
            "mean curvature, and mean squared gradient over T",
            np.array([[each.mean_curvature] * 2 for each in exact]),
            found[:, [3, 2]],
            tolerance=0.08,
            reason="four standard errors, a fiftieth of the curvature of a well",
            relation="inside",
            uncertainty=4 * errors[:, [3, 2]],
            confidence=said,
            quantity="curvature",
            unit="energy/length²",
            axes=(axis, Axis("measured as", ("⟨L''⟩", "⟨L'²⟩/T"))),
            curve=(grid, np.array([[each.mean_curvature] * 2 for each in fine])),
        ),
    ]
