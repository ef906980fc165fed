"""Derivations behind diffusion over a rough potential."""

from __future__ import annotations

import sympy as sp
from sympy.simplify.fu import TR8

from theory.derivation import Derivation, Step

__all__ = ["kramers_limit", "rough_potential_diffusion", "trapping_line"]


def _even(name: str, x: sp.Symbol, order: int) -> tuple[sp.Expr, sp.Symbol]:
    """Return an even function of period 2π as a cosine series, and its mean."""
    parts = sp.symbols(f"{name}0:{order + 1}")
    return sum(c * sp.cos(n * x) for n, c in enumerate(parts)), parts[0]


def _inner(expression: sp.Expr, x: sp.Symbol) -> sp.Expr:
    """Return the integral of a cosine series from 0 to x, term by term."""
    return sum(sp.integrate(term, (x, 0, x)) for term in sp.Add.make_args(expression))


def rough_potential_diffusion() -> Derivation:
    """Derive the diffusion constant over a cosine and over Gaussian roughness.

    Returns
    -------
    Derivation
        From the equation of the mean first passage time; ``results`` holds the diffusion
        constants over the temperature.

    Examples
    --------
    >>> rough_potential_diffusion().check()
    7
    """
    x, y = sp.symbols("x y", real=True)
    T, z, sigma = sp.symbols("T z sigma", positive=True)
    theta = sp.Symbol("theta", real=True)
    V = sp.Function("V")
    slope = -sp.exp(V(x) / T) / T * sp.Integral(sp.exp(-V(y) / T), (y, 0, x))
    up, up_mean = _even("a", x, 2)
    down, down_mean = _even("b", x, 2)
    product = sp.expand(TR8(sp.expand(up * _inner(down, x))))
    triangle = sum(sp.integrate(term, (x, 0, 2 * sp.pi)) for term in sp.Add.make_args(product))
    wave = sp.exp(z * sp.cos(theta))
    bessel = sp.besseli(0, z)
    law = sp.exp(-(x**2) / (2 * sigma**2)) / sp.sqrt(2 * sp.pi * sigma**2)
    weighted = law * sp.exp(z * x)
    mean = sp.exp(sigma**2 * z**2 / 2)
    eps = sp.Symbol("epsilon", positive=True)
    return Derivation(
        "Diffusion over a rough potential",
        (
            Step(
                "The mean time τ(x) to leave an interval obeys Tτ'' − V'τ' = −1. In an even V,"
                " started at 0, it is even, so τ'(0) = 0, which fixes its slope.",
                sp.Eq(sp.Symbol("tau'"), slope),
                (T * sp.diff(slope, x) - sp.diff(V(x), x) * slope + 1,),
            ),
            Step(
                "From a bottom of an even V of period p to either neighbouring one,"
                " T τ = ∫ e^{V(x)/T} ∫ e^{-V(y)/T} over 0 < y < x < p. The reflection"
                " (x, y) → (p − x, p − y) maps this triangle onto the other half of the square, so"
                " it holds half of the square: p²⟨e^{V/T}⟩⟨e^{-V/T}⟩/2 (checked for cosine"
                " series of order 2 with p = 2π).",
                sp.Eq(
                    sp.Symbol("tau"),
                    sp.Symbol("p") ** 2 * sp.Symbol("A") * sp.Symbol("B") / (2 * T),
                ),
                (triangle - (2 * sp.pi) ** 2 * up_mean * down_mean / 2,),
                sp.expand,
            ),
            Step(
                "Steps of ±p of mean duration τ diffuse with D = p²/(2τ), so"
                " D = T/(⟨e^{V/T}⟩⟨e^{-V/T}⟩), exactly and whatever the period.",
                sp.Eq(sp.Symbol("D"), T / (sp.Symbol("A") * sp.Symbol("B"))),
            ),
            Step(
                "For a cosine both means are M(z) = ⟨e^{z cos θ}⟩, z = ε/T. M'' + M'/z − M is the"
                " mean of a derivative along the period, hence 0; with M(0) = 1 this makes"
                " M = I0(z). Cosines of incommensurate periods have independent phases: their"
                " means multiply.",
                sp.Eq(sp.Symbol("D"), T / bessel**2),
                (
                    sp.diff(wave, z, 2)
                    + sp.diff(wave, z) / z
                    - wave
                    - sp.diff(sp.sin(theta) * wave, theta) / z,
                    sp.besselsimp(sp.diff(bessel, z, 2) + sp.diff(bessel, z) / z - bessel),
                    bessel.subs(z, 0) - 1,
                ),
            ),
            Step(
                "For energies x with a normal law, ⟨x e^{zx}⟩ − σ²z⟨e^{zx}⟩ is minus σ² times the"
                " integral of a derivative, hence 0: ⟨e^{zx}⟩ = e^{σ²z²/2}, and both means are"
                " e^{σ²/2T²}.",
                sp.Eq(sp.Symbol("D"), T * sp.exp(-(sigma**2) / T**2)),
                (
                    x * weighted - sigma**2 * z * weighted + sigma**2 * sp.diff(weighted, x),
                    sp.diff(mean, z) - sigma**2 * z * mean,
                ),
            ),
        ),
        page="derivations/rough_potential_diffusion",
        source="Lifson & Jackson (1962), doi:10.1063/1.1732899; Gaussian roughness: Zwanzig"
        " (1988), doi:10.1073/pnas.85.7.2029; the passage time between bottoms: derived here",
        results={
            "cosine": 1 / sp.besseli(0, eps / T) ** 2,
            "gaussian": sp.exp(-(sigma**2) / T**2),
        },
    )


def trapping_line() -> Derivation:
    """Derive the rate at which a rough bowl is relaxed, and where it equals 1/τ.

    Returns
    -------
    Derivation
        ``results["ratio"]`` is ε/T on the line for long times, in powers of W =
        LambertW(−1/(πaτ)) on the branch −1.

    Examples
    --------
    >>> trapping_line().check()
    4
    """
    x = sp.Symbol("x", real=True)
    T, a, z, tau, D = sp.symbols("T a z tau D", positive=True)
    W = sp.Symbol("W", negative=True)
    bowl = a * x**2 / 2
    density = sp.exp(-bowl / T)
    bessel = sp.besseli(0, z)
    time = -1 / (sp.pi * a * W * sp.exp(W))
    tail = sp.exp(2 * z) / (2 * sp.pi * z)
    return Derivation(
        "Relaxation of a rough bowl and the line of trapping",
        (
            Step(
                "Over one period of the cosine the Gibbs density e^{-L/T} averages to"
                " I0(ε/T) e^{-ax²/2T}: the coarse energy is the bowl, shifted by −T ln I0. With the"
                " diffusion D of the cosine, the coarse drift −(D/T)ax keeps this density at rest.",
                sp.Eq(sp.Symbol("drift"), -D / T * a * x),
                (sp.diff(D / T * a * x * density + D * sp.diff(density, x), x),),
            ),
            Step(
                "The mean of x then decays at the rate aD/T: x is an eigenfunction of the"
                " backward operator.",
                sp.Eq(sp.Symbol("rate"), a / bessel**2),
                (
                    D * sp.diff(x, x, 2) - D / T * a * x * sp.diff(x, x) + a * D / T * x,
                    (a * D / T).subs(D, T / bessel**2) - a / bessel**2,
                ),
            ),
            Step(
                "In a time τ the bowl is relaxed where the rate exceeds 1/τ. The line between is"
                " I0(ε/T)² = aτ.",
                sp.Eq(sp.besseli(0, z) ** 2, a * tau),
            ),
            Step(
                "For long times I0(z)² ≃ e^{2z}/(2πz), which makes the line"
                " 2z = ln(aτ) + ln(2πz), solved by z = −W/2 with W e^W = −1/(πaτ).",
                sp.Eq(z, -W / 2),
                (tail.subs(z, -W / 2) - a * time,),
            ),
        ),
        page="derivations/trapping_line",
        source="derived here from the diffusion of Lifson & Jackson (1962)",
        results={"rate": a / bessel**2, "ratio": -W / 2},
    )


def kramers_limit() -> Derivation:
    """Derive that diffusion over a deep cosine is hopping at Kramers' rate.

    Returns
    -------
    Derivation
        ``results["diffusion"]`` is D to first order in T/ε.

    Examples
    --------
    >>> kramers_limit().check()
    5
    """
    s, u = sp.symbols("s u", real=True)
    z, eps, k = sp.symbols("z epsilon k", positive=True)
    # z(1 - cos(s/sqrt z)) = s^2/2 - s^4/(24 z) + ..., order by order in u = 1/z
    correction = sp.exp(s**4 * u / 24 - s**6 * u**2 / 720)
    series = sp.series(correction, u, 0, 3).removeO()
    gauss = sp.exp(-(s**2) / 2) / sp.sqrt(2 * sp.pi)
    moments = sp.expand(
        sum(
            sp.integrate(gauss * term, (s, -sp.oo, sp.oo))
            for term in sp.Add.make_args(sp.expand(series))
        )
    )
    bessel = 1 + u / 8 + sp.Rational(9, 128) * u**2
    squared = sp.series(1 / bessel**2, u, 0, 2).removeO()
    deep = 2 * sp.pi * eps * sp.exp(-2 * z)
    rate = eps * k**2 / (2 * sp.pi) * sp.exp(-2 * z)
    return Derivation(
        "Diffusion over a deep cosine",
        (
            Step(
                "I0(z) is the mean of e^{z cos θ}. With θ = s/√z the exponent about its maximum is"
                " z − s²/2 + s⁴/24z − s⁶/720z² + …, and moments of a normal law give"
                " I0 = e^z (2πz)^{-1/2} (1 + 1/8z + 9/128z² + …).",
                sp.Eq(sp.Symbol("I0"), sp.exp(z) / sp.sqrt(2 * sp.pi * z) * (1 + 1 / (8 * z))),
                (
                    moments.coeff(u, 0) - 1,
                    moments.coeff(u, 1) - sp.Rational(1, 8),
                    moments.coeff(u, 2) - sp.Rational(9, 128),
                ),
            ),
            Step(
                "So D = T/I0² = 2πε e^{-2ε/T} (1 − T/4ε + …) with z = ε/T.",
                sp.Eq(sp.Symbol("D"), deep * (1 - 1 / (4 * z))),
                (squared - (1 - u / 4),),
            ),
            Step(
                "Bottoms and tops of the cosine have the curvature εk², the barrier is 2ε: hops"
                " of 2π/k at Kramers' rate either way diffuse with the same D, to leading order.",
                sp.Eq(sp.Symbol("r"), rate),
                ((2 * sp.pi / k) ** 2 * rate - deep,),
            ),
        ),
        page="derivations/kramers_limit",
        source="the rate: Kramers (1940), doi:10.1016/S0031-8914(40)90098-2; its agreement with"
        " the diffusion of Lifson & Jackson (1962): derived here",
        results={"diffusion": deep * (1 - 1 / (4 * z))},
    )
