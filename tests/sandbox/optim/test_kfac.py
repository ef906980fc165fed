"""K-FAC against frozen numbers, FOOF and limits."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from sandbox.optim import _kronecker_factors
from sandbox.optim.foof import FOOF
from tests.sandbox.optim.kfac_problems import (
    DAMPING,
    RULES,
    TRUE,
    X,
    exactly,
    fixed_net,
    stepped,
    worst,
)

# values for labels drawn beforehand, from dense solves with the Kronecker products, done elsewhere
DRAWN = [1, 2, 0, 0]
SHARES = {
    "0": (1.6102786020799305, 0.031050527489725727),
    "2": (0.417711656472525, 0.11969979584059978),
}
DIRECTIONS = {
    "heuristic": (
        [
            [-0.039845818884859135, 0.2085244787614733, 0.6396110586415333],
            [-0.04352471241063397, -0.13090461997773709, 0.2603649574698643],
            [-0.1081000272552638, -0.1916273800552392, -0.6305387456284549],
            [-0.4616186062053698, 0.22152353838377203, 0.15618610420711287],
        ],
        [
            [-0.12853967783813774, -0.03193319225412333, 0.085057692011405, -0.10522286515985402],
            [-0.02369525455410062, -0.14898954517743562, 0.1024093669105913, 0.040837335226234714],
            [0.15223493239223895, 0.1809227374315585, -0.1874670589219974, 0.06438552993361868],
        ],
    ),
    "standard": (
        [
            [-0.14848376466081897, -0.005355334665640421, 2.6815501220051554],
            [-0.15658996504159273, -0.342153342369964, 0.924827072135504],
            [-0.22142849071184506, -0.17737695001441522, -1.8509802234006572],
            [-0.7495821673110571, 0.5823962063780417, -0.5159169987085948],
        ],
        [
            [-0.21311834086202824, -0.08140018868430947, 0.08142760176591093, -0.13087959118892603],
            [-0.11035020892517466, -0.2431819089119525, 0.13111951837037403, 0.11771546905804166],
            [0.32346854978720474, 0.32458209759626433, -0.21254712013628776, 0.013164122130885275],
        ],
    ),
}
# over dampings 1e-6, 1e-4, 1e-2, 1, 100
COSINES = {
    "0": (
        0.2755945188810008,
        0.32001775427894164,
        0.6296284517057011,
        0.9634682171855212,
        0.9990726463349701,
    ),
    "2": (
        0.997569038621968,
        0.9975939700271839,
        0.9979162333545671,
        0.9993496209729398,
        0.9999784099793828,
    ),
}
COSINE_OF_STANDARD = {"0": 0.5174875233161242, "2": 0.997108043362635}
ALL_LABELS = {
    "0": [
        [0.056920058806404494, -0.04591599780805155, 0.001248198067901024, 0.043820297333955455],
        [-0.04591599780805155, 0.06343047215982082, -0.04290325316995428, -0.01387459690051325],
        [0.001248198067901024, -0.04290325316995428, 0.09520267886846176, -0.05532115023440645],
        [0.043820297333955455, -0.01387459690051325, -0.05532115023440645, 0.08112414495958516],
    ],
    "2": [
        [0.21186477746695903, -0.11309569423648475, -0.09876908323047426],
        [-0.11309569423648475, 0.20153035307654288, -0.0884346588400581],
        [-0.09876908323047426, -0.0884346588400581, 0.18720374207053236],
    ],
}


@pytest.fixture
def drawn(monkeypatch):
    """Let the labels be those that the frozen numbers belong to."""

    def columns(outputs, *_):
        return (outputs.softmax(1) - one_hot(torch.tensor(DRAWN), 3))[None]

    monkeypatch.setattr(_kronecker_factors, "sampled_columns", columns)


def cosine(one, other, metric):
    def product(a, b):
        return float((a @ metric * b).sum())

    return product(one, other) / math.sqrt(product(one, one) * product(other, other))


@pytest.mark.parametrize("rule", DIRECTIONS)
@pytest.mark.parametrize("batch", [1, 4])
def test_frozen_directions(drawn, rule, batch):
    # the mean scaling at a damping divided by the batch size is the paper's, times that size
    settings = {"scaling": "paper"} if batch == 1 else {"scaling": "mean"}
    found, _ = stepped(fixed_net(), rule=rule, damping=DAMPING / batch, **settings)
    for direction, wanted in zip(found.values(), DIRECTIONS[rule], strict=True):
        assert worst(direction / batch, exactly(wanted)) < 1e-12


def test_frozen_shares_of_the_damping(drawn):
    _, optimizer = stepped(fixed_net(), scaling="paper")
    for name, wanted in SHARES.items():
        factors = [optimizer.averages[name][factor].value() for factor in ("input", "output")]
        found = _kronecker_factors.factored_damping(*factors, DAMPING)
        assert found == pytest.approx(wanted, rel=1e-12)


def test_frozen_cosines_to_foof(drawn):
    """The angle to FOOF with K-FAC's share of the damping closes as the damping grows."""
    for i, damping in enumerate((1e-6, 1e-4, 1e-2, 1.0, 100.0)):
        both, optimizer = stepped(fixed_net(), scaling="paper", damping=damping)
        one, _ = stepped(fixed_net(), scaling="paper", damping=damping, output_factor=False)
        for name, wanted in COSINES.items():
            metric = optimizer.averages[name]["input"].value()
            assert cosine(both[name], one[name], metric) == pytest.approx(wanted[i], rel=1e-12)


def test_frozen_cosine_of_the_standard_rule(drawn):
    found, optimizer = stepped(fixed_net(), scaling="paper", rule="standard")
    foof, _ = stepped(fixed_net(), make=FOOF, scaling="paper")
    for name, wanted in COSINE_OF_STANDARD.items():
        metric = optimizer.averages[name]["input"].value()
        assert cosine(found[name], foof[name], metric) == pytest.approx(wanted, rel=1e-12)


def test_frozen_factors_of_all_labels():
    _, optimizer = stepped(fixed_net(), fisher="exact")
    for name, wanted in ALL_LABELS.items():
        assert worst(optimizer.averages[name]["output"].value(), exactly(wanted)) < 1e-12


def test_the_published_spelling_is_the_transposed_formula_and_no_solve(drawn):
    found, optimizer = stepped(fixed_net(), rule="standard-published", scaling="paper")
    net = fixed_net()
    cross_entropy(net(exactly(X)), torch.tensor(TRUE)).backward()
    for name, solved in zip(found, DIRECTIONS["standard"], strict=True):
        factors = optimizer.averages[name]
        inputs, right = torch.linalg.eigh(factors["input"].value())
        outputs, left = torch.linalg.eigh(factors["output"].value())
        left = left * left.gather(0, left.abs().argmax(0, keepdim=True)).sign()
        gradient = net[int(name)].weight.grad
        inner = left @ gradient @ right / (torch.outer(outputs, inputs) + DAMPING)
        assert worst(found[name], left.T @ inner @ right.T) < 1e-12
        assert worst(found[name], exactly(solved)) > 0.3


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_without_an_output_factor_it_is_foof_with_its_share_of_the_damping(drawn, power):
    found, optimizer = stepped(fixed_net(), output_factor=False, power=power)
    for i, name in enumerate(found):
        factors = [optimizer.averages[name][factor].value() for factor in ("input", "output")]
        mine, rest = _kronecker_factors.factored_damping(*factors, DAMPING)
        foof, _ = stepped(fixed_net(), FOOF, damping=mine, power=power)
        assert worst(found[name], list(foof.values())[i] / rest**power) < 1e-12


@pytest.mark.parametrize("rule", RULES)
def test_infinite_damping_leaves_the_gradient(rule):
    net = fixed_net()
    found, _ = stepped(net, rule=rule, damping=1e12, power=0.5)
    for direction, layer in zip(found.values(), (net[0], net[2]), strict=True):
        # corrections are of the order of the root of the factors over the damping
        assert worst(direction * 1e6, layer.weight.grad) < 1e-4
