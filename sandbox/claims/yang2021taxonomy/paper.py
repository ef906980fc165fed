"""The paper, and what of it is not tested."""

from sandbox.bench import Paper

__all__ = ["PAPER"]

PAPER = Paper(
    "yang2021taxonomy",
    bibtex="""@inproceedings{yang2021taxonomy,
  title         = {Taxonomizing local versus global structure in neural network loss landscapes},
  author        = {Yang, Yaoqing and Hodgkinson, Liam and Theisen, Ryan and Zou, Joe and
                   Gonzalez, Joseph E. and Ramchandran, Kannan and Mahoney, Michael W.},
  booktitle     = {Advances in Neural Information Processing Systems},
  volume        = {34},
  year          = {2021},
  eprint        = {2107.11228},
  archiveprefix = {arXiv},
}""",
    not_attempted=[
        (
            "A simple one-dimensional model with load-like and temperature-like parameters"
            " explains the phases by an effective loss landscape (abstract of the first version).",
            "Only the abstract of that version was at hand and the published one has no such model:"
            " the one-dimensional bowl tested here, with all its formulas, is this project's own"
            " construction and speaks for or against the paper only by analogy.",
        ),
        (
            "Over load and temperature, networks fall into phases told apart by training loss,"
            " Hessian, mode connectivity and CKA similarity (ResNet18 on CIFAR-10 and other"
            " settings).",
            "Each grid takes days on eight graphics processors: hundreds of cells, five networks"
            " a cell.",
        ),
        (
            "Test accuracy is best where the loss landscape is globally well connected and"
            " networks are similar, not where the Hessian is smallest.",
            "Needs the same grids of trained networks.",
        ),
        (
            "Label noise leaves the Hessian nearly as it is and worsens connectivity and"
            " similarity.",
            "Needs networks trained on noisy labels, at every width and batch size.",
        ),
        (
            "Double descent, in width and in temperature, follows the transition of the Hessian.",
            "For networks not tested; for linear regression the peak and its growth with the"
            " temperature are tested exactly.",
        ),
    ],
)
