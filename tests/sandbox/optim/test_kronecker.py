"""Damped Kronecker products against dense solves, written in both orders of the entries."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sandbox.optim._kronecker import (
    eigenbasis,
    factored_damping,
    joint_weights,
    published_direction,
    standard_direction,
)

INPUTS = torch.tensor(
    [[0.5, -1.0, 2.0], [1.5, 0.3, -0.7], [-0.8, 1.2, 0.4], [0.1, -0.6, -1.1]], dtype=torch.float64
)


def second_moment(generator, size, rank):
    rows = torch.randn(rank, size, dtype=torch.float64, generator=generator)
    return rows.T @ rows / rank


@st.composite
def problems(draw):
    """A gradient with two factors of any rank, a damping and a power."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    n, m = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    ranks = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    inputs = second_moment(generator, m, ranks[0]) * 10 ** draw(st.floats(-2, 2))
    outputs = second_moment(generator, n, ranks[1]) * 10 ** draw(st.floats(-2, 2))
    gradient = torch.randn(n, m, dtype=torch.float64, generator=generator)
    return gradient, inputs, outputs, 10 ** draw(st.floats(-3, 2)), draw(st.sampled_from([0.5, 1]))


def applied(direction, gradient, inputs, outputs, damping, power=1.0):
    left, right = eigenbasis(outputs), eigenbasis(inputs)
    weights = joint_weights(right.values, left.values, damping, power)
    return direction(gradient, right.vectors, left.vectors, weights)


def dense(matrix, power):
    if power == 1:
        return torch.linalg.inv(matrix)
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values**-power @ vectors.T


def worst(found, wanted):
    return float((found - wanted).abs().max() / wanted.abs().max())


@given(problems())
def test_standard_damping_is_the_dense_solve_in_both_orders(problem):
    gradient, inputs, outputs, damping, power = problem
    eye = torch.eye(gradient.numel(), dtype=torch.float64)
    by_rows = dense(torch.kron(outputs, inputs) + damping * eye, power) @ gradient.reshape(-1)
    by_columns = dense(torch.kron(inputs, outputs) + damping * eye, power) @ gradient.T.reshape(-1)
    found = applied(standard_direction, *problem)
    size = float(torch.linalg.matrix_norm(torch.kron(outputs, inputs), 2))
    # a solve's error is the condition number times the rounding, here with a factor 100
    bound = 100 * torch.finfo(torch.float64).eps * (1 + size / damping)
    assert worst(found, by_rows.view_as(gradient)) < bound
    assert worst(found.T, by_columns.view_as(gradient.T)) < bound


@given(problems())
def test_factored_damping_splits_a_product_in_proportion(problem):
    _, inputs, outputs, damping, _ = problem
    for_inputs, for_outputs = factored_damping(inputs, outputs, damping)
    assert for_inputs * for_outputs == pytest.approx(damping, rel=1e-14)
    means = inputs.diagonal().mean() / outputs.diagonal().mean()
    assert for_inputs / for_outputs == pytest.approx(float(means), rel=1e-13)


@pytest.mark.parametrize("zero", [(0, 1), (1, 0), (0, 0)])
def test_a_zero_factor_leaves_no_proportion(zero):
    inputs, outputs = zero[0] * torch.eye(2), zero[1] * torch.eye(3)
    assert factored_damping(inputs, outputs, 0.09) == (0.3, 0.3)


def test_proportions_beyond_the_range_of_numbers():
    inputs = torch.tensor([[1e-300]], dtype=torch.float64)
    outputs = torch.tensor([[1e300]], dtype=torch.float64)
    found = factored_damping(inputs, outputs, 4.0)
    assert found == pytest.approx((2e-300, 2e300), rel=1e-12)


@given(problems())
def test_eigenbases_are_orthonormal_ordered_and_signed(problem):
    _, inputs, *_ = problem
    found = eigenbasis(inputs)
    size = len(inputs)
    eye = torch.eye(size, dtype=torch.float64)
    assert worst(found.vectors.T @ found.vectors, eye) < 1e-13
    assert worst(found.vectors * found.values @ found.vectors.T, inputs) < 1e-13
    assert bool((found.values >= 0).all())
    assert bool((found.values.diff() >= 0).all())
    rows = found.vectors.abs().argmax(dim=0)
    assert bool((found.vectors[rows, torch.arange(size)] > 0).all())


def test_eigenbases_do_not_depend_on_the_library_s_signs(monkeypatch):
    matrix = INPUTS.T @ INPUTS
    wanted = eigenbasis(matrix)
    values, vectors = torch.linalg.eigh(matrix)
    for signs in itertools.product((-1.0, 1.0), repeat=3):
        flipped = vectors * torch.tensor(signs, dtype=torch.float64)
        monkeypatch.setattr(torch.linalg, "eigh", lambda _, flipped=flipped: (values, flipped))
        assert torch.equal(eigenbasis(matrix).vectors, wanted.vectors)


def test_eigenbases_of_single_precision_are_found_in_double():
    # rank 1 of 200: single precision eigh is known to fail or to give -1e-5 here
    row = torch.linspace(-1, 1, 200)
    found = eigenbasis(torch.outer(row, row))
    assert found.values.dtype == torch.float64
    assert float(found.values[-1]) == pytest.approx(float(row.double() @ row.double()), rel=1e-6)


@given(problems())
def test_the_published_spelling_is_standard_damping_of_another_matrix(problem):
    gradient, inputs, outputs, damping, power = problem
    basis = eigenbasis(outputs)
    other = basis.vectors.T * basis.values @ basis.vectors
    eye = torch.eye(gradient.numel(), dtype=torch.float64)
    wanted = dense(torch.kron(other, inputs) + damping * eye, power) @ gradient.reshape(-1)
    found = applied(published_direction, *problem)
    size = float(torch.linalg.matrix_norm(torch.kron(outputs, inputs), 2))
    bound = 100 * torch.finfo(torch.float64).eps * (1 + size / damping)
    assert worst(found, wanted.view_as(gradient)) < bound
    # so minus it is a descent direction, however little it has to do with the curvature
    assert float((found * gradient).sum()) > 0


def test_the_published_spelling_averaged_over_signs_is_a_scaling():
    generator = torch.Generator().manual_seed(7)
    inputs, outputs = second_moment(generator, 3, 5), second_moment(generator, 4, 5)
    gradient = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    left, right = eigenbasis(outputs), eigenbasis(inputs)
    weights = joint_weights(right.values, left.values, 0.1)
    mean = (
        sum(
            published_direction(
                gradient,
                right.vectors,
                left.vectors * torch.tensor(s, dtype=torch.float64),
                weights,
            )
            for s in itertools.product((-1.0, 1.0), repeat=4)
        )
        / 2**4
    )
    scaling = left.vectors.square().T @ weights
    assert worst(mean, gradient @ right.vectors * scaling @ right.vectors.T) < 1e-13


def test_the_published_spelling_depends_on_the_order_of_neurons_and_the_right_one_does_not():
    generator = torch.Generator().manual_seed(8)
    inputs, outputs = second_moment(generator, 3, 5), second_moment(generator, 4, 5)
    gradient = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    order = [2, 0, 3, 1]
    for direction, moved in ((standard_direction, False), (published_direction, True)):
        before = applied(direction, gradient, inputs, outputs, 0.1)[order]
        after = applied(direction, gradient[order], inputs, outputs[order][:, order], 0.1)
        assert (worst(after, before) > 0.05) == moved
        assert moved or worst(after, before) < 1e-12


def test_weights_are_inverse_powers_of_the_damped_products():
    inputs = torch.tensor([0.0, 3.0], dtype=torch.float64)
    outputs = torch.tensor([1.0, 5.0], dtype=torch.float64)
    wanted = [[1.0, 1 / math.sqrt(4)], [1.0, 1 / math.sqrt(16)]]
    assert joint_weights(inputs, outputs, 1.0, power=0.5).tolist() == wanted
