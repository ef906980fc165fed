"""Where claims are found: the shipped papers, users' files, and help with misspelt names."""

import pickle
from pathlib import Path

import pytest

import sandbox.claims
from sandbox.bench import Paper, registry
from sandbox.bench.registry import UnknownClaimError, load_file, select, shipped

FIXTURES = Path(__file__).parent / "claims_fixture"
HEAD = "from sandbox.bench import Paper\nPAPER = Paper('mine', bibtex='')\n"
CLAIM = "@PAPER.claim('{0}', says='…', tag='paper')\ndef {0}(run): ...\n"


@pytest.fixture(autouse=True)
def _own_path(monkeypatch):
    monkeypatch.setattr("sys.path", list(__import__("sys").path))


def paper_of(key, *names):
    paper = Paper(key, bibtex="")
    for name in names:
        paper.claim(name, says="…", tag="paper")(lambda run: None)
    return paper


@pytest.fixture
def papers(monkeypatch):
    papers = [paper_of("huh2020curvature", "same-path", "straight-chord"),
              paper_of("saxe2014dynamics", "digits", "same-path")]  # fmt: skip
    monkeypatch.setattr(registry, "shipped", lambda: papers)
    return papers


def ids(*arguments, paper=None, everything=False):
    return [claim.id for claim in select(arguments, paper, everything)]


def test_claims_are_selected_in_order_and_once(papers):
    one, two = "huh2020curvature/same-path", "huh2020curvature/straight-chord"
    assert ids(two, one, two) == [two, one]
    assert ids(two, paper="huh2020curvature") == [two, one]
    assert ids(everything=True) == [
        one, two, "saxe2014dynamics/digits", "saxe2014dynamics/same-path",
    ]  # fmt: skip
    plain = ids(str(FIXTURES / "plain.py"), one)
    assert plain[0] == "me2026idea/holds"
    assert plain[-1] == one


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("huh2020curvature/same-pth", "did you mean huh2020curvature/same-path"),
        ("same-path", "saxe2014dynamics/same-path"),
        ("straigth-chord", "huh2020curvature/straight-chord"),
        ("qqq", "`sandbox list` shows them all"),
        ("saxe2014dynamics", "is a paper: use --paper saxe2014dynamics"),
        ("nowhere.py", "nowhere.py: no such file"),
    ],
)
def test_unknown_names_bring_the_nearest(papers, name, hint):
    with pytest.raises(UnknownClaimError) as caught:
        ids(name)
    assert name in str(caught.value)
    assert hint in str(caught.value)


def test_a_short_name_of_several_papers_brings_them_all(papers):
    with pytest.raises(UnknownClaimError) as caught:
        ids("same-path")
    assert "huh2020curvature/same-path" in str(caught.value)


def test_unknown_papers_and_nothing_at_all(papers):
    with pytest.raises(UnknownClaimError, match=r"unknown paper 'huh2020'; did you mean huh2020c"):
        ids(paper="huh2020")
    with pytest.raises(UnknownClaimError, match="give claim ids, a FILE.py, --paper P or --all"):
        ids()


def test_a_claim_stated_by_two_files_must_be_chosen(tmp_path, papers):
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(HEAD + CLAIM.format("same"))
    with pytest.raises(
        UnknownClaimError, match=r"mine/same is stated twice, by .*one\.py and .*tw"
    ):
        ids(str(tmp_path / "one.py"), str(tmp_path / "two.py"))
    assert ids(str(tmp_path / "one.py"), str(tmp_path / "one.py")) == ["mine/same"]


def test_files_of_one_name_are_two_modules(tmp_path):
    functions = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "claims.py").write_text(HEAD + CLAIM.format(f"in-{folder}"[3:]))
        functions.append(load_file(tmp_path / folder / "claims.py")[0].experiment)
    # a process pool sends functions by name
    assert [pickle.loads(pickle.dumps(f)) for f in functions] == functions


def test_a_file_states_only_its_own_claims(tmp_path):
    (tmp_path / "base.py").write_text(HEAD + CLAIM.format("old"))
    (tmp_path / "more.py").write_text("from base import PAPER\n" + CLAIM.format("new"))
    (tmp_path / "none.py").write_text("from base import PAPER\n")
    assert [claim.id for claim in load_file(tmp_path / "more.py")] == ["mine/new"]
    with pytest.raises(UnknownClaimError, match=r"none\.py: states no claim; decorate"):
        load_file(tmp_path / "none.py")


@pytest.mark.parametrize(
    ("text", "problem"),
    [("def f(:", "SyntaxError"), ("1 / 0", "ZeroDivisionError"), ("exit(0)", "SystemExit")],
)
def test_a_broken_file_says_where(tmp_path, text, problem):
    (tmp_path / "broken.py").write_text("import os\n" + text)
    with pytest.raises(UnknownClaimError) as caught:
        load_file(tmp_path / "broken.py")
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("broken.py: cannot be imported")
    assert any('broken.py", line 2' in line for line in lines)
    assert lines[-1].startswith(problem)


def test_shipped_papers_are_those_of_the_folders(tmp_path, monkeypatch):
    for key in ("zeta2020last", "alpha2020first"):
        folder = tmp_path / key
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        text = HEAD.replace("mine", key)
        (folder / "paper.py").write_text(text)
        for name in ("one", "two"):
            prefix = f"from sandbox.claims.{key}.paper import PAPER\n"
            (folder / f"{name}.py").write_text(prefix + CLAIM.format(name))
    monkeypatch.setattr(sandbox.claims, "__path__", [str(tmp_path)])
    found = shipped()
    assert [paper.key for paper in found] == ["alpha2020first", "zeta2020last"]
    assert [list(paper.claims) for paper in found] == [["one", "two"]] * 2
    (tmp_path / "zeta2020last/again.py").write_text(HEAD.replace("mine", "zeta2020last"))
    with pytest.raises(ValueError, match="a second paper 'zeta2020last'"):
        shipped()


def test_what_is_shipped_is_complete():
    papers = {paper.key: paper for paper in shipped()}
    assert {"huh2020curvature", "saxe2014dynamics"} <= set(papers)
    for paper in papers.values():
        assert paper.claims
        for field in ("title", "author", "year"):
            assert paper.bib(field), f"{paper.key} has no {field}"
        for claim in paper.claims.values():
            assert claim.says.endswith("."), claim.id
