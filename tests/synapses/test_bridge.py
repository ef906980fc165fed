"""From torch to brian2, to the compiled engine and back: nothing lost, nothing turned round."""

import numpy as np
import pytest
import torch
from brian_run import QUIET, clockwork, quiet_brian2
from torch import nn

from synapses import PresynapticRule, ReleaseModel
from synapses.ablations import AblatedLinear
from synapses.brian import presynaptic_rule, stochastic_synapses
from synapses.bridge import Learning, from_brian, inject_uniforms, to_brian, to_events
from synapses.consolidation import PresynapticOptimizer
from synapses.events import Neurons
from synapses.layers import StochasticConv2d, StochasticLinear
from theory.streams import Streams

pytestmark = QUIET

RULE = PresynapticRule(0.0520, 0.0516, 0.001, p_freeze=0.9353, variant="program")
IN, OUT = 5, 3


@pytest.fixture
def b2():
    with quiet_brian2() as module:
        yield module


def layer(seed=1, bias=True, dtype=torch.float32, **words):
    """A layer of 5 x 3 whose numbers have all their digits."""
    torch.manual_seed(seed)
    chances = torch.rand(OUT, IN, dtype=torch.float64) * 0.9 + 0.05
    return StochasticLinear(IN, OUT, bias, chances.to(dtype), dtype=dtype, **words)


def groups(b2, equations="z : 1\nerror : 1\nbias : 1 (constant)", inputs=IN, outputs=OUT):
    return clockwork(b2, inputs), b2.NeuronGroup(outputs, equations)


def run(b2, *objects, steps=1):
    b2.Network(*objects).run(steps * b2.ms)


def bits(module):
    return [value.clone() for value in module.state_dict().values()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("variable", ["expected", "quantal"])
def test_numbers_come_back_to_the_bit(b2, dtype, variable):
    there = layer(dtype=dtype, variable=variable)
    back = layer(2, dtype=dtype, variable=variable)
    source, target = groups(b2)
    S = to_brian(there, source, target, bias="bias")
    assert from_brian(S, back, bias="bias") is None
    for sent, found in zip(bits(there), bits(back), strict=True):
        assert sent.dtype == found.dtype
        assert torch.equal(sent, found)


@pytest.mark.parametrize("variant", ["printed", "program"])
@pytest.mark.parametrize("modulation", [True, False])
def test_the_rule_comes_back_as_well(b2, variant, modulation):
    # numbers that no two fields share, p_max = 1 (where both variants have the same top)
    rule = PresynapticRule(0.0520, 0.0516, 1 / 3, 0.9, 0.2, 1.0, variant, modulation)
    there, back = layer(), layer(2)
    optimizer = PresynapticOptimizer(there, rule, lr=0.1, weight_decay=0.01)
    source, target = groups(b2)
    S = to_brian(there, source, target, bias="bias", optimizer=optimizer)
    learning = from_brian(S, back, bias="bias")
    assert learning == Learning(rule, 0.1, 0.01)
    assert all(map(torch.equal, bits(there), bits(back)))
    again = PresynapticOptimizer(back, *learning)
    assert (again.rule, again.defaults) == (optimizer.rule, optimizer.defaults)


def test_a_rate_that_was_changed_in_brian2_comes_back(b2):
    there = layer(bias=False)
    S = to_brian(there, *groups(b2), optimizer=PresynapticOptimizer(there, RULE, lr=0.1))
    S.namespace["rate_syn"] = 0.025
    assert from_brian(S, there).learning_rate == 0.025


@pytest.mark.parametrize("variable", ["expected", "quantal"])
def test_a_presentation_is_the_layers_output(b2, variable):
    torch_layer = layer(dtype=torch.float64, variable=variable)
    numbers = Streams(3).generator("uniforms").random((2, IN * OUT))
    inputs = np.array([[0.3, -1.2, 0.7, 2.0, 0.1], [1.1, 0.4, -0.2, 0.6, 0.9]])
    with inject_uniforms(torch_layer, numbers), torch.no_grad():
        wanted = np.concatenate([torch_layer(torch.tensor(x[None])) for x in inputs])
    source = clockwork(
        b2, IN, extra="rate = x(t, i) : 1", x=b2.TimedArray(inputs, dt=b2.defaultclock.dt)
    )
    target = b2.NeuronGroup(OUT, "v : volt\nbias : 1")
    S = to_brian(
        torch_layer, source, target, on="v", unit=b2.mV, bias="bias", activity="rate",
        uniforms=numbers, record=True,
    )  # fmt: skip
    seen = b2.StateMonitor(target, "v", record=True, when="end")
    run(b2, source, target, S, seen, steps=2)
    found = np.diff(np.asarray(seen.v), axis=1, prepend=0).T / 1e-3 + target.bias[:]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-14)
    released = numbers < torch_layer.release_probability.numpy().T.ravel()
    assert 0 < released.sum() < released.size
    np.testing.assert_array_equal(S.recorder["r"].reshape(2, -1), released)
    np.testing.assert_array_equal(S.n_rel[:], released.sum(axis=0))
    amounts = torch_layer.weight.detach() / (
        torch_layer.release_probability if variable == "expected" else 1
    )
    energy = released.sum(axis=0) * np.abs(amounts.numpy().T.ravel()) * 1e-3
    np.testing.assert_allclose(np.asarray(S.energy_syn[:]), energy, rtol=1e-13)


def test_what_brian2_learned_is_rounded_once(b2):
    there = layer(bias=False)
    source, target = groups(b2)
    target.error = [0.5, -0.5, 0.1]
    optimizer = PresynapticOptimizer(there, RULE, lr=0.1)
    S = to_brian(there, source, target, optimizer=optimizer)
    before = bits(there)
    run(b2, source, target, S, steps=20)
    from_brian(S, there)
    for i in range(IN):
        for j in range(OUT):  # synapse i * OUT + j joins i to j
            assert there.weight[j, i] == np.float32(S.strength_syn[i * OUT + j])
            assert there.release_probability[j, i] == np.float32(S.p_syn[i * OUT + j])
    assert not any(map(torch.equal, before, bits(there)))


def test_synapses_may_stand_in_any_order(b2):
    # built by hand, backwards
    source, target = groups(b2)
    i, j = np.divmod(np.arange(IN * OUT)[::-1], OUT)
    weights = Streams(0).generator("weights").normal(size=IN * OUT)
    S = presynaptic_rule(
        source, target, RULE, learning_rate=0.1, teaching=None, strength=weights,
        connect={"i": i, "j": j},
    )  # fmt: skip
    back = layer(bias=False, dtype=torch.float64)
    assert from_brian(S, nn.Sequential(nn.Flatten(), back)).rule == RULE
    np.testing.assert_array_equal(back.weight.detach(), weights[::-1].reshape(IN, OUT).T)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_chain_of_layers_becomes_rows(dtype):
    torch.manual_seed(4)
    sizes = (4, 3, 2)
    net = nn.Sequential(
        StochasticLinear(4, 3, False, torch.rand(3, 4, dtype=dtype) / 2 + 0.1, dtype=dtype),
        nn.ReLU(),
        StochasticLinear(
            3, 2, False, torch.rand(2, 3, dtype=dtype) / 2 + 0.1, variable="quantal", dtype=dtype
        ),
    )
    rates = np.array([1.0, 2.0, 3.0, 4.0])
    neurons = Neurons(5, 0.02, 0.0, 0.0, 0.01)
    network = to_events(net, neurons, unit_volt=0.5, delay_s=0.001, source_rate_hz=rates)
    assert network.source_rate_hz.tolist() == rates.tolist()
    assert network.release_probability.dtype == (np.float32 if dtype == torch.float32 else float)
    found = {}
    for unit in range(9):
        for k in range(network.indptr[unit], network.indptr[unit + 1]):
            sent = network.amplitude_volt[k], network.release_probability[k]
            found[unit, int(network.target[k])] = sent
    assert len(found) == sizes[0] * sizes[1] + sizes[1] * sizes[2]
    for i in range(4):  # inputs are the units 5 to 8
        for j in range(3):
            p = net[0].release_probability[j, i].item()
            assert found[5 + i, j][0] == np.float32(0.5 * (net[0].weight[j, i].item() / p))
            assert found[5 + i, j][1] == p
    for i in range(3):
        for j in range(2):
            assert found[i, 3 + j][0] == np.float32(0.5 * net[2].weight[j, i].item())
            assert found[i, 3 + j][1] == net[2].release_probability[j, i].item()


def test_injected_numbers_are_used_up_row_by_row():
    one = layer(bias=False)
    p = one.release_probability.double().numpy().T.ravel()
    just_below, at = np.nextafter(p, 0), p  # in float32 both would be p
    with inject_uniforms(one, np.stack([just_below, at])):
        one(torch.ones(1, IN))
        assert bool(one.last_mask.all())
        one(torch.ones(1, IN))
        assert not bool(one.last_mask.any())
        with pytest.raises(ValueError, match="uniforms has 2 rows: must have one for every"):
            one(torch.ones(1, IN))
    masks = {tuple(one.draw().flatten().tolist()) for _ in range(9)}
    assert len(masks) > 1  # it draws again


@pytest.mark.bad_input
def test_layers_that_cannot_be_carried_are_refused(b2):
    source, target = groups(b2)
    cases = [
        (nn.Linear(IN, OUT), "layer = Linear: has 0 stochastic layers, must have one"),
        (nn.Sequential(layer(), layer()), r"has 2 stochastic layers.*pass one of them \('0', '1'"),
        (StochasticConv2d(1, 1, 3), "is a StochasticConv2d: must be a StochasticLinear"),
        ("layer", "layer = 'layer': must be a StochasticLinear"),
        (layer(draws="16-bit"), "has draws = '16-bit': must be 'exact'"),
        (StochasticLinear(OUT, IN, bias=False), "source has 5 neurons: must have 3"),
        (layer(), "bias = None: the layer has 3 biases"),
    ]
    for module, message in cases:
        with pytest.raises(ValueError, match=message):
            to_brian(module, source, target)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"on": "v"}, r"unit = 1\.0 has no unit: must be in volt, as v of target is"),
        ({"on": "v", "unit": "amp"}, r"unit = .* is in amp: must be in volt"),
        ({"unit": "volt"}, r"unit = .* is in volt: must be a plain number, as z of target is"),
        ({"on": "u"}, r"on = 'u': must be a state variable of the target"),
        ({"bias": "b"}, "bias = 'b': must be None, as the layer has no biases"),
        ({"activity": "rate"}, "activity = 'rate': must be a variable of the source"),
        ({"uniforms": np.zeros((2, 4))}, r"uniforms has shape \(2, 4\): must have 15 columns"),
        ({"optimizer": "rule"}, "optimizer = 'rule': must be a PresynapticOptimizer"),
    ],
)
def test_what_does_not_fit_is_refused(b2, words, message):
    source, target = groups(b2, "z : 1\nerror : 1\nv : volt")
    if isinstance(words.get("unit"), str):
        words = words | {"unit": getattr(b2, words["unit"])}
    with pytest.raises(ValueError, match=message):
        to_brian(layer(bias=False), source, target, **words)


@pytest.mark.bad_input
def test_biases_need_a_place_that_holds_them(b2):
    source, target = groups(b2, "z : 1\nb : volt\nn : integer\ng : 1 (shared)")
    for name in ("b", "n", "g", "missing"):
        with pytest.raises(ValueError, match=f"bias = '{name}': must be a state variable of the"):
            to_brian(layer(), source, target, bias=name)


@pytest.mark.bad_input
def test_learning_that_brian2_does_not_know_is_refused(b2):
    source, target = groups(b2)

    def optimizer(of, **words):
        return PresynapticOptimizer(of, RULE, 0.1, **words)

    plain, biased = layer(bias=False), layer()
    example, quantal = layer(bias=False, mask="example"), layer(bias=False, variable="quantal")
    inner = torch.optim.SGD(plain.parameters(), 0.1)
    cases = [
        (plain, optimizer(layer()), {}, "optimizer: does not train this layer"),
        (plain, optimizer(plain, inner=inner), {}, "inner optimiser .* leave inner out"),
        (example, optimizer(example), {}, "masks of their own .* use mask='batch'"),
        (quantal, optimizer(quantal), {}, "quantal amplitudes .* use variable='expected'"),
        (plain, optimizer(plain), {"unit": 1.0}, r"unit = 1\.0: must be None with an optimizer"),
        (biased, optimizer(biased, others="trained"), {"bias": "bias"}, "set others='fixed'"),
    ]
    for module, how, words, message in cases:
        with pytest.raises(ValueError, match=message):
            to_brian(module, source, target, optimizer=how, **words)
    # without learning masks of their own are no obstacle: a presentation is an example
    assert len(to_brian(example, source, target)) == IN * OUT


@pytest.mark.bad_input
def test_synapses_that_do_not_fit_leave_the_layer_alone(b2):
    back = layer(bias=False)
    before = bits(back)
    source, target = groups(b2)
    whole = to_brian(back, source, target)
    cases = [("S", "synapses = 'S': must be brian2 Synapses")]
    bernoulli = stochastic_synapses(source, target, ReleaseModel(), amplitude=1.0, on="z")
    cases.append((bernoulli, "synapses have strength_syn missing"))
    sites = {"rule": RULE, "learning_rate": 0.1, "teaching": None}
    double = presynaptic_rule(source, target, connect={"n": 2}, **sites)
    cases.append((double, "30 of them on 15 pairs; must be one for each of the 15"))
    for synapses, message in cases:
        with pytest.raises(ValueError, match=message):
            from_brian(synapses, back)
    for variable, value, message in [
        ("p_syn", 1e-60, r"synapses\.p_syn, in torch\.float32, runs from 0 to"),
        ("p_syn", 1.5, r"to 1\.5: must be in \(0, 1\]"),
        ("strength_syn", np.nan, "synapses.strength_syn: every number must be finite"),
    ]:
        kept = getattr(whole, variable)[2]
        getattr(whole, variable)[2] = value
        with pytest.raises(ValueError, match=message):
            from_brian(whole, back)
        getattr(whole, variable)[2] = kept
    with pytest.raises(ValueError, match="bias = 'bias': must be None"):
        from_brian(whole, back, bias="bias")
    with pytest.raises(ValueError, match="synapses have m_syn missing: a layer with variable="):
        from_brian(whole, layer(bias=False, variable="quantal"))
    assert all(map(torch.equal, before, bits(back)))
    learned = presynaptic_rule(source, target, **sites)
    learned.learn.code = "strength_syn += 1"
    with pytest.raises(ValueError, match="the code of the pathway 'learn' is no presynaptic rule"):
        from_brian(learned, back)
    assert all(map(torch.equal, before, bits(back)))


@pytest.mark.bad_input
def test_a_brian2_that_would_round_is_refused(b2):
    groups_ = groups(b2)
    kept = b2.prefs.core.default_float_dtype
    b2.prefs.core.default_float_dtype = np.float32
    try:
        with pytest.raises(ValueError, match=r"layer is in torch\.float64, brian2 in float32"):
            to_brian(layer(bias=False, dtype=torch.float64), *groups_)
    finally:
        b2.prefs.core.default_float_dtype = kept


@pytest.mark.bad_input
def test_modules_that_are_no_chain_are_refused():
    neurons = Neurons(3, 0.02, 0.0, 0.0, 0.01)
    plain = layer(bias=False)
    other = StochasticLinear(4, 2, bias=False)
    cases = [
        (nn.ReLU(), {}, r"module = ReLU\(\): must have StochasticLinear layers"),
        (layer(), {}, "module has the parameters bias: .* build it with bias=False"),
        (
            nn.Sequential(plain, nn.Linear(3, 2)),
            {},
            r"module has the parameters 1\.weight, 1\.bias",
        ),
        (nn.Sequential(plain, other), {}, "a layer of 3 outputs comes before one of 4 inputs"),
        (StochasticConv2d(1, 1, 3), {}, "is a StochasticConv2d"),
        (plain, {"neurons": Neurons(4, 0.02, 0, 0, 0.01)}, r"count = 4: must be 3, .*\(3\)"),
        (plain, {"neurons": 3}, "neurons = 3: must be a Neurons"),
        (plain, {"source_rate_hz": np.ones(3)}, r"source_rate_hz has shape \(3,\): .* or 5"),
        (plain, {"unit_volt": np.nan}, "unit_volt = nan"),
    ]
    for module, words, message in cases:
        with pytest.raises(ValueError, match=message):
            to_events(module, **({"neurons": neurons, "unit_volt": 1.0, "delay_s": 0.001} | words))


@pytest.mark.bad_input
def test_numbers_that_do_not_fit_torch_are_refused():
    for numbers in (np.zeros((2, 3)), np.ones((2, IN * OUT)), np.full((1, IN * OUT), -0.1)):
        with (
            pytest.raises(ValueError, match="must have 15 columns and be in"),
            inject_uniforms(layer(), numbers),
        ):
            pass
    with (
        pytest.raises(ValueError, match="layer has mask = 'example': must be 'batch'"),
        inject_uniforms(layer(mask="example"), np.zeros((1, IN * OUT))),
    ):
        pass


@pytest.mark.parametrize("ablation", ["ghost", "clean ghost", "unnormalised"])
def test_ablated_layers_release_otherwise_and_are_refused(ablation):
    ablated = AblatedLinear(2, 1, ablation, bias=False)
    message = "must be a plain StochasticLinear"
    with pytest.raises(ValueError, match=message):
        to_events(ablated, Neurons(1, 0.02, 0.0, 0.0, 0.01), unit_volt=1e-3, delay_s=1e-3)
    with (
        pytest.raises(ValueError, match=message),
        inject_uniforms(ablated, np.array([[0.2, 0.7]])),
    ):
        pass
