"""The paper, and what of it is not tested."""

from sandbox.bench import Paper

__all__ = ["PAPER"]

PAPER = Paper(
    "aytekin2019compressibility",
    bibtex="""@misc{aytekin2019compressibility,
  title         = {Compressibility Loss for Neural Network Weights},
  author        = {Aytekin, Caglar and Cricri, Francesco and Aksu, Emre},
  year          = {2019},
  eprint        = {1905.01044},
  archiveprefix = {arXiv},
}""",
    not_attempted=[
        (
            "Networks trained with the loss reach sparsity and compression ratios comparable with"
            " the state of the art.",
            "Training tables arrive with the regularisers.",
        ),
        (
            "Minimising the loss gives nonzero weights low entropy, so that they compress well.",
            "Tested are the entropy of ternary weights and the length of an enumerative code; a"
            " coder of trained weights arrives with the regularisers.",
        ),
    ],
)
