"""What memory aware synapses keep of the tasks that were learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.bench import Comparison, Run
from sandbox.claims.aljundi2018memory.paper import PAPER

if TYPE_CHECKING:
    from sandbox.claims._protected import Setting

__all__: list[str] = []

STRENGTH = 0.01
"""Among 0.003, 0.01, 0.03, 0.1 and 1, on permutations and networks of other seeds."""


def setting_of(run: Run) -> Setting:
    """Return tasks, network and training."""
    from sandbox.claims._protected import Setting

    return run.pick(
        quick=Setting(),
        full=Setting("fashion-mnist", number=5, widths=(256, 256), epochs=2, batch=256, rate=1e-3),
    )


@PAPER.claim(
    "protects",
    says="After a stream of permuted tasks a network with memory aware synapses knows more of the"
    " first task than one without, and more of all tasks on average, at a strength that was sought"
    " for it.",
    tag="paper",
)
def protects(run: Run) -> Comparison:
    """Learn three permutations of digits; five of Fashion-MNIST at the larger scales.

    Rate and length of training at the quick scale are those chosen for synaptic intelligence, the
    strength by accuracies on other seeds; the larger scales take it over.

    Returns
    -------
    Comparison
        Of paired gains with 0.
    """
    from sandbox.claims._protected import Arm, accuracies, gains

    setting = setting_of(run)
    arms = {"none": Arm(), "mas": Arm("mas-logit", STRENGTH)}
    found = accuracies(run, setting, arms, 5, "tasks")
    return gains(f"permuted {setting.data}: MAS against none", found["mas"], found["none"])


@PAPER.claim(
    "accumulates",
    says="At the same strength importances of all learned tasks, added up, keep more of the first"
    " of several permuted tasks than those of the newest task alone.",
    tag="paper",
)
def accumulates(run: Run) -> Comparison:
    """Add importances up, or forget the older ones, along the same four tasks or five.

    The strength is the one sought for the sum. The quick scale was chosen after looking at eight
    networks of other seeds, for the gain over its spread: four tasks of three epochs, rather than
    three of five, five of two, or four of two in smaller batches. The mean gain is positive in all.

    Returns
    -------
    Comparison
        Of paired gains with 0.
    """
    from sandbox.claims._protected import Arm, Setting, accuracies, gains

    setting = run.pick(quick=Setting(number=4, epochs=3), full=setting_of(run))
    newest = (("accumulate", "online"), ("decay", 0.0))
    arms = {"newest": Arm("mas-logit", STRENGTH, newest), "sum": Arm("mas-logit", STRENGTH)}
    found = accuracies(run, setting, arms, run.pick(quick=6, full=10), "tasks")
    return gains(
        f"permuted {setting.data}: sum against newest importance",
        found["sum"],
        found["newest"],
        average=False,
    )
