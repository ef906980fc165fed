"""The paper, and what of it is not tested."""

from sandbox.bench import Paper

__all__ = ["PAPER"]

PAPER = Paper(
    "aljundi2018memory",
    bibtex="""@inproceedings{aljundi2018memory,
  title     = {Memory Aware Synapses: Learning What (Not) to Forget},
  author    = {Aljundi, Rahaf and Babiloni, Francesca and Elhoseiny, Mohamed and
               Rohrbach, Marcus and Tuytelaars, Tinne},
  booktitle = {Proceedings of the European Conference on Computer Vision},
  pages     = {144--161},
  year      = {2018},
  eprint    = {1711.09601},
  archiveprefix = {arXiv},
}""",
    not_attempted=[
        (
            "Sequences of object recognition tasks with AlexNet (scenes, birds, flowers, cars and"
            " others): accuracies and forgetting beside LwF, EWC, SI and others.",
            "Networks pretrained on ImageNet, and data that are not among this project's.",
        ),
        (
            "Facts learned in batches on the 6DS data: importances adapt to the facts that are met"
            " when the network is used.",
            "A structured network and data that are not among this project's. That importances ask"
            " for inputs alone, which makes it possible, is tested.",
        ),
        (
            "The local version protects nearly as well as the global one.",
            "Its formula is tested layer by layer; no method of continual learning here uses it.",
        ),
    ],
)
