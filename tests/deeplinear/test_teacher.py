"""The regression problem of a data set against direct averages over its samples."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from deeplinear.flow import matrix_flow
from deeplinear.rules import CurvatureCorrection
from deeplinear.teacher import teacher


def data(samples=40, features=5, outputs=3, rank=None, seed=0):
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(samples, features)) @ generator.normal(
        size=(features, features)
    )
    if rank is not None:
        inputs = inputs[:, :rank] @ generator.normal(size=(rank, features))
    answers = inputs @ generator.normal(size=(features, outputs))
    return inputs, answers + 0.5 * generator.normal(size=(samples, outputs))


def average_loss(inputs, answers, product):
    return 0.5 * np.mean(np.sum((answers - inputs @ product.T) ** 2, axis=1))


@pytest.mark.parametrize("whiten", [True, False])
@pytest.mark.parametrize("rank", [None, 3])
def test_the_loss_is_the_average_over_samples(whiten, rank):
    inputs, answers = data(rank=rank)
    problem = teacher(inputs, answers, whiten)
    moved = problem.inputs(inputs)
    generator = np.random.default_rng(1)
    for _ in range(5):
        product = generator.normal(size=problem.target.shape)
        expected = average_loss(moved, answers, product)
        assert problem.loss(product) == pytest.approx(expected, rel=1e-12)
    assert problem.loss(problem.target) == problem.floor


@pytest.mark.parametrize("rank", [None, 3])
def test_whitened_inputs_have_unit_covariance_and_full_rank(rank):
    inputs, answers = data(rank=rank)
    problem = teacher(inputs, answers)
    moved = problem.inputs(inputs)
    kept = rank or 5
    assert problem.input_covariance is None
    assert problem.transform.shape == (kept, 5)
    np.testing.assert_allclose(moved.T @ moved / len(moved), np.eye(kept), atol=1e-12)
    np.testing.assert_allclose(problem.target, answers.T @ moved / len(moved), atol=1e-12)


@pytest.mark.parametrize("whiten", [True, False])
@pytest.mark.parametrize("rank", [None, 3])
def test_the_target_is_least_squares(whiten, rank):
    inputs, answers = data(rank=rank)
    problem = teacher(inputs, answers, whiten)
    expected, *_ = np.linalg.lstsq(inputs, answers, rcond=1e-10)
    np.testing.assert_allclose(problem.target @ problem.transform, expected.T, atol=1e-10)
    residual = answers - inputs @ expected
    floor = 0.5 * np.mean(np.sum(residual**2, axis=1))
    assert problem.floor == pytest.approx(floor, rel=1e-12)
    rebuilt = (problem.left * problem.singular_values) @ problem.right.T
    np.testing.assert_allclose(rebuilt, problem.target, atol=1e-12)
    assert (np.diff(problem.singular_values) <= 0).all()


def test_raw_inputs_keep_their_coordinates():
    inputs, answers = data(rank=3)
    problem = teacher(inputs, answers, whiten=False)
    np.testing.assert_array_equal(problem.transform, np.eye(5))
    np.testing.assert_allclose(problem.input_covariance, inputs.T @ inputs / 40, rtol=1e-14)
    null = np.linalg.svd(inputs)[2][3:]
    np.testing.assert_allclose(problem.target @ null.T, 0, atol=1e-12)


def test_directions_below_the_tolerance_are_dropped():
    inputs, answers = data()
    left, spread, right = np.linalg.svd(inputs, full_matrices=False)
    spread = spread[0] * np.array([1.0, 0.5, 0.2, 0.1, 1e-6])
    inputs = (left * spread) @ right
    assert teacher(inputs, answers).transform.shape == (5, 5)
    assert teacher(inputs, answers, tolerance=1e-5).transform.shape == (4, 5)


def test_natural_gradient_takes_the_same_map_in_either_coordinates():
    inputs, answers = data(features=3, outputs=2)
    raw, white = teacher(inputs, answers, whiten=False), teacher(inputs, answers)
    first, second = np.eye(4, 3), 0.5 * np.ones((2, 4)) + np.eye(2, 4)
    back = np.linalg.inv(white.transform)
    times = np.array([0.5, 2.0])
    rule = CurvatureCorrection(1.0)
    one = matrix_flow(
        rule, [first, second], raw.target, times, input_covariance=raw.input_covariance
    )
    two = matrix_flow(rule, [first @ back, second], white.target, times)
    np.testing.assert_allclose(
        one[1] @ one[0], two[1] @ two[0] @ white.transform, rtol=1e-8, atol=1e-9
    )


def test_digits_lose_their_constant_pixels():
    digits = load_digits()
    images, labels = digits.data, np.eye(10)[digits.target]
    problem = teacher(images, labels)
    # three of the 64 pixels are zero in every image
    assert problem.transform.shape == (61, 64)
    expected, *_ = np.linalg.lstsq(images, labels, rcond=None)
    residual = 0.5 * np.mean(np.sum((labels - images @ expected) ** 2, axis=1))
    assert problem.floor == pytest.approx(residual, rel=1e-10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((3, 2)), np.ones((4, 1))), "outputs has 4 samples: must have 3"),
        ((np.zeros((3, 2)), np.ones((3, 1))), "inputs are all zero"),
        ((np.full((3, 2), np.inf), np.ones((3, 1))), r"inputs\[0, 0\] = inf"),
    ],
)
def test_bad_data_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        teacher(*arguments)


def test_bad_tolerances_and_shapes_are_refused():
    inputs, answers = data()
    with pytest.raises(ValueError, match="tolerance = 1"):
        teacher(inputs, answers, tolerance=1.0)
    problem = teacher(inputs, answers)
    with pytest.raises(ValueError, match="features has shape"):
        problem.inputs(np.ones((2, 4)))
    with pytest.raises(ValueError, match="product has shape"):
        problem.loss(np.ones((5, 3)))
