"""Histories: columns, rows, the accuracy matrix, and the way to Parquet and back."""

import math

import numpy as np
import pyarrow as pa
import pytest
from broken_disk import BrokenDisk
from pyarrow import parquet
from small_training import bits

from sandbox.training.history import COLUMNS, History

NAN = math.nan


def row(learned, task, evaluated, accuracy, **others):
    """A row with something different in every column."""
    step = 10 * (len(others) + learned) + evaluated
    known = {
        "step": step, "learned": learned, "task": task, "epoch": learned + 3,
        "evaluated": evaluated, "train_loss": NAN if task < 0 else step / 7, "penalty": NAN,
        "learning_rate": 0.1, "validation_loss": NAN, "validation_accuracy": step / 1000,
        "test_loss": step / 3, "test_accuracy": accuracy, "averaged_loss": NAN,
        "averaged_accuracy": step / 17, "seconds": step / 13,
    }  # fmt: skip
    return known | others


def whole():
    """Two tasks, measured in the middle as well."""
    return History(
        ("a", "b é"),
        [
            row(0, -1, 0, 0.5),
            row(0, -1, 1, 0.25),
            row(0, 0, 0, 0.6, epoch=1),
            row(1, 0, 0, 0.9),
            row(1, 0, 1, 0.3),
            row(1, 1, 0, 0.1, epoch=1),
            row(1, 1, 1, 0.2, epoch=1),
            row(2, 1, 0, 0.8),
            row(2, 1, 1, 0.7),
        ],
    )


def test_columns_have_their_types_and_tasks():
    history = whole()
    assert len(history) == 9
    assert set(COLUMNS) == set(history.rows[0])
    for name, (kind, _) in COLUMNS.items():
        column = history.column(name)
        assert column.dtype == kind
        assert bits(column.tolist()) == bits([row[name] for row in history.rows])
    assert history.column("test_accuracy", task=1).tolist() == [0.25, 0.3, 0.2, 0.7]
    assert history.column("test_accuracy", task=0).tolist() == [0.5, 0.6, 0.9, 0.1, 0.8]
    assert history.column("step", task=7).shape == (0,)
    assert History(("a",)).column("step").dtype == np.int64
    with pytest.raises(ValueError, match="name = 'accuracy': must be one of"):
        history.column("accuracy")


def test_the_final_row_is_that_of_the_task_trained_last():
    history = whole()
    assert history.final["test_accuracy"] == 0.7
    assert History(("a", "b"), history.rows[:7]).final["test_accuracy"] == 0.2
    assert History(("a", "b"), history.rows[:5]).final["test_accuracy"] == 0.9
    assert History(("a", "b"), history.rows[:2]).final["test_accuracy"] == 0.5
    with pytest.raises(ValueError, match="nothing has been measured yet"):
        _ = History(("a",)).final


def test_the_accuracy_matrix_takes_the_rows_after_each_task():
    # rows of the middle of a task, here 0.6, 0.1 and 0.2, must not come in
    wanted = [[0.5, 0.25], [0.9, 0.3], [0.8, 0.7]]
    assert whole().accuracy_matrix().values.tolist() == wanted


@pytest.mark.parametrize(("rows", "done"), [(0, 0), (2, 0), (3, 0), (5, 1), (8, 2)])
def test_an_incomplete_matrix_is_refused(rows, done):
    history = History(("a", "b"), whole().rows[:rows])
    with pytest.raises(ValueError, match=f"accuracies after {done} of 2 tasks"):
        history.accuracy_matrix()


def test_targets_that_are_values_make_no_matrix():
    rows = [{**row, "test_accuracy": NAN} for row in whole().rows]
    with pytest.raises(ValueError, match="targets that are classes"):
        History(("a", "b"), rows).accuracy_matrix()


@pytest.mark.parametrize("stopped", ["", "too “hot”: NaN at step 3"])
def test_a_history_comes_back_from_parquet(tmp_path, stopped):
    history = whole()
    history.stopped = stopped
    history.save(tmp_path / "history.parquet")
    found = History.load(tmp_path / "history.parquet")
    assert (found.names, found.stopped) == (history.names, stopped)
    assert bits(found.rows) == bits(history.rows)  # types, and NaN, which is no null
    table = parquet.read_table(tmp_path / "history.parquet")
    assert sum(column.null_count for column in table.columns) == 0
    for name, (kind, words) in COLUMNS.items():
        field = table.schema.field(name)
        assert str(field.type) == {"int64": "int64", "float64": "double"}[kind]
        assert field.metadata == {b"meaning": words.encode()}


def test_files_from_before_there_were_averages_are_read(tmp_path):
    file, history = tmp_path / "history.parquet", whole()
    history.save(file)
    added = ["averaged_loss", "averaged_accuracy"]
    parquet.write_table(parquet.read_table(file).drop_columns(added), file)
    without = [row | dict.fromkeys(added, NAN) for row in history.rows]
    assert bits(History.load(file).rows) == bits(without)
    parquet.write_table(parquet.read_table(file).drop_columns(["seconds"]), file)
    with pytest.raises(ValueError, match="not a history"):
        History.load(file)


def test_an_empty_history_comes_back_too(tmp_path):
    History(("a",), stopped="early").save(str(tmp_path / "history.parquet"))
    assert History.load(str(tmp_path / "history.parquet")) == History(("a",), [], "early")


def test_other_parquet_files_are_refused(tmp_path):
    parquet.write_table(pa.table({"x": [1.0]}), tmp_path / "other")
    with pytest.raises(ValueError, match=r"other: not a history; its columns are \['x'\]"):
        History.load(tmp_path / "other")


def test_a_history_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "history.parquet"
    History(("old",)).save(file)
    with monkeypatch.context() as patch:
        BrokenDisk(patch, fails_at=1)
        with pytest.raises(OSError, match="error in write"):
            whole().save(file)
    assert History.load(file).names == ("old",)


def test_a_history_comes_back_from_a_checkpoint():
    history, other = whole(), History(("a", "b é"), [row(0, -1, 0, 0.0)], "no")
    history.stopped = "why"
    other.load_state_dict(history.state_dict())
    assert bits(other.rows) == bits(history.rows)
    assert other.stopped == "why"
    other.rows[0]["step"] = 99
    other.rows.append(row(2, 1, 1, 0.0))
    assert bits(history.rows) == bits(whole().rows)
