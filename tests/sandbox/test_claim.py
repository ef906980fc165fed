"""Papers, claims, runs and records: what users write is checked where they write it."""

import functools
import io
from pathlib import Path

import pytest

from sandbox.bench import Comparison, Paper, Run, Verdict, lazy
from sandbox.bench.needs import NEEDS, Need, missing
from sandbox.bench.record import Record, Settings, strain
from sandbox.bench.sweep import SerialExecutor
from theory.streams import Streams


@pytest.fixture
def paper():
    return Paper("me2026idea", bibtex="@misc{me}")


def run_at(scale, folder=Path(), **rest):
    return Run(scale, Streams(0), "cpu", SerialExecutor(), folder, **rest)


def test_a_claim_knows_its_name_and_file(paper):
    @paper.claim("one-is-one", says="So it is.", tag="derived", needs=["g++"])
    def one(run):
        """Return nothing."""

    claim = paper.claims["one-is-one"]
    assert claim.id == "me2026idea/one-is-one"
    assert claim.file == Path(__file__)
    assert claim.experiment is one
    assert claim.needs == ("g++",)


def test_a_decorated_experiment_keeps_its_file(paper):
    @functools.wraps(test_the_scale_picks)
    def wrapped(run):
        """Stand for a decorator that lives in another module."""

    wrapped.__wrapped__ = test_the_scale_picks
    paper.claim("wrapped", says="…", tag="paper")(wrapped)
    assert paper.claims["wrapped"].file == Path(__file__)


@pytest.mark.parametrize(
    ("name", "rest", "message"),
    [
        ("Same Path", {}, "must be kebab-case"),
        ("a--b", {}, "must be kebab-case"),
        ("x", {"tag": "proved"}, "tag = 'proved': must be one of"),
        ("x", {"needs": ["fpga"]}, "'fpga' is unknown; known: gpu"),
        ("taken", {}, "already has a claim of that name"),
    ],
)
def test_malformed_claims_are_refused(paper, name, rest, message):
    asked = {"says": "…", "tag": "paper"}
    paper.claim("taken", **asked)(lambda run: None)
    with pytest.raises(ValueError, match=message):
        paper.claim(name, **(asked | rest))
    assert list(paper.claims) == ["taken"]


def test_only_functions_are_experiments(paper):
    with pytest.raises(TypeError, match="me2026idea/x: 3 must be a function"):
        paper.claim("x", says="…", tag="paper")(3)


def test_papers_need_a_plain_key():
    with pytest.raises(ValueError, match="lower-case"):
        Paper("../up", bibtex="")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("@a{x, title={An {I}dea {of {S}orts}}, year={2026}}", "An Idea of Sorts"),
        ('@a{x, title="An {"}idea{"}", year=2026}', 'An "idea"'),
        ("@a{x, booktitle={Not this}, title = {This}}", "This"),
        ("@a{x, Title={Upper}}", "Upper"),
        ("@a{x, title={Over\n   two lines}}", "Over two lines"),
        (r"@a{x, title={Ten \% \& more}}", "Ten % & more"),
        ("@a{x}", "me2026idea"),
    ],
)
def test_titles_come_from_bibtex(entry, expected):
    assert Paper("me2026idea", bibtex=entry).title == expected


def test_bare_bibtex_numbers_are_read():
    assert Paper("me2026idea", bibtex="@a{x, year = 2026, month=may}").bib("year") == "2026"


def test_the_scale_picks():
    values = {"quick": 1, "full": 2, "paper": 3}
    assert [run_at(scale).pick(**values) for scale in values] == [1, 2, 3]
    assert run_at("paper").pick(quick=1, full=2) == 2
    assert run_at("full").pick(quick=0, full=0, paper=1) == 0


def test_progress_is_silent_unless_asked(monkeypatch):
    for asked in (False, True):
        stderr = io.StringIO()
        monkeypatch.setattr("sys.stderr", stderr)
        assert list(run_at("quick", show_progress=asked).progress([1, 2], label="work")) == [1, 2]
        assert ("work" in stderr.getvalue()) is asked


def test_lazy_imports_when_called():
    late = lazy("no_such_module:thing")
    with pytest.raises(ModuleNotFoundError):
        late()


def test_a_gpu_that_is_not_to_be_used_is_missing(monkeypatch):
    monkeypatch.setitem(NEEDS, "gpu", Need(lambda: True, "buy one"))
    assert missing(["gpu"], "cuda") == []
    assert missing(["gpu"]) == ["gpu: buy one"]
    monkeypatch.setitem(NEEDS, "g++", Need(lambda: False, "install it"))
    assert missing(["g++", "gpu"], "cuda") == ["g++: install it"]


def compared(name, predicted, measured, tolerance, **rest):
    return Comparison(name, predicted, measured, tolerance, "test", **rest)


def record_of(*comparisons, **rest):
    return Record("a/b", list(comparisons), 1.23456, Settings(), {}, **rest)


def test_the_decisive_comparison_is_the_worst_and_nearest_its_tolerance():
    easy, tight = compared("easy", 1.0, 1.1, 1.0), compared("tight", 1.0, 1.9, 1.0)
    assert record_of(tight, easy).decisive()[0] is tight
    wrong, worse = compared("wrong", 1.0, 1.2, 0.1), compared("worse", 1.0, 9.0, 0.1)
    assert record_of(worse, tight, wrong).decisive()[0] is worse
    exact = compared("exact", 1.0, 1.0 + 2**-52, 0.0)
    assert record_of(exact, worse).decisive()[0] is exact  # no tolerance at all: beyond measure
    assert record_of().decisive() is None


def test_strain_counts_tolerances():
    half = record_of(compared("half", 1.0, 1.25, 0.5)).decisive()
    assert strain(*half) == 0.5
    assert strain(*record_of(compared("none", 1.0, 1.0, 0.0)).decisive()) == 0.0


def test_the_summary_is_flat_and_fit_for_json():
    summary = record_of(compared("far", float("inf"), 1.0, 0.5, relation="at_least")).summary()
    assert summary == {
        "id": "a/b", "verdict": "fails", "relation": "at_least", "predicted": "inf",
        "measured": 1.0, "tolerance": 0.5, "error": "inf", "seconds": 1.235,
    }  # fmt: skip
    stopped = record_of(stopped=Verdict.ERROR).summary()
    assert stopped["verdict"] == "error"
    assert {stopped[name] for name in ("relation", "predicted", "measured", "error")} == {None}
