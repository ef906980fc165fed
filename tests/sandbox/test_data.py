"""Data sets: the digits are the published ones, splits are named, damage is noticed."""

import dataclasses
import string

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sandbox.training import data
from sandbox.training.data import Dataset, load, one_hot, split
from theory.streams import Streams


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def test_digits_are_those_of_scikit_learn(digits):
    raw = load_digits()
    np.testing.assert_array_equal(digits.inputs * 16, raw.data)  # dividing by 16 is exact
    np.testing.assert_array_equal(digits.labels, raw.target)
    assert digits.inputs.dtype == np.float64
    assert digits.labels.dtype == np.int64
    assert (digits.inputs.min(), digits.inputs.max()) == (0.0, 1.0)
    np.testing.assert_array_equal(digits.inputs[5].reshape(digits.shape) * 16, raw.images[5])
    # samples of each class as published with the data (UCI: test set of 1797)
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(digits.labels).tolist() == counts
    assert len(digits) == sum(counts) == 1797
    assert digits.classes == tuple(string.digits)
    assert "divided by 16" in digits.normalisation


def test_data_cannot_be_changed(digits):
    with pytest.raises(ValueError, match="read-only"):
        digits.inputs[0, 0] = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        digits.name = "other"


@pytest.mark.parametrize("damage", ["value", "label", "order"])
def test_damaged_data_are_noticed(monkeypatch, digits, damage):
    inputs, labels = digits.inputs.copy(), digits.labels.copy()
    if damage == "value":
        inputs[17, 20] += 2**-52
    elif damage == "label":
        labels[3] = 4
    else:
        inputs[[0, 1]] = inputs[[1, 0]]
    broken = dataclasses.replace(digits, inputs=inputs, labels=labels)
    recorded = data._KNOWN["digits"][1]
    monkeypatch.setitem(data._KNOWN, "digits", (lambda: broken, recorded))
    with pytest.raises(RuntimeError, match=r"'digits' has SHA-256 [0-9a-f]{64}, on record is"):
        load("digits")


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"name = 'digit': must be one of 'digits'; .*'digits'"):
        load("digit")
    with pytest.raises(ValueError, match=r"name = 3"):
        load(3)


def test_splits_are_disjoint_complete_and_named(digits):
    train, test = split(digits, Streams(0), test_fraction=0.25)
    assert (len(train), len(test)) == (1348, 449)  # round(0.25 x 1797) = 449
    together = np.concatenate([train.inputs, test.inputs])
    order = np.lexsort(together.T)
    np.testing.assert_array_equal(together[order], digits.inputs[np.lexsort(digits.inputs.T)])
    marked = np.concatenate([train.labels, test.labels])[order]
    np.testing.assert_array_equal(marked, digits.labels[np.lexsort(digits.inputs.T)])

    streams = Streams(0)
    streams.generator("something else").normal(size=9)
    again = split(digits, streams, test_fraction=0.25)[1]
    assert again.checksum == test.checksum
    assert split(digits, Streams(0), test_fraction=0.25, index=1)[1].checksum != test.checksum
    assert split(digits, Streams(1), test_fraction=0.25)[1].checksum != test.checksum


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1e-5, 1 - 1e-5])
def test_a_split_leaves_neither_set_empty(digits, fraction):
    with pytest.raises(ValueError, match="test_fraction"):
        split(digits, Streams(0), test_fraction=fraction)


def test_one_hot():
    labels = np.array([1, 0, 3])
    rows = one_hot(labels, 4)
    assert rows.dtype == np.float64
    np.testing.assert_array_equal(rows @ np.arange(4), labels)
    np.testing.assert_array_equal(rows.sum(axis=1), 1)
    with pytest.raises(ValueError, match=r"labels\[2\] = 3: must be a class number in \[0, 3\)"):
        one_hot(labels, 3)
    with pytest.raises(ValueError, match=r"labels\[0\] = -1"):
        one_hot(np.array([-1]), 3)
    with pytest.raises(ValueError, match="vector of whole numbers"):
        one_hot(np.array([0.5]), 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": np.zeros((2, 4), np.float32)}, r"inputs of shape \(2, 4\) and type float32"),
        ({"labels": np.zeros(3, np.int64)}, r"labels of shape \(3,\) .* must be 2 int64"),
        ({"shape": (2, 3)}, r"shape = \(2, 3\): must hold 4 features"),
        ({"classes": ("a",)}, r"labels\[1\] = 1: must be a class number in \[0, 1\)"),
        ({"inputs": np.full((2, 4), np.nan)}, r"inputs\[0, 0\] = nan"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, message):
    parts = {
        "name": "toy",
        "inputs": np.zeros((2, 4)),
        "labels": np.array([0, 1]),
        "classes": ("a", "b"),
        "shape": (2, 2),
        "normalisation": "none",
        "source": "made up",
    }
    assert len(Dataset(**parts)) == 2
    with pytest.raises(ValueError, match=message):
        Dataset(**(parts | change))
