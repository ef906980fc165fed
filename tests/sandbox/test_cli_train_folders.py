"""The folder of a training run: what is kept, refused, overwritten, and gone on with."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sandbox.training import command
from sandbox.training.checkpoint import Checkpoints, read_state, write_state
from sandbox.training.config import read_toml
from sandbox.training.history import COLUMNS, History
from sandbox.training.loop import fit

RUN = Path("run")

pytestmark = pytest.mark.usefixtures("somewhere_else")


@pytest.fixture
def plain(monkeypatch):
    """Leave out the figure, which takes most of the time."""
    monkeypatch.setattr(command, "save_curve", lambda history, stem, title: None)


@pytest.fixture
def count(monkeypatch):
    """Return a list that grows by one whenever something is trained."""
    trained = []
    monkeypatch.setattr(command, "fit", lambda *a, **o: trained.append(1) or fit(*a, **o))
    return trained


def training(*flags, epochs=2, widths="16", out="run"):
    """Return the command line of a run of a second."""
    return ["train", "--epochs", epochs, "--widths", widths, "--out", out, *flags]


def rows(path=RUN):
    history = History.load(path / "history.parquet")
    return {name: history.column(name).tolist() for name in COLUMNS if name != "seconds"}


def weights(path=RUN):
    return read_state(path / "model.safetensors")["model"]


def assert_same_run(first, second):
    np.testing.assert_equal(rows(first), rows(second))
    mine, theirs = weights(first), weights(second)
    assert list(mine) == list(theirs)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_the_same_call_again_trains_nothing_and_prints_the_same(sandbox, plain, count):
    first = sandbox(*training())
    written = (RUN / "history.parquet").stat().st_mtime_ns
    again = sandbox(*training())
    assert again == first
    assert again[0] == 0
    assert len(count) == 1
    assert (RUN / "history.parquet").stat().st_mtime_ns == written


def test_a_file_in_the_place_of_the_folder_is_refused(sandbox, plain):
    RUN.write_text("mine")
    code, out, err = sandbox(*training())
    assert (code, out) == (2, "")
    assert err == "sandbox: --out run: is a file; name a folder for the results\n"
    assert RUN.read_text() == "mine"


def test_a_run_of_other_settings_is_refused_and_overwritten_only_on_request(sandbox, plain, count):
    sandbox(*training())
    before = {path.name: path.read_bytes() for path in RUN.iterdir() if path.is_file()}
    for flags in (["--lr", "0.2"], ["--lr", "0.2", "--resume"]):
        code, out, err = sandbox(*training(*flags))
        assert (code, out) == (2, "")
        assert "--out run: holds a run of other settings (see run/config.toml)" in err
        assert err.count("\n") == 1
    # settings that turn out not to fit take nothing with them
    assert sandbox(*training("--batch-size", "5000", "--overwrite"))[0] == 2
    assert {path.name: path.read_bytes() for path in RUN.iterdir() if path.is_file()} == before
    (RUN / "notes.txt").write_text("mine")
    code, _, err = sandbox(*training("--lr", "0.2", "--overwrite"))
    assert (code, err) == (0, "")
    assert read_toml(RUN / "config.toml")["lr"] == 0.2
    assert len(count) == 2
    assert (RUN / "notes.txt").read_text() == "mine"
    sandbox(*training("--lr", "0.2", "--overwrite"))
    assert len(count) == 3  # the same settings, too, if asked for


def nothing(folder):
    pass


def files(*names):
    def write(folder):
        folder.mkdir()
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text('title = "mine"\n')

    return write


def like_a_home(folder):
    files(".profile", "thesis/chapter.tex")(folder)


def settings_only(folder):
    """A settings file for --config is not a run, though its keys are known."""
    folder.mkdir()
    (folder / "config.toml").write_text("lr = 0.5\n")


@pytest.mark.parametrize(
    ("content", "flags"),
    [
        (like_a_home, ["--overwrite"]),
        (files("config.toml"), ["--overwrite"]),
        (files("config.toml"), []),
        (files("config.toml", "environment.json"), ["--overwrite"]),
        (files("config.toml", "environment.json"), []),
        (settings_only, ["--overwrite"]),
        (settings_only, []),
        (files("model.safetensors"), []),
        (files("history.parquet", "curve.png"), []),
        (files("checkpoint/state.safetensors"), ["--overwrite"]),
    ],
)
def test_a_folder_that_is_no_runs_is_left_alone(content, flags, sandbox, plain, count):
    content(RUN)
    before = {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()}
    code, out, err = sandbox(*training(*flags))
    assert (code, out) == (2, "")
    assert err.startswith("sandbox: --out run: ")
    assert err.count("\n") == 1
    assert {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()} == before
    assert count == []


@pytest.mark.parametrize("content", [nothing, files()])
def test_overwriting_nothing_is_training(content, sandbox, plain, count):
    content(RUN)
    assert sandbox(*training("--overwrite"))[0] == 0
    assert len(count) == 1


def test_a_folder_with_other_files_can_hold_a_run(sandbox, plain):
    like_a_home(RUN)
    assert sandbox(*training())[0] == 0
    assert (RUN / ".profile").exists()


def test_a_foreign_checkpoint_folder_is_left_alone(sandbox, plain):
    sandbox(*training())
    aside = Path("aside")
    files("state.safetensors", "thesis.tex")(aside)
    code, _, err = sandbox(*training("--overwrite", "--checkpoint", aside))
    assert code == 2
    assert "aside/state.safetensors: truncated, or not a safetensors file" in err
    assert (aside / "state.safetensors").exists()
    assert (RUN / "history.parquet").exists()
    write_state(aside / "state.safetensors", {"left": "by a run"})
    assert sandbox(*training("--overwrite", "--checkpoint", aside))[0] == 0
    assert (aside / "thesis.tex").exists()


@pytest.fixture
def stop_at(monkeypatch):
    """Return a function that has the next run interrupted at a step, as Ctrl-C would."""

    def arrange(step, every):
        def stopped(*arguments, checkpoints, **options):
            def interrupt(now):
                if now.step == step:
                    raise KeyboardInterrupt

            monkeypatch.setattr(command, "fit", fit)
            often = Checkpoints(checkpoints.folder, steps=every)
            return fit(*arguments, checkpoints=often, hooks={"step": interrupt}, **options)

        monkeypatch.setattr(command, "fit", stopped)

    return arrange


MOMENTUM = ("--momentum", "0.9", "--lr", "0.02", "--stream", "split")


@pytest.mark.parametrize("more", [[], ["--checkpoint", "aside/saved"]])
def test_a_run_cut_short_goes_on_to_the_same_bits(more, sandbox, plain, stop_at):
    sandbox(*training(*MOMENTUM, out="whole"))
    stop_at(45, every=10)
    code, out, err = sandbox(*training(*MOMENTUM, *more))
    assert (code, out) == (130, "")
    assert "sandbox: stopped" in err
    assert "Traceback" not in err
    saved = (Path(more[1]) if more else RUN / "checkpoint") / "state.safetensors"
    position = read_state(saved)["position"]
    assert 35 <= position["step"] < 45
    assert position["batch"] > 0  # in the middle of an epoch
    assert not (RUN / "history.parquet").exists()

    code, out, err = sandbox(*training(*MOMENTUM, *more))
    assert (code, out) == (2, "")
    assert "--out run: holds a run that was cut short; --resume it, or --overwrite it" in err
    err = sandbox(*training(*MOMENTUM, *more, "--resume", "--seed", "1"))[2]
    assert "holds a run of other settings" in err
    code, out, err = sandbox(*training(*MOMENTUM, *more, "--resume"))
    assert (code, err) == (0, "")
    assert_same_run(RUN, Path("whole"))
    # finished: nothing left to resume
    assert sandbox(*training(*MOMENTUM, *more, "--resume"))[1] == out


def test_a_run_cut_short_can_be_overwritten(sandbox, plain, stop_at, count):
    sandbox(*training(out="whole"))
    stop_at(45, every=10)
    assert sandbox(*training())[0] == 130
    assert (RUN / "checkpoint/state.safetensors").exists()
    assert sandbox(*training("--overwrite"))[0] == 0
    assert_same_run(RUN, Path("whole"))


def test_a_run_cut_short_before_it_was_saved_starts_again(sandbox, plain, stop_at):
    sandbox(*training(out="whole"))
    for flags in ([], ["--resume"]):
        stop_at(5, every=10)
        assert sandbox(*training(*flags))[0] == 130
    assert sandbox(*training())[0] == 0
    assert_same_run(RUN, Path("whole"))


def test_a_damaged_checkpoint_is_refused_and_can_be_overwritten(sandbox, plain, stop_at):
    stop_at(45, every=10)
    sandbox(*training())
    file = RUN / "checkpoint/state.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    code, _, err = sandbox(*training("--resume"))
    assert code == 2
    assert "truncated or damaged" in err
    assert sandbox(*training("--overwrite"))[0] == 0
