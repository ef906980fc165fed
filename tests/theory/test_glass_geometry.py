"""Glass of boundaries in several parameters, against sums written out and inequalities."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from theory._glass_estimator_derivations import boundary_geometry
from theory.glass import HALF_NORMAL
from theory.glass_geometry import Boundaries

WORKED = Boundaries(
    np.array([[0.6, 0.8], [-0.5, 0.2], [0.1, -0.9]]),
    np.array([1.0, -2.0, 0.5]),
    np.array([10.0, 10.0, 10.0]),
)
LENGTHS = st.floats(-3, 3).map(lambda value: round(value, 3))


@st.composite
def landscapes(draw):
    """Return boundaries of up to 4 families in up to 4 parameters, and a step."""
    families, parameters = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    normals = draw(hnp.arrays(float, (families, parameters), elements=LENGTHS))
    normals[:, 0] += np.where(normals.any(axis=1), 0.0, 1.0)
    slopes = draw(hnp.arrays(float, families, elements=LENGTHS))
    rates = draw(hnp.arrays(float, families, elements=st.floats(0, 5)))
    step = draw(hnp.arrays(float, parameters, elements=LENGTHS))
    return Boundaries(normals, slopes, rates), step


def test_a_worked_example():
    # three families, by an independent program
    assert WORKED.effective_hessian() == pytest.approx(
        np.array([[-1.35, 6.35], [6.35, 9.65]]), rel=1e-14
    )
    assert WORKED.own() == pytest.approx([7.1625, 7.2625], rel=1e-14)
    assert WORKED.rademacher() == pytest.approx([7.9025, 7.7425], rel=1e-14)
    assert WORKED.density(np.array([0.8, -0.6])) == pytest.approx(6.22014, rel=1e-14)


@given(landscapes())
def test_own_value_measured_value_and_row_sum_are_in_order(case):
    walls, _ = case
    rows = walls.matrix()
    assert np.diag(rows) == pytest.approx(walls.own(), rel=1e-12, abs=1e-12)
    assert (walls.own() <= walls.rademacher() * (1 + 1e-12) + 1e-12).all()
    assert (walls.rademacher() <= rows.sum(axis=1) * (1 + 1e-12) + 1e-12).all()


@given(landscapes())
def test_the_mean_over_signs_written_out(case):
    walls, _ = case
    count = walls.normals.shape[1]
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=count)))
    along = np.abs(signs @ walls.normals.T).mean(axis=0)
    wanted = [
        sum(r * a**2 * n[i] ** 2 * m for n, a, r, m in zip(
            walls.normals, walls.slopes, walls.rates, along, strict=True))
        for i in range(count)
    ]  # fmt: skip
    assert walls.rademacher() == pytest.approx(wanted, rel=1e-12, abs=1e-12)


def test_the_mean_over_many_signs():
    # equal normals: the mean size of a sum of n signs is 2 ceil(n/2) C(n, ceil(n/2)) / 2^n
    for count, mean in ((1, 1.0), (12, 2 * 6 * 924 / 2**12), (15, 2 * 8 * 6435 / 2**15)):
        wall = Boundaries(np.ones((1, count)), np.array([2.0]), np.array([0.5]))
        assert wall.rademacher() == pytest.approx(np.full(count, 2 * mean), rel=1e-13)


@given(landscapes())
def test_readings_of_the_loss_change_and_their_bounds(case):
    walls, step = case
    found, n = walls.losses(step), len(step)
    room = 1 + 1e-9
    assert found.independent <= found.separable * room + 1e-12
    assert found.separable <= np.sqrt(n) * found.independent * room + 1e-12
    assert found.boundaries <= n * found.independent * room + 1e-12
    assert found.boundaries <= np.sqrt(n) * found.separable * room * np.sqrt(n) + 1e-12
    length = np.linalg.norm(step)
    if length > 0.1:
        wanted = HALF_NORMAL * np.sqrt(walls.density(step / length)) * length**1.5
        assert found.boundaries == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def test_aligned_boundaries_exceed_the_separable_sum():
    wall = Boundaries(np.ones((1, 4)), np.array([1.0]), np.array([1.0]))
    found = wall.losses(np.ones(4))
    assert found.separable / found.independent == pytest.approx(2.0, rel=1e-14)
    assert found.boundaries / found.separable == pytest.approx(2.0, rel=1e-14)


def test_axis_normals_have_no_neighbours():
    walls = Boundaries(np.diag([1.0, -2.0]), np.array([3.0, 1.0]), np.array([0.5, 2.0]))
    assert walls.own().tolist() == walls.rademacher().tolist() == [4.5, 16.0]
    assert walls.matrix().tolist() == [[4.5, 0.0], [0.0, 16.0]]


def test_the_derivation_gives_the_density():
    results = boundary_geometry().results
    total = 0.0
    for n, a, lam in zip(WORKED.normals, WORKED.slopes, WORKED.rates, strict=True):
        values = {"n_1": n[0], "n_2": n[1], "a": a, "lambda": lam}
        expression = results["rademacher"]
        total += float(expression.subs({s: values[s.name] for s in expression.free_symbols}))
    assert total == pytest.approx(WORKED.rademacher()[0], rel=1e-14)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Boundaries(np.ones((2, 2)), np.ones(3), np.ones(2)), "2, 3 and 2 families"),
        (lambda: Boundaries(np.ones((1, 2)), np.ones(1), [-1.0]), r"rates\[0\] = -1"),
        (lambda: Boundaries([[1.0, 0.0], [0.0, 0.0]], np.ones(2), np.ones(2)), r"normals\[1\] = 0"),
        (lambda: Boundaries([[float("nan"), 1.0]], [1.0], [1.0]), r"normals\[0, 0\] = nan"),
        (lambda: WORKED.density([1.0, 1.0]), "length 1.41421: must be a unit vector"),
        (lambda: WORKED.density([0.0, 0.0]), "length 0: must be a unit vector"),
        (lambda: Boundaries([[1.0, 1.0]], [1e200], [1.0]), "their products overflow"),
        (lambda: WORKED.losses([1e200, 1.0]), "step reaches 1e.200"),
        (lambda: WORKED.losses([1.0]), "step has 1 entries: must be 2"),
        (lambda: WORKED.losses([1.0, float("nan")]), r"step\[1\] = nan"),
        (
            lambda: Boundaries(np.ones((1, 21)), np.ones(1), np.ones(1)).rademacher(),
            "21 parameters: the mean over all signs takes at most 20",
        ),
    ],
)
def test_numbers_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
