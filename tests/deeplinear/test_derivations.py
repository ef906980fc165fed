"""Every derivation checks, none is empty, and a broken one is caught."""

import dataclasses
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

from deeplinear import derivations
from deeplinear.derivations._symbols import modulo
from deeplinear.rules import CurvatureCorrection, mode_velocity
from theory.derivation import Derivation, DerivationError

DOCS = Path(__file__).parents[2] / "docs"
COUNT = 15


@pytest.fixture(scope="module")
def built():
    return {name: getattr(derivations, name)() for name in derivations.__all__}


def test_count_of_derivations():
    assert len(derivations.__all__) == COUNT


@pytest.mark.parametrize("name", derivations.__all__)
def test_every_residual_vanishes(built, name):
    derivation = built[name]
    assert isinstance(derivation, Derivation)
    # fewer than 8 would mean that steps lost their residuals
    assert derivation.check() >= 8


@pytest.mark.parametrize("name", derivations.__all__)
def test_every_derivation_has_a_page_a_source_and_results(built, name):
    derivation = built[name]
    assert derivation.page == f"derivations/{name}"
    page = DOCS / f"{derivation.page}.md"
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert "**Provenance.**" in text
    assert f"derivations.{name}`" in text.replace("\n", " ")
    assert name in (DOCS / "derivations" / "index.md").read_text(encoding="utf-8").split()
    assert derivation.source
    assert derivation.results
    for result in derivation.results.values():
        assert isinstance(result, sp.Basic | sp.MatrixBase)


def test_every_name_that_a_page_cites_exists():
    cited = set()
    for page in sorted((DOCS / "derivations").glob("*.md")):
        cited |= set(re.findall(r"`(deeplinear(?:\.\w+)+)`", page.read_text(encoding="utf-8")))
    assert len(cited) > COUNT
    for name in sorted(cited):
        try:
            pkgutil.resolve_name(name)
        except AttributeError as error:
            pytest.fail(f"{name}: {error}")


@pytest.mark.parametrize("name", derivations.__all__)
def test_text_and_latex_can_be_shown(built, name):
    derivation = built[name]
    assert derivation.text().startswith(derivation.title)
    assert len(derivation.latex()) == len(derivation.steps)
    formulas = [step.formula for step in derivation.steps if step.formula is not None]
    assert formulas
    # an equation that sympy has evaluated shows nothing but "True"
    assert all(formula not in (sp.true, sp.false) for formula in formulas)


@pytest.mark.parametrize("name", derivations.__all__)
def test_a_wrong_residual_in_any_derivation_is_caught(built, name):
    derivation = built[name]
    number = next(i for i, step in enumerate(derivation.steps) if step.residuals)
    step = derivation.steps[number]
    # any term that does not belong there must be noticed
    spoiled = dataclasses.replace(step, residuals=(step.residuals[0] + sp.Symbol("w_1") / 100,))
    broken = dataclasses.replace(derivation, steps=(spoiled,))
    with pytest.raises(DerivationError):
        broken.check()


def test_derivations_start_from_the_loss_and_can_fail(monkeypatch):
    # a loss with the wrong power of the error breaks the derivations that differentiate it
    from deeplinear.derivations import gradient_descent, square_root, velocities
    from deeplinear.derivations._symbols import target

    def cubic(weights):
        return (target - sp.Mul(*weights)) ** 3 / 3

    for module, function in (
        (velocities, derivations.mode_velocities),
        (gradient_descent, derivations.gradient_descent_depth_d),
        (square_root, derivations.square_root_rule),
    ):
        monkeypatch.setattr(module, "mode_loss", cubic)
        with pytest.raises(DerivationError):
            function().check()


def test_modulo_keeps_what_does_not_vanish():
    a, k = sp.symbols("a k", positive=True)
    reduce = modulo((k**2 - a**2 - 1, k))
    assert reduce(k**3 - k * (a**2 + 1)) == 0
    assert reduce(1 / k - k / (a**2 + 1)) == 0
    assert reduce(k**3 - k * a**2) == k
    assert reduce(k - a) != 0


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("blocks", ["full", "layer"])
def test_euler_bound_separates_convergence_from_divergence(built, power, blocks):
    # brute force: 400 Euler steps from 1e-3 beside a balanced optimum, 3 % within and beyond
    s, depth = 1.7, 3
    bound = built["euler_stability"].results["balanced"]
    values = {"s": s, "d": depth, "q": sp.nsimplify(power)}
    eta = float(bound.subs({symbol: values[symbol.name] for symbol in bound.free_symbols}))
    rule = CurvatureCorrection(power=power, blocks=blocks)
    distance = {}
    for factor in (0.97, 1.03):
        w = np.full(depth, s ** (1 / depth) + 1e-3)
        for _ in range(400):
            w += factor * eta * mode_velocity(rule, w, s)
        distance[factor] = abs(np.prod(w) - s)
    assert distance[0.97] < 1e-6
    assert distance[1.03] > 3e-3


def test_first_step_bound_lands_on_the_optimum(built):
    bound = built["euler_stability"].results["first_step"]
    for power in (0, sp.Rational(1, 2), 1):
        values = {"a_0": 0.2, "s": 1.7, "d": 4, "q": power}
        eta = float(bound.subs({symbol: values[symbol.name] for symbol in bound.free_symbols}))
        rule = CurvatureCorrection(power=float(power))
        w = np.full(4, 0.2) + eta * mode_velocity(rule, np.full(4, 0.2), 1.7)
        assert np.prod(w) == pytest.approx(1.7, rel=1e-12)


def test_critical_powers(built):
    # (d - 2) / (2 (d - 1)) by hand: 0, 1/4, 1/3, 3/8
    critical = built["critical_power"].results["critical"]
    (d,) = critical.free_symbols
    values = [critical.subs(d, depth) for depth in (2, 3, 4, 5)]
    assert values == [0, sp.Rational(1, 4), sp.Rational(1, 3), sp.Rational(3, 8)]
    # and there the exponent of the learning time vanishes
    exponent = built["learning_time"].results["exponent"]
    q = next(symbol for symbol in exponent.free_symbols if symbol.name == "q")
    assert sp.simplify(exponent.subs(q, critical)) == 0
