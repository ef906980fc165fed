"""The presynaptic rule: published steps, its walk, and what is refused."""

import dataclasses
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from synapses import PresynapticRule
from synapses.consolidation import presynaptic_step

PAPER = PresynapticRule(0.0520, 0.0516, 0.001, p_freeze=0.9353)
PROGRAM = dataclasses.replace(PAPER, variant="program")
ENERGY = PresynapticRule(0.07, 0.07, 0.001, variant="program", rate_modulation=False)

# strength, p, gradient; strength after (both rules, eta 0.01); p after by the program, as printed.
# Exact decimal arithmetic from the equations of Schug et al. (2021) and from their program.
STEPS = [
    (0.05, 0.25, 0.004, 0.04997, 0.289, 0.302),
    (-0.02, 0.25, 0.0004, -0.020003, 0.25, 0.25),
    (0.10, 0.60, -0.02, 0.10008, 0.6208, 0.652),
    (0.10, 0.60, 0.0, 0.10, 0.57936, 0.5484),
    (-0.30, 0.93, 0.5, -0.30035, 0.93364, 0.982),
    (0.30, 0.9353, 0.5, 0.2996765, 0.9353, 0.9353),
    (0.01, 0.5, 0.001, 0.009995, 0.526, 0.4484),
    (0.2, 0.99, 0.0, 0.2, 0.99, 0.99),
]


@pytest.mark.parametrize("row", STEPS)
def test_one_step_of_both_variants(row):
    w, p, g, after, program, printed = row
    for rule, wanted in ((PROGRAM, program), (PAPER, printed)):
        if rule is PAPER and p == 0.9353:
            wanted = 0.9353 + 0.0520  # printed: frozen only *beyond* p_freeze, and this is on it
        strength, chance = rule.step(np.array([w]), np.array([p]), np.array([g]), 0.01)
        assert strength[0] == pytest.approx(after, abs=1e-15)
        assert chance[0] == pytest.approx(min(wanted, 1.0), abs=1e-15)


@given(
    w=st.floats(-2, 2),
    p=st.floats(0.25, 1),
    g=st.floats(-0.01, 0.01),
    rule=st.sampled_from([PAPER, PROGRAM, ENERGY]),
    decay=st.sampled_from([0.0, 0.05]),
)
def test_torch_takes_the_same_step(w, p, g, rule, decay):
    one, two, three = (np.array([value]) for value in (w, p, g))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # p within rounding of 1: shown elsewhere
        strength, chance = rule.step(one, two, three, 0.3, decay)
    found = presynaptic_step(rule, *map(torch.tensor, (one, two, three)), 0.3, decay)
    assert found[0].item() == pytest.approx(strength[0], abs=1e-15)
    assert found[1].item() == chance[0]


@given(
    p=st.lists(st.floats(0.25, 1), min_size=1, max_size=9),
    g=st.floats(0, 1),
    variant=st.sampled_from(["printed", "program"]),
)
def test_p_stays_in_range_and_frozen_synapses_stay(p, g, variant):
    rule = PresynapticRule(0.3, 0.4, 0.1, p_freeze=0.8, p_max=0.9, variant=variant)
    chances = np.minimum(np.array(p), 0.9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        _, after = rule.step(np.zeros(len(p)), chances, np.full(len(p), g), 0.1)
    assert ((after >= 0.25) & (after <= 0.9)).all()
    frozen = rule.is_frozen(chances)
    np.testing.assert_array_equal(after[frozen], chances[frozen])


def test_strength_moves_with_the_old_probability():
    rule = PresynapticRule(0.5, 0.1, 0.1)
    strength, p = rule.step(np.array([0.0]), np.array([0.25]), np.array([1.0]), 1.0)
    assert (strength[0], p[0]) == (-0.75, 0.75)  # with the new p it would be -0.25


def test_weight_decay_is_not_modulated():
    strength, _ = PROGRAM.step(np.array([2.0]), np.array([0.75]), np.array([0.0]), 0.1, 0.5)
    assert strength[0] == pytest.approx(2.0 - 0.1 * 0.5 * 2.0, abs=1e-15)


def test_inputs_are_left_alone_and_the_type_stays():
    w, p, g = (np.full(3, v, np.float32) for v in (0.1, 0.5, 0.2))
    strength, chance = PAPER.step(w, p, g, 0.1)
    assert strength.dtype == chance.dtype == np.float32
    assert (w == np.float32(0.1)).all()
    assert (p == 0.5).all()


def test_float32_near_the_top_warns_that_p_sticks():
    rule = PresynapticRule(0.07, 0.07, 0.001, variant="program")
    p = np.array([1 - 4.17e-7], np.float32)
    with pytest.warns(RuntimeWarning, match="1 release probabilities of type float32 are so near"):
        _, after = rule.step(np.zeros(1, np.float32), p, np.zeros(1, np.float32), 0.1)
    assert after[0] == p[0]


def test_critical_up_frequencies():
    # ln(1 + d) / (ln(1 + d) - ln(1 - u)) in 40 digits
    cases = [
        (0.07, 0.07, 0.48248567555413019913),
        (0.0520, 0.0516, 0.485113026963771984),
        (0.0516, 0.0520, 0.48897576195534045325),
    ]
    for up, down, wanted in cases:
        rule = PresynapticRule(up, down, 0.0, variant="program")
        assert rule.critical_up_frequency() == pytest.approx(wanted, rel=1e-14)
    assert PresynapticRule(0.3, 0.1, 0.0).critical_up_frequency() == pytest.approx(0.25)
    with pytest.raises(ValueError, match="do not move"):
        PresynapticRule(0.0, 0.0, 0.1).critical_up_frequency()


def test_the_shortest_ways_up():
    # 46 up-steps from 0.25 to 0.9353, 28 to 0.9 with steps of 0.07: logarithms by hand
    for rule, goal, wanted in ((PROGRAM, 0.9353, 46), (ENERGY, 0.9, 28)):
        p, steps = np.array([0.25]), 0
        while p[0] < goal:
            _, p = rule.step(np.zeros(1), p, np.ones(1), 0.0)
            steps += 1
        assert steps == wanted


@pytest.mark.parametrize(
    ("pi", "wanted"),
    [
        (1.0, 962.2420768753725),
        (0.9, 3840.5882084758264),
        (0.8, 31041.961689364987),
        (0.7, 794407.5862321527),
    ],
)
def test_mean_steps_to_freeze(pi, wanted):
    # another program's sparse solution on a tree of 1,500 levels
    assert PROGRAM.mean_steps_to_freeze(pi) == pytest.approx(wanted, rel=1e-10)


def test_mean_steps_from_elsewhere_by_simulation():
    # 4,000 walkers, |z| < 3.89 (alpha 1e-4)
    rng = np.random.default_rng(11)
    p, taken = np.full(4000, 0.6), np.zeros(4000)
    alive, step = np.arange(4000), 0
    while alive.size:
        step += 1
        large = rng.random(alive.size) < p[alive]
        _, p[alive] = PROGRAM.step(np.zeros(alive.size), p[alive], large.astype(float), 0.0)
        done = p[alive] >= 0.9353
        taken[alive[done]] = step
        alive = alive[~done]
    error = taken.std() / math.sqrt(4000)
    assert abs(taken.mean() - PROGRAM.mean_steps_to_freeze(1.0, start=0.6)) < 3.89 * error
    assert PROGRAM.mean_steps_to_freeze(0.9, start=0.95) == 0.0


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"p_up": 1.2}, "p_up = 1.2"),
        ({"g_lim": -1.0}, "g_lim = -1.0"),
        ({"p_min": 0.0}, "p_min = 0.0"),
        ({"p_min": 0.5, "p_max": 0.4}, "p_min = 0.5: must be <= p_max = 0.4"),
        ({"variant": "paper"}, "variant = 'paper': must be one of 'printed', 'program'"),
        ({"rate_modulation": 1}, "rate_modulation = 1: must be True or False"),
    ],
)
def test_rules_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        PresynapticRule(**{"p_up": 0.1, "p_down": 0.1, "g_lim": 0.1, **change})


@pytest.mark.bad_input
def test_steps_on_bad_arrays_are_refused():
    one = np.ones(2)
    with pytest.raises(ValueError, match=r"shapes \(2,\), \(3,\) and \(2,\)"):
        PAPER.step(one, np.ones(3), one, 0.1)
    with pytest.raises(ValueError, match="release_probability holds 1.5"):
        PAPER.step(one, np.array([0.5, 1.5]), one, 0.1)
    with pytest.raises(ValueError, match="gradient holds numbers that are not finite"):
        PAPER.step(one, one, np.array([0.0, np.nan]), 0.1)
    with pytest.raises(ValueError, match="strength has type int64"):
        PAPER.step(np.ones(2, int), one, one, 0.1)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (PAPER, "variant = 'printed': mean_steps_to_freeze is known for the program's rule alone"),
        (ENERGY, "p_freeze = 1.0: must lie between"),
        (dataclasses.replace(PROGRAM, p_up=0.0), "p_up = 0.0"),
    ],
)
def test_walks_that_cannot_be_solved_are_refused(rule, message):
    with pytest.raises(ValueError, match=message):
        rule.mean_steps_to_freeze(0.9)
