"""Figures of training runs: what they show is what was measured, and nothing hides it."""

import numpy as np
import pytest
from matplotlib import colors
from matplotlib.figure import Figure

from sandbox.bench.figures import house_style
from sandbox.training.curves import draw_accuracy, draw_loss, save_curve
from sandbox.training.history import COLUMNS, History

EPOCHS, STEPS = 3, 20
FASHION = ("T-shirt/top, trouser", "pullover, dress", "coat, sandal", "shirt, sneaker", "bag, boot")


def measured(names, *, everything=True, validation=False, accurate=True, stopped=""):
    """Return a history as the loop writes it, of smooth curves from a formula."""
    history, nan = History(tuple(names), stopped=stopped), float("nan")

    def add(step, learned, task, epoch, evaluated):
        since = step / STEPS - evaluated * EPOCHS  # epochs since that task began
        loss = 2.0 * np.exp(-since) + 0.01 if since > 0 else 2.0 + 0.05 * evaluated
        row = dict.fromkeys(COLUMNS, nan) | {
            "step": step,
            "learned": learned,
            "task": task,
            "epoch": epoch,
            "evaluated": evaluated,
            "train_loss": 0.8 * loss if step else nan,
            "test_loss": loss,
            "test_accuracy": 1 / (1 + loss) if accurate else nan,
            "validation_loss": 0.9 * loss if validation and evaluated == task else nan,
        }
        history.rows.append(row)

    for evaluated in range(len(names)):
        add(0, 0, -1, 0, evaluated)
    for task in range(len(names)):
        for epoch in range(1, EPOCHS + 1):
            last = epoch == EPOCHS
            for evaluated in range(len(names)) if everything or last else [task]:
                add((task * EPOCHS + epoch) * STEPS, task + last, task, epoch, evaluated)
    return history


HISTORIES = {
    "single": measured(["digits"], validation=True),
    "two": measured(["0, 1, 2, 3, 4", "5, 6, 7, 8, 9"]),
    "five": measured(FASHION),
    "five, each its own": measured(FASHION, everything=False),
    "ten": measured([f"permutation {k + 1}" for k in range(10)]),
    "twelve": measured([f"permutation {k + 1}" for k in range(12)]),
    "autoencoder": measured(["digits"], accurate=False),
    "autoencoder, two": measured(["a", "b"], accurate=False),
    "stopped": measured(["digits"], stopped="the training loss is not finite at step 60: " * 2),
}


@pytest.fixture(autouse=True)
def _house():
    with house_style():
        yield


def panel(draw, history):
    figure = Figure()
    axes = figure.subplots()
    return figure, axes, draw(axes, history)


def assert_data(line, steps, values):
    np.testing.assert_array_equal(line.get_xdata(), steps)
    np.testing.assert_array_equal(line.get_ydata(), values)


@pytest.mark.parametrize("name", HISTORIES)
def test_losses_are_those_of_the_task_in_training(name):
    history = HISTORIES[name]
    _, axes, lines = panel(draw_loss, history)
    wanted = {"training": "train_loss", "test": "test_loss"}
    if name == "single":
        wanted["validation"] = "validation_loss"
    assert [line.get_label() for line in lines] == list(wanted)
    assert lines == list(axes.get_lines())[: len(lines)]
    for line, column in zip(lines, wanted.values(), strict=True):
        rows = [row for row in history.rows if row["evaluated"] == max(row["task"], 0)]
        rows = [row for row in rows if np.isfinite(row[column])]
        assert_data(line, [row["step"] for row in rows], [row[column] for row in rows])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(wanted)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("optimiser steps", "loss")


@pytest.mark.parametrize("name", [name for name in HISTORIES if "autoencoder" not in name])
def test_accuracies_are_a_line_a_task(name):
    history = HISTORIES[name]
    _, axes, lines = panel(draw_accuracy, history)
    assert [line.get_label() for line in lines] == list(history.names)
    for k, line in enumerate(lines):
        rows = [row for row in history.rows if row["evaluated"] == k]
        assert_data(line, [row["step"] for row in rows], [row["test_accuracy"] for row in rows])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("optimiser steps", "test accuracy")
    low, high = axes.get_ylim()
    assert low < 0
    assert high > 1  # a perfect score is not cut in half


@pytest.mark.parametrize("draw", [draw_loss, draw_accuracy])
@pytest.mark.parametrize("name", ["single", "five", "five, each its own", "twelve"])
def test_borders_are_marked_where_a_task_begins(name, draw):
    history = HISTORIES[name]
    _, axes, lines = panel(draw, history)
    borders = [line.get_xdata()[0] for line in axes.get_lines()[len(lines) :]]
    assert borders == [k * EPOCHS * STEPS for k in range(1, len(history.names))]
    low, high = axes.get_xlim()
    end = history.rows[-1]["step"]
    assert -0.05 * end < low < 0
    assert end < high < 1.05 * end


def luminance(color):
    """Return the relative luminance of WCAG 2.1, which no colour blindness takes away."""
    rgb = np.array(colors.to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("name", ["two", "five", "ten", "twelve"])
def test_tasks_are_told_apart_without_seeing_colours(name):
    history = HISTORIES[name]
    _, axes, lines = panel(draw_accuracy, history)
    light = [luminance(line.get_color()) for line in lines]
    if len(lines) > 5:  # from dark to light in the order of the tasks
        assert np.diff(light).min() > 0.01
    else:
        styles = {(line.get_color(), str(line.get_linestyle())) for line in lines}
        assert len(styles) == len(lines)
    assert max(light) < 0.7  # on white
    assert len({str(line.get_linestyle()) for line in lines}) >= min(len(lines), 4)
    legend = axes.get_legend()
    names = [text.get_text() for text in legend.get_texts()]
    assert legend.get_title().get_text() == "task"
    assert names == (list(history.names) if len(lines) <= 10 else ["first of 12", "last"])
    shown = [handle.get_color() for handle in legend.legend_handles]
    expected = [line.get_color() for line in lines]
    if len(lines) > 10:
        expected = [expected[0], expected[-1]]
    assert [colors.to_hex(c) for c in shown] == [colors.to_hex(c) for c in expected]


def test_one_task_needs_no_legend():
    _, axes, _ = panel(draw_accuracy, HISTORIES["single"])
    assert axes.get_legend() is None


def test_training_and_test_keep_their_colours_when_one_is_missing():
    history = HISTORIES["single"]
    _, _, both = panel(draw_loss, history)
    first = History(history.names, history.rows[:1])  # nothing trained yet
    _, _, (test,) = panel(draw_loss, first)
    assert test.get_label() == "test"
    assert test.get_color() == both[1].get_color()
    assert test.get_linestyle() == both[1].get_linestyle()


@pytest.mark.parametrize(
    ("values", "scale"),
    [([2.0, 0.1], "log"), ([2.0, 1.0], "linear"), ([2.0, 0.0], "linear"), ([2.0, 0.2], "log")],
)
def test_losses_over_a_decade_or_more_are_drawn_on_a_logarithmic_axis(values, scale):
    rows = [HISTORIES["single"].rows[k] | {"test_loss": v} for k, v in enumerate(values)]
    rows = [row | {"train_loss": float("nan"), "validation_loss": float("nan")} for row in rows]
    _, axes, _ = panel(draw_loss, History(("digits",), rows))
    assert axes.get_yscale() == scale


def test_what_is_not_finite_is_left_out():
    rows = [row | {"test_loss": float("inf")} for row in HISTORIES["single"].rows]
    rows = [row | {"train_loss": float("nan"), "validation_loss": float("nan")} for row in rows]
    _, axes, lines = panel(draw_loss, History(("digits",), rows))
    assert lines == []
    assert axes.get_legend() is None


@pytest.mark.parametrize("name", ["single", "five", "ten", "twelve", "autoencoder", "stopped"])
def test_a_figure_is_written_whole_and_nothing_overlaps(name, tmp_path, monkeypatch):
    drawn = []
    original = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **o: drawn.append(self) or original(self, *a, **o)
    )
    title = "split fashion-mnist (domain-incremental)"
    save_curve(HISTORIES[name], tmp_path / "curve", title)
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "curve.svg").read_text().rstrip().endswith("</svg>")
    figure = drawn[0]
    assert drawn == [figure, figure]
    assert len(figure.axes) == (1 if "autoencoder" in name else 2)
    assert figure.get_suptitle().startswith(title)
    assert ("stopped early: the training loss" in figure.get_suptitle()) is (name == "stopped")
    figure.draw_without_rendering()
    parts = {"title": figure._suptitle.get_window_extent()}
    for number, axes in enumerate(figure.axes):
        parts[f"panel {number}"] = axes.get_window_extent()
        parts[f"x label {number}"] = axes.xaxis.label.get_window_extent()
        parts[f"y label {number}"] = axes.yaxis.label.get_window_extent()
        if axes.get_legend() is not None:
            parts[f"legend {number}"] = axes.get_legend().get_window_extent()
        # the panel keeps most of the figure
        assert parts[f"panel {number}"].height > 0.5 * figure.bbox.height
    listed = list(parts.items())
    for i, (first, box) in enumerate(listed):
        assert box.x0 >= 0, first
        assert box.y0 >= 0, first
        assert box.x1 <= figure.bbox.x1, first
        assert box.y1 <= figure.bbox.y1, first
        for second, other in listed[i + 1 :]:
            assert not box.overlaps(other), (first, second)


def test_the_same_history_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        save_curve(HISTORIES["autoencoder"], tmp_path / name, "title")
    for suffix in (".svg", ".png"):
        first, second = ((tmp_path / name).with_suffix(suffix).read_bytes() for name in "ab")
        assert first == second
