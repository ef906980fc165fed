"""A user's file with one claim for every verdict and every relation."""

from sandbox.bench import Axis, Comparison, Paper, Run, lazy

PAPER = Paper(
    "me2026idea",
    bibtex="""@article{me2026idea,
  title  = {An {I}dea of <Mine> \\& yours},
  author = {Me, A. and You, B.},
  year   = 2026,
  doi    = {10.1000/182},
}""",
    not_attempted=[("Everything <else>", "no time & no money")],
)


@PAPER.claim(
    "holds",
    says="Squares are <b>squares</b> & nothing else.",
    tag="derived",
    derivation=lazy("derivations_beside:squares"),
)
def holds(run: Run) -> list[Comparison]:
    import numpy as np

    x = np.logspace(-2, 1, 7)
    scale = Axis("scale", tuple(x), "m", log=True)
    equal = Comparison(
        "squares", x**2, x * x * (1 + 1e-13), 1e-12, "rounding", relative=True, quantity="area",
        unit="m²", log=True, axes=(scale,), curve=(np.logspace(-2, 1, 50), np.logspace(-4, 2, 50)),
    )  # fmt: skip
    above = Comparison("below", 2 * x, x, 0.0, "a bound", relation="at_most", axes=(scale,))
    below = Comparison("above", x, 2 * x, 0.0, "a bound", relation="at_least", axes=(scale,))
    order = Comparison(
        "order", [1, 2, 3], [0.1, 0.5, 0.7], 0.0, "strict", relation="ordered",
        axes=(Axis("rule", ("one", "two", "three")),),
    )  # fmt: skip
    noisy = Comparison(
        "noisy", [1.0, 2.0], [1.1, 1.9], 0.2, "half-width asked for", relation="inside",
        uncertainty=0.15, confidence="95 % interval over 9 seeds", axes=(Axis("n", (1, 2)),),
    )  # fmt: skip
    return [equal, above, below, order, noisy]


@PAPER.claim("fails", says="Two and two are four and a bit.", tag="paper")
def fails(run: Run) -> Comparison:
    return Comparison("sum", 4.04, 2.0 + 2.0, tolerance=1e-3, reason="it is meant to fail")


@PAPER.claim("unsure", says="Nobody knows.", tag="paper")
def unsure(run: Run) -> Comparison:
    return Comparison("guess", 1.0, 1.0, 0.1, "asked for", uncertainty=0.5, confidence="2 seeds")


@PAPER.claim("raises", says="It raises.", tag="standard")
def raises(run: Run) -> Comparison:
    raise RuntimeError("<boom> & bust")


@PAPER.claim("needy", says="It needs what is not there.", tag="paper", needs=["gpu"])
def needy(run: Run) -> Comparison:
    raise AssertionError("never called without a GPU")


@PAPER.claim("endless", says="Some never arrive.", tag="derived")
def endless(run: Run) -> Comparison:
    inf = float("inf")
    return Comparison(
        "time to learn", [1.0, inf], [1.0, 7.0], 1e-9, "closed form", quantity="time", unit="s",
        axes=(Axis("depth", (2, 3)),),
    )  # fmt: skip
