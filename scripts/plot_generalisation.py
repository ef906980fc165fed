r"""
Fast learning can generalise worse
==================================

A linear network is trained on what a teacher of low rank says, plus noise,
:math:`W^* = W_T + \text{noise}`. Strong singular modes of :math:`W^*` carry the
teacher, weak ones only noise. A rule that learns strong modes first can be
stopped when the teacher is learned and the noise is not. Natural gradient learns
all modes at the same rate: there is no good moment to stop.

With :math:`m_a = u_a^\top W_T v_a`, the overlap of the a-th mode with the
teacher, the test error is a sum over modes,

.. math::

   E(t) = \sum_a \bigl[u_a(t)^2 - 2 m_a u_a(t)\bigr] + \|W_T\|^2 .
"""

import matplotlib.pyplot as plt
import numpy as np

from deeplinear import CurvatureCorrection, matrix_flow, mode_sweep
from sandbox.bench.figures import house_style

SIZE, START = 12, 0.05
RULES = {
    "gradient descent": CurvatureCorrection(0.0),
    "square root": CurvatureCorrection(0.5),
    "natural gradient": CurvatureCorrection(1.0),
}

generator = np.random.default_rng(2)
left_frame, right_frame = np.linalg.qr(generator.normal(size=(2, SIZE, 2)))[0]
teacher = (left_frame * [3.0, 2.0]) @ right_frame.T
observed = teacher + generator.normal(size=(SIZE, SIZE)) / np.sqrt(SIZE)
left, strengths, right = np.linalg.svd(observed)
overlaps = np.einsum("oa,oi,ai->a", left, teacher, right)

# %%
# The theory
# ----------
#
# All twelve modes of a two-layer network at once, from weights of 0.05.


def predicted(rule, times):
    """Return training and test error, relative to the teacher's size."""
    modes = mode_sweep(rule, np.full((SIZE, 2), START), strengths, times).prod(axis=2)
    train = ((modes.T - strengths) ** 2).sum(axis=1)
    test = (modes.T**2 - 2 * overlaps * modes.T).sum(axis=1) + (teacher**2).sum()
    return train / (observed**2).sum(), test / (teacher**2).sum()


# %%
# The experiment
# --------------
#
# Whole matrices, integrated. An aligned start hides the modes behind a rotation of
# the hidden layer. Random starts, which the theory does not cover exactly, are
# Gaussian and of similar size.


def measured(rule, weights, times, rtol=1e-7):
    """Return training and test error of the integrated network."""
    first, second = matrix_flow(rule, weights, observed, times, rtol=rtol)
    product = second @ first
    train = ((product - observed) ** 2).sum(axis=(1, 2))
    test = ((product - teacher) ** 2).sum(axis=(1, 2))
    return train / (observed**2).sum(), test / (teacher**2).sum()


hidden = np.linalg.qr(generator.normal(size=(SIZE, SIZE)))[0]
aligned = [START * hidden @ right, START * left @ hidden.T]
random = [list(START / np.sqrt(SIZE) * generator.normal(size=(2, SIZE, SIZE))) for _ in range(3)]

# %%
# Left and middle: the training error falls fastest at first under natural gradient,
# but its test error never comes near the minimum that the others pass through.
# Right: the smallest test error against the power of the correction. It is best near
# gradient descent and rises steadily from there to natural gradient, for random
# starts too. (Gradient descent itself is not quite the best: it learns the teacher's
# weaker mode so late that some noise is learned before it.)

POWERS = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
with house_style():
    figure, (train, test, best) = plt.subplots(1, 3, figsize=(10.2, 3.8))
    fine, marks = np.linspace(0, 6, 301), np.linspace(0, 6, 13)
    for (name, rule), marker in zip(RULES.items(), "os^", strict=True):
        lines, points = predicted(rule, fine), measured(rule, aligned, marks)
        for axes, line, point in zip((train, test), lines, points, strict=True):
            (drawn,) = axes.plot(fine, line)
            look = {"marker": marker, "color": drawn.get_color(), "mfc": "white", "mew": 1.1}
            axes.plot(marks, point, ls="none", **look)
        test.plot([], [], ls=drawn.get_linestyle(), label=name, **look)
    train.set(title="Training error", xlabel="time (1 / learning rate)")
    train.set_ylabel("$|W - W^*|^2 / |W^*|^2$")
    test.set(title="Test error", xlabel="time (1 / learning rate)", ylim=(0, 1.5))
    test.set_ylabel("$|W - W_T|^2 / |W_T|^2$")
    test.legend(title="line: theory, marker: experiment", title_fontsize="small")

    sweep, dense = np.linspace(0, 1, 21), np.linspace(0.3, 2.3, 41)
    theory = [predicted(CurvatureCorrection(power), fine)[1].min() for power in sweep]
    best.plot(sweep, theory, "k-", label="theory, aligned start")
    found = [measured(CurvatureCorrection(q), aligned, dense)[1].min() for q in POWERS]
    best.plot(POWERS, found, "ko", mfc="white", mew=1.1, label="experiment, aligned start")
    found = np.array([
        [measured(CurvatureCorrection(q), w, dense, 1e-5)[1].min() for w in random] for q in POWERS
    ])
    best.errorbar(
        POWERS, found.mean(1), found.std(1, ddof=1), fmt="D", color=look["color"], capsize=3,
        label="experiment, random starts\n(mean and s.d. of 3)",
    )  # fmt: skip
    best.set(title="Best moment to stop", xlabel="power $q$ of the correction")
    best.set_ylabel("smallest test error")
    best.legend(loc="upper left")

plt.show()
