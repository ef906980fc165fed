"""``sandbox train --optimizer …``: every option arrives, every optimiser trains and resumes."""

from pathlib import Path

import pytest
import torch

from sandbox.training import command
from sandbox.training.checkpoint import read_state
from sandbox.training.config import TrainConfig
from sandbox.training.history import History
from sandbox.training.options import OPTIONS
from theory.streams import Streams

RUN = Path("run")

pytestmark = pytest.mark.usefixtures("somewhere_else")


@pytest.fixture
def plain(monkeypatch):
    """Leave out the figure, which takes most of the time."""
    monkeypatch.setattr(command, "save_curve", lambda history, stem, title: None)


def built(**settings):
    config = TrainConfig(widths=(5,), **settings)
    model = command.build_model(config, command.build_stream(config))
    return command.build_optimizer(config, model)


def test_factor_options_arrive():
    for name in ("foof", "kfac"):
        found = built(
            optimizer=name, lr=0.5, damping=3.0, power=0.25, factor_scaling="paper",
            sharing="reduce", refresh_every=7, collect=3, factor_decay=0.5, factor_samples=6,
            bias_rule="fallback", side="activation", momentum=0.75, weight_decay=0.25,
            fallback="sgd", fallback_lr=0.125,
        )  # fmt: skip
        assert type(found).__name__.lower() == name
        own = {"power": 0.25, "scaling": "paper", "sharing": "reduce", "T": 7, "S": 3,
               "decay": 0.5, "factor_samples": 6, "bias": "fallback", "side": "activation",
               "nonfinite": "skip"}  # fmt: skip
        assert {key: getattr(found, key) for key in own} == own
        layers, others = found.param_groups
        wanted = {"lr": 0.5, "damping": 3.0, "momentum": 0.75, "weight_decay": 0.25}
        assert {key: layers[key] for key in wanted} == wanted
        assert (others["optimizer"], others["lr"]) == ("sgd", 0.125)
        with pytest.raises(ValueError, match=r"no factor rule for 0\.bias, 2\.bias"):
            built(optimizer=name, bias_rule="fallback", fallback="none")
    kfac = built(optimizer="kfac", rule="standard", fisher="empirical", loss="squared", seed=4)
    found = (kfac.rule, kfac.fisher, kfac.likelihood, kfac.output_factor, kfac.seed)
    seed = Streams(4).integer("optimizer")
    assert found == ("standard", "empirical", "gaussian", True, seed)
    assert not built(optimizer="kfac", output_factor=False).output_factor


def test_options_of_the_others_arrive():
    natural = built(
        optimizer="natural", lr=0.5, damping=3.0, momentum=0.75, weight_decay=0.25, fisher="full",
        blocks="layer", factor_samples=6,
    )  # fmt: skip
    found = (natural.fisher, natural.blocks, natural.fisher_samples, natural.likelihood)
    assert found == ("full", "layer", 6, "categorical")
    group = natural.param_groups[0]
    assert (group["lr"], group["damping"], group["momentum"]) == (0.5, 3.0, 0.75)
    own = {"lr_min": 0.125, "lr_max": 0.25, "quick_steps": 1, "hessian": "rms", "glass": False,
           "bounds": "sgdm", "omega": 2.0, "phi": 0.5, "betas": (0.8, 0.95)}  # fmt: skip
    group = built(optimizer="alice", lr=0.5, weight_decay=0.25, **own).param_groups[0]
    assert {key: group[key] for key in own} == own
    assert (group["lr"], group["weight_decay"]) == (0.5, (0.0, 0.25))
    curvature = built(
        optimizer="curvature", lr=0.5, power=0.75, blocks="layer", damping=0.0, scale=2.0,
        loss="squared",
    )  # fmt: skip
    rule = curvature.rule
    found = (rule.power, rule.blocks, rule.damping, rule.scale, curvature.loss)
    assert found == (0.75, "layer", 0.0, 2.0, "squared")
    muon = built(optimizer="muon", lr=0.5, momentum=0.75, weight_decay=0.25, fallback_lr=0.125)
    matrices, others = muon.param_groups
    assert [p.ndim for p in matrices["params"]] == [2, 2]
    assert [p.ndim for p in others["params"]] == [1, 1]
    assert (matrices["lr"], matrices["momentum"], matrices["weight_decay"]) == (0.5, 0.75, 0.25)
    assert (others["lr"], others["weight_decay"]) == (0.125, 0.25)
    for name in ("adam", "adamw"):
        assert built(optimizer=name, betas=(0.8, 0.95)).param_groups[0]["betas"] == (0.8, 0.95)


@pytest.mark.parametrize("optimizer", OPTIONS)
def test_every_optimiser_learns_with_its_defaults(optimizer, sandbox, plain):
    small = ["--widths", "8", "--batch-size", "64", "--epochs", "2"]
    if optimizer == "curvature":  # a singular value decomposition a step
        small = ["--widths", "4", "--batch-size", "16", "--epochs", "1"]
    code, out, err = sandbox("train", "--optimizer", optimizer, *small, "--out", "run")
    assert (code, err) == (0, "")
    assert "\nrun: history.parquet" in out
    history = History.load(RUN / "history.parquet")
    losses = history.column("test_loss")
    assert losses[-1] < losses[0]
    assert not history.stopped


@pytest.mark.parametrize("optimizer", ["foof", "kfac", "natural"])
@pytest.mark.parametrize("stream", ["single", "split"])
def test_defaults_learn_one_task_and_several(optimizer, stream, sandbox, plain):
    # with factors of the task before at the borders of the split stream
    flags = ["--optimizer", optimizer, "--stream", stream, "--epochs", "2", "--out", "run"]
    code, out, _ = sandbox("train", *flags)
    assert (code, "stopped early" in out) == (0, False)
    history = History.load(RUN / "history.parquet")
    learned = [
        row["test_accuracy"]
        for row in history.rows
        if row["evaluated"] == row["task"] and row["learned"] == row["task"] + 1
    ]
    assert min(learned) > 0.8


@pytest.mark.parametrize("optimizer", ["foof", "kfac", "natural"])
def test_what_diverges_stops_and_says_so(optimizer, sandbox, plain, caplog):
    small = ["--widths", "8", "--batch-size", "0", "--epochs", "20"]
    flags = ["--optimizer", optimizer, "--lr", "1e30", *small, "--out", "run"]
    code, out, err = sandbox("train", *flags)
    assert code == 0
    assert "\nstopped early: the " in out
    assert "use a smaller lr or more damping\n" in out
    assert "Traceback" not in err
    assert len(caplog.messages) == len(set(caplog.messages))  # warnings are not repeated


def test_probes_that_leave_the_domain_move_nothing_and_say_so(sandbox, plain, caplog):
    """The loss at the weights themselves is finite, and it is the one on record."""
    small = ["--widths", "8", "--batch-size", "0", "--epochs", "20"]
    code, *_ = sandbox("train", "--optimizer", "alice", "--lr", "1e30", *small, "--out", "run")
    assert code == 0
    # once, not in every step; pytest takes what would go to stderr
    assert caplog.messages == ["Alice: a loss or gradient is not finite; the step is skipped"]
    history = History.load(RUN / "history.parquet")
    assert len(set(history.column("test_loss"))) == 1
    assert len(set(history.column("train_loss")[1:])) == 1


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--optimizer foof --damping 0", "damping = 0.0: must be a finite number in (0, inf)"),
        ("--optimizer natural --damping 0", "damping = 0.0: must be"),
        ("--optimizer kfac --power 0", "power = 0.0: must be a finite number in (0, inf)"),
        ("--optimizer sgd --damping 1", "damping = 1.0: sgd has none; it is for foof, kfac"),
        ("--optimizer kfac --refresh-every 2 --collect 3", "collect = 3: must not exceed refresh"),
        ("--optimizer sgd --fallback adamw", "fallback = 'adamw': sgd has none"),
        (
            "--optimizer foof --fallback none --fallback-lr 1",
            "fallback_lr = 1.0: fallback 'none' trains nothing",
        ),
        (
            "--optimizer kfac --fallback none --model wrn18 --batch-norm --width-factor 0.02",
            "fallback = 'none': there is no factor rule for 2.weight, 2.bias, 4.residual.1.weight",
        ),
        ("--optimizer kfac --no-output-factor --rule standard", "output_factor = False with rule"),
        ("--optimizer alice --lr-min 0.5", "lr_min = 0.5: must not be above lr_max = 0.01"),
        ("--optimizer alice --hessian off --no-glass", "hessian = 'off' with glass = False"),
        ("--optimizer alice --dtype bfloat16", "must be float32 or float64"),
        ("--width-factor 0", "width_factor = 0.0: mlp has none"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(flags, words, sandbox, plain):
    code, out, err = sandbox("train", *flags.split(), "--epochs", "1", "--out", "run")
    assert (code, out) == (2, "")
    assert err.startswith("sandbox: ")
    assert words in err
    assert not RUN.exists()


def test_an_optimiser_that_gives_up_says_why(sandbox, plain):
    """It has no loss to stop at: the outputs that it asked for are not finite."""
    flags = ["--optimizer", "curvature", "--lr", "1e30", "--widths", "4", "--epochs", "1"]
    code, _, err = sandbox("train", *flags, "--out", "run")
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("sandbox: outputs are not finite: training has diverged; use a smaller")
    assert not (RUN / "history.parquet").exists()


def test_a_mistake_of_the_program_is_not_hidden(sandbox, plain, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(command, "fit", broken)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        sandbox("train", "--out", "run")


@pytest.mark.parametrize(
    ("loss", "model", "law"),
    [
        ("cross-entropy", "mlp", "categorical"),
        ("squared", "mlp", "gaussian"),
        ("reconstruction", "autoencoder", "gaussian"),
    ],
)
@pytest.mark.parametrize("optimizer", ["kfac", "natural"])
def test_labels_are_drawn_by_the_law_of_the_loss(optimizer, loss, model, law, sandbox, plain):
    assert built(optimizer=optimizer, loss=loss, model=model).likelihood == law
    flags = ["--optimizer", optimizer, "--loss", loss, "--model", model, "--lr", "0.003"]
    code, _, err = sandbox("train", *flags, "--epochs", "2", "--out", "run")
    assert (code, err) == (0, "")
    history = History.load(RUN / "history.parquet")
    assert history.column("test_loss")[-1] < history.column("test_loss")[0]
    assert not history.stopped


@pytest.mark.parametrize(
    ("flags", "convolutions"),
    [
        (["--model", "vgg11"], 8),
        (["--model", "wrn18"], 20),
        (["--model", "wrn18", "--batch-norm", "--optimizer", "kfac"], 20),
    ],
)
def test_deep_networks(flags, convolutions, sandbox, plain):
    small = ["--width-factor", "0.03125", "--batch-size", "512", "--epochs", "1"]
    code, _, err = sandbox("train", *flags, *small, "--out", "run")
    assert (code, err) == (0, "")
    state = read_state(RUN / "model.safetensors")
    found = [w for name, w in state["model"].items() if w.ndim == 4]
    assert len(found) == convolutions
    assert found[0].shape == (2, 1, 3, 3)
    assert state["settings"]["init"] == "kaiming-normal"
    config = TrainConfig(**state["settings"])
    model = command.build_model(config, command.build_stream(config))
    model.load_state_dict(state["model"])


@pytest.mark.parametrize("kind", ["exponential", "tail"])
def test_averaged_weights_are_printed_and_kept(kind, sandbox, plain):
    flags = ["--average", kind, "--precision", "bfloat16-mixed", "--widths", "8", "--epochs", "2"]
    code, out, err = sandbox("train", *flags, "--out", "run")
    assert (code, err) == (0, "")
    head, *lines = [line.split() for line in out.split("\n\n")[0].splitlines()]
    assert head[-3:] == ["averaged_loss", "averaged_accuracy", "seconds"]
    history = History.load(RUN / "history.parquet")
    averaged = history.column("averaged_loss")
    assert [cells[-3] == "-" for cells in lines] == [value != value for value in averaged]
    state = read_state(RUN / "model.safetensors")
    assert list(state["average"]) == list(state["model"])
    assert not torch.equal(state["average"]["0.weight"], state["model"]["0.weight"])
    average = command.build_average(TrainConfig(average=kind), torch.nn.Linear(1, 1))
    assert average.settings == {
        "kind": kind, "decay": 0.999, "start": 0.5 if kind == "tail" else 0.0,
    }  # fmt: skip
    assert command.build_average(TrainConfig(), torch.nn.Linear(1, 1)) is None
