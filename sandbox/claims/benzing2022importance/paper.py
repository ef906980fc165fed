"""The paper, and what of it is not tested."""

from sandbox.bench import Paper

__all__ = ["PAPER"]

PAPER = Paper(
    "benzing2022importance",
    bibtex="""@inproceedings{benzing2022importance,
  title     = {Unifying Importance Based Regularisation Methods for Continual Learning},
  author    = {Benzing, Frederik},
  booktitle = {Proceedings of the 25th International Conference on Artificial Intelligence and
               Statistics},
  series    = {Proceedings of Machine Learning Research},
  volume    = {151},
  year      = {2022},
  eprint    = {2006.06357},
  archiveprefix = {arXiv},
}

@inproceedings{zenke2017synaptic,
  title     = {Continual Learning Through Synaptic Intelligence},
  author    = {Zenke, Friedemann and Poole, Ben and Ganguli, Surya},
  booktitle = {Proceedings of the 34th International Conference on Machine Learning},
  year      = {2017},
  eprint    = {1703.04200},
  archiveprefix = {arXiv},
}

@inproceedings{aljundi2018memory,
  title     = {Memory Aware Synapses: Learning What (Not) to Forget},
  author    = {Aljundi, Rahaf and Babiloni, Francesca and Elhoseiny, Mohamed and
               Rohrbach, Marcus and Tuytelaars, Tinne},
  booktitle = {European Conference on Computer Vision},
  year      = {2018},
  eprint    = {1711.09601},
  archiveprefix = {arXiv},
}""",
    not_attempted=[
        (
            "The published table: mean accuracies of all methods on permuted MNIST and on split"
            " CIFAR-10/100, five or more seeds each.",
            "Its numbers are not confirmed here and no claim compares with them. Claims compare"
            " methods with each other instead; the settings and the single-seed results released"
            " with the author's program are presets.",
        ),
        (
            "Split CIFAR-10/100: six tasks, convolutional network with dropout, a head a task.",
            "60 epochs a task on a convolutional network: days on two cores for a few seeds; the"
            " settings are presets.",
        ),
        (
            "OnAF, the sum of the gradients' moduli, of the first version of the paper.",
            "The second version replaces it by SOS.",
        ),
        (
            "Correlations task by task along a stream of six or ten tasks.",
            "Tested after one task and after two: the second is the first with a penalty.",
        ),
        (
            "Dropout in the training step but not in the gradient that SI multiplies it by.",
            "Part of the released program for CIFAR alone; networks here have no dropout.",
        ),
    ],
)
"""Benzing (2022): three importances of weights, one quantity behind them."""
