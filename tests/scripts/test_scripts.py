"""Every script of the gallery runs by itself, without warnings, and draws a readable figure."""

import importlib.util
import io
import os
import runpy
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))


@pytest.fixture(autouse=True)
def _one_thread():
    # small matrices, and the tests themselves run side by side
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_there_is_one_script_a_figure():
    assert len(SCRIPTS) == 28
    assert all(path.name.startswith("plot_") for path in SCRIPTS)


def test_the_gallery_shows_every_script():
    file = ROOT / "docs" / "gallery_order.py"
    spec = importlib.util.spec_from_file_location("gallery_order", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert sorted(module.READING_ORDER) == [path.name for path in SCRIPTS]
    places = [module.ReadingOrder("scripts")(path.name) for path in SCRIPTS]
    assert sorted(places) == list(range(len(SCRIPTS)))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script_draws_a_labelled_figure_without_warnings(path, monkeypatch):
    monkeypatch.chdir(ROOT / "scripts")
    plt.switch_backend("Agg")
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.extend(plt.get_fignums()))
    before = dict(plt.rcParams)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            runpy.run_path(str(path), run_name="__main__")
            figures = [plt.figure(number) for number in shown]
            assert figures, "the script ends in plt.show() with a figure open"
            for figure in figures:
                figure.savefig(io.BytesIO())  # what is only wrong when drawn
                assert not overlapping_labels(figure)
                for axes in figure.axes:
                    if axes.get_label() == "<colorbar>":
                        assert axes.get_ylabel()
                        continue
                    assert axes.get_title()
                    if axes.get_xticks().size > 0:  # all but images
                        assert axes.get_xlabel()
                        assert axes.get_ylabel() or shares_y(axes)
    finally:
        plt.close("all")
    assert dict(plt.rcParams) == before, "the house style stays inside the script's own block"


def shares_y(axes):
    """Whether a neighbour carries the label of the y axis for both."""
    siblings = axes.get_shared_y_axes().get_siblings(axes)
    return any(other.get_ylabel() for other in siblings)


def overlapping_labels(figure):
    """Return pairs of titles, axis labels and free texts that lie on each other."""
    texts = []
    for axes in figure.axes:
        texts += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
    boxes = [(t.get_text(), t.get_window_extent()) for t in texts if t.get_text()]
    return [
        (one, other)
        for i, (one, box) in enumerate(boxes)
        for other, second in boxes[i + 1 :]
        if box.overlaps(second)
    ]


def test_overlaps_are_seen():
    figure, axes = plt.subplots()
    try:
        axes.text(0.5, 0.5, "one text")
        axes.text(0.51, 0.5, "another")
        axes.set_title("apart")
        figure.canvas.draw()
        assert overlapping_labels(figure) == [("one text", "another")]
    finally:
        plt.close(figure)


def test_a_script_runs_on_its_own_without_a_display(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k not in {"DISPLAY", "MPLBACKEND"}}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", str(ROOT / "scripts" / "plot_phase_plane.py")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert not list(tmp_path.iterdir()), "a script writes nothing where it is run"
