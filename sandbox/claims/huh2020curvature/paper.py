"""The paper, and what of it is not tested."""

from sandbox.bench import Paper

__all__ = ["PAPER"]

PAPER = Paper(
    "huh2020curvature",
    bibtex="""@inproceedings{huh2020curvature,
  title     = {Curvature-corrected learning dynamics in deep neural networks},
  author    = {Huh, Dongsung},
  booktitle = {Proceedings of the 37th International Conference on Machine Learning},
  series    = {Proceedings of Machine Learning Research},
  volume    = {119},
  pages     = {4552--4560},
  year      = {2020},
  url       = {https://proceedings.mlr.press/v119/huh20a.html},
}""",
    not_attempted=[
        (
            "The paper's own figures: learning curves of its teacher-student task, size by size.",
            "Size, rank, depth and signal-to-noise ratio of the published runs could not be"
            " read anywhere; the qualitative statements are tested on settings stated here.",
        ),
        (
            "Clipping of the update speed, used by the paper for the two natural-gradient rules.",
            "The clipping threshold is not known; damping, the other remedy, is tested instead.",
        ),
    ],
)
