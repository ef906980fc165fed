"""The paper, and what of it is not tested."""

from sandbox.bench import Paper

__all__ = ["PAPER"]

PAPER = Paper(
    "liu2022plstar",
    bibtex="""@article{liu2022plstar,
  title   = {Loss landscapes and optimization in over-parameterized non-linear systems and neural
             networks},
  author  = {Liu, Chaoyue and Zhu, Libin and Belkin, Mikhail},
  journal = {Applied and Computational Harmonic Analysis},
  volume  = {59},
  pages   = {85--116},
  year    = {2022},
  doi     = {10.1016/j.acha.2021.12.009},
  eprint  = {2003.00307},
}""",
    not_attempted=[
        (
            "Theorems 4 and 8: a network of width n R^(6L+2)/(λ₀ − μ/ρ²)², up to constants and"
            " logarithms, satisfies PL* on a ball of radius R, so that gradient descent solves it.",
            "The constants are hidden, so no width can be held against them; certificates with all"
            " constants are tested on two layers.",
        ),
        (
            "Theorem 5: the Hessian of a network of depth L is at most R^(3L)/√width, up to"
            " constants and logarithms.",
            "The power of the radius is an upper bound with hidden constants; the power of the"
            " width is tested, at two layers.",
        ),
        (
            "Theorem 13: the same for convolutional and residual networks.",
            "Needs networks that the claims here do not build; its constants are hidden as well.",
        ),
        (
            "Proposition 6: a network wide enough, (n + 1)^depth, has no isolated minima.",
            "The absence of something everywhere cannot be measured, and the width is out of"
            " reach for more than a few samples.",
        ),
        (
            "Proposition 2 and section 3: around a solution the loss of an over-parameterised"
            " system is typically not convex.",
            "Convexity is not measured here; the convergence of systems that are not convex is.",
        ),
        (
            "Theorem 10: stochastic descent under the inequality that holds down to a loss of ε.",
            "Its two parts, the stochastic rate and the inequality above ε, are tested apart.",
        ),
        (
            "Theorem 11: the 1/s(m) law of general sums of small parts.",
            "Tested for two-layer networks, its main case.",
        ),
    ],
)
