"""The presynaptic rule in brian2, against its definition in numpy."""

import numpy as np
import pytest
from brian_run import QUIET, clockwork, quiet_brian2
from scipy import stats

from synapses import PresynapticRule
from synapses.brian import presynaptic_rule
from theory.streams import Streams

pytestmark = QUIET

Z = stats.norm.isf(1e-5 / 2)
"""Bound of a two-sided test with alpha = 1e-5; the seeds are fixed."""

CONSTANTS = {"p_up": 0.0520, "p_down": 0.0516, "g_lim": 0.001, "p_freeze": 0.9353}

# strength, p, gradient; strength after; p after (program, printed), exact decimals of the
# published program and of the printed equations (frozen where p > p_freeze)
ONE_STEP = [
    (0.05, 0.25, 0.004, 0.04997, 0.289, 0.302),
    (-0.02, 0.25, 0.0004, -0.020003, 0.25, 0.25),
    (0.10, 0.60, -0.02, 0.10008, 0.6208, 0.652),
    (0.10, 0.60, 0.0, 0.1, 0.57936, 0.5484),
    (-0.30, 0.93, 0.5, -0.30035, 0.93364, 0.982),
    (0.30, 0.9353, 0.5, 0.2996765, 0.9353, 0.9873),
    (0.01, 0.5, 0.001, 0.009995, 0.526, 0.4484),
    (0.2, 0.99, 0.0, 0.2, 0.99, 0.99),
]


@pytest.fixture
def b2():
    with quiet_brian2() as module:
        yield module


def layer(b2, size):
    return b2.NeuronGroup(size, "z : 1\nerror : 1")


@pytest.mark.parametrize("variant", ["program", "printed"])
def test_one_step_of_each_case(b2, variant):
    strength, p, gradient, moved, program, printed = np.array(ONE_STEP).T
    expected = program if variant == "program" else printed
    rule = PresynapticRule(**CONSTANTS, variant=variant)
    source, target = clockwork(b2, every=5), layer(b2, 8)
    S = presynaptic_rule(
        source,
        target,
        rule,
        learning_rate=0.01,
        teaching=None,
        strength=strength,
        uniforms=np.zeros((1, 8)),  # all release
    )
    S.p_syn, target.error = p, gradient * p  # g = error r / p
    # the threshold case as it is met: 0.0005/0.5 is 0.001 to the last bit
    assert 0.001 * 0.5 / 0.5 == 0.001
    b2.Network(source, target, S).run(b2.defaultclock.dt)
    np.testing.assert_allclose(S.strength_syn[:], moved, rtol=1e-14)
    np.testing.assert_allclose(S.p_syn[:], expected, rtol=1e-14)
    exact = rule.step(strength, p, gradient * p / p, 0.01)
    np.testing.assert_allclose(S.strength_syn[:], exact[0], rtol=1e-15)
    np.testing.assert_allclose(S.p_syn[:], exact[1], rtol=1e-15)
    np.testing.assert_allclose(target.z[:], strength / p, rtol=1e-15)
    np.testing.assert_allclose(S.energy_syn[:], np.abs(strength / p), rtol=1e-15)


def learned(rule, w, uniforms, patterns, labels):
    """Return strength, release probability, releases and energy after logistic regression."""
    p = np.full(w.shape, 0.25)
    counts, energies = np.zeros(w.shape, int), np.zeros(w.shape)
    for uniform, pattern, label in zip(uniforms, patterns, labels, strict=True):
        released = uniform.reshape(w.shape) < p
        z = pattern @ (w * released / p)
        counts += released
        energies += released * np.abs(w / p)
        gradient = np.outer(pattern, 1 / (1 + np.exp(-z)) - label) * released / p
        w, p = rule.step(w, p, gradient, 0.1, 0.01)
    return w, p, counts, energies


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        ("program", {"rate_modulation": True}),
        ("printed", {"rate_modulation": True}),
        ("program", {"rate_modulation": False, "p_max": 0.95}),
    ],
)
def test_a_logistic_layer_learns_as_the_definition_says(b2, variant, words):
    # 40 inputs, 3 outputs, 200 presentations, both sides fed with the same numbers
    streams = Streams(5)
    uniforms = streams.generator("uniforms").random((200, 120))
    patterns = streams.generator("patterns").normal(size=(200, 40))
    labels = streams.generator("labels").integers(0, 2, (200, 3)).astype(float)
    strength = streams.generator("strength").normal(size=(40, 3)) / 4
    rule = PresynapticRule(0.052, 0.0516, 0.02, p_freeze=0.6, variant=variant, **words)

    w, p, counts, energies = learned(rule, strength, uniforms, patterns, labels)
    frozen = rule.is_frozen(p)
    assert 0 < frozen.sum() < 120  # the run meets every branch of the rule
    assert (p == 0.25).any()

    names = {"pattern": b2.TimedArray(patterns, dt=b2.ms)}
    source = clockwork(b2, 40, extra="rate = pattern(t, i) : 1", **names)
    target = layer(b2, 3)
    target.namespace["label"] = b2.TimedArray(labels, dt=b2.ms)
    S = presynaptic_rule(
        source,
        target,
        rule,
        learning_rate=0.1,
        weight_decay=0.01,
        activity="rate",
        teaching="error = 1/(1 + exp(-z)) - label(t, i); z = 0",
        strength=strength.ravel(),
        uniforms=uniforms,
        record=True,
    )
    b2.Network(source, target, S).run(200 * b2.ms)
    np.testing.assert_allclose(S.strength_syn[:], w.ravel(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(S.p_syn[:], p.ravel(), rtol=0, atol=1e-12)
    assert S.n_rel[:].tolist() == counts.ravel().tolist()
    np.testing.assert_allclose(S.energy_syn[:], energies.ravel(), rtol=1e-12)
    assert S.recorder["r"].sum() == counts.sum()
    np.testing.assert_allclose(S.recorder["m"][:120], strength.ravel() / 0.25, rtol=1e-15)


def test_time_to_freeze_is_that_of_the_walk(b2):
    # every release brings a gradient above the threshold: 962.24 steps in the mean
    rule = PresynapticRule(**CONSTANTS, variant="program")
    source, target = clockwork(b2), layer(b2, 400)
    target.error = 1.0
    S = presynaptic_rule(source, target, rule, learning_rate=0.0, teaching=None)
    steps = 9000
    history = b2.StateMonitor(S, "p_syn", record=True, when="end")
    b2.Network(source, target, S, history).run(steps * b2.ms)
    frozen = history.p_syn >= rule.p_freeze
    assert frozen[:, -1].all()
    first = frozen.argmax(axis=1) + 1
    expected = rule.mean_steps_to_freeze(1.0)
    assert expected == pytest.approx(962.2420768753725, rel=1e-9)
    assert abs(first.mean() - expected) < Z * first.std() / np.sqrt(400)
    assert (np.diff(history.p_syn, axis=1)[frozen[:, :-1]] == 0).all()


def test_a_silent_source_leaves_its_synapses_alone(b2):
    rule = PresynapticRule(0.07, 0.07, 0.001)
    source = b2.NeuronGroup(2, "dummy : 1", threshold="i == 1", reset="")
    target = layer(b2, 1)
    S = presynaptic_rule(
        source, target, rule, learning_rate=0.1, teaching=None, release_probability=0.5
    )
    b2.Network(source, target, S).run(2 * b2.ms)
    np.testing.assert_allclose(S.p_syn[:], [0.5, 0.5 - 0.14], rtol=1e-15)
    assert S.n_rel[0] == 0


def test_two_layers_of_synapses_share_one_teaching_signal(b2):
    rule = PresynapticRule(0.07, 0.07, 0.001, p_min=1.0)
    source, target = clockwork(b2), layer(b2, 1)
    words = {"learning_rate": 0.1, "strength": 0.5}
    first = presynaptic_rule(source, target, rule, teaching="error = z; z = 0", **words)
    second = presynaptic_rule(source, target, rule, teaching=None, **words)
    b2.Network(source, target, first, second).run(b2.ms)
    # z = 1 is the sum of both; at p = 1 the rate is 0, as nothing is left to modulate with
    assert target.error[0] == 1.0
    assert target.z[0] == 0.0
    assert first.strength_syn[0] == second.strength_syn[0] == 0.5


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rule": "program"}, r"rule = 'program': must be a PresynapticRule"),
        ({"learning_rate": -0.1}, r"learning_rate = -0\.1: must be a finite number in \[0, inf\)"),
        ({"weight_decay": -1}, r"weight_decay = -1: must be"),
        ({"release_probability": 0.0}, r"release_probability = 0\.0: must be .* \(0, 1\]"),
        ({"strength": np.nan}, r"strength = nan: every one must be finite"),
        ({"on": "v"}, r"on = 'v' is in volt: must be a plain number"),
        ({"on": "y"}, r"on = 'y': must be a state variable of the target"),
        ({"error": "v"}, r"error = 'v' is in volt: must be a plain number"),
        ({"error": "z"}, r"error = 'z': must not be the variable that releases add to"),
        ({"activity": "rate"}, r"activity = 'rate': must be a variable of the source, or None"),
        ({"teaching": 3}, r"teaching = 3: must be code for the target, or None"),
        ({"uniforms": np.zeros((2, 3))}, r"uniforms has shape \(2, 3\): must have 2 columns"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(b2, change, message):
    target = b2.NeuronGroup(2, "z : 1\nerror : 1\nv : volt")
    words = {"rule": PresynapticRule(0.07, 0.07, 0.001), "learning_rate": 0.1, "teaching": None}
    with pytest.raises(ValueError, match=message):
        presynaptic_rule(clockwork(b2), target, **(words | change))
