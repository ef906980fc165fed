"""Information of label and output against the joint law, closed forms and 40-digit values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from theory.information import information_per_energy, release_information
from theory.task_information import label_entropy, symmetric_information, task_information

MNIST_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
"""Images of each digit in the test set of MNIST."""


def test_the_labels_of_mnist_are_the_upper_bound():
    labels = np.repeat(np.arange(10), MNIST_TEST)
    # 40-digit arithmetic
    assert label_entropy(labels) == pytest.approx(3.3194225261208259585, rel=1e-14)
    assert task_information(np.eye(10)[labels], labels) == pytest.approx(
        3.3194225261208259585, rel=1e-13
    )


@pytest.mark.parametrize(
    ("accuracy", "classes", "bits"),
    [
        (0.98, 10, 3.1170890523166954555),
        (0.9, 10, 2.5359400011538498903),
        (0.1, 10, 0.0),
        (0.83, 2, 0.34229522125578055144),
        (1.0, 4, 2.0),
    ],
)
def test_symmetric_answers_in_40_digits_and_from_their_probabilities(accuracy, classes, bits):
    assert symmetric_information(accuracy, classes) == pytest.approx(bits, abs=1e-14)
    labels = np.repeat(np.arange(classes), 7)
    wrong = (1 - accuracy) / (classes - 1)
    chances = np.where(np.eye(classes)[labels] > 0, accuracy, wrong)
    assert task_information(chances, labels) == pytest.approx(bits, abs=1e-13)


@given(seed=st.integers(0, 10_000), samples=st.integers(1, 40), outputs=st.integers(1, 6))
def test_any_probabilities_by_the_joint_law(seed, samples, outputs):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 4, samples)
    chances = generator.dirichlet(np.full(outputs, 0.3), samples)
    joint = np.zeros((4, outputs))
    np.add.at(joint, labels, chances / samples)
    # I = H(Y) + H(Z) - H(Y, Z)
    whole = entropy(joint.sum(axis=1), base=2) + entropy(joint.sum(axis=0), base=2)
    wanted = whole - entropy(joint.ravel(), base=2)
    assert task_information(chances, labels) == pytest.approx(wanted, abs=1e-12)


def test_it_is_soft():
    # always right, never sure: the argmax would tell the whole bit
    labels = np.array([0, 1])
    chances = np.array([[0.6, 0.4], [0.4, 0.6]])
    wanted = 1 + 0.6 * math.log2(0.6) + 0.4 * math.log2(0.4)
    assert task_information(chances, labels) == pytest.approx(wanted, abs=1e-15)


def test_float32_probabilities_and_labels_with_gaps():
    chances = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], dtype=np.float32)
    found = task_information(chances, np.array([3, 8]))
    assert found == pytest.approx(task_information(chances, np.array([0, 1])), abs=0)
    assert 0 < found < 1


def test_information_per_energy_at_four_hertz():
    # bits a release in 40 digits, at p = 1/4 and 1; they fall with failures
    assert information_per_energy(0.01, 0.25, 1, 0.0) == pytest.approx(
        6.8396338593373795, rel=1e-12
    )
    assert information_per_energy(0.01, 1.0, 1, 0.0) == pytest.approx(8.0793135895911173, rel=1e-12)
    # four sites, p = 0.3: 0.0564659820684582 bits a bin for a spike in 100 of (0.5 + 1.2)
    wanted = 0.056465982068458207113 / (0.01 * 1.7)
    assert information_per_energy(0.01, 0.3, 4, 0.5) == pytest.approx(wanted, rel=1e-12)
    bits = release_information(0.2, 0.4, 3)
    assert information_per_energy(0.2, 0.4, 3, 2.0) == pytest.approx(bits / (0.2 * 3.2))


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: task_information(np.ones((2, 2)), np.array([0, 1])), r"probabilities\[0\] sums"),
        (lambda: task_information(np.array([[1.5, -0.5]]), np.array([0])), "smallest -0.5"),
        (lambda: task_information(np.full((1, 2), np.nan), np.array([0])), "sums to nan"),
        (lambda: task_information(np.ones((3, 1)), np.array([0, 1])), r"has shape \(3, 1\)"),
        (lambda: label_entropy(np.zeros(0, dtype=int)), "non-empty"),
        (lambda: label_entropy(np.array([0, -1])), ">= 0"),
        (lambda: symmetric_information(1.2, 10), "accuracy = 1.2"),
        (lambda: symmetric_information(0.5, 1), "classes = 1"),
        (lambda: information_per_energy(0.1, 0.0, 1, 1.0), "release = 0.0"),
        (lambda: information_per_energy(0.1, 0.5, 1, -1.0), "spike_cost = -1.0"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
