"""The integrated matrix flow against naive integration, closed forms and golden values.

Golden numbers come from an independent implementation (eigendecompositions of the Gauss-Newton
matrix, SciPy's DOP853 at rtol 1e-12), inputs written out: no random numbers.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from small_networks import (
    RULES,
    TARGET,
    chain,
    covariance,
    flat,
    last,
    mild_network,
    naive,
    root_of,
    scalars,
    three_layers,
    unflat,
    wave,
)

from deeplinear import _stepper_kernels as stepper
from deeplinear.flow import matrix_flow
from deeplinear.matrices import blow_up_time
from deeplinear.rules import BlowUpError, CurvatureCorrection, matrix_velocity


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
    monkeypatch.setattr(stepper, "STEP_BUDGET", 50)
    with pytest.raises(ValueError, match="50 steps reach only t = "):
        last(RULES["GD"], scalars(3.0, 4.0), np.array([[100.0]]), 1e6)
