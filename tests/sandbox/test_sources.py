"""Which files a claim rests on: a change in one of them, and in no other, changes its hash."""

import textwrap
from pathlib import Path

import pytest

from sandbox.bench import sources
from sandbox.bench.sources import code_hash, source_files

TREE = {
    "theory/__init__.py": "",
    "theory/checks.py": "X = 1",
    "deeplinear/__init__.py": """
        from deeplinear.rules import Rule
        from deeplinear.flow import flow as matrix_flow
        from deeplinear.inner import deep
        LATE = 3
    """,
    "deeplinear/rules.py": "class Rule: ...",
    "deeplinear/flow.py": """
        from deeplinear import _kernels
        def flow():
            from theory.checks import X
    """,
    "deeplinear/_kernels.py": "import numpy",
    "deeplinear/unrelated.py": "",
    "deeplinear/inner/__init__.py": "from .deep import deep",
    "deeplinear/inner/deep.py": "from .. import rules\nfrom . import twin\ndef deep(): ...",
    "deeplinear/inner/twin.py": "",
    "sandbox/__init__.py": "",
    "sandbox/claims/me/claims.py": "",
}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Write a small project and make it the one that is looked at."""
    for name, text in TREE.items():
        write(tmp_path / name, text)
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    monkeypatch.setattr(sources, "ALWAYS", ())
    return tmp_path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def rests_on(tree, text):
    claims = write(tree / "sandbox/claims/me/claims.py", text)
    found = {path.relative_to(tree).as_posix() for path in source_files(claims)}
    return found - {"sandbox/claims/me/claims.py"}


FLOW = {"deeplinear/flow.py", "deeplinear/_kernels.py", "theory/checks.py"}
DEEP = {"deeplinear/inner/deep.py", "deeplinear/inner/twin.py", "deeplinear/rules.py"}
PACKAGE = FLOW | DEEP | {"deeplinear/__init__.py"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import numpy, json", set()),
        ("import theory.checks as checks", {"theory/checks.py"}),
        ("from theory import checks", {"theory/checks.py"}),
        ("from theory.checks import X", {"theory/checks.py"}),
        ("def f():\n    from theory.checks import X", {"theory/checks.py"}),
        ("class A:\n    def f(self):\n        import theory.checks as c", {"theory/checks.py"}),
        ("if False:\n    from theory import checks", {"theory/checks.py"}),
        ("from deeplinear import Rule", {"deeplinear/rules.py"}),
        ("from deeplinear import Rule as R", {"deeplinear/rules.py"}),
        ("from deeplinear import matrix_flow", FLOW),
        ("from deeplinear import deep", DEEP),
        # a name that the package itself makes: all of the package
        ("from deeplinear import LATE", PACKAGE),
        ("from deeplinear import *", PACKAGE),
        ("import deeplinear", PACKAGE),
        # "deeplinear.matrix_flow" is within reach, too
        ("import deeplinear.rules", PACKAGE),
        ("import deeplinear.rules as rules", {"deeplinear/rules.py"}),
        ("from .other import thing", {"sandbox/claims/me/other.py"}),
        ("from ...claims.me import other", {"sandbox/claims/me/other.py"}),
    ],
)
def test_imports_are_followed_to_where_names_are_made(tree, text, expected):
    write(tree / "sandbox/claims/me/other.py", "thing = 1")
    assert rests_on(tree, text) == expected


def test_the_hash_changes_with_what_the_claim_rests_on_only(tree):
    claims = write(tree / "sandbox/claims/me/claims.py", "from deeplinear import matrix_flow")
    first = code_hash(claims)
    write(tree / "deeplinear/unrelated.py", "CHANGED = 1")
    write(tree / "deeplinear/rules.py", "class Rule:\n    changed = 1")
    assert code_hash(claims) == first
    hashes = {first}
    for name in sorted(FLOW):
        path = tree / name
        path.write_text(path.read_text() + "\n# mended\n")
        hashes.add(code_hash(claims))
    assert len(hashes) == 1 + len(FLOW)
    # moving a definition changes the way to it, seen by the same process
    write(tree / "deeplinear/__init__.py", "from deeplinear.rules import Rule as matrix_flow")
    assert {path.name for path in source_files(claims)} == {"claims.py", "rules.py"}


def test_a_name_that_hides_a_module_is_followed_both_ways(tree):
    write(tree / "deeplinear/__init__.py", "from deeplinear.rules import Rule as flow")
    assert rests_on(tree, "from deeplinear import flow") == FLOW | {"deeplinear/rules.py"}
    write(tree / "deeplinear/__init__.py", "from deeplinear import flow")
    assert rests_on(tree, "from deeplinear import flow") == FLOW


def test_circular_imports_end(tree):
    write(tree / "deeplinear/rules.py", "import deeplinear.flow as flow")
    write(tree / "deeplinear/_kernels.py", "import deeplinear.rules as rules")
    assert rests_on(tree, "from deeplinear import Rule") == FLOW | {"deeplinear/rules.py"}


def test_a_users_file_rests_on_what_lies_beside_it(tree, tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere")
    claims = write(folder / "mine.py", "import helper\nfrom tools import saw\nimport numpy")
    write(folder / "helper.py", "from theory.checks import X")
    write(folder / "tools/__init__.py", "from .sawing import saw")
    write(folder / "tools/sawing.py", "from tools.teeth import TEETH\ndef saw(): ...")
    write(folder / "tools/teeth.py", "TEETH = 9")
    write(folder / "tools/hammer.py", "")
    found = {path.name for path in source_files(claims)}
    assert found == {"mine.py", "helper.py", "checks.py", "sawing.py", "teeth.py"}
    # the folder's place on the disk does not matter, its contents do
    copy = folder.rename(folder.with_name("moved")) / "mine.py"
    first = code_hash(copy)
    (copy.parent / "tools/hammer.py").write_text("CHANGED = 1")
    assert code_hash(copy) == first
    (copy.parent / "tools/teeth.py").write_text("TEETH = 10")
    assert code_hash(copy) != first


def test_every_claim_rests_on_the_judge_and_on_the_real_tree():
    names = {path.name for path in source_files(Path(__file__).parent / "claims_fixture/slow.py")}
    assert {"slow.py", "comparison.py", "figures.py", "sweep.py", "claim.py"} <= names
    assert not names & {"report.py", "cli.py", "rules.py"}
