"""Fisher matrices: against recorded numbers, dense matrices and per-sample gradients."""

import copy
import logging
import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sandbox.network.columns import LayerColumns, fisher_columns
from sandbox.network.layers import factor_layers
from sandbox.optim import _gram
from sandbox.optim._gram import DampedRoot, gram, posterior_deviation
from sandbox.optim.fisher import SampledFisher
from tests.sandbox.optim.dense_fisher import (
    DEVICES,
    DRAWN,
    F64,
    NETWORKS,
    POSTERIOR,
    RECORDED,
    TRACES,
    TRUE,
    X,
    by_name,
    dense,
    flat,
    multilayer,
    normal,
    reference,
    scores,
    tiny,
)

# ------------------------------------------------------------------ recorded numbers


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("blocks", ["full", "layer"])
@pytest.mark.parametrize("kind", ["full", "sampled"])
def test_solutions_match_recorded_numbers(kind, blocks, device):
    network = tiny(device)
    loss = nn.functional.cross_entropy(network(X.to(device)), TRUE.to(device))
    gradient = torch.autograd.grad(loss, list(network.parameters()))
    vector = dict(zip(("0.weight", "2.weight"), gradient, strict=True))
    labels = "full" if kind == "full" else DRAWN.to(device)
    fisher = SampledFisher.of(network, X.to(device), labels=labels)
    found = fisher.solve(vector, 0.05, blocks=blocks)
    for part, wanted in zip(found.values(), RECORDED[kind, blocks], strict=True):
        # recorded with 17 digits
        torch.testing.assert_close(part.cpu(), torch.tensor(wanted, dtype=F64), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("labels", "wanted"), [("full", "full"), (DRAWN, "drawn"), (TRUE, "empirical")]
)
def test_traces_match_recorded_numbers(labels, wanted):
    fisher = SampledFisher.of(tiny(), X, labels=labels)
    assert fisher.trace() == pytest.approx(TRACES[wanted], rel=1e-13)
    if wanted == "full":
        assert dense(fisher).norm().item() == pytest.approx(TRACES["norm"], rel=1e-13)


def test_posterior_variances_match_recorded_numbers():
    fisher = SampledFisher.of(tiny(), X, labels=DRAWN)
    covariance = posterior_map(fisher, prior=0.7, count=4.0)
    covariance = covariance @ covariance.T
    wanted = torch.tensor(POSTERIOR, dtype=F64)
    torch.testing.assert_close(covariance.diagonal(), wanted, rtol=0, atol=1e-12)


# ------------------------------------------------------------------ against dense matrices


@pytest.mark.parametrize("blocks", ["full", "layer"])
@pytest.mark.parametrize("labels", ["full", "given"])
@pytest.mark.parametrize("name", NETWORKS)
def test_everything_agrees_with_per_sample_gradients(name, labels, blocks):
    build, shape = NETWORKS[name]
    model, inputs = build(), normal(6, *shape)
    given_labels = torch.tensor([0, 2, 1, 1, 2, 0])
    fisher = SampledFisher.of(model, inputs, labels="full" if labels == "full" else given_labels)
    matrix = reference(model, inputs, fisher.names, None if labels == "full" else given_labels)
    if blocks == "layer":
        # weight and bias of a layer belong together
        owner = [
            n.rsplit(".", 1)[0] for n in fisher.names for _ in range(by_name(model)[n].numel())
        ]
        same = torch.tensor([[a == b for b in owner] for a in owner])
        matrix = torch.where(same, matrix, 0.0)
    vector = by_name(model)
    long = flat(vector, fisher.names)
    tight = {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(
        flat(fisher.multiply(vector, blocks=blocks), fisher.names), matrix @ long, **tight
    )
    torch.testing.assert_close(
        fisher.quadratic(vector, blocks=blocks), long @ matrix @ long, **tight
    )
    torch.testing.assert_close(flat(fisher.diagonal(), fisher.names), matrix.diagonal(), **tight)
    damped = matrix + 0.1 * torch.eye(len(matrix), dtype=F64)
    found = flat(fisher.solve(vector, 0.1, blocks=blocks), fisher.names)
    torch.testing.assert_close(damped @ found, long, rtol=0, atol=1e-11)


@pytest.mark.parametrize("formed", [True, False])
@pytest.mark.parametrize("labels", ["full", "sampled"])
@pytest.mark.parametrize("name", ["conv", "sequence"])
def test_both_ways_to_the_gram_matrix_agree(name, labels, formed, monkeypatch):
    build, shape = NETWORKS[name]
    model, inputs = build(), normal(4, *shape)
    layers, _ = factor_layers(model)
    columns = fisher_columns(
        model, layers, inputs, labels, "categorical", torch.Generator().manual_seed(1)
    )
    monkeypatch.setattr(LayerColumns, "_forming_is_cheaper", lambda self: formed)
    monkeypatch.setattr(_gram, "PIECE", 50)  # so that several pieces are needed
    rows = torch.cat([layer.rows(0, layer.columns) for layer in columns], dim=1)
    torch.testing.assert_close(gram(columns), rows @ rows.T, rtol=0, atol=1e-13)
    squares = torch.cat([layer.squares().reshape(-1) for layer in columns])
    torch.testing.assert_close(squares, rows.square().sum(dim=0), rtol=0, atol=1e-13)


@pytest.mark.parametrize("likelihood", ["categorical", "gaussian"])
def test_all_labels_give_the_gauss_newton_matrix(likelihood):
    model, inputs = multilayer(), normal(7, 4)
    fisher = SampledFisher.of(model, inputs, labels="full", likelihood=likelihood)
    values = {name: p.detach() for name, p in model.named_parameters()}
    jacobian = torch.func.jacrev(lambda v: torch.func.functional_call(model, v, inputs))(values)
    rows = torch.cat([jacobian[name].flatten(2) for name in fisher.names], dim=2)
    p = model(inputs).detach().softmax(1)
    hessian = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    if likelihood == "gaussian":
        hessian = torch.eye(3, dtype=F64).expand(7, 3, 3)
    matrix = torch.einsum("nip,nij,njq->pq", rows, hessian, rows) / 7
    torch.testing.assert_close(dense(fisher), matrix, rtol=0, atol=1e-13)
    assert fisher.columns == 7 * (2 if likelihood == "categorical" else 3)


def test_scores_average_to_zero_under_the_model():
    model, inputs = multilayer(), normal(7, 4)
    chances, layers = model(inputs).detach().softmax(1), factor_layers(model)[0]
    total = 0
    for label in range(3):
        labels = torch.full((7,), label)
        columns = fisher_columns(model, layers, inputs, labels, "categorical", None)
        rows = torch.cat([layer.rows(0, 7) for layer in columns], dim=1)
        total = total + chances[:, label, None] * rows
    assert total.abs().max() < 1e-15


def test_drawn_labels_give_the_matrix_on_average():
    # v'Fv is a mean over samples of (g.v)^2: its variance is known by counting labels.
    # |z| < 4.06 fails a right program once in 20,000 runs, and the seeds are fixed
    model, inputs, draws = multilayer(), normal(10, 4), 400
    vector = by_name(model)
    generator = torch.Generator().manual_seed(7)
    names = SampledFisher.of(model, inputs, generator=generator).names
    found = [
        SampledFisher.of(model, inputs, generator=generator).quadratic(vector).item()
        for _ in range(draws)
    ]
    along = (scores(model, inputs, names) @ flat(vector, names)).square()
    chances = model(inputs).detach().softmax(1)
    mean = (chances * along).sum(1)
    variance = ((chances * along.square()).sum(1) - mean.square()).sum() / 10**2
    z = (np.mean(found) - mean.mean().item()) / math.sqrt(variance.item() / draws)
    assert abs(z) < 4.06
    assert np.var(found) == pytest.approx(variance.item(), rel=0.4)


# ------------------------------------------------------------------ solving


def random_columns(seed, samples, shapes, spread):
    """Layers whose G has singular values spread over so many powers of ten."""
    found = []
    for i, (out, width) in enumerate(shapes):
        scale = torch.logspace(0, -spread / 2, samples, dtype=F64)
        found.append(
            LayerColumns(
                normal(samples, 1, width, seed=seed + 7 * i),
                (scale[:, None] * normal(samples, out, seed=seed + 7 * i + 1))[None, :, None],
            )
        )
    return found


@settings(max_examples=30)
@given(
    seed=st.integers(0, 1000),
    samples=st.sampled_from([3, 8, 30]),
    logarithm=st.floats(0.0, 10.0),
    spread=st.sampled_from([0.0, 6.0]),
)
def test_the_solution_is_as_good_as_the_condition_allows(seed, samples, logarithm, spread):
    # against 40 digits; 100 condition numbers' worth of rounding
    columns = random_columns(seed, samples, [(2, 3), (3, 2)], spread)
    rows = torch.cat([layer.rows(0, samples) for layer in columns], dim=1)
    top = torch.linalg.matrix_norm(rows, 2).item() ** 2
    damping = top / 10**logarithm
    root = DampedRoot(columns, damping, "test")
    assert root.dual == (samples <= 12)
    vector = [normal(2, 3, seed=seed + 50), normal(3, 2, seed=seed + 51)]
    found = torch.cat([part.reshape(-1) for part in root(vector)])
    with mpmath.workdps(40):
        g = mpmath.matrix(rows.tolist())
        matrix = g.T * g + mpmath.mpf(damping) * mpmath.eye(12)
        right = mpmath.matrix(torch.cat([part.reshape(-1) for part in vector]).tolist())
        exact = mpmath.lu_solve(matrix, right)
        error = mpmath.norm(exact - mpmath.matrix(found.tolist())) / mpmath.norm(exact)
    assert error <= (1 + 10**logarithm) * np.finfo(float).eps * 100
    assert root.damping == damping


@pytest.mark.parametrize("dual", [True, False])
def test_the_two_gram_matrices_give_one_solution(dual):
    columns = random_columns(0, 8, [(2, 3), (3, 2)], 0.0)
    vector = [normal(2, 3), normal(3, 2)]
    found = DampedRoot(columns, 0.1, "test", dual=dual)(vector)
    for part, other in zip(found, DampedRoot(columns, 0.1, "test")(vector), strict=True):
        torch.testing.assert_close(part, other, rtol=0, atol=1e-12)


def test_damping_within_the_rounding_error_of_float32_is_handled(monkeypatch, caplog):
    # thirty columns in two dimensions: float32's Gram matrix has eigenvalues below minus the
    # damping, that of the same numbers in float64 has none
    slopes = (normal(30, 2) @ normal(2, 50, seed=1)).float()
    columns = [LayerColumns(torch.ones(30, 1, 7), slopes[None, :, None])]
    damping = 1e-8
    assert torch.linalg.eigvalsh(gram(columns).double())[0] < -10 * damping
    with caplog.at_level(logging.WARNING, "sandbox.optim"):
        root = DampedRoot(columns, damping, "layer 'a'")
    assert not caplog.records
    assert root.damping == damping
    assert root.factor.dtype == F64
    # without the precaution it fails, and is mended
    monkeypatch.setattr(_gram, "SAFETY", 0.0)
    with caplog.at_level(logging.WARNING, "sandbox.optim"):
        mended = DampedRoot(columns, damping, "layer 'a'")
    assert "again in float64" in caplog.text
    assert torch.equal(mended.factor, root.factor)


def test_a_failing_factorisation_is_tried_again_and_logged(monkeypatch, caplog):
    columns = [layer.to(torch.float32) for layer in random_columns(0, 5, [(2, 3)], 0.0)]
    works, dampings = _gram._cholesky, []

    def failing(times):
        def attempt(matrix, damping):
            dampings.append(damping)
            return None if len(dampings) <= times else works(matrix, damping)

        return attempt

    with caplog.at_level(logging.WARNING, "sandbox.optim"):
        monkeypatch.setattr(_gram, "_cholesky", failing(2))
        root = DampedRoot(columns, 0.1, "layer 'a'")
    assert dampings == pytest.approx([0.1, 0.1, 1.0])
    assert root.damping == pytest.approx(1.0)
    assert "layer 'a'" in caplog.text
    assert "float64" in caplog.text
    assert "ten times" in caplog.text
    # the solution is that of the damping that was used
    vector = [normal(2, 3, dtype=torch.float32)]
    monkeypatch.setattr(_gram, "_cholesky", works)
    wanted = DampedRoot(columns, 1.0, "test")(vector)[0]
    torch.testing.assert_close(root(vector)[0], wanted, rtol=1e-5, atol=1e-5)
    dampings.clear()
    monkeypatch.setattr(_gram, "_cholesky", failing(9))
    with pytest.raises(RuntimeError, match=r"layer 'a' has no Cholesky factor at damping 1\b"):
        DampedRoot(columns, 0.1, "layer 'a'")
    dampings.clear()
    with pytest.raises(RuntimeError, match="has no Cholesky factor at damping 0.1"):
        DampedRoot(columns, 0.1, "layer 'a'", exact=True)


# ------------------------------------------------------------------ invariants


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), labels=st.sampled_from(["full", "sampled"]))
def test_products_are_symmetric_positive_and_inverse_to_solves(seed, labels):
    model, inputs = multilayer(), normal(5, 4, seed=seed)
    fisher = SampledFisher.of(
        model, inputs, labels=labels, generator=torch.Generator().manual_seed(seed)
    )
    left, right = by_name(model, seed + 1), by_name(model, seed + 20)

    def inner(a, b):
        return (flat(a, fisher.names) @ flat(b, fisher.names)).item()

    there, back = inner(left, fisher.multiply(right)), inner(right, fisher.multiply(left))
    assert there == pytest.approx(back, rel=1e-9, abs=1e-11)
    assert fisher.quadratic(left) >= 0
    assert fisher.quadratic(left, blocks="layer") >= 0
    solved = fisher.solve(left, 0.3)
    again = fisher.multiply(solved)
    for name, part in left.items():
        torch.testing.assert_close(again[name] + 0.3 * solved[name], part, rtol=0, atol=1e-11)


def test_copies_and_order_of_samples_do_not_matter():
    model, inputs = multilayer(), normal(5, 4)
    vector = by_name(model)
    once = SampledFisher.of(model, inputs, labels="full").multiply(vector)
    more = torch.cat([inputs.flip(0), inputs])
    twice = SampledFisher.of(model, more, labels="full").multiply(vector)
    for name, part in once.items():
        torch.testing.assert_close(twice[name], part, rtol=0, atol=1e-13)


def test_a_penalty_can_be_differentiated():
    model, inputs = multilayer(), normal(5, 4)
    fisher = SampledFisher.of(model, inputs, labels="full")
    vector = {name: part.requires_grad_() for name, part in by_name(model).items()}
    fisher.quadratic(vector).backward()
    for name, part in fisher.multiply(vector).items():
        torch.testing.assert_close(vector[name].grad, 2 * part, rtol=0, atol=1e-12)


# ------------------------------------------------------------------ Laplace


def posterior_map(fisher, prior, count):
    """What the standard normal numbers behind a sample are multiplied with."""
    columns = fisher._columns
    root = DampedRoot(columns, prior / count, "test", dual=True)
    sizes = [layer.entries for layer in columns]
    made = []
    for unit in torch.eye(sum(sizes) + fisher.columns, dtype=F64):
        *parts, chances = unit.split([*sizes, fisher.columns])
        deviates = [
            part.view(layer.slopes.shape[3], layer.inputs.shape[2])
            for part, layer in zip(parts, columns, strict=True)
        ]
        found = posterior_deviation(columns, deviates, chances, prior, count, root.factor)
        made.append(torch.cat([part.reshape(-1) for part in found]))
    return torch.stack(made, dim=1)


@pytest.mark.parametrize("labels", ["full", "sampled"])
def test_posterior_samples_have_the_covariance_exactly(labels):
    # bias-free layers, whose parameters lie in the order of the matrices
    fisher = SampledFisher.of(tiny(), X, labels=labels, generator=torch.Generator().manual_seed(2))
    linear = posterior_map(fisher, prior=0.7, count=50.0)
    wanted = torch.linalg.inv(0.7 * torch.eye(24, dtype=F64) + 50 * dense(fisher))
    torch.testing.assert_close(linear @ linear.T, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("blocks", ["full", "layer"])
def test_posterior_samples_spread_as_they_should(blocks):
    # 24 whitened coordinates of 1000 draws: sum of squares is chi-squared with 24,000 degrees
    # of freedom, mean zero; each |z| < 4.06 fails a right program once in 20,000 runs
    fisher = SampledFisher.of(tiny(), X, labels="full")
    draws = fisher.laplace_samples(
        0.7, 50, samples=1000, generator=torch.Generator().manual_seed(11), blocks=blocks
    )
    assert draws["0.weight"].shape == (1000, 4, 3)
    long = torch.cat([draws[name].flatten(1) for name in fisher.names], dim=1)
    precision = 0.7 * torch.eye(24, dtype=F64) + 50 * dense(fisher, blocks)
    white = long @ torch.linalg.cholesky(precision)
    squares = white.square().sum().item()
    assert abs(squares - 24_000) / math.sqrt(2 * 24_000) < 4.06
    assert abs(white.sum().item()) / math.sqrt(24_000) < 4.06
    # the largest of 276 correlations of 1000 draws: Bonferroni at 1e-4 in all
    off = (white.T @ white / 1000 - torch.eye(24, dtype=F64)).abs()
    off.fill_diagonal_(0)
    assert off.max() * math.sqrt(1000) < 5.1


def test_posterior_without_data_is_the_prior():
    fisher = SampledFisher.of(tiny(), X)
    linear = posterior_map(fisher, prior=4.0, count=1e-12)
    torch.testing.assert_close(linear @ linear.T, torch.eye(24, dtype=F64) / 4, rtol=0, atol=1e-12)


# ------------------------------------------------------------------ what is left alone, and types


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(
        nn.Linear(4, 5), nn.BatchNorm1d(5, affine=False), nn.Dropout(0.5), nn.Linear(5, 3)
    ).to(F64)
    model[2].eval()
    kept = torch.full_like(model[0].weight, 7.0)
    model[0].weight.grad = kept
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(0)
    random = torch.get_rng_state()
    # a model that draws numbers even in evaluation mode
    handle = model.register_forward_pre_hook(lambda *_: torch.manual_seed(5) and None)
    SampledFisher.of(model, normal(6, 4), generator=torch.Generator())
    handle.remove()
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [part.training for part in model] == [True, True, False, True]
    assert model[0].weight.grad is kept
    assert (kept == 7).all()
    assert model[0].bias.grad is None
    assert not any(part._forward_hooks for part in model.modules())


def test_labels_follow_the_generator():
    model, inputs, vector = multilayer(), normal(30, 4), by_name(multilayer())

    def found(seed):
        generator = torch.Generator().manual_seed(seed)
        return SampledFisher.of(model, inputs, generator=generator).quadratic(vector).item()

    assert found(1) == found(1)
    assert found(1) != found(2)
    # without one they follow torch's own, and move it on
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        drawn = [SampledFisher.of(model, inputs).quadratic(vector).item() for _ in range(2)]
        torch.manual_seed(3)
        assert SampledFisher.of(model, inputs).quadratic(vector).item() == drawn[0]
    assert drawn[0] != drawn[1]


def test_outputs_can_be_chosen():
    model, inputs = multilayer(), normal(5, 4)
    part = copy.deepcopy(model)
    part[4] = nn.Linear(5, 2).to(F64)
    with torch.no_grad():
        part[4].weight.copy_(model[4].weight[1:])
        part[4].bias.copy_(model[4].bias[1:])
    chosen = SampledFisher.of(model, inputs, labels="full", columns=slice(1, 3))
    small = SampledFisher.of(part, inputs, labels="full")
    assert chosen.trace() == pytest.approx(small.trace(), rel=1e-13)
    assert not chosen.diagonal()["4.weight"][0].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_narrow_types_are_close(dtype):
    # float32's 1e-7, times a few hundred operations; bfloat16 has 8 bits
    model, inputs = multilayer().to(dtype), normal(6, 4).to(dtype)
    fisher = SampledFisher.of(model, inputs, labels="full")
    wide = SampledFisher.of(copy.deepcopy(model).double(), inputs.double(), labels="full")
    vector = by_name(model)
    found = fisher.solve(vector, 0.1)
    for name, part in wide.solve(vector, 0.1).items():
        bound = 1e-5 if dtype == torch.float32 else 0.2
        assert (found[name] - part).abs().max() < bound * part.abs().max()


def test_autocast_does_not_reach_the_matrix():
    model, inputs = multilayer().float(), normal(6, 4, dtype=torch.float32)
    plain = SampledFisher.of(model, inputs, labels="full").trace()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert SampledFisher.of(model, inputs, labels="full").trace() == plain


def test_layers_that_the_outputs_do_not_reach_have_no_part():
    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(4, 3).to(F64), nn.Linear(2, 2).to(F64)

        def forward(self, inputs):
            return self.used(inputs)

    model, inputs = Branch(), normal(5, 4)
    for labels in ("full", "sampled"):
        fisher = SampledFisher.of(model, inputs, labels=labels)
        vector = by_name(model)
        for blocks in ("full", "layer"):
            found = fisher.solve(vector, 0.5, blocks=blocks)
            torch.testing.assert_close(found["unused.weight"], 2 * vector["unused.weight"])
        assert not fisher.diagonal()["unused.bias"].any()


# ------------------------------------------------------------------ bad input


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4).to(F64)

    def forward(self, inputs):
        return self.layer(self.layer(inputs))


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("model", "inputs", "settings", "message"),
    [
        ("net", X, {}, r"model = 'net': must be a torch.nn.Module"),
        (nn.ReLU(), X, {}, "there is none"),
        (nn.LayerNorm(3).to(F64), X, {}, "weight, bias.*freeze these"),
        (Twice(), normal(5, 4), {}, r"layer 'layer' \(Linear\) is called twice"),
        (tiny(), [1.0], {}, r"inputs = \[1.0\]: must be a non-empty tensor"),
        (tiny(), X[:0], {}, "must be a non-empty tensor"),
        (tiny(), X / torch.tensor([1.0, 0.0, 1.0]), {}, r"inputs\[0\] is not finite"),
        (tiny(), X, {"labels": "all"}, "labels = 'all': must be one of 'sampled', 'full'"),
        (tiny(), X, {"likelihood": "poisson"}, "likelihood = 'poisson'"),
        (tiny(), X, {"labels": torch.zeros(3, dtype=torch.long)}, "must be 4 class numbers"),
        (tiny(), X, {"labels": torch.zeros(4)}, "must be 4 class numbers"),
        (tiny(), X, {"labels": torch.tensor([0, 1, 3, 0])}, r"labels\[2\] = 3: .*\[0, 3\)"),
        (tiny(), X, {"labels": X[:, :2], "likelihood": "gaussian"}, "must match the outputs"),
    ],
)
def test_bad_arguments_are_refused(model, inputs, settings, message):
    with pytest.raises(ValueError, match=message):
        SampledFisher.of(model, inputs, **settings)


@pytest.mark.bad_input
def test_bad_vectors_and_numbers_are_refused():
    fisher = SampledFisher.of(tiny(), X)
    vector = by_name(tiny())
    with pytest.raises(ValueError, match=r"vector has \['0.weight'\]: must have a tensor for each"):
        fisher.multiply({"0.weight": vector["0.weight"]})
    with pytest.raises(ValueError, match=r"vector\['0.weight'\] = \(3, 4\): .* shape \(4, 3\)"):
        fisher.quadratic(vector | {"0.weight": vector["0.weight"].T})
    for damping in (0.0, -1.0, math.nan, "much"):
        with pytest.raises(ValueError, match="damping"):
            fisher.solve(vector, damping)
    with pytest.raises(ValueError, match="blocks = 'diagonal'"):
        fisher.solve(vector, 1.0, blocks="diagonal")
    for bad in ({"prior_precision": 0.0}, {"data_count": -1.0}, {"samples": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            fisher.laplace_samples(**({"prior_precision": 1.0, "data_count": 1.0} | bad))


def test_diverged_outputs_are_refused():
    network = tiny()
    with torch.no_grad():
        network[2].weight[0, 0] = math.nan
    fisher = SampledFisher.of(network, X)
    with pytest.raises(RuntimeError, match=r"layer '0'.*is not finite"):
        fisher.solve(by_name(network), 1.0)
    with pytest.raises(RuntimeError, match="is not finite"):
        fisher.laplace_samples(1.0, 1.0)
