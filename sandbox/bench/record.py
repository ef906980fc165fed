"""The result of one claim: its comparisons, verdict, cost and circumstances."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.bench.claim import Scale
from sandbox.bench.comparison import Comparison
from sandbox.bench.judgement import Judgement, Verdict, judge, worst

__all__ = ["Record", "Settings", "strain"]


@dataclass(frozen=True)
class Settings:
    """What, besides its code, decides the result of a claim.

    Parameters
    ----------
    scale : {"quick", "full", "paper"}
        How much to compute.
    seed : int
        Root of all random streams, >= 0.
    device : str
        ``"cpu"`` or ``"cuda"``.
    """

    scale: Scale = "quick"
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class Record:
    """The result of one claim under one configuration and one state of the code.

    Parameters
    ----------
    claim_id : str
        ``paper/claim``.
    comparisons : list of Comparison
        Empty if the claim was skipped or raised.
    seconds : float
        Wall-clock time of the experiment.
    settings : Settings
        Its configuration.
    environment : dict
        Commit, versions, processor, threads and time.
    stopped : Verdict or None
        ``skipped`` or ``error`` if there is nothing to judge.
    message : str
        The missing needs or the traceback.
    folder : pathlib.Path or None
        Where it lies in the store.
    cached : bool
        Whether it was read rather than computed.
    """

    claim_id: str
    comparisons: list[Comparison]
    seconds: float
    settings: Settings
    environment: dict[str, Any]
    stopped: Verdict | None = None
    message: str = ""
    folder: Path | None = None
    cached: bool = False

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the comparisons, or why there is none."""
        if self.stopped is not None:
            return self.stopped
        return worst([judge(comparison).verdict for comparison in self.comparisons])

    def decisive(self) -> tuple[Comparison, Judgement] | None:
        """Return the comparison that decided the verdict, with its judgement.

        Returns
        -------
        tuple or None
            Of several with the worst verdict, the one nearest to (or furthest
            beyond) its tolerance; None if there is nothing to judge.
        """
        judged = [(c, judge(c)) for c in self.comparisons]
        order = list(Verdict)
        return max(
            judged,
            key=lambda pair: (order.index(pair[1].verdict), strain(*pair)),
            default=None,
        )

    def summary(self) -> dict[str, Any]:
        """Return the record as one flat JSON object.

        Returns
        -------
        dict
            id, verdict, relation, predicted, measured, tolerance, error, seconds.
        """
        names = ("relation", "predicted", "measured", "tolerance", "error")
        numbers: dict[str, Any] = dict.fromkeys(names)
        decisive = self.decisive()
        if decisive is not None:
            comparison, judgement = decisive
            numbers["relation"] = comparison.relation
            numbers["tolerance"] = comparison.tolerance
            for name in ("predicted", "measured", "error"):
                numbers[name] = _json_number(getattr(judgement, name))
        seconds = round(self.seconds, 3)
        return {
            "id": self.claim_id,
            "verdict": self.verdict.value,
            **numbers,
            "seconds": seconds,
        }


def strain(comparison: Comparison, judgement: Judgement) -> float:
    """Return the error in units of the tolerance; inf for an error where none is allowed.

    Parameters
    ----------
    comparison : Comparison
        What was judged.
    judgement : Judgement
        How.

    Returns
    -------
    float
        Up to 1 when the comparison holds.
    """
    if comparison.tolerance > 0:
        return judgement.error / comparison.tolerance
    return float("inf") if judgement.error > 0 else 0.0


def _json_number(value: float) -> float | str:
    """Return a number that strict JSON can carry; infinities become text."""
    return value if math.isfinite(value) else str(value)
