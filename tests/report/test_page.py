"""The page: whole, self-contained, for everybody; the same numbers as the terminal."""

import json
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipelines.frame.params_reader import read_params
from pipelines.report.page import Inlined, Picture, columns_of_figures, minus, page
from tests.conftest import run_in

_VOID = {"meta", "br", "hr", "img", "input", "link"}
_PICTURES = 9  # of a run with a diagnosis, those of single models left out


class _Outline(HTMLParser):
    """What a page is made of, as far as the rules look at it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.headings: list[int] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found.append((tag, given))
        self.ids += [given["id"] or ""] if "id" in given else []
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found.append((tag, given))
        self.ids += [given["id"] or ""] if "id" in given else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open[-1] == tag, (self.open, tag)
        self.open.pop()

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [given for name, given in self.found if name == tag]


def assert_sound(text: str) -> _Outline:
    """What holds for every page: tags closed, ids of their own, nothing from outside, headings in
    order, tables with captions and scopes, pictures in words.
    """
    outline = _Outline(text)
    assert outline.open == []
    assert len(set(outline.ids)) == len(outline.ids)
    assert outline.headings[0] == 1
    assert outline.headings.count(1) == 1
    assert all(
        later <= before + 1
        for before, later in zip(outline.headings, outline.headings[1:], strict=False)
    )
    for tag, given in outline.found:
        assert not {"src", "srcset", "onclick"} & given.keys(), (tag, given)
        assert tag not in ("script", "link", "iframe", "img")
        target = given.get("href") or given.get("xlink:href") or ""
        assert not target or target.startswith("#"), target
        assert not target or target[1:] in outline.ids, target
    assert "url(http" not in text
    assert len(outline.all("caption")) == len(outline.all("table"))
    assert all(given.get("scope") for given in outline.all("th") if given)
    for svg in outline.all("svg"):
        assert svg["role"] == "img"
        assert len(svg["aria-label"] or "") > 20
    assert {"header", "main", "footer", "nav"} <= {tag for tag, _ in outline.found}
    assert outline.all("html")[0]["lang"] == "en"
    assert any(given.get("name") == "viewport" for given in outline.all("meta"))
    return outline


@pytest.fixture(scope="module")
def text(reproduced: Path) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(reproduced)
        return page(read_params())


def test_a_page_is_sound_and_tells_the_whole_story(text, reproduced):
    outline = assert_sound(text)
    assert len(outline.all("figure")) >= _PICTURES
    for title in ("The text", "BERT", "Results", "Training", "Searches", "Translations"):
        assert f">{title}</h2>" in text
    for told in ("Words it puts back", "Pairs it tells apart", "Where gru_attention looks"):
        assert told in text
    assert "num_resamples" in text  # the params
    locked = (reproduced / "dvc.lock").read_text()
    for digest in re.findall(r"<td[^>]*>([0-9a-f]{12})</td>", text):
        assert digest in locked


def test_figures_on_the_page_are_those_of_the_terminal(text, reproduced):
    printed = run_in(reproduced, sys.executable, "-m", "pipelines.report.table").stdout
    for line in printed.splitlines():
        if match := re.match(r"(gru|bert2bert) +([\d.]+) +([\d.]+ ± [\d.]+) ", line):
            row = re.search(rf'<th scope="row" dir="auto">{match[1]}</th>.*?</tr>', text, re.DOTALL)
            assert row
            assert match[2] in row[0]
            assert match[3] in row[0]


def test_a_page_after_a_checkout_alone_has_dashes_for_what_was_not_timed_here(reproduced_copy):
    """As after ``dvc checkout`` of what another machine computed."""
    shutil.rmtree(reproduced_copy / ".runs")
    run_in(reproduced_copy, sys.executable, "-m", "pipelines.report.page")
    found = (reproduced_copy / "report.html").read_text()
    assert_sound(found)
    assert found.count('<td class="n" dir="auto">–</td>') > 10


def test_text_is_text_whatever_it_holds(reproduced_copy, monkeypatch):
    monkeypatch.chdir(reproduced_copy)
    path = Path("data/report/findings.json")
    findings = json.loads(path.read_text())
    findings["examples"][0] |= {"source": "<script>alert(1)</script>", "reference": "a & b"}
    findings["fill_mask"][0]["text"] = '"><b>'
    findings["examples"][1]["source"] = "هذا نص عربي"
    path.write_text(json.dumps(findings))
    found = page(read_params())
    assert_sound(found)
    assert "&lt;script&gt;alert(1)" in found
    assert "<b>" not in found
    assert '<dd dir="auto">هذا نص عربي</dd>' in found


def test_columns_of_figures_stand_right_and_have_a_true_minus():
    rows = [
        ["name", "a", "b", "c", "d"],
        ["x", "1,234.5", "3.1 ± 0.2", "–", "- 3"],
        ["y", "-2e-5", "12 %", "∞", "b"],
    ]
    assert columns_of_figures(rows) == [False, True, True, True, False]
    assert columns_of_figures([["only", "header"]]) == [False, False]
    assert [minus(cell) for cell in ("-0.5", "-", "a-1", "-.5")] == ["−0.5", "-", "a-1", "−.5"]


def test_pictures_get_ids_of_their_own_and_the_colours_of_the_page(tmp_path):
    (tmp_path / "a.svg").write_text(
        '<?xml version="1.0"?><svg width="9"><metadata>when</metadata><defs><path id="m"/></defs>'
        '<use xlink:href="#m" style="fill: #000000"/><g clip-path="url(#m)"/></svg>'
    )
    inline = Inlined(tmp_path)
    first, second = (inline.of(Picture("a.svg", "A", 'what "is" seen')) for _ in range(2))
    assert str(first).startswith('<svg role="img" aria-label="what &quot;is&quot; seen" width="9">')
    assert 'id="p1-m"' in first
    assert 'xlink:href="#p2-m"' in second
    assert "url(#p2-m)" in second
    assert "currentColor" in first
    assert "when" not in first
    assert inline.of(Picture("none.svg", "", "")) == ""
    (tmp_path / "b.svg").write_text('<svg height="9pt" width="600pt"></svg>')
    assert 'style="min-width: 640px"' in inline.of(Picture("b.svg", "B", ""))


def test_sentences_of_the_text_are_shown(text, reproduced):
    """Each language's, of training and of test text, as they stand in the corpus."""
    rows = json.loads((reproduced / "data/report/findings.json").read_text())["text"]["samples"]
    kinds = [tuple(row[:2]) for row in rows[1::2]]
    assert kinds == [(part, one) for part in ("training", "test") for one in ("en", "de")]
    for part, language, _, sentence in rows[1:]:
        name = f"pairs.{'train' if part == 'training' else 'test'}.{language}.txt"
        documents = (reproduced / f"data/corpus/documents.train.{language}.txt").read_text()
        kept = (reproduced / "data/corpus" / name).read_text() + documents
        assert sentence in kept.splitlines()
        assert sentence in text
