"""What integrated networks conserve, where they end, and the way of their maps.

Golden numbers come from an independent implementation (eigendecompositions of the Gauss-Newton
matrix, SciPy's DOP853 at rtol 1e-12), inputs written out: no random numbers.
"""

import numpy as np
import pytest
from scipy.linalg import polar
from small_networks import (
    FULL,
    RULES,
    TARGET,
    covariance,
    imbalances,
    last,
    root_of,
    three_layers,
    wave,
    worst,
)

from deeplinear.flow import matrix_flow
from deeplinear.rules import CurvatureCorrection


@pytest.mark.parametrize("whitened", [True, False])
@pytest.mark.parametrize("name", FULL)
def test_full_rules_conserve_every_imbalance(name, whitened):
    start = three_layers()
    sigma = None if whitened else covariance(7, 3, 3)
    end = last(RULES[name], start, TARGET, 5.0, input_covariance=sigma, rtol=1e-11)
    assert worst(imbalances(end), imbalances(start)) < 1e-9


@pytest.mark.parametrize(
    ("name", "drift"), [("NGD-d", 0.20503770742443664), ("sqrtNGD-d", 0.07378596660507772)]
)
def test_layer_rules_break_the_conservation_law(name, drift):
    start = three_layers()
    end = last(RULES[name], start, TARGET, 1.5, rtol=1e-12)
    found = max(
        np.linalg.norm(a - b) for a, b in zip(imbalances(end), imbalances(start), strict=True)
    )
    assert found == pytest.approx(drift, rel=1e-9)


@pytest.mark.parametrize(
    ("power", "invariant", "loss"),
    [
        (1.0, -0.9996638157922284, 0.07126690031093451),
        (0.5, -0.4994612803538385, 0.04155584916559928),
    ],
)
def test_damped_layer_rules_keep_a_schatten_difference(power, invariant, loss):
    weights = [0.5 * wave(1, 4, 3), 0.5 * wave(2, 5, 4)]
    target = wave(3, 5, 3)
    rule = CurvatureCorrection(power, "layer", damping=1e-2, scale=1.0)
    end = last(rule, weights, target, 1.0, rtol=1e-12)

    def difference(first, second):
        a = np.linalg.eigvalsh(first @ first.T) + 1e-2
        b = np.linalg.eigvalsh(second.T @ second) + 1e-2
        if power == 1.0:
            return np.log(a).sum() - np.log(b).sum()
        return (a ** (1 - power)).sum() - (b ** (1 - power)).sum()

    assert difference(*weights) == pytest.approx(invariant, abs=1e-9)
    assert difference(*end) == pytest.approx(invariant, abs=1e-9)
    assert 0.5 * np.linalg.norm(end[1] @ end[0] - target) ** 2 == pytest.approx(loss, abs=1e-9)


IMBALANCE = {
    0.3: (0.04771675, 0.04772667, 0.04773157, 0.17462351, 0.76999218),
    0.1: (0.00538896, 0.00538912, 0.0053892, 0.06041089, 0.76999218),
    0.03: (0.0004859, 0.0004859, 0.0004859, 0.01835599, 0.76999218),
}


@pytest.mark.parametrize("sigma", IMBALANCE)
def test_end_imbalance_scales_as_the_start_to_the_two_minus_two_q(sigma):
    eye = np.eye(3)
    weights = [sigma * (eye + 0.3 * wave(1, 3, 3)), sigma * (0.7 * eye + 0.3 * wave(2, 3, 3))]
    names = ("GD", "sqrtNGD", "NGD", "sqrtNGD-d", "NGD-d")
    times = (30.0, 30.0, 20.0, 20.0, 20.0)
    for name, time, expected in zip(names, times, IMBALANCE[sigma], strict=True):
        end = last(RULES[name], weights, TARGET, time)
        relative = np.linalg.norm(imbalances(end)[0]) / np.linalg.norm(end[0] @ end[0].T)
        # the golden values are rounded to 8 decimals
        assert relative == pytest.approx(expected, abs=6e-9), name


@pytest.mark.parametrize(
    ("name", "deviation"),
    [("GD", 0.32312744457035336), ("sqrtNGD", 0.11771111526402936), ("NGD", 0.0), ("NGD-d", 0.0)],
)
def test_only_natural_gradient_maps_follow_the_chord(name, deviation):
    eye = np.eye(3)
    weights = [0.6 * eye + 0.2 * wave(1, 3, 3), 0.5 * eye + 0.2 * wave(2, 3, 3)]
    start = weights[1] @ weights[0]
    chord = (TARGET - start) / np.linalg.norm(TARGET - start)
    first, second = matrix_flow(RULES[name], weights, TARGET, np.linspace(0.2, 6, 15), rtol=1e-12)
    moved = second @ first - start
    along = (moved * chord).sum(axis=(1, 2), keepdims=True) * chord
    found = np.linalg.norm(moved - along, axis=(1, 2)).max()
    assert found == pytest.approx(deviation, abs=1e-9)


def test_end_gram_matrices_are_shared_only_from_lambda_balanced_starts():
    eye = np.eye(3)
    generic = [0.6 * eye + 0.2 * wave(1, 3, 3), 0.5 * eye + 0.2 * wave(2, 3, 3)]
    first = 0.4 * eye + 0.2 * wave(1, 3, 3)
    rotation = polar(eye + 0.3 * wave(2, 3, 3))[0]
    balanced = [first, rotation @ root_of(first @ first.T + 0.3 * eye)]
    for weights, times, grams, layers in (
        (generic, (40.0, 34.0), 0.008338181593089786, None),
        (balanced, (60.0, 34.0), 0.0, 0.0497441254588725),
    ):
        one = last(RULES["GD"], weights, TARGET, times[0], rtol=1e-12)[0]
        two = last(RULES["NGD"], weights, TARGET, times[1], rtol=1e-12)[0]
        assert np.abs(one.T @ one - two.T @ two).max() == pytest.approx(grams, abs=1e-9)
        if layers is not None:
            assert np.abs(one - two).max() == pytest.approx(layers, abs=1e-9)
