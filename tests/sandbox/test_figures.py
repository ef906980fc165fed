"""Figures: every relation is drawn, with labels and units, without a warning."""

import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure

from sandbox.bench import Axis, Comparison
from sandbox.bench.figures import draw_comparisons, house_style, save_figure

INF = float("inf")
X = (0.5, 1.0, 2.0, 3.0, 4.0)
RULES = Axis("rule", ("gradient descent", "square root", "natural gradient", "other"))
TIME = Axis("time", X, "s", log=True)
MODE = Axis("mode", tuple(range(9)))


def compare(predicted, measured, *axes, **rest):
    asked = {
        "name": "a name",
        "tolerance": 0.1,
        "reason": "test",
        "quantity": "loss",
        "unit": "bit",
    }
    return Comparison(predicted=predicted, measured=measured, axes=axes, **(asked | rest))


WIDTH = {"uncertainty": 0.1, "confidence": "95 %"}
LINES = np.outer(X, range(1, 10))
CASES = {
    "equals": compare(X, X, TIME),
    "relative": compare(X, np.multiply(X, 1.01), TIME, relative=True, log=True),
    "at_most": compare(np.add(X, 1), X, TIME, relation="at_most"),
    "at_least": compare(X, np.add(X, 1), TIME, relation="at_least", log=True),
    "ordered": compare([1, 2, 3, 4], [1, 3, 2, 4], RULES, relation="ordered"),
    "ordered rows": compare(
        [[1, 2, 3, 4]] * 2, [[1, 3, 2, 4]] * 2, Axis("net", ("a", "b")), RULES, relation="ordered"
    ),
    "inside": compare(X, X, TIME, relation="inside", **WIDTH),
    "interval": compare(X, X, TIME, log=True, **WIDTH),
    "categories": compare([1, 2, 3, 4], [1, 2, 3, 4], RULES, relation="at_most"),
    "scalar": compare(1.0, 1.5),
    "scalar bound": compare(1.0, 1.5, relation="at_least"),
    "single": compare([1.0], [1.0], Axis("depth", (2,))),
    "zero": compare(np.zeros(5), np.zeros(5), TIME, tolerance=0.0, log=True),
    "negative": compare(np.negative(X), np.negative(X), TIME, log=True),
    "many lines": compare(LINES, LINES, TIME, MODE),
    "three axes": compare(
        np.ones((5, 2, 2)), np.ones((5, 2, 2)), TIME, Axis("net", ("a", "b")), Axis("depth", (2, 3))
    ),
    "curve": compare(X, X, TIME, curve=(np.linspace(0.5, 4), np.linspace(0.5, 4))),
    "curves": compare(LINES, LINES, TIME, MODE, curve=(X, LINES)),
    "infinite": compare([1, INF, -INF, INF, 2], [1, INF, -INF, 2, INF], TIME),
    "infinite relative": compare([1, INF, 1, 1, 1], [INF, 1, 1, 1, 1], TIME, relative=True),
    "infinite bound": compare([INF] * 5, [1, 2, 3, 4, INF], TIME, relation="at_most"),
    "infinite order": compare([1, 2, 3, INF], [1, INF, 3, 4], RULES, relation="ordered"),
    "all infinite": compare([INF] * 5, [INF] * 5, TIME, log=True),
    "unknown": compare(X, X, TIME, uncertainty=INF, confidence="1 seed"),
    "zero time": compare([1, 2], [1, 2], Axis("time", (0, 1), "s", log=True)),
    "backwards": compare([1, 2], [1, 2], Axis("width", (64, 8))),
    "huge": compare([1e300, 1.0], [1e-300, 1.0], Axis("n", (1, 2)), log=True),
}


def draw(*comparisons, layout=True):
    with house_style():
        # the layout engine takes most of the time
        figure = Figure(layout="constrained" if layout else "none")
        draw_comparisons(figure, list(comparisons))
        figure.draw_without_rendering()
    return figure


@pytest.mark.parametrize("name", CASES)
def test_everything_that_can_be_compared_can_be_drawn(name):
    c = CASES[name]
    upper, lower = draw(c, layout=name in {"relative", "zero time", "ordered rows"}).axes
    assert upper.get_ylabel() == "loss (bit)"
    assert upper.get_title() == "a name"
    across = c.axes[-1] if c.relation == "ordered" else c.axes[0] if c.axes else None
    assert lower.get_xlabel() == ("" if across is None else across.label)
    assert lower.get_ylabel().replace("\n", " ").startswith("relative ") is c.relative
    names = [text.get_text() for text in upper.get_legend().get_texts()]
    assert len(names) == len(set(names)) >= 2
    finite = np.isfinite(c.measured).any()
    assert not finite or upper.dataLim.height >= 0


def labelled(axes, label):
    return [line for line in axes.get_lines() if line.get_label() == label]


def tick_labels(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


def test_theory_is_a_line_and_experiment_is_markers():
    upper, lower = draw(compare(X, np.multiply(X, 1.5), TIME), layout=False).axes
    (theory,) = labelled(upper, "theory")
    assert theory.get_linestyle() == "-"
    np.testing.assert_array_equal(theory.get_xydata(), np.column_stack([X, X]))
    measured = upper.containers[0].lines[0]
    assert (measured.get_linestyle(), measured.get_marker()) == ("None", "o")
    np.testing.assert_array_equal(measured.get_ydata(), np.multiply(X, 1.5))
    np.testing.assert_allclose(lower.get_lines()[0].get_ydata(), np.multiply(X, 0.5), rtol=1e-14)
    assert lower.get_lines()[-1].get_ydata()[0] == 0.1  # the tolerance


def test_scales_are_those_asked_for():
    upper, lower = draw(CASES["interval"], layout=False).axes
    assert (upper.get_xscale(), upper.get_yscale(), lower.get_yscale()) == ("log",) * 3
    upper, lower = draw(CASES["categories"]).axes
    assert (upper.get_xscale(), upper.get_yscale(), lower.get_yscale()) == ("linear",) * 3
    assert tick_labels(lower) == [
        "gradient\ndescent",
        "square\nroot",
        "natural\ngradient",
        "other\n",
    ]


def test_the_excluded_side_of_a_bound_reaches_the_frame():
    for name, edge in (("at_most", 1), ("at_least", 0)):
        upper, _ = draw(CASES[name], layout=False).axes
        (shade,) = upper.collections[:1]
        heights = shade.get_paths()[0].vertices[:, 1]
        assert upper.get_ylim()[edge] in heights


def test_infinite_values_are_shown_on_the_frame():
    upper, lower = draw(CASES["infinite"], layout=False).axes
    up, down = labelled(upper, "infinite")
    assert up.get_xdata().tolist() == [X[1], X[4]]
    assert down.get_xdata().tolist() == [X[2]]
    assert (up.get_ydata()[0], down.get_ydata()[0]) == (1.0, 0.0)
    beyond = [line for line in lower.get_lines() if line.get_marker() == "^"]
    assert beyond[0].get_xdata().tolist() == [X[3], X[4]]  # an infinite error is not left out


def test_an_ordering_shows_the_lead_over_those_predicted_lower():
    _, lower = draw(compare([3, 1, 2, 4], [3, 1, 5, 4], RULES, relation="ordered")).axes
    leads = lower.get_lines()[0].get_ydata()
    np.testing.assert_array_equal(leads, [-2, np.nan, 4, -1])


def test_the_error_axis_spans_whole_decades_and_holds_the_tolerance():
    for measured, tolerance, expected in [
        (np.add(X, 0.02), 0.04, (1e-2, 1e-1)),
        (np.add(X, 1e-9), 1e-3, (1e-10, 1e-2)),
        (X, 1e-3, (1e-4, 1e-2)),
        (X, 0.0, (1e-2, 1e1)),
    ]:
        _, lower = draw(compare(X, measured, TIME, tolerance=tolerance), layout=False).axes
        assert lower.get_ylim() == pytest.approx(expected)


def test_whole_numbers_get_whole_ticks_and_long_labels_get_room():
    short = draw(compare([1, 2], [1, 2], Axis("depth", (2, 3))), layout=False)
    assert all(float(tick).is_integer() for tick in short.axes[1].get_xticks())
    for names, slope, extra in [
        (("gradient descent, full", "natural gradient, layer"), 0, 0.1),
        (("Levenberg-Marquardt-damped", "undamped"), 35, 0.5),
        (tuple(f"gradient descent {n}" for n in range(6)), 35, 0.5),
    ]:
        n = range(len(names))
        tall = draw(compare(n, n, Axis("rule", names)), layout=False)
        assert {label.get_rotation() for label in tall.axes[1].get_xticklabels()} == {slope}
        assert tall.get_figheight() > short.get_figheight() + extra


def test_labels_of_categories_keep_apart():
    _, lower = draw(CASES["categories"]).axes
    boxes = [label.get_window_extent() for label in lower.get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_ticks_stand_at_a_few_places_and_on_round_numbers_among_many():
    depths = Axis("depth", (3, 6, 14))
    assert tick_labels(draw(compare([1, 2, 3], [1, 2, 3], depths)).axes[1]) == ["3", "6", "14"]
    close = Axis("depth", (1.0, 1.1, 9.0))
    assert "1.1" not in tick_labels(draw(compare([1, 2, 3], [1, 2, 3], close)).axes[1])
    many = Axis("time", tuple(np.linspace(0, 3, 19)))
    assert len(tick_labels(draw(compare(range(19), range(19), many)).axes[1])) < 10


def test_logarithmic_axes_have_plain_numbers_where_these_are_short():
    for size, expected in [(1.0, {"1", "10", "100"}), (1e9, set())]:
        values = size * np.geomspace(1, 100, 5)
        upper, _ = draw(compare(values, values, TIME, log=True)).axes
        labels = {label.get_text() for label in upper.get_yticklabels()}
        assert labels >= expected
        assert any("10^" in label for label in labels) is not bool(expected)


@pytest.mark.parametrize("size", [1e-16, 1.0, 1e8])
def test_linear_axes_have_their_power_of_ten_at_every_tick(size):
    values = size * np.arange(5.0)
    upper, _ = draw(compare(values, values, TIME)).axes
    assert upper.yaxis.get_offset_text().get_text() == ""
    labels = {label.get_text() for label in upper.get_yticklabels()}
    plain = {label.removesuffix(".0").replace("\N{MINUS SIGN}", "-") for label in labels}
    assert f"{2 * size:g}" in plain


def test_lines_over_categories_stand_side_by_side():
    rules, net = Axis("rule", RULES.values[:2]), Axis("net", ("a", "b", "c"))
    upper, lower = draw(compare(np.ones((2, 3)), np.ones((2, 3)), rules, net), layout=False).axes
    measured = [container.lines[0].get_xdata() for container in upper.containers]
    np.testing.assert_allclose(np.mean(measured, axis=0), [0, 1], atol=1e-12)
    assert np.diff(measured, axis=0).min() > 0.2
    assert np.ptp(measured, axis=0).max() < 0.5  # nearer to their own category than to the next
    below = [line.get_xdata() for line in lower.get_lines() if len(line.get_xdata()) == 2]
    assert all(any((x == y).all() for y in below) for x in measured)


def test_the_theory_of_several_lines_is_named_in_grey():
    for name, grey in (("many lines", True), ("equals", False)):
        upper, _ = draw(CASES[name], layout=False).axes
        named = upper.get_legend().legend_handles[0]
        assert (named.get_color() == "0.4") is grey


def test_an_interval_is_shown_beside_the_error_that_must_lie_within_it():
    _, lower = draw(CASES["inside"], layout=False).axes
    (width,) = [line for line in lower.get_lines() if line.get_marker() == "_"]
    np.testing.assert_array_equal(width.get_ydata(), 0.1)


def test_errors_of_zero_are_told_in_words():
    for measured, told in ((X, True), (np.multiply(X, 1.01), False)):
        _, lower = draw(compare(X, measured, TIME, tolerance=0.0), layout=False).axes
        assert [text.get_text() for text in lower.texts] == ["every error is 0"] * told


def test_margins_of_very_different_size_are_told_from_zero():
    for measured, scale in (([2, 1e6], "symlog"), ([2, 3], "linear"), ([1, 1], "linear")):
        c = compare([1, 1], measured, Axis("n", (1, 2)), relation="at_least", log=True)
        _, lower = draw(c, layout=False).axes
        assert lower.get_yscale() == scale


def test_too_many_lines_are_thinned_and_said_to_be():
    upper, _ = draw(CASES["many lines"], layout=False).axes
    legend = upper.get_legend()
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["theory", *(f"mode {j}" for j in (0, 1, 3, 4, 5, 7, 8))]
    assert legend.get_title().get_text() == "7 of 9 lines are shown"


@pytest.mark.parametrize("name", ["many lines", "equals", "at_most"])
def test_names_stand_between_the_frame_and_the_title(name):
    upper, _ = draw(CASES[name]).axes
    box, frame = upper.get_legend().get_window_extent(), upper.get_window_extent()
    assert box.y0 >= frame.y1 - 1
    assert upper.title.get_window_extent().y0 >= box.y1 - 1


def test_several_comparisons_share_a_figure():
    names = ("ordered", "categories", "scalar", "infinite order")
    for count, width in ((3, 10.8), (4, 7.2)):
        figure = draw(*(CASES[name] for name in names[:count]), layout=False)
        assert len(figure.axes) == 2 * count
        assert figure.get_size_inches()[0] == pytest.approx(width)


def test_a_long_title_is_broken():
    upper, _ = draw(compare(1.0, 1.0, name="word " * 20)).axes
    assert max(len(line) for line in upper.get_title().splitlines()) <= 40


def test_a_long_label_is_broken_and_stays_beside_its_axes():
    figure = draw(compare(1.0, 1.0, quantity="gain in mean accuracy over tasks, after the last"))
    upper, lower = figure.axes
    assert max(len(line) for line in upper.get_ylabel().splitlines()) <= 26
    above, below = (axes.yaxis.label.get_window_extent() for axes in (upper, lower))
    assert above.y0 > below.y1


def test_files_are_written_alike_every_time(tmp_path):
    for name in ("one", "two"):
        save_figure([CASES["categories"]], tmp_path / name)
    one, two = ((tmp_path / f"{name}.svg").read_bytes() for name in ("one", "two"))
    assert one == two
    assert (tmp_path / "one.png").read_bytes()[:4] == b"\x89PNG"


def test_a_claim_may_draw_for_itself(tmp_path):
    seen = []

    def plot(figure, comparisons):
        seen.extend(comparisons)
        figure.add_subplot().set_title("my own")

    save_figure([CASES["equals"]], tmp_path / "own", plot)
    assert seen == [CASES["equals"]]
    assert (tmp_path / "own.svg").stat().st_size < 30_000
