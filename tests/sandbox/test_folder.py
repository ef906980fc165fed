"""Folders of results: what is refused, and what they begin with."""

import json
import tomllib

import pytest

from sandbox.bench.folder import begin_folder, refuse_foreign, refuse_other
from sandbox.bench.record import Settings

FILES = ("table.json",)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_not_there_or_empty_may_be_used(tmp_path, overwrite):
    for out in (tmp_path, tmp_path / "new"):
        refuse_foreign(out, FILES, what="run", ours=False, overwrite=overwrite)


def test_what_begins_a_folder_is_its_environment_and_settings(tmp_path):
    out = tmp_path / "a" / "b"
    begin_folder(out, 'model = "x"\n', Settings(seed=3))
    assert tomllib.loads((out / "config.toml").read_text()) == {"model": "x"}
    assert "torch" in json.dumps(json.loads((out / "environment.json").read_text()))
    # and makes it a folder that may be written again
    refuse_foreign(out, FILES, what="run", ours=True, overwrite=True)


@pytest.mark.bad_input
def test_files_of_others_are_not_lost(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    refuse_foreign(tmp_path, FILES, what="run", ours=False, overwrite=False)
    with pytest.raises(ValueError, match=r"is not empty and holds no run .* leaves it alone"):
        refuse_foreign(tmp_path, FILES, what="run", ours=False, overwrite=True)
    for name in ("table.json", "config.toml"):
        (tmp_path / name).write_text("mine")
        # settings of ours without an environment are not of a run that began
        for ours in (False, True):
            with pytest.raises(ValueError, match=f"{name} is there and is not of a sweep"):
                refuse_foreign(tmp_path, FILES, what="sweep", ours=ours, overwrite=False)
    with pytest.raises(ValueError, match=r"notes\.txt: is a file"):
        refuse_foreign(tmp_path / "notes.txt", FILES, what="run", ours=False, overwrite=True)


@pytest.mark.bad_input
def test_other_settings_and_what_was_cut_short_are_refused(tmp_path):
    refuse_other(tmp_path, what="run", same=True, cut_short=False)
    with pytest.raises(ValueError, match="holds a run of other settings"):
        refuse_other(tmp_path, what="run", same=False, cut_short=True)
    with pytest.raises(ValueError, match="holds a run that was cut short; --resume it"):
        refuse_other(tmp_path, what="run", same=True, cut_short=True)
