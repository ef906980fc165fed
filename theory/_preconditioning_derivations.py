"""Derivations of gradient descent on neurons, of its scalings and of moving averages."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation, Step

__all__ = [
    "moving_average",
    "neuron_descent",
    "preconditioner_scaling",
]

BENZING = "Benzing (2022), arXiv:2201.12250"


def generic(name: str, rows: int, columns: int) -> sp.Matrix:
    """Return a matrix of independent real symbols."""
    return sp.Matrix(rows, columns, sp.symbols(f"{name}_1:{rows + 1}_1:{columns + 1}", real=True))


def symmetric(name: str, size: int) -> sp.Matrix:
    """Return a symmetric matrix of otherwise independent real symbols."""
    whole = generic(name, size, size)
    return sp.Matrix(size, size, lambda i, j: whole[min(i, j), max(i, j)])


def numerator(expression: sp.Expr) -> sp.Expr:
    """Return the expanded numerator over a common denominator: 0 iff the expression is."""
    return sp.expand(sp.fraction(sp.together(expression))[0])


def square(matrix: sp.Matrix) -> sp.Expr:
    """Return the sum of squared entries."""
    return sum((entry**2 for entry in matrix), sp.Integer(0))


def neuron_descent() -> Derivation:
    """Derive the update that moves a layer's outputs along their own gradient.

    Returns
    -------
    Derivation
        For a layer with two inputs and two outputs and three samples, every entry generic.

    Examples
    --------
    >>> neuron_descent().check()
    22
    """
    lam, eta = sp.symbols("lambda eta", positive=True)
    # columns are samples; E is the gradient of the mean loss in the layer's outputs
    A, E = generic("a", 2, 3), generic("e", 2, 3)
    D, V = generic("d", 2, 2), generic("v", 2, 2)
    G, one = E * A.T, sp.eye(2)
    ridge = A * A.T + lam * one

    def slope(objective: sp.Expr) -> sp.Matrix:
        """Return the derivative in every entry of D."""
        return D.applyfunc(lambda entry: sp.diff(objective, entry))

    move = D * A - eta * E
    whole = square(move) + lam * square(D)
    printed = square(move) + lam / 2 * square(D)
    halved = square(move) / 2 + lam / 2 * square(D)
    best = eta * G * ridge.adjugate() / ridge.det()
    at_best = dict(zip(D, best, strict=True))
    rise = square(V * A) + lam * square(V)
    # the toy of two samples: rows of X are inputs
    X, t = sp.Matrix([[3, 1], [1, 0]]), sp.Matrix([1, -1])
    joint = (X.T * X).inv() * X.T * t
    # two samples of three inputs: fewer samples than inputs, as in wide layers
    few = generic("f", 3, 2)
    inner = few.T * few + lam * one
    return Derivation(
        "Gradient descent on neurons",
        (
            Step(
                "Ask of ΔW that it move the outputs B = WA by ηE, E their gradient, and stay small:"
                " |ΔW A - ηE|² + λ|ΔW|². Its derivative is linear in ΔW.",
                sp.Eq(sp.Symbol("ΔW (AAᵀ + λI)"), eta * sp.Symbol("EAᵀ")),
                tuple(slope(whole) - 2 * (D * ridge - eta * G)),
                sp.expand,
            ),
            Step(
                "EAᵀ is the gradient G in the weights, so ΔW = ηG(AAᵀ + λI)⁻¹: the gradient,"
                " preconditioned from the side of the inputs. Descent subtracts it.",
                sp.Eq(sp.Symbol("ΔW"), eta * sp.Symbol("G (AAᵀ + λI)⁻¹")),
                tuple(best * ridge - eta * G),
                numerator,
            ),
            Step(
                "Any other ΔW + V costs |VA|² + λ|V|² more: this is the least.",
                None,
                (
                    (whole.subs({d: d + v for d, v in zip(D, V, strict=True)}) - whole - rise)
                    - sum(s * v for s, v in zip(slope(whole), V, strict=True)),
                    numerator(slope(whole)[0].subs(at_best)),
                ),
                sp.expand,
            ),
            Step(
                "With the penalty (λ/2)|ΔW|² beside an unhalved first term, as printed, the damping"
                " is λ/2; with both halved it is λ.",
                sp.Eq(sp.Symbol("ΔW"), eta * sp.Symbol("G (AAᵀ + λI/2)⁻¹")),
                (
                    *(slope(printed) - 2 * (D * (A * A.T + lam / 2 * one) - eta * G)),
                    (slope(halved) - (D * ridge - eta * G))[0],
                ),
                sp.expand,
            ),
            Step(
                "The matrix passes through: (AAᵀ + λI)⁻¹A = A(AᵀA + λI)⁻¹, here for two samples of"
                " three inputs. With fewer samples than inputs the outputs then move by"
                " ηE AᵀA(AᵀA + λI)⁻¹, all of ηE as λ goes to 0.",
                sp.Symbol("A(AᵀA + λI)⁻¹"),
                tuple((few * few.T + lam * sp.eye(3)) * few - few * inner)[:3],
                sp.expand,
            ),
            Step(
                "Inputs (3, 1) and (1, 0), targets 1 and -1, weights 0: the gradient step (2, 1)"
                " moves the second output away from its target at any rate; the joint solution"
                " (-1, 4) fits both in one step.",
                sp.Eq(sp.Symbol("ΔW"), joint.T, evaluate=False),
                ((X.T * t)[1] - 1, (X * X.T * t)[1] - 2, joint[1] - 4, (X * joint - t)[1]),
            ),
        ),
        page="derivations/neuron_descent",
        source=f"{BENZING}, section 4 and appendix F; the factor of the printed objective:"
        " derived here",
        results={"direction": best},
    )


def preconditioner_scaling() -> Derivation:
    """Derive how rate and damping change between summed and averaged input covariances.

    Returns
    -------
    Derivation
        For every preconditioner, exact at any damping and any power.

    Examples
    --------
    >>> preconditioner_scaling().check()
    20
    """
    N, lam, eta, s, e, q, m, n = sp.symbols("N lambda eta s e q m n", positive=True)
    trace_a, trace_e = sp.symbols("a_tr e_tr", positive=True)
    A, B, one = symmetric("a", 2), symmetric("b", 2), sp.eye(2)

    def split(over_inputs: sp.Expr, damping: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
        """Return the dampings of both factors."""
        ratio = sp.sqrt((over_inputs / m) / (trace_e / n))
        return ratio * sp.sqrt(damping), sp.sqrt(damping) / ratio

    summed, mean = split(trace_a, lam), split(trace_a / N, lam / N)
    ridge = A + lam * one
    rated = (eta / N) * (A / N + lam / N * one).adjugate() / (A / N + lam / N * one).det()
    both = sp.kronecker_product(B, A) + lam * sp.eye(4)
    alike = sp.kronecker_product(B, A / N) + lam / N * sp.eye(4)
    decay = sp.Symbol("delta", positive=True)
    return Derivation(
        "Rate and damping in two scalings",
        (
            Step(
                "The mean of the inputs' outer products is the sum over N. With the damping over N"
                " the inverse is N times as large, and the rate over N takes that back.",
                sp.Eq(sp.Symbol("(A/N + λ/N)⁻¹"), N * sp.Symbol("(A + λ)⁻¹")),
                tuple(rated * ridge - eta * one),
                numerator,
            ),
            Step(
                "Heuristic damping splits λ by the mean eigenvalues of both factors: averaged"
                " inputs have the damping λ_A/N and leave λ_E as it is, so that only the inverse of"
                " the inputs changes, by N.",
                sp.Eq(sp.Symbol("λ_A'"), sp.Symbol("λ_A") / N),
                (mean[0] - summed[0] / N, mean[1] - summed[1], mean[0] * mean[1] - lam / N),
            ),
            Step(
                "Standard damping: the whole Kronecker product and its damping are over N.",
                sp.Eq(sp.Symbol("(E⊗A/N + λ/N)⁻¹"), N * sp.Symbol("(E⊗A + λ)⁻¹")),
                tuple((N * alike - both)[i, j] for i in range(4) for j in range(i, 4)),
                sp.expand,
            ),
            Step(
                "With the power q in place of the inverse the factor is N to the power q: the rate"
                " is divided by that.",
                sp.Eq(eta / N**q * ((s + lam) / N) ** (-q), eta * (s + lam) ** (-q)),
                (
                    eta / N**q * ((s + lam) / N) ** (-q) - eta * (s + lam) ** (-q),
                    eta / N**q * ((s * e + lam) / N) ** (-q) - eta * (s * e + lam) ** (-q),
                ),
            ),
            Step(
                "Decoupled weight decay multiplies weights by 1 - ηδ: keep the product of rate and"
                " decay. The Fisher matrix is a mean in both scalings: nothing to translate.",
                None,
                ((1 - (eta / N) * (N * decay)) - (1 - eta * decay),),
            ),
        ),
        page="derivations/preconditioner_scaling",
        results={"rate": eta / N**q, "damping": lam / N},
    )


def moving_average() -> Derivation:
    """Derive the weights of an exponential average that is normalised by that of one.

    Returns
    -------
    Derivation
        For any number of updates k; age 0 is the newest.

    Examples
    --------
    >>> moving_average().check()
    9
    """
    m = sp.Symbol("m", positive=True)
    k = sp.Symbol("k", integer=True, positive=True)
    plain = sp.symbols("x_1:4")
    average, norm = sp.Integer(0), sp.Integer(0)
    for value in plain:
        average, norm = m * average + (1 - m) * value, m * norm + (1 - m)

    def weight(age: int, count: sp.Expr) -> sp.Expr:
        """Return the weight of the batch of that age."""
        return (1 - m) * m**age / (1 - m**count)

    def total(count: int, power: int) -> sp.Expr:
        """Return the sum of powers of the weights."""
        return sum((weight(age, sp.Integer(count)) ** power for age in range(count)), sp.Integer(0))

    closed = (1 - m) * (1 + m**k) / ((1 + m) * (1 - m**k))
    return Derivation(
        "Weights of a normalised moving average",
        (
            Step(
                "x ← m x + (1-m) new from 0, and the same of 1: the ratio weighs the batch of age j"
                " by (1-m)mʲ/(1-mᵏ) after k updates. Written out for three.",
                sp.Eq(sp.Symbol("w_j"), (1 - m) * m ** sp.Symbol("j") / (1 - m**k)),
                (
                    average / norm - sum(weight(2 - i, sp.Integer(3)) * plain[i] for i in range(3)),
                    norm - (1 - m**3),
                ),
            ),
            Step(
                "One more update keeps the law: the normaliser goes from 1-mᵏ to 1-mᵏ⁺¹.",
                sp.Eq(sp.Symbol("norm"), 1 - m**k),
                (m * (1 - m**k) + (1 - m) - (1 - m ** (k + 1)),),
            ),
            Step(
                "The weights sum to one, so no start value is left over. m = 0 keeps the newest"
                " alone, m → 1 is the plain mean; the first average is the first batch.",
                None,
                (
                    total(4, 1) - 1,
                    weight(0, k).subs(m, 0).subs(sp.Integer(0) ** k, 0) - 1,
                    sp.limit(weight(1, sp.Integer(4)), m, 1) - sp.Rational(1, 4),
                    weight(0, sp.Integer(1)) - 1,
                ),
            ),
            Step(
                "Independent batches leave the share Σw² of one batch's variance, which falls to"
                " (1-m)/(1+m): 1/39 for m = 0.95.",
                sp.Eq(sp.Symbol("Σ w²"), closed),
                (
                    total(4, 2) - closed.subs(k, 4),
                    ((1 - m) / (1 + m)).subs(m, sp.Rational(19, 20)) - sp.Rational(1, 39),
                ),
            ),
        ),
        page="derivations/moving_average",
        source="standard; the normalisation as in " + BENZING,
        results={"weight": (1 - m) * m ** sp.Symbol("j") / (1 - m**k), "share": closed},
    )
