"""The command line: what it prints where, what it refuses, and how it ends."""

import json
from pathlib import Path

import pytest

from sandbox import cli
from sandbox.bench import Comparison, Paper, registry
from sandbox.bench.needs import NEEDS, Need

PLAIN = str(Path(__file__).parent / "claims_fixture/plain.py")
KEYS = ["id", "verdict", "relation", "predicted", "measured", "tolerance", "error", "seconds"]

pytestmark = pytest.mark.usefixtures("somewhere_else")


@pytest.fixture
def papers(monkeypatch, quick):
    """Ship two small papers instead of the real ones."""
    called = []

    def ship(key, *names):
        paper = Paper(key, bibtex=f"@misc{{{key}, title={{On {key}}}}}")
        for name in names:

            def experiment(run, name=name):
                called.append((key, name, run.scale, run.device))
                return Comparison("one", 1.0, 1.0, 0.0, "exact")

            paper.claim(name, says=f"About {name}.", tag="derived")(experiment)
        return paper

    two = [ship("first2020", "one", "two"), ship("second2020", "three")]
    for module in (registry, cli):
        monkeypatch.setattr(module, "shipped", lambda: two)
    return called


def test_list_names_every_paper_and_claim(sandbox, papers):
    code, out, err = sandbox("list")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "first2020: On first2020",
        "  one  derived   About one.",
        "  two  derived   About two.",
        "second2020: On second2020",
        "  three  derived   About three.",
    ]


def test_without_arguments_there_is_help_and_the_version_is_the_packages(sandbox):
    code, out, _ = sandbox()
    assert code == 0
    for command in ("list", "show", "run", "report", "cite"):
        assert command in out
    from importlib.metadata import version

    assert sandbox("--version")[:2] == (0, version("neurotheory-sandbox") + "\n")


@pytest.mark.parametrize("command", ["list", "show", "run", "report", "cite"])
def test_every_command_has_help(sandbox, command):
    code, out, err = sandbox(command, "--help")
    assert (code, err) == (0, "")
    assert f"Usage: sandbox {command}" in out


def test_show_tells_statement_derivation_source_and_bibtex(sandbox):
    code, out, err = sandbox("show", PLAIN)
    assert (code, err) == (0, "")
    parts = [
        "me2026idea/holds  [derived]",
        "Squares are <b>squares</b> & nothing else.",
        "The square",
        "1. Take a number & hold it.",
        "LaTeX:",
        "% Multiply <it> by itself.",
        "Stated in ",
        "plain.py",
        "@article{me2026idea,",
    ]
    places = [out.find(part) for part in parts]
    assert -1 not in places
    assert places == sorted(places)
    assert "Needs: gpu" in out


def test_cite_prints_bibtex_once(sandbox, papers):
    assert sandbox("cite", "first2020/two")[:2] == (0, "@misc{first2020, title={On first2020}}\n")
    code, out, _ = sandbox("cite", PLAIN)
    assert code == 0
    assert out.count("@article{me2026idea") == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["first2020/two"], ["two"]),
        (["first2020/two", "first2020/one", "first2020/two"], ["two", "one"]),
        (["--paper", "first2020"], ["one", "two"]),
        (["second2020/three", "--paper", "first2020"], ["three", "one", "two"]),
        (["--all"], ["one", "two", "three"]),
    ],
)
def test_run_runs_what_is_named(sandbox, papers, arguments, expected):
    code, out, _ = sandbox("run", *arguments, "--scale", "full")
    assert code == 0
    assert [name for _, name, _, _ in papers] == expected
    assert {scale for _, _, scale, _ in papers} == {"full"}
    assert [line.split()[0] for line in out.splitlines()] == ["holds"] * len(expected)
    again = sandbox("run", *arguments, "--scale", "full")
    assert again[1].count("; known)") == len(expected)
    assert len(papers) == len(expected)


def test_results_go_where_they_are_asked_to(sandbox, papers, tmp_path):
    sandbox("run", "--all", "--out", tmp_path / "deep/results")
    assert len(list((tmp_path / "deep/results").rglob("result.parquet"))) == 3
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "give claim ids, a FILE.py, --paper P or --all"),
        (["run", "first2020/tow"], "did you mean first2020/two"),
        (["run", "first2020"], "use --paper first2020"),
        (["run", "--paper", "frist2020"], "did you mean first2020"),
        (["run", "nowhere.py"], "nowhere.py: no such file"),
        (["run", "--all", "--scale", "huge"], '"huge"'),
        (["run", "--all", "--seed", "-1"], "Must be >= 0"),
        (["run", "--all", "--seed", str(2**128)], 'Invalid value "3402823'),
        (["run", "--all", "--seed", "one"], "'one' is not a whole number"),
        (["run", "--all", "--seed", "2.5"], "'2.5' is not a whole number"),
        (["run", "--all", "--workers", "0"], "Must be >= 1"),
        (["run", "--all", "--device", "tpu"], '"tpu"'),
        (["run", "--all", "--out", "/dev/null"], "--out /dev/null: "),
        (["run", "--all", "--wrokers", "2"], "--wrokers"),
        (["show", "first2020/tow"], "did you mean first2020/two"),
        (["show"], "CLAIM"),
        (["cite", "third"], "unknown claim 'third'"),
        (["report", "third"], "unknown claim 'third'"),
        (["dance"], 'Unknown command "dance"'),
    ],
)
def test_mistakes_end_with_2_and_a_message_on_stderr(sandbox, papers, arguments, message):
    for more in ([], ["--json"]) if arguments[0] == "run" else ([],):
        code, out, err = sandbox(*arguments, *more)
        assert (code, out) == (2, "")
        assert message in err
        assert "Traceback" not in err
    assert papers == []


def test_a_gpu_that_is_not_there_is_a_mistake(sandbox, papers, monkeypatch):
    monkeypatch.setitem(NEEDS, "gpu", Need(lambda: False, ""))
    code, out, err = sandbox("run", "--all", "--device", "cuda", "--json")
    assert (code, out) == (2, "")
    assert "--device cuda: torch sees no CUDA device; use --device cpu" in err
    monkeypatch.setitem(NEEDS, "gpu", Need(lambda: True, ""))
    assert sandbox("run", "--all", "--device", "cuda")[0] == 0
    assert {device for *_, device in papers} == {"cuda"}


def test_a_run_prints_a_line_a_claim_and_tells_of_errors(sandbox, quick):
    code, out, _ = sandbox("run", PLAIN)
    assert code == 1
    lines = [line for line in out.splitlines() if not line.startswith(" ")]
    assert [line.split()[:2] for line in lines] == [
        ["holds", "me2026idea/holds"],
        ["fails", "me2026idea/fails"],
        ["inconclusive", "me2026idea/unsure"],
        ["error", "me2026idea/raises"],
        ["skipped", "me2026idea/needy"],
        ["fails", "me2026idea/endless"],
    ]
    assert "(error 0.04, tolerance 0.001; 0.0 s)" in lines[1]
    assert "(error inf, tolerance 1e-09; 0.0 s)" in lines[5]
    assert "RuntimeError: <boom> & bust" in out
    assert "needs gpu: run on a machine with a CUDA device" in out


def test_verdicts_do_not_change_the_exit_status(sandbox, papers, monkeypatch):
    wrong = Comparison("one", 1.0, 2.0, 0.0, "exact")
    claim = next(iter(cli.shipped()[0].claims.values()))
    object.__setattr__(claim, "experiment", lambda run: wrong)
    code, out, _ = sandbox("run", "first2020/one")
    assert code == 0
    assert out.startswith("fails")


def test_json_is_one_object_a_claim(sandbox, quick):
    code, out, err = sandbox("run", PLAIN, "--json")
    assert code == 1
    rows = [json.loads(line, parse_constant=pytest.fail) for line in out.splitlines()]
    assert all(list(row) == KEYS for row in rows)
    by_name = {row["id"].partition("/")[2]: row for row in rows}
    assert list(by_name) == ["holds", "fails", "unsure", "raises", "needy", "endless"]
    seconds = by_name["fails"].pop("seconds")
    assert 0 <= seconds < 10
    assert by_name["fails"] == {
        "id": "me2026idea/fails", "verdict": "fails", "relation": "equals", "predicted": 4.04,
        "measured": 4.0, "tolerance": 1e-3, "error": pytest.approx(0.04),
    }  # fmt: skip
    assert by_name["endless"]["predicted"] == by_name["endless"]["error"] == "inf"
    # of five comparisons that hold, the one nearest its tolerance
    assert by_name["holds"]["relation"] == "inside"
    for name, verdict in (("raises", "error"), ("needy", "skipped")):
        row = by_name[name]
        assert row["verdict"] == verdict
        assert [row[key] for key in KEYS[2:7]] == [None] * 5


def test_report_writes_the_page(sandbox, quick, tmp_path):
    sandbox("run", PLAIN, "--seed", "4")
    code, out, _ = sandbox("report", PLAIN, "--seed", "4", "--out", "page")
    assert (code, out) == (0, "page/index.html\n")
    text = (tmp_path / "page/index.html").read_text()
    assert "me2026idea/holds" in text
    assert "first2020" not in text
