"""The right-hand side of the matrix flow against naive forms, its speed laws, and its steps."""

import numpy as np
import pytest
from scipy.linalg import polar
from small_networks import (
    FULL,
    RULES,
    TARGET,
    chain,
    covariance,
    flat,
    imbalances,
    naive,
    random_network,
    root_of,
    three_layers,
    unflat,
    wave,
    worst,
)

from deeplinear import _matrix_kernels as kernels
from deeplinear import _path_kernels, _stepper_kernels
from deeplinear.rules import CurvatureCorrection, _corrected, matrix_velocity, partial_products


def kernel_velocity(rule, weights, target, root=None):
    widths = np.array([weights[0].shape[1], *(matrix.shape[0] for matrix in weights)])
    kind = kernels.FULL if rule.blocks == "full" else kernels.LAYER
    problem = kernels.Problem(
        kernels.GRADIENT if rule.power == 0 else kind,
        widths,
        target,
        rule.power,
        rule.damping,
        rule.prefactor(len(weights)),
        root is None,
        np.eye(widths[0]) if root is None else root,
    )
    out = np.empty(sum(matrix.size for matrix in weights))
    kernels.velocity(problem, flat(weights), out)
    return unflat(out, [matrix.shape for matrix in weights])


def map_velocity(weights, velocity):
    after, before = partial_products(weights)
    return sum(a @ v @ b for a, v, b in zip(after, velocity, before, strict=True))


@pytest.mark.parametrize("widths", [(3, 2), (3, 3, 3), (3, 4, 5), (4, 2, 5), (3, 4, 3, 2)])
@pytest.mark.parametrize("blocks", ["full", "layer"])
@pytest.mark.parametrize("whitened", [True, False])
def test_velocity_equals_the_definition(widths, blocks, whitened):
    weights, target = random_network(0, widths)
    root = None if whitened else root_of(covariance(1, widths[0], widths[0]))
    for power in (0.0, 0.3, 0.5, 1.0):
        for damping in (0.0, 1e-2):
            rule = CurvatureCorrection(power, blocks, damping)
            expected = matrix_velocity(rule, weights, target, root)
            # 1e-12: both round once per factorisation of matrices with condition below 1e3
            assert worst(kernel_velocity(rule, weights, target, root), expected) < 1e-12


@pytest.mark.parametrize("power", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("damping", [0.0, 1e-2])
@pytest.mark.parametrize("blocks", ["full", "layer"])
def test_parameter_and_function_space_forms_agree_in_both_vec_orders(power, damping, blocks):
    weights, target = random_network(3, (3, 3, 2, 3), 0.8)
    root = root_of(covariance(4, 3, 3))
    rule = CurvatureCorrection(power, blocks, damping)
    expected = kernel_velocity(rule, weights, target, root)
    for order in "FC":
        for form in ("K", "H"):
            # powers of Gram matrices lose the square of the Jacobian's condition number
            assert worst(naive(rule, weights, target, root, order, form), expected) < 1e-8


def test_the_wrong_vec_order_is_noticed():
    weights, target = random_network(3, (3, 3, 2, 3), 0.8)
    rule = CurvatureCorrection(1.0)
    right = naive(rule, weights, target, np.eye(3), "F", "SVD")
    after, before = partial_products(weights)
    mixed = np.hstack([np.kron(a, b.T) for a, b in zip(after, before, strict=True)])
    error = (chain(weights) - target).reshape(-1, order="F")
    swapped = -np.linalg.pinv(mixed) @ error
    assert np.abs(swapped - flat(right)).max() > 1e-2


def test_square_root_speed_is_the_error():
    weights, target = [0.5 * wave(1, 4, 3), 0.5 * wave(2, 5, 4)], wave(3, 5, 3)
    speed = np.linalg.norm(flat(kernel_velocity(RULES["sqrtNGD"], weights, target)))
    assert speed == pytest.approx(2.7434721362523367, rel=1e-12)
    weights, target = random_network(5, (3, 3, 3, 3))
    error = np.linalg.norm(chain(weights) - target)
    assert np.linalg.norm(
        flat(kernel_velocity(RULES["sqrtNGD"], weights, target))
    ) == pytest.approx(error, rel=1e-12)
    block = CurvatureCorrection(0.5, "layer", scale=0.7)
    for part, a, b in zip(
        kernel_velocity(block, weights, target), *partial_products(weights), strict=True
    ):
        assert np.linalg.norm(part) == pytest.approx(0.7 * error, rel=1e-12)
        # the polar form of the square-root rule
        expected = -0.7 * polar(a)[0].T @ (chain(weights) - target) @ polar(b)[0].T
        np.testing.assert_allclose(part, expected, atol=1e-12)


def test_wide_networks_move_their_map_straight():
    weights, target = random_network(8, (4, 7, 5))
    error = weights[1] @ weights[0] - target
    rule = CurvatureCorrection(1.0, "layer", scale=0.8)
    moved = map_velocity(weights, kernel_velocity(rule, weights, target))
    np.testing.assert_allclose(moved, -0.8 * 2 * error, atol=1e-11)
    full = map_velocity(weights, kernel_velocity(RULES["NGD"], weights, target))
    np.testing.assert_allclose(full, -error, atol=1e-11)


def test_bottlenecks_project_the_error():
    weights, target = random_network(9, (4, 2, 5))
    error = weights[1] @ weights[0] - target
    rows = np.linalg.pinv(weights[0]) @ weights[0]
    columns = weights[1] @ np.linalg.pinv(weights[1])
    full = map_velocity(weights, kernel_velocity(RULES["NGD"], weights, target))
    outside = (np.eye(5) - columns) @ error @ (np.eye(4) - rows)
    np.testing.assert_allclose(full, outside - error, atol=1e-11)
    rule = CurvatureCorrection(1.0, "layer", scale=0.8)
    layer = map_velocity(weights, kernel_velocity(rule, weights, target))
    np.testing.assert_allclose(layer, -0.8 * (columns @ error + error @ rows), atol=1e-11)


@pytest.mark.parametrize("name", FULL)
def test_euler_steps_drift_by_the_square_of_the_step(name):
    weights, step = three_layers(), 0.1
    applied = matrix_velocity(RULES[name], weights, TARGET)
    after = [w + step * v for w, v in zip(weights, applied, strict=True)]
    for i, (new, old) in enumerate(zip(imbalances(after), imbalances(weights), strict=True)):
        expected = step**2 * (applied[i + 1].T @ applied[i + 1] - applied[i] @ applied[i].T)
        np.testing.assert_allclose(new - old, expected, atol=1e-14)
        assert np.abs(expected).max() > 1e-5


def test_conservation_needs_the_svd_of_the_jacobian():
    # a ReLU net with one nearly silent unit; the law says in-weights' = out-weights' per unit
    inputs, outputs = wave(1, 3, 20), wave(2, 2, 20)
    first, second = wave(3, 5, 3), wave(4, 2, 5)
    first[4], second[:, 4] = 2e-5 * first[4], 3e-5 * second[:, 4]
    hidden = first @ inputs
    active = (hidden > 0) * 1.0
    jacobian = np.vstack([
        np.hstack([
            np.kron(inputs[:, n][None], second * active[:, n]),
            np.kron(np.maximum(hidden[:, n], 0)[None], np.eye(2)),
        ])
        for n in range(20)
    ])
    residual = (second @ np.maximum(hidden, 0) - outputs).reshape(-1, order="F")

    def violation(velocity):
        one = velocity[:15].reshape(5, 3, order="F")
        two = velocity[15:].reshape(2, 5, order="F")
        broken = np.abs((first * one).sum(1) - (second * two).sum(0)).max()
        return broken / np.linalg.norm(velocity)

    by_svd = violation(_corrected(jacobian, residual, RULES["NGD"]))
    hessian = jacobian.T @ jacobian
    by_pinv = violation(np.linalg.pinv(hessian, rcond=1e-13) @ jacobian.T @ residual)
    damped = violation(_corrected(jacobian, residual, RULES["damped"]))
    half = violation(_corrected(jacobian, residual, RULES["sqrtNGD"]))
    assert max(by_svd, damped, half) < 1e-9
    assert by_pinv > 100 * by_svd
    blocks = [_corrected(j, residual, RULES["damped"]) for j in np.split(jacobian, [15], axis=1)]
    assert violation(np.concatenate(blocks)) > 1e-3


@pytest.mark.parametrize("module", [kernels, _stepper_kernels])
def test_kernels_are_compiled_anew_when_any_kernel_file_changes(module):
    stored = [kernel._cache._cache_file for kernel in vars(module).values() if _has_file(kernel)]
    assert len(stored) > 5
    assert {file._source_stamp for file in stored} == {_path_kernels._DIGEST}


def _has_file(kernel):
    return hasattr(getattr(kernel, "_cache", None), "_cache_file")
