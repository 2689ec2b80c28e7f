"""Every way a text comes in: what is normalised, kept and refused is the same for all of them."""

import json
import shutil
from pathlib import Path

import pytest

from pipelines.classification.examples import read_tables
from pipelines.corpus.assembling import read_corpus
from pipelines.corpus.inspecting import inspect
from pipelines.corpus.lexicon import read_lexicon
from pipelines.corpus.params import CorpusParams, FilesReader
from pipelines.formats.corpus.files import Corpus
from pipelines.formats.text import Tally
from pipelines.frame.errors import DataError
from tests.conftest import ROOT

ZWNJ, ZWSP = "\u200c", "\u200b"
GIVEN = [
    "\ufeffCafe\u0301 [SEP] [MASK]",
    f"می{ZWNJ}روم",
    f"so\u00ad{ZWSP}ft\u00a0hyphen",
    "가나 \u1100\u1161",
]
EXPECTED = ["Café [SEP] [MASK]", f"می{ZWNJ}روم", "soft hyphen", "가나 가"]
BAD = {
    "UTF-16": "One.\nTwo.\n".encode("utf-16-le"),
    "Latin-1": "Größe.\n".encode("latin-1"),
    "NUL": b"One.\nT\0wo.\n",
    "cut": "Ende 中".encode()[:-1],
}
PLACES = {"UTF-16": 1, "Latin-1": 2, "NUL": 6, "cut": 5}


def _corpus(
    folder: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[CorpusParams, FilesReader]:
    monkeypatch.chdir(folder)
    raw = folder / "data/raw/mine"
    raw.mkdir(parents=True)
    (raw / "pairs").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (raw / "documents").write_text(
        "".join(f"{line}\n" for line in [*lines, ZWSP, *lines]), encoding="utf-8"
    )
    documents, pairs = dict.fromkeys(("x", "y"), "documents"), dict.fromkeys(("x", "y"), "pairs")
    splits = {"train": pairs, "valid": pairs, "test": pairs}
    documents_of = {"train": documents, "valid": documents}
    reader = FilesReader(kind="files", documents=documents_of, pairs=splits, max_words=9)
    return CorpusParams(
        raw="data/raw/mine", license=None, source_language="x", target_language="y", reader=reader
    ), reader


def _read(folder: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> Corpus:
    return read_corpus(*_corpus(folder, lines, monkeypatch))


def test_documents_and_pairs(tmp_path, monkeypatch):
    corpus = _read(tmp_path, GIVEN, monkeypatch)
    assert [pair[0] for pair in corpus.pairs["test"]] == EXPECTED
    # a line that shows nothing ends a document
    assert corpus.documents["train", "x"] == [
        EXPECTED,
        EXPECTED,
    ]
    changed = corpus.report()["changed"]
    assert changed["byte order marks"]["example"] == f"documents:1: {GIVEN[0]!r}"
    # documents twice, splits, languages; pairs
    assert changed["soft hyphens"]["lines"] == 2 * 2 * 2 + 3 * 2


def test_tables(tmp_path):
    rows = [f"{number % 2}\t{line.removeprefix(chr(0xFEFF))}" for number, line in enumerate(GIVEN)]
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.tsv").write_text(
            "\ufefflabel\ttext\r\n" + "\r\n".join(rows) + "\r\n", encoding="utf-8"
        )
    changed = Tally()
    assert [example.text for example in read_tables(tmp_path, changed)["test"]] == EXPECTED
    assert changed.report()["decomposed letters composed"]["lines"] == 2 * 3
    (tmp_path / "test.tsv").write_text(f"label\ttext\n0\t{ZWSP}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"test\.tsv:2: line .* columns that are not empty"):
        read_tables(tmp_path)


def test_lexicon(tmp_path):
    shutil.copytree(ROOT / "data/raw/embedded", tmp_path / "lexicon")
    shipped = read_lexicon(tmp_path / "lexicon")
    path = tmp_path / "lexicon/nouns.tsv"
    path.write_text(
        "\ufeff" + path.read_text(encoding="utf-8").replace("ü", "u\u0308"), encoding="utf-8"
    )
    assert read_lexicon(tmp_path / "lexicon") == shipped


@pytest.mark.parametrize("kind", BAD)
def test_bytes_that_are_no_text_are_refused_with_their_place(tmp_path, monkeypatch, kind):
    message = rf"byte at offset {PLACES[kind]} \(0x[0-9a-f]{{2}}\) must be UTF-8 text"
    params, reader = _corpus(tmp_path, EXPECTED, monkeypatch)
    for name in ("pairs", "documents"):
        good = Path(params.raw, name).read_bytes()
        Path(params.raw, name).write_bytes(BAD[kind])
        for read in (inspect, read_corpus):
            with pytest.raises(DataError, match=f"{name}: cannot be read as UTF-8 text: {message}"):
                read(params, reader)
        Path(params.raw, name).write_bytes(good)
    (tmp_path / "train.tsv").write_bytes(BAD[kind])
    with pytest.raises(
        DataError, match=rf"train\.tsv: cannot be read as a TSV in UTF-8: {message}"
    ):
        read_tables(tmp_path)
    shutil.copytree(ROOT / "data/raw/embedded", tmp_path / "lexicon")
    (tmp_path / "lexicon/verbs.tsv").write_bytes(BAD[kind])
    with pytest.raises(DataError, match=rf"verbs\.tsv: cannot be read as UTF-8 text: {message}"):
        read_lexicon(tmp_path / "lexicon")


def test_what_is_kept_and_dropped_adds_up_to_what_was_read(tmp_path, monkeypatch):
    lines = ["one two", ZWSP, "", "word " * 10, "我" * 10, "ก" * 9, "\u3164"]
    report = _read(tmp_path, lines, monkeypatch).report()
    for split in ("train", "valid", "test"):
        account = report["sources"][f"pairs.{split}"]
        dropped = {kind: found["count"] for kind, found in account["dropped"].items()}
        assert dropped == ({} if split == "test" else {"empty": 3, "length": 2})
        assert account["read"] == len(lines) == sum(dropped.values()) + report["pairs"][split]
    samples = report["sources"]["pairs.train"]["dropped"]["empty"]["samples"]
    assert samples[0] == {"where": "pairs and pairs:2", "text": " ||| "}
    json.dumps(report)
