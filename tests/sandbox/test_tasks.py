"""Streams of tasks: split, permuted, continuously permuted; who shares which outputs."""

from fractions import Fraction

import numpy as np
import pytest

from sandbox.training.data import Dataset, Samples, load
from sandbox.training.tasks import Task, TaskStream, permuted_tasks, single_task, split_tasks
from theory.streams import Streams

STREAMS = Streams(5)


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def toy(classes=5, count=40, features=6):
    """Features tell sample and position; every class occurs in both parts."""
    inputs = np.arange(float(count))[:, None] * 10 + np.arange(features)
    samples = Samples(inputs, np.arange(count) * 7 % classes)
    names = tuple("abcdefgh"[:classes])
    return Dataset("toy", samples[: count // 2], samples[count // 2 :], names, (features,))


def test_a_single_task_is_the_data_set_itself(digits):
    stream = single_task(digits)
    (task,) = stream.tasks
    assert (stream.name, task.name, stream.outputs, stream.features) == ("digits", "digits", 10, 64)
    for part in ("train", "test"):
        samples = task.samples(part)
        assert samples.inputs is getattr(digits, part).inputs
        assert samples.targets is getattr(digits, part).targets
        assert task.size(part) == len(samples)
    values = Dataset("v", *[Samples(np.zeros((2, 3)), np.zeros((2, 4)))] * 2, (), (3,))
    assert single_task(values).outputs == 4


@pytest.mark.parametrize(
    ("scenario", "targets", "outputs", "width"),
    [
        ("domain", [(0, 1), (0, 1)], [(), ()], 2),
        ("task", [(0, 1), (0, 1)], [(0, 1), (2, 3)], 4),
        ("class", [(0, 1), (2, 3)], [(), ()], 4),
    ],
)
def test_split_tasks_in_three_scenarios(scenario, targets, outputs, width):
    data = toy()
    stream = split_tasks(data, scenario=scenario)
    assert stream.name == f"split toy ({scenario}-incremental)"
    assert [task.name for task in stream.tasks] == ["a, b", "c, d"]  # class e is left over
    assert stream.outputs == width
    assert [task.outputs for task in stream.tasks] == outputs
    for k, task in enumerate(stream.tasks):
        for part in ("train", "test"):
            whole, samples = getattr(data, part), task.samples(part)
            # sample by sample: class 2k is called the first target, class 2k + 1 the second
            expected = [
                (x.tolist(), targets[k][y - 2 * k])
                for x, y in zip(whole.inputs, whole.targets, strict=True)
                if y in {2 * k, 2 * k + 1}
            ]
            found = zip(samples.inputs.tolist(), samples.targets.tolist(), strict=True)
            assert list(found) == expected
            assert task.size(part) == len(expected) > 0


def test_split_tasks_of_three_classes():
    stream = split_tasks(toy(classes=6), per_task=3, scenario="class")
    assert [sorted(set(task.samples("train").targets)) for task in stream.tasks] == [
        [0, 1, 2],
        [3, 4, 5],
    ]
    heads = split_tasks(toy(classes=6), per_task=3, scenario="task")
    assert [task.outputs for task in heads.tasks] == [(0, 1, 2), (3, 4, 5)]


def test_split_digits_hold_every_sample_once(digits):
    tasks = split_tasks(digits).tasks
    assert sum(task.size() for task in tasks) == len(digits.train)
    assert sum(len(task.samples("test")) for task in tasks) == len(digits.test)
    # parity: pairs of digits (0, 1), (2, 3), ... share a head of two outputs
    for k, task in enumerate(tasks):
        kept = np.isin(digits.train.targets, (2 * k, 2 * k + 1))
        np.testing.assert_array_equal(task.samples().targets, digits.train.targets[kept] % 2)


def test_the_inverse_permutation_gives_the_data_back(digits):
    stream = permuted_tasks(digits, 3, streams=STREAMS)
    for task in stream.tasks:
        for part in ("train", "test"):
            whole, samples = getattr(digits, part), task.samples(part)
            back = samples.inputs[:, np.argsort(task.features)]
            np.testing.assert_array_equal(back, whole.inputs)
            # feature f of the task is feature features[f] of the data set
            np.testing.assert_array_equal(samples.inputs[:, 3], whole.inputs[:, task.features[3]])
            assert samples.targets is whole.targets
            assert task.size(part) == len(whole)
    first, second, third = (task.features.tolist() for task in stream.tasks)
    assert first != second != third != first
    assert [task.name for task in stream.tasks] == [f"permutation {k}" for k in (1, 2, 3)]
    assert (stream.name, stream.outputs) == ("permuted digits", 10)


def test_a_permutation_depends_on_root_and_number_alone(digits):
    def permutations(count, root=5, **options):
        stream = permuted_tasks(digits, count, streams=Streams(root), **options)
        return [task.features.tolist() for task in stream.tasks]

    assert permutations(2) == permutations(5)[:2]
    assert permutations(1)[0] != permutations(1, root=6)[0]
    own = permutations(3, identity_first=True)
    assert own[0] == list(range(64))
    assert own[1:] == permutations(3)[1:]
    assert permutations(3, scenario="class", blend=0.1) == permutations(3)
    expected = Streams(5).generator("permutation", 1).permutation(64).tolist()
    assert permutations(2)[1] == expected


@pytest.mark.parametrize(
    ("scenario", "offset", "outputs", "width"),
    [("domain", 0, (), 5), ("task", 0, (5, 6, 7, 8, 9), 15), ("class", 5, (), 15)],
)
def test_permuted_tasks_in_three_scenarios(scenario, offset, outputs, width):
    data = toy()
    stream = permuted_tasks(data, 3, streams=STREAMS, scenario=scenario)
    samples = stream.tasks[1].samples("test")
    np.testing.assert_array_equal(samples.targets, data.test.targets + offset)
    assert (stream.tasks[1].outputs, stream.outputs) == (outputs, width)
    assert stream.tasks[2].samples().targets.max() < width


def naive_shares(blend, steps, tasks):
    """Walk along the whole stream: how near is the next border, and on which side?"""
    width, found = Fraction(blend) * steps, {}
    for task in range(tasks):
        for step in range(steps):
            now = task * steps + step
            before = after = Fraction(0)
            for border in range(1, tasks):
                distance = Fraction(now - border * steps)
                share = (1 - abs(distance) / width) / 2
                if share > 0 and border == task:
                    before = share
                if share > 0 and border == task + 1:
                    after = share
            found[task, step] = (before, after)
    return found


@pytest.mark.parametrize("blend", [0.125, 0.25, 0.5, 0.3])
@pytest.mark.parametrize("steps", [1, 7, 80])
def test_shares_fall_linearly_from_one_half_at_the_border(blend, steps):
    stream = permuted_tasks(toy(), 4, streams=STREAMS, blend=blend)
    assert stream.name == "continuously permuted toy"
    found = {key: stream.shares(*key, steps) for key in naive_shares(blend, steps, 4)}
    for key, expected in naive_shares(blend, steps, 4).items():
        assert found[key] == pytest.approx([float(share) for share in expected], abs=1e-15)
    assert all(before == 0 for (task, _), (before, _) in found.items() if task == 0)
    assert found[1, 0][0] == 0.5
    # both sides of a border are mirror images
    for step in range(1, steps):
        assert found[1, step][0] == pytest.approx(found[1, steps - step][1], abs=1e-15)
    assert all(after == 0 for (task, _), (_, after) in found.items() if task == 3)


def test_without_a_blend_tasks_are_pure():
    stream = permuted_tasks(toy(), 2, streams=STREAMS)
    assert {stream.shares(task, step, 4) for task in range(2) for step in range(4)} == {(0.0, 0.0)}


def test_targets_without_classes_rename_all_of_them():
    data = toy(classes=3)
    task = Task("renamed", data, targets=(7, 5, 6))
    np.testing.assert_array_equal(task.samples().targets, np.array([7, 5, 6])[data.train.targets])
    some = Task("some", data, classes=(2, 0))
    kept = data.train.targets[data.train.targets != 1]
    np.testing.assert_array_equal(some.samples().targets, kept)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": (0, 5)}, r"classes = \(0, 5\): must be class numbers in \[0, 5\)"),
        ({"classes": (0, 1), "targets": (0,)}, r"targets = \(0,\): must be 2, one a class"),
        ({"targets": (0, 1)}, r"targets = \(0, 1\): must be 5"),
        ({"features": np.arange(5)}, r"must be a permutation of 0 \.\.\. 5"),
        ({"features": np.array([0, 1, 2, 3, 4, 4])}, r"features = .* must be a permutation"),
    ],
)
def test_tasks_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Task("mine", toy(), **options)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TaskStream("s", (), 2), r"tasks = \(\): must hold at least one task"),
        (lambda: TaskStream("s", (Task("a", toy()),), 0), r"outputs = 0"),
        (lambda: TaskStream("s", (Task("a", toy()),), 2, 0.6), r"blend = 0.6: .*\[0, 0.5\]"),
        (
            lambda: TaskStream("s", (Task("a", toy()), Task("b", toy(features=4))), 2),
            r"tasks have \[4, 6\] features: must be the same number",
        ),
        (
            lambda: permuted_tasks(toy(), 2, streams=STREAMS, blend=0.1, scenario="task"),
            r"blend = 0.1: tasks that mix must share their outputs",
        ),
        (lambda: permuted_tasks(toy(), 0, streams=STREAMS), r"count = 0: .* >= 1"),
        (
            lambda: permuted_tasks(
                Dataset("v", *[Samples(np.zeros((2, 3)), np.zeros((2, 4)))] * 2, (), (3,)),
                2,
                streams=STREAMS,
            ),
            r"dataset = 'v': has values for targets; must have classes",
        ),
        (lambda: permuted_tasks(toy(), 2, streams=STREAMS, scenario="x"), r"scenario = 'x'"),
        (lambda: split_tasks(toy(), scenario="parity"), r"scenario = 'parity'"),
        (lambda: split_tasks(toy(), per_task=0), r"per_task = 0"),
        (lambda: split_tasks(toy(), per_task=3), r"per_task = 3: 5 classes make 1 tasks"),
        (lambda: Task("a", toy()).samples("all"), r"part = 'all': must be one of 'train', 'test'"),
        (lambda: Task("a", toy()).size("all"), r"part = 'all'"),
    ],
)
def test_streams_that_make_no_sense_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
