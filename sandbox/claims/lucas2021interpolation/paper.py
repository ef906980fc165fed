"""The paper, and what of it is not tested."""

from sandbox.bench import Paper

__all__ = ["PAPER"]

PAPER = Paper(
    "lucas2021interpolation",
    bibtex="""@inproceedings{lucas2021interpolation,
  title     = {On Monotonic Linear Interpolation of Neural Network Parameters},
  author    = {Lucas, James R. and Bae, Juhan and Zhang, Michael R. and Fort, Stanislav and
               Zemel, Richard and Grosse, Roger B.},
  booktitle = {International Conference on Machine Learning},
  series    = {Proceedings of Machine Learning Research},
  volume    = {139},
  year      = {2021},
  eprint    = {2104.11044},
  archiveprefix = {arXiv},
}""",
    not_attempted=[
        (
            "The training loss falls along the line for classifiers on MNIST and Fashion-MNIST,"
            " autoencoders, residual networks on CIFAR-10 and CIFAR-100, and language models.",
            "Training tables arrive with the landscape tools; tested are the theorems.",
        ),
        (
            "Large learning rates, Adam and batch normalisation, which move weights far, break"
            " monotonicity systematically.",
            "Arrives with the landscape tools.",
        ),
        (
            "The loss also falls on the line from unrelated initial parameters to trained ones.",
            "Arrives with the landscape tools.",
        ),
    ],
)
