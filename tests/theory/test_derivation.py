"""A derivation is checked by machine: right residuals pass, wrong ones raise."""

import pytest
import sympy as sp

from theory.derivation import Derivation, DerivationError, Step, numeric_zero

x = sp.Symbol("x", positive=True)
SQUARE = Step("Expand.", sp.Eq((x + 1) ** 2, x**2 + 2 * x + 1), ((x + 1) ** 2 - x**2 - 2 * x - 1,))


def test_check_counts_residuals():
    plain = Step("Nothing to check here.")
    double = Step(
        "Two at once.", residuals=(sp.sin(x) ** 2 + sp.cos(x) ** 2 - 1, x * 0 + sp.log(1))
    )
    assert Derivation("Right", (SQUARE, plain, double)).check() == 3


def test_wrong_residual_raises_and_names_the_step():
    wrong = Step("Claim too much.", residuals=((x + 1) ** 2 - x**2 - 1,))
    with pytest.raises(DerivationError, match=r"Wrong, step 2 \(Claim too much\.\): 2\*x"):
        Derivation("Wrong", (SQUARE, wrong)).check()


def test_derivation_without_residuals_is_refused():
    with pytest.raises(DerivationError, match="no step carries a residual"):
        Derivation("Empty", (Step("Words only."),)).check()


def test_a_simplifier_of_the_step_is_used():
    seen = []

    def expand(expression):
        seen.append(expression)
        return sp.expand(expression)

    step = Step("Own way.", residuals=(x * (x + 1) - x**2 - x,), simplify=expand)
    assert Derivation("Own", (step,)).check() == 1
    assert len(seen) == 1


def test_text_shows_title_source_words_and_formulas():
    text = Derivation("Square", (SQUARE,), source="Euclid").text()
    assert text.splitlines()[:3] == ["Square", "Source: Euclid", "1. Expand."]
    assert "=" in text.splitlines()[-1]


def test_latex_pairs_words_with_formulas():
    latex = Derivation("Square", (SQUARE, Step("Words."))).latex()
    assert latex == [("Expand.", r"\left(x + 1\right)^{2} = x^{2} + 2 x + 1"), ("Words.", None)]


def test_numeric_zero_tells_zero_from_small():
    assert numeric_zero(sp.exp(sp.log(x)) - x, {x: sp.Rational(2, 7)}) == 0
    # 1e-19 is above the threshold 1e-20 at 40 digits; 1e-21 would be below
    assert numeric_zero(x - x + sp.Rational(1, 10**19), {x: 1}) != 0
    assert numeric_zero(sp.Rational(1, 10**21) * x, {x: 1}) == 0
    root = sp.sqrt(5 + 2 * sp.sqrt(6)) - sp.sqrt(2) - sp.sqrt(3)
    assert numeric_zero(root, {}) == 0


def test_numeric_zero_returns_the_value_when_it_is_not_zero():
    value = numeric_zero(sp.cos(x), {x: sp.Rational(1, 3)})
    assert float(value) == pytest.approx(0.9449569463147377, rel=1e-15)  # math.cos(1/3)
