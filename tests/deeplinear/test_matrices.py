"""Closed matrix solutions against the integrated flow and independent golden values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import fractional_matrix_power
from small_networks import TARGET, chain, three_layers, wave

from deeplinear import matrices
from deeplinear.flow import matrix_flow
from deeplinear.matrices import (
    blow_up_time,
    layer_natural_gradient_weights,
    natural_gradient_map,
)
from deeplinear.rules import BlowUpError, CurvatureCorrection

LAYER = CurvatureCorrection(1.0, "layer")


# from an independent implementation: the chord and scipy's fractional_matrix_power, both
# within 1e-9 of its own integration with DOP853 at rtol 1e-12
GOLDEN_MAP = [
    [1.1937621558970557, 0.24775448269509184, 0.004902774958928674],
    [-0.16366618153946888, 0.8459730377367031, 0.06486947843620752],
    [0.09298938762460969, -0.003508290157913934, 0.580244892088765],
]
GOLDEN_FIRST = [
    [1.0758658806379675, 0.017226139390140126, 0.08455245932069416],
    [-0.14297732399157914, 0.9715538573835925, 0.068953548118272],
    [-0.08596474469762677, 0.09446322656582608, 0.7899157182971418],
]
GOLDEN_LAST = [
    [1.1074241070167543, 0.12680918448130063, -0.13483765975764497],
    [0.03139024026729505, 0.9042389325064892, -0.007044736789394181],
    [0.09165833670272441, -0.08449839697116936, 0.8864404979291858],
]


def test_golden_chord_and_layers():
    times = np.array([1.5])
    chord = natural_gradient_map(chain(three_layers()), TARGET, times)
    np.testing.assert_allclose(chord[0], GOLDEN_MAP, atol=1e-14)
    layers = layer_natural_gradient_weights(three_layers(), TARGET, times)
    np.testing.assert_allclose(layers[0][0], GOLDEN_FIRST, atol=1e-13)
    np.testing.assert_allclose(layers[2][0], GOLDEN_LAST, atol=1e-13)
    np.testing.assert_allclose(chain([w[0] for w in layers]), GOLDEN_MAP, atol=1e-13)


def test_the_chord_starts_exactly_and_ends_exactly():
    start = chain(three_layers())
    chord = natural_gradient_map(start, TARGET, np.array([0.0, 1000.0]))
    np.testing.assert_array_equal(chord[0], start)
    np.testing.assert_array_equal(chord[1], TARGET)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    size=st.integers(1, 4),
    depth=st.integers(1, 4),
    scale=st.sampled_from([None, 1.0, 0.3]),
)
def test_layers_equal_the_flow(seed, size, depth, scale):
    generator = np.random.default_rng(seed)
    weights = [np.eye(size) + 0.2 * generator.uniform(-1, 1, (size, size)) for _ in range(depth)]
    target = 1.5 * np.eye(size) + 0.4 * generator.uniform(-1, 1, (size, size))
    times = np.array([0.0, 0.4, 1.5])
    closed = layer_natural_gradient_weights(weights, target, times, scale)
    rule = CurvatureCorrection(1.0, "layer", scale=scale)
    flow = matrix_flow(rule, weights, target, times, rtol=1e-12)
    size = max(np.abs(w).max() for w in flow)
    for a, b in zip(closed, flow, strict=True):
        assert np.abs(a - b).max() < 1e-9 * size


def jordan_problem():
    """Wb(0)^{-1} W* = [[2, 1], [0, 2]] up to a rotation: one eigenvector."""
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    weights = [np.array([[1.0, 0.3], [0.1, 0.9]]), np.array([[0.8, -0.2], [0.2, 1.1]])]
    return weights, chain(weights) @ turn @ np.array([[2.0, 1.0], [0.0, 2.0]]) @ turn.T


def test_defective_targets_take_the_schur_form(monkeypatch):
    weights, target = jordan_problem()
    monkeypatch.setattr(matrices, "_from_eigenbasis", lambda *_: pytest.fail("not called"))
    with pytest.raises(pytest.fail.Exception):
        layer_natural_gradient_weights(weights, target, np.array([0.7]))
    monkeypatch.undo()
    relative = np.linalg.solve(chain(weights), target)
    assert matrices._from_eigenbasis([np.eye(2)] * 3, relative, np.array([0.7])) is None
    closed = layer_natural_gradient_weights(weights, target, np.array([0.7]))
    flow = matrix_flow(LAYER, weights, target, np.array([0.7]), rtol=1e-12)
    for a, b in zip(closed, flow, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)


def test_both_forms_of_the_root_agree():
    weights, times = three_layers(), np.array([0.2, 3.0])
    products = [np.eye(3)]
    for matrix in weights:
        products.append(matrix @ products[-1])
    relative = np.linalg.solve(products[-1], TARGET)
    one = matrices._from_eigenbasis(products, relative, times)
    two = matrices._from_schur(products, relative, times)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


def test_complex_spectra_keep_the_layers_real():
    # a quarter turn between start and target: eigenvalues +-i, no singularity
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    layers = layer_natural_gradient_weights([np.eye(2), np.eye(2)], turn, np.array([50.0]))
    half = np.array([[1.0, -1.0], [1.0, 1.0]]) / np.sqrt(2)
    np.testing.assert_allclose(layers[0][0], half, atol=1e-14)
    np.testing.assert_allclose(layers[1][0], half, atol=1e-14)


def test_final_layers_do_not_depend_on_the_scale_of_the_start():
    times = np.array([60.0])
    one = layer_natural_gradient_weights(three_layers(), TARGET, times)
    two = layer_natural_gradient_weights([0.01 * w for w in three_layers()], TARGET, times)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


def test_every_layer_takes_the_same_share():
    weights = three_layers()
    layers = layer_natural_gradient_weights(weights, TARGET, np.array([1.1]))
    step = np.linalg.solve(chain(weights), chain([w[0] for w in layers]))
    share = fractional_matrix_power(step, 1 / 3)
    before = np.eye(3)
    for w, start in zip(layers, weights, strict=True):
        np.testing.assert_allclose(w[0] @ before, start @ before @ share, atol=1e-12)
        before = start @ before


def test_blow_up_times_of_a_negative_eigenvalue():
    weights, target = [np.eye(2), np.eye(2)], np.diag([1.0, -0.5])
    # ln 3 at kappa = 1/2 and half of it for undamped K-FAC
    assert blow_up_time(weights, target) == pytest.approx(np.log(3.0), rel=1e-14)
    assert blow_up_time(weights, target, scale=1.0) == pytest.approx(np.log(3.0) / 2, rel=1e-14)
    scalars = [np.array([[w]]) for w in (0.5, 0.4, -0.5)]
    assert blow_up_time(scalars, np.eye(1)) == pytest.approx(0.095310179804324860, rel=1e-14)
    # of two negative eigenvalues the larger one in size comes first
    both = blow_up_time(weights, np.diag([-2.0, -0.5]))
    assert both == pytest.approx(np.log(1.5), rel=1e-14)


@pytest.mark.parametrize(
    ("weights", "target"),
    [
        ([np.eye(2), np.eye(2)], np.diag([1.0, 0.5])),
        ([np.eye(2), np.eye(2)], np.array([[0.0, -1.0], [1.0, 0.0]])),
        ([np.eye(2), np.eye(2)], np.zeros((2, 2))),
        ([np.eye(2)], -np.eye(2)),
        ([wave(1, 3, 2), wave(2, 2, 3)], -wave(1, 2, 3) @ wave(2, 3, 2)),
    ],
    ids=["positive", "complex", "zero", "one layer", "spare unit"],
)
def test_regular_flows_never_blow_up(weights, target):
    assert blow_up_time(weights, target) == np.inf


def test_rounding_of_a_rank_deficient_target_is_not_a_blow_up():
    # eigenvalues that are zero but for rounding, of either sign, over many rotations
    for seed in range(40):
        generator = np.random.default_rng(seed)
        weights = [np.eye(4) + 0.1 * generator.uniform(-1, 1, (4, 4)) for _ in range(3)]
        column = generator.uniform(0.5, 1.0, (4, 1))
        assert blow_up_time(weights, chain(weights) @ column @ column.T) == np.inf


def test_a_narrow_layer_beside_a_wide_one_is_enough_to_blow_up():
    # widths 2-2-3-2: the first layer is square, so its successor meets a singular product
    weights = [np.eye(2), wave(1, 3, 2), wave(2, 2, 3)]
    target = chain(weights) @ np.diag([1.0, -0.5])
    assert blow_up_time(weights, target) == pytest.approx(np.log(3.0), rel=1e-12)
    flow = matrix_flow(LAYER, weights, target, np.array([0.9999 * np.log(3.0)]))
    # W_1(t) = W_1(0) X(t)^{1/3}
    expected = (-0.5 + 1.5 * 3.0**-0.9999) ** (1 / 3)
    assert np.linalg.svd(flow[0][0])[1][-1] == pytest.approx(expected, rel=1e-6)
    with pytest.raises(BlowUpError):
        matrix_flow(LAYER, weights, target, np.array([1.2]))


def test_most_square_random_starts_blow_up_and_no_wide_one():
    # probability of no singularity at n = 4, three layers: .15 by a separate simulation of
    # 6000 starts; 400 starts lie within four standard errors (.07)
    generator = np.random.default_rng(11)
    regular = 0
    for _ in range(400):
        weights = [generator.normal(size=(4, 4)) for _ in range(3)]
        target = generator.normal(size=(4, 4))
        regular += blow_up_time(weights, target) == np.inf
        wide = [
            generator.normal(size=(5, 4)),
            generator.normal(size=(5, 5)),
            generator.normal(size=(4, 5)),
        ]
        assert blow_up_time(wide, target) == np.inf
    assert abs(regular / 400 - 0.15) < 0.072


def test_times_beyond_the_singularity_are_refused():
    weights, target = [np.eye(2), np.eye(2)], np.diag([1.0, -0.5])
    layers = layer_natural_gradient_weights(weights, target, np.array([1.0]))
    assert np.isfinite(layers[0]).all()
    with pytest.raises(BlowUpError, match="become singular at t = 1.09861") as caught:
        layer_natural_gradient_weights(weights, target, np.array([1.0, 1.2]))
    assert caught.value.time == pytest.approx(np.log(3.0), rel=1e-14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: blow_up_time([np.ones((3, 2))], np.ones((3, 2))), "2 inputs to 3 outputs"),
        (lambda: blow_up_time([np.ones((2, 2)), np.eye(2)], np.eye(2)), "singular product"),
        (lambda: blow_up_time([wave(1, 1, 2), wave(2, 2, 1)], np.eye(2)), "singular product"),
        (lambda: blow_up_time([np.eye(2)], np.eye(3)), "target has shape"),
        (lambda: blow_up_time([np.eye(2)], np.eye(2), scale=0.0), "scale = 0.0"),
        (
            lambda: layer_natural_gradient_weights(
                [wave(1, 3, 2), wave(2, 2, 3)], np.eye(2), np.array([1.0])
            ),
            r"weights\[0\] has shape \(3, 2\): every layer must be square",
        ),
        (
            lambda: layer_natural_gradient_weights([np.eye(2)], np.eye(2), np.array([-1.0])),
            "must be >= 0",
        ),
        (lambda: natural_gradient_map(np.eye(2), np.eye(3), np.array([1.0])), "target has shape"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
