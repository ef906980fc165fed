"""Elastic weight consolidation: the papers, and what of them is not tested."""

from sandbox.bench import Paper

__all__ = ["PAPER"]

PAPER = Paper(
    "kirkpatrick2017elastic",
    bibtex="""@article{kirkpatrick2017elastic,
  title   = {Overcoming catastrophic forgetting in neural networks},
  author  = {Kirkpatrick, James and Pascanu, Razvan and Rabinowitz, Neil and Veness, Joel
             and Desjardins, Guillaume and Rusu, Andrei A. and Milan, Kieran and Quan, John
             and Ramalho, Tiago and Grabska-Barwinska, Agnieszka and Hassabis, Demis
             and Clopath, Claudia and Kumaran, Dharshan and Hadsell, Raia},
  journal = {Proceedings of the National Academy of Sciences},
  volume  = {114},
  number  = {13},
  pages   = {3521--3526},
  year    = {2017},
  doi     = {10.1073/pnas.1611835114},
  eprint  = {1612.00796},
  archiveprefix = {arXiv},
}

@article{huszar2018note,
  title   = {Note on the quadratic penalties in elastic weight consolidation},
  author  = {Husz{\\'a}r, Ferenc},
  journal = {Proceedings of the National Academy of Sciences},
  volume  = {115},
  number  = {11},
  pages   = {E2496--E2497},
  year    = {2018},
  doi     = {10.1073/pnas.1717042115},
  eprint  = {1712.03847},
  archiveprefix = {arXiv},
}

@inproceedings{schwarz2018progress,
  title     = {Progress \\& Compress: A scalable framework for continual learning},
  author    = {Schwarz, Jonathan and Czarnecki, Wojciech and Luketina, Jelena
               and Grabska-Barwinska, Agnieszka and Teh, Yee Whye and Pascanu, Razvan
               and Hadsell, Raia},
  booktitle = {Proceedings of the 35th International Conference on Machine Learning},
  series    = {Proceedings of Machine Learning Research},
  volume    = {80},
  pages     = {4528--4537},
  year      = {2018},
  eprint    = {1805.06370},
  archiveprefix = {arXiv},
}

@misc{vandeven2025computation,
  title  = {On the Computation of the {F}isher Information in Continual Learning},
  author = {van de Ven, Gido M.},
  year   = {2025},
  eprint = {2502.11756},
  archiveprefix = {arXiv},
}""",
    not_attempted=[
        (
            "Figure 3: ten Atari games in random order, with task recognition and task-specific"
            " biases and gains, played for the better part of human scores.",
            "Reinforcement learning of a deep Q-network over 200 million frames a game: thousands"
            " of hours on two cores, and no environments or agents are part of this project.",
        ),
        (
            "Figure 2: permuted MNIST with networks of two to six layers of 400 to 2000 units;"
            " dropout with early stopping falls behind at ten tasks.",
            "Layers, widths and rates come from a random search over fifty settings a method. The"
            " claim here is of small networks on permuted digits; the command for continual"
            " learning runs the larger ones.",
        ),
        (
            "Figure 2C: the overlap of two tasks' Fisher matrices grows with depth for tasks that"
            " differ little.",
            "Needs the trained six-layer networks of that figure.",
        ),
        (
            "The supplement's signal-to-noise analysis: forgetting of random binary patterns by a"
            " linear network falls as a power law with elastic weight consolidation.",
            "A theory of its own, of perceptrons on random patterns, not of the regulariser.",
        ),
        (
            "Schwarz et al. (2018): distilling a flexible column into a protected one; Omniglot,"
            " Atari and mazes.",
            "An architecture and training scheme beyond the penalty, of which the decay is here.",
        ),
        (
            "van de Ven (2025): which Fisher estimate gives the best accuracy on split MNIST and"
            " CIFAR-10.",
            "Thirty seeds and some ten strengths for each of six estimates of a residual network."
            " What the estimates are worth as numbers is tested here.",
        ),
    ],
)
"""Kirkpatrick et al. (2017): a quadratic penalty weighted by the Fisher diagonal."""
