"""The conventions of docs/conventions.md, asserted on the code that is to follow them."""

import numpy as np
import pytest
import torch

from deeplinear.rules import (
    CurvatureCorrection,
    matrix_velocity,
    mode_velocity,
    partial_products,
)


def _matrix(rows, columns, phase):
    """A full-rank matrix from a formula: no random numbers."""
    a, b = np.arange(1, rows + 1)[:, None], np.arange(1, columns + 1)
    return np.sin(1.3 * a + 2.1 * b + 0.7 * phase)


def test_vec_stacks_columns():
    A, M, B = _matrix(4, 3, 0), _matrix(3, 2, 1), _matrix(2, 5, 2)
    columns = np.kron(B.T, A) @ M.reshape(-1, order="F")
    np.testing.assert_allclose(columns, (A @ M @ B).reshape(-1, order="F"), atol=1e-15)
    rows = np.kron(A, B.T) @ M.reshape(-1)
    np.testing.assert_allclose(rows, (A @ M @ B).reshape(-1), atol=1e-15)
    # the other order of factors must not pass for non-square matrices of equal total size
    assert not np.allclose(np.kron(A, B.T) @ M.reshape(-1, order="F"), columns)


def test_jacobian_is_a_kronecker_product_in_column_major_order():
    weights = [_matrix(3, 2, 0), _matrix(4, 3, 1), _matrix(2, 4, 2)]
    after, before = partial_products(weights)
    step = _matrix(4, 3, 5)
    moved = after[1] @ (weights[1] + step) @ before[1] - after[1] @ weights[1] @ before[1]
    np.testing.assert_allclose(
        np.kron(before[1].T, after[1]) @ step.reshape(-1, order="F"),
        moved.reshape(-1, order="F"),
        atol=1e-14,
    )


def test_layers_are_listed_from_the_input_side():
    weights = [_matrix(3, 2, 0), _matrix(4, 3, 1)]
    after, before = partial_products(weights)
    np.testing.assert_array_equal(after[0], weights[1])
    np.testing.assert_array_equal(before[1], weights[0])


@pytest.mark.parametrize("blocks", ["full", "layer"])
@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_matrix_rule_solves_its_definition_from_autograd(power, blocks):
    # reference: gradient and Jacobian by torch autograd of L = 1/2 ||error||^2, flattened by rows
    weights = [_matrix(3, 2, 0), _matrix(2, 3, 1)]
    target, damping = _matrix(2, 2, 2), 0.3
    rule = CurvatureCorrection(power=power, blocks=blocks, damping=damping, scale=1.0)
    leaves = [torch.tensor(w, requires_grad=True) for w in weights]
    loss = 0.5 * ((leaves[1] @ leaves[0] - torch.tensor(target)) ** 2).sum()
    gradients = [g.numpy().ravel() for g in torch.autograd.grad(loss, leaves)]
    parts = torch.autograd.functional.jacobian(lambda a, b: b @ a, tuple(leaves))
    blocks_of_j = [part.detach().numpy().reshape(4, -1) for part in parts]
    if blocks == "full":
        groups = [(np.hstack(blocks_of_j), np.concatenate(gradients))]
    else:
        groups = list(zip(blocks_of_j, gradients, strict=True))
    expected = []
    for J, g in groups:
        values, vectors = np.linalg.eigh(J.T @ J + damping * np.eye(J.shape[1]))
        expected.append(-vectors @ (values**-power * (vectors.T @ g)))
    found = [v.ravel() for v in matrix_velocity(rule, weights, target)]
    # rounding: curvature eigenvalues lie between 0.3 and about 5
    np.testing.assert_allclose(np.concatenate(found), np.concatenate(expected), atol=1e-13)


def test_layer_rules_equal_full_rules_on_balanced_weights_by_default():
    for depth in (2, 3, 5):
        for power in (0.0, 0.3, 0.5, 1.0):
            weights = np.full(depth, 0.7)
            full = mode_velocity(CurvatureCorrection(power=power), weights, 2.0)
            layer = mode_velocity(CurvatureCorrection(power=power, blocks="layer"), weights, 2.0)
            np.testing.assert_allclose(layer, full, rtol=1e-14)
    kfac = CurvatureCorrection(power=1.0, blocks="layer", scale=1.0)
    assert kfac.prefactor(4) == 1.0
    assert CurvatureCorrection(power=1.0, blocks="layer").prefactor(4) == 0.25
    assert CurvatureCorrection(power=1.0).prefactor(4) == 1.0


@pytest.mark.parametrize("outputs", [1, 2, 5])
def test_mean_squared_error_of_torch_is_two_over_n_times_the_loss(outputs):
    W, x, y = _matrix(outputs, 3, 0), _matrix(7, 3, 1), _matrix(7, outputs, 2)
    prediction = torch.tensor(x @ W.T)
    mean = torch.nn.MSELoss()(prediction, torch.tensor(y)).item()
    ours = 0.5 * np.mean(((x @ W.T - y) ** 2).sum(axis=1))
    assert mean == pytest.approx(2 / outputs * ours, rel=1e-14)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_a_rescaled_loss_runs_faster_by_its_factor_to_the_power_one_minus_q(power):
    # c L with c = 2/n: gradient c g, curvature c H; the velocity is that of inputs of variance c
    weights, target, c = [_matrix(2, 2, 0), _matrix(2, 2, 1)], _matrix(2, 2, 2), 2 / 5
    rule = CurvatureCorrection(power=power)
    plain = matrix_velocity(rule, weights, target)
    scaled = matrix_velocity(rule, weights, target, input_root=np.sqrt(c) * np.eye(2))
    for v, v_c in zip(plain, scaled, strict=True):
        np.testing.assert_allclose(v_c, c ** (1 - power) * v, rtol=1e-12)


def test_inverse_powers_survive_condition_numbers_that_the_gram_matrix_does_not():
    # singular values of J span 1e-9: pinv of J'J sees 1e-18 and drops or corrupts the small one
    weights = [np.diag([1.0, 1e-9]), np.diag([1.0, 1e-9])]
    target = np.diag([2.0, 3.0])
    velocity = matrix_velocity(CurvatureCorrection(power=1.0), weights, target)
    moved = velocity[1] @ weights[0] + weights[1] @ velocity[0]
    # natural gradient moves the map by minus the error, whatever the conditioning
    np.testing.assert_allclose(np.diag(moved), [1.0, 3.0], rtol=1e-6)
    # the way not to do it, to show that this case can tell
    J = np.hstack([np.kron(np.eye(2), weights[1]), np.kron(weights[0].T, np.eye(2))])
    error = (weights[1] @ weights[0] - target).reshape(-1, order="F")
    squared = -J @ np.linalg.pinv(J.T @ J) @ J.T @ error
    assert abs(squared[3] - 3.0) > 1.0


def test_zero_curvature_gives_no_update():
    still = mode_velocity(CurvatureCorrection(power=1.0), np.zeros(3), 2.0)
    np.testing.assert_array_equal(still, 0.0)


def test_theory_is_float64():
    velocity = mode_velocity(CurvatureCorrection(), np.array([0.5, 0.5]), 1.0)
    assert velocity.dtype == np.float64
