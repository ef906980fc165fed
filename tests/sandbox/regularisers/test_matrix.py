"""Every pair of the matrix trains two tasks, and goes on from a kill in the second."""

from __future__ import annotations

import functools

import pytest
import torch

from sandbox.regularisers import QuadraticPenalty, SynapticIntelligence
from sandbox.training.checkpoint import read_state
from tests.sandbox.regularisers.matrix_cases import (
    MODELS,
    OPTIMISERS,
    PAIRS,
    POSSIBLE,
    REFUSED,
    REGULARISERS,
    STEPS,
    impossible,
    train,
)


@functools.cache
def unprotected(optimiser, model, device="cpu"):
    return train(optimiser, None, model, device=device)


def goes_on(optimiser, regulariser, model, folder, device="cpu"):
    """Train, and go on from what a kill would have left; demand that the regulariser acted."""
    options = {"device": device}
    alone = train(optimiser, regulariser, model, folder / "a", killed=folder / "b", **options)
    place = read_state(folder / "b" / "state.safetensors")["position"]
    assert (place["task"], place["step"]) == (1, STEPS - 1)
    again = train(optimiser, regulariser, model, folder / "b", resume=True, **options)
    for part in alone:
        assert again[part] == alone[part], part
    assert alone["model"] != unprotected(optimiser, model, device)["model"]


@pytest.mark.parametrize(("optimiser", "regulariser", "model"), POSSIBLE)
def test_a_pair_trains_and_resumes(optimiser, regulariser, model, tmp_path):
    goes_on(optimiser, regulariser, model, tmp_path)


@pytest.mark.parametrize(("optimiser", "regulariser", "model"), REFUSED)
def test_an_impossible_pair_is_refused_with_the_reason(optimiser, regulariser, model):
    with pytest.raises(ValueError, match=impossible(optimiser, model)):
        train(optimiser, regulariser, model)


@pytest.mark.parametrize("lost", [QuadraticPenalty, SynapticIntelligence])
def test_a_run_that_forgets_part_of_its_state_is_found_out(lost, tmp_path, monkeypatch):
    monkeypatch.setattr(lost, "load_state_dict", lambda *_: None)
    with pytest.raises(AssertionError, match="protection|model"):
        goes_on("adam", "si", "plain", tmp_path)


def test_numbers_of_pairs_and_of_refusals():
    assert (len(OPTIMISERS), len(REGULARISERS), len(MODELS)) == (12, 16, 2)
    assert (len(PAIRS), len(POSSIBLE), len(REFUSED)) == (384, 272, 112)
    assert len(set(PAIRS)) == len(PAIRS)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize(("optimiser", "model"), [("adam", "plain"), ("presynaptic", "stochastic")])
@pytest.mark.parametrize("regulariser", ["ewc", "sos-large-batch", "ratio-norm-tensor"])
def test_pairs_train_and_resume_on_a_gpu(optimiser, regulariser, model, tmp_path):
    goes_on(optimiser, regulariser, model, tmp_path, "cuda")
