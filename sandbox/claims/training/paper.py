"""What the training core rests on; it is nobody's paper."""

from sandbox.bench import Paper

__all__ = ["PAPER"]

PAPER = Paper(
    "training",
    bibtex="""@software{training,
  title  = {The training core of neurotheory-sandbox},
  author = {{The neurotheory-sandbox developers}},
  year   = {2026},
}

@inproceedings{lopezpaz2017gradient,
  title     = {Gradient Episodic Memory for Continual Learning},
  author    = {Lopez-Paz, David and Ranzato, Marc'Aurelio},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2017},
  eprint    = {1706.08840},
  archiveprefix = {arXiv},
}

@inproceedings{chaudhry2018riemannian,
  title     = {Riemannian Walk for Incremental Learning:
               Understanding Forgetting and Intransigence},
  author    = {Chaudhry, Arslan and Dokania, Puneet K. and Ajanthan, Thalaiyasingam
               and Torr, Philip H. S.},
  booktitle = {European Conference on Computer Vision},
  year      = {2018},
  eprint    = {1801.10112},
  archiveprefix = {arXiv},
}""",
)
