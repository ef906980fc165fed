"""Certificates where rounding decides, and at the ends of the range of floating point."""

import math

import numpy as np
import pytest

from theory.plstar import certify_pl
from theory.tangent_models import DeepLinear, Linear, TwoLayer

PRODUCT = DeepLinear([[1.0]], (1, 1))
START = np.array([1.5, 0.5])


class Weak:
    """Outputs w1 and weak w2 + bend w2²/2: the second singular value falls at the rate bend."""

    def __init__(self, weak, bend):
        self.weak, self.bend = weak, bend

    def __call__(self, w):
        return np.array([w[0], self.weak * w[1] + self.bend * w[1] ** 2 / 2])

    def jacobian(self, w):
        return np.diag([1.0, self.weak + self.bend * w[1]])

    def bounds(self, w, radius):
        return max(1.0, self.weak + self.bend * (abs(w[1]) + radius)), self.bend


def test_a_constant_asked_for_is_never_certified_beyond_what_the_ball_has():
    # sigma² = 1e-16 at the start is below eps, the rounding of the kernel's largest eigenvalue 1;
    # at the ball's edge sigma is 1e-9: the constant there is a hundredth of the one asked for
    r = 1e-9
    radius = 2 * r / 1e-8
    model = Weak(1e-8, 0.9e-8 / radius)
    w, y = np.zeros(2), np.array([0.0, -r])
    edge = model.jacobian(np.array([0.0, -radius]))[1, 1]
    assert edge == pytest.approx(1e-9)
    for wanted in ({"mu": 1e-16}, {"mu": 1e-16, "radius": radius}, {"radius": radius}):
        c = certify_pl(model, w, y, **wanted)
        assert c.status == "uncertified"
        assert c.mu <= edge**2 * (1 + 1e-6)
    # half the ball's bend: certified, with the constant of its edge
    c = certify_pl(Weak(1e-8, 1e-9), w, np.array([0.0, -1e-9]))
    assert c.status == "certified"
    assert math.sqrt(c.mu) == pytest.approx(1e-8 - 1e-9 * c.radius, rel=1e-9)


def test_a_solution_of_a_model_without_bounds_whose_units_are_dead():
    relu = TwoLayer(np.eye(2), 2, "relu")
    w = -np.ones(4)
    c = certify_pl(relu, w, relu(w))
    assert c.status == "uncertified"
    assert (c.initial_mu, c.residual, c.step_size, c.rate) == (0.0, 0.0, 0.0, 1.0)


class Twins:
    """Two outputs that agree but for the last digit, as two rows of one product may."""

    def __call__(self, w):
        return np.array([w[0], np.nextafter(w[0], 9.0)])

    def jacobian(self, w):
        return np.ones((2, 1))

    def twins(self):
        return [(0, 1)]


def test_rounded_outputs_of_equal_samples_are_no_different_targets():
    same = certify_pl(Twins(), np.array([0.3]), np.array([0.1, 0.1]))
    assert same.status == "refuted"  # uniform conditioning fails all the same
    assert "no solution" not in same.reason
    other = certify_pl(Twins(), np.array([0.3]), np.array([0.1, 0.4]))
    assert "differ by 0.3, so L >= 0.0225 everywhere: there is no solution" in other.reason


def test_a_rounded_error_at_a_solution_is_no_lack_of_one():
    # (1.5, 0) is a solution, and so is (1.5 - 3t, t): outputs there are off by rounding alone
    model, y, seen = Linear([[1.0, 3.0], [3.0, 9.0]]), np.array([1.5, 4.5]), 0
    for t in np.linspace(0.1, 0.9, 400):
        c = certify_pl(model, np.array([1.5 - 3 * t, t]), y)
        seen += c.residual > 0
        assert "L >=" not in c.reason
    assert seen > 10


def test_a_solution_far_away_is_not_denied():
    # (1, 1e17) solves it; to double precision the second output does not depend on the start
    c = certify_pl(Linear(np.diag([1.0, 1e-17])), np.zeros(2), np.ones(2))
    assert c.status == "refuted"
    assert "1e-17 is 0 within rounding (4.44e-16)" in c.reason
    assert "a solution, if there is one, is at least 2.25e+15 away" in c.reason
    assert "zero gradient" not in c.reason
    zero = certify_pl(Linear(np.diag([1.0, 0.0])), np.zeros(2), np.ones(2))
    assert "output 1 has zero gradient" in zero.reason
    assert "L >= 0.5 everywhere: there is no solution" in zero.reason


@pytest.mark.parametrize("field", [0.3, 9.0, 15.0, 300.0])
def test_slopes_of_saturated_units_keep_their_digits(field):
    # tanh' = 1/cosh²; 1 - tanh² has 3 digits left at 15 and none at 300
    slope = TwoLayer([[1.0]], 1, outer=[1.0]).jacobian(np.array([field]))[0, 0]
    assert slope == pytest.approx(1 / math.cosh(field) ** 2, rel=1e-13, abs=0)


@pytest.mark.parametrize("radius", [1e160, 1e200, 1e308])
def test_a_ball_too_large_to_compute_on_certifies_nothing(radius):
    for model, w in ((PRODUCT, START), (TwoLayer(np.eye(2), 3, train="both"), np.ones(9))):
        c = certify_pl(model, w, model(w) + 0.1, radius=radius)
        assert (c.status, c.mu, c.step_size, c.rate) == ("uncertified", 0.0, 0.0, 1.0)


@pytest.mark.bad_input
@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
def test_squares_out_of_range_are_refused(scale):
    # never "refuted" because sigma² is 0, or certified with an infinite step
    with pytest.raises(ValueError, match="the norm of model.jacobian.*rescale"):
        certify_pl(Linear(np.diag([1.0, 2.0]) * scale), np.zeros(2), np.ones(2))
    with pytest.raises(ValueError, match="the norm of model.parameters. - targets.*rescale"):
        certify_pl(Linear(np.diag([1.0, 2.0])), np.zeros(2), np.ones(2) * scale)


@pytest.mark.bad_input
def test_outputs_that_overflow_are_refused():
    with pytest.raises(ValueError, match=r"model\(parameters\)\[0\] = inf"):
        certify_pl(PRODUCT, np.array([1e200, 1e200]), np.ones(1))
