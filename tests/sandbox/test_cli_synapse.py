"""``sandbox synapse`` from end to end: what it leaves, what it refuses, how it goes on."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from sandbox.synapse import command
from sandbox.synapse.config import BinomialConfig, DepressionConfig, TsodyksMarkramConfig
from sandbox.synapse.table import COLUMNS, CONDITIONS
from synapses import ReleaseModel
from synapses.traces import QuantalDepression, TsodyksMarkram, regular_train

RUN = Path("run")
FILES = {
    "config.toml",
    "environment.json",
    "conditions.parquet",
    "releases-00000.parquet",
    "summary.json",
    "synapse.png",
    "synapse.svg",
}

pytestmark = pytest.mark.usefixtures("somewhere_else")


@pytest.fixture
def plain(monkeypatch):
    """Leave out the figure, which takes most of the time."""
    monkeypatch.setattr(command, "save_sheet", lambda *_: None)


def calling(model, *flags, out="run"):
    return ["synapse", model, "--out", out, *flags]


def releases(path=RUN):
    """Return all parts as one table, in order."""
    parts = sorted(path.glob("releases-*.parquet"))
    return {
        name: np.concatenate([parquet.read_table(part)[name].to_numpy() for part in parts])
        for name in COLUMNS
    }


def kept(path=RUN):
    """Return the contents of all files of a run but its environment."""
    return {
        f.name: f.read_bytes()
        for f in path.iterdir()
        if f.is_file() and f.name not in {"environment.json", ".lock"}
    }


def test_a_run_leaves_table_conditions_figure_and_summary(sandbox):
    flags = ["--trials", "300", "--seed", "2", "--rate", "50", "--duration", "0.1"]
    code, out, err = sandbox(*calling("binomial", *flags))
    assert (code, err) == (0, "")
    assert {path.name for path in RUN.iterdir() if path.name != ".lock"} == FILES
    assert (RUN / "synapse.png").read_bytes()[:4] == b"\x89PNG"
    assert "</svg>" in (RUN / "synapse.svg").read_text()
    assert json.loads((RUN / "environment.json").read_text())["seed"] == 2

    table = releases()
    assert len(table["trial"]) == 1500
    assert (table["trial"] == np.repeat(np.arange(300), 5)).all()
    assert (table["spike"] == np.tile(np.arange(5), 300)).all()
    np.testing.assert_allclose(table["time"][:5], [0.02, 0.04, 0.06, 0.08, 0.1])
    assert (table["use"] == 0.3).all()
    assert (table["full"] == 1).all()
    assert ((table["amplitude"] == 0) == (table["released"] == 0)).all()
    law = ReleaseModel(5, 0.3, 1.0, 0.3)
    mean = table["amplitude"].mean()
    assert abs(mean - law.mean()) < 4 * (law.variance() / 1500) ** 0.5

    summary = json.loads((RUN / "summary.json").read_text())
    found = summary["mean_amplitude"]
    assert found["measured"] == pytest.approx(mean, rel=1e-12)
    assert found["theory"] == law.mean()
    per_trial = table["amplitude"].reshape(300, 5).mean(axis=1)
    assert found["standard_error"] == pytest.approx(per_trial.std(ddof=1) / 300**0.5, rel=1e-9)
    failures = summary["failures"]
    assert failures["measured"] == (table["released"] == 0).mean()
    assert failures["theory"] == pytest.approx(0.7**5)
    for name, true in (("sites", 5), ("quantal_size", 1.0)):
        one = summary["quantal_analysis"][name]
        assert one["low"] < one["estimate"] < one["high"]
        assert one["true"] == true

    lines = out.splitlines()
    assert lines[0] == "binomial: 5 spikes, 300 trials"
    assert f"mean amplitude           1.5  {mean:.4g} ± " in out
    assert (
        f"sites                      5  {summary['quantal_analysis']['sites']['estimate']:.4g}"
        in out
    )
    assert lines[-1] == (
        "run: releases-*.parquet, conditions.parquet, synapse.png, synapse.svg, summary.json,"
        " config.toml"
    )


def test_columns_have_names_units_and_meanings(sandbox, plain):
    sandbox(*calling("binomial", "--trials", "5"))
    for name, columns in (("releases-00000", COLUMNS), ("conditions", CONDITIONS)):
        schema = parquet.read_table(RUN / f"{name}.parquet").schema
        assert schema.names == list(columns)
        for field in schema:
            kind, unit, meaning = columns[field.name]
            assert str(field.type).replace("double", "float64") == kind
            assert field.metadata == {b"unit": unit.encode(), b"meaning": meaning.encode()}
            assert unit
        settings = tomllib.loads(schema.metadata[b"settings"].decode())
        assert settings == tomllib.loads((RUN / "config.toml").read_text())
        assert (settings["model"], settings["trials"], settings["sites"]) == ("binomial", 5, 5)
    assert schema.field("mean").metadata[b"unit"] == b"unit of the quantal size"


def test_conditions_of_independent_sites_are_release_probabilities(sandbox, plain):
    flags = ["--trials", "4000", "--probabilities", "0.2,0.8", "--quantal-size", "2"]
    assert sandbox(*calling("binomial", *flags))[0] == 0
    table = parquet.read_table(RUN / "conditions.parquet").to_pylist()
    assert [row["release_probability"] for row in table] == [0.2, 0.8]
    for row in table:
        law = ReleaseModel(5, row["release_probability"], 2.0, 0.3)
        assert row["trials"] == 4000
        assert abs(row["mean"] - law.mean()) < 4 * (law.variance() / 4000) ** 0.5
        assert row["variance"] == pytest.approx(law.variance(), rel=0.12)  # 4 sqrt(2.2/4000)
    # independent draws, not one draw scaled
    assert table[1]["mean"] != 4 * table[0]["mean"]


def test_conditions_of_depressing_sites_are_spikes(sandbox):
    flags = ["--trials", "2000", "--quantal-cv", "0", "--facilitation", "0.3", "--use", "0.2"]
    code, out, err = sandbox(*calling("depression", *flags))
    assert (code, err) == (0, "")
    synapse = QuantalDepression(5, 0.2, 0.8, 0.3)
    u, x = synapse.at_spikes(regular_train(20.0, 0.5))
    table = parquet.read_table(RUN / "conditions.parquet").to_pylist()
    np.testing.assert_allclose([row["release_probability"] for row in table], u * x, rtol=1e-12)
    means = releases()["amplitude"].reshape(2000, 10).mean(axis=0)
    np.testing.assert_allclose([row["mean"] for row in table], means, rtol=1e-12)
    assert (abs(means - 5 * u * x) < 4 * np.sqrt(5 * u * x / 2000)).all()
    steady = synapse.steady_state(0.05)
    assert f"steady state      u {steady[0]:.4g}, x {steady[1]:.4g}, released " in out
    assert (RUN / "synapse.png").exists()


def test_a_deterministic_synapse_has_one_trial_and_no_conditions(sandbox):
    flags = ["--facilitation", "0.53", "--use", "0.03", "--recovery", "0.13", "--rise", "0.002"]
    code, out, err = sandbox(*calling("tsodyks-markram", *flags, "--convention", "jump-last"))
    assert (code, err) == (0, "")
    assert {path.name for path in RUN.iterdir() if path.name != ".lock"} == FILES - {
        "conditions.parquet"
    }
    table = releases()
    # golden: the first releases at 20 Hz
    golden = [0.03, 0.055326829709522, 0.0757361857554473]
    np.testing.assert_allclose(table["released"][:3], golden, rtol=1e-12)
    assert (table["trial"] == 0).all()
    assert "steady state      u 0.2557, x 0.6472, released 0.1655\n" in out
    assert out.splitlines()[-1].startswith("run: releases-*.parquet, synapse.png")


def test_settings_reach_the_synapse():
    settings = {"sites": 3, "quantal_size": 2.0, "quantal_cv": 0.1}
    made = BinomialConfig(**settings, release_probability=0.6).synapse()
    assert made == ReleaseModel(3, 0.6, 2.0, 0.1)
    made = DepressionConfig(**settings, use=0.4, recovery=0.2, facilitation=0.1).synapse()
    assert made == QuantalDepression(3, 0.4, 0.2, 0.1, 2.0, 0.1)
    made = TsodyksMarkramConfig(
        use=0.4, recovery=0.2, facilitation=0.1, amplitude=3.0, convention="jump-last"
    ).synapse()
    assert made == TsodyksMarkram(0.4, 0.2, 0.1, 3.0, "jump-last")
    assert TsodyksMarkramConfig().synapse().facilitation_s is None


def test_trains(sandbox, plain):
    Path("spikes.txt").write_text("0.01 0.02\n0.5\n")
    assert sandbox(*calling("depression", "--times", "spikes.txt", "--trials", "3"))[0] == 0
    assert sorted(set(releases()["time"])) == [0.01, 0.02, 0.5]
    flags = ["--train", "poisson", "--rate", "100", "--duration", "2", "--trials", "2"]
    trains = []
    for seed in ("0", "1"):
        assert sandbox(*calling("depression", *flags, "--seed", seed, out=f"p{seed}"))[0] == 0
        times = releases(Path(f"p{seed}"))["time"].reshape(2, -1)
        assert (times[0] == times[1]).all()
        assert 140 < times.shape[1] < 260
        trains.append(times[0])
    assert not np.array_equal(*trains)


def test_a_seed_gives_the_same_bytes(sandbox, monkeypatch):
    for out in ("a", "b"):
        assert sandbox(*calling("tsodyks-markram", out=out))[0] == 0
    assert kept(Path("a")) == kept(Path("b"))
    assert {"synapse.svg", "synapse.png"} < set(kept(Path("a")))
    monkeypatch.setattr(command, "save_sheet", lambda *_: None)
    for seed, out in ((1, "c"), (1, "d"), (2, "e")):
        assert sandbox(*calling("binomial", "--trials", "50", "--seed", seed, out=out))[0] == 0
    first, again, other = (kept(Path(out)) for out in "cde")
    assert first == again
    for name in ("releases-00000.parquet", "conditions.parquet"):
        assert first[name] != other[name]


def test_one_trial_has_no_variance(sandbox):
    assert sandbox(*calling("depression", "--trials", "1"))[0] == 0
    table = parquet.read_table(RUN / "conditions.parquet")
    assert table["variance"].to_pylist() == [None] * 10
    assert table["mean"].to_pylist() == releases()["amplitude"].tolist()
    assert (
        json.loads((RUN / "summary.json").read_text())["mean_amplitude"]["standard_error"] is None
    )


def test_too_little_for_the_parabola_is_said_and_no_error(sandbox, plain):
    for flags, message in (
        (["--trials", "1"], "has 1 trials: must have 3 or more"),
        (["--probabilities", "0.5"], "must be 2 or more vectors"),
    ):
        code, out, err = sandbox(*calling("binomial", *flags, out=message[4]))
        assert (code, err) == (0, "")
        assert "no quantal analysis: amplitudes" in out
        assert message in out


@pytest.mark.parametrize(
    ("model", "flags", "message"),
    [
        ("binomial", ["--release-probability", "1.5"], "release_probability = 1.5"),
        ("binomial", ["--sites", "0"], "sites = 0"),
        ("binomial", ["--sites", "2.5"], "'2.5' is not a whole number"),
        ("binomial", ["--trials", "0"], "trials = 0: must be a whole number >= 1"),
        ("binomial", ["--probabilities", "0.5,x"], "is not a list of numbers"),
        ("binomial", ["--probabilities", "0.5,2"], "probabilities[1] = 2.0"),
        ("binomial", ["--probabilities", ""], "probabilities = (): "),
        ("binomial", ["--rate", "-1"], "rate = -1.0"),
        ("binomial", ["--rate", "1e12"], "rates are in Hz, durations in seconds"),
        ("binomial", ["--duration", "0.001"], "no spike falls into it"),
        ("binomial", ["--rise", "0.5"], "rise = 0.5"),
        ("binomial", ["--times", "nothing.txt"], "nothing.txt: No such file"),
        ("binomial", ["--use", "0.5"], "Unknown option"),
        ("depression", ["--use", "0"], "use = 0.0"),
        ("depression", ["--facilitation", "-1"], "facilitation_s = -1.0"),
        ("depression", ["--seed", "-1"], "seed = -1"),
        ("tsodyks-markram", ["--convention", "nest"], "jump-first"),
        ("tsodyks-markram", ["--trials", "3"], "Unknown option"),
        ("tsodyks-markram", ["--train", "burst"], "poisson"),
    ],
)
def test_settings_that_do_not_fit_end_with_2(model, flags, message, sandbox, plain):
    code, out, err = sandbox(*calling(model, *flags))
    assert code == 2
    assert message in out + err
    assert "Traceback" not in out + err
    assert not RUN.exists()


def test_results_have_a_place_of_their_own(sandbox, plain):
    assert sandbox("synapse", "tsodyks-markram", "--seed", "3")[0] == 0
    assert (Path("released") / "tsodyks-markram-3" / "summary.json").exists()


@pytest.mark.parametrize("model", ["binomial", "depression", "tsodyks-markram"])
def test_every_model_has_help(model, sandbox):
    code, out, err = sandbox("synapse", model, "--help")
    assert (code, err) == (0, "")
    assert f"Usage: sandbox synapse {model}" in out
    assert "--overwrite" in out
    assert model in sandbox("synapse")[1]


def test_help_loads_nothing_heavy():
    heavy = ("torch", "numba", "sympy", "matplotlib", "pyarrow", "scipy", "numpy", "brian2")
    script = (
        "import sys, atexit; from sandbox.cli import main\n"
        f"atexit.register(lambda: print([m for m in {heavy} if m in sys.modules], file=sys.stderr))"
        "\nmain(['synapse', 'binomial', '--help'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr.strip()) == (0, "[]")


@pytest.mark.parametrize("cv", ["0", "0.3"])
def test_a_synapse_that_never_releases_is_drawn_as_well(cv, sandbox):
    flags = ["--release-probability", "0", "--quantal-cv", cv, "--trials", "5"]
    assert sandbox(*calling("binomial", *flags))[0] == 0
    summary = json.loads((RUN / "summary.json").read_text())
    assert summary["failures"] == {"measured": 1.0, "theory": 1.0}
