"""The paper, and what of it is not tested."""

from sandbox.bench import Paper

__all__ = ["PAPER"]

PAPER = Paper(
    "benzing2022neurons",
    bibtex="""@inproceedings{benzing2022neurons,
  title     = {Gradient Descent on Neurons and its Link to Approximate Second-Order Optimization},
  author    = {Benzing, Frederik},
  booktitle = {Proceedings of the 39th International Conference on Machine Learning},
  series    = {Proceedings of Machine Learning Research},
  volume    = {162},
  pages     = {1817--1853},
  year      = {2022},
  eprint    = {2201.12250},
  archiveprefix = {arXiv},
}

@inproceedings{martens2015kfac,
  title     = {Optimizing Neural Networks with {K}ronecker-factored Approximate Curvature},
  author    = {Martens, James and Grosse, Roger},
  booktitle = {Proceedings of the 32nd International Conference on Machine Learning},
  year      = {2015},
  eprint    = {1503.05671},
  archiveprefix = {arXiv},
}""",
    not_attempted=[
        (
            "Figure 5: FOOF, K-FAC and SGD on CIFAR with Wide ResNet18, with and without batch"
            " normalisation and weight averaging; VGG11 on SVHN.",
            "25,000 updates of a residual network an arm, seed and grid point: weeks on two cores."
            " Networks, weight averaging and the settings (presets 5B to 5D) are there.",
        ),
        (
            "Appendix J: autoencoders on MNIST, CURVES and FACES are the exception: K-FAC's own run"
            " ends slightly lower than FOOF's.",
            "100 to 200 epochs of an eight-layer network for every grid point; CURVES and FACES"
            " are not among this project's data sets.",
        ),
        (
            "Figures 1C and 2A to 2C: larger batches for the Fisher matrix, networks without hidden"
            " layers, block-diagonal natural gradient.",
            "Variations of the first claim. Their settings are presets, the optimiser has the"
            " options fisher_samples and blocks.",
        ),
        (
            "Exact natural gradient with the expectation over all labels, for all 1000 images.",
            "A system of 9000 unknowns in every update. The sampled one is tested at that size.",
        ),
        (
            "Standard damping with factors that come one step late, as in the public code.",
            "With all data in a batch, claims here take the factors of the present weights: the"
            " method as written. The order matters: at the settings that are best for present"
            " factors, late ones diverge under every rule; they need a search of their own.",
        ),
        (
            "Figure 4A: seconds an epoch on a GPU.",
            "Of one machine. Ratios of times measured side by side are tested instead.",
        ),
        (
            "FOOF with the average of steps of single samples is no better than SGD.",
            "Mentioned in passing, without settings.",
        ),
    ],
)
"""Benzing (2022): is K-FAC a second-order method, or descent on the outputs of neurons?"""
