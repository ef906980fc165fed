"""Damped solves with a Fisher matrix: as good as the condition allows, and tried again."""

import logging

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.network.columns import LayerColumns
from sandbox.optim import _gram
from sandbox.optim._gram import DampedRoot, gram
from tests.sandbox.optim.dense_fisher import F64, normal


def random_columns(seed, samples, shapes, spread):
    """Layers whose G has singular values spread over so many powers of ten."""
    found = []
    for i, (out, width) in enumerate(shapes):
        scale = torch.logspace(0, -spread / 2, samples, dtype=F64)
        found.append(
            LayerColumns(
                normal(samples, 1, width, seed=seed + 7 * i),
                (scale[:, None] * normal(samples, out, seed=seed + 7 * i + 1))[None, :, None],
            )
        )
    return found


@settings(max_examples=30)
@given(
    seed=st.integers(0, 1000),
    samples=st.sampled_from([3, 8, 30]),
    logarithm=st.floats(0.0, 10.0),
    spread=st.sampled_from([0.0, 6.0]),
)
def test_the_solution_is_as_good_as_the_condition_allows(seed, samples, logarithm, spread):
    # against 40 digits; 100 condition numbers' worth of rounding
    columns = random_columns(seed, samples, [(2, 3), (3, 2)], spread)
    rows = torch.cat([layer.rows(0, samples) for layer in columns], dim=1)
    top = torch.linalg.matrix_norm(rows, 2).item() ** 2
    damping = top / 10**logarithm
    root = DampedRoot(columns, damping, "test")
    assert root.dual == (samples <= 12)
    vector = [normal(2, 3, seed=seed + 50), normal(3, 2, seed=seed + 51)]
    found = torch.cat([part.reshape(-1) for part in root(vector)])
    with mpmath.workdps(40):
        g = mpmath.matrix(rows.tolist())
        matrix = g.T * g + mpmath.mpf(damping) * mpmath.eye(12)
        right = mpmath.matrix(torch.cat([part.reshape(-1) for part in vector]).tolist())
        exact = mpmath.lu_solve(matrix, right)
        error = mpmath.norm(exact - mpmath.matrix(found.tolist())) / mpmath.norm(exact)
    assert error <= (1 + 10**logarithm) * np.finfo(float).eps * 100
    assert root.damping == damping


@pytest.mark.parametrize("dual", [True, False])
def test_the_two_gram_matrices_give_one_solution(dual):
    columns = random_columns(0, 8, [(2, 3), (3, 2)], 0.0)
    vector = [normal(2, 3), normal(3, 2)]
    found = DampedRoot(columns, 0.1, "test", dual=dual)(vector)
    for part, other in zip(found, DampedRoot(columns, 0.1, "test")(vector), strict=True):
        torch.testing.assert_close(part, other, rtol=0, atol=1e-12)


def test_damping_within_the_rounding_error_of_float32_is_handled(monkeypatch, caplog):
    # thirty columns in two dimensions: float32's Gram matrix has eigenvalues below minus the
    # damping, that of the same numbers in float64 has none
    slopes = (normal(30, 2) @ normal(2, 50, seed=1)).float()
    columns = [LayerColumns(torch.ones(30, 1, 7), slopes[None, :, None])]
    damping = 1e-8
    assert torch.linalg.eigvalsh(gram(columns).double())[0] < -10 * damping
    with caplog.at_level(logging.WARNING, "sandbox.optim"):
        root = DampedRoot(columns, damping, "layer 'a'")
    assert not caplog.records
    assert root.damping == damping
    assert root.factor.dtype == F64
    # without the precaution it fails, and is mended
    monkeypatch.setattr(_gram, "SAFETY", 0.0)
    with caplog.at_level(logging.WARNING, "sandbox.optim"):
        mended = DampedRoot(columns, damping, "layer 'a'")
    assert "again in float64" in caplog.text
    assert torch.equal(mended.factor, root.factor)


def test_a_failing_factorisation_is_tried_again_and_logged(monkeypatch, caplog):
    columns = [layer.to(torch.float32) for layer in random_columns(0, 5, [(2, 3)], 0.0)]
    works, dampings = _gram._cholesky, []

    def failing(times):
        def attempt(matrix, damping):
            dampings.append(damping)
            return None if len(dampings) <= times else works(matrix, damping)

        return attempt

    with caplog.at_level(logging.WARNING, "sandbox.optim"):
        monkeypatch.setattr(_gram, "_cholesky", failing(2))
        root = DampedRoot(columns, 0.1, "layer 'a'")
    assert dampings == pytest.approx([0.1, 0.1, 1.0])
    assert root.damping == pytest.approx(1.0)
    assert "layer 'a'" in caplog.text
    assert "float64" in caplog.text
    assert "ten times" in caplog.text
    # the solution is that of the damping that was used
    vector = [normal(2, 3, dtype=torch.float32)]
    monkeypatch.setattr(_gram, "_cholesky", works)
    wanted = DampedRoot(columns, 1.0, "test")(vector)[0]
    torch.testing.assert_close(root(vector)[0], wanted, rtol=1e-5, atol=1e-5)
    dampings.clear()
    monkeypatch.setattr(_gram, "_cholesky", failing(9))
    with pytest.raises(RuntimeError, match=r"layer 'a' has no Cholesky factor at damping 1\b"):
        DampedRoot(columns, 0.1, "layer 'a'")
    dampings.clear()
    with pytest.raises(RuntimeError, match="has no Cholesky factor at damping 0.1"):
        DampedRoot(columns, 0.1, "layer 'a'", exact=True)
