"""What the importance measures have to do with one another, at any parameters and inputs."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sandbox.regularisers._output_columns import label_scores, memory_columns, squared_columns
from sandbox.regularisers.importance import (
    absolute_fisher,
    batched_memory_aware,
    fisher_diagonal,
    memory_aware,
    root_fisher,
)
from tests.sandbox.regularisers.importance_loops import by_loop, normal
from tests.sandbox.regularisers.tiny_net import F64, INPUTS, flat, tiny_net

SEEDS = st.integers(0, 10**6)
ROUNDING = 1e-12
"""Of sums of a few hundred products in float64, against values of order 1."""


def drawn(seed, classes=3, scale=1.0):
    """Return a network with parameters of its own, and one input."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, classes)).to(F64)
    with torch.no_grad():
        model[2].weight.mul_(scale)
    return model, normal(1, 4, seed=seed)


def long(parts):
    return torch.cat([part.reshape(-1) for part in parts.values()])


@settings(max_examples=10)
@given(seed=SEEDS, scale=st.floats(0.1, 30.0))
def test_the_largest_output_moves_by_no_more_than_the_absolute_fisher_says(seed, scale):
    # at an input: top probability times the absolute Fisher bounds it, from sum_y p_y g_y = 0
    model, one = drawn(seed, scale=scale)
    top = float(model(one).detach().softmax(1).max())
    absolute, masx = long(absolute_fisher(model, one)), long(memory_aware(model, one, reduce="max"))
    assert bool((masx <= top * absolute * (1 + ROUNDING) + 1e-300).all())


@settings(max_examples=10)
@given(seed=SEEDS, scale=st.floats(0.1, 30.0))
def test_two_classes_make_the_measures_equal_at_an_input(seed, scale):
    model, one = drawn(seed, classes=2, scale=scale)
    chances = model(one).detach().softmax(1)[0]
    top, rest = float(chances.max()), float(chances.min())
    absolute = long(absolute_fisher(model, one))
    bound = {"rtol": 1e-10, "atol": 1e-300}
    torch.testing.assert_close(
        long(memory_aware(model, one, reduce="max")), top * absolute, **bound
    )
    torch.testing.assert_close(long(memory_aware(model, one)), (top - rest) * absolute, **bound)
    # g_1 p_1 = -g_2 p_2: F = p_1 g_1^2 + p_2 g_2^2 = (2 p_1 |g_1|)^2 / (4 p_1 p_2)
    squares = absolute.square() / (4 * top * rest)
    torch.testing.assert_close(long(fisher_diagonal(model, one)), squares, **bound)


@settings(max_examples=10)
@given(seed=SEEDS, samples=st.integers(1, 7))
def test_measures_are_ordered(seed, samples):
    model, _ = drawn(seed)
    inputs = normal(samples, 4, seed=seed + 1)
    exact, root = long(fisher_diagonal(model, inputs)), long(root_fisher(model, inputs))
    absolute = long(absolute_fisher(model, inputs))
    assert bool((exact >= 0).all())
    torch.testing.assert_close(root.square(), exact, rtol=1e-14, atol=0)
    # Jensen: the mean of |g| is at most the root of the mean of g^2
    assert bool((absolute <= root * (1 + ROUNDING)).all())
    for output in ("probability", "logit"):
        for reduce in ("norm", "max"):
            single = long(memory_aware(model, inputs, output, reduce))
            batch = long(batched_memory_aware(model, inputs, output, reduce, batch_size=samples))
            assert bool((batch <= single * (1 + ROUNDING) + 1e-15).all())


@settings(max_examples=5)
@given(seed=SEEDS)
def test_all_given_labels_by_their_probabilities_make_the_exact_diagonal(seed):
    model, one = drawn(seed)
    parts = [long(fisher_diagonal(model, (one, torch.tensor([y])), "weighted")) for y in range(3)]
    whole = long(fisher_diagonal(model, one))
    torch.testing.assert_close(sum(parts), whole, rtol=1e-11, atol=1e-300)
    # and one of them is the empirical one by its probability
    chance = model(one).detach().softmax(1)[0, 1]
    empirical = long(fisher_diagonal(model, (one, torch.tensor([1])), "empirical"))
    torch.testing.assert_close(parts[1], chance * empirical, rtol=1e-12, atol=0)


@settings(max_examples=5)
@given(seed=SEEDS, cut=st.integers(1, 5))
def test_a_mean_over_all_is_the_mean_over_parts(seed, cut):
    model, _ = drawn(seed)
    inputs = normal(6, 4, seed=seed)
    for measure in (fisher_diagonal, absolute_fisher, memory_aware):
        parts = cut * long(measure(model, inputs[:cut])) + (6 - cut) * long(
            measure(model, inputs[cut:])
        )
        torch.testing.assert_close(long(measure(model, inputs)), parts / 6, rtol=0, atol=1e-13)


def test_the_root_of_the_output_hessian_has_other_absolute_values_than_the_labels():
    # one column fewer, the same squares: and not what the absolute Fisher asks for
    model = tiny_net()
    outputs = model(INPUTS).detach()
    fewer = squared_columns(outputs, "exact", "categorical", None, None)
    every = label_scores(outputs)
    assert (len(fewer), len(every)) == (2, 3)
    wanted = flat(by_loop(model, INPUTS, "absolute"))
    sums = []
    for columns in (fewer, every):
        total = torch.zeros(24, dtype=F64)
        for column in columns:
            for n, one in enumerate(INPUTS):
                slopes = torch.autograd.grad(
                    model(one[None])[0], list(model.parameters()), column[n]
                )
                total += torch.cat([slope.reshape(-1) for slope in slopes]).abs() / 4
        sums.append(total)
    torch.testing.assert_close(sums[1], wanted, rtol=0, atol=1e-15)
    assert float((sums[0] / wanted - 1).abs().max()) > 0.1


@given(
    logits=st.lists(st.floats(-40, 40), min_size=2, max_size=5, unique=True),
    output=st.sampled_from(["probability", "logit"]),
    reduce=st.sampled_from(["norm", "max"]),
)
def test_columns_are_gradients_in_the_outputs(logits, output, reduce):
    values = torch.tensor(logits, dtype=F64, requires_grad=True)
    seen = values.softmax(0) if output == "probability" else values
    # by place: torch shares the gradient of a maximum between equal probabilities
    largest = seen[int(values.argmax())]
    value = largest**2 if reduce == "max" else seen.square().sum()
    (wanted,) = torch.autograd.grad(value, values)
    found = memory_columns(values.detach()[None], output, reduce)[0, 0]
    torch.testing.assert_close(found, wanted, rtol=1e-13, atol=1e-15 * max(1.0, *map(abs, logits)))


def test_confident_predictions_keep_their_digits():
    # 1 - p is 1.6e-18, which 1 and p do not show; the numbers are those of two classes
    outputs = torch.tensor([[0.0, -41.0]], dtype=F64)
    small = float(torch.tensor(-41.0, dtype=F64).exp())
    wanted = torch.tensor([[2 * small, -2 * small]], dtype=F64)
    tight = {"rtol": 1e-14, "atol": 0.0}
    torch.testing.assert_close(memory_columns(outputs, "probability", "max")[0], wanted, **tight)
    torch.testing.assert_close(memory_columns(outputs, "probability", "norm")[0], wanted, **tight)
    both = torch.tensor([[-small, small], [small, -small]], dtype=F64)
    torch.testing.assert_close(label_scores(outputs)[:, 0], both, **tight)
    given_label = squared_columns(outputs, "empirical", "categorical", torch.tensor([0]), None)
    torch.testing.assert_close(given_label[0], both[:1], **tight)
