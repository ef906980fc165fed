"""Samples and data sets: arrays that nobody can change, divisions that can be repeated."""

import numpy as np
import pytest

from sandbox.training.samples import Dataset, Samples, one_hot, split
from theory.streams import Streams


def numbered(count, targets=None):
    """Samples that can be told apart."""
    return Samples(
        np.arange(2.0 * count).reshape(count, 2),
        np.arange(count) % 3 if targets is None else targets,
    )


def test_samples_are_copied_unless_nobody_can_write_to_them():
    inputs, targets = np.zeros((3, 2)), np.array([0, 1, 1])
    samples = Samples(inputs, targets)
    inputs[0, 0], targets[0] = 7.0, 7
    assert samples.inputs[0, 0] == samples.targets[0] == 0
    for array in (samples.inputs, samples.targets):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    again = Samples(samples.inputs, samples.targets)
    assert again.inputs is samples.inputs
    assert again.targets is samples.targets


def test_a_read_only_view_of_a_writable_array_is_copied():
    inputs = np.zeros((3, 2))
    view = inputs[1:]
    view.flags.writeable = False
    samples = Samples(view, np.zeros(2, np.int64))
    inputs[1, 0] = 7.0
    assert samples.inputs[0, 0] == 0.0


def test_some_of_the_samples():
    samples = numbered(6)
    assert len(samples) == 6
    chosen = samples[np.array([4, 1, 4])]
    assert chosen.inputs[:, 0].tolist() == [8.0, 2.0, 8.0]
    assert chosen.targets.tolist() == [1, 1, 1]
    part = samples[2:5]
    assert part.inputs[:, 0].tolist() == [4.0, 6.0, 8.0]
    assert part.targets.tolist() == [2, 0, 1]
    assert np.shares_memory(part.inputs, samples.inputs)
    with pytest.raises(ValueError, match="read-only"):
        part.inputs[0, 0] = 1.0


def test_targets_can_be_values():
    values = np.array([[0.5], [-1.0]], np.float32)
    assert Samples(np.zeros((2, 3)), values).targets.dtype == np.float32


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (np.zeros(2), np.zeros(2, int), r"inputs of shape \(2,\) and type float64: must be real"),
        (np.zeros((2, 3), int), np.zeros(2, int), r"inputs of shape \(2, 3\) and type int64"),
        (np.zeros((2, 3)), np.zeros(3, int), r"targets of shape \(3,\) .* 2 class numbers"),
        (np.zeros((2, 3)), np.zeros((2, 1), int), r"targets of shape \(2, 1\) and type int64"),
        (np.zeros((2, 3)), np.zeros(2), r"targets of shape \(2,\) and type float64"),
        (np.zeros((2, 3)), np.array(["a", "b"]), r"targets of shape \(2,\) and type <U1"),
        (np.zeros((2, 3)), np.array([0, -2]), r"targets\[1\] = -2: a class number must be >= 0"),
        (np.full((2, 3), np.nan), np.zeros(2, int), r"inputs\[0, 0\] = nan: must be finite"),
        (np.zeros((2, 3)), np.array([[0.0], [np.inf]]), r"targets\[1, 0\] = inf: must be finite"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(inputs, targets, message):
    with pytest.raises(ValueError, match=message):
        Samples(inputs, targets)


def test_everything_is_the_training_set_and_then_the_test_set():
    samples = numbered(5)
    dataset = Dataset("toy", samples[:3], samples[3:], ("a", "b", "c"), (2,))
    np.testing.assert_array_equal(dataset.everything.inputs, samples.inputs)
    np.testing.assert_array_equal(dataset.everything.targets, samples.targets)
    assert (dataset.normalisation, dataset.source, dataset.checksum) == ("none", "unknown", "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (2, 2)}, r"shape = \(2, 2\): must hold 2 features, as many as the train inputs"),
        ({"classes": ("a", "b")}, r"train.targets\[2\] = 2: must be a class number in \[0, 2\)"),
        (
            {"test": numbered(2, np.array([0, 9]))},
            r"test.targets\[1\] = 9: must be a class number in \[0, 3\)",
        ),
        (
            {"test": Samples(np.zeros((1, 4)), np.zeros(1, np.int64))},
            r"must hold 4 features, as many as the test inputs",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, message):
    samples = numbered(5)
    parts = {
        "name": "toy",
        "train": samples[:3],
        "test": samples[3:],
        "classes": ("a", "b", "c"),
        "shape": (1, 2),
    }
    assert len(Dataset(**parts).train) == 3
    with pytest.raises(ValueError, match=message):
        Dataset(**(parts | change))


def test_values_need_no_classes():
    samples = numbered(4, np.zeros((4, 2)))
    dataset = Dataset("toy", samples[:2], samples[2:], (), (2,))
    assert dataset.classes == ()


def test_one_hot():
    labels = np.array([1, 0, 3])
    rows = one_hot(labels, 4)
    assert rows.dtype == np.float64
    np.testing.assert_array_equal(rows @ np.arange(4), labels)
    np.testing.assert_array_equal(rows.sum(axis=1), 1)
    rows[0, 0] = 5.0  # an array of the caller's own


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (np.array([1, 0, 3]), 3, r"labels\[2\] = 3: must be a class number in \[0, 3\)"),
        (np.array([-1]), 3, r"labels\[0\] = -1"),
        (np.array([0.5]), 3, "vector of whole numbers"),
        (np.array([[0]]), 3, "vector of whole numbers"),
        (np.array([0]), 0, r"classes = 0: must be a whole number >= 1"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, classes, message):
    with pytest.raises(ValueError, match=message):
        one_hot(labels, classes)


@pytest.mark.parametrize("held_out", [0.2, 0.25, 0.5, 0.9])
def test_the_two_parts_are_disjoint_complete_and_in_order(held_out):
    samples = numbered(41)
    kept, rest = split(samples, Streams(3), held_out=held_out, name="mine", index=2)
    assert len(rest) == round(held_out * 41)
    numbers = [part.inputs[:, 0].astype(int) // 2 for part in (kept, rest)]
    assert sorted(np.concatenate(numbers)) == list(range(41))
    for part, of_part in zip(numbers, (kept, rest), strict=True):
        assert (np.diff(part) > 0).all()
        np.testing.assert_array_equal(of_part.targets, part % 3)
    # the definition: the first of the stream's permutation are held out
    order = Streams(3).generator("mine", 2).permutation(41)
    assert set(numbers[1]) == set(order[: len(rest)])


def test_a_division_is_named():
    samples = numbered(60)

    def held_out(root=0, **options):
        return split(samples, Streams(root), **options)[1].inputs[:, 0].tolist()

    streams = Streams(0)
    streams.generator("something else").normal(size=9)
    assert split(samples, streams)[1].inputs[:, 0].tolist() == held_out()
    assert held_out() == held_out(held_out=0.2, name="split", index=0)
    others = [held_out(index=1), held_out(1), held_out(name="other")]
    assert held_out() not in others
    assert len({tuple(other) for other in others}) == 3


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1e-5, 1 - 1e-5, float("nan")])
def test_a_division_leaves_neither_part_empty(fraction):
    with pytest.raises(ValueError, match="held_out = "):
        split(numbered(100), Streams(0), held_out=fraction)
