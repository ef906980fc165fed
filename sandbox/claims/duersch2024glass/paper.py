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
            "Arrives with the optimiser; tested here is the theory that it uses.",
        ),
        (
            "ResNet-18 on CIFAR-10 (later a vision transformer): training curves with each"
            " curvature term, and exponents of gradient variation by group of layers.",
            "Arrives with the optimiser, and needs the paper's networks; exponents are tested here"
            " on small random networks.",
        ),
        (
            "The wording of the paper's theorems.",
            "Its abstract and the authors' public program were read. Formulas here are derived"
            " anew, and agree with that program where it has them.",
        ),
    ],
)
