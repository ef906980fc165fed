"""Alice's step against a trace of six steps by hand."""

import numpy as np
import pytest
import torch

from sandbox.optim._alice_points import SignStream
from sandbox.optim.alice import Alice
from tests.sandbox.optim.alice_problems import kinked, minimising, parameter

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
SIGNS = [(1, 1), (1, -1), (-1, 1), (1, 1), (-1, 1), (1, -1)]
# six steps on the kinked loss below from (0.25, 0.2), lr 0.1, betas (0.5, 0.9), no quick steps:
# numbers of an independent numpy program
TRACES = {
    "adam bounds, size of curvature, glass": (
        {"lr_max": 0.2},
        {
            "gradient": (0.225452370493693, 0.14640600731371908),
            "glass": (0.9416666666666667, 0.635416666666667),
            "curvature": (3.2833333333333328, 1.9916666666666667),
            "second_moment": (0.29815319946370716, 0.4519721455592596),
            "mu": (0.10754027196917837, -0.007344399174036622),
            "nu": (0.09149786203774848, -0.021134667455024795),
        },
        0.008371240147360093,
    ),
    "fixed bounds, root mean square, glass, weight decay": (
        {
            "bounds": "fixed",
            "hessian": "rms",
            "lr_min": 0.01,
            "lr_max": 0.15,
            "weight_decay": (0.01, 0.02),
        },
        {
            "gradient": (0.24027593359026098, 0.2049601503841053),
            "glass": (1.3499999999999999, 0.7375000000000002),
            "curvature": (16.127066666666664, 5.281233333333334),
            "second_moment": (0.30603060749211003, 0.48971187198769983),
            "mu": (0.14475360526346506, -0.013658303575182228),
            "nu": (0.1312593911847766, -0.03291472762583339),
        },
        0.014971006518000053,
    ),
    "bounds of SGD, glass alone": (
        {"bounds": "sgdm", "hessian": "off", "lr_max": 0.5},
        {
            "gradient": (-0.01617270088254924, 0.016673669207838818),
            "glass": (0.9416666666666667, 0.635416666666667),
            "curvature": (3.2833333333333328, 1.9916666666666667),
            "second_moment": (0.305082807155398, 0.4614578100302405),
            "mu": (0.007060668360228376, -0.16002667773446744),
            "nu": (0.007351536931321382, -0.16048485405330415),
        },
        0.005987566054843734,
    ),
}


def given_signs(monkeypatch):
    drawn = iter(SIGNS)

    def draw(_, parameters):
        (only,) = parameters
        return [torch.tensor(next(drawn), dtype=only.dtype, device=only.device)]

    monkeypatch.setattr(SignStream, "draw", draw)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", TRACES)
def test_six_steps_by_hand(name, device, monkeypatch):
    options, wanted, loss = TRACES[name]
    w = parameter([0.25, 0.2], device=device)
    optimizer = Alice([w], 0.1, betas=(0.5, 0.9), quick_steps=0, **options)
    given_signs(monkeypatch)
    for _ in SIGNS:
        optimizer.step(minimising(optimizer, lambda: kinked(w)))
    state = optimizer.state[w]
    found = dict(state) | {"mu": w.detach(), "nu": w.detach() + state["ahead"]}
    for key, values in wanted.items():
        np.testing.assert_allclose(found[key].cpu().numpy(), values, rtol=0, atol=1e-12)
    assert kinked(w).item() == pytest.approx(loss, rel=0, abs=1e-12)
    assert state["step"] == 6


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", TRACES)
def test_float32_takes_the_same_steps(name, device):
    # not from (0.25, 0.2), where a probe lies on a kink; second differences of size 0.01 over
    # 0.1 lose two digits of seven
    found = []
    for dtype, where in ((torch.float64, "cpu"), (torch.float32, device)):
        w = parameter([0.257, 0.2], dtype, where)
        optimizer = Alice([w], 0.1, betas=(0.5, 0.9), quick_steps=0, **TRACES[name][0])
        for _ in range(6):
            optimizer.step(minimising(optimizer, lambda w=w: kinked(w)))
        state = optimizer.state[w]
        assert all(v.dtype == dtype for v in state.values() if isinstance(v, torch.Tensor))
        found.append([w.detach().cpu().double(), state["glass"].cpu().double()])
    for single, double in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(single, double, rtol=1e-4, atol=1e-4)
