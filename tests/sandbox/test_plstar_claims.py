"""The experiments of the PL* claims against differences, dense Hessians and numbers by hand."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
import torch

from sandbox.claims.liu2022plstar import _curvature_derivations, _derivations, curvature
from sandbox.claims.liu2022plstar._experiments import (
    Chain,
    Composed,
    LinearSystem,
    ReluNetwork,
    TanhNetwork,
    descend,
    flow,
    kernel_minimum,
    slope,
    unit_circle,
)
from sandbox.claims.liu2022plstar._instances import MATRIX, TARGETS, chain, theorem_ball
from sandbox.claims.liu2022plstar._wide import (
    WideNetwork,
    block_norm,
    hessian_norms,
    kernel_matrix,
    limit_kernel,
    mean_largest,
    worst_norm,
)
from sandbox.claims.liu2022plstar.composition import bent, bent_slope
from sandbox.claims.liu2022plstar.stochastic import exact_mean
from theory.derivation import DerivationError
from theory.tangent_models import TwoLayer

SIGNS = np.array([1.0, -1.0, -1.0, 1.0, 1.0])
INPUTS = unit_circle((0.0, 1.0, 2.5))
SYSTEMS = {
    "linear": (LinearSystem(MATRIX), 5),
    "chain of 1": (Chain(), 1),
    "chain of 4": (Chain(), 4),
    "bent": (Composed(LinearSystem(MATRIX), bent, bent_slope), 5),
    "tanh": (TanhNetwork(INPUTS, SIGNS), 10),
    "relu": (ReluNetwork(INPUTS, SIGNS), 10),
}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def differences(function, w, step=1e-6):
    moves = step * np.eye(len(w))
    return np.stack([(function(w + d) - function(w - d)) / (2 * step) for d in moves], axis=-1)


def test_jacobians_are_the_derivatives_of_the_outputs(rng):
    for system, size in SYSTEMS.values():
        w = rng.standard_normal(size)
        wanted = differences(system.output, w)
        assert system.jacobian(w) == pytest.approx(wanted, abs=1e-8)
        assert system.jacobian(w) * 1.01 != pytest.approx(wanted, abs=1e-8)


def test_the_chain_may_pass_zero():
    assert Chain().jacobian(np.array([2.0, 0.0, 3.0])).tolist() == [[0.0, 6.0, 0.0]]


def test_the_softest_direction_is_downhill(rng):
    network = TanhNetwork(INPUTS, rng.choice([-1.0, 1.0], 40))
    w = rng.standard_normal(80)
    value, gradient = network.softest(w)
    assert value == pytest.approx(kernel_minimum(network, w), rel=1e-10)
    wanted = differences(lambda v: np.array(network.softest(v)[0]), w)
    assert gradient == pytest.approx(wanted, abs=1e-8)
    worst = network.worst_in_ball(w, 0.5)
    assert np.linalg.norm(worst - w) == pytest.approx(0.5, rel=1e-12)
    steps = rng.standard_normal((200, 80))
    steps *= 0.5 / np.linalg.norm(steps, axis=1, keepdims=True)
    random = min(network.softest(w + step)[0] for step in steps)
    assert value - network.softest(worst)[0] > 3 * (value - random) > 0


def test_descent_on_three_equations_has_the_known_losses():
    # by 40-digit arithmetic; the step is one over the largest eigenvalue
    end = descend(LinearSystem(MATRIX), np.zeros(5), TARGETS, 1 / 11.772001872658765584, 50)
    assert end.losses[10] == pytest.approx(0.00063205143027173514308, rel=1e-12)
    assert end.losses[50] == pytest.approx(4.1774738982043749015e-15, rel=1e-9)
    assert end.distance == pytest.approx(1.1948353773417359026, rel=1e-7)
    assert end.path >= end.distance
    short = descend(LinearSystem(MATRIX), np.zeros(5), TARGETS, 0.05, 50, below=1.0)
    assert short.losses[-1] < 1 <= short.losses[-2]


@pytest.mark.parametrize("stiff", [False, True])
def test_flow_of_two_weights_has_the_known_end_and_length(stiff):
    # end from the invariant w1² - w2² = 2, length by quadrature along the hyperbola
    times = np.array([0.0, 40.0])
    end = flow(Chain(), np.array([1.5, 0.5]), np.array([1.2]), times, stiff=stiff)[-1]
    wanted = [1.6006404765534735405, 0.74969989674624530978, 0.26937006105989240892]
    assert end == pytest.approx(wanted, rel=1e-7 if stiff else 1e-9)


def test_a_stochastic_step_by_hand():
    rows = [[Fraction(x) for x in row] for row in ((1, 1, 0), (0, 1, 1))]
    error = [Fraction(-1), Fraction(1)]
    assert exact_mean(rows, error, Fraction(1, 18), 2) == Fraction(587, 648)
    assert exact_mean(rows, error, Fraction(1, 10), 2) == Fraction(171, 200)
    # one sample: a plain descent step
    assert exact_mean(rows[:1], [Fraction(3)], Fraction(1, 4), 1) == Fraction(1, 4)


def test_blocks_are_those_of_the_dense_hessian(rng):
    width, x = 6, np.array([0.6, 0.8])
    network = WideNetwork.drawn(width, 2, rng)

    def output(weights):
        inner, outer = weights[: 2 * width].reshape(width, 2), weights[2 * width :]
        return outer @ torch.tanh(inner @ torch.from_numpy(x)) / width**0.5

    start = torch.from_numpy(np.append(network.inner.ravel(), network.outer))
    dense = torch.autograd.functional.hessian(output, start).numpy()
    norms = hessian_norms(network, x)
    assert norms.max() / width**0.5 == pytest.approx(np.linalg.norm(dense, 2), rel=1e-12)
    assert block_norm(network.outer, network.inner @ x) == pytest.approx(norms, rel=1e-12)


def test_the_worst_hessian_of_a_ball_is_between_the_start_and_the_bound(rng):
    network, x = WideNetwork.drawn(300, 2, rng), np.array([0.6, 0.8])
    weights = np.append(network.inner.ravel(), network.outer)
    bound = TwoLayer([x], 300, train="both").bounds(weights, 1.0)
    worst = worst_norm(network, x, 1.0) / 300**0.5
    assert hessian_norms(network, x).max() / 300**0.5 < 0.9 * worst
    assert 0.8 * bound[1] < worst <= bound[1]


def test_the_law_of_the_largest_block(rng):
    # a width of 1 is the mean block, here over a grid of two normal variables
    nodes = np.linspace(-8, 8, 1001)
    weights = np.exp(-(nodes**2) / 2)
    weights /= weights.sum()
    mean = weights @ block_norm(nodes[:, None], nodes) @ weights
    assert mean_largest(np.array([1])) == pytest.approx(mean, rel=1e-4)
    drawn = block_norm(*rng.standard_normal((2, 20_000, 30))).max(axis=1)
    error = drawn.std() / np.sqrt(len(drawn))
    assert mean_largest(np.array([30]))[0] == pytest.approx(drawn.mean(), abs=4 * error)


def test_wide_kernels_tend_to_their_limit(rng):
    network = WideNetwork.drawn(400_000, 2, rng)
    # entries have a standard deviation of about 1 a unit
    assert kernel_matrix(network, INPUTS) == pytest.approx(limit_kernel(INPUTS), abs=0.008)
    weights = np.append(network.inner[:50].ravel(), network.outer[:50])
    jacobian = TwoLayer(INPUTS, 50, train="both").jacobian(weights)
    few = WideNetwork(network.outer[:50], network.inner[:50])
    assert kernel_matrix(few, INPUTS) == pytest.approx(jacobian @ jacobian.T, rel=1e-12)


def test_the_published_ball_of_two_weights_ends_where_it_should():
    # (71 - 17 sqrt 17)/16 = 0.0567003 of |w0|²
    assert theorem_ball(chain("", (1.0, 0.0), 0.0566)).status == "certified"
    with pytest.raises(ValueError, match="mu = 0"):
        theorem_ball(chain("", (1.0, 0.0), 0.0568))


def test_slopes_and_their_errors():
    x = np.array([0.0, 1.0, 2.0])
    value, error = slope(x, 3 - 2 * x, np.full(3, 0.1))
    assert (value, error) == pytest.approx((-2.0, 0.1 / np.sqrt(2)))


def test_hessians_of_the_quadratic_maps_have_norm_one(rng):
    for hessians in curvature.quadratic_maps(6, rng).values():
        assert np.linalg.norm(hessians, 2, axis=(1, 2)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("derive", "count"),
    [
        (_derivations.loss_floors, 8),
        (_derivations.sign_flip, 9),
        (_derivations.two_equations_condition, 7),
        (_curvature_derivations.largest_hessian, 6),
        (_curvature_derivations.random_directions, 5),
        (_curvature_derivations.smoothness_norm, 4),
    ],
)
def test_derivations_check_and_can_fail(derive, count):
    derivation = derive()
    assert derivation.check() == count
    for step in derivation.steps:
        spoiled = dataclasses.replace(step, residuals=(step.residuals[-1] + 1,))
        with pytest.raises(DerivationError):
            dataclasses.replace(derivation, steps=(spoiled,)).check()


def test_the_mean_condition_number_of_two_equations():
    mean = _derivations.two_equations_condition().results["mean"]
    (m,) = mean.free_symbols
    assert [float(mean.subs(m, k).evalf()) for k in (2, 3, 5)] == pytest.approx([np.pi, 2, 4 / 3])
