"""Every form text comes in: the same text of each, documents and pairs."""

import bz2
import gzip
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.corpus.sources.sentences import split_sentences

PAIRS = [
    (f"The cat has {n} kittens, “so” it is.", f"Die Katze hat {n} Junge, «so» ist es.")
    for n in range(9)
]
NORMALISED = "Cafe\u0301\u00a0 [SEP]", "Café [SEP]"
DOCUMENTS = [[f"Text {n} begins.", "It goes on.", "It ends."] for n in range(6)]
PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}


def _zst(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


PACK[".zst"] = _zst


def _lines(texts: list[str]) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()


def _aligned(raw: Path, pack: str) -> dict[str, Any]:
    for side, language in enumerate(("en", "de")):
        (raw / f"a.{language}{pack}").write_bytes(
            PACK[pack](_lines([pair[side] for pair in PAIRS]))
        )
    return {"kind": "aligned", "files": {"en": [f"a.en{pack}"], "de": [f"*.de{pack}"]}}


def _table(suffix: str, text: Callable[[], str]) -> Callable[[Path, str], dict[str, Any]]:
    def made(raw: Path, pack: str) -> dict[str, Any]:
        (raw / f"t{suffix}{pack}").write_bytes(PACK[pack](text().encode()))
        fields = {"en": "x.en", "de": "x.de"} if suffix == ".jsonl" else {"en": "en", "de": "de"}
        files = [f"t{suffix}{pack}"]
        return {"kind": "table", "files": files, "fields": fields, "sentences": "lines"}

    return made


def _csv() -> str:
    return "id;de;en\r\n" + "".join(f'1;"{de}";"{en}"\r\n' for en, de in PAIRS)


def _tsv() -> str:
    return "en\tde\n" + "".join(f"{en}\t{de}\n" for en, de in PAIRS)


def _jsonl() -> str:
    return "\n".join(json.dumps({"id": 1, "x": {"en": en, "de": de}}) for en, de in PAIRS)


def _parquet(raw: Path, pack: str) -> dict[str, Any]:
    columns = {"en": [en for en, _ in PAIRS], "de": [de for _, de in PAIRS], "n": list(range(9))}
    pq.write_table(pa.table(columns), raw / "t.parquet")
    fields = {"en": "en", "de": "de"}
    return {"kind": "table", "files": ["t.parquet"], "fields": fields, "sentences": "lines"}


def _tmx(raw: Path, pack: str) -> dict[str, Any]:
    units = "".join(
        f'<tu><tuv xml:lang="DE"><seg>{de}</seg></tuv><tuv xml:lang="en-GB"><seg>{en[:4]}'
        f"<bpt i='1'>&lt;b&gt;</bpt>{en[4:]}</seg></tuv><tuv xml:lang='fr'><seg>x</seg></tuv></tu>"
        for en, de in PAIRS
    )
    begin = '<?xml version="1.0"?><!DOCTYPE tmx SYSTEM "tmx14.dtd"><tmx version="1.4"><header/>'
    text = f"{begin}<body>{units}</body></tmx>"
    (raw / f"m.tmx{pack}").write_bytes(PACK[pack](text.encode()))
    return {"kind": "tmx", "files": [f"m.tmx{pack}"]}


def _opus(raw: Path, pack: str) -> dict[str, Any]:
    with zipfile.ZipFile(raw / "o.txt.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README", "words")
        for side, language in enumerate(("en", "de")):
            archive.writestr(f"X.de-en.{language}", _lines([pair[side] for pair in PAIRS]))
    return {"kind": "opus", "files": ["o.txt.zip"]}


FORMS: dict[str, Callable[[Path, str], dict[str, Any]]] = {
    "aligned": _aligned,
    "csv": _table(".csv", _csv),
    "tsv": _table(".tsv", _tsv),
    "jsonl": _table(".jsonl", _jsonl),
    "tmx": _tmx,
    "parquet": _parquet,
    "opus": _opus,
}
PACKED_ITSELF = ("parquet", "opus")


@pytest.mark.parametrize(
    ("form", "pack"),
    [(form, pack) for form in FORMS for pack in PACK if not (pack and form in PACKED_ITSELF)],
)
def test_pairs_are_the_same_of_every_form_and_packing(raw, read, form, pack):
    corpus = read({"web": FORMS[form](raw, pack)})
    pairs = [pair for split in ("train", "valid", "test") for pair in corpus.pairs[split]]
    assert sorted(pairs) == sorted(PAIRS)
    assert {split: len(found) for split, found in corpus.pairs.items()} == {
        "test": 2, "valid": 2, "train": 5,
    }  # fmt: skip
    drawn = read({"other": FORMS["aligned"](raw, "")})  # by content, not by form
    assert drawn.pairs == corpus.pairs
    account = corpus.report()["sources"]["web"]
    assert account["read"] == 9
    assert account["kept"] == {"test": 2, "train": 5, "valid": 2}


def one_file(raw: Path, pack: str) -> dict[str, Any]:
    text = "\n".join("".join(f"{line}\n" for line in document) for document in DOCUMENTS)
    (raw / f"d.txt{pack}").write_bytes(PACK[pack](text.encode()))
    return {
        "kind": "text",
        "files": [f"d.txt{pack}"],
        "documents": "blank_lines",
        "sentences": "lines",
    }


def _folder(raw: Path, pack: str) -> dict[str, Any]:
    (raw / "books/.git").mkdir(parents=True)
    (raw / "books/.git/x.txt").write_bytes(b"\xff")
    (raw / "books/.DS_Store").write_bytes(b"\xff")
    for number, document in enumerate(DOCUMENTS):
        (raw / f"books/ñ [{number}]*.txt{pack}").write_bytes(
            PACK[pack](" ".join(document).encode())
        )
    return {"kind": "text", "files": ["books"], "documents": "files", "sentences": "split_lines"}


def _wrapped(raw: Path, pack: str) -> dict[str, Any]:
    text = "".join(
        f" = Title {n} = \n\n" + "\n".join(" ".join(document).split(" ")) + "\n\n"
        for n, document in enumerate(DOCUMENTS)
    )
    (raw / f"w.txt{pack}").write_bytes(PACK[pack](text.encode()))
    return {
        "kind": "text",
        "files": [f"w*.txt{pack}"],
        "documents": "headings",
        "sentences": "split_paragraphs",
    }


def rows_of_text(raw: Path, pack: str) -> dict[str, Any]:
    rows = [
        json.dumps({"text": " ".join(document[:2]) + "\n" + document[2]}) for document in DOCUMENTS
    ]
    (raw / f"r.jsonl{pack}").write_bytes(PACK[pack](_lines(rows)))
    return {
        "kind": "table",
        "files": [f"r.jsonl{pack}"],
        "fields": {"de": "text"},
        "sentences": "split_lines",
    }


@pytest.mark.parametrize("pack", PACK)
@pytest.mark.parametrize("form", [one_file, _folder, _wrapped, rows_of_text])
def test_documents_are_the_same_of_every_form_and_packing(raw, read, form, pack):
    source = form(raw, pack)
    if source["kind"] == "text":
        source["language"] = "de"
    corpus = read({"books": source}, source="bare", make="pairs")
    documents = corpus.documents["train", "de"] + corpus.documents["valid", "de"]
    test = [pair[1] for pair in corpus.pairs["test"]]
    assert len(documents) == 5
    assert sorted([*documents, test]) == DOCUMENTS
    assert corpus.pairs["test"][1] == ("it goes on", "It goes on.")


def test_headings_below_the_title_part_what_stands_around_them(raw, read):
    text = (
        " = One = \n\n Word by word . Cats do . \n\n = = Life = = \n\n Even so . Good here . \n" * 1
    )
    many = "".join(
        text.replace("One", f"N {n}").replace("Word by", f"Word{n} by") for n in range(6)
    )
    (raw / "w.txt").write_text(many)
    source = {
        "kind": "text",
        "files": ["w.txt"],
        "language": "de",
        "documents": "headings",
        "sentences": "split_lines",
    }
    corpus = read({"wiki": source}, source="bare", make="pairs")
    documents = corpus.documents["train", "de"]
    assert ["Even so .", "Good here ."] in documents
    assert all(
        "Good here ." not in document or document[0] == "Even so ." for document in documents
    )
    assert corpus.report()["sources"]["wiki"]["dropped"]["heading"]["count"] == 12


def test_only_line_ends_part_the_lines_of_a_field(raw, read):
    rows = [
        json.dumps({"text": f"Line {n} has\u2028a separator.\r\nSo what.\rEnd."}) for n in range(6)
    ]
    (raw / "r.jsonl").write_text("\n".join(rows))
    source = {"kind": "table", "files": ["r.jsonl"], "fields": {"de": "text"}, "sentences": "lines"}
    corpus = read({"t": source}, source="bare", make="pairs")
    assert all(document[1:] == ["So what.", "End."] for document in corpus.documents["train", "de"])
    assert corpus.documents["train", "de"][0][0].endswith("has a separator.")


def test_numbers_name_the_columns_of_a_table_without_a_header(raw, read):
    (raw / "t.tsv").write_text("".join(f'{de}\t"{en}\n' for en, de in PAIRS))
    source = {
        "kind": "table",
        "files": ["t.tsv"],
        "fields": {"en": 2, "de": 1},
        "sentences": "lines",
    }
    pairs = read({"t": source}).pairs
    found = [*pairs["train"], *pairs["valid"], *pairs["test"]]
    assert sorted(found) == sorted((f'"{en}', de) for en, de in PAIRS)


def test_each_form_is_normalised_alike_and_its_changes_counted(raw, read):
    for form, made in FORMS.items():
        before = PAIRS[0]
        PAIRS[0] = (NORMALISED[0], before[1])
        try:
            corpus = read({"web": made(raw, "")})
        finally:
            PAIRS[0] = before
        assert NORMALISED[1] in [pair[0] for pairs in corpus.pairs.values() for pair in pairs], form
        assert corpus.report()["changed"]["other spaces to plain ones"]["lines"] == 1, form


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "Dr. Smith came on Jan. 5, e.g. late.", 1),
        ("en", "“Is it?” he asked. “It is.” She left.", 3),
        ("en", "It was late... Nobody came.", 2),
        ("en", "1. Rest well. 2. Eat.", 2),
        ("de", "Am 3. Mai kam z. B. Hr. Meier. Er ging.", 2),
        ("zh", "我来了。你好吗？我很好！", 3),
        ("ja", "雨が降った。彼は帰った。", 2),
        ("hi", "यह पहला वाक्य है। यह दूसरा है? हाँ।", 3),
        ("ar", "هذه جملة. وهذه أخرى؟ نعم!", 3),
        ("no_language", "One here. Two there.", 2),
    ],
)
def test_sentences_are_split_in_every_script(language, text, expected):
    sentences = split_sentences(language, text)
    assert len(sentences) == expected
    assert "".join(sentences).replace(" ", "") == text.replace(" ", "")
