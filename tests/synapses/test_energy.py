"""Energy of networks and recordings against definitions, enumeration and counted events."""

import math
import subprocess
import sys
from itertools import starmap

import numpy as np
import pytest
import torch
from torch import nn

from synapses.ablations import AblatedLinear
from synapses.energy import (
    ATP_CONSTANTS,
    EXPONENTS,
    EnergyModel,
    bits_per_energy,
    neuron_energy,
)
from synapses.events import Network, Neurons, simulate
from synapses.layers import StochasticConv2d, StochasticLinear, mean_weights
from synapses.release import ReleaseModel

F64 = torch.float64


def net(variable="expected", p=0.4):
    torch.manual_seed(2)
    return nn.Sequential(
        StochasticLinear(4, 3, release_probability=p, variable=variable, dtype=F64),
        nn.ReLU(),
        StochasticLinear(3, 2, release_probability=p, variable=variable, dtype=F64),
    )


def spiking(seed=0, **options):
    """Run two neurons and one source, five synapses of unequal release probability."""
    neurons = Neurons(2, 0.02, -0.045, -0.06, -0.05)  # they spike by themselves
    network = Network.from_pairs(
        neurons,
        source=np.array([0, 2, 1, 2, 2]),
        target=np.array([1, 0, 0, 1, 0]),
        amplitude_volt=np.array([0.001, -0.002, 0.003, 0.001, 0.0005]),
        release_probability=np.array([0.2, 0.5, 0.9, 0.7, 0.1]),
        delay_s=0.001,
        source_rate_hz=np.array([200.0]),
    )
    return network, simulate(network, 2.0, 0.0005, seed, **options)


@pytest.mark.parametrize("variable", ["expected", "quantal"])
def test_strength_is_the_sum_of_expected_strengths(variable):
    model = net(variable)
    energy = EnergyModel().of(model)
    by_hand = {}
    for name, layer in (("0", model[0]), ("2", model[2])):
        size = layer.weight.detach().abs().numpy()
        by_hand[name] = size if variable == "expected" else 0.4 * size
        np.testing.assert_allclose(energy.per_synapse[name], by_hand[name], rtol=1e-15)
        assert energy.per_layer[name] == pytest.approx(by_hand[name].sum(), rel=1e-14)
    assert energy.total == pytest.approx(sum(v.sum() for v in by_hand.values()), rel=1e-14)
    assert energy.axes == {"0": ("out", "in"), "2": ("out", "in")}
    assert energy.unit == "weight"


def test_strength_of_plain_layers_and_convolutions():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), StochasticConv2d(2, 1, 2), nn.Flatten(), nn.Linear(9, 2)
    )
    energy = EnergyModel().of(model)
    wanted = sum(model[i].weight.detach().double().abs().sum().item() for i in (0, 1, 3))
    assert energy.total == pytest.approx(wanted, rel=1e-12)
    assert energy.axes["0"] == ("out", "in", "y", "x") == energy.axes["1"]
    assert energy.per_synapse["1"].shape == (1, 2, 2, 2)


def test_strength_of_a_spiking_network_is_in_volt():
    network, _ = spiking()
    energy = EnergyModel().of(network)
    # p |m| of the synapses, in the order of their senders
    neurons, sources = [0.2 * 0.001, 0.9 * 0.003], [0.5 * 0.002, 0.7 * 0.001, 0.1 * 0.0005]
    np.testing.assert_allclose(energy.per_synapse["neurons"], neurons, rtol=1e-6)  # float32
    np.testing.assert_allclose(energy.per_synapse["sources"], sources, rtol=1e-6)
    assert energy.unit == "volt"


def test_strengths_at_the_start_of_the_papers_network():
    # sum of b sqrt(a) / 2 over layers a -> b for U(-1/sqrt(a), 1/sqrt(a)), 40-digit arithmetic
    totals = []
    for seed in range(4):
        torch.manual_seed(seed)
        layers = list(starmap(StochasticLinear, ((784, 200), (200, 200), (200, 10))))
        totals.append(EnergyModel().of(nn.Sequential(*layers)).total)
    # four nets, s.d. 5.8452259722500606 each: 5 standard errors
    assert np.mean(totals) == pytest.approx(4284.9242404917498, abs=5 * 5.845226 / 2)
    assert np.std(totals) > 0.5


@pytest.mark.parametrize(("mechanism", "exponent"), [
    ("calcium", 1 / 2), ("membrane", 2 / 3), ("actin", 4 / 3), ("trafficking", 2),
])  # fmt: skip
@pytest.mark.parametrize("variable", ["expected", "quantal"])
def test_reliability_from_the_variance_of_the_transmitted_amplitude(mechanism, exponent, variable):
    # Malkin et al. (2024), Eqs. 3-4 and the four scalings above them
    assert EXPONENTS[mechanism] == exponent
    model = net(variable, p=0.3)
    found = EnergyModel(
        "reliability", mechanism=mechanism, reliability_cost=0.7, magnitude_cost=0.2
    ).of(model)
    for name, layer in (("0", model[0]), ("2", model[2])):
        weight = layer.weight.detach().numpy()
        m = weight / 0.3 if variable == "expected" else weight
        # variance over the two outcomes
        mean = 0.3 * m
        sigma = np.sqrt(0.3 * (m - mean) ** 2 + 0.7 * mean**2)
        wanted = 0.7 * sigma**-exponent + 0.2 * np.abs(mean)
        np.testing.assert_allclose(found.per_synapse[name], wanted, rtol=1e-12)


def test_reliability_of_synapses_that_never_vary_is_refused():
    model = EnergyModel("reliability", mechanism="calcium")
    mixed = net()
    mixed[2].release_probability[0, 1] = 1.0
    with pytest.raises(ValueError, match=r"1 of 6 synapses of layer '2' have sigma = 0.*p_max"):
        model.of(mixed)
    with pytest.raises(ValueError, match=r"6 of 6 synapses of layer ''.*sigma = 0"):
        model.of(nn.Linear(3, 2))


def test_expected_releases_against_drawn_masks():
    model = net(p=0.3)
    with torch.no_grad():
        model[0].release_probability[:] = torch.linspace(0.1, 1.0, 12).reshape(3, 4)
    inputs = torch.tensor([[1.0, 0.0, -2.0, 0.5], [0.0, 0.0, 1.0, 0.0]], dtype=F64)
    energy = EnergyModel("releases", spike_cost=0.5, release_cost=2.0).of(model, inputs=inputs)
    spikes = np.array([0.5, 0.0, 1.0, 0.5])  # share of the two presentations
    p = model[0].release_probability.numpy()
    np.testing.assert_allclose(energy.per_synapse["0"], 2.0 * p * spikes, rtol=1e-14)
    assert energy.per_layer["0"] == pytest.approx(2 * (p @ spikes).sum() + 0.5 * 2.0)
    assert energy.total == pytest.approx(sum(energy.per_layer.values()))
    draws = 4000
    counts = sum((model[0].draw().numpy() @ (inputs.numpy() != 0).T).sum() for _ in range(draws))
    # each active synapse of each presentation draws once a mask; bound: 5 standard errors
    active = (inputs.numpy() != 0).sum(axis=0)
    spread = math.sqrt(draws * (p * (1 - p) @ active**2).sum())
    assert 2 * counts / draws / 2 == pytest.approx(2 * (p @ spikes).sum(), abs=5 * spread / draws)


def test_plain_layers_always_release():
    energy = EnergyModel("releases").of(nn.Linear(4, 3), inputs=torch.ones(2, 4))
    assert energy.total == 12.0


def test_measuring_leaves_a_network_and_the_generators_alone():
    own = torch.Generator().manual_seed(5)
    model = nn.Sequential(
        StochasticLinear(3, 3, generator=own), nn.Dropout(), StochasticLinear(3, 2)
    )
    model.train()
    model(torch.ones(1, 3))
    mask, state, drawn = model[0].last_mask, own.get_state(), torch.get_rng_state()
    EnergyModel("releases").of(model, inputs=torch.ones(4, 3))
    assert neuron_energy(model, torch.ones(4, 3)) >= 0
    assert model[0].last_mask is mask
    assert torch.equal(own.get_state(), state)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert model.training
    assert model[1].training


@pytest.mark.parametrize("sampler", ["per-synapse", "skip"])
def test_a_recording_costs_what_its_events_say(sampler):
    network, run = spiking(sampler=sampler, record_events=True)
    assert run.events is not None
    counts = np.bincount(run.events.synapse[run.events.released], minlength=5)
    assert (counts > 0).all()
    model = EnergyModel("releases", spike_cost=3.0, release_cost=0.5)
    energy = model.of(run, network=network)
    np.testing.assert_array_equal(energy.per_synapse["neurons"], 0.5 * counts[:2])
    np.testing.assert_array_equal(energy.per_synapse["sources"], 0.5 * counts[2:])
    own, foreign = run.spike_step.size, run.source_spike_step.size
    assert own > 5
    assert energy.per_layer["neurons"] == pytest.approx(0.5 * counts[:2].sum() + 3 * own)
    assert energy.per_layer["sources"] == pytest.approx(0.5 * counts[2:].sum() + 3 * foreign)
    alone = model.of(run)
    assert alone.total == pytest.approx(energy.total)
    assert list(alone.per_layer) == ["network"]


def test_moments_by_enumeration_of_the_binomial_law():
    n, sites, p, spike, vesicle = 3, 4, 0.3, 0.7, 1.6
    model = EnergyModel("releases", spike_cost=spike, release_cost=vesicle)
    k = np.arange(n * sites + 1)
    law = np.array([math.comb(12, i) * p**i * (1 - p) ** (12 - i) for i in k])
    energies = n * spike + vesicle * k
    mean = law @ energies
    wanted = (mean, law @ (energies - mean) ** 2)
    assert model.moments(n, ReleaseModel(sites, p)) == pytest.approx(wanted, rel=1e-12)


def test_atp_sums_its_table_and_marks_what_was_not_checked():
    # BioNumbers 108626 and 108625: 1.2e4 Ca2+, one ATP each; 210,000 Na+, three an ATP
    sourced = {name: c.value for name, c in ATP_CONSTANTS.items() if not c.assumption}
    assert sourced == {"presynaptic_calcium": 12_000.0, "nmda_receptors": 210_000 / 3}
    assert all(c.source for c in ATP_CONSTANTS.values())
    _, run = spiking()
    plain = EnergyModel("atp").of(run)
    spikes = run.spike_step.size + run.source_spike_step.size
    vesicle = 12_000 + 70_000 + 67_000 + 3_000 + 400 + 11_000  # 1.634e5, quoted as 1.64e5
    assert plain.total == pytest.approx(3.84e8 * spikes + vesicle * run.total_releases, rel=1e-14)
    assert plain.unit == "ATP"
    cheaper = EnergyModel("atp", action_potential=1e8, metabotropic_receptors=0.0).of(run)
    saved = 2.84e8 * spikes + 3000 * run.total_releases
    assert plain.total - cheaper.total == pytest.approx(saved, rel=1e-12)


def test_energy_of_a_right_decision_and_bits():
    energy = EnergyModel("releases").of(nn.Linear(4, 3), inputs=torch.ones(2, 4))
    assert energy.per_correct_decision(0.75) == 16.0
    assert bits_per_energy(3.0, energy) == bits_per_energy(3.0, 12.0) == 0.25


def test_neuron_energy_is_the_hidden_activity():
    model = net()
    inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=F64)
    with mean_weights(model), torch.no_grad():
        wanted = model[:2](inputs).sum(dim=1).mean().item()
        assert neuron_energy(model, inputs) == pytest.approx(wanted, rel=1e-13)


def test_importing_stays_light():
    code = "import sys, synapses.energy; print({'torch', 'numba', 'brian2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


MODEL = EnergyModel("releases")


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: EnergyModel("joule"), "kind = 'joule'"),
        (lambda: EnergyModel("strength", spike_cost=1.0), "spike_cost = 1.0.*these are none"),
        (lambda: EnergyModel("atp", axon=1.0), "axon = 1.0.*action_potential"),
        (lambda: EnergyModel("releases", spike_cost=-1.0), "spike_cost = -1.0"),
        (lambda: EnergyModel("reliability"), "mechanism = ''.*'calcium'"),
        (lambda: EnergyModel().moments(3, ReleaseModel()), "kind = 'strength'"),
        (lambda: MODEL.of(net()), "inputs = None"),
        (lambda: MODEL.of(net(), inputs=torch.ones(4, dtype=F64)), "inputs = tensor"),
        (lambda: EnergyModel().of(net(), inputs=torch.ones(1, 4)), "inputs: must be None"),
        (lambda: EnergyModel().of(net(), network=spiking()[0]), "network: must be None"),
        (lambda: EnergyModel().of(spiking()[1]), "kind = 'strength': a recording"),
        (lambda: MODEL.of(spiking()[0]), "a Network that has not run"),
        (lambda: MODEL.of(spiking()[1], network=net()), "must be that of the recording"),
        (lambda: EnergyModel().of(3), "subject = 3"),
        (lambda: EnergyModel().of(nn.ReLU()), "no linear layer"),
        (lambda: EnergyModel().of(nn.LSTM(2, 2)), "it is a LSTM"),
        (
            lambda: MODEL.of(nn.Sequential(nn.Conv2d(1, 1, 2)), inputs=torch.ones(1, 1, 3, 3)),
            "layer '0' is a convolution",
        ),
        (
            lambda: MODEL.of(nn.Linear(1, 1), inputs=torch.ones(1, 1)).per_correct_decision(0),
            "corr",
        ),
        (lambda: bits_per_energy(1.0, 0.0), "energy = 0.0"),
        (lambda: neuron_energy(3, torch.ones(1, 1)), "network = 3"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("ablation", ["ghost", "clean ghost"])
def test_ghosts_cost_what_they_do_and_not_what_p_says(ablation):
    layer = AblatedLinear(3, 2, ablation, dtype=F64, mask_probability=0.4)
    layer.release_probability.fill_(0.9)
    spent = EnergyModel("releases").of(layer, inputs=torch.ones(5, 3, dtype=F64))
    assert spent.total == pytest.approx(3 * 2 * 0.4)
    generator = torch.Generator().manual_seed(0)
    layer.generator = generator
    drawn = torch.stack([layer._gain() * layer.draw() for _ in range(4000)])
    # sigma of every synapse from draws: its relative standard error is 1/sqrt(2 * 4000) = 1.1 %
    found = EnergyModel("reliability", mechanism="trafficking").of(layer).per_synapse[""]
    np.testing.assert_allclose(found**-0.5, drawn.std(dim=0).detach(), rtol=0.05)


def test_rounded_probabilities_are_what_releases_are_expected_from():
    layer = StochasticLinear(4, 1, release_probability=1e-6, draws="16-bit")
    spent = EnergyModel("releases").of(layer, inputs=torch.ones(2, 4))
    assert spent.total == 4 * 2**-16


def test_no_number_makes_no_energy():
    layer = StochasticLinear(2, 1, dtype=F64)
    with pytest.raises(ValueError, match="inputs: every entry must be finite"):
        EnergyModel("releases").of(layer, inputs=torch.tensor([[1.0, math.nan]], dtype=F64))
    nn.init.constant_(layer.weight, math.nan)
    for kind in ({"kind": "strength"}, {"kind": "reliability", "mechanism": "actin"}):
        with pytest.raises(ValueError, match="strengths that are no finite numbers"):
            EnergyModel(**kind).of(layer)
