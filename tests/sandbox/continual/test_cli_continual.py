"""The command ``sandbox continual`` as a user calls it."""

import json
from operator import itemgetter
from pathlib import Path

import numpy as np
import pytest
import torch

from sandbox.continual import METHODS, command
from sandbox.continual.config import ContinualConfig, read_toml
from sandbox.continual.presets import PRESETS
from sandbox.continual.table import read_runs, table_lines
from sandbox.training.history import History
from sandbox.training.measures import AccuracyMatrix

OUT = Path("out")
FILES = {
    "config.toml", "environment.json", "forgetting.png", "forgetting.svg", "runs.parquet",
    "table.json", ".lock",
}  # fmt: skip
RUN = {"history.parquet", "model.safetensors", "result.json"}

pytestmark = pytest.mark.usefixtures("somewhere_else")


def comparison(*flags, out=OUT):
    """The command line of a few seconds."""
    small = ("--tasks", "split", "--per-task", "5", "--epochs", "1", "--widths", "8")
    seeds = () if "--seeds" in flags else ("--seeds", "2")
    return ["continual", *small, *seeds, "--out", out, *flags]


@pytest.fixture
def no_figure(monkeypatch):
    """Leave out the figure, which takes most of the time."""
    monkeypatch.setattr(command, "save_curves", lambda results, stem, title: None)


def files(folder):
    return {path.name for path in Path(folder).iterdir() if path.is_file()}


def runs(folder=OUT):
    return read_runs(folder / "runs.parquet")


def test_a_comparison_leaves_its_table_rows_figure_and_runs(sandbox):
    code, out, err = sandbox(*comparison("--regulariser", "none,si", "--seed", "4"))
    assert (code, err) == (0, "")
    assert files(OUT) == FILES
    config = ContinualConfig(**read_toml(OUT / "config.toml"))
    assert (config.regulariser, config.seeds, config.seed) == (("none", "si"), 2, 4)
    assert json.loads((OUT / "environment.json").read_text())["seed"] == 4
    assert (OUT / "forgetting.png").read_bytes()[:4] == b"\x89PNG"
    folders = {path.name for path in OUT.iterdir() if path.is_dir()}
    assert folders == {"none-4", "none-5", "si-4", "si-5"}

    found = json.loads((OUT / "table.json").read_text())
    rows = runs()
    for row in found["methods"]:
        sample = []
        for seed in row["seeds"]:
            folder = OUT / f"{row['method']}-{seed}"
            assert files(folder) == RUN
            matrix = History.load(folder / "history.parquet").accuracy_matrix()
            own = [r for r in rows if (r["method"], r["seed"]) == (row["method"], seed)]
            told = np.array([r["accuracy"] for r in own]).reshape(3, 2)
            assert told.tolist() == matrix.values.tolist()
            sample.append(AccuracyMatrix(told).average)
        assert row["average"]["mean"] == pytest.approx(np.mean(sample), rel=1e-12)
    lines = out.splitlines()
    assert lines[0] == (
        "split digits (domain-incremental), 2 tasks; 2 seeds, mean ± half of the 95 % interval"
    )
    assert lines[2:5] == table_lines(found["methods"])
    assert out.endswith("and a folder for every method and seed\n")


def test_energy_is_the_sum_of_the_moduli_of_the_weights(sandbox, no_figure):
    from sandbox.training.checkpoint import read_state

    assert sandbox(*comparison("--regulariser", "none,ewc", "--seeds", "1"))[0] == 0
    for method in ("none", "ewc"):
        state = read_state(OUT / f"{method}-0" / "model.safetensors")["model"]
        total = sum(float(w.double().abs().sum()) for n, w in state.items() if "weight" in n)
        (energy,) = {r["energy"] for r in runs() if (r["method"], r["learned"]) == (method, 2)}
        assert energy == pytest.approx(total, rel=1e-12)


ORDER = itemgetter("method", "seed", "learned", "task")


def test_methods_do_not_depend_on_each_other(sandbox, no_figure):
    sandbox(*comparison("--regulariser", "siu,none"))
    sandbox(*comparison("--regulariser", "none,mas,siu", "--seeds", "1", out="other"))
    mine = [row for row in runs() if row["seed"] == 0]
    theirs = [row for row in runs(Path("other")) if row["method"] != "mas"]
    assert sorted(mine, key=ORDER) == sorted(theirs, key=ORDER)


@pytest.mark.slow
def test_several_processes_find_the_same(sandbox, no_figure):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as many as a process of several has
    try:
        assert sandbox(*comparison("--regulariser", "si"))[0] == 0
    finally:
        torch.set_num_threads(threads)
    assert sandbox(*comparison("--regulariser", "si", "--workers", "2", out="by two"))[0] == 0
    assert runs() == runs(Path("by two"))


def test_what_was_cut_short_goes_on_to_the_same_bits(sandbox, no_figure, monkeypatch):
    flags = ("--regulariser", "si,ewc")
    assert sandbox(*comparison(*flags, out="whole"))[0] == 0
    found, done = command.run_one, []

    def twice(config, name, seed, folder, progress=False):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append((name, seed))
        return found(config, name, seed, folder, progress)

    monkeypatch.setattr(command, "run_one", twice)
    assert sandbox(*comparison(*flags))[0] == 130
    monkeypatch.setattr(command, "run_one", found)
    assert not (OUT / "table.json").exists()
    code, _, err = sandbox(*comparison(*flags))
    assert code == 2
    assert "was cut short; --resume it, or --overwrite it" in err
    before = (OUT / "si-0" / "result.json").stat().st_mtime_ns
    assert sandbox(*comparison(*flags, "--resume"))[0] == 0
    assert (OUT / "si-0" / "result.json").stat().st_mtime_ns == before
    for name in ("table.json", "runs.parquet", "config.toml"):
        assert (OUT / name).read_bytes() == (Path("whole") / name).read_bytes()
    # a finished comparison is told again
    again = sandbox(*comparison(*flags))
    assert again[0] == 0
    assert again[1] == sandbox(*comparison(*flags, out="whole"))[1].replace("whole:", "out:")


def test_overwriting_removes_what_a_comparison_left_and_no_more(sandbox, no_figure):
    assert sandbox(*comparison("--regulariser", "none,si"))[0] == 0
    (OUT / "si-0" / "mine.txt").write_text("kept")
    code, _, err = sandbox(*comparison("--regulariser", "none"))
    assert code == 2
    assert "holds a comparison of other settings" in err
    assert sandbox(*comparison("--regulariser", "none", "--overwrite"))[0] == 0
    assert {path.name for path in OUT.iterdir() if path.is_dir()} == {"none-0", "none-1", "si-0"}
    assert files(OUT / "si-0") == {"mine.txt"}


def test_settings_come_from_line_file_and_preset_in_this_order(sandbox, monkeypatch):
    told = []

    def compare(settings, out, **_):
        told.append((settings, out))
        raise ValueError("enough")

    monkeypatch.setattr(command, "compare", compare)
    Path("some.toml").write_text('epochs = 3\nregulariser = ["si", "sos"]\nlr = 0.5\n')
    sandbox(
        "continual", "--preset", "benzing-permuted-mnist", "--config", "some.toml", "--lr", "0.25"
    )
    ((settings, out),) = told
    wanted = dict(PRESETS["benzing-permuted-mnist"].settings)
    wanted |= {"epochs": 3, "regulariser": ("si", "sos"), "lr": 0.25}
    assert settings == ContinualConfig(**wanted)
    assert out == Path("continual/mnist-permuted-mlp-adam-0")


def test_runs_that_diverge_are_told(sandbox):
    flags = ("--regulariser", "none,ewc", "--optimizer", "sgd", "--lr", "1e30", "--seeds", "1")
    code, out, _ = sandbox(*comparison(*flags))
    assert code == 0
    assert "none, seed 0: stopped early and not counted: the training loss is not finite" in out


def test_an_optimiser_that_gives_up_stops_its_run_alone(sandbox, no_figure):
    flags = ("--regulariser", "none", "--optimizer", "curvature", "--lr", "1e30", "--seeds", "1")
    code, out, _ = sandbox(*comparison(*flags))
    assert code == 0
    assert "none, seed 0: stopped early and not counted: " in out
    assert files(OUT / "none-0") == {"result.json"}


@pytest.mark.filterwarnings("always")
def test_warnings_name_the_run(sandbox, no_figure):
    flags = ("--regulariser", "ewc", "--strength", "1e9", "--optimizer", "sgd", "--seeds", "1")
    _, _, err = sandbox(*comparison(*flags))
    assert err.startswith("sandbox: ewc, seed 0: ")
    assert all(line.startswith("sandbox: ewc, seed 0: ") for line in err.splitlines())


def test_help_names_every_method_and_preset(sandbox):
    code, out, _ = sandbox("continual", "--help")
    assert code == 0
    words = "".join(out.split()).replace("│", "")
    for name in (*METHODS, *PRESETS, "presynaptic", "[default:none,si,sos,ewc]"):
        assert name in words, name
    assert "continual" in sandbox("--help")[1]


BAD = {
    ("--regulariser", "eww"): "the nearest is 'ewc'",
    ("--regulariser", "si", "--strength", "si=-1"): "neither published, nor a number >= 0",
    ("--preset", "benzing"): "--preset benzing: must be one of benzing-permuted-mnist",
    ("--optimizer", "presynaptic"): "use stochastic-mlp",
    ("--config", "absent.toml"): "No such file",
    ("--per-task", "11"): "per_task = 11: 10 classes make 0 tasks",
    ("--per-task", "1"): "per_task = 1",
    ("--optimizer", "foof", "--side", "activation", "--regulariser", "si"): "side='gradient'",
    ("--optimizer", "curvature", "--regulariser", "none,ewc"): "ewc: ",
    (
        "--batch-size",
        "0",
        "--regulariser",
        "si,sib",
    ): "sib: batch_size = None: every step takes",
    ("--batch-size", "5000"): "use a smaller batch",
}


@pytest.mark.bad_input
@pytest.mark.parametrize("flags", BAD, ids=" ".join)
def test_bad_calls(flags, sandbox, no_figure):
    small = ["--tasks", "split", "--per-task", "5", "--epochs", "1", "--widths", "2"]
    given = [*small, "--seeds", "1", "--batch-size", "500", "--out", "bad"]
    if flags[0] in given:
        at = given.index(flags[0])
        del given[at : at + 2]
    code, _, err = sandbox("continual", *given, *flags)
    assert code == 2
    assert BAD[flags] in " ".join(err.split()).replace("│ ", ""), err
    assert not Path("bad").exists()  # a corrected call begins afresh


@pytest.mark.bad_input
def test_folders_that_are_not_ours_are_left_alone(sandbox):
    Path("file").write_text("")
    assert "is a file" in sandbox(*comparison(out="file"))[2]
    Path("theirs").mkdir()
    (Path("theirs") / "table.json").write_text("{}")
    assert "table.json is there and is not of a comparison" in sandbox(*comparison(out="theirs"))[2]
    told = sandbox(*comparison("--overwrite", out="theirs"))
    assert told[0] == 2
    assert "holds no comparison" in told[2]
    assert (Path("theirs") / "table.json").read_text() == "{}"
