"""The paper, and what of it is not tested."""

from sandbox.bench import Paper

__all__ = ["PAPER"]

PAPER = Paper(
    "duersch2024glass",
    bibtex="""@misc{duersch2024glass,
  title         = {Curvature in the Looking-Glass: Optimal Methods to Exploit Curvature of
                   Expectation in the Loss Landscape},
  author        = {Duersch, Jed A. and Catanach, Tommie A. and Safonov, Alexander and
                   Wendt, Jeremy},
  year          = {2024},
  eprint        = {2411.16914},
  archiveprefix = {arXiv},
  primaryclass  = {cs.LG},
}""",
    not_attempted=[
        (
            "Alice, an optimiser with glass density, Hessian and step bounds, tells which"
            " curvature terms help training.",
            "What the optimiser does is tested: its look-ahead, its bounds, its diagnosis. That it"
            " trains better than Adam, with whatever terms, is not claimed: the published curves"
            " lie close together without error bars, and the later version calls it a probe.",
        ),
        (
            "ResNet-18 on CIFAR-10 (later a vision transformer): accuracy and training curves of"
            " seven methods, 30 seeds of 90 epochs.",
            "No published accuracy could be read off a table to hold ours against, and 210 such"
            " runs need days on a GPU. The settings are kept as presets; the same modes and bounds"
            " are tested on small networks.",
        ),
        (
            "Exponents of gradient variation by group of layers of ResNet-18, over 40 epochs.",
            "Tested on trained networks of three layers on digits, at the largest scale with the"
            " published settings of the optimiser.",
        ),
        (
            "The wording of the paper's theorems.",
            "Its abstract and the authors' public program were read. Formulas here are derived"
            " anew, and agree with that program where it has them.",
        ),
    ],
)
