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
            "Table 1 at its full size: Split and Permuted MNIST and Fashion-MNIST, three seeds.",
            "Hours of training each. The settings are presets (synapses.presets); claims at full"
            " take Split Fashion-MNIST. The standard error of 0.01 printed for Split MNIST is less"
            " than the spread between three stochastic networks allows.",
        ),
        (
            "Continuous Permuted MNIST, 0.8539 ± 0.006.",
            "The stream is there (permuted_tasks with blend = 0.125) and so is the preset; the run"
            " takes hours.",
        ),
        (
            "Elastic weight consolidation and Bayesian gradient descent as baselines.",
            "Neither their code nor their settings were published with the paper.",
        ),
    ],
)
