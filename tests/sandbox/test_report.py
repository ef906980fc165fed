"""The report: one page that stands alone, leaves nothing out and can be read on a phone."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from sandbox.bench import Axis, Comparison, Paper, runner
from sandbox.bench.record import Record, Settings
from sandbox.bench.registry import load_file
from sandbox.bench.report import write_report
from sandbox.bench.runner import run_claim
from sandbox.bench.store import Store
from theory.derivation import Derivation, Step

PLAIN = Path(__file__).parent / "claims_fixture/plain.py"
ABOUT = {
    "commit": "abc123", "finished": "2026-01-01", "python": "3", "versions": {}, "processor": "x",
    "cores": 2,
}  # fmt: skip


class Page(HTMLParser):
    """Gathers tags and visible text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.words = [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag, name):
        return [attrs[name] for t, attrs in self.tags if t == tag and name in attrs]


def draw_an_empty_figure(claim, comparisons, folder):
    """Stand for the bench's figures: as wide, and much quicker."""
    Figure(figsize=(10.8, 3.9)).savefig(folder / "figure.svg")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Run the sample file once and write its report."""
    folder = tmp_path_factory.mktemp("site")
    before = list(sys.path)
    claims = load_file(PLAIN)
    store = Store(folder / "runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "_draw", draw_an_empty_figure)
        for claim in claims:
            if claim.name != "unsure":  # left out on purpose: it must show as not run
                run_claim(claim, store)
    write_report([claims[0].paper], claims, store, folder)
    sys.path[:] = before
    return folder


@pytest.fixture(scope="module")
def page(site):
    return Page(site / "index.html")


def section(page, claim_id):
    """Return the source of one claim's article."""
    return re.search(rf'<article id="{claim_id}">.*?</article>', page.source, re.DOTALL)[0]


NAMES = ["holds", "fails", "unsure", "raises", "needy", "endless"]


def test_the_page_needs_no_network(page):
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "video", "audio"}
    assert all(source.startswith("data:") for source in page.all("img", "src"))
    assert page.all("img", "src")
    assert not re.search(r"url\(|@import|srcset=", page.source)
    outside = [href for href in page.all("a", "href") if not href.startswith("#")]
    assert outside == ["https://doi.org/10.1000/182"]  # the citation, and nothing else
    for _, attrs in page.tags:
        assert not any(name.startswith("on") for name in attrs)


def test_every_claim_is_there_with_its_verdict(page):
    verdicts = ["holds", "fails", "not run", "error", "skipped", "fails"]
    for name, verdict in zip(NAMES, verdicts, strict=True):
        article = section(page, f"me2026idea/{name}")
        assert re.search(rf'<span class="badge [a-z-]*">{verdict}</span>', article)
    targets = [href[1:] for href in page.all("a", "href") if href.startswith("#")]
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert set(targets) <= set(ids)
    assert len(ids) == len(set(ids))
    assert [i for i in ids if "/" in i] == [f"me2026idea/{name}" for name in NAMES]
    for count in ("1 holds", "2 fails", "1 not run", "1 error", "1 skipped"):
        assert f">{count}</span>" in page.source


def test_the_reproduction_table_is_honest(page):
    table = page.source[page.source.index('id="papers"') : page.source.index('id="claims"')]
    assert table.count("does not hold") == 2
    for words in ("not attempted", "not run", "error", "skipped", "Everything &lt;else&gt;"):
        assert words in table
    assert "no time &amp; no money" in table
    assert "Me, A. and You, B. (2026)" in page.text


def test_words_of_users_are_never_markup(page):
    for raw in ("<b>squares</b>", "<boom>", "<else>", "<Mine>", "<it>"):
        assert raw not in page.source
    for shown in ("Squares are <b>squares</b> & nothing else.", "<boom> & bust",
                  "Multiply <it> by itself.", "An Idea of <Mine> & yours"):  # fmt: skip
        assert shown in page.text


def test_a_claim_is_told_in_full(page):
    article = section(page, "me2026idea/holds")
    assert "<math" in article
    assert "1 identities checked" not in article
    assert "1 identity checked by computer algebra" in article
    assert article.count("<h4>") == 5
    assert "|measured − predicted| relative to |predicted| ≤ 1e-12" in article
    assert "largest step against the order &lt; 0" in article
    assert "Interval: 95 % interval over 9 seeds." in article
    assert "area (m²): predicted" in article
    assert "1.1 ± 0.15" in article
    assert re.search(r"sandbox run \S*plain\.py --scale quick --seed 0", article)
    assert "RuntimeError" in section(page, "me2026idea/raises")
    assert "needs gpu: run on a machine" in section(page, "me2026idea/needy")
    endless = section(page, "me2026idea/endless")
    assert "found inf" in endless
    assert '<td class="number">inf</td><td class="number">7</td>' in endless


def one_claim(tmp_path, *comparisons, key="a2020b", derivation=None, settings=None, **rest):
    """Write the report of one claim that found these comparisons."""
    paper = Paper(key, bibtex="@misc{a}")
    asked = {"says": "…", "tag": "paper", "derivation": derivation}
    paper.claim("c", **asked)(lambda run: None)
    claim = paper.claims["c"]
    store, settings = Store(tmp_path / "runs"), settings or Settings()
    store.save(claim, Record(claim.id, list(comparisons), 1.0, settings, ABOUT))
    options = {"seed": settings.seed, "device": settings.device} | rest
    return Page(write_report([paper], [claim], store, tmp_path / "page", **options))


def test_long_tables_are_cut_and_keep_the_worst(tmp_path):
    values = np.zeros((40, 50))
    measured = values.copy()
    measured[17, 31] = 0.5
    axes = (Axis("time", tuple(range(40)), "s"), Axis("mode", tuple(range(50))))
    page = one_claim(tmp_path, Comparison("many", values, measured, 0.1, "test", axes=axes))
    assert "1988 more elements" in page.text
    worst = re.search(r'<tr class="worst".*?</tr>', page.source, re.DOTALL)[0]
    assert re.findall(r"<td[^>]*>([^<]*)</td>", worst) == ["17", "31", "0", "0.5", "5.0e-01"]
    assert page.source.count("<td>39</td><td>49</td>") == 1  # the last element, too


def test_the_bar_is_logarithmic_and_marks_the_tolerance(tmp_path):
    def width(measured, tolerance):
        page = one_claim(tmp_path, Comparison("x", 0.0, measured, tolerance, "test"))
        shutil.rmtree(tmp_path / "runs")
        mark = float(re.search(r'<b style="left:([0-9.]+)%', page.source)[1])
        assert mark == pytest.approx(600 / 7, abs=0.06)
        return float(re.search(r'<i style="width:([0-9.]+)%', page.source)[1])

    assert width(1.0, 1.0) == pytest.approx(600 / 7, abs=0.06)
    assert width(1e-3, 1.0) == pytest.approx(300 / 7, abs=0.06)
    assert (width(0.0, 1.0), width(1e9, 1.0), width(1e-9, 0.0)) == (0.0, 100.0, 100.0)


def test_a_claim_can_be_run_again_as_it_was(tmp_path):
    good = Comparison("x", 0.0, 0.0, 0.0, "test")
    page = one_claim(tmp_path, good, settings=Settings("full", 7, "cuda"))
    assert "--scale full --seed 7 --device cuda" in page.text
    missing = one_claim(tmp_path, good, settings=Settings("full", 7), seed=8)
    assert "not run" in missing.text
    assert "--scale quick --seed 8" in missing.text


def test_the_largest_scale_is_shown_and_the_others_are_told(tmp_path):
    paper = Paper("a2020b", bibtex="@misc{a}")
    paper.claim("c", says="…", tag="paper")(lambda run: None)
    claim, store = paper.claims["c"], Store(tmp_path / "runs")
    for scale, measured in (("quick", 0.0), ("full", 5.0)):
        found = Comparison("x", 0.0, measured, 0.1, "test")
        store.save(claim, Record(claim.id, [found], 1.0, Settings(scale), ABOUT))
    page = Page(write_report([paper], [claim], store, tmp_path))
    assert "fails paper · scale full" in page.text
    assert "Also at scale quick: holds" in page.text


def test_results_of_earlier_code_are_told_and_not_counted(tmp_path, monkeypatch):
    source = tmp_path / "mine.py"
    text = (
        "from sandbox.bench import Comparison, Paper\nP = Paper('mine', bibtex='')\n"
        "@P.claim('c', says='…', tag='paper')\ndef c(run): ...\n"
    )
    store = Store(tmp_path / "runs")
    monkeypatch.setattr("sys.path", list(sys.path))
    source.write_text(text)
    (old,) = load_file(source)
    good = Comparison("x", 0.0, 0.0, 0.0, "test")
    store.save(old, Record(old.id, [good], 1.0, Settings("full"), ABOUT))
    source.write_text(text + "# mended\n")
    (new,) = load_file(source)
    page = Page(write_report([new.paper], [new], store, tmp_path))
    assert "Earlier code, not counted: scale full, holds, commit abc123" in page.text
    assert "1 not run" in page.text


def broken():
    raise RuntimeError("no <proof>")


def unreadable():
    class Formula:
        def _latex(self, printer):
            return r"\begin{matrix}"

    return Derivation("Odd", (Step("Look.", Formula()),))


@pytest.mark.parametrize("derivation", [broken, unreadable])
def test_a_broken_derivation_does_not_take_the_report_along(tmp_path, derivation):
    page = one_claim(tmp_path, Comparison("x", 0.0, 0.0, 0.0, "t"), derivation=derivation)
    assert "Derivation: it could not be made" in page.text
    assert "Traceback" in page.text
    assert "1 holds" in page.text


def test_an_empty_store_makes_a_page_too(tmp_path):
    claims = load_file(PLAIN)
    page = Page(write_report([claims[0].paper], claims, Store(tmp_path / "runs"), tmp_path))
    assert "6 not run" in page.text
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


CHROMIUM = next(filter(None, map(shutil.which, (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
))), None)  # fmt: skip
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--enable-logging=stderr", "--v=0", "--virtual-time-budget=5000", "--dump-dom",
]  # fmt: skip
# no window is as narrow as a phone, so the pages are shown in frames that are
FRAMES = """<!doctype html><meta charset="utf-8">
{frames}<pre id="probe"></pre><script>
const found = {{}}, probe = document.getElementById("probe");
addEventListener("message", event => {{
  found[event.data.page] = event.data;
  probe.textContent = JSON.stringify(found);
}});
</script>"""
PROBE = """<script>addEventListener("load", () => {
const images = [...document.images], math = [...document.querySelectorAll("math")];
for (const d of document.querySelectorAll("details")) d.open = true;
parent.postMessage({page: PAGE, window: innerWidth, scrolls: document.documentElement.scrollWidth,
  broken: images.filter(image => !image.naturalWidth).length, images: images.length,
  formulas: math.map(m => m.getBoundingClientRect().height), title: document.title}, "*");
});</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome on the path")
def test_the_page_can_be_read_on_a_phone(site, tmp_path):
    source = (site / "index.html").read_text(encoding="utf-8")
    # the control shows that the probe sees what it is to see
    control = source.replace("<main>", '<main><p style="width: 2000px">wide</p><img src="data:,">')
    for name, text in (("page", source), ("control", control)):
        probed = text.replace("</body>", PROBE.replace("PAGE", f"'{name}'") + "</body>")
        (tmp_path / f"{name}.html").write_text(probed, encoding="utf-8")
    frame = '<iframe src="{}.html" style="width: 360px; height: 780px; border: 0"></iframe>'
    frames = "".join(map(frame.format, ("page", "control")))
    (tmp_path / "frames.html").write_text(FRAMES.format(frames=frames), encoding="utf-8")
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "frames.html"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(re.search(r'<pre id="probe">(.*?)</pre>', done.stdout)[1])
    page, control = found["page"], found["control"]
    assert [line for line in done.stderr.splitlines() if ":CONSOLE" in line] == []
    assert page["title"].startswith("Theory against experiment")
    assert page["window"] == control["window"] == 360
    assert page["scrolls"] <= 360
    assert control["scrolls"] >= 2000
    assert (page["broken"], control["broken"]) == (0, 1)
    assert page["images"] == 3
    assert min(page["formulas"]) > 5  # pixels: the browser lays formulas out
