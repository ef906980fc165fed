"""Settings of a training run that are refused: keys, files, values, flags."""

import math

import pytest

from sandbox.training.config import SPOKEN, SettingError, TrainConfig, read_toml
from sandbox.training.options import OPTIONS
from tests.sandbox.config_cases import FIELDS, OWN, file

pytestmark = pytest.mark.usefixtures("somewhere_else")


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


def test_an_option_of_another_optimiser_is_refused_and_none_of_it_accepted():
    for optimizer, options in OPTIONS.items():
        for theirs in OWN.values():
            for name in theirs.keys() - options.keys():
                with pytest.raises(SettingError, match=rf"^{name} = .*: {optimizer} has none"):
                    TrainConfig(optimizer=optimizer, **{name: theirs[name]})
    assert TrainConfig(optimizer="adam", momentum=0.0) == TrainConfig(optimizer="adam")
