"""Raw text that can be read and is hardly meant."""

from pathlib import Path

import pytest

from pipelines.preflight.__main__ import findings
from tests.conftest import ROOT
from tests.params.test_new import EN, FR

DE = ["Die Katze sitzt auf dem Dach und schaut.", "Der Hund schläft unter dem alten Tisch."] * 60


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "data/raw/mine").mkdir(parents=True)
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    documents = "{train: {en: d.en, de: d.de}, valid: {en: d.en, de: d.de}}"
    pairs = "{train: {en: a.en, de: a.de}, valid: {en: a.en, de: a.de}, test: {en: a.en, de: a.de}}"
    reader = f"{{kind: files, documents: {documents}, pairs: {pairs}, max_words: 60}}"
    (tmp_path / "mine.yaml").write_text(
        f"corpus:\n  raw: data/raw/mine\n  reader: {reader}\n", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _text(checkout: Path, en: list[str], de: list[str]) -> list[str]:
    """What is said of such pairs."""
    for name, lines in (("a.en", en), ("a.de", de)):
        (checkout / "data/raw/mine" / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    documents = "One cat sits here.\nTwo dogs sit there.\n\nA bird sings.\nIt is loud.\n"
    (checkout / "data/raw/mine/d.en").write_text(documents, encoding="utf-8")
    (checkout / "data/raw/mine/d.de").write_text("\n".join(DE[:2]) + "\n\n" + "\n".join(DE[:2]))
    return [one.message for one in findings(["mine.yaml"]) if one.check in ("text", "data")]


def test_text_as_it_should_be_is_no_matter(checkout):
    assert _text(checkout, EN[:120], DE) == []


def test_sides_exchanged(checkout):
    said = [line for line in _text(checkout, DE, EN[:120]) if "pairs" in line]
    assert len(said) == 3
    assert "mine.yaml:3: corpus.reader.pairs.train ('a.en, a.de') must be en and de" in said[0]
    assert "looks like de and en" in said[0]


def test_the_same_file_on_both_sides(checkout):
    assert "is one a copy of the other?" in _text(checkout, EN[:120], EN[:120])[0]
    recipe = checkout / "mine.yaml"
    recipe.write_text(recipe.read_text().replace("a.de", "a.en"))
    said = _text(checkout, EN[:120], DE)
    assert "name a file for en and another for de" in said[0]
    assert [one.severity for one in findings(["mine.yaml"]) if one.check == "text"] == ["error"] * 3


def test_copies_on_both_sides(checkout):
    said = _text(checkout, EN[:120], [*EN[:100], *DE[:20]])
    assert "83% of the first 120 lines are equal" in said[0]


@pytest.mark.parametrize(
    ("lines", "table"),
    [
        (['{"en": "a", "de": "b"}'] * 120, "json"),
        ([f"{one}\t{other}" for one, other in zip(EN[:120], FR, strict=False)], "tsv"),
    ],
)
def test_a_table_where_lines_are_expected(checkout, lines, table):
    said = _text(checkout, lines, DE)
    assert "corpus.reader.pairs.train.en ('a.en') must have a sentence on each line, " in said[0]
    assert f"looks like {table}" in said[0]
    assert "python -m pipelines.params new" in said[0]


def test_columns_exchanged_and_copies_in_a_table(checkout):
    def said(rows: list[tuple[str, str]]) -> list[str]:
        lines = "".join(f"{one}\t{other}\n" for one, other in rows)
        (checkout / "data/raw/mine/t.tsv").write_text(lines, encoding="utf-8")
        return [one.message for one in findings(["mine.yaml"]) if one.check in ("text", "data")]

    source = "{kind: table, files: [t.tsv], fields: {en: 1, de: 2}, sentences: lines, "
    source += "split: drawn, weight: 1.0}"
    (checkout / "mine.yaml").write_text(
        "corpus:\n  raw: data/raw/mine\n  reader:\n    kind: sources\n    sources:\n"
        f"      web: {source}\n    filters: []\n"
        "    splits: {documents: {valid: 2}, pairs: {valid: 2, test: 2}}\n    make: documents\n"
    )
    rows = list(zip(EN[:120], DE, strict=True))
    assert said(rows) == []
    (message,) = said([(de, en) for en, de in rows])
    assert "mine.yaml:6: corpus.reader.sources.web ('t.tsv') must be en and de" in message
    assert "looks like de and en; exchange them" in message
    copies = said([(one, one) for one in EN[:120]])
    assert any("100% of the first 120 lines are equal" in one for one in copies)
    (message,) = said([("a", "b")])
    assert "number of pairs (1) must be at least 3" in message


def test_files_that_changed_since_the_corpus_was_made(reproduced_copy):
    def said() -> list[str]:
        return [one.message for one in findings() if "changed since" in one.message]

    assert said() == []
    nouns = reproduced_copy / "data/raw/embedded/nouns.tsv"
    nouns.touch()  # the same bytes
    assert said() == []
    lines = nouns.read_text(encoding="utf-8").splitlines()
    nouns.write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    (message,) = said()
    assert "data/raw/embedded: data/raw/embedded/nouns.tsv changed since" in message
