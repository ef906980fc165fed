"""Inverse powers against eigenvalues, from moments and from few rows; the ladder."""

import logging

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sandbox.optim import _inverse_root
from sandbox.optim._inverse_root import inverse_root

DOUBLE = torch.float64
INPUTS = torch.tensor(
    [[0.5, -1.0, 2.0], [1.5, 0.3, -0.7], [-0.8, 1.2, 0.4], [0.1, -0.6, -1.1]], dtype=DOUBLE
)


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

    monkeypatch.setattr(_inverse_root.torch.linalg, "eigh", fails)
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


@given(st.integers(0, 2**32), st.integers(1, 6), st.floats(-4, 4))
def test_the_inverse_from_few_rows_is_that_from_their_moment(seed, count, power):
    rows = torch.randn(count, 12, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))
    damping = 10.0**power
    wanted = torch.linalg.inv(rows.T @ rows + damping * torch.eye(12, dtype=DOUBLE))
    # the moment is not looked at
    found = inverse_root(torch.full((12, 12), torch.nan, dtype=DOUBLE), damping, rows=rows)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9 / damping)


@pytest.mark.parametrize("damping", [1e-6, 1e-2, 1e2])
def test_few_rows_lose_no_precision_to_the_damping(damping):
    rows = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    # nearly dependent: in float32 their Gram matrix would not tell 0.01^2 from its rounding
    rows[2] = rows[0] + 0.01 * rows[2]
    found = inverse_root(rows.T @ rows, damping, rows=rows).double()
    exact = torch.linalg.inv(
        rows.double().T @ rows.double() + damping * torch.eye(16, dtype=DOUBLE)
    )
    # entries of 1 / damping are rounded to 2^-24 of it, and a few times more often where all of
    # it is done in float32
    torch.testing.assert_close(found, exact, rtol=0, atol=3e-7 / damping)


@pytest.mark.parametrize(("damping", "power"), [(1e-12, 1.0), (0.1, 0.5)])
def test_where_rows_do_not_serve_the_moment_does(damping, power):
    rows = torch.tensor([[3.0, 4.0, 0.0, 0.0]], dtype=DOUBLE)
    matrix = torch.eye(4, dtype=DOUBLE)
    found = inverse_root(matrix, damping, power, rows=rows)
    assert torch.equal(found, inverse_root(matrix, damping, power))


def test_rows_that_are_not_finite_end_as_the_moment_does():
    rows = torch.tensor([[torch.inf, 0.0, 1.0]])
    with pytest.raises(RuntimeError, match="layer 'v': its covariance is not finite"):
        inverse_root(rows.T @ rows, 1.0, name="layer 'v'", rows=rows)
