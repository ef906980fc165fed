"""The table of slice recordings is read as it is published, or refused with its line."""

import numpy as np
import pytest

from sandbox.claims.schug2021presynaptic._sjostrom_table import FILES, at_hand, read

HEADER = {
    "LTP": 'Recording,Timing,Pr (before),Pr (after),"q (mV, before)","q (mV, after)",w (before)\n',
    # the published file has a second pair of columns of this name, with other numbers
    "LTD": 'Recording,Pr (before),Pr (after),"q (mV, before)","q (mV, after)",dp,Pr (before)\n',
}
ROWS = {
    "LTP": "    'a',-10,0.4,0.5,0.2,0.3,99\n    'b',10,0.25,0.5,0.1,0.1,99\n\n",
    "LTD": "    'c',0.8,0.4,0.3,0.2,-7,99\n",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SANDBOX_DATA", str(tmp_path))
    inner = tmp_path / "sjostrom2001"
    inner.mkdir()
    for kind, name in FILES.items():
        (inner / name).write_text(HEADER[kind] + ROWS[kind])
    return inner


def test_the_table_is_looked_for_and_read(folder):
    assert at_hand() == folder
    table = read(folder)
    assert table.p_before.tolist() == [0.4, 0.25, 0.8]
    assert table.p_after.tolist() == [0.5, 0.5, 0.4]
    assert table.q_before.tolist() == [0.2, 0.1, 0.3]
    assert table.q_after.tolist() == [0.3, 0.1, 0.2]
    assert table.kind.tolist() == ["LTP", "LTP", "LTD"]
    # 0.15/0.08 - 1, 0.05/0.025 - 1, and a loss of 0.24 to 0.08
    np.testing.assert_allclose(table.relative_change(), [0.875, 1.0, 2 / 3], rtol=1e-12)


def test_one_file_is_not_enough(folder, monkeypatch):
    (folder / FILES["LTD"]).unlink()
    assert at_hand() is None
    monkeypatch.delenv("SANDBOX_DATA")
    assert at_hand() is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Recording,Pr (before)\n", r"has no column 'Pr \(after\)'"),
        (HEADER["LTP"] + "'a',-10,0.4,0.5,0.2\n", "line 2: must have numbers"),
        (HEADER["LTP"] + ROWS["LTP"].rstrip() + "\n'z',0,x,0.5,0.2,0.3,1\n", "line 4: must have"),
        (HEADER["LTP"] + "'a',-10,40,0.5,0.2,0.3,1\n", r"line 2: .* must be in \(0, 1\]"),
        (HEADER["LTP"] + "'a',-10,nan,0.5,0.2,0.3,1\n", r"line 2: .* must be in \(0, 1\]"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(folder, text, message):
    (folder / FILES["LTP"]).write_text(text)
    with pytest.raises(ValueError, match=message):
        read(folder)


def test_files_without_rows_are_refused(folder):
    for kind, name in FILES.items():
        (folder / name).write_text(HEADER[kind])
    with pytest.raises(ValueError, match="the files hold no rows"):
        read(folder)
