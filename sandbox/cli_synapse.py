"""The commands ``sandbox synapse binomial``, ``depression`` and ``tsodyks-markram``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Group, Parameter

from sandbox.cli_training import UsageError
from sandbox.synapse.config import BinomialConfig, DepressionConfig, TsodyksMarkramConfig

if TYPE_CHECKING:
    from sandbox.synapse.config import Config

__all__ = ["synapse"]

_files = Group("Files", sort_key=2)
File = Annotated[Path | None, Parameter(group=_files, show_default=False)]
Flag = Annotated[bool, Parameter(group=_files, negative=(), show_default=False)]

synapse = App(
    name="synapse",
    help="Simulate a synapse on a spike train; keep its releases as Parquet and as a figure.",
)


@synapse.command
def binomial(
    *,
    settings: Annotated[BinomialConfig | None, Parameter(name="*")] = None,
    out: File = None,
    overwrite: Flag = False,
) -> int:
    """Simulate independent release sites with variable quanta; one site is Bernoulli release.

    The folder of results receives a row a spike and trial as Parquet, the figure (spikes and
    releases, postsynaptic traces, histogram of the amplitudes, variance against mean at
    several release probabilities) and a summary. A run that was killed goes on when called
    again.

    Parameters
    ----------
    out
        Folder of results; released/MODEL-SEED if not given.
    overwrite
        Remove what an earlier run left in the folder of results.
    """
    return _simulate(settings or BinomialConfig(), out, overwrite=overwrite)


@synapse.command
def depression(
    *,
    settings: Annotated[DepressionConfig | None, Parameter(name="*")] = None,
    out: File = None,
    overwrite: Flag = False,
) -> int:
    """Simulate release sites that run empty and refill at random.

    The folder of results receives a row a spike and trial as Parquet, the figure (spikes and
    releases, postsynaptic traces, histogram of the amplitudes, variance against mean from
    spike to spike) and a summary. A run that was killed goes on when called again.

    Parameters
    ----------
    out
        Folder of results; released/MODEL-SEED if not given.
    overwrite
        Remove what an earlier run left in the folder of results.
    """
    return _simulate(settings or DepressionConfig(), out, overwrite=overwrite)


@synapse.command
def tsodyks_markram(
    *,
    settings: Annotated[TsodyksMarkramConfig | None, Parameter(name="*")] = None,
    out: File = None,
    overwrite: Flag = False,
) -> int:
    """Simulate deterministic depression and facilitation (Tsodyks & Markram).

    The folder of results receives a row a spike as Parquet, the figure (utilisation and
    resources, postsynaptic trace) and a summary.

    Parameters
    ----------
    out
        Folder of results; released/MODEL-SEED if not given.
    overwrite
        Remove what an earlier run left in the folder of results.
    """
    return _simulate(settings or TsodyksMarkramConfig(), out, overwrite=overwrite)


def _simulate(config: Config, out: Path | None, *, overwrite: bool) -> int:
    """Run, print the summary and where the results are."""
    from sandbox.synapse.command import simulate

    folder = out or Path("released") / f"{config.name}-{config.seed}"
    try:
        summary = simulate(config, folder, overwrite=overwrite, progress=sys.stderr.isatty())
    except (ValueError, OSError) as problem:  # settings, spike times, a full disk
        raise UsageError(str(problem)) from problem
    _print_summary(summary)
    conditions = "" if config.name == "tsodyks-markram" else " conditions.parquet,"
    print(
        f"\n{folder}: releases-*.parquet,{conditions} synapse.png, synapse.svg, summary.json,"
        " config.toml"
    )
    return 0


def _print_summary(summary: dict[str, Any]) -> None:
    """Print what was measured beside what theory says."""
    print(f"{summary['model']}: {summary['spikes']} spikes, {summary['trials']} trials\n")
    mean = summary["mean_amplitude"]
    if "failures" in summary:
        error = mean["standard_error"]
        width = "" if error is None else f" ± {error:.2g}"
        print(f"{'':18}{'theory':>10}  measured")
        print(f"{'mean amplitude':18}{mean['theory']:10.4g}  {mean['measured']:.4g}{width}")
        failures = summary["failures"]
        print(f"{'failures':18}{failures['theory']:10.4g}  {failures['measured']:.4g}")
    else:
        print(f"{'mean amplitude':18}{mean['measured']:10.4g}")
    for name, words in (("last_spike", "last spike"), ("steady_state", "steady state")):
        if name in summary:
            at = summary[name]
            cells = f"u {at['use']:.4g}, x {at['full']:.4g}, released {at['released']:.4g}"
            print(f"{words:18}{cells}")
    if "missing" in (analysis := summary.get("quantal_analysis", {})):
        print(f"no quantal analysis: {analysis['missing']}")
        return
    if analysis:
        print(f"\n{'variance and mean':18}{'true':>10}  fitted, 95 % interval")
    for name, found in analysis.items():
        high = "inf" if found["high"] is None else f"{found['high']:.4g}"
        print(
            f"{name.replace('_', ' '):18}{found['true']:10.4g}  {found['estimate']:.4g}"
            f"  [{found['low']:.4g}, {high}]"
        )
