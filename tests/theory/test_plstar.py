"""Certificates: golden systems, what descent then does, and every way not to be certified."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory.conditioning import tangent_kernel
from theory.plstar import Certificate, certify_pl, pl_ratio
from theory.tangent_models import DeepLinear, Linear, RandomFeatures, TwoLayer

A = np.array([[1.0, 2, 0, 1, 0], [0, 1, 1, 0, 2], [2, 0, 1, 1, 1]])
Y = np.array([1.0, 2, 3])
PRODUCT = DeepLinear([[1.0]], (1, 1))
START = np.array([1.5, 0.5])


def descend(model, w, y, step, steps):
    """Return losses, distances from the start, and path lengths of gradient descent."""
    start, length, rows = w, 0.0, []
    for _ in range(steps + 1):
        r = model(w) - y
        rows.append((r @ r / 2, np.linalg.norm(w - start), length))
        move = step * (model.jacobian(w).T @ r)
        w, length = w - move, length + np.linalg.norm(move)
    return np.array(rows).T


def test_linear_golden_system():
    # eigenvalues of A A' in 30 digits (mpmath), the radii and the rate from them
    c = certify_pl(Linear(A), np.zeros(5), Y)
    assert c.status == "certified"
    assert c.mu == pytest.approx(3.2279981273412344161, rel=1e-14)
    assert c.lipschitz**2 == pytest.approx(11.772001872658765584, rel=1e-14)
    assert c.smoothness == 0.0
    assert c.radius == pytest.approx(4.1651186400897926906, rel=1e-14)
    assert c.least_distance == pytest.approx(1.090533111816336921, rel=1e-14)
    assert c.rate == pytest.approx(0.72579021289161799366, rel=1e-14)
    assert 1 / (c.step_size * c.mu) == pytest.approx(3.6468428444705653621, rel=1e-14)


def test_descent_of_the_golden_system():
    # losses after 10 and 50 steps of 1/lambda_max in 30 digits (mpmath); the last is 1e-16 of the
    # first, so 1e-9 relative is what 50 rounded steps leave
    c = certify_pl(Linear(A), np.zeros(5), Y)
    losses, distances, lengths = descend(Linear(A), np.zeros(5), Y, c.step_size, 50)
    assert losses[10] == pytest.approx(0.00063205143027173514308, rel=1e-12)
    assert losses[50] == pytest.approx(4.1774738982043749e-15, rel=1e-6)
    assert distances[-1] == pytest.approx(1.1948353773417359026, rel=1e-7)
    assert c.least_distance <= distances[-1] <= lengths[-1] <= c.radius
    assert (losses <= c.rate ** np.arange(51) * losses[0]).all()


@pytest.mark.parametrize(
    ("residual", "status"), [(0.3124999, "certified"), (0.3125001, "uncertified")]
)
def test_product_model_is_certified_up_to_an_eighth(residual, status):
    # N²/8 = 0.3125 for |w0|² = 2.5, where the ball has half the norm for radius
    c = certify_pl(PRODUCT, START, np.array([0.75 + residual]))
    assert c.status == status
    if status == "certified":
        assert c.radius == pytest.approx(math.sqrt(2.5) / 2, rel=1e-3)
    assert c.initial_mu == pytest.approx(2.5, rel=1e-14)


def test_product_model_converges_uncertified():
    c = certify_pl(PRODUCT, START, np.array([1.2]))
    assert c.status == "uncertified"
    assert c.rate == 1.0
    assert "0.45 >" in c.reason
    assert "= 0.3125" in c.reason
    losses, distances, _ = descend(PRODUCT, START, np.array([1.2]), 0.1, 400)
    assert losses[-1] < 1e-20
    assert distances[-1] < c.radius + 1


def test_product_model_certificate_in_closed_form():
    # R = 4|r0|/(N + sqrt(N² - 8|r0|)), mu = (N - R)², lipschitz = N + R, all by hand
    N, r = math.sqrt(2.5), 0.2
    R = 4 * r / (N + math.sqrt(N**2 - 8 * r))
    c = certify_pl(PRODUCT, START, np.array([0.95]))
    assert c.radius == pytest.approx(R, rel=1e-13)
    assert c.mu == pytest.approx((N - R) ** 2, rel=1e-13)
    assert c.lipschitz == pytest.approx(N + R, rel=1e-13)
    assert c.step_size == pytest.approx(1 / ((N + R) ** 2 + r), rel=1e-13)
    assert c.rate == pytest.approx(1 - c.step_size * c.mu, rel=1e-14)
    # the bound of the least eigenvalue is reached, at the point nearest to the origin
    nearest = START * (1 - c.radius / N)
    assert tangent_kernel(PRODUCT, nearest)[0, 0] == pytest.approx(c.mu, rel=1e-12)


def test_tanh_network_of_the_golden_width():
    # m = 1278 is certified by the sharper proofs alone; |r0| = 1 and two orthonormal inputs
    model = TwoLayer(np.eye(2), 1278)
    w = np.random.default_rng(11).normal(size=model.parameter_count)
    c = certify_pl(model, w, model(w) + np.array([0.6, 0.8]))
    assert c.status == "certified"
    assert c.smoothness == pytest.approx(4 / (3 * math.sqrt(3)) / math.sqrt(1278), rel=1e-14)
    losses, _, lengths = descend(model, w, model(w) + np.array([0.6, 0.8]), c.step_size, 40)
    assert (losses <= c.rate ** np.arange(41) * losses[0] * (1 + 1e-9)).all()
    assert c.least_distance <= lengths[-1] <= c.radius


def test_narrow_tanh_network_is_uncertified_and_converges():
    model = TwoLayer(np.eye(2), 20)
    w = np.random.default_rng(11).normal(size=model.parameter_count)
    y = model(w) + np.array([0.6, 0.8])
    assert certify_pl(model, w, y).status == "uncertified"
    assert descend(model, w, y, 1.0, 200)[0][-1] < 1e-20


def small_model(kind, seed):
    """Return a random small model and a start."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(2, 3))
    model = {
        "linear": lambda: Linear(rng.normal(size=(2, 4))),
        "features": lambda: RandomFeatures.drawn(inputs, 5, rng),
        "deep": lambda: DeepLinear(inputs, (3, 2)),
        "deeper": lambda: DeepLinear(inputs, (2, 2, 1)),
        "tanh": lambda: TwoLayer(inputs, 12),
        "erf": lambda: TwoLayer(inputs, 12, "erf", "both"),
    }[kind]()
    return model, rng.normal(size=model.parameter_count), rng


@pytest.mark.parametrize("kind", ["linear", "features", "deep", "deeper", "tanh", "erf"])
@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), share=st.floats(0.02, 0.98))
def test_certified_descent_keeps_every_promise(kind, seed, share):
    model, w, rng = small_model(kind, seed)
    sigma = np.linalg.svd(model.jacobian(w), compute_uv=False)[len(model(w)) - 1]
    _, smoothness = model.bounds(w, sigma)
    error = rng.normal(size=len(model(w)))
    error *= share * sigma**2 / (8 * (smoothness + 0.1 * sigma**2)) / np.linalg.norm(error)
    y = model(w) + error
    c = certify_pl(model, w, y)
    # that share of the limit with the smoothness of a larger ball: always within the own one's
    assert c.status == "certified"
    assert c.radius * math.sqrt(c.mu) >= 2 * c.residual * (1 - 1e-11)
    steps = 60
    for step in (c.step_size, 0.3 * c.step_size):
        losses, _, lengths = descend(model, w, y, step, steps)
        seen = losses > 1e-24  # outputs of order 10 round at 1e-15: errors above 1e-12 are seen
        promised = (1 - step * c.mu) ** np.arange(steps + 1) * losses[0]
        assert (losses <= promised * (1 + 1e-9))[seen].all()
        assert lengths.max() <= c.radius * (1 + 1e-9)
    # the constant holds wherever in the ball one looks, towards the weakest direction too
    left, _, right = np.linalg.svd(model.jacobian(w), full_matrices=False)
    h = 1e-5
    turn = model.jacobian(w + h * right[-1]) - model.jacobian(w - h * right[-1])
    downhill = -(left[:, -1] @ turn)
    looked = [downhill] if np.linalg.norm(downhill) > 1e-9 else []
    for d in [*looked, *rng.normal(size=(4, len(w)))]:
        point = w + c.radius * d / np.linalg.norm(d)
        assert np.linalg.eigvalsh(tangent_kernel(model, point))[0] >= c.mu * (1 - 1e-9)
        assert pl_ratio(model, point, y) >= c.mu * (1 - 1e-9)


@given(seed=st.integers(0, 10**6))
def test_what_was_certified_is_certified_when_asked_for(seed):
    model, w, rng = small_model("deep", seed)
    error = rng.normal(size=len(model(w)))
    c = certify_pl(model, w, model(w) + 1e-4 * error)
    if c.status != "certified":
        return
    y = model(w) + 1e-4 * error
    assert certify_pl(model, w, y, mu=c.mu * (1 - 1e-9)).status == "certified"
    assert certify_pl(model, w, y, radius=c.radius * (1 + 1e-9)).status == "certified"
    both = certify_pl(model, w, y, radius=c.radius * 1.001, mu=c.mu * 0.99)
    assert (both.status, both.mu) in {("certified", c.mu * 0.99), ("uncertified", both.mu)}
    # no smaller ball will do
    assert certify_pl(model, w, y, radius=c.radius * (1 - 1e-6)).status == "uncertified"


def test_a_given_ball_or_constant_decides():
    y = np.array([0.95])
    free = certify_pl(PRODUCT, START, y)
    # larger than the least ball and smaller than the other root: certified with a smaller constant
    wide = certify_pl(PRODUCT, START, y, radius=1.0)
    assert wide.status == "certified"
    assert wide.mu == pytest.approx((math.sqrt(2.5) - 1) ** 2, rel=1e-13)
    assert wide.step_size < free.step_size
    small = certify_pl(PRODUCT, START, y, radius=free.radius * 0.99)
    assert (small.status, small.rate) == ("uncertified", 1.0)
    assert "may be as long" in small.reason
    gone = certify_pl(PRODUCT, START, y, radius=2.0)  # holds the singular point
    assert gone.status == "uncertified"
    assert gone.mu == 0.0
    assert "1.58114 <= smoothness x radius = 2" in gone.reason
    asked = certify_pl(PRODUCT, START, y, mu=1.0)
    assert (asked.status, asked.mu) == ("certified", 1.0)
    assert asked.radius == pytest.approx(0.4, rel=1e-13)
    much = certify_pl(PRODUCT, START, y, mu=2.4)
    assert much.status == "uncertified"
    assert "< 2.4" in much.reason
    both = certify_pl(PRODUCT, START, y, radius=0.39, mu=1.0)
    assert both.status == "uncertified"
    assert certify_pl(PRODUCT, START, y, radius=0.41, mu=1.0).status == "certified"


def test_a_constant_above_the_starts_is_refuted():
    y = np.array([0.95])
    c = certify_pl(PRODUCT, START, y, mu=2.6)
    # one output: the PL* ratio is the kernel itself, 2.5
    assert (c.status, c.mu, c.rate) == ("refuted", 0.0, 1.0)
    assert "2.5 < mu = 2.6" in c.reason
    assert "fails there for these targets too" in c.reason
    linear = certify_pl(Linear(A), np.zeros(5), Y, mu=3.3)
    assert linear.status == "refuted"
    assert "not contradicted there: |grad L|^2 / (2L) = 11.0714" in linear.reason  # r'Kr/r'r
    # the least eigenvalue as another routine rounds it is still it
    least = np.linalg.eigvalsh(A @ A.T)[0]
    assert certify_pl(Linear(A), np.zeros(5), Y, mu=least).status == "certified"


@pytest.mark.parametrize(
    ("model", "w", "y", "words"),
    [
        (Linear(np.array([[1.0, 0], [1, 1], [0, 2]])), [0, 0], [1, 0, 1], "(2 < 3)"),
        (Linear(np.array([[1.0, 0], [1, 1], [0, 2]])), [0, 0], [1, 0, 1], "L >= 0.5 everywhere"),
        (Linear(np.array([[1.0, 0], [1, 1], [0, 2]])), [0, 0], [1, 1, 0], "not contradicted at w0"),
        (TwoLayer([[1.0, 2], [1, 2]], 3), [1, 2, 3, 4, 5, 6], [0, 1], "L >= 0.25 everywhere"),
        (TwoLayer([[1.0, 2], [1, 2]], 3), [1, 2, 3, 4, 5, 6], [1, 1], "not contradicted at w0"),
        (TwoLayer([[1.0, 2], [1, 2]], 3), [1, 2, 3, 4, 5, 6], [1, 1], "outputs 0 and 1 agree"),
        (TwoLayer([[1.0, 0], [-1, 0]], 2, "relu"), [1, 0, 2, 0], [1, 1], "output 1 has zero"),
        (PRODUCT, [0, 0], [1], "w0 is critical with L = 0.5 > 0"),
        (DeepLinear([[1.0]], (1, 1, 1)), [0, 0, 3], [1], "every output has zero gradient"),
        (Linear(np.array([[1.0, 2, 0], [2, 4, 0]])), [0, 0, 0], [1, 2], "0 within rounding"),
        (DeepLinear([[1.0], [1]], (2,)), [1, 1], [0, 0, 0, 4], "differ by 4, so L >= 4"),
    ],
)
def test_singular_starts_are_refuted_with_the_reason(model, w, y, words):
    c = certify_pl(model, np.array(w, dtype=float), np.array(y, dtype=float))
    assert c.status == "refuted"
    assert words in c.reason
    assert c.mu == c.step_size == 0.0
    assert c.rate == 1.0


def test_a_singular_kernel_refutes_a_given_constant_too():
    c = certify_pl(PRODUCT, np.zeros(2), np.ones(1), mu=0.1)
    assert c.status == "refuted"
    assert "mu = 0.1 was asked for" in c.reason


class Bare:
    """The product model without bounds."""

    def __call__(self, w):
        return PRODUCT(w)

    def jacobian(self, w):
        return PRODUCT.jacobian(w)


@pytest.mark.parametrize("wanted", [{}, {"radius": 0.3}, {"mu": 1.0}])
def test_without_bounds_nothing_is_certified(wanted):
    for model in (Bare(), Told((math.inf, 1.0)), Told(None)):
        c = certify_pl(model, START, np.array([0.76]), **wanted)
        assert c.status == "uncertified"
        assert "no finite bounds" in c.reason
        assert (c.mu, c.step_size, c.rate) == (0.0, 0.0, 1.0)
        assert math.isinf(c.lipschitz)
        assert math.isinf(c.smoothness)
    assert certify_pl(Bare(), START, PRODUCT(START)).status == "uncertified"
    relu = TwoLayer(np.eye(2), 4, "relu")
    assert certify_pl(relu, np.ones(8), np.zeros(2), **wanted).status != "certified"


class Told(Bare):
    """The product model with bounds as told."""

    def __init__(self, told):
        self.told = told

    def bounds(self, w, radius):
        return self.told


def test_a_solution_is_certified_where_it_is():
    c = certify_pl(PRODUCT, START, np.array([0.75]))
    assert (c.status, c.radius, c.residual, c.least_distance) == ("certified", 0.0, 0.0, 0.0)
    assert c.mu == pytest.approx(2.5, rel=1e-14)
    still = certify_pl(PRODUCT, np.zeros(2), np.zeros(1))
    assert (still.status, still.mu, still.radius, still.rate) == ("certified", 0.0, 0.0, 1.0)
    assert certify_pl(PRODUCT, np.zeros(2), np.zeros(1), mu=0.1).status == "refuted"
    assert pl_ratio(PRODUCT, START, np.array([0.75])) == math.inf


def test_rounding_of_a_large_scale_is_not_a_contradiction():
    # the same system in other units: mu goes with the square of the scale
    for scale in (1e-150, 1e-8, 1e8, 1e100):
        c = certify_pl(Linear(A * scale), np.zeros(5), Y)
        assert c.status == "certified"
        assert c.mu / scale / scale == pytest.approx(3.2279981273412344161, rel=1e-13)


def test_bounds_that_grow_find_their_own_radius():
    # depth 3: smoothness grows with the ball; the radius solves R (sigma - beta(R) R) = 2|r0|
    chain = DeepLinear([[1.0]], (1, 1, 1))
    w = np.array([1.0, 1.2, 0.9])
    y = chain(w) + 0.05
    c = certify_pl(chain, w, y)
    assert c.status == "certified"
    sigma, beta = math.sqrt(c.initial_mu), chain.bounds(w, c.radius)[1]
    assert c.radius * (sigma - beta * c.radius) == pytest.approx(0.1, rel=1e-11)
    grid = np.linspace(0.0, c.radius, 2000)[1:-1]
    kept = [R * (sigma - chain.bounds(w, R)[1] * R) for R in grid]
    assert max(kept) < 0.1
    far = certify_pl(chain, w, chain(w) + 2.0)
    assert far.status == "uncertified"


@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["linear", "deep", "tanh", "erf"]))
def test_the_ratio_is_between_the_kernels_eigenvalues(seed, kind):
    model, w, rng = small_model(kind, seed)
    y = rng.normal(size=len(model(w)))
    eigenvalues = np.linalg.eigvalsh(tangent_kernel(model, w))
    ratio = pl_ratio(model, w, y)
    r = model(w) - y
    gradient = model.jacobian(w).T @ r
    assert ratio == pytest.approx(gradient @ gradient / (r @ r), rel=1e-12)
    slack = 1e-12 * eigenvalues[-1]
    assert eigenvalues[0] - slack <= ratio <= eigenvalues[-1] + slack


def test_the_package_offers_it():
    import theory

    assert theory.certify_pl is certify_pl
    assert theory.Certificate is Certificate
    assert dataclasses.fields(Certificate)[0].name == "mu"


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: certify_pl(3, START, [1.0]), "model = 3"),
        (lambda: certify_pl(lambda w: w, START, [1.0]), r"must have __call__\(w\) and jacobian"),
        (lambda: certify_pl(PRODUCT, [1.0], [1.0]), "parameters has 1 entries: must have 2"),
        (lambda: certify_pl(PRODUCT, START, [1.0, 2.0]), "targets has 2 entries: must have 1"),
        (lambda: certify_pl(PRODUCT, START, [np.nan]), "nan"),
        (lambda: certify_pl(PRODUCT, START, [1.0], radius=0.0), "radius = 0"),
        (lambda: certify_pl(PRODUCT, START, [1.0], radius=math.inf), "radius = inf"),
        (lambda: certify_pl(PRODUCT, START, [1.0], mu=-1.0), "mu = -1"),
        (lambda: certify_pl(Told((1.0, 1.0)), START, [0.8]), "lipschitz = 1 at radius"),
        (lambda: certify_pl(Told((9.0, -1.0)), START, [0.8]), "two numbers >= 0"),
        (lambda: certify_pl(Told((9.0, math.nan)), START, [0.8]), "two numbers >= 0"),
        (lambda: certify_pl(Told(9.0), START, [0.8]), "two numbers >= 0"),
        (lambda: pl_ratio(PRODUCT, START, [1.0, 2.0]), "targets has 2 entries"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.bad_input
def test_a_jacobian_of_the_wrong_shape_is_refused():
    class Crossed(Bare):
        def jacobian(self, w):
            return PRODUCT.jacobian(w).T

    with pytest.raises(ValueError, match=r"shape \(2, 1\): must be \(1, 2\)"):
        certify_pl(Crossed(), START, np.ones(1))
