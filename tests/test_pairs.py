"""One battery over all (derivation, kernel, reference) triples of pairs.py."""

import pytest
from brute_force import compare, evaluate
from pairs import PAIRS

from deeplinear import derivations

COUNT = 34


@pytest.fixture(scope="module")
def results():
    """Results of every derivation, each built once."""
    return {name: getattr(derivations, name)().results for name in derivations.__all__}


def _label(pair):
    return pair.name


def test_number_of_pairs():
    assert len(PAIRS) == COUNT


def test_derivations_without_a_kernel_are_known():
    # the critical power is a statement about exponents and Euler's bounds are tested by simulation
    without = set(derivations.__all__) - {pair.derivation for pair in PAIRS}
    assert without == {"critical_power", "euler_stability"}


@pytest.mark.parametrize("pair", PAIRS, ids=_label)
def test_derivation_kernel_and_reference_agree(pair, results):
    expected = pair.reference()
    compare(evaluate(results[pair.derivation][pair.result], pair.at), expected, pair.rtol, "sympy")
    compare(pair.kernel(), expected, pair.rtol, "kernel")


@pytest.mark.parametrize("pair", PAIRS, ids=_label)
def test_one_per_cent_off_fails(pair, results):
    derived = evaluate(results[pair.derivation][pair.result], pair.at)
    with pytest.raises(AssertionError, match=r"ratio (np\.float64\()?1\.01"):
        compare(derived * 1.01, derived, pair.rtol, "sympy")
