"""Small linear networks, their invariants, and the rules written naively from the definition."""

import numpy as np

from deeplinear.flow import matrix_flow
from deeplinear.rules import CurvatureCorrection, partial_products

TARGET = np.array([[1.5, 0.3, 0.0], [-0.2, 1.0, 0.1], [0.1, 0.0, 0.7]])
RULES = {
    "GD": CurvatureCorrection(0.0),
    "sqrtNGD": CurvatureCorrection(0.5),
    "NGD": CurvatureCorrection(1.0),
    "damped": CurvatureCorrection(1.0, damping=0.1),
    "NGD-d": CurvatureCorrection(1.0, "layer"),
    "sqrtNGD-d": CurvatureCorrection(0.5, "layer"),
}
FULL = ("GD", "sqrtNGD", "NGD", "damped")


def wave(k, rows, columns):
    a, b = np.meshgrid(np.arange(1, rows + 1), np.arange(1, columns + 1), indexing="ij")
    return np.sin(1.3 * a + 2.1 * b + 0.7 * k)


def three_layers():
    return [0.6 * np.eye(3) + 0.1 * wave(k, 3, 3) for k in (1, 2, 3)]


def scalars(*values):
    return [np.array([[value]]) for value in values]


def random_network(seed, widths, scale=1.0):
    generator = np.random.default_rng(seed)
    pairs = zip(widths, widths[1:], strict=False)
    weights = [scale * generator.normal(size=(b, a)) for a, b in pairs]
    return weights, generator.normal(size=(widths[-1], widths[0]))


def mild_network(seed, widths):
    """Weights near rectangular identities, towards a target of the same kind: no singularity."""
    generator = np.random.default_rng(seed)

    def near(b, a, size):
        return size * np.eye(b, a) + 0.25 * generator.uniform(-1, 1, (b, a))

    pairs = zip(widths, widths[1:], strict=False)
    weights = [near(b, a, 0.9) for a, b in pairs]
    return weights, near(widths[-1], widths[0], 1.4)


def frame(generator, rows, columns):
    return np.linalg.qr(generator.normal(size=(rows, columns)))[0]


def balanced_pair(seed, inputs, hidden, outputs, imbalance, size=0.4):
    """W_1 and W_2 with W_2'W_2 - W_1W_1' = imbalance I, of the largest rank that allows."""
    generator = np.random.default_rng(seed)
    if imbalance < 0:
        first, second = balanced_pair(seed, outputs, hidden, inputs, -imbalance, size)
        return [second.T, first.T]
    rank = min(inputs, hidden, outputs)
    values = size * generator.uniform(0.3, 1.0, rank)
    basis = frame(generator, hidden, hidden)
    first = (basis[:, :rank] * values) @ frame(generator, inputs, rank).T
    squares = np.concatenate([values**2, np.zeros(hidden - rank)]) + imbalance
    kept = min(hidden, outputs)
    second = (frame(generator, outputs, kept) * np.sqrt(squares[:kept])) @ basis[:, :kept].T
    return [first, second]


def covariance(seed, size, rank):
    factor = np.random.default_rng(seed).normal(size=(size, rank))
    return factor @ factor.T + (0.3 * np.eye(size) if rank == size else 0.0)


def root_of(matrix):
    values, vectors = np.linalg.eigh(matrix)
    # an eigenvalue that is zero but for rounding would have a root far above rounding
    values = np.where(values > 1e-13 * values[-1], values, 0.0)
    return (vectors * np.sqrt(values)) @ vectors.T


def chain(weights):
    product = weights[0]
    for matrix in weights[1:]:
        product = matrix @ product
    return product


def imbalances(weights):
    return [b.T @ b - a @ a.T for a, b in zip(weights, weights[1:], strict=False)]


def flat(weights):
    return np.concatenate([matrix.ravel() for matrix in weights])


def unflat(state, shapes):
    cuts = np.cumsum([a * b for a, b in shapes])[:-1]
    return [part.reshape(s) for part, s in zip(np.split(state, cuts), shapes, strict=True)]


def worst(actual, expected):
    """Largest difference over the largest value, over all layers together."""
    size = max(np.abs(b).max() for b in expected)
    return max(np.abs(a - b).max() for a, b in zip(actual, expected, strict=True)) / size


def last(rule, weights, target, time, **options):
    return [w[-1] for w in matrix_flow(rule, weights, target, np.array([time]), **options)]


def psd_power(matrix, power, damping, cut=1e-20):
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    keep = values > cut * values[-1]
    gains = np.where(keep, (np.where(keep, values, 1.0) + damping) ** power, 0.0)
    return (vectors * gains) @ vectors.T


def jacobian_blocks(weights, root, order):
    """d vec(Wb R) / d vec(W_i), written from vec(AXB) in either order."""
    after, before = partial_products(weights)
    pairs = [(a, b @ root) for a, b in zip(after, before, strict=True)]
    if order == "F":
        return [np.kron(b.T, a) for a, b in pairs]
    return [np.kron(a, b.T) for a, b in pairs]


def naive(rule, weights, target, root, order, form):
    """The rule from its definition: powers of K = JJ' (form K), of H = J'J (form H), or SVD(J)."""
    blocks = jacobian_blocks(weights, root, order)
    error = ((chain(weights) - target) @ root).reshape(-1, order=order)
    groups = [np.hstack(blocks)] if rule.blocks == "full" else blocks
    parts = []
    for jacobian in groups:
        if form == "K":
            operator = psd_power(jacobian @ jacobian.T, -rule.power, rule.damping, 1e-12)
            parts.append(jacobian.T @ operator @ error)
        elif form == "H":
            operator = psd_power(jacobian.T @ jacobian, -rule.power, rule.damping, 1e-12)
            parts.append(operator @ jacobian.T @ error)
        else:
            left, values, right = np.linalg.svd(jacobian, full_matrices=False)
            keep = values > 1e-12 * values[0]
            gains = values[keep] * (values[keep] ** 2 + rule.damping) ** -rule.power
            parts.append(right[keep].T @ (gains * (left[:, keep].T @ error)))
    state = -rule.prefactor(len(weights)) * np.concatenate(parts)
    cuts = np.cumsum([matrix.size for matrix in weights])[:-1]
    return [
        part.reshape(matrix.shape, order=order)
        for part, matrix in zip(np.split(state, cuts), weights, strict=True)
    ]
