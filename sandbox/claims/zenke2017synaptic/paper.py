"""The paper, and what of it is not tested."""

from sandbox.bench import Paper

__all__ = ["PAPER"]

PAPER = Paper(
    "zenke2017synaptic",
    bibtex="""@inproceedings{zenke2017synaptic,
  title     = {Continual Learning Through Synaptic Intelligence},
  author    = {Zenke, Friedemann and Poole, Ben and Ganguli, Surya},
  booktitle = {Proceedings of the 34th International Conference on Machine Learning},
  series    = {Proceedings of Machine Learning Research},
  volume    = {70},
  pages     = {3987--3995},
  year      = {2017},
  eprint    = {1703.04200},
  archiveprefix = {arXiv},
}

@inproceedings{benzing2022importance,
  title     = {Unifying Importance Based Regularisation Methods for Continual Learning},
  author    = {Benzing, Frederik},
  booktitle = {Proceedings of the 25th International Conference on Artificial Intelligence and
               Statistics},
  series    = {Proceedings of Machine Learning Research},
  volume    = {151},
  year      = {2022},
  eprint    = {2006.06357},
  archiveprefix = {arXiv},
}""",
    not_attempted=[
        (
            "Accuracies on permuted MNIST, ten tasks, beside those of elastic weight"
            " consolidation.",
            "Hours of a graphics card a seed. The settings are the paper scale of the claim on"
            " permuted tasks, against no protection; EWC has claims of its own.",
        ),
        (
            "CIFAR-10 followed by five tasks of CIFAR-100: a network that learned all tasks in turn"
            " generalises better than networks trained from scratch on the small tasks.",
            "Sixty epochs of a convolutional network on six tasks: days on two cores.",
        ),
        (
            "Correlations of the importances of different tasks: consolidated synapses serve"
            " one task each, others are shared in the last layer.",
            "A figure of one network, without a number that could be compared.",
        ),
    ],
)
