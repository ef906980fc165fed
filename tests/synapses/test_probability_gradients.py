"""Gradients in the release probability: exact values, honest errors, and nothing left behind."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from synapses._estimator_derivations import likelihood_ratio
from synapses.ablations import AblatedLinear
from synapses.layers import StochasticConv2d, StochasticLinear, mean_weights, stochastic_layers
from synapses.probability_gradients import release_gradient

STRENGTHS, CHANCES = [[0.8, -0.5, 0.3]], [[0.25, 0.6, 0.9]]
INPUTS = torch.tensor([[1.0, 2.0, -1.5]], dtype=torch.float64)
EXACT = (-0.951091, -0.198380, -0.018985)


def linear(strengths, chances, **options):
    """Return a layer in float64 with given expected strengths."""
    p = torch.tensor(chances, dtype=torch.float64)
    out, inp = p.shape
    layer = StochasticLinear(
        inp, out, bias=False, release_probability=p, dtype=torch.float64, **options
    )
    with torch.no_grad():
        w = torch.tensor(strengths, dtype=torch.float64)
        layer.weight.copy_(w if layer.variable == "expected" else w / p)
    return layer


def three():
    """Three synapses onto one logistic unit, target 1."""
    return linear(STRENGTHS, CHANCES)


def loss(net):
    return nn.functional.softplus(-net(INPUTS)).sum()


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("method", "expected", "digits"),
    [
        # golden, to 6 digits: dE[L]/dp by mpmath's numerical derivative of the enumerated mean
        ("likelihood-ratio", EXACT, 1e-6),
        # golden, to 3 or 4 digits: enumeration of both straight-through estimators
        ("straight-through", (-1.446, -0.173, -0.0039), 5e-4),
        ("straight-through-mask", (-2.011, 1.047, 0.314), 5e-4),
    ],
)
def test_golden_values_over_all_masks(method, expected, digits):
    found = release_gradient(three(), loss, None, method)
    np.testing.assert_allclose(found.gradients[""][0], expected, atol=digits)
    assert found.loss == pytest.approx(1.3382857581904582, rel=1e-12)
    assert found.samples == 8
    assert found.loss_error == 0
    assert (found.standard_errors[""] == 0).all()
    assert found.gradients[""].dtype == torch.float64


def test_straight_through_has_the_wrong_sign_twice():
    exact = release_gradient(three(), loss, None).gradients[""][0]
    wrong = release_gradient(three(), loss, None, "straight-through-mask").gradients[""][0]
    assert (exact.sign() != wrong.sign()).tolist() == [False, True, True]


@pytest.mark.parametrize("baseline", [True, False])
def test_samples_are_unbiased_and_know_their_error(baseline):
    # 40 estimates of 50 samples: their mean within 4 standard errors, their spread within
    # 4/sqrt(80) of the errors they state
    estimates, errors = [], []
    generator = seeded(1)
    for _ in range(40):
        found = release_gradient(three(), loss, 50, baseline=baseline, generator=generator)
        estimates.append(found.gradients[""][0].numpy())
        errors.append(found.standard_errors[""][0].numpy())
        assert found.samples == 50
    estimates, errors = np.array(estimates), np.array(errors)
    spread = estimates.std(axis=0, ddof=1)
    assert (abs(estimates.mean(axis=0) - EXACT) < 4 * spread / math.sqrt(40)).all()
    stated = np.sqrt((errors**2).mean(axis=0))
    assert (abs(stated / spread - 1) < 0.45).all()


def test_the_baseline_takes_out_what_all_losses_share():
    def high(net):
        return 50 + loss(net)

    plain, less = (
        release_gradient(three(), high, 200, baseline=b, generator=seeded(2)) for b in (False, True)
    )
    # the score's variance is 1/(p(1-p)): 50 of them are most of the error without a baseline
    score = 50 / np.sqrt(np.array(CHANCES[0]) * (1 - np.array(CHANCES[0])) * 200)
    np.testing.assert_allclose(plain.standard_errors[""][0], score, rtol=0.35)
    assert (less.standard_errors[""] < plain.standard_errors[""] / 8).all()
    deviation = (less.gradients[""][0] - torch.tensor(EXACT)).abs()
    assert (deviation < 4 * less.standard_errors[""][0]).all()


def test_the_loss_has_an_error_of_its_own():
    found = release_gradient(three(), loss, 400, generator=seeded(3))
    assert abs(found.loss - 1.3382857581904582) < 4 * found.loss_error
    # standard deviation of the loss over masks, enumerated here
    values, weights = [], []
    for mask in itertools.product((0, 1), repeat=3):
        p = np.array(CHANCES[0])
        z = float((np.array(STRENGTHS[0]) * mask / p) @ INPUTS[0].numpy())
        values.append(np.log1p(np.exp(-z)))
        weights.append(np.prod(np.where(mask, p, 1 - p)))
    mean = np.average(values, weights=weights)
    deviation = math.sqrt(np.average((np.array(values) - mean) ** 2, weights=weights))
    assert found.loss_error == pytest.approx(deviation / 20, rel=0.3)


def by_differences(build, loss_fn, names):
    """Return the derivative of the enumerated mean loss in every probability."""
    step, results = 1e-5, {}
    for name in names:
        base = stochastic_layers(build())[name].release_probability
        result = torch.zeros_like(base, dtype=torch.float64)
        for place in itertools.product(*map(range, base.shape)):
            ends = []
            for sign in (-1, 1):
                net = build()
                stochastic_layers(net)[name].release_probability[place] += sign * step
                ends.append(release_gradient(net, loss_fn, None).loss)
            result[place] = (ends[1] - ends[0]) / (2 * step)
        results[name] = result
    return results


def two_layers():
    first = linear([[0.5, -1.0]], [[0.3, 0.7]])
    second = linear([[1.5], [-0.5]], [[0.4], [0.8]], variable="quantal")
    return nn.Sequential(first, nn.Tanh(), second)


def convolution():
    layer = StochasticConv2d(
        1, 1, 2, bias=False, release_probability=0.4, dtype=torch.float64, mask="batch"
    )
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[[[0.5, -1.0], [0.25, 1.0]]]], dtype=torch.float64))
    return layer


def per_example():
    return linear([[0.5, -1.0]], [[0.3, 0.7]], mask="example")


@pytest.mark.parametrize(
    ("build", "shape", "samples"),
    [
        (two_layers, (1, 2), 16),
        (convolution, (1, 1, 3, 3), 16),
        (per_example, (3, 2), 64),  # a draw for each of three examples
    ],
    ids=["two layers", "convolution", "mask an example"],
)
def test_every_kind_of_layer_against_differences_of_the_mean_loss(build, shape, samples):
    inputs = torch.linspace(-1, 2, math.prod(shape), dtype=torch.float64).reshape(shape)

    def cubic(net):
        return (net(inputs) - 0.3).pow(3).mean()

    net = build()
    found = release_gradient(net, cubic, None)
    assert found.samples == samples
    wanted = by_differences(build, cubic, list(stochastic_layers(net)))
    assert list(found.gradients) == list(wanted)
    for name, gradient in wanted.items():
        # the difference quotient: step^2/p^2 relative, and rounding of 1e-16/step
        torch.testing.assert_close(found.gradients[name], gradient, atol=1e-9, rtol=1e-8)
        assert found.gradients[name].abs().max() > 1e-3


def test_a_layer_that_is_used_twice_counts_both_masks():
    def twice(net):
        return (net(INPUTS) * net(INPUTS)).sum()

    found = release_gradient(three(), twice, None)
    assert found.samples == 64
    # independent masks: the mean of the product is the square of the mean, which has no p
    np.testing.assert_allclose(found.gradients[""], 0, atol=1e-12)
    assert found.loss == pytest.approx(float((torch.tensor(STRENGTHS).double() @ INPUTS.T) ** 2))


def test_amplitudes_that_are_fixed_and_losses_that_know_p():
    # mean of (m r)^2 is m^2 p; the penalty 3 p adds 3 to the derivative
    layer = linear([[1.0]], [[0.5]], variable="quantal")  # m = 2
    layer.requires_grad_(requires_grad=False)
    one = torch.ones(1, 1, dtype=torch.float64)

    def square(net):
        return net(one).square().sum()

    def penalised(net):
        return square(net) + 3 * net.release_probability.sum()

    assert release_gradient(layer, square, None).gradients[""].item() == pytest.approx(4.0)
    assert release_gradient(layer, penalised, None).gradients[""].item() == pytest.approx(7.0)
    assert release_gradient(layer, square, None).gradients[""].shape == (1, 1)


def test_the_model_is_left_as_it_was():
    own = seeded(5)
    net = nn.Sequential(three())
    net[0].generator = own
    net(INPUTS)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    mask, state, p = net[0].last_mask, own.get_state(), net[0].release_probability
    release_gradient(net, loss, 3, generator=seeded(6))

    def broken(model):
        model(INPUTS)
        raise RuntimeError("in between")

    with pytest.raises(RuntimeError, match="in between"):
        release_gradient(net, broken, 3, generator=seeded(6))
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])
    assert net[0].release_probability is p
    assert not p.requires_grad
    assert net[0].last_mask is mask
    assert net[0].generator is own
    assert torch.equal(own.get_state(), state)
    assert "draw" not in vars(net[0])
    assert net[0].weight.grad is None


def test_a_seed_gives_the_same_numbers():
    first, again, other = (
        release_gradient(three(), loss, 20, generator=seeded(s)).gradients[""] for s in (7, 7, 8)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_without_a_generator_the_layers_own_is_used():
    net = three()
    net.generator = seeded(9)
    first = release_gradient(net, loss, 20).gradients[""]
    torch.testing.assert_close(
        first, release_gradient(three(), loss, 20, generator=seeded(9)).gradients[""]
    )


def certain():
    return linear([[1.0, 2.0]], [[0.5, 1.0]])


def silent(net):
    with mean_weights(net):
        return loss(net)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: release_gradient(nn.Linear(3, 1), loss, 5), "with stochastic layers"),
        (lambda: release_gradient("net", loss, 5), "model = 'net'"),
        (lambda: release_gradient(three(), loss, 1), "samples = 1"),
        (lambda: release_gradient(three(), loss, 5, "reinforce"), "method = 'reinforce'"),
        (lambda: release_gradient(certain(), loss, 5), "layer '' is 1 at 1 synapses"),
        (lambda: release_gradient(three(), silent, 5), "drew no mask"),
        (lambda: release_gradient(three(), lambda _: torch.tensor(1.0), 5), "drew no mask"),
        (lambda: release_gradient(three(), lambda n: n(INPUTS).tile(2), 5), "one finite number"),
        (lambda: release_gradient(three(), lambda n: n(INPUTS).sum() / 0, 5), "one finite number"),
        (lambda: release_gradient(three(), lambda n: 1.0, 5), "loss_fn returned 1.0"),
        (
            lambda: release_gradient(
                StochasticLinear(7, 3), lambda n: n(torch.ones(1, 7)).sum(), None
            ),
            "one loss makes 21 draws",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_straight_through_takes_reliable_synapses():
    inputs = torch.ones(1, 2, dtype=torch.float64)

    def square(net):
        return net(inputs).square().sum()

    # E over r_1: w = (1 r/0.5, 2); dL/dr_2 = 2 y * 2, through 1/p -2 y * 2: they cancel at r = 1
    found = release_gradient(certain(), square, None, "straight-through").gradients[""][0]
    assert found[1].item() == pytest.approx(0, abs=1e-12)
    mask = release_gradient(certain(), square, None, "straight-through-mask").gradients[""][0]
    assert mask[1].item() == pytest.approx(0.5 * 2 * 4 * 2 + 0.5 * 2 * 2 * 2)


def test_the_derivation_holds():
    assert likelihood_ratio().check() == 6


def test_rounded_probabilities_have_the_gradient_at_what_they_are_rounded_to():
    layer = StochasticLinear(1, 1, bias=False, release_probability=0.3, draws="16-bit")
    nn.init.ones_(layer.weight)
    p = layer.release_probability

    def square(net):
        return net(torch.ones(1, 1)).square().sum()

    # <L> = 1/p: without the derivative through 1/p the score alone would give + 1/p^2
    found = release_gradient(layer, square, None)
    rounded = round(0.3 * 2**16) / 2**16
    assert found.gradients[""].item() == pytest.approx(-1 / rounded**2, rel=1e-6)
    assert layer.release_probability is p
    assert layer.draws == "16-bit"


@pytest.mark.parametrize("ablation", ["ghost", "clean ghost"])
def test_ghosts_do_not_release_by_their_probability(ablation):
    layer = AblatedLinear(2, 1, ablation)
    with pytest.raises(ValueError, match="does not decide who releases"):
        release_gradient(layer, lambda net: net(torch.ones(1, 2)).sum(), 5)


def test_an_unnormalised_layer_by_hand():
    layer = AblatedLinear(1, 1, "unnormalised", bias=False)
    nn.init.constant_(layer.weight, 3.0)
    # <(3 r)^2> = 9 p
    found = release_gradient(layer, lambda net: net(torch.ones(1, 1)).square().sum(), None)
    assert found.gradients[""].item() == pytest.approx(9)
