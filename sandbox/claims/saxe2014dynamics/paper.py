"""The paper, and what of it is not tested."""

from sandbox.bench import Paper

__all__ = ["PAPER"]

PAPER = Paper(
    "saxe2014dynamics",
    bibtex="""@inproceedings{saxe2014dynamics,
  title     = {Exact solutions to the nonlinear dynamics of learning
               in deep linear neural networks},
  author    = {Saxe, Andrew M. and McClelland, James L. and Ganguli, Surya},
  booktitle = {International Conference on Learning Representations},
  year      = {2014},
  eprint    = {1312.6120},
  archiveprefix = {arXiv},
}""",
    not_attempted=[
        (
            "Greedy unsupervised pretraining finds the initial conditions of fast learning.",
            "Needs autoencoder pretraining, which the training core does not have yet.",
        ),
        (
            "Random orthogonal starts keep learning times of deep nonlinear networks bounded.",
            "Needs trained deep nonlinear networks, which the training core does not have yet.",
        ),
    ],
)
