"""Flows of the map of balanced networks against the flow of their layers and closed times."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import polar
from small_networks import balanced_pair, chain, wave

from deeplinear.balanced import balanced_gram, balanced_map_flow
from deeplinear.flow import matrix_flow
from deeplinear.rules import BlowUpError, CurvatureCorrection


def balanced_layers(seed, values, depth):
    """A balanced net of this depth with the given singular values of its map."""
    generator = np.random.default_rng(seed)
    size = len(values)
    turns = [polar(generator.normal(size=(size, size)))[0] for _ in range(depth + 1)]
    root = np.asarray(values) ** (1 / depth)
    return [(turns[i + 1] * root) @ turns[i].T for i in range(depth)]


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    depth=st.integers(1, 4),
    power=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    damping=st.sampled_from([0.0, 0.05]),
    values=st.sampled_from([(1.2, 0.5, 0.3), (0.7, 0.7, 0.7), (0.9, 0.9, 0.2), (0.6,)]),
    scale=st.sampled_from([None, 0.6]),
)
def test_balanced_map_equals_the_flow_of_its_layers(seed, depth, power, damping, values, scale):
    weights = balanced_layers(seed, values, depth)
    start = chain(weights)
    target = 1.3 * start + 0.1 * wave(seed % 7, len(values), len(values))
    rule = CurvatureCorrection(power, damping=damping, scale=scale)
    times = np.array([0.2, 1.0])
    maps = balanced_map_flow(rule, start, target, depth, times, rtol=1e-11)
    expected = chain(matrix_flow(rule, weights, target, times, rtol=1e-11))
    assert np.abs(maps - expected).max() < 1e-9 * np.abs(expected).max()


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("damping", [0.0, 0.05])
def test_balanced_map_of_rectangles(power, damping):
    weights = balanced_pair(12, 2, 3, 4, 0.0)
    target = 1.4 * weights[1] @ weights[0] + 0.1 * wave(1, 4, 2)
    rule = CurvatureCorrection(power, damping=damping)
    times = np.array([0.7])
    maps = balanced_map_flow(rule, weights[1] @ weights[0], target, 2, times, rtol=1e-11)
    expected = chain(matrix_flow(rule, weights, target, times, rtol=1e-11))
    np.testing.assert_allclose(maps, expected, atol=1e-9)


def test_balanced_map_agrees_with_the_riccati_solution():
    weights = balanced_pair(13, 4, 4, 4, 0.0, 0.8)
    target, times = wave(1, 4, 4) + np.eye(4), np.array([0.4, 1.5])
    gram = balanced_gram(weights, target, times)
    rule = CurvatureCorrection(0.0)
    maps = balanced_map_flow(rule, weights[1] @ weights[0], target, 2, times, 1e-12)
    np.testing.assert_allclose(maps, gram[:, 4:, :4], atol=1e-10)


def test_zero_singular_values_stay_zero():
    # a balanced net of rank one: undamped rules keep the rank, also at power 1
    start = np.diag([0.5, 0.0])
    for power in (0.0, 0.5, 1.0):
        end = balanced_map_flow(
            CurvatureCorrection(power), start, np.diag([2.0, 1.0]), 3, np.array([40.0])
        )
        np.testing.assert_allclose(end[0], np.diag([2.0, 0.0]), atol=1e-9)


@pytest.mark.parametrize("layers", [2, 3])
@pytest.mark.parametrize("power", [0.5, 1.0])
def test_balanced_maps_do_not_pass_a_loss_of_rank(power, layers):
    start, target = np.diag([0.3, 0.5]), np.diag([-1.0, 1.0])
    rule = CurvatureCorrection(power)
    with pytest.raises(BlowUpError) as caught:
        balanced_map_flow(rule, start, target, layers, np.array([0.1, 4.0, 5.0]))
    if power == 1.0:
        expected = np.log(1.3)
    else:
        # du/dt = -sqrt(d) u^{1-1/d} (1 + u), with a = u^{1/d}: da/dt = -(1 + a^d)/sqrt(d)
        a = np.linspace(0, 0.3 ** (1 / layers), 20001)
        expected = np.sqrt(layers) * np.trapezoid(1 / (1 + a**layers), a)
    # u vanishes like the d-th power of the time left: its error 1e-10 is the time's d-th root
    tolerance = 1e-9 if power == 1.0 else 1e-10 ** (1 / layers)
    assert caught.value.time == pytest.approx(expected, rel=tolerance)
    early = balanced_map_flow(rule, start, target, layers, np.array([0.1]))
    assert np.linalg.det(early[0]) > 0
    # gradient descent never reaches it
    late = balanced_map_flow(CurvatureCorrection(0.0), start, target, layers, np.array([4.0]))
    assert np.linalg.det(late[0]) > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rule": CurvatureCorrection(0.5, "layer")}, "do not keep a network balanced"),
        ({"depth": 0}, "depth = 0"),
        ({"target": np.eye(3)}, "target has shape"),
        ({"rtol": 1.0}, "rtol = 1.0"),
    ],
)
def test_bad_map_input_is_refused(change, message):
    arguments = {
        "rule": CurvatureCorrection(0.5),
        "map_start": np.eye(2),
        "target": np.eye(2),
        "depth": 2,
        "times": np.array([1.0]),
    }
    with pytest.raises(ValueError, match=message):
        balanced_map_flow(**(arguments | change))
