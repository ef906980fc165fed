"""Derivations behind the rugged bowl: smoothing, equilibrium, wells and the PL constant."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation, Step, numeric_zero

__all__ = ["gibbs_identities", "noise_convolved_loss", "rugged_pl_constant", "well_energies"]


def noise_convolved_loss() -> Derivation:
    """Derive the landscape that noisy gradient descent follows on average, exactly.

    Returns
    -------
    Derivation
        The Gaussian average of the rugged bowl, its heat equation and its convexity scale.

    Examples
    --------
    >>> noise_convolved_loss().check()
    11
    """
    a, eps, k, s, eta = sp.symbols("a epsilon k s eta", positive=True)
    x, phi, z = sp.symbols("x phi z", real=True)
    kappa = sp.Symbol("kappa", positive=True)
    bell = sp.exp(-(z**2) / 2)
    wave = sp.exp(-(kappa**2) / 2)  # the mean of cos κz
    damping = sp.exp(-(k**2) * s**2 / 2)

    def loss(y: sp.Expr) -> sp.Expr:
        return a * y**2 / 2 - eps * sp.cos(k * y + phi)

    def mean(f: sp.Expr) -> sp.Expr:
        """Return the average over z, whose odd moments vanish."""
        spread = sp.expand(sp.expand_trig(sp.expand(f)))
        averaged = spread.subs({sp.cos(k * s * z): damping, sp.sin(k * s * z): 0, z**2: 1})
        return averaged.subs(z, 0)

    smooth = a * (x**2 + s**2) / 2 - eps * damping * sp.cos(k * x + phi)
    slope = sp.diff(smooth, x)
    along = sp.diff(loss(x), x).subs(x, x + s * z)
    rho = eps * k**2 / a
    scale = sp.sqrt(2 * sp.log(rho)) / k
    return Derivation(
        "The noise-convolved loss",
        (
            Step(
                "The mean W(κ) of cos κz: its derivative is minus the mean of z sin κz, which by"
                " parts is κW. Hence W is the Gaussian itself.",
                sp.Eq(sp.Symbol("W"), wave),
                (
                    sp.diff(bell * sp.sin(kappa * z), z)
                    - (kappa * sp.cos(kappa * z) - z * sp.sin(kappa * z)) * bell,
                    sp.diff(wave, kappa) + kappa * wave,
                    wave.subs(kappa, 0) - 1,
                ),
            ),
            Step(
                "The Gaussian average of a cosine is the cosine, damped; that of a parabola is the"
                " parabola, lifted.",
                sp.Eq(sp.Symbol("L_s"), smooth),
                (wave.subs(kappa, k * s) - damping, mean(loss(x + s * z)) - smooth),
                lambda e: sp.expand(sp.expand_trig(sp.expand(e))),
            ),
            Step(
                "It solves the heat equation with s² for the time.",
                None,
                (sp.diff(smooth, s) / (2 * s) - sp.diff(smooth, x, 2) / 2,),
            ),
            Step(
                "A step of noisy descent from y - ηξ, with y the place before the noise, leads on"
                " average to y - η L_s'(y), s the deviation of ηξ: averaging and differentiating"
                " commute. Nothing is small.",
                sp.Eq(sp.Symbol("E[y_next]"), x - eta * slope),
                (mean(x + s * z - eta * along) - (x - eta * slope),),
                lambda e: sp.expand(sp.expand_trig(sp.expand(e))),
            ),
            Step(
                "L_s has the form of L: its ruggedness is ρ exp(-k²s²/2).",
                sp.Eq(sp.Symbol("rho_eff"), rho * damping),
                (
                    (smooth - loss(x)).subs(eps, 0) - a * s**2 / 2,
                    sp.diff(smooth, eps) - damping * sp.diff(loss(x), eps),
                ),
            ),
            Step(
                "Its least curvature, where the cosine is -1, is 0 at the convexity scale; from"
                " there on it is convex.",
                sp.Eq(sp.Symbol("s_c"), scale),
                (
                    (a - eps * k**2 * damping).subs(s, scale),
                    (sp.diff(smooth, x, 2) - (a - eps * k**2 * damping)).subs(x, (sp.pi - phi) / k),
                ),
            ),
        ),
        page="derivations/noise_convolved_loss",
        source="derived here; the device: Kleinberg, Li & Yuan (2018), arXiv:1802.06175",
        results={
            "smoothed": smooth,
            "gradient": slope,
            "effective_ruggedness": rho * damping,
            "convexity_scale": scale,
        },
    )


def gibbs_identities() -> Derivation:
    """Derive the partition function of the rugged bowl and the identities of its moments.

    Returns
    -------
    Derivation
        One Fourier mode at a time: mode n carries the weight I_n(ε/T) cos nφ.

    Examples
    --------
    >>> gibbs_identities().check()
    10
    """
    a, eps, k, T, t, n = sp.symbols("a epsilon k T t n", positive=True)
    x, u, z, v = sp.symbols("x u z v", real=True)
    L = sp.Function("L")(x)
    weight = sp.exp(-L / T)
    mode = sp.sqrt(2 * sp.pi * t) * sp.exp(-(n**2) * t / 2)
    reduced = T * k**2 / a

    bell = sp.exp(-(u**2) / (2 * t))
    # e^{z cos v} and its Bessel modes, as power series in z
    order = 5
    powers = [sp.Rational(1, 2**j) * z**j / sp.factorial(j) for j in range(order)]
    y = sp.Symbol("y")  # e^{iv}
    product = sp.expand(
        sum(c * y**j for j, c in enumerate(powers)) * sum(c * y**-j for j, c in enumerate(powers))
    )
    # I_m(z) by its definition, up to the same power
    bessel = {
        m: sum(
            (z / 2) ** (2 * j + abs(m)) / (sp.factorial(j) * sp.factorial(j + abs(m)))
            for j in range((order - abs(m) + 1) // 2)
        )
        for m in range(1 - order, order)
    }
    expansion = sp.expand(product - sum(bessel[m] * y**m for m in bessel))
    kept = sum(expansion.coeff(z, j) for j in range(order))
    energy = a * x**2 / 2 - eps * sp.cos(k * x + v)
    gibbs = sp.exp(-energy / T)
    in_a = sp.sqrt(2 * sp.pi * T / a) * sp.exp(-(n**2) * reduced / 2)
    return Derivation(
        "The Gibbs law of the rugged bowl",
        (
            Step(
                "exp(z cos v) is the sum over n of I_n(z) exp(inv), here up to the fourth power of"
                " z; its mean over v is I_0(z), the coarse-grained weight.",
                None,
                (kept, product.coeff(y, 0).coeff(z, 2) - sp.Rational(1, 4)),
            ),
            Step(
                "Each mode is averaged over the bowl by itself, with t = Tk²/a and z = ε/T = ρ/t:"
                " that of cos nu changes with n by -nt times itself, by parts; that of sin nu is"
                " 0.",
                sp.Eq(
                    sp.Symbol("Z"),
                    sp.sqrt(2 * sp.pi * T / a)
                    * sp.Sum(
                        sp.besseli(n, eps / T)
                        * sp.exp(-(n**2) * reduced / 2)
                        * sp.cos(n * sp.Symbol("phi")),
                        (n, -sp.oo, sp.oo),
                    ),
                ),
                (
                    sp.diff(bell * sp.sin(n * u), u)
                    - (n * sp.cos(n * u) - u / t * sp.sin(n * u)) * bell,
                    sp.diff(mode, n) + n * t * mode,
                    mode.subs(n, 0) - sp.sqrt(2 * sp.pi * t),
                ),
            ),
            Step(
                "Derivatives of ln Z in the curvature and in the temperature bring down the second"
                " moment and the loss.",
                None,
                (
                    -2 * T * sp.diff(gibbs, a) - x**2 * gibbs,
                    T**2 * sp.diff(gibbs, T) - energy * gibbs,
                ),
            ),
            Step(
                "Mode n of the second moment is t - n²t² times that of Z: from the derivative in a,"
                " and from that of the bowl's own law in t.",
                None,
                (
                    -2 * T * sp.diff(sp.log(in_a), a) * k**2 - (reduced - n**2 * reduced**2),
                    2 * t**2 * sp.diff(mode, t) - (t - n**2 * t**2) * mode,
                ),
            ),
            Step(
                "The derivative of L' exp(-L/T) integrates to 0 over the line: the mean curvature"
                " is the mean squared gradient over T, for any confining loss.",
                sp.Eq(sp.Symbol("<L''>"), sp.Symbol("<L'^2>") / T),
                (
                    sp.diff(sp.diff(L, x) * weight, x)
                    - (sp.diff(L, x, 2) - sp.diff(L, x) ** 2 / T) * weight,
                ),
            ),
        ),
        page="derivations/gibbs_identities",
        source="derived here",
        results={"mode": mode, "second_moment_mode": t - n**2 * t**2},
    )


def well_energies() -> Derivation:
    """Derive energies about and between wells in a form that does not cancel.

    Returns
    -------
    Derivation
        For l = u²/2 - r cos(u + phase) about a stationary point, and between two of them.

    Examples
    --------
    >>> well_energies().check()
    4
    """
    r, d = sp.symbols("r d", positive=True)
    p, m, h = sp.symbols("p m h", real=True)
    bend = sp.Symbol("b", real=True)
    # about u = p with r sin(p + phase) = -p and b = r cos(p + phase)
    moved = bend * sp.cos(d) + p * sp.sin(d)
    direct = ((p + d) ** 2 - p**2) / 2 - (moved - bend)
    rise = (1 + bend) * d**2 / 2 - bend * (sp.cos(d) - 1 + d**2 / 2) + p * (d - sp.sin(d))

    def energy(v: sp.Expr) -> sp.Expr:
        """Return the energy of the stationary point at v, where u = -r sin v."""
        return (r * sp.sin(v)) ** 2 / 2 - r * sp.cos(v)

    def level(v: sp.Expr) -> sp.Expr:
        return v + r * sp.sin(v)

    apart = 2 * h + 2 * r * sp.cos(m) * sp.sin(h)
    difference = 2 * r * sp.sin(m) * sp.sin(h) * (1 + r * sp.cos(m) * sp.cos(h))
    return Derivation(
        "Energies of wells without cancellation",
        (
            Step(
                "About a stationary point p the gradient is 0, and the loss rises by terms that"
                " are small one by one.",
                sp.Eq(sp.Symbol("l(p+d) - l(p)"), rise),
                (direct - rise, sp.diff(rise, d).subs(d, 0)),
            ),
            Step(
                "In v = u + phase the stationary points solve v + r sin v = phase. Two of them,"
                " counted from their own periods and m ± h, lie on levels that are known apart.",
                sp.Eq(sp.Symbol("apart"), apart),
                (level(m + h) - level(m - h) - apart,),
                lambda e: sp.expand(sp.expand_trig(e)),
            ),
            Step(
                "h solved from that, the difference of their energies is a product.",
                sp.Eq(sp.Symbol("l_2 - l_1"), difference),
                (energy(m + h) - energy(m - h) - difference,),
                lambda e: sp.simplify(sp.expand(sp.expand_trig(e))),
            ),
        ),
        page="derivations/well_energies",
        source="derived here",
        results={"rise": rise, "apart": apart, "difference": difference},
    )


def rugged_pl_constant() -> Derivation:
    """Derive where the PL ratio of the rugged bowl is least, and when it is 0.

    Returns
    -------
    Derivation
        For q = l'²/(2(l - min l)) of any landscape with one stationary point.

    Examples
    --------
    >>> rugged_pl_constant().check()
    5
    """
    u, h, c = sp.symbols("u h c", positive=True)
    r = sp.Symbol("r", positive=True)
    f = sp.Function("f")(u)  # l less its minimum
    slope = sp.diff(f, u)
    ratio = slope**2 / (2 * f)
    expanded = h * u**2 / 2 + c * u**3
    near = sp.diff(expanded, u) ** 2 / (2 * expanded)
    steep = (u + r) ** 2 / (u**2 - 4 * r)
    flat = (u - r) ** 2 / (u**2 + 4 * r)
    # an example: least ratio at r = 2, where it equals the curvature
    place = sp.nsolve(
        (u + 2 * sp.sin(u)) ** 2 - 2 * (1 + 2 * sp.cos(u)) * (u**2 / 2 + 2 - 2 * sp.cos(u)),
        u,
        sp.Float("4.33", 30),
        prec=30,
    )
    bowl = (u + 2 * sp.sin(u)) ** 2 / (u**2 + 4 - 4 * sp.cos(u))
    return Derivation(
        "The PL constant of the rugged bowl",
        (
            Step(
                "The ratio q = l'²/(2(l - min l)) is stationary where l' = 0 or where it equals"
                " the curvature.",
                sp.Eq(sp.Symbol("q'"), slope * (sp.diff(f, u, 2) - ratio) / f),
                (sp.diff(ratio, u) - slope * (sp.diff(f, u, 2) - ratio) / f,),
            ),
            Step(
                "At the minimum it tends to the curvature; another stationary point makes it 0."
                " Of two equal minima it is the maximum between them that does.",
                sp.Eq(sp.Symbol("q(0)"), h),
                (sp.limit(near, u, 0) - h,),
            ),
            Step(
                "Far out it lies between two bounds that tend to 1.",
                None,
                (sp.limit(steep, u, sp.oo) - 1, sp.limit(flat, u, sp.oo) - 1),
            ),
            Step(
                "Where it is least at r = 2, u = 4.329, it equals the curvature (to 30 digits).",
                None,
                (bowl - (1 + 2 * sp.cos(u)),),
                lambda e: numeric_zero(e, {u: place}, 24),
            ),
        ),
        page="derivations/rugged_pl_constant",
        source="derived here",
        results={"ratio": bowl},
    )
