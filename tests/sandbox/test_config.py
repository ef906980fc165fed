"""Settings of a training run: the same from Python, from a file and from the command line."""

import dataclasses
import math

import numpy as np
import pytest

from sandbox.training import command
from sandbox.training.config import SPOKEN, SettingError, TrainConfig, read_toml, to_toml
from sandbox.training.history import COLUMNS, History
from sandbox.training.options import OPTIONS, OptimizerOptions

FIELDS = [field.name for field in dataclasses.fields(TrainConfig)]
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
ROLLING = {"lr": 1e-05, "momentum": 0.75, "weight_decay": 0.25}
LAYERED = {
    **ROLLING, "damping": 3.0, "factor_samples": 6, "bias_rule": "fallback", "fallback": "sgd",
    "fallback_lr": 0.5,
}  # fmt: skip
FACTORED = {
    **LAYERED, "power": 0.25, "factor_scaling": "paper", "sharing": "reduce", "refresh_every": 7,
    "collect": 3, "factor_decay": 0.5, "side": "activation",
}  # fmt: skip
ADAM = {"lr": 0.5, "weight_decay": 0.25, "betas": (0.8, 0.95)}
OWN = {
    "sgd": ROLLING,
    "adam": ADAM,
    "adamw": ADAM,
    "muon": {**ROLLING, "fallback_lr": 0.5},
    "foof": FACTORED,
    "kfac": {**FACTORED, "rule": "standard", "fisher": "exact", "output_factor": False},
    "natural": {**LAYERED, "fisher": "full", "blocks": "layer"},
    "alice": {
        **ADAM, "lr_min": 0.125, "lr_max": 0.25, "quick_steps": 0, "hessian": "rms", "glass": False,
        "bounds": "sgdm", "omega": 2.0, "phi": 0.5,
    },
    "curvature": {"lr": 0.5, "damping": 0.0, "power": 0.75, "blocks": "layer", "scale": 2.0},
}  # fmt: skip
CASES = {name: {"optimizer": name, **own, **COMMON} for name, own in OWN.items()}
CASES["mixed"] = {
    "optimizer": "adam", "model": "wrn18", "width_factor": 0.5, "batch_norm": True,
    "average": "tail", "average_start": 0.75, "precision": "bfloat16-mixed", "init": "torch",
}  # fmt: skip
OTHER = CASES["kfac"]


pytestmark = pytest.mark.usefixtures("somewhere_else")


@pytest.fixture
def asked(monkeypatch):
    """Put a recorder in the place of training; return what it was asked for."""
    found = []

    def record(settings, folder, **options):
        found.append((settings, folder, options))
        return History(("a task",), [dict.fromkeys(COLUMNS, 0)])

    monkeypatch.setattr(command, "train", record)
    return found


def file(tmp_path, text, name="settings.toml"):
    path = tmp_path / name
    path.write_text(text)
    return path


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


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        *SPOKEN.items(),
        ("learning-rate", "lr"),
        ("weight-decai", "weight_decay"),
        ("momentun", "momentum"),
        ("batchsize", "batch_size"),
        ("optimiser", "optimizer"),
        ("epoch", "epochs"),
        ("LR", "lr"),
        ("hidden_widths", "widths"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(key, nearest, sandbox, asked, tmp_path):
    path = file(tmp_path, f"epochs = 2\n{key} = 1\n")
    with pytest.raises(SettingError) as told:
        read_toml(path)
    message = str(told.value)
    assert message == f"{path}: there is no setting {key!r}; the nearest is {nearest!r}"
    code, out, err = sandbox("train", "--config", path)
    assert (code, out, err) == (2, "", f"sandbox: {message}\n")
    assert asked == []


def test_synonyms_lead_to_settings_and_are_none():
    assert set(SPOKEN.values()) <= set(FIELDS)
    assert not set(SPOKEN) & set(FIELDS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr 0.1", "not a TOML file (Expected '=' after a key"),
        (b"lr = 0.1 # \xff", "not a TOML file ('utf-8' codec"),
        ("lr = 0.1\nlr = 0.2", "not a TOML file (Cannot overwrite a value"),
        ("batch_size = 1\nbatch-size = 2", "sets 'batch_size' twice"),
        ("[train]\nlr = 0.1", "there is no setting 'train'"),
        (None, "No such file or directory"),
    ],
)
def test_files_that_cannot_be_used_are_refused(text, message, sandbox, asked, tmp_path):
    path = tmp_path / "settings.toml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    code, out, err = sandbox("train", "--config", path)
    assert (code, out) == (2, "")
    assert err.startswith("sandbox: ")
    assert str(path) in err
    assert message in err
    assert err.count("\n") == 1
    assert asked == []


WRONG = [
    ({"lr": 0.0}, "lr = 0.0: must be a finite number in (0, inf)"),
    ({"lr": -1.0}, "lr = -1.0: "),
    ({"lr": math.inf}, "lr = inf: "),
    ({"lr": "fast"}, "lr = 'fast': "),
    ({"momentum": 1.0}, "momentum = 1.0: must be a finite number in [0, 1)"),
    ({"momentum": 0.9, "optimizer": "adam"}, "momentum = 0.9: adam has none; it is for sgd"),
    ({"weight_decay": -0.1}, "weight_decay = -0.1: "),
    ({"warmup": 1.1}, "warmup = 1.1: must be a finite number in [0, 1]"),
    ({"validation": 1.0}, "validation = 1.0: must be a finite number in [0, 1)"),
    ({"patience": 2}, "patience = 2: stopping early needs samples"),
    ({"epochs": 0}, "epochs = 0: must be a whole number >= 1"),
    ({"epochs": 2.5}, "epochs = 2.5: must be a whole number >= 1"),
    ({"epochs": True}, "epochs = True: "),
    ({"tasks": 0}, "tasks = 0: "),
    ({"per_task": 0}, "per_task = 0: "),
    ({"batch_size": -1}, "batch_size = -1: must be a whole number >= 0"),
    ({"evaluate_every": 0}, "evaluate_every = 0: "),
    ({"patience": -1}, "patience = -1: "),
    ({"seed": -1}, "seed = -1: must be a whole number >= 0"),
    ({"seed": 2**128}, f"seed = {2**128}: must be a whole number >= 0 and <= {2**128 - 1}"),
    ({"widths": (64, 0)}, "widths[1] = 0: must be a whole number >= 1"),
    ({"widths": (64, 1.5)}, "widths[1] = 1.5: "),
    ({"widths": "64,64"}, "widths = '64,64': must be a list of layer widths"),
    ({"bias": 1}, "bias = 1: must be true or false"),
    ({"reset_optimizer": "no"}, "reset_optimizer = 'no': must be true or false"),
    ({"data": "imagenet"}, "data = 'imagenet': must be one of 'digits', "),
    ({"optimizer": "SGD"}, "optimizer = 'SGD': must be one of 'sgd', 'adam', 'adamw'"),
    ({"dtype": "float16"}, "dtype = 'float16': "),
    ({"model": "autoencoder"}, "loss = 'cross-entropy': an autoencoder, and nothing else"),
    ({"loss": "reconstruction"}, "loss = 'reconstruction': an autoencoder, and nothing else"),
    (
        {"model": "autoencoder", "loss": "reconstruction", "widths": ()},
        "widths = (): an autoencoder needs a width for its code",
    ),
]


@pytest.mark.parametrize(("settings", "message"), WRONG, ids=[str(s)[1:40] for s, _ in WRONG])
def test_values_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(SettingError) as told:
        TrainConfig(**settings)
    assert str(told.value).startswith(message)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--lr", "-1"], "lr = -1.0: must be a finite number in (0, inf)"),
        (["--lr", "nan"], "lr = nan: "),
        (["--lr", "fast"], 'unable to convert "fast" into float'),
        (["--epochs", "2.5"], "'2.5' is not a whole number"),  # the parser would make it 2
        (["--epochs", "0"], "epochs = 0: "),
        (["--seed", "1e3"], "'1e3' is not a whole number"),
        (["--widths", "64,a"], "'a' is not a whole number"),
        (["--widths", "64,2.5"], "'2.5' is not a whole number"),
        (["--widths", "64,0"], "widths[1] = 0: "),
        (["--optimizer", "lion"], '"lion"'),
        (
            ["--optimizer", "adam", "--momentum", "0.9"],
            "momentum = 0.9: adam has none; it is for sgd",
        ),
        (["--optimizer", "foof", "--rule", "standard"], "rule = 'standard': foof has none"),
        (
            ["--damping", "1"],
            "damping = 1.0: sgd has none; it is for foof, kfac, natural, curvature",
        ),
        (["--no-glass"], "glass = False: sgd has none; it is for alice"),
        (
            ["--optimizer", "foof", "--refresh-every", "2", "--collect", "3"],
            "collect = 3: must not",
        ),
        (["--optimizer", "foof", "--refresh-every", "1.5"], "'1.5' is not a whole number"),
        (
            ["--optimizer", "kfac", "--damping", "0"],
            "damping = 0.0: must be a finite number in (0,",
        ),
        (
            ["--optimizer", "kfac", "--fisher", "full"],
            "fisher = 'full': must be one of 'sampled', ",
        ),
        (["--optimizer", "natural", "--fisher", "exact"], "fisher = 'exact': must be one of"),
        (["--optimizer", "adam", "--betas", "0.9"], "betas = (0.9,): must be two numbers"),
        (["--optimizer", "adam", "--betas", "0.9,x"], "'0.9,x' are not numbers"),
        (["--optimizer", "adam", "--betas", "0.9,1"], "betas[1] = 1.0: "),
        (
            ["--optimizer", "alice", "--lr-min", "2", "--lr-max", "1"],
            "lr_max = 1.0: must not be below",
        ),
        (["--optimizer", "curvature", "--power", "2"], "power = 2.0: "),
        (
            ["--optimizer", "curvature", "--weight-decay", "1"],
            "weight_decay = 1.0: curvature has none",
        ),
        (["--model", "vgg11", "--widths", "8"], "widths = (8,): vgg11 has widths of its own"),
        (["--batch-norm"], "batch_norm = True: mlp has none; it is for vgg11, wrn18"),
        (["--model", "wrn18", "--width-factor", "0"], "width_factor = 0.0: "),
        (
            ["--average-decay", "0.5"],
            "average_decay = 0.5: average 'none' has none; set average to",
        ),
        (["--average", "tail", "--average-decay", "0.5"], "set average to exponential"),
        (["--average", "tail", "--average-start", "1"], "average_start = 1.0: "),
        (["--precision", "bfloat16-mixed", "--dtype", "float64"], "is for dtype 'float32', not"),
        (
            ["--precision", "bfloat16-mixed", "--optimizer", "curvature"],
            "curvature forms exact derivatives",
        ),
        (["--learning-rate", "1"], "--learning-rate"),
        (["digits"], "digits"),
    ],
)
def test_wrong_flags_end_with_2_and_a_message(flags, message, sandbox, asked, tmp_path):
    code, out, err = sandbox("train", *flags)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert len(err.splitlines()) == 1 or err.startswith("╭")  # framed by the parser
    assert asked == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("epochs = 2.5", "'2.5' is not a whole number"),
        ("epochs = true", "'True' is not a whole number"),
        ("widths = [8, 1.5]", "'1.5' is not a whole number"),
        ('lr = "fast"', 'unable to convert "fast" into float'),
        ('bias = "perhaps"', "perhaps"),
        ('data = "imagenet"', '"imagenet"'),
        ("lr = -1", "lr = -1.0: "),
    ],
)
def test_wrong_values_in_a_file_end_with_2_and_a_message(line, message, sandbox, asked, tmp_path):
    code, out, err = sandbox("train", "--config", file(tmp_path, line))
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert asked == []


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
    told = " ".join(sandbox("train", "--help")[1].split())
    for group in ("Optimiser", "Preconditioning", "Alice", "Network", "Training", "Files"):
        assert f"─ {group}" in told


def test_an_option_of_another_optimiser_is_refused_and_none_of_it_accepted():
    for optimizer, options in OPTIONS.items():
        for theirs in OWN.values():
            for name in theirs.keys() - options.keys():
                with pytest.raises(SettingError, match=rf"^{name} = .*: {optimizer} has none"):
                    TrainConfig(optimizer=optimizer, **{name: theirs[name]})
    assert TrainConfig(optimizer="adam", momentum=0.0) == TrainConfig(optimizer="adam")


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
