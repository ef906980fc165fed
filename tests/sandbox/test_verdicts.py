"""Every shipped claim, run at ``quick`` through the store, has the verdict on record."""

import tomllib
from pathlib import Path

import pytest

from sandbox.bench.judgement import judge
from sandbox.bench.registry import shipped
from sandbox.bench.runner import run_claim
from sandbox.bench.sources import ROOT
from sandbox.bench.store import Store

RECORDED = tomllib.loads((Path(__file__).parents[1] / "verdicts.toml").read_text())
EXPECTED = {f"{paper}/{name}": v for paper, names in RECORDED.items() for name, v in names.items()}
CLAIMS = {claim.id: claim for paper in shipped() for claim in paper.claims.values()}


def test_the_record_names_exactly_the_shipped_claims():
    assert sorted(EXPECTED) == sorted(CLAIMS)


@pytest.mark.parametrize("claim_id", sorted(EXPECTED))
def test_verdict_is_as_recorded(claim_id):
    # the repository's own store: `make report` finds these results and does not compute them again
    record = run_claim(CLAIMS[claim_id], Store(ROOT / "runs"))
    found = [(c.name, judge(c).verdict.value, judge(c).error) for c in record.comparisons]
    assert record.verdict.value == EXPECTED[claim_id], (found, record.message)


# experiments that must agree with each other or with published numbers: nothing to derive
UNDERIVED = {
    "training/ensemble-equals-loop",
    "training/resume-equals-uninterrupted",
    "schug2021presynaptic/perceptron-table",
    "schug2021presynaptic/perceptron-controls",
    "schug2021presynaptic/injected-uniforms",
    "schug2021presynaptic/bridge-releases",
    "schug2021presynaptic/sjostrom-correlation",
    "schug2021presynaptic/consolidation-against-controls",
    "schug2021presynaptic/ablations",
    "schug2021presynaptic/fisher-relation",
    "schug2021presynaptic/fisher-within",
    "schug2021presynaptic/lesion-ordering",
    "schug2021presynaptic/energy-ordering",
    "schug2021presynaptic/program-against-printed",
    "benzing2022neurons/kfac-beats-natural",
    "benzing2022neurons/natural-not-ahead-of-sgd",
    "benzing2022neurons/foof-against-kfac",
    "benzing2022neurons/rare-refreshes",
    "benzing2022neurons/foof-step-costs-less",
    "benzing2022neurons/foof-gains-more-per-step",
    "aljundi2018memory/sensitivity-of-the-squared-norm",
    "aljundi2018memory/needs-no-labels",
    "aljundi2018memory/modulus-before-the-mean",
    "aljundi2018memory/protects",
    "aljundi2018memory/accumulates",
    "aytekin2019compressibility/strength-sparsifies",
    "aytekin2019compressibility/pruned-accuracy",
    "aytekin2019compressibility/fewer-bits",
    "aytekin2019compressibility/coder-near-entropy",
    "aytekin2019compressibility/nonzero-low-entropy",
    "benzing2022importance/path-sums-exceed-the-loss",
    "benzing2022importance/penalty-cuts-the-link",
    "benzing2022importance/logits-have-no-such-link",
    "benzing2022importance/removing-the-bias",
    "benzing2022importance/bias-alone-suffices",
    "benzing2022importance/repair-of-large-batches",
    "zenke2017synaptic/batches-overestimate",
    "zenke2017synaptic/protects-permuted",
    "zenke2017synaptic/protects-split",
    "zenke2017synaptic/order-of-cutting",
}


@pytest.mark.parametrize("claim_id", sorted(set(EXPECTED) - UNDERIVED))
def test_derivation_is_there_and_quick_to_state(claim_id):
    claim = CLAIMS[claim_id]
    assert claim.derivation is not None
    derivation = claim.derivation()
    assert derivation.latex()
    assert derivation.page
    assert (ROOT / "docs" / f"{derivation.page}.md").is_file()
