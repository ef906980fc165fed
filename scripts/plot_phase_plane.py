r"""
One path or many: two weights in a row
======================================

The smallest deep network has two weights in a row, :math:`y = w_2 w_1 x`. It
learns the target :math:`s` by moving from its start to the curve
:math:`w_1 w_2 = s`, along which every network is perfect. Which point of that
curve it reaches is the learning rule's choice.

Gradient descent conserves :math:`w_1^2 - w_2^2`. So does *every* rule that
multiplies the gradient by a power of the whole curvature matrix: natural
gradient and its square root walk on the same hyperbola and differ only in their
speed. Rules that correct each layer by its own curvature block (the structure
of K-FAC) conserve something else and end elsewhere.
"""

import matplotlib.pyplot as plt
import numpy as np

from deeplinear import CurvatureCorrection, matrix_flow
from sandbox.bench.figures import house_style

TARGET = 1.0
STARTS = np.array([[0.6, 0.1], [0.1, 0.35]])

# %%
# The experiment
# --------------
#
# The two weights are 1 x 1 matrices to :func:`deeplinear.matrix_flow`, which
# integrates the rule's definition and knows nothing of conserved quantities.


def measured(rule, start, times):
    """Return both weights at the given times, shape (time, layer)."""
    flow = matrix_flow(rule, [np.full((1, 1), w) for w in start], np.array([[TARGET]]), times)
    return np.stack([layer[:, 0, 0] for layer in flow], axis=1)


FULL = {
    "gradient descent": CurvatureCorrection(0.0),
    "square root": CurvatureCorrection(0.5),
    "natural gradient": CurvatureCorrection(1.0),
}
LAYER = {
    "square root, layer blocks": CurvatureCorrection(0.5, "layer"),
    "natural gradient, layer blocks": CurvatureCorrection(1.0, "layer"),
}

# %%
# The theory
# ----------
#
# Each conserved quantity turns the product :math:`u = w_1 w_2` into a point of
# the plane: on the hyperbola :math:`w_1^2 = (c + \sqrt{c^2 + 4u^2})/2`, on the
# diagonal :math:`w_1 - w_2 = \delta`, or on the ray :math:`w_1 / w_2 = r`.


def hyperbola(start, u):
    """Return the points of the curve w1^2 - w2^2 = const with product u."""
    c = start[0] ** 2 - start[1] ** 2
    size = np.sqrt(c**2 + 4 * u**2)
    return np.sqrt((size + c) / 2), np.sqrt((size - c) / 2)


def diagonal(start, u):
    """Return the points of the line w1 - w2 = const with product u."""
    half = (start[0] - start[1]) / 2
    middle = np.sqrt(u + half**2)
    return middle + half, middle - half


def ray(start, u):
    """Return the points of the line w1 / w2 = const with product u."""
    ratio = start[0] / start[1]
    return np.sqrt(u * ratio), np.sqrt(u / ratio)


# %%
# Left: markers are set at the times 0.5, 1, 2 and 4. Gradient descent lags behind
# and then catches up, but nobody leaves the common curve. Right: the layer rules
# from the same two starts, with the hyperbolas of the left panel in grey.
# Layer-block natural gradient keeps the ratio of the weights, so that a start that
# is out of balance stays so for ever.

with house_style():
    blue, orange, green, *_ = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 4.6))
    for axes, end in ((left, 1.6), (right, 3.0)):
        w1 = np.linspace(0.3, end, 200)
        axes.plot(w1, TARGET / w1, "-", color="0.8", lw=5, label="minima, $w_1 w_2 = s$")
        axes.plot(*STARTS.T, "k*", ms=9, label="start", zorder=5)
        axes.set(xlabel="weight of layer 1, $w_1$", ylabel="weight of layer 2, $w_2$")
        axes.set(xlim=(0, end), ylim=(0, end))
    left.set_title("Full curvature: one path, three speeds")
    right.set_title("Layer blocks: each rule its own path")

    u = np.linspace(STARTS.prod(axis=1), TARGET, 200)
    points = [np.array(curve(STARTS.T, u)) for curve in (hyperbola, diagonal, ray)]
    looks = {"linestyle": "none", "mew": 1.2}
    rings = {"gradient descent": ("o", blue, 9), "square root": ("s", orange, 6)}
    rings["natural gradient"] = ("^", green, 4)
    left.plot(*points[0], "k-", lw=1.2, label=["theory, $w_1^2 - w_2^2$ constant", None])
    for name, rule in FULL.items():
        marker, colour, size = rings[name]
        found = [measured(rule, start, np.array([0.5, 1.0, 2.0, 4.0])) for start in STARTS]
        left.plot(
            *np.concatenate(found).T, marker=marker, color=colour, mfc="none", ms=size, label=name,
            **looks,
        )  # fmt: skip

    right.plot(*points[0], "-", color="0.6", lw=0.8)
    for curve, law, style, colour, (name, rule), marker in zip(
        points[1:], ("w_1 - w_2", "w_1 / w_2"), ("--", "-."), (orange, green), LAYER.items(), "s^",
        strict=True,
    ):  # fmt: skip
        right.plot(*curve, ls=style, color=colour, label=[f"theory, ${law}$ constant", None])
        found = [measured(rule, start, np.arange(0.25, 3.1, 0.25)) for start in STARTS]
        right.plot(
            *np.concatenate(found).T, marker=marker, color=colour, mfc="white", ms=5, label=name,
            **looks,
        )  # fmt: skip
    left.legend(loc="upper right")
    right.legend(loc="upper right")

plt.show()
