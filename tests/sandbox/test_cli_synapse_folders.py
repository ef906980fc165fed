"""The folder of ``sandbox synapse``: what is kept, refused, overwritten, and gone on with."""

from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from sandbox.synapse import command
from sandbox.synapse.table import COLUMNS

RUN = Path("run")

pytestmark = pytest.mark.usefixtures("somewhere_else")


@pytest.fixture
def plain(monkeypatch):
    """Leave out the figure, which takes most of the time."""
    monkeypatch.setattr(command, "save_sheet", lambda *_: None)


@pytest.fixture
def count(monkeypatch):
    """Return a list that grows by one whenever a part is simulated."""
    made, real = [], command.release_train
    monkeypatch.setattr(command, "release_train", lambda *a: made.append(a[2]) or real(*a))
    return made


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


def test_the_same_call_again_simulates_nothing_and_prints_the_same(sandbox, plain, count):
    first = sandbox(*calling("binomial"))
    written = (RUN / "summary.json").stat().st_mtime_ns
    assert sandbox(*calling("binomial")) == first
    assert count == [500]
    assert (RUN / "summary.json").stat().st_mtime_ns == written


def test_a_run_cut_short_loses_no_part_and_goes_on(sandbox, plain, count, monkeypatch):
    monkeypatch.setattr(command, "ROWS", 100)  # ten trials of ten spikes a part
    whole = sandbox(*calling("depression", "--trials", "45", out="whole"))
    assert count == [10, 10, 10, 10, 5]
    assert (releases(Path("whole"))["trial"] == np.repeat(np.arange(45), 10)).all()

    real, made = command.release_train, []

    def stopped(*arguments):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(1)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(command, "release_train", stopped)
        code, out, err = sandbox(*calling("depression", "--trials", "45"))
    assert (code, out) == (130, "")
    assert "stopped" in err
    parts = sorted(RUN.glob("releases-*.parquet"))
    assert len(parts) == 3
    before = [part.stat().st_mtime_ns for part in parts]
    count.clear()
    code, out, err = sandbox(*calling("depression", "--trials", "45"))
    assert (code, err) == (0, "")
    assert count == [10, 5]
    assert [part.stat().st_mtime_ns for part in parts] == before
    assert out == whole[1].replace("whole:", "run:")
    assert kept() == kept(Path("whole"))


def test_parts_are_different_trials(sandbox, plain, monkeypatch):
    monkeypatch.setattr(command, "ROWS", 1000)
    sandbox(*calling("binomial", "--trials", "200"))
    amplitudes = releases()["amplitude"].reshape(2, -1)
    assert not np.array_equal(*amplitudes)


def test_a_run_of_other_settings_is_refused_and_overwritten_only_on_request(sandbox, plain):
    Path("spikes.txt").write_text("0.1 0.2\n")
    flags = ["--times", "spikes.txt", "--trials", "9"]
    sandbox(*calling("binomial", *flags))
    before = kept()
    Path("spikes.txt").write_text("0.1 0.3\n")  # the same settings, other spikes
    for model, more in (
        ("binomial", flags),
        ("binomial", [*flags, "--sites", "4"]),
        ("depression", flags),
    ):
        code, out, err = sandbox(*calling(model, *more))
        assert (code, out) == (2, "")
        assert "--out run: holds a run of other settings or spikes (see run/config.toml)" in err
        assert err.count("\n") == 1
    assert kept() == before
    # what does not fit takes nothing with it
    assert sandbox(*calling("binomial", "--sites", "0", "--overwrite"))[0] == 2
    assert kept() == before
    (RUN / "notes.txt").write_text("mine")
    code, _, err = sandbox(*calling("tsodyks-markram", "--overwrite"))
    assert (code, err) == (0, "")
    assert (RUN / "notes.txt").read_text() == "mine"
    assert not (RUN / "conditions.parquet").exists()


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("summary.json", [], "summary.json is there and is not of a run"),
        ("config.toml", [], "config.toml is there and is not of a run"),
        ("releases-00000.parquet", [], "releases-00000.parquet is there and is not of a run"),
        ("thesis.tex", ["--overwrite"], "is not empty and holds no run"),
    ],
)
def test_files_of_others_are_left_alone(name, flags, message, sandbox, plain):
    RUN.mkdir()
    (RUN / name).write_text("mine")
    code, out, err = sandbox(*calling("binomial", *flags))
    assert (code, out) == (2, "")
    assert message in err
    assert (RUN / name).read_text() == "mine"


def test_a_file_in_the_place_of_the_folder_is_refused(sandbox, plain):
    RUN.write_text("mine")
    code, _, err = sandbox(*calling("binomial"))
    assert (code, err) == (2, "sandbox: --out run: is a file; name a folder for the results\n")
    assert RUN.read_text() == "mine"


def test_a_damaged_part_is_told(sandbox, plain):
    sandbox(*calling("binomial"))
    (RUN / "summary.json").unlink()
    (RUN / "releases-00000.parquet").write_bytes(b"PAR1")
    code, _, err = sandbox(*calling("binomial"))
    assert code == 2
    assert "releases-00000.parquet: cannot be read" in err
