"""Moving averages against closed forms; the rows of the newest value."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sandbox.network.layers import factor_dtype
from sandbox.optim._moving_average import MovingAverage

DOUBLE = torch.float64
INPUTS = torch.tensor(
    [[0.5, -1.0, 2.0], [1.5, 0.3, -0.7], [-0.8, 1.2, 0.4], [0.1, -0.6, -1.1]], dtype=DOUBLE
)
AFTER_TWO = torch.tensor(
    [
        [1.5512820512820513, -0.5474358974358975, -0.24487179487179483],
        [-0.5474358974358975, 1.454102564102564, -0.49205128205128185],
        [-0.24487179487179483, -0.49205128205128185, 2.8899999999999997],
    ],
    dtype=DOUBLE,
)


def test_two_batches_enter_the_average_by_their_exact_weights():
    average = MovingAverage(0.95)
    average.collect(INPUTS[:2], samples=2)
    average.fold(mean=False)
    torch.testing.assert_close(average.value(), INPUTS[:2].T @ INPUTS[:2], rtol=1e-15, atol=1e-15)
    average.collect(INPUTS[2:], samples=2)
    average.fold(mean=False)
    assert average.weight == pytest.approx(0.0975, rel=1e-14)
    torch.testing.assert_close(average.value(), AFTER_TWO, rtol=1e-12, atol=1e-12)


@given(
    st.lists(st.lists(st.floats(-2, 2), min_size=1, max_size=4), min_size=1, max_size=6),
    st.floats(0, 0.99),
)
def test_the_average_is_the_normalised_sum_of_powers(batches, decay):
    average = MovingAverage(decay)
    for batch in batches:
        average.collect(torch.tensor(batch, dtype=DOUBLE)[:, None], samples=len(batch))
        average.fold()
    means = [sum(x * x for x in batch) / len(batch) for batch in batches]
    weights = [decay ** (len(batches) - 1 - i) for i in range(len(batches))]
    wanted = sum(w * m for w, m in zip(weights, means, strict=True)) / sum(weights)
    assert average.value().item() == pytest.approx(wanted, rel=1e-12, abs=1e-300)


def test_several_batches_before_a_fold_are_one_value():
    several, whole = MovingAverage(0.5), MovingAverage(0.5)
    for part in (INPUTS[:1], INPUTS[1:]):
        several.collect(part, samples=len(part))
    whole.collect(INPUTS, samples=4)
    several.fold()
    whole.fold()
    torch.testing.assert_close(several.value(), whole.value(), rtol=1e-14, atol=1e-14)
    assert several.weight == whole.weight == 0.5
    assert several.pending is None


def test_moments_may_be_added_as_they_are_and_are_not_changed():
    average, moment = MovingAverage(0.0), INPUTS.T @ INPUTS
    kept = moment.clone()
    for _ in range(2):
        average.add(moment, samples=4)
    average.fold()
    torch.testing.assert_close(average.value(), kept / 4)
    assert torch.equal(moment, kept)


def test_nothing_pending_leaves_the_average_alone():
    average = MovingAverage(0.5)
    average.fold()
    assert (average.total, average.weight) == (None, 0.0)
    average.collect(INPUTS, samples=4)
    average.drop()
    average.fold()
    assert average.total is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, DOUBLE])
def test_factors_are_kept_in_float32_at_least(dtype):
    average = MovingAverage(0.5)
    average.collect(INPUTS.to(dtype), samples=4)
    average.fold()
    assert average.value().dtype == factor_dtype(dtype)
    assert factor_dtype(dtype) == (DOUBLE if dtype == DOUBLE else torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_the_state_comes_back_bit_for_bit(dtype):
    average, other = MovingAverage(0.9), MovingAverage(0.9)
    for _ in range(2):
        average.collect(INPUTS.to(dtype), samples=4)
        average.fold()
    average.collect(INPUTS.to(dtype), samples=4)
    other.load_state_dict(average.state_dict(), torch.device("cpu"))
    assert other.weight == average.weight
    assert other.samples == 4
    for one, two in ((other.total, average.total), (other.pending, average.pending)):
        assert one.dtype == two.dtype == dtype
        assert torch.equal(one, two)
        assert one.data_ptr() != two.data_ptr()


def test_an_average_uses_its_memory_again():
    average, places = MovingAverage(0.5), []
    for i in range(4):
        average.collect((i + 1) * INPUTS, samples=4)
        assert average.pending is not None
        places.append(average.pending.data_ptr())
        average.fold()
    # the first is the average itself from then on
    assert len(set(places[1:])) == 1
    assert places[0] not in places[1:]
    moment = INPUTS.T @ INPUTS / 4
    wanted = (16 * 8 + 9 * 4 + 4 * 2 + 1) / 15 * moment
    torch.testing.assert_close(average.value(), wanted, rtol=1e-14, atol=1e-14)
    average.collect(INPUTS.float(), samples=4)
    assert average.pending.dtype == torch.float32


@pytest.mark.bad_input
@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan"), "0.9"])
def test_a_decay_outside_its_interval_is_refused(decay):
    with pytest.raises(ValueError, match=r"decay = .*: must be a finite number in \[0, 1\)"):
        MovingAverage(decay)


WIDE = torch.cat([INPUTS, 2 * INPUTS], dim=1)


def kept_rows(average):
    """Return the second moment of the rows that are kept, or None."""
    return None if average.rows is None else average.rows.T @ average.rows


@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(0, 5), st.floats(0.1, 4.0))
def test_rows_are_kept_while_they_are_a_quarter_of_the_columns(seed, first, second, scale):
    draw = torch.Generator().manual_seed(seed)
    batches = [torch.randn(n, 20, dtype=DOUBLE, generator=draw) for n in (first, second)]
    average = MovingAverage(0.0, keep_rows=True)
    for batch in batches:
        average.collect(batch, samples=2, scale=scale)
    average.fold()
    assert (average.rows is not None) == (first + second <= 5)
    if average.rows is not None:
        torch.testing.assert_close(kept_rows(average), average.value(), rtol=1e-12, atol=1e-13)


def test_rows_are_those_of_the_newest_value_and_no_view_of_what_came_in():
    average, given_rows = MovingAverage(0.0, keep_rows=True), WIDE[:1].clone()
    for rows in (2 * WIDE[1:2], given_rows):
        average.collect(rows, samples=1)
        average.fold(mean=False)
    given_rows.zero_()
    assert torch.equal(average.rows, WIDE[:1])
    # a moment that comes without its rows
    average.collect(WIDE[:1], samples=1)
    average.add(WIDE.T @ WIDE, samples=4)
    average.fold()
    assert average.rows is None
    # and one that brings them
    average.add(WIDE[:1].T @ WIDE[:1], samples=1, rows=WIDE[:1])
    average.fold()
    assert torch.equal(average.rows, WIDE[:1])


def test_no_rows_are_kept_of_an_average_over_several_values():
    for average in (MovingAverage(0.5, keep_rows=True), MovingAverage(0.0)):
        average.collect(WIDE[:1], samples=1)
        average.fold()
        assert average.rows is None


def test_what_is_pending_may_be_set_aside():
    average, other = MovingAverage(0.0, keep_rows=True), MovingAverage(0.0, keep_rows=True)
    for one in (average, other):
        one.collect(WIDE[:1], samples=1)
    held = average.set_aside()
    assert (average.pending, average.samples) == (None, 0)
    average.collect(9 * WIDE[:1], samples=7)
    average.put_back(held)
    for one in (average, other):
        one.fold()
    assert torch.equal(average.value(), other.value())
    assert torch.equal(average.rows, other.rows)


def test_rows_come_back_bit_for_bit_and_states_without_them_are_read():
    average, other = MovingAverage(0.0, keep_rows=True), MovingAverage(0.0, keep_rows=True)
    average.collect(WIDE[:1], samples=1)
    average.fold()
    average.collect(WIDE[1:2], samples=1)
    state = average.state_dict()
    other.load_state_dict(state, torch.device("cpu"))
    assert torch.equal(other.rows, WIDE[:1])
    assert other.rows.data_ptr() != average.rows.data_ptr()
    other.fold()
    assert torch.equal(other.rows, WIDE[1:2])
    older = {k: v for k, v in state.items() if not k.endswith("rows")}
    other.load_state_dict(older, torch.device("cpu"))
    assert other.rows is None


def test_an_average_with_a_decay_takes_no_rows_from_one_without():
    average, other = MovingAverage(0.0, keep_rows=True), MovingAverage(0.5, keep_rows=True)
    average.collect(WIDE[:1], samples=1)
    average.fold()
    average.collect(WIDE[1:2], samples=1)
    other.load_state_dict(average.state_dict(), torch.device("cpu"))
    other.collect(WIDE[2:3], samples=1)
    other.fold()
    assert other.rows is None
    wanted = 0.5 * WIDE[:1].T @ WIDE[:1] + 0.25 * WIDE[1:3].T @ WIDE[1:3]
    torch.testing.assert_close(other.total, wanted, rtol=1e-15, atol=1e-15)


def test_rows_are_kept_in_the_order_that_a_file_gives_back():
    for count in (1, 2):
        average, rows = MovingAverage(0.0, keep_rows=True), torch.randn(20, 2, dtype=DOUBLE).T
        assert not rows.is_contiguous()
        for _ in range(count):
            average.collect(rows, samples=1)
        average.fold()
        assert average.rows.is_contiguous()
