"""Derivations of what load and temperature do: Gaussians, minima, valleys, double descent."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation, Step

__all__ = [
    "expected_minima",
    "gaussian_variational_branches",
    "temperature_double_descent",
    "valley_connectivity",
]


def gaussian_variational_branches() -> Derivation:
    """Derive the stationary Gaussians of a rugged bowl, their folds and the critical point.

    Returns
    -------
    Derivation
        For Gaussians about the centre, in units of the wavenumber and the bowl.

    Examples
    --------
    >>> gaussian_variational_branches().check()
    9
    """
    x, rho, t, z = sp.symbols("x rho t z", positive=True)
    u, w = sp.symbols("u w", real=True)
    law = sp.exp(-(u**2) / (2 * x)) / sp.sqrt(2 * sp.pi * x)
    mean = sp.integrate((u**2 / 2 - rho * sp.cos(u)) * law, (u, -sp.oo, sp.oo))
    loss = x / 2 - rho * sp.exp(-x / 2)
    free = loss - t / 2 * sp.log(2 * sp.pi * sp.E * x)
    line = x * (1 + rho * sp.exp(-x / 2))
    slope = sp.diff(line, x)
    bend = sp.diff(free, x, 2).subs(t, line)
    at = {rho: sp.exp(2), x: 4}
    return Derivation(
        "Gaussians in a rugged bowl",
        (
            Step(
                "The loss u²/2 - ρ cos u averaged over a Gaussian of variance x about the centre."
                " Its entropy is half the logarithm of 2πex.",
                sp.Eq(sp.Symbol("F"), free),
                (sp.simplify(mean - loss),),
            ),
            Step(
                "F is stationary on a line of temperatures.",
                sp.Eq(t, line),
                (sp.diff(free, x).subs(t, line),),
            ),
            Step(
                "There its second derivative has the sign of the slope dt/dx: a Gaussian is stable"
                " where its width grows with temperature.",
                sp.Eq(sp.Symbol("F''"), slope / (2 * x)),
                (bend - slope / (2 * x),),
            ),
            Step(
                "The slope vanishes where y = x/2 - 1 solves y exp(-y) = e/ρ, that is at"
                " x = 2(1 - W(-e/ρ)): two places for ρ > e², since y exp(-y) is at most 1/e.",
                sp.Eq(x, 2 * (1 - sp.Function("W")(-sp.E / rho))),
                (
                    sp.expand(slope - (1 - rho / sp.E * (x / 2 - 1) * sp.exp(1 - x / 2))),
                    # w exp(w) = -e/ρ defines w = W(-e/ρ)
                    slope.subs({x: 2 * (1 - w), rho: -sp.E / (w * sp.exp(w))}),
                    sp.diff(z * sp.exp(-z), z).subs(z, 1),
                ),
            ),
            Step(
                "Both meet at ρ = e², x = 4, t = 8, where slope and curvature of the line vanish.",
                sp.Eq(sp.Symbol("t_c"), line.subs(at)),
                (line.subs(at) - 8, slope.subs(at), sp.diff(line, x, 2).subs(at)),
            ),
        ),
        page="derivations/gaussian_variational_branches",
        source="derived here",
        results={"temperature": line, "free_energy": free, "slope": slope},
    )


def expected_minima() -> Derivation:
    """Derive the expected number of minima of a bowl with Gaussian roughness, and its smoothing.

    Returns
    -------
    Derivation
        The Kac-Rice integral over place and curvature.

    Examples
    --------
    >>> expected_minima().check()
    9
    """
    a, sigma, length, s, R = sp.symbols("a sigma l s R", positive=True)
    r, theta, w, z = sp.symbols("r theta omega z", real=True)
    covariance = sigma**2 * sp.exp(-(r**2) / (2 * length**2))
    even = [sp.diff(covariance, r, order).subs(r, 0) for order in range(5)]
    normal = sp.exp(-(z**2) / 2) / sp.sqrt(2 * sp.pi)
    spread = sp.sqrt(3) * sigma / (a * length**2)
    slope_law = sp.exp(-((a * theta) ** 2) / (-2 * even[2])) / sp.sqrt(-2 * sp.pi * even[2])
    density = sp.erf(1 / (R * sp.sqrt(2)))
    tail = R * sp.sqrt(2 / sp.pi) * sp.exp(-1 / (2 * R**2))
    count = (1 + density + tail) / 2
    # an antiderivative, and its limits at infinity and at -1/R
    inner = sp.Rational(1, 2) * sp.erf(z / sp.sqrt(2)) - R * normal
    spectrum = sigma**2 * length * sp.sqrt(2 * sp.pi) * sp.exp(-((length * w) ** 2) / 2)
    wide = sp.sqrt(length**2 + 2 * s**2)
    low = sigma * sp.sqrt(length / wide)
    smooth = {sigma: low, length: wide}
    return Derivation(
        "Minima of a bowl with Gaussian roughness",
        (
            Step(
                "Derivatives of a stationary Gaussian process have the covariances that those of"
                " its covariance give at 0: slope and curvature at one place are independent.",
                sp.Eq(sp.Symbol("Var L''"), 3 * sigma**2 / length**4),
                (
                    even[2] + sigma**2 / length**2,
                    even[3],
                    even[4] - 3 * sigma**2 / length**4,
                    even[4] / a**2 - spread**2,
                ),
            ),
            Step(
                "Kac-Rice: the number of minima is the integral of the density of slope 0 times"
                " the mean positive curvature. The slope is normal about aθ, and its density at 0"
                " integrates over θ to 1/a, whatever the roughness.",
                sp.Eq(sp.Symbol("D"), 1 / a),
                (sp.integrate(slope_law, (theta, -sp.oo, sp.oo)) - 1 / a,),
            ),
            Step(
                "The curvature is a(1 + Rz) with a standard normal z: its positive part, over a.",
                sp.Eq(sp.Symbol("N"), count),
                (
                    sp.diff(inner, z) - (1 + R * z) * normal,
                    sp.limit(inner, z, sp.oo) - inner.subs(z, -1 / R) - count,
                ),
            ),
            Step(
                "Averaging over a normal displacement of width s multiplies the spectrum by"
                " exp(-s²ω²): the roughness keeps its form, longer and lower.",
                sp.Eq(sp.Symbol("R_s"), R * (length**2 / wide**2) ** sp.Rational(5, 4)),
                (
                    spectrum * sp.exp(-((s * w) ** 2)) - spectrum.subs(smooth, simultaneous=True),
                    spread.subs(smooth, simultaneous=True) / spread
                    - (length**2 / wide**2) ** sp.Rational(5, 4),
                ),
            ),
        ),
        page="derivations/expected_minima",
        source="the counting formula: Kac (1943), Rice (1944); the bowl and its smoothing: derived"
        " here",
        results={"count": count, "spread": spread},
    )


def valley_connectivity() -> Derivation:
    """Derive the zero set of a product loss, its straight paths and its quadratic Bézier bends.

    Returns
    -------
    Derivation
        For the loss (v·w - 1)²/2.

    Examples
    --------
    >>> valley_connectivity().check()
    9
    """
    x, S, c, t, s = sp.symbols("x S c t s", positive=True)
    p, q = sp.symbols("p1:3", real=True), sp.symbols("q1:3", real=True)
    v, w = ([(i + sign * j) / sp.sqrt(2) for i, j in zip(p, q, strict=True)] for sign in (1, -1))
    product = sum(i * j for i, j in zip(v, w, strict=True))
    radius = sp.sqrt(2 + q[0] ** 2 + q[1] ** 2)
    circle = dict(zip(p, (radius * sp.cos(t), radius * sp.sin(t)), strict=True))
    ends = sp.Matrix([x, 1 / x]), sp.Matrix([1 / x, x])
    control = sp.Matrix([c, c])
    straight = (1 - t) * ends[0] + t * ends[1]
    curve = (1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * control + t**2 * ends[1]
    linear, square = 2 * c * S - 4, (S - 2 * c) ** 2
    gap = (linear * s + square * s**2).subs({S: x + 1 / x, s: t * (1 - t)})
    mean = (linear**2 / 30 + linear * square / 70 + square**2 / 630) / 2
    whole = sp.integrate(
        sp.expand(((linear * s + square * s**2) ** 2 / 2).subs(s, t * (1 - t))), (t, 0, 1)
    )
    ratio = (sp.sqrt(2) - 1) / 2
    inside, end = -(linear**2) / (4 * square), linear / 4 + square / 16
    level = sp.solve(linear + ratio * square, c)
    return Derivation(
        "Valleys of a product loss",
        (
            Step(
                "Turn the weights: p, q = (v ± w)/√2. Then 2 v·w = |p|² - |q|².",
                sp.Eq(sp.Symbol("v.w"), sp.expand(product)),
                (sp.expand(2 * product - (p[0] ** 2 + p[1] ** 2 - q[0] ** 2 - q[1] ** 2)),),
            ),
            Step(
                "A solution has any q, and a p of length √(2 + |q|²) in any direction: the zero"
                " set is a sphere times a space, two pieces for one hidden unit, one for more."
                " With one unit a path from p > 0 to p < 0 has p = 0 somewhere, v w <= 0 there, and"
                " v w = 0 on the way: a loss of 1/2.",
                sp.Eq(sp.Symbol("|p|"), radius),
                (
                    product.subs(circle) - 1,
                    sp.expand(product.subs(dict.fromkeys(p, 0)) + (q[0] ** 2 + q[1] ** 2) / 2),
                ),
            ),
            Step(
                "One unit, from (x, 1/x) straight to (1/x, x): the loss is highest midway.",
                sp.Eq(sp.Symbol("mc"), -((S**2 / 4 - 1) ** 2) / 2),
                (
                    sp.expand(straight[0] * straight[1] - 1 - t * (1 - t) * ((x + 1 / x) ** 2 - 4)),
                    sp.expand(
                        (straight[0] * straight[1]).subs(t, sp.S.Half) - (x + 1 / x) ** 2 / 4
                    ),
                ),
            ),
            Step(
                "With a control point (c, c) the product differs from 1 by αs + βs² with"
                " s = t(1 - t), S = x + 1/x, α = 2cS - 4, β = (S - 2c)².",
                sp.Eq(sp.Symbol("f - 1"), linear * s + square * s**2),
                (sp.expand(curve[0] * curve[1] - 1 - gap),),
            ),
            Step(
                "Its mean loss is a polynomial in c.",
                sp.Eq(sp.Symbol("mean"), mean),
                (sp.expand(whole - mean),),
            ),
            Step(
                "Its greatest loss is least where the gap at its extremum, -α²/4β, and midway,"
                " α/4 + β/16, are equal and opposite: α = -(√2 - 1)β/2, quadratic in c.",
                sp.Eq(linear, -ratio * square),
                (
                    sp.expand((inside + end).subs(c, level[0]) * square.subs(c, level[0])),
                    sp.expand((linear**2 / 32 - square**2 * ratio**2 / 32).subs(c, level[0])),
                ),
            ),
        ),
        page="derivations/valley_connectivity",
        source="derived here",
        results={
            "straight": -((S**2 / 4 - 1) ** 2) / 2,
            "mean_loss": mean,
            "gap": linear * s + square * s**2,
            "level": linear + ratio * square,
        },
    )


def temperature_double_descent() -> Derivation:
    """Derive the excess risk of least squares, with Gibbs noise and of minimum norm.

    Returns
    -------
    Derivation
        For Gaussian inputs of unit covariance.

    Examples
    --------
    >>> temperature_double_descent().check()
    9
    """
    m, y, n, p, noise, T, signal = sp.symbols("m y n p sigma2 T B", positive=True)
    chi = y ** (m / 2 - 1) * sp.exp(-y / 2) / (2 ** (m / 2) * sp.gamma(m / 2))
    # the integral of chi/y is a ratio of gamma functions
    inverse = 2 ** (m / 2 - 1) * sp.gamma(m / 2 - 1) / (2 ** (m / 2) * sp.gamma(m / 2))
    under, over = p / (n - p - 1), n / (p - n - 1)
    X = sp.Matrix(3, 2, sp.symbols("x1:7", real=True))
    theta = sp.Matrix(sp.symbols("h1:3", real=True))
    outcome = sp.Matrix(sp.symbols("o1:4", real=True))
    gram = X.T * X
    b = sp.Matrix(sp.symbols("b1:3", real=True))
    best = gram.adjugate() * X.T * outcome / gram.det()
    spread, least, away = outcome - X * theta, outcome - X * b, theta - b
    Z = X.T  # two examples of three inputs
    kernel = Z * Z.T
    inverted = kernel.adjugate() / kernel.det()
    project = Z.T * inverted * Z
    return Derivation(
        "Double descent with temperature",
        (
            Step(
                "A diagonal entry of the inverse of X'X is one over the squared length of a column"
                " of X less its projection on the others: a chi-squared with m = n - p + 1 degrees"
                " of freedom, whose inverse has the mean 1/(m - 2), infinite for m <= 2.",
                sp.Eq(sp.Symbol("E tr"), under),
                (
                    sp.gammasimp(inverse) - 1 / (m - 2),
                    sp.simplify(chi / y - inverse * chi.subs(m, m - 2)),
                    p / (m - 2).subs(m, n - p + 1) - under,
                    (gram.adjugate() / gram.det())[0, 0]
                    - 1
                    / (
                        (X[:, 0].T * X[:, 0])[0]
                        - (X[:, 0].T * X[:, 1])[0] ** 2 / (X[:, 1].T * X[:, 1])[0]
                    ),
                ),
            ),
            Step(
                "The Gibbs law exp(-|y - Xθ|²/2T) is normal about the least squares, with"
                " covariance T times the inverse of X'X: the residual is orthogonal to the inputs,"
                " so the square splits. Noise in the outcomes adds σ² times the inverse.",
                sp.Eq(sp.Symbol("risk"), (noise + T) * under),
                (
                    sp.expand(
                        (spread.T * spread - least.T * least - away.T * gram * away)[0]
                        - 2 * (least.T * X * (b - theta))[0]
                    ),
                    *(X.T * least).subs(dict(zip(b, best, strict=True))),
                ),
                sp.cancel,
            ),
            Step(
                "More inputs than examples: the minimum norm fits the noise by the same trace, now"
                " of the inverse of K = XX', and loses the share 1 - n/p of an isotropic signal"
                " that lies outside the examples.",
                sp.Eq(sp.Symbol("risk"), noise * over + signal * (1 - n / p)),
                (
                    (inverted * Z * Z.T * inverted).trace() - inverted.trace(),
                    project.trace() - 2,
                ),
                sp.cancel,
            ),
        ),
        page="derivations/temperature_double_descent",
        source="least squares and minimum norm: Belkin, Hsu & Xu (2020), arXiv:1903.07571; the"
        " temperature: derived here",
        results={
            "under": (noise + T) * under,
            "over": noise * over + signal * (1 - n / p),
            "trace": over,
        },
    )
