"""The paper, and what of it is not tested."""

from sandbox.bench import Paper

__all__ = ["PAPER"]

PAPER = Paper(
    "schug2021presynaptic",
    bibtex="""@article{schug2021presynaptic,
  title   = {Presynaptic stochasticity improves energy efficiency and helps alleviate
             the stability-plasticity dilemma},
  author  = {Schug, Simon and Benzing, Frederik and Steger, Angelika},
  journal = {eLife},
  volume  = {10},
  pages   = {e69884},
  year    = {2021},
  doi     = {10.7554/eLife.69884},
}""",
    not_attempted=[
        (
            "Presynaptic consolidation helps on Split and Permuted MNIST and Fashion-MNIST.",
            "Needs hours of training and the energy models' presets, which are not built yet.",
        ),
        (
            "Elastic weight consolidation and Bayesian gradient descent as baselines.",
            "Neither their code nor their settings were published with the paper.",
        ),
    ],
)
