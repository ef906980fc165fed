r"""
How many sites, how large a quantum?
====================================

A recording shows amplitudes, not sites. But if the release probability can be changed,
say by the calcium outside, mean and variance of the amplitudes move along a parabola,

.. math::

    \sigma^2 = q(1+c^2)\,\mu - \mu^2 / N ,

whose slope at the origin tells the quantal size q, and whose bend tells the number N of
sites (:doc:`variance against mean </derivations/mean_variance_parabola>`). The
coefficient of variation c of a quantum must be known from elsewhere: the parabola cannot
tell q from :math:`q(1+c^2)`.

The experiment is simulated at five release probabilities and fitted; then it is
repeated many times, to see whether the intervals mean what they say.
"""

import matplotlib.pyplot as plt
import numpy as np

from sandbox.bench.figures import house_style
from sandbox.synapse.figures import draw_mean_variance
from synapses import ReleaseModel
from synapses.quantal import fit_mean_variance, quantal_from_moments
from theory.streams import Streams

SITES, SIZE, VARIATION, TRIALS = 5, 0.5, 0.3, 200
chances = (0.1, 0.3, 0.5, 0.7, 0.9)
models = [ReleaseModel(SITES, p, SIZE, VARIATION) for p in chances]
generator = Streams(0).generator("amplitudes")


def experiment():
    """Return a fit of 200 amplitudes at each release probability."""
    return fit_mean_variance([model.sample(generator, TRIALS) for model in models], VARIATION)


fit = experiment()
for name, found, truth in (
    ("sites", fit.sites, SITES),
    ("quantal size", fit.quantal_size, SIZE),
):
    print(f"{name:12} {found.value:.3f}  [{found.low:.3f}, {found.high:.3f}]  true {truth}")

curve = [ReleaseModel(SITES, p, SIZE, VARIATION) for p in np.linspace(0, 1, 101)]
truth = np.array([m.mean() for m in curve]), np.array([m.variance() for m in curve])

# %%
# The parabola, and the intervals of forty experiments
# ----------------------------------------------------
#
# Of 95 % intervals one in twenty is to miss the truth; those that do are orange.

fits = [experiment() for _ in range(40)]
with house_style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.9))
    draw_mean_variance(left, np.array(fit.means), np.array(fit.variances), truth, fit)
    left.set_title(f"{TRIALS} amplitudes a condition", pad=20)
    left.set_xlabel("mean amplitude (mV)")
    left.set_ylabel("variance (mV²)")
    for row, one in enumerate(fits):
        color = "C0" if SITES in one.sites else "C1"
        right.plot([one.sites.low, one.sites.high], [row, row], color=color, ls="-", lw=1.2)
        right.plot(one.sites.value, row, "o", color=color, ms=2.5)
    right.axvline(SITES, color="k", lw=0.8, ls="-")
    right.set_title("intervals of the number of sites")
    right.set_xlabel("number of sites")
    right.set_ylabel("experiment")
    right.grid(visible=False)
    plt.show()

# %%
# One condition, and quanta that vary
# -----------------------------------
#
# With one release probability only, N must be given. The usual estimators then take
# :math:`c = 0`: they find :math:`q(1+c^2)` for the size and :math:`p/(1+c^2)` for the
# release probability. Lines: theory; markers: 20,000 amplitudes each.

variations = np.linspace(0, 0.6, 5)
fine = np.linspace(0, 0.6, 61)
sizes, probabilities = [], []
for c in variations:
    draws = ReleaseModel(SITES, 0.3, SIZE, c).sample(generator, 20_000)
    naive = quantal_from_moments(draws.mean(), draws.var(ddof=1), SITES)
    known = quantal_from_moments(draws.mean(), draws.var(ddof=1), SITES, c)
    sizes.append((naive[0], known[0]))
    probabilities.append((naive[1], known[1]))

with house_style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.3))
    for panel, found, ignored, flat in (
        (left, sizes, SIZE * (1 + fine**2), SIZE),
        (right, probabilities, 0.3 / (1 + fine**2), 0.3),
    ):
        panel.plot(fine, ignored, color="C1", ls="--")
        panel.plot(fine, np.full_like(fine, flat), color="C0", ls="-")
        panel.plot(
            variations, np.array(found)[:, 0], "s", color="C1", mfc="white", label="c ignored"
        )
        panel.plot(variations, np.array(found)[:, 1], "o", color="C0", mfc="white", label="c known")
        panel.set_xlabel("coefficient of variation of a quantum")
    left.set_title("quantal size")
    left.set_ylabel("estimate of q (mV)")
    left.legend(loc="upper left")
    right.set_title("release probability")
    right.set_ylabel("estimate of p")
    plt.show()
