"""The paper, and what of it is not tested."""

from sandbox.bench import Paper

__all__ = ["PAPER"]

PAPER = Paper(
    "costa2015plasticity",
    bibtex="""@article{costa2015plasticity,
  title   = {Unified pre- and postsynaptic long-term plasticity enables reliable and flexible
             learning},
  author  = {Costa, Rui Ponte and Froemke, Robert C and Sj{\\"o}str{\\"o}m, P Jesper and
             {van Rossum}, Mark C W},
  journal = {eLife},
  volume  = {4},
  pages   = {e09457},
  year    = {2015},
  doi     = {10.7554/eLife.09457},
}""",
    not_attempted=[
        (
            "The model fits the rate and timing dependence of plasticity in visual cortex.",
            "The data do not come with this project (Dryad, doi:10.5061/dryad.p286g); what the"
            " protocol does to P with the printed constants is tested.",
        ),
        (
            "Receptive fields that develop with both sides learning vary less and discriminate"
            " better than with postsynaptic learning alone.",
            "Needs a network of a hundred inputs with homeostasis of q, which is not built.",
        ),
        (
            "A hidden postsynaptic trace lets what was forgotten be learned again fast.",
            "Needs the same network.",
        ),
        (
            "Receptive fields change as in recordings from auditory cortex.",
            "Needs those recordings, which do not come with this project.",
        ),
    ],
)
