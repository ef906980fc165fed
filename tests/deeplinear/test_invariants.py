"""What each rule conserves, and where no such law exists."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deeplinear import CurvatureCorrection, invariants, matrix_flow, mode_trajectory

POWERS = (0.0, 0.3, 0.5, 0.8, 1.0)
weights_of_modes = arrays(float, 3, elements=st.floats(0.1, 1.5))


@given(weights_of_modes, st.sampled_from(POWERS), st.sampled_from(("full", "layer")))
def test_modes_keep_them(weights, power, blocks):
    rule = CurvatureCorrection(power, blocks)
    later = mode_trajectory(rule, weights, 1.2, np.array([0.7]))[0]
    np.testing.assert_allclose(invariants(rule, later), invariants(rule, weights), atol=1e-12)


@given(weights_of_modes)
def test_the_laws_differ(weights):
    # the squares of the full rules are not what the layer square root keeps, unless balanced
    rule = CurvatureCorrection(0.5, "layer")
    later = mode_trajectory(rule, weights, 4.0, np.array([1.0]))[0]
    moved = np.abs(np.diff(later**2) - np.diff(weights**2))
    apart = np.abs(np.diff(weights))
    assert (moved[apart > 1e-3] > 1e-6).all()


def test_mode_values_are_next_minus_this():
    weights = np.array([0.5, 0.1, -0.7])
    full = invariants(CurvatureCorrection(0.5, damping=3.0), weights)
    np.testing.assert_allclose(full, [0.01 - 0.25, 0.49 - 0.01], rtol=1e-14)
    root = invariants(CurvatureCorrection(0.5, "layer"), weights)
    np.testing.assert_allclose(root, [-0.4, 0.6], rtol=1e-14)
    ratio = invariants(CurvatureCorrection(1.0, "layer"), weights)
    np.testing.assert_allclose(ratio, 2 * np.log([0.2, 7.0]), rtol=1e-14)
    damped = invariants(CurvatureCorrection(1.0, "layer", damping=0.1), weights[:2])
    np.testing.assert_allclose(damped, [np.log(0.11 / 0.35)], rtol=1e-14)


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("damping", [0.0, 0.01])
@pytest.mark.parametrize("widths", [(3, 4, 5), (4, 2, 3), (3, 3, 3)])
def test_two_layers_of_any_width_keep_their_spectral_law(power, damping, widths):
    generator = np.random.default_rng(3)
    weights = [
        generator.normal(size=(out, into)) for into, out in zip(widths, widths[1:], strict=False)
    ]
    target = weights[1] @ weights[0] + 0.3 * generator.normal(size=(widths[-1], widths[0]))
    rule = CurvatureCorrection(power, "layer", damping=damping)
    end = [w[-1] for w in matrix_flow(rule, weights, target, np.array([0.5]))]
    assert invariants(rule, end) == pytest.approx(invariants(rule, weights), abs=1e-8)


def test_reference_values_of_the_3_4_5_network():
    # double precision, conserved along an integration at 1e-12; the sign is next minus this
    def pattern(k, rows, columns):
        a, b = np.arange(1, rows + 1)[:, None], np.arange(1, columns + 1)
        return np.sin(1.3 * a + 2.1 * b + 0.7 * k)

    weights = [0.5 * pattern(1, 4, 3), 0.5 * pattern(2, 5, 4)]
    rule = CurvatureCorrection(1.0, "layer", damping=0.01)
    assert invariants(rule, weights)[0] == pytest.approx(0.9996638157922284, rel=1e-12)
    rule = CurvatureCorrection(0.5, "layer", damping=0.01)
    assert invariants(rule, weights)[0] == pytest.approx(0.4994612803538385, rel=1e-12)


def test_deep_square_natural_gradient_keeps_the_determinants():
    generator = np.random.default_rng(5)
    weights = [np.eye(3) + 0.2 * generator.normal(size=(3, 3)) for _ in range(3)]
    rule = CurvatureCorrection(1.0, "layer")
    end = [w[-1] for w in matrix_flow(rule, weights, 1.5 * np.eye(3), np.array([1.0]))]
    assert invariants(rule, end) == pytest.approx(invariants(rule, weights), abs=1e-9)
    expected = 2 * np.diff([np.linalg.slogdet(w)[1] for w in weights])
    assert invariants(rule, weights) == pytest.approx(expected, abs=1e-12)


def test_full_rules_keep_matrices():
    generator = np.random.default_rng(6)
    weights = [generator.normal(size=(4, 3)), generator.normal(size=(2, 4))]
    found = invariants(CurvatureCorrection(0.7, damping=0.3), weights)
    expected = weights[1].T @ weights[1] - weights[0] @ weights[0].T
    np.testing.assert_array_equal(found[0], expected)


@pytest.mark.parametrize(
    ("rule", "weights", "words"),
    [
        (CurvatureCorrection(1.0, "layer", damping=0.1), np.ones(3), "at depth 3: no pairwise law"),
        (CurvatureCorrection(0.5, "layer"), [np.eye(2)] * 3, "at depth 3: no pairwise law"),
        (CurvatureCorrection(1.0, "layer"), np.array([1.0, 0.0]), r"weights\[1\] = 0"),
        (CurvatureCorrection(1.0, "layer"), [np.eye(2), np.ones((2, 2)), np.eye(2)], "has rank 1"),
        (CurvatureCorrection(1.0, "layer"), [np.zeros((2, 2)), np.eye(2)], "has rank 0"),
        (CurvatureCorrection(), [np.eye(2), np.eye(3)], r"weights\[1\] has shape"),
        (CurvatureCorrection(), np.array([1.0, np.nan]), r"weights\[1\] = nan"),
    ],
)
def test_where_there_is_none(rule, weights, words):
    with pytest.raises(ValueError, match=words):
        invariants(rule, weights)
