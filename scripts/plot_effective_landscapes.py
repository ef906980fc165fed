r"""
Three effective landscapes of one rugged bowl
=============================================

The loss :math:`L(x) = a x^2/2 - \varepsilon\cos kx` is a bowl from afar and rugged from
near. The model is our own construction, not one of a paper's. Its ruggedness is
:math:`\rho = \varepsilon k^2/a`, its reduced temperature :math:`t = Tk^2/a`. "The landscape
that a noisy descent sees" can mean three things, and they are not the same:

* the *noise-convolved* loss :math:`L_s`, of ruggedness :math:`\rho e^{-k^2s^2/2}`, which
  descent with noise of width s follows on average, exactly
  (:doc:`derivation </derivations/noise_convolved_loss>`);
* the *Gibbs* law at a temperature, which without its ripples is that of the bare bowl
  (:doc:`derivation </derivations/gibbs_identities>`);
* the *Gaussian* that fits the Gibbs law best
  (:doc:`derivation </derivations/gaussian_variational_branches>`).

The width s is not the thermal width :math:`\sqrt{T/a}`: each has its own axis here.
"""

import matplotlib.pyplot as plt
import numpy as np

from sandbox.bench.figures import house_style
from theory import RuggedBowl
from theory.variational import gaussian_variational, spinodals

bowl = RuggedBowl(curvature=1.0, roughness=0.8, wavenumber=5.0)
rho, unit = bowl.ruggedness, bowl.energy_unit
x = np.linspace(-3.9, 3.9, 1601)
widths = np.array([0.0, 0.2, 0.35, 0.5])

temperatures = np.linspace(2, 26, 97)
equilibrium = [bowl.gibbs(t * unit).second_moment / unit for t in temperatures]
low, high = spinodals(rho)
narrow = np.linspace(2, high - 1e-6, 60)
broad = np.linspace(low + 1e-6, 26, 60)
between = np.linspace(low + 1e-6, high - 1e-6, 40)
branches = (
    (narrow, [gaussian_variational(rho, t)[0].width for t in narrow], "--"),
    (broad, [gaussian_variational(rho, t)[-1].width for t in broad], "--"),
    (between, [gaussian_variational(rho, t)[1].width for t in between], ":"),
)
print(f"ruggedness {rho:g}; convex from s = {bowl.convexity_scale():.3f}")
print(f"Gaussians, narrow and broad, coexist from t = {low:.2f} to {high:.2f}")

# %%
# The convolved loss, and the width at equilibrium
# ------------------------------------------------
#
# Left: noise of growing width takes the minima away (dots), then all ripples; curves are
# lifted by 1 each. Right: the exact second moment at equilibrium grows smoothly. The bare
# bowl gives its trend. The best Gaussian jumps: its narrow branch describes a walker that
# is trapped in the central well, not the equilibrium. Dotted: not a minimum of its free energy.

with house_style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 4.0))
    for shift, s in enumerate(widths):
        (line,) = left.plot(x, bowl.smoothed(x, s) + shift)
        places = bowl.minima(s)
        left.plot(places, bowl.smoothed(places, s) + shift, "o", color=line.get_color(), ms=3.5)
        left.annotate(
            f"s = {s:g}",
            (4.0, bowl.smoothed(3.9, s) + shift),
            color=line.get_color(),
            va="center",
            annotation_clip=False,
        )
    left.set_xlim(-4.0, 5.3)
    left.set_title("noise-convolved loss")
    left.set_xlabel("position x (units of length)")
    left.set_ylabel("loss, shifted (units of energy)")
    right.plot(temperatures, equilibrium, color="C0", ls="-", label="Gibbs, exact")
    right.plot(temperatures, temperatures, color="C2", ls="-.", label="Gibbs, without ripples")
    for number, (t, found, style) in enumerate(branches):
        label = "best Gaussian" if number == 0 else None
        right.plot(t, found, color="C1", ls=style, label=label)
    right.set_title("squared width at equilibrium")
    right.set_xlabel("reduced temperature t = Tk²/a")
    right.set_ylabel("second moment k²⟨x²⟩")
    right.legend(loc="upper left")
    plt.show()

# %%
# What the convolved loss promises to a descent
# ---------------------------------------------
#
# Left: the number of minima falls in steps of two. Right: from one minimum on the
# Polyak-Łojasiewicz inequality holds, with a constant that soon nears the curvature; the loss
# is convex only later.

scales = np.linspace(0, 0.8, 321)
counts = [bowl.minima(float(s)).size for s in scales]
constants = [bowl.pl_constant(float(s)) for s in scales]
unimodal = scales[np.argmax(np.array(counts) == 1)]

with house_style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.3))
    left.step(scales, counts, where="post", color="C0", ls="-")
    left.set_yticks([1, 3, 5, 7])
    left.set_title("minima of the convolved loss")
    left.set_xlabel("width s of the noise (units of length)")
    left.set_ylabel("number of minima")
    right.plot(scales, constants, color="C0", ls="-")
    for place, text in ((unimodal, "one minimum"), (bowl.convexity_scale(), "convex")):
        right.axvline(place, color="k", lw=0.8, ls=":")
        right.text(place - 0.012, 0.98, text, rotation=90, ha="right", va="top", fontsize=8)
    right.set_ylim(-0.03, 1.03)
    right.set_title("PL constant of the convolved loss")
    right.set_xlabel("width s of the noise (units of length)")
    right.set_ylabel("μ (units of curvature)")
    plt.show()
