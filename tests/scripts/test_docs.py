"""What the pages say is so: their code runs, and the API page misses no public name."""

import importlib
import json
import re
import tomllib
from pathlib import Path

import pytest
import torch

from sandbox.bench.judgement import Verdict
from sandbox.cli import main
from sandbox.training.config import TrainConfig
from sandbox.training.hooks import EVENTS
from theory.preconditioning import step_cost

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(autouse=True)
def _one_thread():
    # small matrices, and the tests themselves run side by side
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def blocks(page, language):
    """Return the code blocks of a page in one language."""
    found = re.findall(
        rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL
    )
    assert found
    return found


def test_getting_started_runs_from_top_to_bottom():
    names = {}
    for block in blocks("getting_started.md", "python"):
        exec(block, names)
    start, square_root, gradient = (names[n] for n in ("start", "square_root", "gradient"))
    # the two numbers that the page quotes
    assert f"{names['learning_time'](square_root, start, 1.0, 0.95):.2f}" == "3.89"
    assert f"{names['learning_time'](gradient, start, 1.0, 0.95):.1e}" == "3.2e+09"
    first, second = names["first"], names["second"]
    laws = [names["invariants"](square_root, [first[t], second[t]])[0] for t in (0, 1)]
    assert laws[0] == pytest.approx(laws[1], abs=1e-8)
    assert names["loss"].isfinite()


def test_the_training_page_runs_from_top_to_bottom():
    names = {}
    for block in blocks("training.md", "python"):
        exec(block, names)
    stopped = names["history"]
    assert stopped.stopped == "good enough"
    assert stopped.final["test_accuracy"] > 0.9 >= stopped.rows[-2]["test_accuracy"]
    assert len(names["norms"]) == stopped.final["step"]  # a hook a step
    assert names["matrix"].tasks == 5
    (settings,) = blocks("training.md", "toml")
    TrainConfig(**tomllib.loads(settings))
    events = re.findall(r"^\| `([a-z-]+)` \| ", (DOCS / "training.md").read_text(), re.MULTILINE)
    assert [event for event in events if event in EVENTS] == list(EVENTS)


def test_the_optimisers_page_runs_from_top_to_bottom(caplog):
    names = {}
    caplog.set_level("WARNING", logger="sandbox.optim")
    for block in blocks("optimisers.md", "python"):
        exec(block, names)
    assert names["history"].final["test_accuracy"] > 0.8
    assert names["scaled_settings"](30.0, 100.0, 100) == pytest.approx((0.3, 1.0))
    # what the page says of costs, from the function that counts them
    plain, foof, kfac = (names[name].total for name in ("plain", "foof", "kfac"))
    assert (f"{foof / plain:.2f}", f"{kfac / plain:.2f}") == ("1.73", "2.50")
    assert names["fisher"].quadratic(names["vector"]) > 0
    assert not caplog.records  # nothing failed, nothing was skipped
    assert all(p.isfinite().all() for p in names["net"].parameters())


def test_the_regularisers_page_runs_from_top_to_bottom():
    names = {}
    for block in blocks("regularisers.md", "python"):
        exec(block, names)
    sums = names["sums"]
    assert sums["si"] == pytest.approx(sums["siu"] + sums["sib"], abs=1e-5)
    total = {
        name: sum(float(part.sum()) for part in names[name].values())
        for name in ("exact", "wrong", "absolute", "memory")
    }
    assert total["wrong"] < total["exact"] / 10  # a factor of the batch's 32 where all is noise
    assert total["memory"] < total["absolute"]
    assert names["found"].entropy < names["found"].bits_per_weight < 8
    assert names["matrix"].tasks == 3


def test_the_table_of_costs_is_what_is_counted():
    """Its formulas, evaluated: factors, inverse and application, at sizes of either order."""
    text = (DOCS / "optimisers.md").read_text().split("## What a step costs")[1]
    rows = dict(re.findall(r"^\| ([^|]+?) \| (.*) \|$", text, re.MULTILINE))
    kinds = {
        "FOOF": "foof", 'FOOF, `side="activation"`': "foof-activation",
        "K-FAC, heuristic": "kfac", 'K-FAC, heuristic, `side="activation"`': "kfac-activation",
        "natural gradient, $D$ samples": "natural",
    }  # fmt: skip
    assert set(kinds) < set(rows)
    written = {  # a formula of the page as one of Python
        r"\frac ST Bm^2": "S/T*B*m**2", r"\frac{m^3}{2T}": "m**3/(2*T)", "nm^2": "n*m**2",
        r"\min(B, n)\,m^2": "min(B,n)*m**2", "2Dmn": "2*D*m*n",
        r"\frac ST B(m^2 + n^2 + mn)": "S/T*B*(m**2+n**2+m*n)",
        r"\frac{m^3 + n^3}{2T}": "(m**3+n**3)/(2*T)", "nm^2 + n^2m": "n*m**2+n**2*m",
        r"\min(B, n)\,m^2 + \min(B, m)\,n^2": "min(B,n)*m**2+min(B,m)*n**2",
        "2Dmn + D^2(m + n)": "2*D*m*n+D**2*(m+n)",
        r"\frac{D^3}{6}$, once for all layers": "0",  # not a layer's
    }  # fmt: skip
    for m, n, batch in ((30, 20, 7), (20, 30, 25), (5, 6, 70)):
        sizes = {"m": m, "n": n, "B": batch, "T": 10, "S": 3, "D": 9, "min": min}
        above = []
        for row, rule in kinds.items():
            cells = [cell.strip() for cell in rows[row].split("|")]
            above = [
                b if a == "the same" else a for a, b in zip(cells, above or cells, strict=True)
            ]
            cost = step_cost(m, n, batch, rule=rule, T=10, S=3, samples=9)
            found = [eval(written[cell.strip("$")], {}, sizes) for cell in above]
            assert found == pytest.approx([cost.factors, cost.inverse, cost.apply]), row


def test_the_synapses_page_runs_from_top_to_bottom():
    names = {}
    for block in blocks("synapses.md", "python"):
        exec(block, names)
    assert abs(names["draws"].mean() - names["model"].mean()) < 0.02
    assert names["optimizer"].rule is names["rule"]
    assert names["trainer"].rule.p_up == 0.0516  # as printed
    assert names["fit"].sites.low < 5 < names["fit"].sites.high
    assert names["run"].total_releases == names["run"].operations.releases


def test_the_landscapes_page_runs_from_top_to_bottom():
    names = {}
    for block in blocks("landscapes.md", "python"):
        exec(block, names)
    assert len(names["bowl"].minima()) == 3
    assert names["run"].position.shape == (500, 2)
    assert names["certificate"].status == "certified"
    assert names["kernel"].shape == (6, 1, 6, 1)
    assert names["path"].decide().status == "rises"


def test_the_claim_of_the_bench_page_holds(tmp_path, capfd):
    (claim,) = blocks("bench.md", "python")
    file = tmp_path / "my_claims.py"
    file.write_text(claim)
    with pytest.raises(SystemExit) as stopped:
        main(["run", str(file), "--json", "--out", str(tmp_path / "runs")])
    assert stopped.value.code == 0
    told = json.loads(capfd.readouterr().out)
    assert told["verdict"] == "holds"
    # the example line of the page has the fields of a real one, in their order
    (example,) = blocks("bench.md", "json")
    assert list(json.loads(example)) == list(told)
    (folder,) = (path.parent for path in (tmp_path / "runs").rglob("result.parquet"))
    listed = re.findall(
        r"`([\w.]+\.(?:toml|json|parquet|svg|png))`", (DOCS / "bench.md").read_text()
    )
    assert {path.name for path in folder.iterdir()} == set(listed)


def test_the_bench_page_names_every_verdict_and_status():
    page = (DOCS / "bench.md").read_text()
    assert all(f"`{verdict.value}`" in page for verdict in Verdict)
    cli = importlib.import_module("sandbox.cli")
    for status in (cli.OK, cli.FAILED, cli.USAGE, cli.INTERRUPTED):
        assert f"| {status} | " in page


@pytest.mark.parametrize(
    "module",
    [
        "deeplinear",
        "deeplinear.teacher",
        "deeplinear.matrices",
        "deeplinear.balanced",
        "deeplinear.derivations",
        "theory.derivation",
        "theory.streams",
        "theory.checks",
        "theory.information",
        "theory.conditioning",
        "theory.descent_rates",
        "theory.double_descent",
        "theory.glass",
        "theory.glass_estimators",
        "theory.glass_geometry",
        "theory.glass_process",
        "theory.importance",
        "theory.interpolation",
        "theory.langevin",
        "theory.phase_diagram",
        "theory.plstar",
        "theory.preconditioning",
        "theory.product_valley",
        "theory.random_roughness",
        "theory.rough_diffusion",
        "theory.rugged",
        "theory.sparsity",
        "theory.tangent_models",
        "theory.variational",
        "theory.wells",
        "theory.wide_kernels",
        "synapses",
        "synapses.brian",
        "synapses.consolidation",
        "synapses.derivations",
        "synapses.layers",
        "sandbox.bench",
        "sandbox.landscape",
        "sandbox.optim",
        "sandbox.regularisers",
        "sandbox.continual",
        "sandbox.continual.command",
        "sandbox.continual.config",
        "sandbox.continual.figures",
        "sandbox.continual.methods",
        "sandbox.continual.presets",
        "sandbox.continual.table",
        "sandbox.training.averaging",
        "sandbox.training.checkpoint",
        "sandbox.training.command",
        "sandbox.training.config",
        "sandbox.training.curves",
        "sandbox.training.data",
        "sandbox.training.ensembles",
        "sandbox.training.history",
        "sandbox.training.hooks",
        "sandbox.training.initial",
        "sandbox.training.loop",
        "sandbox.training.measures",
        "sandbox.training.models",
        "sandbox.training.objective",
        "sandbox.training.options",
        "sandbox.training.plan",
        "sandbox.training.samples",
        "sandbox.training.tasks",
    ],
)
def test_the_api_page_lists_every_public_name(module):
    page = (DOCS / "api.md").read_text()
    listed = {name.rsplit(".")[-1] for name in re.findall(r"^   ([\w.]+)$", page, re.MULTILINE)}
    assert set(importlib.import_module(module).__all__) <= listed


def test_every_dependency_has_a_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]
    names = {re.match(r"[\w-]+", line)[0] for line in wanted}
    page = (DOCS / "dependencies.md").read_text()
    rows = re.findall(r"^\| ([\w, -]+) \| ", page, re.MULTILINE)
    rows = [name for row in rows for name in row.split(", ")]
    assert names == set(rows) - {"package"}
