"""``sandbox train`` from end to end: what it leaves, what it refuses, how it goes on."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sandbox.training import command
from sandbox.training.checkpoint import read_state
from sandbox.training.config import TrainConfig, read_toml
from sandbox.training.history import COLUMNS, History
from sandbox.training.objective import Batch, evaluate, loss_function

FILES = {
    "config.toml",
    "environment.json",
    "history.parquet",
    "curve.png",
    "curve.svg",
    "model.safetensors",
}
HALVES = ["0, 1, 2, 3, 4", "5, 6, 7, 8, 9"]
PERMUTED = ["permutation 1", "permutation 2"]
RUN = Path("run")

pytestmark = pytest.mark.usefixtures("somewhere_else")


@pytest.fixture
def plain(monkeypatch):
    """Leave out the figure, which takes most of the time."""
    monkeypatch.setattr(command, "save_curve", lambda history, stem, title: None)


def training(*flags, epochs=2, widths="16", out="run"):
    """Return the command line of a run of a second."""
    return ["train", "--epochs", epochs, "--widths", widths, "--out", out, *flags]


def rows(path=RUN):
    history = History.load(path / "history.parquet")
    return {name: history.column(name).tolist() for name in COLUMNS if name != "seconds"}


def weights(path=RUN):
    return read_state(path / "model.safetensors")["model"]


def table(out):
    """Return the printed table as a list of columns' names and lists of cells."""
    lines = out.split("\n\n")[0].splitlines()
    return [line.split() for line in lines]


def test_a_run_leaves_its_settings_measurements_curve_and_weights(sandbox):
    code, out, err = sandbox(*training("--lr", "0.2", "--seed", "3"))
    assert (code, err) == (0, "")
    assert {path.name for path in RUN.iterdir() if path.is_file()} == FILES
    config = TrainConfig(**read_toml(RUN / "config.toml"))
    assert config == TrainConfig(epochs=2, widths=(16,), lr=0.2, seed=3)
    environment = json.loads((RUN / "environment.json").read_text())
    assert environment["seed"] == 3
    assert (RUN / "curve.png").read_bytes()[:4] == b"\x89PNG"
    assert "</svg>" in (RUN / "curve.svg").read_text()

    history = History.load(RUN / "history.parquet")
    assert history.column("epoch").tolist() == [0, 1, 2]
    assert history.column("step").tolist() == [0, 44, 88]  # floor(1438 samples / 32) an epoch
    assert history.final["test_accuracy"] > 0.8
    head, *lines = table(out)
    assert head == ["step", "epoch", "train_loss", "test_loss", "test_accuracy", "seconds"]
    assert len(lines) == 3
    for cells, row in zip(lines, history.rows, strict=True):
        shown = [f"{row[name]:.4g}" for name in head]
        assert cells == [text if text != "nan" else "-" for text in shown]
    assert out.endswith(
        "\nrun: history.parquet, curve.png, curve.svg, model.safetensors, config.toml\n"
    )

    # the weights are those that were measured last
    state = read_state(RUN / "model.safetensors")
    assert TrainConfig(**state["settings"]) == config
    stream = command.build_stream(config)
    model = command.build_model(config, stream)
    model.load_state_dict(state["model"])
    samples = stream.tasks[0].samples("test")
    batch = Batch.of(samples, config.loss, dtype=torch.float32, device=torch.device("cpu"))
    found = evaluate(model, batch, loss_function(config.loss))
    assert found.accuracy == history.final["test_accuracy"]
    assert found.loss == history.final["test_loss"]


def test_settings_reach_training(monkeypatch):
    config = TrainConfig(
        optimizer="adamw", lr=0.25, weight_decay=0.5, batch_size=0, patience=0, validation=0.1,
        schedule="step", warmup=0.2, evaluate="seen", evaluate_every=3, reset_optimizer=True,
        epochs=4, loss="squared", widths=(5, 7), activation="tanh", bias=False, dtype="float64",
        init="orthogonal", seed=9, stream="permuted", tasks=2, scenario="task",
    )  # fmt: skip
    plan = command.build_plan(config)
    names = ("epochs", "loss", "schedule", "warmup", "evaluate", "evaluate_every", "validation")
    for name in (*names, "reset_optimizer"):
        assert getattr(plan, name) == getattr(config, name), name
    assert (plan.batch_size, plan.patience) == (None, None)
    assert command.build_plan(TrainConfig(patience=3, validation=0.1)).patience == 3
    stream = command.build_stream(config)
    model = command.build_model(config, stream)
    assert [tuple(p.shape) for p in model.parameters()] == [(5, 64), (7, 5), (20, 7)]
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    # orthogonal: rows or columns of length one
    np.testing.assert_allclose(
        model[2].weight.T.detach() @ model[2].weight.detach(), np.eye(5), atol=1e-12
    )
    assert isinstance(model[1], torch.nn.Tanh)
    group = command.build_optimizer(config, model).param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (0.25, 0.5)
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    for name, kind in kinds.items():
        made = command.build_optimizer(TrainConfig(optimizer=name), model)
        assert type(made) is kind
    sgd = command.build_optimizer(TrainConfig(momentum=0.75, weight_decay=0.5), model)
    group = sgd.param_groups[0]
    assert (group["momentum"], group["weight_decay"], group["nesterov"]) == (0.75, 0.5, False)
    # mean 0 and deviation 1 over the training samples, or [0, 1]
    inputs = command.build_stream(TrainConfig()).tasks[0].dataset.train.inputs
    assert (abs(inputs.mean()), abs(inputs.std() - 1)) < (0.01, 0.01)
    inputs = command.build_stream(TrainConfig(scaling="unit")).tasks[0].dataset.train.inputs
    assert (inputs.min(), inputs.max()) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("flags", "names", "outputs"),
    [
        (["--stream", "split"], ["0, 1", "2, 3", "4, 5", "6, 7", "8, 9"], 2),
        (["--stream", "split", "--per-task", "5", "--scenario", "task"], HALVES, 10),
        (["--stream", "permuted", "--tasks", "2"], PERMUTED, 10),
        (["--stream", "permuted", "--tasks", "2", "--scenario", "class"], PERMUTED, 20),
        (["--stream", "continuous-permuted", "--tasks", "2"], PERMUTED, 10),
    ],
    ids=["split", "split, own heads", "permuted", "permuted, all classes", "continuous"],
)
def test_streams_of_tasks_end_with_their_measures(flags, names, outputs, sandbox, plain):
    code, out, err = sandbox(*training(*flags, epochs=1))
    assert (code, err) == (0, "")
    history = History.load(RUN / "history.parquet")
    assert list(history.names) == names
    *_, last = weights().values()
    assert last.shape == (outputs,)
    lines = out.split("\n\n")[0].splitlines()
    assert [line[: max(map(len, names))].strip() for line in lines] == ["task", names[0], *names]
    matrix = history.accuracy_matrix()
    assert (
        f"\naverage accuracy {matrix.average:.4f}, learning accuracy {matrix.learning:.4f},"
        f" forgetting {matrix.forgetting:.4f}, backward transfer {matrix.backward:+.4f},"
        f" forward transfer {matrix.forward:+.4f}\n"
    ) in out


def test_a_continuous_stream_blends(sandbox, plain):
    for stream in ("permuted", "continuous-permuted"):
        flags = ["--stream", stream, "--tasks", "2"]
        assert sandbox(*training(*flags, epochs=1, out=stream))[0] == 0
    sharp, blended = (rows(Path(name)) for name in ("permuted", "continuous-permuted"))
    assert sharp["train_loss"] != blended["train_loss"]
    assert command.build_stream(TrainConfig(stream="continuous-permuted")).blend == 0.125


def test_an_autoencoder_has_no_accuracy(sandbox):
    flags = ["--model", "autoencoder", "--loss", "reconstruction", "--lr", "0.01"]
    code, out, _ = sandbox(*training(*flags, "--scaling", "unit", widths="12,4"))
    assert code == 0
    assert [cells[4] for cells in table(out)] == ["test_accuracy", "-", "-", "-"]
    shapes = [tuple(w.shape) for name, w in weights().items() if name.endswith("weight")]
    assert shapes == [(12, 64), (4, 12), (12, 4), (64, 12)]
    history = History.load(RUN / "history.parquet")
    assert history.final["test_loss"] < history.rows[0]["test_loss"]
    assert {path.name for path in RUN.iterdir()} >= FILES


def test_a_convolutional_network(sandbox, plain):
    code, _, err = sandbox(*training("--model", "cnn", "--batch-size", "100", epochs=1))
    assert (code, err) == (0, "")
    shapes = [tuple(w.shape) for name, w in weights().items() if name.endswith("weight")]
    assert shapes[:2] == [(32, 1, 3, 3), (32, 32, 3, 3)]
    assert shapes[-2:] == [(16, 64 * 2 * 2), (10, 16)]


def test_validation_has_a_column_and_stops_early(sandbox, plain):
    # steps too small to change a float32: the second evaluation finds no improvement
    flags = ["--validation", "0.2", "--patience", "1", "--lr", "1e-30"]
    code, out, _ = sandbox(*training(*flags, epochs=9))
    assert code == 0
    head, *lines = table(out)
    assert head[3] == "validation_loss"
    assert [cells[1] for cells in lines] == ["0", "1", "2"]


def test_a_run_that_diverges_says_so(sandbox):
    code, out, err = sandbox(*training("--lr", "1e30"))
    assert (code, err) == (0, "")
    assert "\nstopped early: the training loss is not finite at step 44: use a smaller lr\n" in out
    assert (RUN / "curve.png").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--batch-size", "1439"], "batch_size = 1439: the task has 1438 samples to train on"),
        (["--stream", "split", "--per-task", "6"], "per_task = 6: 10 classes make 1 tasks"),
        (["--stream", "continuous-permuted", "--scenario", "task"], "blend = 0.125: "),
        (["--checkpoint", "/dev/null/run"], "Not a directory"),
        (["--device", "cuda"], "--device cuda: torch sees no CUDA device; use --device cpu"),
    ],
)
def test_settings_that_do_not_fit_end_with_2_and_a_line(
    flags, message, sandbox, plain, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, out, err = sandbox(*training(*flags))
    assert (code, out) == (2, "")
    assert err.startswith("sandbox: ")
    assert message in err
    assert err.count("\n") == 1
    if "--checkpoint" not in flags:
        assert not RUN.exists()  # so that the next attempt finds nothing in its way


@pytest.mark.parametrize("flags", [[], ["--overwrite"]])
def test_a_place_where_nothing_can_be_written_is_refused(flags, sandbox, plain):
    Path("file").write_text("mine")
    for out in ("file", "file/run"):
        code, told, err = sandbox(*training(*flags, out=out))
        assert (code, told) == (2, "")
        assert err.startswith("sandbox: ")
        assert err.count("\n") == 1
    assert Path("file").read_text() == "mine"


def test_data_that_are_not_at_hand_end_with_2_and_the_ways_to_get_them(sandbox, monkeypatch):
    import pooch

    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(pooch, "retrieve", offline)
    monkeypatch.setattr(pooch, "os_cache", lambda name: str(Path.cwd() / name))
    code, out, err = sandbox(*training("--data", "cifar10"))
    assert (code, out) == (2, "")
    assert "data set 'cifar10' is not at hand and could not be downloaded" in err
    assert "SANDBOX_DATA" in err
    assert not RUN.exists()


@pytest.mark.parametrize("words", [["data"], ["data", "digits"], ["train", "--help"]])
def test_what_trains_nothing_loads_no_torch(words):
    heavy = ("torch", "numba", "sympy", "matplotlib", "pyarrow", "scipy")
    script = (
        "import sys, atexit; from sandbox.cli import main\n"
        f"atexit.register(lambda: print([m for m in {heavy} if m in sys.modules], file=sys.stderr))"
        f"\nmain({words})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
    assert "digits" in done.stdout
