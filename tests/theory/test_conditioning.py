"""Conditioning: golden kernels, composition by differences, Gaussian Jacobians by sampling."""

import dataclasses
import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory import conditioning, wide_kernels
from theory.derivation import DerivationError
from theory.tangent_models import DeepLinear, Linear, TwoLayer

CIRCLE = np.array([[math.cos(t), math.sin(t)] for t in (0.0, 1.0, 2.5)])


def test_golden_erf_kernel():
    # angles 0, 1, 2.5 on the circle, in 30 digits (mpmath); the same by neural-tangents
    kernel = wide_kernels.erf_kernel(CIRCLE)
    wanted = [
        0.70088593028119469967,
        0.35277257238322918121,
        -0.54069367517424770136,
        0.70088593028119469967,
        0.045051494799555216283,
        0.70088593028119469967,
    ]
    assert kernel[np.triu_indices(3)] == pytest.approx(wanted, rel=1e-13)
    assert np.array_equal(kernel, kernel.T)
    eigenvalues = np.linalg.eigvalsh(kernel)
    assert eigenvalues[0] == pytest.approx(0.034100502469813144254, rel=1e-12)
    assert eigenvalues[2] == pytest.approx(1.3264697979318004947, rel=1e-13)


def test_erf_kernel_by_quadrature():
    # second route: Gauss-Hermite over the two weights of a unit, of erf erf + x.x' erf' erf' / d
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    w = np.stack([g.ravel() for g in np.meshgrid(nodes, nodes)])
    p = np.outer(weights, weights).ravel() / (2 * math.pi)
    from scipy.special import erf

    fields = CIRCLE @ w / math.sqrt(2)
    slopes = 2 / math.sqrt(math.pi) * np.exp(-(fields**2))
    by_sum = (erf(fields) * p) @ erf(fields).T + (CIRCLE @ CIRCLE.T / 2) * ((slopes * p) @ slopes.T)
    assert np.abs(by_sum - wide_kernels.erf_kernel(CIRCLE)).max() < 1e-9


def test_erf_kernel_is_the_limit_of_networks():
    # inputs divided by sqrt(d) and standard normal weights; entries are means over m units whose
    # contributions have standard deviation below 2: 4 sigma is 8/sqrt(m)
    m = 20000
    model = TwoLayer(CIRCLE / math.sqrt(2), m, "erf", "both")
    w = np.random.default_rng(4).normal(size=model.parameter_count)
    found = conditioning.tangent_kernel(model, w)
    assert np.abs(found - wide_kernels.erf_kernel(CIRCLE)).max() < 8 / math.sqrt(m)


def test_slope_moments():
    # E sech⁴ in 30 digits (mpmath)
    assert wide_kernels.slope_second_moment("tanh") == pytest.approx(
        0.46440290244826824197, rel=1e-13
    )
    for s in (1e-300, 1e-3, 0.3, 1.0, 7.0, 1000.0):
        erf = 4 / math.pi / math.sqrt(1 + 4 * s**2)
        assert wide_kernels.slope_second_moment("erf", s) == pytest.approx(erf, rel=1e-11)
    assert wide_kernels.slope_second_moment("sin", 0.8) == pytest.approx(
        (1 + math.exp(-2 * 0.64)) / 2, rel=1e-12
    )
    assert wide_kernels.slope_second_moment("relu") == 0.5
    # steep: E sech⁴(sz) -> density(0) int sech⁴ = 4/(3 s sqrt(2 pi))
    assert wide_kernels.slope_second_moment("tanh", 1000.0) == pytest.approx(
        4 / (3000 * math.sqrt(2 * math.pi)), rel=1e-6
    )


def test_a_wide_tanh_network_has_the_moment_for_eigenvalue():
    model = TwoLayer(np.eye(2), 40000)
    w = np.random.default_rng(8).normal(size=model.parameter_count)
    kernel = conditioning.tangent_kernel(model, w)
    # diagonal entries are means of sech⁴, of standard deviation below 0.4; 5 sigma
    moment = wide_kernels.slope_second_moment("tanh")
    assert np.abs(kernel - moment * np.eye(2)).max() < 5 * 0.4 / 200


def test_certifying_widths():
    # 12 digits (mpmath), two orthonormal inputs, |r0| = 1, |tanh''| <= 4/(3 sqrt 3)
    least, bend = wide_kernels.slope_second_moment("tanh"), 4 / (3 * math.sqrt(3))

    def width(proof):
        return conditioning.certifying_width(least, bend, 1.0, outputs=2, proof=proof)

    assert width("published") == pytest.approx(6522.98647546, rel=1e-11)
    assert width("path") == pytest.approx(1277.98334374, rel=1e-11)
    assert width("singular value") == pytest.approx((8 * bend / least) ** 2, rel=1e-14)
    # the first two are the least widths over all constants that theorem 2 allows
    mus = np.linspace(0.01, 0.99, 9801) * least
    radii = {"published": 2 / mus, "path": 2 / np.sqrt(mus)}
    for proof, R in radii.items():
        limits = [
            conditioning.hessian_control_limit(least, mu, 1.0, 2, ball)
            for mu, ball in zip(mus, R, strict=True)
        ]
        assert (bend / max(limits)) ** 2 == pytest.approx(width(proof), rel=1e-6)


def test_derived_widths_are_what_is_computed():
    results = conditioning.singular_value_certificate().results
    at = {"lambda": 0.4, "b": 0.7, "r": 1.3, "n": 3, "l": 1.7}
    for proof in ("published", "path", "singular value"):
        formula = results[f"{proof} width"]
        wanted = float(formula.subs({s: at[s.name] for s in formula.free_symbols}))
        found = conditioning.certifying_width(0.4, 0.7, 1.3, outputs=3, lipschitz=1.7, proof=proof)
        assert found == pytest.approx(wanted, rel=1e-13)


def test_hessian_control_holds_on_the_ball():
    # product model: |H| = 1, lipschitz N + R; where the control allows mu, every point has it
    N = 2.0
    for R in (0.05, 0.2, 0.4):
        mu = N**2 - 2 * (N + R) * R
        assert conditioning.hessian_control_limit(N**2, mu, N + R, 1, R) == pytest.approx(1.0)
        assert mu <= (N - R) ** 2


@given(st.integers(0, 10**6))
def test_kernels_of_compositions_add(seed):
    # h(a, b) = g(a; f(b)) as one model: f = B x, g = A tanh(f), by complex steps
    rng = np.random.default_rng(seed)
    X, a, b = rng.normal(size=(2, 3)), rng.normal(size=(2, 2)), rng.normal(size=(2, 3))

    def whole(theta):
        outer, inner = theta[:4].reshape(2, 2), theta[4:].reshape(2, 3)
        return (np.tanh(X @ inner.T) @ outer.T).ravel()

    theta = np.concatenate([a.ravel(), b.ravel()])
    J = np.stack([whole(theta + 1e-30j * e).imag / 1e-30 for e in np.eye(10)], axis=1)
    hidden = X @ b.T

    def outer_model(f):
        return (np.tanh(f.reshape(2, 2)) @ a.T).ravel()

    flat = hidden.ravel()
    J_g = np.stack([outer_model(flat + 1e-30j * e).imag / 1e-30 for e in np.eye(4)], axis=1)
    own = np.kron(np.tanh(hidden) @ np.tanh(hidden).T, np.eye(2))
    K_f = conditioning.tangent_kernel(DeepLinear(X, (2,)), b.ravel())
    found = conditioning.composed_kernel(own, J_g, K_f)
    scale = np.abs(found).max()
    assert np.abs(found - J @ J.T).max() < 1e-12 * scale
    # the sum is no worse conditioned than its first part
    least = np.linalg.eigvalsh(found)[0]
    assert least >= np.linalg.eigvalsh(own)[0] - 1e-12 * scale


@given(st.integers(0, 10**6))
def test_an_output_map_costs_its_least_stretch(seed):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(3, 6))
    z = A @ rng.normal(scale=3, size=6)
    J = np.diag(1 + np.cos(z) / 2) @ A  # of z + sin(z)/2, which stretches by 1/2 at least
    least = np.linalg.eigvalsh(A @ A.T)[0]
    assert np.linalg.eigvalsh(J @ J.T)[0] >= conditioning.composed_constant(least, 0.5) - 1e-13


@given(st.integers(0, 10**6), st.integers(2, 9))
def test_separated_inputs_keep_a_fourier_kernel_conditioned(seed, n):
    d = conditioning.fourier_separation(n)
    assert conditioning.fourier_kernel_bound(n, d) == pytest.approx(0.5, abs=1e-13)
    f = np.cumsum(np.random.default_rng(seed).uniform(d, 1.2 * d, size=n))
    kernel = np.exp(-(n**2) * np.subtract.outer(f, f) ** 2 / 2)
    least = np.linalg.eigvalsh(kernel)[0]
    assert least >= conditioning.fourier_kernel_bound(n, np.diff(f).min()) - 1e-13
    assert least >= 0.5 - 1e-13


@pytest.mark.parametrize(("m", "bound"), [(12, 7.77), (20, 6.20), (40, 5.51), (200, 5.09)])
def test_gaussian_jacobians_are_conditioned(m, bound):
    # bounds to two decimals by hand; the mean of 200 draws stays below with its standard error
    found = conditioning.gaussian_condition_bound(10, m)
    assert round(found, 2) == bound
    spectra = np.linalg.svd(np.random.default_rng(m).normal(size=(200, 10, m)), compute_uv=False)
    logs = 2 * np.log(spectra[:, 0] / spectra[:, -1])
    assert logs.mean() + 4 * logs.std() / math.sqrt(200) < found


def test_codimension_by_counting():
    # n x m matrices of rank n - 1: (n - 1)(n + m - (n - 1)) dimensions of n m
    for n, m in ((1, 2), (2, 2), (3, 7)):
        assert conditioning.singular_codimension(n, m) == n * m - (n - 1) * (m + 1)


@pytest.mark.parametrize(
    ("function", "count"),
    [
        (conditioning.singular_value_certificate, 9),
        (conditioning.composition_conditioning, 7),
        (wide_kernels.erf_tangent_kernel, 4),
    ],
)
def test_derivations_check_and_can_fail(function, count):
    derivation = function()
    assert derivation.page == f"derivations/{function.__name__}"
    assert derivation.check() == count
    for number, step in enumerate(derivation.steps):
        if step.residuals:
            spoiled = dataclasses.replace(step, residuals=(step.residuals[-1] + 1,))
            steps = (*derivation.steps[:number], spoiled)
            with pytest.raises(DerivationError):
                dataclasses.replace(derivation, steps=steps).check()


def test_the_derived_kernel_is_the_computed_one():
    formula = wide_kernels.erf_tangent_kernel().results["kernel"]
    x = np.array([[0.3, -1.2], [2.0, 0.4]])
    q = x @ x.T / 2
    at = {"q11": q[0, 0], "q12": q[0, 1], "q22": q[1, 1]}
    wanted = float(formula.subs({s: at[s.name] for s in formula.free_symbols}))
    assert wide_kernels.erf_kernel(x)[0, 1] == pytest.approx(wanted, rel=1e-13)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: conditioning.tangent_kernel(TwoLayer(CIRCLE, 2), [1.0]), "parameters has 1"),
        (lambda: conditioning.hessian_control_limit(1, 2, 1, 1, 1), "mu = 2"),
        (lambda: conditioning.hessian_control_limit(0, 1, 1, 1, 1), "initial_mu = 0"),
        (lambda: conditioning.hessian_control_limit(1, 1, 0, 1, 1), "lipschitz = 0"),
        (lambda: conditioning.hessian_control_limit(1, 1, 1, 0, 1), "outputs = 0"),
        (lambda: conditioning.hessian_control_limit(1, 1, 1, 1, 0), "radius = 0"),
        (lambda: conditioning.certifying_width(0, 1, 1, proof="path"), "initial_mu = 0"),
        (lambda: conditioning.certifying_width(1, -1, 1, proof="path"), "bend = -1"),
        (lambda: conditioning.certifying_width(1, 1, -1, proof="path"), "residual = -1"),
        (lambda: conditioning.certifying_width(1, 1, 1, proof="weyl"), "proof = 'weyl'"),
        (lambda: conditioning.composed_constant(0, 1), "mu = 0"),
        (lambda: conditioning.composed_constant(1, 0), "least_stretch = 0"),
        (lambda: conditioning.composed_kernel([[1.0]], [[1.0, 2.0]], [[1.0]]), "inner_kernel has"),
        (lambda: conditioning.composed_kernel(np.eye(2), [[1.0]], [[1.0]]), "outer_kernel has"),
        (lambda: conditioning.fourier_separation(1), "samples = 1"),
        (lambda: conditioning.fourier_kernel_bound(2, -1), "separation = -1"),
        (lambda: conditioning.gaussian_condition_bound(3, 3), "parameters = 3"),
        (lambda: conditioning.singular_codimension(3, 2), "parameters = 2"),
        (lambda: wide_kernels.erf_kernel([1.0]), "inputs has shape"),
        (lambda: wide_kernels.slope_second_moment("cube"), "activation = 'cube'"),
        (lambda: wide_kernels.slope_second_moment("tanh", 0), "scale = 0"),
    ],
)
def test_numbers_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_erf_kernel_of_large_and_of_nearly_parallel_inputs():
    # one input: D - 4q² = 1 + 4q exactly; the difference of the two has no digits at q = 1e16
    q = 1e16
    wanted = 2 / math.pi * math.asin(2 * q / (1 + 2 * q)) + 4 / math.pi * q / math.sqrt(1 + 4 * q)
    assert wide_kernels.erf_kernel([[1e8]])[0, 0] == pytest.approx(wanted, rel=1e-9)
    # (1e8, 0) and (1e8, 1): the span has area 1e8, in 40 digits (mpmath)
    with mpmath.workdps(40):
        a, b, c = mpmath.mpf(10) ** 16 / 2, mpmath.mpf(10) ** 16 / 2, (mpmath.mpf(10) ** 16 + 1) / 2
        D = (1 + 2 * a) * (1 + 2 * c)
        exact = 2 * mpmath.asin(2 * b / mpmath.sqrt(D)) + 4 * b / mpmath.sqrt(D - 4 * b**2)
        exact = float(exact / mpmath.pi)
    found = wide_kernels.erf_kernel([[1e8, 0.0], [1e8, 1.0]])
    assert found[0, 1] == found[1, 0] == pytest.approx(exact, rel=1e-12)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: conditioning.certifying_width(1e-100, 1, 1, proof="published"), "overflows"),
        (lambda: conditioning.certifying_width(1, 1e200, 1, proof="path"), "overflows"),
        (lambda: conditioning.certifying_width(1e-200, 1, 1, proof="singular value"), "overflows"),
        (lambda: conditioning.hessian_control_limit(1, 0.5, 1e-300, 2, 1e-300), "overflows"),
        (lambda: conditioning.composed_constant(1.0, 1e200), "overflows"),
        (lambda: conditioning.composed_kernel([[1.0]], [[1e200]], [[1.0]]), "the kernel.*= inf"),
        (lambda: conditioning.tangent_kernel(Linear([[1e200]]), [1.0]), "the kernel.*= inf"),
        (lambda: wide_kernels.erf_kernel([[1e200]]), "must be at most 1e.75"),
    ],
)
def test_results_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_fourier_kernels_of_far_inputs():
    assert conditioning.fourier_kernel_bound(3, 1e200) == 1.0
