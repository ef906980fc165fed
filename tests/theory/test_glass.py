"""The expected loss change and its optimal step, against high-precision minimisation."""

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from theory._glass_derivations import lookahead_exactness, optimal_glass_step
from theory.glass import (
    HALF_NORMAL,
    STEP,
    effective_curvature,
    exact_move,
    expected_change,
    glass_step,
    optimal_change,
)

# (g, h, rho), then h_opt, |d|, change: by 40-digit arithmetic from the quadratic in sqrt|d|
ROWS = [
    ((0.3, 2.0, 0.05), 2.4407102824455203, 0.12291503918253205, -0.017327539537334335),
    ((-1.25, 0.4, 3.0), 1.8598889486629524, 0.67208313748979867, -0.31014769020062489),
    ((0.01, 5.0, 0.0), 5.0, 0.002, -1.0e-5),
    ((0.7, 0.0, 0.2), 0.136418522650196, 5.131268000863329, -1.1972958668681101),
    ((1e-4, 1.0, 1e-3), 6.6236746948571265, 1.5097359789973353e-5, -5.4123370510376247e-10),
]
SIZES = st.floats(-30, 30).map(lambda power: 10.0**power)


def test_the_constants():
    # sqrt(2/(3 pi)) and 3/(4 pi) to 25 digits
    assert pytest.approx(0.4606588659617806390203262, rel=1e-15) == HALF_NORMAL
    assert pytest.approx(0.2387324146378430036533256, rel=1e-15) == STEP


@pytest.mark.parametrize(("row", "bend", "size", "change"), ROWS)
def test_published_digits(row, bend, size, change):
    assert effective_curvature(*row) == pytest.approx(bend, rel=2e-15)
    assert glass_step(*row) == pytest.approx(-np.sign(row[0]) * size, rel=2e-15)
    assert optimal_change(*row) == pytest.approx(change, rel=2e-15)
    assert expected_change(*row, glass_step(*row)) == pytest.approx(change, rel=1e-14)


def test_arrays_give_what_numbers_give():
    g, h, rho = np.array([row for row, *_ in ROWS]).T
    assert glass_step(g, h, rho).tolist() == [float(glass_step(*row)) for row, *_ in ROWS]
    assert glass_step(g[:, None], 1.0, rho).shape == (5, 5)
    assert isinstance(glass_step(0.3, 2.0, 0.05), float)


@given(SIZES, SIZES, SIZES)
def test_the_closed_form_from_effective_curvature(g, h, rho):
    # h_opt = alpha + h + sqrt(alpha (alpha + 2h)), another route than the root of the quadratic
    alpha = STEP * rho / g
    wanted = alpha + h + np.sqrt(alpha) * np.sqrt(alpha + 2 * h)
    assert effective_curvature(g, h, rho) == pytest.approx(wanted, rel=1e-13)
    assert glass_step(-g, h, rho) == -glass_step(g, h, rho) > 0


@given(st.floats(0.01, 100), st.floats(0, 10), st.floats(0.01, 100))
def test_no_other_step_is_expected_to_do_better(g, h, rho):
    best = abs(glass_step(g, h, rho))
    found = minimize_scalar(
        lambda scale: expected_change(g, h, rho, -best * scale), bounds=(0, 4), method="bounded"
    )
    assert found.x == pytest.approx(1.0, abs=1e-4)  # flat at the minimum: sqrt of its rounding
    assert found.fun >= optimal_change(g, h, rho) * (1 + 1e-12)


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.floats(0, 0.999))
def test_a_negative_curvature_that_glass_outweighs(g, rho, share):
    h = -share * STEP * rho / (2 * g)
    d = glass_step(g, h, rho)
    size = abs(d)
    slope = -g + h * size + 1.5 * HALF_NORMAL * np.sqrt(rho * size)
    assert slope == pytest.approx(0.0, abs=1e-11 * g)
    assert h + 0.75 * HALF_NORMAL * np.sqrt(rho / size) > 0
    assert size <= 4 * abs(glass_step(g, 0.0, rho))  # at equality the root is twice as large


def test_the_model_ends_where_negative_curvature_wins():
    limit = -STEP * 2.0 / (2 * 0.5)
    assert glass_step(0.5, limit * (1 - 1e-9), 2.0) < 0
    with pytest.raises(ValueError, match="falls without end"):
        glass_step(0.5, limit * (1 + 1e-9), 2.0)


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ((1e-300, 1e-5, 0.0), -1e-295),
        ((1e-300, 0.0, 1e-300), -2 * np.pi / 3 * 1e-300),
        ((1e300, 1e300, 1e300), -1.0),
        ((1e-200, 1e200, 1.0), 0.0),
        ((0.0, 0.0, 0.0), 0.0),
        ((0.0, -1.0, 2.0), 0.0),
        ((1.0, 1.0, 1e-300), -1.0),
        ((1.0, 1e-300, 1.0), -2 * np.pi / 3),
        ((1e150, 1e10, 1e300), -2 * np.pi / 3),
        ((1.7e308, 1.7e308, 0.0), -1.0),
        ((1.7e308, 1.7e308, 1.7e308), -1.0),
    ],
)
def test_no_overflow_and_no_zero_over_zero(row, wanted):
    assert glass_step(*row) == pytest.approx(wanted, rel=1e-9, abs=1e-320)


def test_the_derivation_gives_the_step():
    derivation = optimal_glass_step()
    assert derivation.check() == 10
    symbols = {symbol.name: symbol for symbol in derivation.results["step"].free_symbols}
    for row, _, size, _ in ROWS:
        values = dict(zip("gh", np.abs(row[:2]), strict=True)) | {"rho": row[2]}
        found = derivation.results["step"].subs({symbols[k]: v for k, v in values.items()})
        assert float(found) == pytest.approx(-size, rel=1e-14)
    assert float(derivation.results["step_constant"]) == pytest.approx(STEP, rel=1e-15)


A, B = np.array([[3.0, 0.5], [0.5, 1.0]]), np.array([1.0, -2.0])


def look_ahead(beta, omega, phi, steps=6):
    """Return parameters, averaged gradient and its largest errors on a quadratic."""
    mu = np.array([2.0, -1.0])
    average, errors = A @ mu - B, []
    for _ in range(steps):
        step = -average / np.array([4.0, 2.5])
        average = beta * average + (1 - beta) * (A @ (mu + omega * step) - B)
        mu = mu + phi * step
        errors.append(np.abs(average - (A @ mu - B)).max())
    return mu, average, errors


def test_the_averaged_gradient_stays_exact_and_only_then():
    # figures of the six steps: an independent program
    mu, average, errors = look_ahead(0.9, 1.0, exact_move(0.9))
    assert mu == pytest.approx([1.4519625027613672, -1.405923187260031], rel=1e-14)
    assert average == pytest.approx([2.6529259146540856, 1.3200580641206527], rel=1e-14)
    assert max(errors) < 1e-14
    mu, _, errors = look_ahead(0.8, 2.0, exact_move(0.8, 2.0))
    assert mu == pytest.approx([0.78490327856, -2.025322383488], rel=1e-14)
    assert max(errors) < 1e-14
    assert look_ahead(0.9, 1.0, 1.0)[2][:2] == pytest.approx([3.3975, 6.1759125], rel=1e-12)


def test_the_derivation_of_exactness():
    derivation = lookahead_exactness()
    assert derivation.check() == 9
    beta, omega, phi = sp.symbols("beta omega phi", real=True)
    values = {beta: 0.8, omega: 2.0}
    assert float(derivation.results["move"].subs(values)) == pytest.approx(exact_move(0.8, 2.0))
    assert sp.solve(derivation.results["gap"], phi) == [omega * (1 - beta)]


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: glass_step(0.3, 2.0, -0.1), "density = -0.1: must be finite and >= 0"),
        (lambda: glass_step([0.3, float("nan")], 2.0, 0.1), r"gradient\[1\] = nan"),
        (lambda: glass_step(0.3, float("inf"), 0.1), "curvature = inf"),
        (lambda: glass_step("0.3", 1.0, 0.1), "gradient = '0.3'"),
        (lambda: glass_step(0.3, 0.0, 0.0), "nothing ends the step; give one of them"),
        (lambda: glass_step(0.3, -1.0, 0.0), "take the size of the curvature"),
        (lambda: glass_step([0.3, 0.3], [1.0, -1.0], 0.1), r"curvature\[1\] = -1 with gradient"),
        (lambda: glass_step(1e200, 0.0, 1.0), "the step overflows"),
        (lambda: effective_curvature(5e-324, 1.0, 1.0), "the effective curvature overflows"),
        (lambda: optimal_change(1e160, 1.0, 0.0), "gradient = 1e.160: the change overflows"),
        (lambda: glass_step([0.1, 0.2], [1.0, 2.0, 3.0], 0.1), r"curvature \(3,\).* do not fit"),
        (lambda: expected_change([[1.0], [2.0, 3.0]], 1.0, 1.0, 1.0), "it is ragged"),
        (lambda: effective_curvature([0.1, 0.0], 1.0, 0.1), r"gradient\[1\] = 0: .* glass_step"),
        (lambda: optimal_change(0.3, 1.0, float("nan")), "density = nan"),
        (lambda: expected_change(0.3, 1.0, -1.0, 0.1), "density = -1"),
        (lambda: expected_change(0.3, 1e300, 0.0, 1e100), "step = 1e.100: the change overflows"),
        (lambda: exact_move(1.0), "memory = 1.0"),
        (lambda: exact_move(0.9, float("nan")), "lookahead = nan"),
    ],
)
def test_numbers_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
