"""Measures, intervals, rows and figures of a comparison, from numbers made up."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from sandbox.continual._run import Result
from sandbox.continual.figures import draw_curves, first_task, learned_tasks, save_curves
from sandbox.continual.table import COLUMNS, read_runs, summarise, table_lines, write_runs
from sandbox.training.measures import AccuracyMatrix

TASKS = ("one", "two", "three")


def result(method, seed, *, stopped=""):
    generator = np.random.default_rng([seed, len(method)])
    if stopped:
        return Result(method, seed, TASKS, stopped, np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))
    accuracy, loss = generator.random((4, 3)), generator.random((4, 3))
    return Result(method, seed, TASKS, "", accuracy, loss, 1 + generator.random(4))


RESULTS = [result(method, seed) for method in ("none", "si", "ewc") for seed in (0, 1, 2)]


def recomputed(rows, method, seed):
    """The numbers of one run from the table alone."""
    own = [row for row in rows if (row["method"], row["seed"]) == (method, seed)]
    values = np.full((1 + len(TASKS), len(TASKS)), np.nan)
    for row in own:
        values[row["learned"], row["task"]] = row["accuracy"]
    (energy,) = {row["energy"] for row in own if row["learned"] == len(TASKS)}
    return AccuracyMatrix(values), energy


def test_the_summary_is_what_the_rows_say(tmp_path):
    write_runs(tmp_path / "runs.parquet", RESULTS, {"settings": "a = 1"})
    rows = read_runs(tmp_path / "runs.parquet")
    assert len(rows) == 9 * 4 * 3
    assert {row["name"] for row in rows} == set(TASKS)
    for row in summarise(RESULTS):
        found = [recomputed(rows, row["method"], seed) for seed in row["seeds"]]
        plain = [recomputed(rows, "none", seed)[1] for seed in row["seeds"]]
        energies = [energy for _, energy in found]
        samples = {
            measure: [getattr(matrix, measure) for matrix, _ in found]
            for measure in ("average", "learning", "forgetting", "backward", "forward")
        }
        samples["energy"] = energies
        samples["relative_energy"] = [e / p for e, p in zip(energies, plain, strict=True)]
        for measure, sample in samples.items():
            half = stats.t.ppf(0.975, 2) * stats.sem(sample)
            low, high = np.mean(sample) - half, np.mean(sample) + half
            told = row[measure]
            assert (told["mean"], told["low"], told["high"]) == pytest.approx(
                (np.mean(sample), low, high), rel=1e-12
            )


def test_rows_have_units_and_meanings(tmp_path):
    from pyarrow import parquet

    write_runs(tmp_path / "runs.parquet", RESULTS, {"settings": "a = 1"})
    schema = parquet.read_schema(tmp_path / "runs.parquet")
    assert schema.metadata[b"settings"] == b"a = 1"
    assert schema.names == list(COLUMNS)
    for field in schema:
        assert field.metadata[b"meaning"].decode() == COLUMNS[field.name][2]


def test_one_seed_has_no_interval_and_no_none_no_ratio():
    (row,) = summarise([RESULTS[3]])
    assert row["average"] == {
        "mean": AccuracyMatrix(RESULTS[3].accuracy).average,
        "low": None,
        "high": None,
    }
    assert row["relative_energy"] is None
    head, line = table_lines([row])
    assert "energy/none" not in head
    assert "±" not in line


def test_runs_that_stopped_are_told_and_not_counted():
    runs = [result("none", 0), result("none", 1, stopped="the loss is not finite"), result("si", 0)]
    none, si = summarise(runs)
    assert none["stopped"] == {1: "the loss is not finite"}
    assert none["seeds"] == [0]
    assert si["relative_energy"]["mean"] == runs[2].energy[-1] / runs[0].energy[-1]
    (gone,) = summarise([runs[1]])
    assert gone["average"] is None
    assert table_lines([none, gone])[2].split() == ["none", "-", "-", "-", "-", "-", "-", "-"]


def test_the_printed_table_has_the_numbers_of_the_summary():
    summary = summarise(RESULTS)
    head, *lines = table_lines(summary)
    assert head.split("  ")[0] == "method"
    for row, line in zip(summary, lines, strict=True):
        cells = [cell.strip() for cell in line.split("  ") if cell.strip()]
        assert cells[0] == row["method"]
        half = row["average"]["high"] - row["average"]["mean"]
        assert cells[1] == f"{row['average']['mean']:.4f} ± {half:.4f}"
        assert cells[4].startswith(f"{row['backward']['mean']:+.4f} ±")


def test_curves_are_means_over_tasks_learned_so_far():
    one = RESULTS[0]
    assert first_task(one).tolist() == one.accuracy[1:, 0].tolist()
    a = one.accuracy
    wanted = [a[1, 0], (a[2, 0] + a[2, 1]) / 2, a[3].mean()]
    np.testing.assert_allclose(learned_tasks(one), wanted, rtol=1e-15)


def test_curves_have_student_bands():
    axes = Figure().add_subplot()
    values = np.array([first_task(one) for one in RESULTS[:3]])
    draw_curves(axes, {"none": values}, "accuracy")
    (line,), (band,) = axes.lines, axes.collections
    np.testing.assert_allclose(line.get_ydata(), values.mean(axis=0))
    low, high = stats.t.interval(0.95, 2, values.mean(axis=0), stats.sem(values))
    corners = band.get_paths()[0].vertices
    for x, ends in zip((1, 2, 3), zip(low, high, strict=True), strict=True):
        drawn = corners[corners[:, 0] == x, 1]
        assert (drawn.min(), drawn.max()) == pytest.approx(ends)
    draw_curves(axes, {"none": values[:1]}, "accuracy")
    assert len(axes.collections) == 1


def test_a_figure_of_many_methods_or_none(tmp_path):
    many = [result(f"method {i}", seed) for i in range(13) for seed in (0, 1)]
    save_curves(many, tmp_path / "many", "made up")
    save_curves([result("si", 0, stopped="why")], tmp_path / "nothing", "made up")
    text = (tmp_path / "many.svg").read_text()
    assert all(f"method {i}" in text for i in range(13))
    assert (tmp_path / "nothing.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.bad_input
def test_other_tables_are_refused(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="holds no runs"):
        read_runs(tmp_path / "other.parquet")
