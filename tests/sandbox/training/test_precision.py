"""Mixed precision: forward and backward in bfloat16, parameters, loss and update in float32."""

import copy

import pytest
import torch
from small_training import bits, network, tiny
from torch import nn
from torch.optim import SGD

from deeplinear.rules import CurvatureCorrection
from sandbox.optim import CurvatureCorrected
from sandbox.optim.foof import FOOF
from sandbox.optim.kfac import KFAC
from sandbox.optim.natural import NaturalGradient
from sandbox.training.descent import Descent
from sandbox.training.ensembles import fit_ensemble
from sandbox.training.loop import fit
from sandbox.training.models import wide_resnet18
from sandbox.training.objective import Batch, evaluate, loss_function
from sandbox.training.plan import Plan
from theory.streams import Streams

MIXED = Plan(epochs=3, batch_size=10, precision="bfloat16-mixed")
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
        ],
    ),
]


def train(model, optimizer, plan=MIXED, **options):
    return fit(model, tiny(), optimizer, plan, streams=Streams(0), **options)


@pytest.mark.parametrize("device", DEVICES)
def test_the_loop_is_autocast_written_out(device):
    model = network().to(device)
    twin, seen = copy.deepcopy(model), []
    history = train(
        model, SGD(model.parameters(), 0.1),
        hooks={"gradient": lambda now: seen.append(now.loss.clone())},
    )  # fmt: skip
    other = SGD(twin.parameters(), 0.1)
    inputs = torch.tensor(tiny().train.inputs, dtype=torch.float32, device=device)
    targets = torch.tensor(tiny().train.targets, device=device)
    losses = []
    for epoch in range(3):
        order = Streams(0).generator("order/0", epoch).permutation(46)
        for start in range(0, 40, 10):
            rows = torch.from_numpy(order[start : start + 10]).to(device)
            other.zero_grad()
            with torch.autocast(device, dtype=torch.bfloat16):
                outputs = twin(inputs[rows])
            assert outputs.dtype == torch.bfloat16
            loss = nn.functional.cross_entropy(outputs.float(), targets[rows])
            loss.backward()
            other.step()
            losses.append(loss.detach())
    assert bits(seen) == bits(losses)
    assert bits(dict(model.state_dict())) == bits(dict(twin.state_dict()))
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert {loss.dtype for loss in seen} == {torch.float32}
    # evaluated as it was trained
    test = tiny().test
    batch = Batch.of(test, "cross-entropy", dtype=torch.float32, device=torch.device(device))
    law = loss_function("cross-entropy")
    found = evaluate(model, batch, law, (), "bfloat16-mixed")
    assert found.loss == history.final["test_loss"]
    exact = evaluate(model, batch, law)
    # bfloat16 has 8 bits: relative errors of 2^-9 in each of three operations
    assert 0 < abs(found.loss - exact.loss) < 0.03 * (1 + exact.loss)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "build",
    [
        lambda m: FOOF(m, 0.1, 0.5, T=3, S=2),
        lambda m: FOOF(m, 0.1, 0.5, side="activation"),
        lambda m: KFAC(m, 0.05, 0.1, T=3, S=2),
        lambda m: NaturalGradient(m, 0.03, 0.1),
    ],
    ids=["foof", "foof, activation", "kfac", "natural"],
)
def test_factors_are_found_in_mixed_passes_too(build, device):
    """Training in mixed precision lowers the loss about as much as in full."""
    found = []
    for precision in ("full", "bfloat16-mixed"):
        model = network().to(device)
        plan = Plan(epochs=8, batch_size=10, precision=precision)
        history = train(model, build(model), plan)
        assert not history.stopped
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        found.append(history.column("train_loss")[[1, -1]].tolist())
    assert found[0] != found[1]
    assert all(last < 0.8 * first for first, last in found)
    # bfloat16 has 8 bits, losses are below 2
    assert abs(found[0][1] - found[1][1]) < 0.1


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("loss", ["squared", "reconstruction"])
def test_squared_errors_are_summed_in_float32(loss, device):
    model = network(outputs=6 if loss == "reconstruction" else 4).to(device)
    seen = []
    plan = Plan(epochs=1, batch_size=10, loss=loss, precision="bfloat16-mixed")
    train(model, SGD(model.parameters(), 0.01), plan, hooks={
        "gradient": lambda now: seen.append(now.loss),
    })  # fmt: skip
    assert {value.dtype for value in seen} == {torch.float32}


def test_a_deep_network_with_normalisation_trains_in_mixed_precision():
    model = wide_resnet18((2, 3), 4, streams=Streams(0), width=1 / 32, batch_norm=True)
    history = train(model, SGD(model.parameters(), 0.1), Plan(4, 20, precision="bfloat16-mixed"))
    losses = history.column("train_loss")[1:]
    assert losses[-1] < losses[0]
    assert {b.dtype for b in model.buffers()} == {torch.float32, torch.int64}


@pytest.mark.bad_input
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_mixed_precision_is_for_float32(dtype):
    model = network(dtype=dtype)
    with pytest.raises(ValueError, match="is for parameters in float32, and '0.weight' is"):
        train(model, SGD(model.parameters(), 0.1))


@pytest.mark.bad_input
def test_where_there_is_no_mixed_precision_it_is_refused():
    model = network()
    rule = CurvatureCorrection(power=0.5, damping=0.1)
    exact = CurvatureCorrected(model.parameters(), rule, 0.1, "cross_entropy")
    with pytest.raises(ValueError, match="forms exact derivatives"):
        train(model, exact)
    with pytest.raises(ValueError, match="precision = bfloat16-mixed: an ensemble does without"):
        fit_ensemble([model], tiny(), Descent("sgd"), MIXED, streams=Streams(0))
    with pytest.raises(ValueError, match="precision = 'half': must be one of 'full'"):
        Plan(precision="half")
