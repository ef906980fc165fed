"""Batches: who is in them follows from seed, task, epoch and step, and from nothing else."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from sandbox.training._batches import Batches
from sandbox.training.plan import Plan
from sandbox.training.samples import Dataset, Samples, split
from sandbox.training.tasks import Task, TaskStream
from theory.streams import Streams

STREAMS = Streams(8)
TASK = 10_000
"""The feature of sample n of task k is 10,000 k + n; its target is three times that, so a
batch tells where every sample came from."""


def numbered_stream(count, tasks=3, blend=0.0):
    def dataset(k):
        number = TASK * k + np.arange(count)
        train = Samples(number[:, None].astype(np.float64), 3 * number)
        test = Samples(number[:5, None].astype(np.float64) + 0.5, number[:5])
        return Dataset(f"numbers {k}", train, test, (), (1,))

    return TaskStream("numbered", tuple(Task(str(k), dataset(k)) for k in range(tasks)), 1, blend)


def batches_of(count, *, tasks=3, blend=0.0, streams=STREAMS, dtype=torch.float64, **plan):
    stream = numbered_stream(count, tasks, blend)
    return Batches(stream, Plan(**plan), streams, dtype, torch.device("cpu"))


def numbers(batch):
    """Which samples a batch holds, after a look at their targets."""
    found = batch.inputs[:, 0].long()
    assert torch.equal(batch.targets, 3 * found)
    return found.numpy()


def drawn(batches, task, epoch, number):
    return numbers(batches.batch(task, epoch, number, batches.order(task, epoch)))


def test_a_batch_is_a_stretch_of_the_named_permutation():
    batches = batches_of(23, batch_size=5)
    assert batches.steps(1) == 4  # 23 // 5: three samples sit out each epoch
    order = STREAMS.generator("order/1", 2).permutation(23)
    for number in range(4):
        expected = TASK + order[5 * number : 5 * number + 5]
        np.testing.assert_array_equal(drawn(batches, 1, 2, number), expected)


def test_an_epoch_without_dropping_holds_every_sample_once():
    batches = batches_of(23, batch_size=5, drop_last=False)
    assert batches.steps(0) == 5
    parts = [drawn(batches, 0, 1, number) for number in range(5)]
    assert [len(part) for part in parts] == [5, 5, 5, 5, 3]
    assert sorted(np.concatenate(parts)) == list(range(23))


def test_all_samples_at_once_need_no_order():
    batches = batches_of(7, batch_size=None)
    assert batches.order(2, 0) is None
    assert batches.steps(2) == 1
    np.testing.assert_array_equal(drawn(batches, 2, 0, 0), 2 * TASK + np.arange(7))


def test_orders_differ_between_tasks_epochs_and_seeds():
    batches = batches_of(50)
    other = batches_of(50, streams=Streams(9))
    places = list(itertools.product(range(3), range(3)))
    orders = [tuple(b.order(*place).tolist()) for b in (batches, other) for place in places]
    assert len(set(orders)) == 18


def blended(count, **options):
    """Four epochs of ten steps, blend 1/4: shares fall to 0 within ten steps of a border."""
    return batches_of(count, blend=0.25, batch_size=count // 10, epochs=4, **options)


@pytest.mark.parametrize(
    ("task", "step", "shares"),
    [
        (0, 0, (0.0, 0.0)),
        (0, 39, (0.0, 0.45)),
        (1, 0, (0.5, 0.0)),
        (1, 5, (0.25, 0.0)),
        (1, 20, (0.0, 0.0)),
        (1, 35, (0.0, 0.25)),
        (2, 39, (0.0, 0.0)),
    ],
)
def test_neighbours_have_their_share_of_a_blended_batch(task, step, shares):
    found = drawn(blended(TASK), task, *divmod(step, 10)) // TASK
    alpha = 1e-3 / 4  # four shares that are not zero
    for side, share in zip((task - 1, task + 1), shares, strict=True):
        came = int((found == side).sum())
        if share == 0.0:
            assert came == 0
        else:
            assert stats.binomtest(came, 1000, share).pvalue > alpha
            for wrong in (0.5 * share, share + 0.1):  # the test would notice
                assert stats.binomtest(came, 1000, wrong).pvalue < alpha
    assert set(found) <= {task - 1, task, task + 1}


def test_slots_that_are_not_blended_keep_their_samples():
    pure = batches_of(TASK, batch_size=1000, epochs=4)
    mixed = drawn(blended(TASK), 1, 0, 3)
    own = mixed // TASK == 1
    assert 0 < own.sum() < 1000
    np.testing.assert_array_equal(mixed[own], drawn(pure, 1, 0, 3)[own])


def test_every_step_mixes_other_slots():
    batches = blended(TASK)
    masks = [drawn(batches, 1, 0, number) // TASK == 0 for number in (0, 1)]
    masks += [drawn(batches, 2, 0, number) // TASK == 1 for number in (0, 1)]
    # shares 1/2, 0.45, 1/2, 0.45: two independent draws coincide in their product
    for first, second in itertools.combinations(masks, 2):
        chance = np.mean(first) * np.mean(second)
        assert stats.binomtest(int((first & second).sum()), 1000, chance).pvalue > 1e-3 / 6


def test_what_a_neighbour_lends_is_drawn_evenly_from_all_it_has():
    batches = batches_of(8, blend=0.5, batch_size=8, epochs=400)
    for task, neighbour, epochs in ((1, 0, range(200)), (0, 1, range(200, 400))):
        found = np.concatenate([drawn(batches, task, epoch, 0) for epoch in epochs])
        rows = found[found // TASK == neighbour] % TASK
        counts = np.bincount(rows, minlength=8)
        assert counts.sum() > 300
        assert stats.chisquare(counts).pvalue > 1e-3 / 2


def test_all_samples_at_once_can_be_blended():
    batches = batches_of(1000, blend=0.25, batch_size=None, epochs=40)
    assert batches.steps(1) == 1
    found = drawn(batches, 1, 0, 0)
    assert len(found) == 1000
    assert stats.binomtest(int((found // TASK == 0).sum()), 1000, 0.5).pvalue > 1e-3
    own = found[found // TASK == 1]
    assert len(set(own)) == len(own)


def test_blending_leaves_the_samples_alone():
    batches = blended(100)
    before = [batches.train(task).inputs.clone() for task in range(3)]
    for task, number in itertools.product(range(3), range(10)):
        drawn(batches, task, 0, number)
    for task in range(3):
        assert torch.equal(batches.train(task).inputs, before[task])


@pytest.mark.parametrize("blend", [0.0, 0.25])
@pytest.mark.parametrize("validation", [0.0, 0.2])
def test_the_same_batch_whoever_asks_and_when(blend, validation):
    def fresh():
        return batches_of(60, tasks=6, blend=blend, batch_size=8, epochs=2, validation=validation)

    places = list(itertools.product(range(6), range(2), range(3)))
    first = fresh()
    expected = {place: drawn(first, *place) for place in places}
    again = fresh()
    for k in np.random.default_rng(0).permutation(2 * len(places)) % len(places):
        np.testing.assert_array_equal(drawn(again, *places[k]), expected[places[k]])
    assert again.validation(3) is None or torch.equal(
        again.validation(3).inputs, fresh().validation(3).inputs
    )


def test_samples_for_validation_are_in_no_batch():
    batches = blended(100, validation=0.3)
    aside = set()
    for task in range(3):
        kept, rest = split(
            batches.stream.tasks[task].samples(),
            STREAMS,
            held_out=0.3,
            name="validation",
            index=task,
        )
        np.testing.assert_array_equal(numbers(batches.train(task)), kept.inputs[:, 0])
        np.testing.assert_array_equal(numbers(batches.validation(task)), rest.inputs[:, 0])
        assert (len(kept), len(rest)) == (70, 30)
        aside |= set(rest.inputs[:, 0])
    assert batches.steps(0) == 7
    seen = set()
    for task, epoch, number in itertools.product(range(3), range(4), range(7)):
        seen |= set(drawn(batches, task, epoch, number))
    assert seen
    assert not seen & aside
    assert len(seen) == 210  # and everybody else is


def test_tests_are_the_test_samples():
    batches = batches_of(10, validation=0.2, dtype=torch.float32)
    test = batches.test(2)
    assert test.inputs[:, 0].tolist() == [2 * TASK + n + 0.5 for n in range(5)]
    assert (test.inputs.dtype, test.targets.dtype) == (torch.float32, torch.int64)
    assert batches.test(2) is test


def test_for_a_reconstruction_targets_are_the_inputs_blended_alike():
    batches = blended(100, loss="reconstruction")
    batch = batches.batch(1, 0, 0, batches.order(1, 0))
    assert torch.equal(batch.inputs, batch.targets)
    assert {int(n) // TASK for n in batch.inputs[:, 0]} == {0, 1}
