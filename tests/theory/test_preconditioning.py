"""Preconditioned steps against dense solves, known values and their own derivations."""

import dataclasses
import math

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from theory import preconditioning
from theory.derivation import DerivationError
from theory.preconditioning import (
    kronecker_step,
    moving_average_weights,
    neuron_step,
    scaled_settings,
    split_damping,
    step_cost,
)

# a tanh network of three layers of units, four samples, true and sampled labels
X = np.array([[0.5, -1.0, 2.0], [1.5, 0.3, -0.7], [-0.8, 1.2, 0.4], [0.1, -0.6, -1.1]])
W1 = np.array([[0.2, -0.4, 0.6], [-0.5, 0.3, 0.1], [0.7, 0.2, -0.3], [-0.1, -0.6, 0.4]])
W2 = np.array([[0.3, -0.2, 0.5, 0.1], [-0.4, 0.6, 0.2, -0.3], [0.1, 0.4, -0.5, 0.7]])
LABELS, DRAWN = [0, 2, 1, 2], [1, 2, 0, 0]

FOOF_SUM = [-0.013242547847655368, 0.026312392785355763, 0.011633173781313578]
FOOF_MEAN = [-0.049100474851487136, 0.08064321130861103, 0.03713456953105413]
HEURISTIC = [-0.039845818884859135, 0.2085244787614733, 0.6396110586415333]
STANDARD = [-0.14848376466081897, -0.005355334665640421, 2.6815501220051554]
SPLIT = (1.6102786020799305, 0.031050527489725727)
NATURAL = [0.5243362784187249, 0.9916834803702935, 2.1708523526176764]
LAPLACE = [1.3726793250771694, 1.319297763120126, 1.3365168348273533, 1.3701655012465799]


def layers(labels):
    """Return inputs and output gradients of both layers, samples in rows."""
    hidden = np.tanh(X @ W1.T)
    logits = hidden @ W2.T
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    last = chances - np.eye(3)[labels]
    return [(X, last @ W2 * (1 - hidden**2)), (hidden, last)]


def factors():
    """Return gradient, summed input covariance and mean output covariance of the first layer."""
    (inputs, true), (_, drawn) = layers(LABELS)[0], layers(DRAWN)[0]
    return true.T @ inputs / 4, inputs.T @ inputs, drawn.T @ drawn / 4


def covariance(generator, size):
    root = generator.normal(size=(size, size + 1))
    return root @ root.T / size


def test_known_steps_of_a_small_network():
    G, A, E = factors()
    assert neuron_step(G, A, 0.3)[0] == pytest.approx(FOOF_SUM, abs=1e-14)
    assert neuron_step(G, A / 4, 0.3)[0] == pytest.approx(FOOF_MEAN, abs=1e-14)
    assert split_damping(A, E, 0.05) == pytest.approx(SPLIT, rel=1e-13)
    assert kronecker_step(G, A, E, 0.05)[0] == pytest.approx(HEURISTIC, abs=1e-12)
    found = kronecker_step(G, A, E, 0.05, rule="standard")[0]
    assert found == pytest.approx(STANDARD, abs=1e-12)


def columns(labels):
    """Return the draws' gradients over the root of their number, parameters in rows."""
    parts = [(e[:, :, None] * a[:, None, :]).reshape(4, -1) for a, e in layers(labels)]
    return np.concatenate(parts, axis=1).T / 2


def test_natural_gradient_by_the_derived_identities():
    root = columns(DRAWN)
    gram = sum((a @ a.T) * (e @ e.T) for a, e in layers(DRAWN)) / 4
    assert gram == pytest.approx(root.T @ root, abs=1e-15)
    u = columns(LABELS).sum(1) / 2
    backward = root @ np.linalg.solve(0.05 * np.eye(4) + gram, root.T @ u)
    found = (u - backward) / 0.05
    assert found == pytest.approx(np.linalg.solve(0.05 * np.eye(24) + root @ root.T, u), abs=1e-12)
    assert found[:3] == pytest.approx(NATURAL, abs=1e-12)


def test_laplace_samples_have_the_derived_covariance():
    prior, root = 0.7, columns(DRAWN)
    V = 2 * root / math.sqrt(prior)
    back = np.linalg.inv(np.eye(4) + V.T @ V)
    maps = np.concatenate([np.eye(24) - V @ back @ V.T, -V @ back], axis=1) / math.sqrt(prior)
    wanted = np.linalg.inv(prior * np.eye(24) + 4 * root @ root.T)
    assert maps @ maps.T == pytest.approx(wanted, abs=1e-13)
    assert np.diag(wanted)[:4] == pytest.approx(LAPLACE, abs=1e-13)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 5), st.floats(0.01, 100.0))
def test_steps_solve_their_dense_systems(seed, m, n, damping):
    generator = np.random.default_rng(seed)
    A, E = covariance(generator, m), covariance(generator, n)
    G = generator.normal(size=(n, m))
    dense = np.kron(E, A) + damping * np.eye(m * n)
    found = kronecker_step(G, A, E, damping, rule="standard").ravel()
    assert dense @ found == pytest.approx(G.ravel(), abs=1e-9)
    over_inputs, over_outputs = split_damping(A, E, damping)
    assert over_inputs * over_outputs == pytest.approx(damping, rel=1e-12)
    left, right = E + over_outputs * np.eye(n), A + over_inputs * np.eye(m)
    assert left @ kronecker_step(G, A, E, damping) @ right == pytest.approx(G, abs=1e-9)
    assert neuron_step(G, A, damping) @ (A + damping * np.eye(m)) == pytest.approx(G, abs=1e-9)
    twice = neuron_step(neuron_step(G, A, damping, 0.5), A, damping, 0.5)
    assert twice == pytest.approx(neuron_step(G, A, damping), rel=1e-9, abs=1e-12)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 200),
    st.sampled_from(["foof", "heuristic", "standard"]),
    st.sampled_from([0.5, 1.0]),
)
def test_translated_settings_make_the_same_steps(seed, samples, rule, power):
    generator = np.random.default_rng(seed)
    A, E, G = covariance(generator, 3), covariance(generator, 2), generator.normal(size=(2, 3))

    def step(scale, rate, damping):
        if rule == "foof":
            return rate * neuron_step(G, A * scale, damping, power)
        return rate * kronecker_step(G, A * scale, E, damping, rule=rule)

    power = power if rule == "foof" else 1.0
    rate, damping = scaled_settings(0.3, 2.0, samples, rule=rule, power=power)
    assert step(1, rate, damping) == pytest.approx(step(samples, 0.3, 2.0), rel=1e-9, abs=1e-12)
    back = scaled_settings(rate, damping, samples, rule=rule, to="sum", power=power)
    assert back == pytest.approx((0.3, 2.0), rel=1e-14)


def test_published_settings_in_mean_scaling():
    assert scaled_settings(30.0, 100.0, 100) == (0.3, 1.0)
    assert scaled_settings(0.3, 1.0, 100, rule="heuristic") == pytest.approx((0.003, 0.01))
    assert scaled_settings(1e-5, 1e-4, 100, rule="natural") == (1e-5, 1e-4)


def test_the_joint_step_fits_both_samples_where_the_gradient_does_not():
    inputs, targets = np.array([[3.0, 1.0], [1.0, 0.0]]), np.array([1.0, -1.0])
    gradient = -(targets @ inputs)[None]
    assert gradient.tolist() == [[-2.0, -1.0]]
    step = -neuron_step(gradient, inputs.T @ inputs, 1e-13)[0]
    assert step == pytest.approx([-1.0, 4.0], abs=1e-9)
    assert inputs @ step == pytest.approx(targets, abs=1e-9)


def test_the_transposed_basis_depends_on_signs():
    root = np.sqrt(0.5)
    basis, grid = np.array([[root, -root], [root, root]]), np.array([[4.0, 4.0], [2.0, 2.0]])
    G, E = np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[2.0, 1.0], [1.0, 2.0]])
    right = kronecker_step(G, np.eye(2), E, 1.0, rule="standard")
    published = {}
    for sign in (1, -1):
        turned = basis * [1, sign]
        assert turned @ np.diag([3, 1]) @ turned.T == pytest.approx(E, abs=1e-15)
        published[sign] = turned.T @ ((turned @ G) / grid)
    results = preconditioning.kronecker_damping().results
    assert published[1] == pytest.approx(np.array(results["transposed"], float), abs=1e-15)
    assert right == pytest.approx(np.array(results["counterexample"], float), abs=1e-15)
    assert published[-1] == pytest.approx(right, abs=1e-15)
    assert abs(published[1] - right).max() == pytest.approx(0.25, abs=1e-15)


def test_muon_is_half_power_descent_on_neurons_under_orthonormal_errors():
    generator = np.random.default_rng(3)
    inputs = generator.normal(size=(4, 7))
    errors = np.linalg.qr(generator.normal(size=(9, 7)))[0] * 0.3
    G = errors @ inputs.T
    left, _, right = np.linalg.svd(G, full_matrices=False)
    found = neuron_step(G, inputs @ inputs.T, 1e-13, 0.5) / 0.3
    assert found == pytest.approx(left @ right, abs=1e-9)


@given(st.integers(1, 200), st.floats(0.0, 0.999))
def test_moving_average_weights_are_those_of_the_recursion(updates, decay):
    weights = moving_average_weights(updates, decay)
    average, norm = np.zeros(updates), 0.0
    for unit in np.eye(updates):
        average, norm = decay * average + (1 - decay) * unit, decay * norm + (1 - decay)
    assert weights == pytest.approx(average / norm, rel=1e-9, abs=1e-15)
    assert weights.sum() == pytest.approx(1.0, rel=1e-14)
    share = preconditioning.moving_average().results["share"]
    m, k = sorted(share.free_symbols, key=str)[::-1]
    if decay:
        wanted = float(share.subs({m: sp.Float(decay, 30), k: updates}))
        assert (weights**2).sum() == pytest.approx(wanted, rel=1e-9)


def test_two_batches_of_decay_095():
    assert moving_average_weights(2, 0.95) * 1.95 == pytest.approx([0.95, 1.0], rel=1e-14)
    assert moving_average_weights(1, 0.95).tolist() == [1.0]


def test_costs_by_hand():
    cost = step_cost(20, 30, 7, rule="kfac", T=10, S=2)
    assert cost.passes == 3 * 7 * 600
    assert cost.factors == pytest.approx(7 * (400 + 900 + 600) / 5)
    assert cost.inverse == (8000 + 27000) / 20
    assert cost.apply == 600 * 50
    assert cost.total == cost.passes + cost.factors + cost.inverse + cost.apply
    assert step_cost(20, 30, 7, rule="foof-activation").apply == 7 * 400
    assert step_cost(20, 5, 7, rule="foof-activation").apply == 5 * 400
    assert step_cost(20, 30, 7, rule="kfac-activation").apply == 7 * (400 + 900)
    assert step_cost(20, 30, 7, rule="foof").apply == 30 * 400
    assert step_cost(20, 30, 7, rule="sgd", first=True).total == 2 * 7 * 600
    natural = step_cost(20, 30, 7, rule="natural", samples=5)
    assert (natural.factors, natural.apply) == (2 * 5 * 600 + 25 * 50, 2 * 5 * 600)
    assert step_cost(20, 30, 7, rule="kfac", first=True).factors == 7 * (400 + 900)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("neuron_descent", 22),
        ("preconditioner_scaling", 20),
        ("infinite_damping", 14),
        ("muon_half_power", 19),
        ("moving_average", 9),
        ("kronecker_damping", 34),
        ("kronecker_gauss_newton", 26),
        ("fisher_gauss_newton", 30),
        ("gram_natural_gradient", 19),
        ("laplace_samples", 9),
    ],
)
def test_derivations_check_and_can_fail(name, count):
    derivation = getattr(preconditioning, name)()
    assert derivation.page == f"derivations/{name}"
    assert derivation.check() == count
    for step in derivation.steps:
        spoiled = dataclasses.replace(step, residuals=(step.residuals[-1] + 1,))
        with pytest.raises(DerivationError):
            dataclasses.replace(derivation, steps=(spoiled,)).check()


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: neuron_step(np.ones((2, 3)), np.eye(2), 1.0), r"inputs has shape \(2, 2\)"),
        (lambda: neuron_step(np.ones((2, 3)), np.eye(3), 0.0), "damping = 0"),
        (lambda: neuron_step(np.ones((2, 3)), np.eye(3), 1.0, -1.0), "power = -1"),
        (lambda: neuron_step(np.ones((2, 3)), -np.eye(3), 1.0), "eigenvalue -1"),
        (lambda: neuron_step(np.ones((1, 2)), [[1, 1], [0, 1]], 1.0), "not symmetric"),
        (lambda: neuron_step([[math.nan]], np.eye(1), 1.0), "gradient"),
        (lambda: kronecker_step(np.ones((2, 3)), np.eye(3), np.eye(3), 1.0), "outputs has shape"),
        (lambda: kronecker_step(np.ones((1, 1)), [[1]], [[1]], 1.0, rule="no"), "rule = 'no'"),
        (lambda: kronecker_step(np.ones((1, 1)), [[1]], [[1]], -1.0), "damping = -1"),
        (lambda: split_damping(np.ones((2, 3)), np.eye(2), 1.0), "must be square"),
        (lambda: split_damping(np.eye(2), np.zeros((2, 2)), 1.0), "outputs has the trace 0"),
        (lambda: split_damping(np.eye(2), np.eye(2), 0.0), "damping = 0"),
        (lambda: scaled_settings(0.0, 1.0, 10), "learning_rate = 0"),
        (lambda: scaled_settings(1.0, 0.0, 10), "damping = 0"),
        (lambda: scaled_settings(1.0, 1.0, 0), "samples = 0"),
        (lambda: scaled_settings(1.0, 1.0, 10, rule="adam"), "rule = 'adam'"),
        (lambda: scaled_settings(1.0, 1.0, 10, to="half"), "to = 'half'"),
        (lambda: scaled_settings(1.0, 1.0, 10, power=-0.5), "power = -0.5"),
        (lambda: moving_average_weights(0, 0.5), "updates = 0"),
        (lambda: moving_average_weights(3, 1.0), "decay = 1"),
        (lambda: step_cost(0, 1, 1, rule="sgd"), "fan_in = 0"),
        (lambda: step_cost(1, 1, 1, rule="foof", T=2, S=3), "S = 3"),
        (lambda: step_cost(1, 1, 1, rule="newton"), "rule = 'newton'"),
        (lambda: step_cost(1, 1, 1, rule="natural", samples=0), "samples = 0"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
