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
            "The tables of the paper, and how its networks were trained, could not be read; tested"
            " are order and size of the effects on small networks, with a range coder.",
        ),
    ],
)
