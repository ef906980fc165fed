"""Settings of a comparison: files, defaults, strengths, presets, and what is refused."""

import dataclasses

import pytest
import torch
from torch import nn

from sandbox.continual._run import build_protection
from sandbox.continual.config import ContinualConfig, read_toml, to_toml
from sandbox.continual.methods import METHODS, Method
from sandbox.continual.presets import PRESETS
from sandbox.training.command import build_stream
from sandbox.training.config import SettingError, TrainConfig


def test_settings_go_to_a_file_and_back(tmp_path):
    for given in (
        {},
        {"regulariser": ("si", "mas"), "strength": "si=0.5", "widths": (7, 5), "lr": 0.25},
        {"model": "stochastic-mlp", "optimizer": "presynaptic", "tasks": "split"},
        {"optimizer": "kfac", "accumulate": "online", "decay": 0.5, "re_init": "published"},
    ):
        config = ContinualConfig(**given)
        (tmp_path / "config.toml").write_text(to_toml(config))
        assert ContinualConfig(**read_toml(tmp_path / "config.toml")) == config


def test_a_file_may_spell_with_dashes_and_give_numbers(tmp_path):
    path = tmp_path / "some.toml"
    path.write_text('batch-size = 64\nstrength = 0.5\nregulariser = ["si"]\n')
    config = ContinualConfig(**read_toml(path))
    assert config == ContinualConfig(batch_size=64, strength="0.5", regulariser=("si",))
    assert config.strengths() == {"si": 0.5}


def test_a_run_has_the_settings_of_training():
    config = ContinualConfig(
        data="mnist", tasks="split", count=4, per_task=3, scenario="task", widths=(9,),
        activation="tanh", bias=False, init="orthogonal", optimizer="adamw", lr=0.5, epochs=3,
        batch_size=16, schedule="cosine", warmup=0.25, reset_optimizer=False, dtype="float64",
    )  # fmt: skip
    assert config.training(9) == TrainConfig(
        data="mnist", scaling="unit", stream="split", tasks=4, per_task=3, scenario="task",
        widths=(9,), activation="tanh", bias=False, init="orthogonal", optimizer="adamw", lr=0.5,
        epochs=3, batch_size=16, schedule="cosine", warmup=0.25, dtype="float64", seed=9,
    )  # fmt: skip
    assert ContinualConfig().lr == 0.001
    assert ContinualConfig().reset_optimizer


def test_strengths_are_published_common_or_ones_own():
    names = ("none", "si", "ewc", "mas")
    config = ContinualConfig(regulariser=names)
    assert config.strengths() == {"none": None, "si": 0.2, "ewc": 1000.0, "mas": 500.0}
    config = ContinualConfig(regulariser=names, strength="3")
    assert config.strengths() == {"none": None, "si": 3.0, "ewc": 3.0, "mas": 3.0}
    config = ContinualConfig(regulariser=names, strength="2, mas=0")
    assert config.strengths() == {"none": None, "si": 2.0, "ewc": 2.0, "mas": 0.0}


def test_published_numbers():
    """Settings of the author's program for ten permuted MNIST tasks."""
    wanted = {
        "si": (0.2, True), "sib": (0.5, True), "siu": (2.0, True), "sos": (1.0, True),
        "sos-large-batch": (10.0, True), "mas": (500.0, False), "absolute-fisher": (200.0, False),
        "root-fisher": (2.0, False), "ewc": (1000.0, False), "mas-logit": (0.001, True),
    }  # fmt: skip
    for name, numbers in wanted.items():
        assert (METHODS[name].strength, METHODS[name].re_init) == numbers, name


def test_the_presynaptic_rule_has_the_settings_of_the_tasks():
    told = {"model": "stochastic-mlp", "regulariser": ("none", "presynaptic")}
    assert ContinualConfig(**told).presynaptic_rule == "permuted/program"
    assert ContinualConfig(**told).presynaptic_lr == 0.01
    split = ContinualConfig(**told, tasks="split")
    assert (split.presynaptic_rule, split.presynaptic_lr) == ("split/program", 0.001)
    assert ContinualConfig(**told, presynaptic_lr=0.5).presynaptic_lr == 0.5
    assert ContinualConfig().presynaptic_rule is None


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_settings(name):
    known = {field.name for field in dataclasses.fields(ContinualConfig)}
    preset = PRESETS[name]
    assert set(preset.settings) <= known
    config = ContinualConfig(**preset.settings)
    assert (config.widths, config.count, config.data) == ((2000, 2000), 10, "mnist")
    assert preset.source


BAD = {
    "method": ({"regulariser": ("eww",)}, "nearest is 'ewc'"),
    "no method": ({"regulariser": ()}, "must name one method or more"),
    "twice": ({"regulariser": ("si", "si")}, "names a method twice"),
    "strength": ({"strength": "much"}, "neither published, nor a number"),
    "negative": ({"strength": "-1"}, "neither published, nor a number >= 0"),
    "two": ({"strength": "1,2"}, "'2' comes after another number for the same"),
    "one's two": ({"strength": "si=1,si=2"}, "'si=2' comes after another number"),
    "stranger": ({"strength": "mas=2"}, "'mas' is not among the regularisers"),
    "without": ({"strength": "none=2"}, "'none' has no penalty"),
    "unpublished": ({"regulariser": ("ratio-norm",)}, "none was published for 'ratio-norm'"),
    "one task": ({"count": 1}, "count = 1"),
    "one class": ({"tasks": "split", "per_task": 1}, "per_task = 1"),
    "no seed": ({"seeds": 0}, "seeds = 0"),
    "xi": ({"xi": 0.0}, "xi = 0.0"),
    "ceiling": ({"ceiling": 0.0}, "ceiling = 0.0: must be a finite number in"),
    "no sum": ({"ceiling": 1.0, "accumulate": "separate"}, "to bound; use 'sum', 'online'"),
    "decay": ({"decay": 0.5}, "is for accumulate 'online' or 'average'"),
    "average": ({"accumulate": "average"}, "needs one below 1"),
    "tasks": ({"tasks": "single"}, "tasks = 'single'"),
    "release": ({"release": 0.5}, "mlp has none; it is for model stochastic-mlp"),
    "activation": ({"model": "stochastic-mlp", "activation": "tanh"}, "stochastic-mlp has 'relu'"),
    "no release": ({"model": "stochastic-mlp", "release": 0.0}, "release = 0.0"),
    "plain": ({"optimizer": "presynaptic"}, "use stochastic-mlp"),
    "plain, beside": ({"regulariser": ("presynaptic",)}, "use stochastic-mlp"),
    "rule": ({"presynaptic_lr": 0.1}, "is for optimizer or regulariser 'presynaptic'"),
    "rate": (
        {"optimizer": "presynaptic", "model": "stochastic-mlp", "lr": 0.1},
        "presynaptic has none; its learning rate is presynaptic_lr",
    ),
    "preset": (
        {"optimizer": "presynaptic", "model": "stochastic-mlp", "presynaptic_rule": "permuted"},
        "nearest is 'permuted/",
    ),
    "foreign": ({"damping": 0.1}, "adam has none"),
    "seed": ({"seed": -1}, "seed = -1"),
    "flag": ({"reset_optimizer": 1}, "reset_optimizer = 1: must be true or false"),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("case", BAD)
def test_bad_settings(case):
    told, words = BAD[case]
    with pytest.raises(SettingError, match=words):
        ContinualConfig(**told)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("strengths = 1\n", "nearest is 'strength'"),
        ("learning_rate = 1\n", "nearest is 'lr'"),
        ("batch_size = 1\nbatch-size = 2\n", "sets 'batch_size' twice"),
        ("seeds 3\n", "not a TOML file"),
    ],
)
def test_bad_files(text, words, tmp_path):
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(SettingError, match=words):
        read_toml(tmp_path / "bad.toml")
    with pytest.raises(SettingError, match="No such file"):
        read_toml(tmp_path / "absent.toml")


@pytest.mark.bad_input
def test_methods_of_no_kind():
    with pytest.raises(ValueError, match="kind = 'sometimes'"):
        Method("sometimes", "")


def test_what_is_told_of_a_penalty_reaches_it():
    told = {"xi": 0.3, "samples": 7, "accumulate": "online", "decay": 0.5, "ceiling": 2.5}
    config = ContinualConfig(
        regulariser=("siu",), strength="siu=0.7", clamp="running", count=2, widths=(4,), **told
    )
    stream, model = build_stream(config.training(0)), nn.Linear(64, 10)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    protection = build_protection(config, "siu", 0, stream, model, optimizer)
    penalty = protection.penalty
    assert (penalty.strength, penalty.accumulate, penalty.decay) == (0.7, "online", 0.5)
    assert (penalty.clamp, penalty.ceiling) == ("running", 2.5)
    assert (protection.path.xi, protection.samples) == (0.3, 7)
    assert build_protection(config, "none", 0, stream, model, optimizer) is None
