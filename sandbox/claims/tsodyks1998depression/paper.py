"""The paper, and what of it is not tested."""

from sandbox.bench import Paper

__all__ = ["PAPER"]

PAPER = Paper(
    "tsodyks1998depression",
    bibtex="""@article{tsodyks1998depression,
  title   = {Neural Networks with Dynamic Synapses},
  author  = {Tsodyks, Misha and Pawelzik, Klaus and Markram, Henry},
  journal = {Neural Computation},
  volume  = {10},
  number  = {4},
  pages   = {821--835},
  year    = {1998},
  doi     = {10.1162/089976698300017502},
}""",
    not_attempted=[
        (
            "Large networks of such synapses have regular and irregular regimes of activity, which"
            " mean-field equations describe.",
            "Tested are single synapses; no network of them is simulated here.",
        ),
        (
            "Released transmitter stays active for a few milliseconds and is then inactive (three"
            " states).",
            "The two-variable form is tested, which the three states come down to where transmitter"
            " is inactivated much faster than it recovers; there is no builder for three states.",
        ),
        (
            "Depressing and facilitating synapses transmit different aspects of a changing"
            " presynaptic rate.",
            "Only constant rates are tested.",
        ),
    ],
)
