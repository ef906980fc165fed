r"""
Balance of the layers, kept and lost
====================================

Rules with the full curvature conserve the imbalance of adjacent layers,
:math:`D = W_2^\top W_2 - W_1 W_1^\top`, whatever the power :math:`q` of the
correction. From a small start it is therefore small for ever, and at the end,
when the weights have grown, it is negligible. This is the implicit bias of
gradient descent towards balanced layers.

Rules that correct each layer by its own block conserve
:math:`|w_1|^{2-2q} - |w_2|^{2-2q}` of every mode instead, and natural gradient
(:math:`q = 1`) the ratio of the weights: the imbalance grows with the weights.
"""

import matplotlib.pyplot as plt
import numpy as np

from deeplinear import CurvatureCorrection, blow_up_time, matrix_flow, mode_trajectory
from sandbox.bench.figures import house_style

RULES = {
    "gradient descent": CurvatureCorrection(0.0),
    "natural gradient, full": CurvatureCorrection(1.0),
    "square root, layer blocks": CurvatureCorrection(0.5, "layer"),
    "natural gradient, layer blocks": CurvatureCorrection(1.0, "layer"),
}

# %%
# During learning
# ---------------
#
# Three modes with two weights each, of which the first is the larger. The theory
# follows every mode by itself; the experiment integrates 3 x 3 matrices in which
# the modes are hidden by random rotations.

STRENGTHS = np.array([2.0, 1.0, 0.5])
START = np.array([[0.6, 0.5, 0.4], [0.2, 0.15, 0.1]])  # layer, mode
generator = np.random.default_rng(5)
frames = [np.linalg.qr(generator.normal(size=(3, 3)))[0] for _ in range(3)]
weights = [(frames[i + 1] * START[i]) @ frames[i].T for i in range(2)]
target = (frames[2] * STRENGTHS) @ frames[0].T


def predicted(rule, times):
    """Return the norms of both layers and of D from the single modes."""
    modes = np.stack(
        [mode_trajectory(rule, START[:, a], STRENGTHS[a], times) for a in range(3)], axis=2
    )
    norms = np.linalg.norm(modes, axis=2)
    return norms, np.linalg.norm(modes[:, 1] ** 2 - modes[:, 0] ** 2, axis=1)


def measured(rule, times):
    """Return the same norms of the integrated matrices."""
    one, two = matrix_flow(rule, weights, target, times)
    norms = np.stack([np.linalg.norm(layer, axis=(1, 2)) for layer in (one, two)], axis=1)
    return norms, np.linalg.norm(two.swapaxes(1, 2) @ two - one @ one.swapaxes(1, 2), axis=(1, 2))


# %%
# At the end of learning
# ----------------------
#
# Now the modes are coupled: the start is no longer aligned with the target, only
# its overall scale :math:`\sigma` is varied. The relative imbalance at the end
# goes as :math:`\sigma^2` for every full rule and as :math:`\sigma^{2-2q}` for the
# layer rules. The start is chosen near the identity so that layer-block natural
# gradient does not blow up.

SCALES = np.geomspace(0.005, 0.2, 5)
shapes = [np.eye(3) + 0.2 * generator.normal(size=(3, 3)) for _ in range(2)]
shapes[1] *= 0.6
goal = np.diag([1.5, 1.0, 0.7]) + 0.1 * generator.normal(size=(3, 3))
print("blow-up of the layer-block natural gradient:", blow_up_time(shapes, goal))


def end_imbalance(rule, scale):
    """Return |D| / |W_1 W_1'| when learning is over."""
    one, two = (
        w[-1] for w in matrix_flow(rule, [scale * w for w in shapes], goal, np.array([40.0]))
    )
    return np.linalg.norm(two.T @ two - one @ one.T) / np.linalg.norm(one @ one.T)


with house_style():
    cycle = plt.rcParams["axes.prop_cycle"].by_key()
    figure, (sizes, balance, end) = plt.subplots(1, 3, figsize=(10.4, 3.9))
    fine, marks = np.linspace(0, 5, 201), np.linspace(0, 5, 11)
    looks = zip(
        RULES.items(), cycle["color"], cycle["linestyle"], "osD^", (2, 2, 1, 0), strict=False
    )
    for (name, rule), colour, style, marker, slope in looks:
        points = {"marker": marker, "color": colour, "mfc": "white", "mew": 1.1}
        norms, imbalance = predicted(rule, fine)
        found_norms, found = measured(rule, marks)
        if name != "natural gradient, full":  # its norms lie close to those of gradient descent
            sizes.plot(fine, norms, ls=style, color=colour)
            sizes.plot(marks, found_norms[:, 0], ls="none", **points)
            sizes.plot(marks, found_norms[:, 1], ls="none", **points | {"mfc": colour})
        balance.plot(fine, imbalance, ls=style, color=colour)
        balance.plot(marks, found, ls="none", **points)
        found = np.array([end_imbalance(rule, scale) for scale in SCALES])
        end.plot(SCALES, found[0] * (SCALES / SCALES[0]) ** slope, ls=style, color=colour)
        end.plot(SCALES, found, ls="none", **points)
        balance.plot([], [], ls=style, label=name, **points)
    sizes.plot([], [], "ko", mfc="white", label="layer 1")
    sizes.plot([], [], "ko", label="layer 2")
    sizes.legend(loc="upper left", ncols=2)
    sizes.set(title="Size of the layers", ylabel="Frobenius norm, $|W_i|$")
    sizes.set(xlabel="time (1 / learning rate)", ylim=(0, 4))
    balance.set(title="Imbalance during learning", ylabel="Frobenius norm, $|D|$", ylim=(0, 10))
    balance.set_xlabel("time (1 / learning rate)")
    balance.legend(
        title="line: theory, marker: experiment", title_fontsize="small", loc="upper left"
    )
    for slope, place in ((0, (0.005, 1.0)), (1, (0.005, 0.012)), (2, (0.013, 5e-5))):
        end.text(*place, f"slope {slope}")
    end.set(title="Imbalance at the end", xlabel="scale of the start, $\\sigma$")
    end.set(xscale="log", yscale="log", ylabel="$|D|\\, / \\,|W_1 W_1^\\top|$", ylim=(1e-5, 3))

plt.show()
