"""The report: every claim on one self-contained page, with nothing left out."""

from __future__ import annotations

import base64
import os
import re
import shlex
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandbox.bench.claim import Claim, Paper, Scale
from sandbox.bench.comparison import Comparison
from sandbox.bench.judgement import Judgement, Verdict, judge
from sandbox.bench.record import Record, Settings, strain
from sandbox.bench.sources import ROOT
from sandbox.bench.store import Store

if TYPE_CHECKING:
    from theory.derivation import Derivation

__all__ = ["build_report", "current_results", "write_report"]

SCALES: tuple[Scale, ...] = ("paper", "full", "quick")
MOST_ROWS = 12
WORDS = {
    "equals": ("|measured − predicted|", "≤"),
    "at_most": ("measured − bound", "≤"),
    "at_least": ("bound − measured", "≤"),
    "ordered": ("largest step against the order", "≤"),
    "inside": ("|measured − predicted|", "≤ interval ≤"),
}


@dataclass(frozen=True)
class _Entry:
    """One claim with its current results and what other code has found before."""

    claim: Claim
    settings: Settings
    current: list[Record]
    older: list[Record]

    @property
    def record(self) -> Record | None:
        """The result that the page shows: the first of the current ones."""
        return next(iter(self.current), None)


def current_results(store: Store, claim: Claim, seed: int = 0, device: str = "cpu") -> list[Record]:
    """Return a claim's current results, the one to show first.

    Parameters
    ----------
    store : Store
        Where results are kept.
    claim : Claim
        The claim.
    seed : int
        Root of its random streams.
    device : str
        Where torch experiments ran.

    Returns
    -------
    list of Record
        Results of the present code: judged ones before skips and errors, larger
        scales before smaller.
    """
    records = [store.load(claim, Settings(scale, seed, device)) for scale in SCALES]
    there = [record for record in records if record is not None]
    return sorted(there, key=lambda record: record.stopped is not None)


def write_report(
    papers: Sequence[Paper], claims: Sequence[Claim], store: Store, out: Path, *, seed: int = 0,
    device: str = "cpu",
) -> Path:  # fmt: skip
    """Write ``index.html`` from the stored results.

    Parameters
    ----------
    papers : sequence of Paper
        For the reproduction tables.
    claims : sequence of Claim
        What to report, in order.
    store : Store
        Where results are kept.
    out : pathlib.Path
        The folder; it is made if need be.
    seed : int
        Root of the random streams of the results shown.
    device : str
        Device of the results shown.

    Returns
    -------
    pathlib.Path
        The page.
    """
    settings = Settings("quick", seed, device)
    entries = [
        _Entry(claim, settings, current_results(store, claim, seed, device), store.older(claim))
        for claim in claims
    ]
    text = build_report(papers, entries)
    out.mkdir(parents=True, exist_ok=True)
    temporary = out / ".index.html.tmp"
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    return temporary.rename(out / "index.html")


def build_report(papers: Sequence[Paper], entries: Sequence[_Entry]) -> str:
    """Return the page as text.

    Parameters
    ----------
    papers : sequence of Paper
        In the order of the reproduction tables.
    entries : sequence
        Claims with their results.

    Returns
    -------
    str
        HTML without any outside reference.
    """
    from jinja2 import Environment, StrictUndefined

    template = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                       lstrip_blocks=True).from_string(template)  # fmt: skip
    sections = [_section(entry) for entry in entries]
    counts = {verdict.value: sum(s["verdict"] == verdict for s in sections) for verdict in Verdict}
    counts["not run"] = sum(s["verdict"] == "not run" for s in sections)
    environments = [e.record.environment for e in entries if e.record]
    tables = []
    for paper in papers:
        rows = [s for s in sections if s["paper"] == paper.key]
        if rows:
            tables.append({"paper": paper, "rows": rows, "link": _link(paper)})
    return page.render(
        sections=sections,
        counts={name: count for name, count in counts.items() if count},
        tables=tables,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        seconds=sum(s["seconds"] or 0.0 for s in sections),
        environment=environments[-1] if environments else None,
        commits=sorted({e["commit"] for e in environments}),
    )


def _link(paper: Paper) -> tuple[str, str] | None:
    """Return text and address of the publication, if its entry has one."""
    if doi := paper.bib("doi"):
        return f"doi:{doi}", f"https://doi.org/{doi}"
    if arxiv := paper.bib("eprint"):
        return f"arXiv:{arxiv}", f"https://arxiv.org/abs/{arxiv}"
    url = paper.bib("url")
    return (url, url) if url else None


def _section(entry: _Entry) -> dict[str, Any]:
    """Gather everything that the page says of one claim."""
    claim, record = entry.claim, entry.record
    settings = entry.settings if record is None else record.settings
    section: dict[str, Any] = {
        "id": claim.id, "paper": claim.paper.key, "name": claim.name, "says": claim.says,
        "tag": claim.tag, "verdict": "not run", "message": "", "seconds": None, "scale": "",
        "bar": None, "figure": None, "figure_rem": 0, "comparisons": [], "commit": "",
        "derivation": _derivation(claim), "again": _again(claim, settings),
        "others": [_brief(r) for r in entry.current[1:]], "older": [_brief(r) for r in entry.older],
    }  # fmt: skip
    if record is None:
        return section
    section |= {
        "verdict": record.verdict.value,
        "message": record.message,
        "seconds": record.seconds,
        "scale": record.settings.scale,
        "commit": record.environment["commit"],
        "comparisons": [_comparison(c) for c in record.comparisons],
    }
    if (decisive := record.decisive()) is not None:
        section["bar"] = _bar(*decisive)
    figure = record.folder / "figure.svg" if record.folder else None
    if figure is not None and figure.is_file():
        image = figure.read_bytes()
        section["figure"] = base64.b64encode(image).decode()
        width = re.search(rb'<svg[^>]* width="([0-9.]+)pt"', image)
        # on a phone a wide figure scrolls sideways instead of shrinking to nothing
        section["figure_rem"] = round(float(width[1]) / 72 * 3.7, 1) if width else 0
    return section


def _brief(record: Record) -> dict[str, str]:
    """Return one line's worth of a result that is not shown in full."""
    return {
        "scale": record.settings.scale,
        "verdict": record.verdict.value,
        "commit": record.environment["commit"],
        "finished": record.environment["finished"],
    }


def _again(claim: Claim, settings: Settings) -> str:
    """Return the command that runs the claim again: by its id, or by the user's file."""
    shipped = claim.file.is_relative_to(ROOT / "sandbox")
    words = ["sandbox", "run", claim.id if shipped else os.path.relpath(claim.file)]
    words += ["--scale", settings.scale, "--seed", str(settings.seed)]
    if settings.device != "cpu":
        words += ["--device", settings.device]
    return shlex.join(words)


def _bar(comparison: Comparison, judgement: Judgement) -> dict[str, Any]:
    """Return error over tolerance and the width of its bar, logarithmic from 1e-6 to 10."""
    import math

    ratio = strain(comparison, judgement)
    if comparison.tolerance == 0 or comparison.relation == "ordered":
        text = f"{judgement.error:.2g} against 0" if comparison.tolerance == 0 else f"{ratio:.2g}"
    else:
        text = f"{judgement.error:.2g} / {comparison.tolerance:.2g}"
    decades = math.log10(min(max(ratio, 1e-6), 10.0)) + 6
    width = 100 * decades / 7
    return {"text": text, "width": round(width, 1), "mark": round(600 / 7, 1)}


def _comparison(c: Comparison) -> dict[str, Any]:
    """Gather one comparison's rule and its numbers, the worst element first."""
    import numpy as np

    verdict = judge(c)
    what, sign = WORDS[c.relation]
    if c.relation == "ordered" and c.tolerance == 0:
        sign = "<"
    if c.relative:
        what += " relative to |predicted|"
    size = c.predicted.size
    shown = min(size, MOST_ROWS)
    flat = [round(i) for i in np.linspace(0, size - 1, shown if shown == size else shown - 1)]
    places = [tuple(int(i) for i in np.unravel_index(i, c.predicted.shape)) for i in flat]
    if shown < size:
        places.insert(0, verdict.index)
    rows = []
    for place in dict.fromkeys(places):
        where = [_coordinate(axis.values[i]) for axis, i in zip(c.axes, place, strict=True)]
        width = "" if c.uncertainty is None else f" ± {c.uncertainty[place]:.2g}"
        finite = np.isfinite(c.measured[place]) and np.isfinite(c.predicted[place])
        rows.append({
            "where": where,
            "predicted": _number(c.predicted[place]),
            "measured": _number(c.measured[place]) + width,
            "difference": f"{c.measured[place] - c.predicted[place]:.1e}" if finite else "–",
            "worst": place == verdict.index,
        })
    return {
        "name": c.name, "verdict": verdict.verdict.value, "relation": c.relation,
        "rule": f"{what} {sign} {c.tolerance:.3g}", "error": f"{verdict.error:.3g}",
        "reason": c.reason, "confidence": c.confidence, "axes": [a.label for a in c.axes],
        "quantity": f"{c.quantity} ({c.unit})" if c.unit else c.quantity,
        "rows": rows, "left_out": c.predicted.size - len(rows),
    }  # fmt: skip


def _coordinate(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def _number(value: float) -> str:
    return f"{value:.10g}"


def _derivation(claim: Claim) -> dict[str, Any] | None:
    """Return the derivation's steps, formulas as MathML; one that raises says so."""
    if claim.derivation is None:
        return None
    try:
        return _derivation_steps(claim.derivation())
    except Exception:
        return {"title": "it could not be made", "problem": traceback.format_exc()}


def _derivation_steps(derivation: Derivation) -> dict[str, Any]:
    """Return title, source and steps of a derivation."""
    from latex2mathml.converter import convert
    from markupsafe import Markup

    steps = []
    for text, latex in derivation.latex():
        formula = "" if latex is None else convert(latex, display="block")
        markup = Markup(formula)  # ruff: ignore[unsafe-markup-use] - from our own LaTeX
        steps.append({"text": text, "formula": markup})
    checks = sum(len(step.residuals) for step in derivation.steps)
    return {
        "title": derivation.title,
        "source": derivation.source,
        "problem": "",
        "steps": steps,
        "checks": checks,
    }
