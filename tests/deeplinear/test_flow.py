"""The integrated matrix flow against naive right-hand sides, closed forms and conservation laws.

Golden numbers come from an independent implementation (eigendecompositions of the Gauss-Newton
matrix, SciPy's DOP853 at rtol 1e-12), inputs written out below: no random numbers.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.linalg import expm, polar

from deeplinear import _matrix_kernels as kernels
from deeplinear.flow import matrix_flow
from deeplinear.matrices import blow_up_time
from deeplinear.rules import (
    BlowUpError,
    CurvatureCorrection,
    _corrected,
    matrix_velocity,
    partial_products,
)

TARGET = np.array([[1.5, 0.3, 0.0], [-0.2, 1.0, 0.1], [0.1, 0.0, 0.7]])
RULES = {
    "GD": CurvatureCorrection(0.0),
    "sqrtNGD": CurvatureCorrection(0.5),
    "NGD": CurvatureCorrection(1.0),
    "damped": CurvatureCorrection(1.0, damping=0.1),
    "NGD-d": CurvatureCorrection(1.0, "layer"),
    "sqrtNGD-d": CurvatureCorrection(0.5, "layer"),
}
FULL = ("GD", "sqrtNGD", "NGD", "damped")


def wave(k, rows, columns):
    a, b = np.meshgrid(np.arange(1, rows + 1), np.arange(1, columns + 1), indexing="ij")
    return np.sin(1.3 * a + 2.1 * b + 0.7 * k)


def three_layers():
    return [0.6 * np.eye(3) + 0.1 * wave(k, 3, 3) for k in (1, 2, 3)]


def random_network(seed, widths, scale=1.0):
    generator = np.random.default_rng(seed)
    pairs = zip(widths, widths[1:], strict=False)
    weights = [scale * generator.normal(size=(b, a)) for a, b in pairs]
    return weights, generator.normal(size=(widths[-1], widths[0]))


def mild_network(seed, widths):
    """Weights near rectangular identities, towards a target of the same kind: no singularity."""
    generator = np.random.default_rng(seed)

    def near(b, a, size):
        return size * np.eye(b, a) + 0.25 * generator.uniform(-1, 1, (b, a))

    pairs = zip(widths, widths[1:], strict=False)
    weights = [near(b, a, 0.9) for a, b in pairs]
    return weights, near(widths[-1], widths[0], 1.4)


def chain(weights):
    product = weights[0]
    for matrix in weights[1:]:
        product = matrix @ product
    return product


def imbalances(weights):
    return [b.T @ b - a @ a.T for a, b in zip(weights, weights[1:], strict=False)]


def flat(weights):
    return np.concatenate([matrix.ravel() for matrix in weights])


def unflat(state, shapes):
    cuts = np.cumsum([a * b for a, b in shapes])[:-1]
    return [part.reshape(s) for part, s in zip(np.split(state, cuts), shapes, strict=True)]


def psd_power(matrix, power, damping, cut=1e-20):
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    keep = values > cut * values[-1]
    gains = np.where(keep, (np.where(keep, values, 1.0) + damping) ** power, 0.0)
    return (vectors * gains) @ vectors.T


def jacobian_blocks(weights, root, order):
    """d vec(Wb R) / d vec(W_i), written from vec(AXB) in either order."""
    after, before = partial_products(weights)
    pairs = [(a, b @ root) for a, b in zip(after, before, strict=True)]
    if order == "F":
        return [np.kron(b.T, a) for a, b in pairs]
    return [np.kron(a, b.T) for a, b in pairs]


def naive(rule, weights, target, root, order, form):
    """The rule from its definition: powers of K = JJ' (form K), of H = J'J (form H), or SVD(J)."""
    blocks = jacobian_blocks(weights, root, order)
    error = ((chain(weights) - target) @ root).reshape(-1, order=order)
    groups = [np.hstack(blocks)] if rule.blocks == "full" else blocks
    parts = []
    for jacobian in groups:
        if form == "K":
            operator = psd_power(jacobian @ jacobian.T, -rule.power, rule.damping, 1e-12)
            parts.append(jacobian.T @ operator @ error)
        elif form == "H":
            operator = psd_power(jacobian.T @ jacobian, -rule.power, rule.damping, 1e-12)
            parts.append(operator @ jacobian.T @ error)
        else:
            left, values, right = np.linalg.svd(jacobian, full_matrices=False)
            keep = values > 1e-12 * values[0]
            gains = values[keep] * (values[keep] ** 2 + rule.damping) ** -rule.power
            parts.append(right[keep].T @ (gains * (left[:, keep].T @ error)))
    state = -rule.prefactor(len(weights)) * np.concatenate(parts)
    cuts = np.cumsum([matrix.size for matrix in weights])[:-1]
    return [
        part.reshape(matrix.shape, order=order)
        for part, matrix in zip(np.split(state, cuts), weights, strict=True)
    ]


def kernel_velocity(rule, weights, target, root=None):
    widths = np.array([weights[0].shape[1], *(matrix.shape[0] for matrix in weights)])
    kind = kernels.FULL if rule.blocks == "full" else kernels.LAYER
    problem = kernels.Problem(
        kernels.GRADIENT if rule.power == 0 else kind,
        widths,
        target,
        rule.power,
        rule.damping,
        rule.prefactor(len(weights)),
        root is None,
        np.eye(widths[0]) if root is None else root,
    )
    out = np.empty(sum(matrix.size for matrix in weights))
    kernels.velocity(problem, flat(weights), out)
    return unflat(out, [matrix.shape for matrix in weights])


def map_velocity(weights, velocity):
    after, before = partial_products(weights)
    return sum(a @ v @ b for a, v, b in zip(after, velocity, before, strict=True))


def last(rule, weights, target, time, **options):
    return [w[-1] for w in matrix_flow(rule, weights, target, np.array([time]), **options)]


def covariance(seed, size, rank):
    factor = np.random.default_rng(seed).normal(size=(size, rank))
    return factor @ factor.T + (0.3 * np.eye(size) if rank == size else 0.0)


def root_of(matrix):
    values, vectors = np.linalg.eigh(matrix)
    # an eigenvalue that is zero but for rounding would have a root far above rounding
    values = np.where(values > 1e-13 * values[-1], values, 0.0)
    return (vectors * np.sqrt(values)) @ vectors.T


def worst(actual, expected):
    """Largest difference over the largest value, over all layers together."""
    size = max(np.abs(b).max() for b in expected)
    return max(np.abs(a - b).max() for a, b in zip(actual, expected, strict=True)) / size


@pytest.mark.parametrize("widths", [(3, 2), (3, 3, 3), (3, 4, 5), (4, 2, 5), (3, 4, 3, 2)])
@pytest.mark.parametrize("blocks", ["full", "layer"])
@pytest.mark.parametrize("whitened", [True, False])
def test_velocity_equals_the_definition(widths, blocks, whitened):
    weights, target = random_network(0, widths)
    root = None if whitened else root_of(covariance(1, widths[0], widths[0]))
    for power in (0.0, 0.3, 0.5, 1.0):
        for damping in (0.0, 1e-2):
            rule = CurvatureCorrection(power, blocks, damping)
            expected = matrix_velocity(rule, weights, target, root)
            # 1e-12: both round once per factorisation of matrices with condition below 1e3
            assert worst(kernel_velocity(rule, weights, target, root), expected) < 1e-12


@pytest.mark.parametrize("power", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("damping", [0.0, 1e-2])
@pytest.mark.parametrize("blocks", ["full", "layer"])
def test_parameter_and_function_space_forms_agree_in_both_vec_orders(power, damping, blocks):
    weights, target = random_network(3, (3, 3, 2, 3), 0.8)
    root = root_of(covariance(4, 3, 3))
    rule = CurvatureCorrection(power, blocks, damping)
    expected = kernel_velocity(rule, weights, target, root)
    for order in "FC":
        for form in ("K", "H"):
            # powers of Gram matrices lose the square of the Jacobian's condition number
            assert worst(naive(rule, weights, target, root, order, form), expected) < 1e-8


def test_the_wrong_vec_order_is_noticed():
    weights, target = random_network(3, (3, 3, 2, 3), 0.8)
    rule = CurvatureCorrection(1.0)
    right = naive(rule, weights, target, np.eye(3), "F", "SVD")
    after, before = partial_products(weights)
    mixed = np.hstack([np.kron(a, b.T) for a, b in zip(after, before, strict=True)])
    error = (chain(weights) - target).reshape(-1, order="F")
    swapped = -np.linalg.pinv(mixed) @ error
    assert np.abs(swapped - flat(right)).max() > 1e-2


@settings(max_examples=120)
@given(
    seed=st.integers(0, 10**6),
    widths=st.lists(st.integers(1, 3), min_size=2, max_size=4),
    power=st.sampled_from([0.0, 0.3, 0.5, 0.8, 1.0]),
    blocks=st.sampled_from(["full", "layer"]),
    damping=st.sampled_from([0.0, 0.0, 1e-2, 0.3]),
    scale=st.sampled_from([None, 0.7]),
    whitened=st.booleans(),
    order=st.sampled_from("FC"),
)
def test_flow_equals_naive_integration(
    seed, widths, power, blocks, damping, scale, whitened, order
):
    weights, target = mild_network(seed, widths)
    rule = CurvatureCorrection(power, blocks, damping, scale)
    sigma = None if whitened else covariance(seed, widths[0], widths[0])
    root = np.eye(widths[0]) if whitened else root_of(sigma)
    shapes = [matrix.shape for matrix in weights]

    def velocity(_, state):
        return flat(naive(rule, unflat(state, shapes), target, root, order, "SVD"))

    times = np.array([0.3, 0.8])
    reference = solve_ivp(
        velocity, (0, 0.8), flat(weights), "DOP853", times, rtol=1e-11, atol=1e-13
    ).y.T
    found = matrix_flow(rule, weights, target, times, input_covariance=sigma, rtol=1e-11)
    found = np.concatenate([w.reshape(2, -1) for w in found], axis=1)
    assert np.abs(found - reference).max() / np.abs(reference).max() < 1e-9


@pytest.mark.parametrize("rtol", [1e-5, 1e-8, 1e-11])
@pytest.mark.parametrize("power", [0.0, 1.0])
def test_the_error_stays_within_ten_times_rtol(rtol, power):
    # scalar closed forms from a small start: u = s/(1+(s/u0-1)e^{-2st}), u = s+(u0-s)e^{-t}
    start, times = 1e-3, np.array([1.0, 3.0, 6.0])
    weights = [np.array([[start]]), np.array([[start]])]
    first, _ = matrix_flow(CurvatureCorrection(power), weights, np.array([[2.0]]), times, rtol=rtol)
    if power == 0.0:
        product = 2.0 / (1 + (2.0 / start**2 - 1) * np.exp(-4.0 * times))
    else:
        product = 2.0 + (start**2 - 2.0) * np.exp(-times)
    assert np.abs(first.ravel() / np.sqrt(product) - 1).max() < 10 * rtol


@pytest.mark.parametrize("blocks", ["full", "layer"])
def test_small_starts_of_fast_rules_are_followed(blocks):
    # speed ~ a^{-3} at first; the closed forms of one mode with ratios (layer), squares (full)
    start = np.array([1e-3, 1e-3, 2e-3, 1e-3])
    weights = [np.array([[w]]) for w in start]
    found = np.array(last(CurvatureCorrection(1.0, blocks), weights, np.eye(1), 0.5)).ravel()
    product = 1 + (start.prod() - 1) * np.exp(-0.5)
    if blocks == "layer":
        expected = start * (product / start.prod()) ** 0.25
    else:
        squares = np.roots([1, 3e-6, 0, 0, -(product**2)])
        small = squares[(np.abs(squares.imag) < 1e-12) & (squares.real > 0)].real[0]
        expected = np.sqrt(small + np.array([0, 0, 3e-6, 0]))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


GOLDEN_MAPS = {
    "GD": ([1.4461984129853631, 0.3034849500582685, 0.08921283608863143], 0.04651710826764341),
    "sqrtNGD": (
        [1.350510309149989, 0.27967555633187824, 0.03278160940193626],
        0.028842330010943665,
    ),
    "NGD": ([1.193762155897043, 0.24775448269509007, 0.004902774958930145], 0.06860829805572585),
    "damped": ([1.1603062730481024, 0.24298742223475986, 0.01210727791307796], 0.08603929050891669),
    "NGD-d": ([1.1937621558970393, 0.24775448269509012, 0.0049027749589301275], 0.0686082980557273),
    "sqrtNGD-d": (
        [1.3496772055295843, 0.2775655836738466, 0.03595048677998972],
        0.029106979605991005,
    ),
}


@pytest.mark.parametrize("name", GOLDEN_MAPS)
def test_three_unaligned_layers(name):
    row, loss = GOLDEN_MAPS[name]
    product = chain(last(RULES[name], three_layers(), TARGET, 1.5, rtol=1e-12))
    # 1e-9: the golden values were integrated with rtol 1e-12
    np.testing.assert_allclose(product[0], row, atol=1e-9)
    assert 0.5 * np.linalg.norm(product - TARGET) ** 2 == pytest.approx(loss, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "drift"), [("NGD-d", 0.20503770742443664), ("sqrtNGD-d", 0.07378596660507772)]
)
def test_layer_rules_break_the_conservation_law(name, drift):
    start = three_layers()
    end = last(RULES[name], start, TARGET, 1.5, rtol=1e-12)
    found = max(
        np.linalg.norm(a - b) for a, b in zip(imbalances(end), imbalances(start), strict=True)
    )
    assert found == pytest.approx(drift, rel=1e-9)


@pytest.mark.parametrize("whitened", [True, False])
@pytest.mark.parametrize("name", FULL)
def test_full_rules_conserve_every_imbalance(name, whitened):
    start = three_layers()
    sigma = None if whitened else covariance(7, 3, 3)
    end = last(RULES[name], start, TARGET, 5.0, input_covariance=sigma, rtol=1e-11)
    assert worst(imbalances(end), imbalances(start)) < 1e-9


def test_natural_gradient_layers_of_the_three_layer_net():
    end = last(RULES["NGD"], three_layers(), TARGET, 1.5, rtol=1e-12)
    golden = [
        [1.0662962117468209, 0.06264051701446717, 0.03837440524192267],
        [-0.08186692305835831, 0.958866443864656, 0.06759003443808963],
        [-0.023970484093512844, 0.04044417448002956, 0.8133928719184677],
    ]
    np.testing.assert_allclose(end[0], golden, atol=1e-9)
    layers = last(RULES["NGD-d"], three_layers(), TARGET, 1.5, rtol=1e-12)
    log_ratio = np.linalg.slogdet(layers[0])[1] - np.linalg.slogdet(layers[2])[1]
    assert log_ratio == pytest.approx(-0.07963044208516523, abs=1e-9)


def scalars(*values):
    return [np.array([[value]]) for value in values]


@pytest.mark.parametrize(
    ("rule", "time", "expected"),
    [
        (RULES["NGD"], 1.0, [0.8596466073179921, -0.8056005768824481, -0.8596466073179921]),
        (RULES["GD"], 10.0, [1.0151779530400422, -0.9698382732902268, -1.0151779530400422]),
        (
            RULES["NGD-d"],
            0.9 * np.log(1.1),
            [0.22875654396668896, 0.18300523517335118, -0.22875654396668896],
        ),
    ],
)
def test_wrong_sign_start(rule, time, expected):
    end = last(rule, scalars(0.5, 0.4, -0.5), np.eye(1), float(time), rtol=1e-12)
    np.testing.assert_allclose(np.array(end).ravel(), expected, atol=1e-9)


def test_one_spare_hidden_unit_passes_the_singularity():
    first, second = np.array([[0.5], [0.4]]), np.array([[-0.5, 0.1]])
    one, two = last(RULES["NGD-d"], [first, second], np.eye(1), 1.0, rtol=1e-12)
    product = (two @ one).item()
    lengths = np.linalg.norm(one), np.linalg.norm(two)
    assert product == pytest.approx(0.5548658761825603, abs=1e-9)
    assert lengths[0] ** 2 * lengths[1] ** 2 - product**2 == pytest.approx(0.0625, abs=1e-9)
    assert lengths[0] / lengths[1] == pytest.approx(1.255755978254962, abs=1e-9)


@pytest.mark.parametrize(
    ("power", "invariant", "loss"),
    [
        (1.0, -0.9996638157922284, 0.07126690031093451),
        (0.5, -0.4994612803538385, 0.04155584916559928),
    ],
)
def test_damped_layer_rules_keep_a_schatten_difference(power, invariant, loss):
    weights = [0.5 * wave(1, 4, 3), 0.5 * wave(2, 5, 4)]
    target = wave(3, 5, 3)
    rule = CurvatureCorrection(power, "layer", damping=1e-2, scale=1.0)
    end = last(rule, weights, target, 1.0, rtol=1e-12)

    def difference(first, second):
        a = np.linalg.eigvalsh(first @ first.T) + 1e-2
        b = np.linalg.eigvalsh(second.T @ second) + 1e-2
        if power == 1.0:
            return np.log(a).sum() - np.log(b).sum()
        return (a ** (1 - power)).sum() - (b ** (1 - power)).sum()

    assert difference(*weights) == pytest.approx(invariant, abs=1e-9)
    assert difference(*end) == pytest.approx(invariant, abs=1e-9)
    assert 0.5 * np.linalg.norm(end[1] @ end[0] - target) ** 2 == pytest.approx(loss, abs=1e-9)


def test_square_root_speed_is_the_error():
    weights, target = [0.5 * wave(1, 4, 3), 0.5 * wave(2, 5, 4)], wave(3, 5, 3)
    speed = np.linalg.norm(flat(kernel_velocity(RULES["sqrtNGD"], weights, target)))
    assert speed == pytest.approx(2.7434721362523367, rel=1e-12)
    weights, target = random_network(5, (3, 3, 3, 3))
    error = np.linalg.norm(chain(weights) - target)
    assert np.linalg.norm(
        flat(kernel_velocity(RULES["sqrtNGD"], weights, target))
    ) == pytest.approx(error, rel=1e-12)
    block = CurvatureCorrection(0.5, "layer", scale=0.7)
    for part, a, b in zip(
        kernel_velocity(block, weights, target), *partial_products(weights), strict=True
    ):
        assert np.linalg.norm(part) == pytest.approx(0.7 * error, rel=1e-12)
        # the polar form of the square-root rule
        expected = -0.7 * polar(a)[0].T @ (chain(weights) - target) @ polar(b)[0].T
        np.testing.assert_allclose(part, expected, atol=1e-12)


IMBALANCE = {
    0.3: (0.04771675, 0.04772667, 0.04773157, 0.17462351, 0.76999218),
    0.1: (0.00538896, 0.00538912, 0.0053892, 0.06041089, 0.76999218),
    0.03: (0.0004859, 0.0004859, 0.0004859, 0.01835599, 0.76999218),
}


@pytest.mark.parametrize("sigma", IMBALANCE)
def test_end_imbalance_scales_as_the_start_to_the_two_minus_two_q(sigma):
    eye = np.eye(3)
    weights = [sigma * (eye + 0.3 * wave(1, 3, 3)), sigma * (0.7 * eye + 0.3 * wave(2, 3, 3))]
    names = ("GD", "sqrtNGD", "NGD", "sqrtNGD-d", "NGD-d")
    times = (30.0, 30.0, 20.0, 20.0, 20.0)
    for name, time, expected in zip(names, times, IMBALANCE[sigma], strict=True):
        end = last(RULES[name], weights, TARGET, time)
        relative = np.linalg.norm(imbalances(end)[0]) / np.linalg.norm(end[0] @ end[0].T)
        # the golden values are rounded to 8 decimals
        assert relative == pytest.approx(expected, abs=6e-9), name


@pytest.mark.parametrize(
    ("name", "deviation"),
    [("GD", 0.32312744457035336), ("sqrtNGD", 0.11771111526402936), ("NGD", 0.0), ("NGD-d", 0.0)],
)
def test_only_natural_gradient_maps_follow_the_chord(name, deviation):
    eye = np.eye(3)
    weights = [0.6 * eye + 0.2 * wave(1, 3, 3), 0.5 * eye + 0.2 * wave(2, 3, 3)]
    start = weights[1] @ weights[0]
    chord = (TARGET - start) / np.linalg.norm(TARGET - start)
    first, second = matrix_flow(RULES[name], weights, TARGET, np.linspace(0.2, 6, 15), rtol=1e-12)
    moved = second @ first - start
    along = (moved * chord).sum(axis=(1, 2), keepdims=True) * chord
    found = np.linalg.norm(moved - along, axis=(1, 2)).max()
    assert found == pytest.approx(deviation, abs=1e-9)


def test_end_gram_matrices_are_shared_only_from_lambda_balanced_starts():
    eye = np.eye(3)
    generic = [0.6 * eye + 0.2 * wave(1, 3, 3), 0.5 * eye + 0.2 * wave(2, 3, 3)]
    first = 0.4 * eye + 0.2 * wave(1, 3, 3)
    rotation = polar(eye + 0.3 * wave(2, 3, 3))[0]
    balanced = [first, rotation @ root_of(first @ first.T + 0.3 * eye)]
    for weights, times, grams, layers in (
        (generic, (40.0, 34.0), 0.008338181593089786, None),
        (balanced, (60.0, 34.0), 0.0, 0.0497441254588725),
    ):
        one = last(RULES["GD"], weights, TARGET, times[0], rtol=1e-12)[0]
        two = last(RULES["NGD"], weights, TARGET, times[1], rtol=1e-12)[0]
        assert np.abs(one.T @ one - two.T @ two).max() == pytest.approx(grams, abs=1e-9)
        if layers is not None:
            assert np.abs(one - two).max() == pytest.approx(layers, abs=1e-9)


@pytest.mark.parametrize("name", FULL)
def test_euler_steps_drift_by_the_square_of_the_step(name):
    weights, step = three_layers(), 0.1
    applied = matrix_velocity(RULES[name], weights, TARGET)
    after = [w + step * v for w, v in zip(weights, applied, strict=True)]
    for i, (new, old) in enumerate(zip(imbalances(after), imbalances(weights), strict=True)):
        expected = step**2 * (applied[i + 1].T @ applied[i + 1] - applied[i] @ applied[i].T)
        np.testing.assert_allclose(new - old, expected, atol=1e-14)
        assert np.abs(expected).max() > 1e-5


def test_wide_networks_move_their_map_straight():
    weights, target = random_network(8, (4, 7, 5))
    error = weights[1] @ weights[0] - target
    rule = CurvatureCorrection(1.0, "layer", scale=0.8)
    moved = map_velocity(weights, kernel_velocity(rule, weights, target))
    np.testing.assert_allclose(moved, -0.8 * 2 * error, atol=1e-11)
    full = map_velocity(weights, kernel_velocity(RULES["NGD"], weights, target))
    np.testing.assert_allclose(full, -error, atol=1e-11)


def test_bottlenecks_project_the_error():
    weights, target = random_network(9, (4, 2, 5))
    error = weights[1] @ weights[0] - target
    rows = np.linalg.pinv(weights[0]) @ weights[0]
    columns = weights[1] @ np.linalg.pinv(weights[1])
    full = map_velocity(weights, kernel_velocity(RULES["NGD"], weights, target))
    outside = (np.eye(5) - columns) @ error @ (np.eye(4) - rows)
    np.testing.assert_allclose(full, outside - error, atol=1e-11)
    rule = CurvatureCorrection(1.0, "layer", scale=0.8)
    layer = map_velocity(weights, kernel_velocity(rule, weights, target))
    np.testing.assert_allclose(layer, -0.8 * (columns @ error + error @ rows), atol=1e-11)


@pytest.mark.parametrize("blocks", ["full", "layer"])
@pytest.mark.parametrize("power", [0.0, 0.3, 0.5, 1.0])
def test_commuting_inputs_change_the_clock_of_each_mode(power, blocks):
    variances, modes = np.array([0.4, 1.0, 2.5]), np.array([1.5, 1.0, 0.7])
    weights = [np.diag([0.5, 0.4, 0.6]), np.diag([0.7, 0.3, 0.5]), np.diag([0.6, 0.8, 0.4])]
    rule = CurvatureCorrection(power, blocks)
    found = last(rule, weights, np.diag(modes), 0.9, input_covariance=np.diag(variances))
    for a, variance in enumerate(variances):
        clock = 0.9 * variance ** (1 - power)
        alone = last(rule, scalars(*(w[a, a] for w in weights)), modes[a].reshape(1, 1), clock)
        np.testing.assert_allclose([w[a, a] for w in found], np.array(alone).ravel(), rtol=1e-9)


def test_one_layer_is_a_linear_equation():
    sigma = covariance(2, 3, 3)
    start, target = wave(1, 2, 3), wave(2, 2, 3)
    end = last(RULES["GD"], [start], target, 0.7, input_covariance=sigma)[0]
    np.testing.assert_allclose(end, target + (start - target) @ expm(-0.7 * sigma), atol=1e-9)
    for blocks in ("full", "layer"):
        end = last(CurvatureCorrection(1.0, blocks), [start], target, 0.7, input_covariance=sigma)
        np.testing.assert_allclose(end[0], target + (start - target) * np.exp(-0.7), atol=1e-9)


@pytest.mark.parametrize("name", ["NGD", "NGD-d"])
def test_inputs_without_variance_are_left_alone(name):
    weights, target = mild_network(4, (3, 3, 3))
    sigma = covariance(5, 3, 2)
    null = np.linalg.svd(sigma)[2][-1]
    end = last(RULES[name], weights, target, 1.0, input_covariance=sigma)
    reference = solve_ivp(
        lambda _, y: flat(
            matrix_velocity(RULES[name], unflat(y, [(3, 3)] * 2), target, root_of(sigma))
        ),
        (0, 1),
        flat(weights),
        "DOP853",
        rtol=1e-11,
        atol=1e-13,
    ).y[:, -1]
    np.testing.assert_allclose(end[0] @ null, weights[0] @ null, atol=1e-9)
    np.testing.assert_allclose(flat(end), reference, atol=1e-9)


def test_conservation_needs_the_svd_of_the_jacobian():
    # a ReLU net with one nearly silent unit; the law says in-weights' = out-weights' per unit
    inputs, outputs = wave(1, 3, 20), wave(2, 2, 20)
    first, second = wave(3, 5, 3), wave(4, 2, 5)
    first[4], second[:, 4] = 2e-5 * first[4], 3e-5 * second[:, 4]
    hidden = first @ inputs
    active = (hidden > 0) * 1.0
    jacobian = np.vstack([
        np.hstack([
            np.kron(inputs[:, n][None], second * active[:, n]),
            np.kron(np.maximum(hidden[:, n], 0)[None], np.eye(2)),
        ])
        for n in range(20)
    ])
    residual = (second @ np.maximum(hidden, 0) - outputs).reshape(-1, order="F")

    def violation(velocity):
        one = velocity[:15].reshape(5, 3, order="F")
        two = velocity[15:].reshape(2, 5, order="F")
        broken = np.abs((first * one).sum(1) - (second * two).sum(0)).max()
        return broken / np.linalg.norm(velocity)

    by_svd = violation(_corrected(jacobian, residual, RULES["NGD"]))
    hessian = jacobian.T @ jacobian
    by_pinv = violation(np.linalg.pinv(hessian, rcond=1e-13) @ jacobian.T @ residual)
    damped = violation(_corrected(jacobian, residual, RULES["damped"]))
    half = violation(_corrected(jacobian, residual, RULES["sqrtNGD"]))
    assert max(by_svd, damped, half) < 1e-9
    assert by_pinv > 100 * by_svd
    blocks = [_corrected(j, residual, RULES["damped"]) for j in np.split(jacobian, [15], axis=1)]
    assert violation(np.concatenate(blocks)) > 1e-3


def test_predicted_blow_up_is_raised_and_its_cures_work():
    weights, target = [np.eye(2), np.eye(2)], np.diag([1.0, -0.5])
    with pytest.raises(BlowUpError, match="negative eigenvalue") as caught:
        last(RULES["NGD-d"], weights, target, 2.0)
    assert caught.value.time == pytest.approx(np.log(3.0), rel=1e-12)
    # just before it, the smallest singular value follows sqrt(-1/2 + 3/2 e^{-t})
    near = 0.999 * np.log(3.0)
    end = last(RULES["NGD-d"], weights, target, near, rtol=1e-12)[0]
    assert np.linalg.svd(end)[1][-1] == pytest.approx(0.02344371966980801, abs=1e-9)
    damped = CurvatureCorrection(1.0, "layer", damping=1e-2)
    np.testing.assert_allclose(chain(last(damped, weights, target, 1.0))[0, 0], 1.0, atol=1e-2)
    wide = [
        np.vstack([np.eye(2), 0.3 * np.ones((1, 2))]),
        np.hstack([np.eye(2), np.full((2, 1), 0.2)]),
    ]
    assert blow_up_time(wide, target) == np.inf
    product = chain(last(RULES["NGD-d"], wide, target, 30.0))
    np.testing.assert_allclose(product, target, atol=1e-9)


@pytest.mark.parametrize(
    ("rule", "start", "time"),
    [
        # exactly balanced with the wrong sign: u = 1 - 1.25 e^{-t} vanishes
        (CurvatureCorrection(1.0), (0.5, -0.5), np.log(1.25)),
        # da/dt = -(1 + a^2)/sqrt(2)
        (CurvatureCorrection(0.5), (0.5, -0.5), np.sqrt(2) * np.arctan(0.5)),
        # u = 1 - 1.2 e^{-t} at kappa d = 1, where no closed prediction is asked for
        (CurvatureCorrection(0.999, "layer"), (0.5, -0.4), np.log(1.2)),
    ],
)
def test_step_collapse_names_the_time(rule, start, time):
    with pytest.raises(BlowUpError, match="step size collapses") as caught:
        last(rule, scalars(*start), np.eye(1), 2.0)
    assert caught.value.time == pytest.approx(time, rel=2e-3 if rule.power == 0.999 else 1e-6)


def test_square_root_layer_rule_crosses_the_singularity():
    # |w_1| - |w_2| = 0.1 is kept; the smaller weight changes sign at finite speed
    end = np.array(last(CurvatureCorrection(0.5, "layer"), scalars(0.5, -0.4), np.eye(1), 2.0))
    assert (end > 0).all()
    assert end[0].item() - end[1].item() == pytest.approx(0.1, abs=1e-9)


def test_undamped_full_rules_leave_an_exact_saddle_alone():
    end = last(RULES["NGD"], scalars(0.0, 0.0), np.eye(1), 2.0)
    assert [w.item() for w in end] == [0.0, 0.0]


def test_output_times_repeat_and_start_at_zero():
    weights = three_layers()
    found = matrix_flow(RULES["GD"], weights, TARGET, np.array([0.0, 0.0, 0.4, 0.4]))
    for w, start in zip(found, weights, strict=True):
        np.testing.assert_array_equal(w[0], start)
        np.testing.assert_array_equal(w[2], w[3])
        assert not np.array_equal(w[0], w[2])


ONES = np.ones((2, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": []}, "non-empty list"),
        ({"weights": [np.eye(2), np.eye(3)]}, r"weights\[1\] has shape"),
        ({"weights": [np.full((2, 2), np.nan)]}, r"weights\[0\]\[0, 0\] = nan"),
        ({"target": np.eye(3)}, r"target has shape \(3, 3\): must be \(2, 2\)"),
        ({"times": np.array([1.0, 0.5])}, "must be sorted"),
        ({"rtol": 1e-20}, "rtol = 1e-20"),
        ({"input_covariance": np.eye(3)}, "input_covariance has shape"),
        ({"input_covariance": np.array([[1.0, 0.5], [0.0, 1.0]])}, "differs from its transpose"),
        ({"input_covariance": np.diag([1.0, -1.0])}, "eigenvalue -1: must be positive"),
        ({"weights": [np.eye(2), ONES]}, "product of layers 2 to 2 has rank 1"),
        ({"weights": [ONES, np.eye(2)]}, "inputs and layers 1 to 1 has rank 1"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"weights": [np.eye(2), np.eye(2)], "target": 2 * np.eye(2)} | change
    times = arguments.pop("times", np.array([1.0]))
    weights, target = arguments.pop("weights"), arguments.pop("target")
    with pytest.raises(ValueError, match=message):
        matrix_flow(RULES["NGD-d"], weights, target, times, **arguments)


def test_a_flow_too_stiff_is_refused(monkeypatch):
    monkeypatch.setattr(kernels, "STEP_BUDGET", 50)
    with pytest.raises(ValueError, match="50 steps reach only t = "):
        last(RULES["GD"], scalars(3.0, 4.0), np.array([[100.0]]), 1e6)
