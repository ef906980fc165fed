"""Moving averages against closed forms; inverse powers against eigenvalues; the ladder."""

import logging

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sandbox.network.layers import factor_dtype
from sandbox.optim import _factors
from sandbox.optim._factors import MovingAverage, inverse_root

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


@given(st.integers(0, 2**32), st.floats(1e-6, 1e3), st.sampled_from([0.25, 0.5, 1.0, 2.0]))
def test_inverse_powers_are_those_of_the_eigenvalues(seed, damping, power):
    rows = torch.randn(3, 4, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))
    matrix = rows.T @ rows
    values, vectors = torch.linalg.eigh(matrix)
    wanted = vectors @ torch.diag((values.clamp_min(0) + damping) ** -power) @ vectors.T
    kept = matrix.clone()
    found = inverse_root(matrix, damping, power)
    assert torch.equal(matrix, kept)
    # the smallest eigenvalue is 0 up to rounding of the largest, against damping >= 1e-6
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-9 * wanted.norm().item())
    torch.testing.assert_close(found, found.T, rtol=1e-12, atol=1e-12 * found.norm().item())


@pytest.mark.parametrize("power", [0.5, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_memory_may_be_handed_over_for_the_result(dtype, power):
    matrix = (INPUTS.T @ INPUTS).to(dtype)
    kept, held = matrix.clone(), torch.full_like(matrix, torch.nan)
    wanted = inverse_root(matrix * 0.25, 0.3, power)
    found = inverse_root(matrix, 0.3, power, scale=0.25, into=held)
    assert torch.equal(matrix, kept)
    assert torch.equal(found, wanted)
    assert (found.data_ptr() == held.data_ptr()) == (power == 1)
    assert found.is_contiguous() or power != 1


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


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_a_factorisation_that_fails_is_tried_in_float64(power, caplog):
    # in float32, 1 + 1e-8 is 1, so that the damped matrix is singular
    matrix = torch.ones(3, 3)
    with caplog.at_level(logging.WARNING, "sandbox.optim"):
        found = inverse_root(matrix, 1e-8, power, name="layer 'x' (Linear)")
    assert found.isfinite().all()
    assert found.dtype == torch.float32
    if power == 1:
        assert "layer 'x' (Linear): the factorisation of the 3 x 3 covariance" in caplog.text
        assert "trying float64, damping 1e-08" in caplog.text


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_rounding_below_the_damping_is_cut_off(dtype, caplog):
    # rank one: the other eigenvalues are the damping, far below the rounding of the largest
    row = torch.linspace(1, 2, 30, dtype=dtype) / torch.finfo(dtype).eps
    found = inverse_root(torch.outer(row, row), 1e-4, 0.5)
    largest = float(torch.linalg.matrix_norm(found.double(), 2))
    # the square root of the damping's inverse, to the rounding of a product of 30 terms
    assert largest == pytest.approx(100.0, rel=30 * torch.finfo(dtype).eps)
    assert not caplog.records


def test_then_more_damping_is_tried(caplog):
    matrix = torch.diag(torch.tensor([1.0, -2e-3], dtype=DOUBLE))
    with caplog.at_level(logging.WARNING, "sandbox.optim"):
        found = inverse_root(matrix, 1e-3)
    assert "trying float64, damping 0.01" in caplog.text
    torch.testing.assert_close(found.diag(), 1 / (matrix.diag() + 1e-2))


def test_then_it_is_an_error_that_names_the_layer(caplog):
    with (
        caplog.at_level(logging.WARNING, "sandbox.optim"),
        pytest.raises(RuntimeError, match=r"layer 'y': its covariance cannot be factorised with"),
    ):
        inverse_root(-torch.eye(2), 1e-3, name="layer 'y'")
    assert len(caplog.records) == 2


def test_eigenvalues_that_do_not_converge_go_down_the_same_ladder(monkeypatch, caplog):
    def fails(_):
        raise torch.linalg.LinAlgError("no convergence")

    monkeypatch.setattr(_factors.torch.linalg, "eigh", fails)
    with caplog.at_level(logging.WARNING), pytest.raises(RuntimeError, match="layer 'z'"):
        inverse_root(torch.eye(2), 1e-3, 0.5, name="layer 'z'")
    assert len(caplog.records) == 2


@pytest.mark.parametrize("power", [0.5, 1.0])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_tried_again(value, power, caplog):
    matrix = torch.eye(2)
    matrix[0, 0] = value
    with pytest.raises(RuntimeError, match="layer 'w': its covariance is not finite"):
        inverse_root(matrix, 1e-3, power, name="layer 'w'")
    assert not caplog.records


@pytest.mark.bad_input
@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan"), "0.9"])
def test_a_decay_outside_its_interval_is_refused(decay):
    with pytest.raises(ValueError, match=r"decay = .*: must be a finite number in \[0, 1\)"):
        MovingAverage(decay)
