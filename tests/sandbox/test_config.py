"""Settings of a training run: the same from Python, from a file and from the command line."""

import dataclasses
import re

import numpy as np
import pytest

from sandbox.training.config import TrainConfig, read_toml, to_toml
from sandbox.training.options import OPTIONS, OptimizerOptions
from tests.sandbox.config_cases import FIELDS, OWN, file

# no setting is left at its default, so none can be lost without notice
COMMON = {
    "data": "mnist-5k",
    "scaling": "unit",
    "stream": "permuted",
    "tasks": 3,
    "per_task": 5,
    "scenario": "class",
    "model": "cnn",
    "widths": (32, 16, 8),
    "activation": "tanh",
    "bias": False,
    "init": "glorot-uniform",
    "epochs": 7,
    "batch_size": 0,
    "loss": "squared",
    "schedule": "cosine",
    "warmup": 0.125,
    "validation": 0.1,
    "patience": 4,
    "evaluate": "seen",
    "evaluate_every": 2,
    "reset_optimizer": True,
    "average": "exponential",
    "average_decay": 0.75,
    "average_start": 0.25,
    "seed": 2**100 + 1,
    "device": "cpu",
    "dtype": "bfloat16",
}
CASES = {name: {"optimizer": name, **own, **COMMON} for name, own in OWN.items()}
CASES["mixed"] = {
    "optimizer": "adam", "model": "wrn18", "width_factor": 0.5, "batch_norm": True,
    "average": "tail", "average_start": 0.75, "precision": "bfloat16-mixed", "init": "torch",
}  # fmt: skip
pytestmark = pytest.mark.usefixtures("somewhere_else")


def as_flags(settings):
    flags = []
    for name, value in settings.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, tuple):
            flags += [f"--{flag}", ",".join(map(str, value))]
        else:
            flags += [f"--{flag}", str(value)]
    return flags


def test_the_cases_leave_no_setting_out():
    """Every setting differs from its default in a case, all that an optimiser has in its own."""
    changed = set()
    for settings in CASES.values():
        found = dataclasses.asdict(TrainConfig(**settings))
        plain = {name: settings[name] for name in ("optimizer", "model", "average", "loss")
                 if name in settings}  # fmt: skip
        default = dataclasses.asdict(TrainConfig(**plain))
        changed |= {name for name in settings if found[name] != default[name]} | set(plain)
        if settings["optimizer"] in OWN and "data" in settings:
            assert set(OWN[settings["optimizer"]]) == set(OPTIONS[settings["optimizer"]])
            own = OWN[settings["optimizer"]]
            assert all(found[name] == own[name] != default[name] for name in own)
    assert changed == set(FIELDS) - {"device"}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        *CASES.values(),
        {"momentum": 0.9, "lr": 1e300, "weight_decay": 5e-324, "widths": (), "seed": 2**128 - 1},
        {"lr": 0.1 + 0.2, "model": "autoencoder", "loss": "reconstruction"},
    ],
    ids=["defaults", *CASES, "extremes", "autoencoder"],
)
def test_what_is_written_as_toml_is_read_back(settings, tmp_path):
    config = TrainConfig(**settings)
    path = file(tmp_path, to_toml(config))
    read = read_toml(path)
    held = dataclasses.asdict(config)
    assert list(read) == [name for name in FIELDS if held[name] is not None]
    again = TrainConfig(**read)
    assert again == config
    assert again.widths == config.widths
    for name in FIELDS:
        assert type(getattr(again, name)) is type(getattr(config, name)), name


@pytest.mark.parametrize("case", CASES)
def test_flags_file_and_python_say_the_same(case, sandbox, asked, tmp_path):
    wanted = TrainConfig(**CASES[case])
    path = file(tmp_path, to_toml(wanted))
    dashes = file(tmp_path, to_toml(wanted).replace("_", "-"), "dashes.toml")
    for arguments in (as_flags(CASES[case]), ["--config", path], ["--config", dashes]):
        code, _, err = sandbox("train", *arguments)
        assert (code, err) == (0, "")
        assert asked.pop()[0] == wanted


def test_no_flags_are_the_defaults(sandbox, asked):
    assert sandbox("train")[0] == 0
    assert asked.pop()[0] == TrainConfig()
    sandbox("train", "--momentum", "0.5")
    assert asked.pop()[0] == TrainConfig(momentum=0.5)


def test_a_flag_beats_the_file_and_the_file_the_default(sandbox, asked, tmp_path):
    path = file(tmp_path, 'lr = 0.5\nepochs = 3\nwidths = [8]\nbias = false\nloss = "squared"\n')
    flags = ["--lr", "0.25", "--widths", "16,4", "--bias"]
    for arguments in ([*flags, "--config", path], ["--config", path, *flags]):
        sandbox("train", *arguments)
        wanted = {"lr": 0.25, "epochs": 3, "widths": (16, 4), "bias": True, "loss": "squared"}
        assert asked.pop()[0] == TrainConfig(**wanted)


@pytest.mark.parametrize(
    ("flag", "line", "widths"),
    [
        ("64,64", "widths = [64, 64]", (64, 64)),
        ("12", "widths = [12]", (12,)),
        ("12", "widths = 12", (12,)),
        ("3, 2 ,1", "widths = [3, 2, 1]", (3, 2, 1)),
        ("", "widths = []", ()),
    ],
)
def test_widths_are_a_list_in_a_file_and_commas_on_the_command_line(
    flag, line, widths, sandbox, asked, tmp_path
):
    sandbox("train", "--widths", flag)
    sandbox("train", "--config", file(tmp_path, line))
    assert [settings.widths for settings, _, _ in asked] == [widths, widths]


def test_numbers_are_kept_as_plain_ones():
    config = TrainConfig(epochs=np.int64(3), widths=[np.int64(8), 4.0], tasks=2.0)
    assert (config.epochs, config.widths, config.tasks) == (3, (8, 4), 2)
    assert {type(n) for n in (config.epochs, *config.widths, config.tasks)} == {int}
    assert "epochs = 3\n" in to_toml(config)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.epochs = 4


def test_help_tells_about_every_setting(sandbox):
    code, out, _ = sandbox("train", "--help")
    assert code == 0
    for name in FIELDS:
        assert f"--{name.replace('_', '-')}" in out
    for name in ("config", "out", "checkpoint", "resume", "overwrite"):
        assert f"--{name}" in out


def test_help_names_every_default_and_every_owner(sandbox):
    """What the lines of help say about defaults is what the table holds."""
    words = {}
    for line in OptimizerOptions.__doc__.split("----------", 1)[1].splitlines():
        if line.startswith("    ") and line.strip() and not line.startswith("        "):
            name = line.split(" :")[0].strip()
            words[name] = ""
        elif line.strip():
            words[name] += " " + line.strip()
    assert list(words) == [field.name for field in dataclasses.fields(OptimizerOptions)]
    for name, text in words.items():
        for optimizer, options in OPTIONS.items():
            default = options.get(name)
            if default is not None:
                plain = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
                assert plain.lower() in text.lower(), (name, optimizer)
        # as in "0.1 (sgd, kfac)"
        for value, owners in re.findall(r"([\d.]+) \(([a-z, ]+)\)", text):
            for owner in owners.split(", "):
                assert str(OPTIONS[owner][name]) == value, (name, owner)
    told = " ".join(sandbox("train", "--help")[1].split())
    for group in ("Optimiser", "Preconditioning", "Alice", "Network", "Training", "Files"):
        assert f"─ {group}" in told


@pytest.mark.parametrize(
    ("flags", "folder"),
    [
        ([], "trained/digits-mlp-sgd-0"),
        (["--stream", "split", "--seed", "3"], "trained/digits-split-mlp-sgd-3"),
        (["--model", "cnn", "--optimizer", "adam"], "trained/digits-cnn-adam-0"),
        (["--out", "here/there"], "here/there"),
    ],
)
def test_results_go_where_they_are_asked_to(flags, folder, sandbox, asked):
    code, out, _ = sandbox("train", *flags, "--checkpoint", "aside", "--resume")
    ((_, given, options),) = asked
    assert code == 0
    assert str(given) == folder
    assert f"\n{folder}: history.parquet" in out
    assert str(options["checkpoint"]) == "aside"
    assert (options["resume"], options["overwrite"], options["progress"]) == (True, False, False)
