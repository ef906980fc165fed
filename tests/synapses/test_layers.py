"""Stochastic layers: masks, means, gradients, and that nothing else changes."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from synapses import _masks, layers
from synapses.derivations import masked_gradient, release_walk
from synapses.layers import StochasticConv2d, StochasticLinear, mean_weights, stochastic_layers


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def filled(layer, weight):
    with torch.no_grad():
        layer.weight.copy_(torch.as_tensor(weight, dtype=layer.weight.dtype))
    return layer


def test_outputs_are_those_of_the_masked_weights():
    layer = StochasticLinear(6, 3, release_probability=0.4, generator=seeded(1))
    x = torch.randn(5, 6)
    y = layer(x)
    wanted = x @ (layer.weight * layer.last_mask / 0.4).T + layer.bias
    torch.testing.assert_close(y, wanted)
    assert set(layer.last_mask.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(layer(x), y)  # drawn anew, in evaluation mode as well
    layer.eval()
    assert not torch.equal(layer(x), layer(x))


def test_certain_release_is_the_plain_layer():
    plain = nn.Linear(4, 2)
    layer = StochasticLinear(4, 2, release_probability=1.0)
    layer.load_state_dict(plain.state_dict() | {"release_probability": torch.ones(2, 4)})
    x = torch.randn(3, 4)
    torch.testing.assert_close(layer(x), plain(x))


def test_releases_follow_their_own_probabilities():
    # binomial tests of 12 synapses, Holm: the smallest p-value times 12; family alpha 1e-3
    p = torch.linspace(0.1, 0.9, 12, dtype=torch.float64).reshape(3, 4)
    layer = StochasticLinear(4, 3, release_probability=p, generator=seeded(2), dtype=torch.float64)
    counts = sum(layer.draw() for _ in range(2000))
    pairs = zip(counts.flatten().tolist(), p.flatten().tolist(), strict=True)
    smallest = min(stats.binomtest(int(k), 2000, chance).pvalue for k, chance in pairs)
    assert smallest * 12 > 1e-3


class Scripted:
    """Stands in for a generator: hands out bytes and then numbers that the test has chosen."""

    def __init__(self, monkeypatch, digits, rest):
        self.rest, self.asked = rest, []
        monkeypatch.setattr(_masks, "_bytes", lambda shape, _: torch.tensor(digits).reshape(shape))
        monkeypatch.setattr(torch, "rand", self.rand)

    def rand(self, size, *, generator, dtype):
        self.asked.append(size)
        return torch.full((size,), self.rest, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_synapse_releases_where_the_number_is_below_p(monkeypatch, dtype):
    # the number is (digits + rest) / 256; every p against all first digits
    p = torch.tensor([1e-9, 0.001, 0.25, 0.3, 0.7, 1 - 2.0**-20, 1.0], dtype=dtype)
    for rest in (0.0, 0.19, 0.79, 0.81, 1 - 2.0**-24):
        digits = np.arange(256, dtype=np.uint8)
        script = Scripted(monkeypatch, np.repeat(digits, 7), rest)
        found = _masks.releases(p, (256,), None)
        exact = (digits[:, None].astype(float) + float(np.float32(rest))) / 256
        np.testing.assert_array_equal(found.numpy() == 1, exact < p.double().numpy())
        assert set(found.unique().tolist()) == {0.0, 1.0}
        # only where the first digits are those of p: not for 64/256, nor for certain release
        assert script.asked == [5]


def test_rounded_probabilities_are_near_and_never_zero():
    p = torch.cat([torch.rand(1000, generator=seeded(6)), torch.tensor([1e-30, 2.0**-17, 1.0])])
    found = _masks.rounded(p)
    assert torch.equal(found * 65536, (found * 65536).round())
    assert (found - p)[:-3].abs().max() <= 2.0**-17
    assert found[-3:].tolist() == [2.0**-16, 2.0**-16, 1.0]


@pytest.mark.parametrize("variable", ["expected", "quantal"])
def test_sixteen_bits_release_and_divide_by_the_same_probability(monkeypatch, variable):
    p, near = 0.3, round(0.3 * 65536) / 65536
    options = {"release_probability": p, "variable": variable, "dtype": torch.float64}
    layer = StochasticLinear(3, 2, draws="16-bit", **options)
    plain = StochasticLinear(3, 2, **options)
    assert "draws=16-bit" in repr(layer)
    assert "draws" not in repr(plain)
    seen = []
    monkeypatch.setattr(
        layers, "releases", lambda p, leading, _: seen.append(p) or torch.ones(leading + p.shape)
    )
    x = torch.randn(4, 3, dtype=torch.float64)
    y = layer(x) - layer.bias
    assert (seen[0] == near).all()
    torch.testing.assert_close(near * y, x @ layer.expected_strength().T)
    assert (layer.release_probability == p).all()
    with pytest.raises(ValueError, match="draws = '8-bit': must be one of 'exact', '16-bit'"):
        StochasticLinear(3, 2, draws="8-bit")


def test_masks_repeat_with_the_state_of_the_generator():
    generator = seeded(9)
    layer = StochasticLinear(40, 30, release_probability=0.3, generator=generator)
    layer.draw()
    state = generator.get_state()
    first = [layer.draw(), layer.draw(2)]
    generator.set_state(state)
    assert all(map(torch.equal, first, [layer.draw(), layer.draw(2)]))
    assert first[1].shape == (2, 30, 40)
    assert not torch.equal(*first[1])


@pytest.mark.parametrize("variable", ["expected", "quantal"])
@pytest.mark.parametrize("mask", ["batch", "example"])
def test_mean_and_variance_of_the_outputs(mask, variable):
    # mean w x and variance sum w^2 x^2 (1-p)/p: z tests on 20,000 draws, |z| < 3.89 (1e-4)
    layer = StochasticLinear(
        3, 1, False, 0.3, mask, variable, generator=seeded(3), dtype=torch.float64
    )
    w = torch.tensor([[0.5, -1.0, 2.0]], dtype=torch.float64)
    filled(layer, w if variable == "expected" else w / 0.3)
    x = torch.tensor([[1.0, 2.0, 0.5]], dtype=torch.float64)
    n = 20_000
    draws = torch.cat([layer(x) for _ in range(n)]) if mask == "batch" else layer(x.expand(n, 3))
    draws = draws.detach().numpy().ravel()
    mean = float((w * x).sum())
    variance = float((w**2 * x**2).sum() * 0.7 / 0.3)
    assert abs(draws.mean() - mean) < 3.89 * math.sqrt(variance / n)
    squares = (draws - mean) ** 2
    assert abs(squares.mean() - variance) < 3.89 * squares.std() / math.sqrt(n)


def test_examples_of_a_batch_share_a_mask_or_do_not():
    x = torch.ones(4, 50)
    for kind, same in (("batch", True), ("example", False)):
        layer = StochasticLinear(50, 1, mask=kind, generator=seeded(4))
        rows = layer(x)
        assert (len(rows.unique()) == 1) is same


def test_gradients_of_every_mask_average_to_that_of_the_mean_loss():
    # exact enumeration in 40 digits: E[L] and its gradient for -ln sigmoid on three synapses
    p = torch.tensor([[0.25, 0.6, 0.9]], dtype=torch.float64)
    layer = StochasticLinear(3, 1, False, p, dtype=torch.float64)
    filled(layer, [[0.8, -0.5, 0.3]])
    x = torch.tensor([[1.0, 2.0, -1.5]], dtype=torch.float64)
    mean, gradient = 0.0, torch.zeros(1, 3, dtype=torch.float64)
    for mask in itertools.product((0.0, 1.0), repeat=3):
        drawn = torch.tensor([mask], dtype=torch.float64)
        layer.draw = lambda *_, drawn=drawn: drawn
        layer.zero_grad()
        loss = nn.functional.softplus(-layer(x)).sum()
        loss.backward()
        chance = float(torch.where(drawn > 0, p, 1 - p).prod())
        mean += chance * loss.item()
        gradient += chance * layer.weight.grad
        assert (layer.weight.grad[drawn == 0] == 0).all()  # no release, no gradient
    assert mean == pytest.approx(1.3382857581904582292, abs=1e-14)
    wanted = [-0.176604151651796, -1.46438379609575, 0.954222120795523]
    np.testing.assert_allclose(gradient[0].numpy(), wanted, atol=1e-13)


def test_convolution_masks_the_kernel_once_for_all_places():
    layer = StochasticConv2d(
        2, 3, 3, padding=1, release_probability=0.5, generator=seeded(5), dtype=torch.float64
    )
    x = torch.randn(4, 2, 6, 5, dtype=torch.float64)
    y = layer(x)
    kernel = layer.weight * layer.last_mask / 0.5
    torch.testing.assert_close(y, nn.functional.conv2d(x, kernel, layer.bias, padding=1))
    own = StochasticConv2d(2, 3, 3, padding=1, mask="example", generator=seeded(5))
    images = torch.ones(2, 2, 4, 4)
    assert not torch.equal(*own(images))


def test_mean_weights_for_a_while():
    model = nn.Sequential(StochasticLinear(4, 4), nn.ReLU(), StochasticConv2d(1, 1, 1))
    assert list(stochastic_layers(model)) == ["0", "2"]
    first = model[0]
    x = torch.randn(2, 4)
    with mean_weights(model):
        torch.testing.assert_close(first(x), nn.functional.linear(x, first.weight, first.bias))
    assert first.sampling
    quantal = StochasticLinear(4, 4, variable="quantal", release_probability=0.5)
    with mean_weights(quantal):
        wanted = nn.functional.linear(x, quantal.weight * 0.5, quantal.bias)
        torch.testing.assert_close(quantal(x), wanted)


def test_both_parametrisations_start_from_the_same_network():
    torch.manual_seed(0)
    one = StochasticLinear(5, 4, release_probability=0.25)
    torch.manual_seed(0)
    other = StochasticLinear(5, 4, release_probability=0.25, variable="quantal")
    torch.testing.assert_close(one.expected_strength(), other.expected_strength())


def test_initial_energy_of_the_published_network():
    # E sum |w| = sum_l n_out sqrt(n_in) / 2, s.d. sqrt(sum n_out / 12): |z| < 3.89 (1e-4)
    torch.manual_seed(7)
    sizes = [784, 200, 200, 10]
    total = sum(
        StochasticLinear(a, b).weight.abs().sum().item() for a, b in itertools.pairwise(sizes)
    )
    assert abs(total - 4284.9242404917498) < 3.89 * 5.8452259722500606


def test_the_buffer_is_saved_and_has_no_gradient():
    layer = StochasticLinear(3, 2, release_probability=0.7)
    assert "release_probability" in layer.state_dict()
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert "mask=batch, variable=expected" in repr(layer)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"release_probability": 0.0}, r"release_probability = 0.0: must be in \(0, 1\]"),
        ({"release_probability": 1.2}, "release_probability = 1.2"),
        ({"release_probability": torch.ones(3, 2)}, r"shape \(3, 2\): must be one number"),
        ({"mask": "sample"}, "mask = 'sample': must be one of 'batch', 'example'"),
        ({"variable": "mean"}, "variable = 'mean'"),
    ],
)
def test_layers_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        StochasticLinear(3, 2, **change)


@pytest.mark.parametrize(("derivation", "count"), [(masked_gradient, 2), (release_walk, 5)])
def test_derivations_check(derivation, count):
    assert derivation().check() == count
