"""Sources that are broken, hostile or not what they were said to be: refused in plain words."""

import gzip
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pipelines.corpus.inspecting import inspect
from pipelines.frame.errors import DataError
from tests.corpus.conftest import corpus_params
from tests.corpus.test_sources import PACK, PAIRS, one_file, rows_of_text

BOMB = gzip.compress((b"a b" * 1_000_000 + b"\n") * 40, mtime=0)
TEXT = {
    "kind": "text",
    "files": ["x*"],
    "language": "en",
    "documents": "blank_lines",
    "sentences": "lines",
}
TABLE = {"kind": "table", "files": ["x*"], "fields": {"en": "en", "de": "de"}, "sentences": "lines"}
ALIGNED = {"kind": "aligned", "files": {"en": ["x.en"], "de": ["x.de"]}}
GOOD = b"".join(b"%d one two\n" % n for n in range(9))
FRENCH = b"<tmx><body><tu><tuv xml:lang='fr'><seg>a</seg></tuv></tu></body></tmx>"
CUT = {pack: PACK[pack](os.urandom(5000).hex().encode())[:-40] for pack in PACK if pack}


def _zip(*names: str, data: bytes = GOOD) -> bytes:
    path = Path("made.zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, data)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("source", "files", "message"),
    [
        (
            TEXT,
            {"x.txt": bytes(range(256))},
            r"x\.txt: cannot be read as UTF-8 text: byte at offset 0 \(0x00\) must be UTF-8 "
            r"text \(UTF-16 or binary data\?\)",
        ),
        *(
            (
                TEXT,
                {f"x.txt{pack}": data},
                rf"x\.txt{pack}: cannot be read as UTF-8 text \(.+\); check the file",
            )
            for pack, data in CUT.items()
        ),
        (TEXT, {"x.txt.gz": b"no gzip"}, r"x\.txt\.gz: cannot be read"),
        (
            TEXT,
            {"x.txt": b"a" * 100_000_000},
            r"x\.txt:1: length of the line \(more than 10,000,000 characters\) must be that "
            r"of a text; break it into lines",
        ),
        (TEXT, {"x.txt.gz": BOMB}, r"x\.txt\.gz: unpacks to more than 300 times its size"),
        (
            TEXT,
            {},
            r"data/raw/mine: 'x\*' matches no file; correct corpus\.reader\.sources\.web in params",
        ),
        (
            {**TEXT, "files": ["y.txt"]},
            {"x.txt": GOOD},
            r"y\.txt: no such file.+did you mean 'x\.txt'",
        ),
        ({**TEXT, "files": ["y"]}, {"y/x.pdf": GOOD}, r"y: has no files for a source of kind text"),
        (TEXT, {"x.txt": b""}, r"x\.txt: is empty"),
        (TEXT, {"x.txt": b"\n \n"}, r"source web \(text\) must hold text"),
        (
            TEXT,
            {"x.txt": b"One.\nTwo.\n"},
            r"x\.txt, documents in en: number of documents \(1\) must be at least 4",
        ),
        (
            TABLE,
            {"x.jsonl": b'{"en": "a", "de": "b"}\n{"en": "a",\n'},
            r"x\.jsonl:2: must be a JSON record on a line .+; correct the line",
        ),
        (
            TABLE,
            {"x.jsonl": b'{"en": "a", "de": 3}\n'},
            r"x\.jsonl:1: de \(3\) must be text, not int; name another column",
        ),
        (TABLE, {"x.jsonl": b"[" * 100_000 + b"\n"}, r"x\.jsonl:1: must be a JSON record"),
        (
            TABLE,
            {"x.csv": b"en,dd\na,b\n"},
            r"x\.csv: column 'de' must be there, but there are en, dd; .+did you mean",
        ),
        (TABLE, {"x.csv": b"en,de\na,b\na,b,c\n"}, r"x\.csv:3: number of columns \(3\) must be 2"),
        (TABLE, {"x.csv": b'en,de\n"a,b\n'}, r"x\.csv: must be a CSV table \(.+\)"),
        (
            TABLE,
            {"x.csv": "en,de\né,b\n".encode("latin-1")},
            r"x\.csv: cannot be read as UTF-8 text: byte at offset 6",
        ),
        (TABLE, {"x.parquet": b"no parquet at all"}, r"x\.parquet: cannot be read as Parquet"),
        (TABLE, {"x.txt": GOOD}, r"x\.txt: must be a table"),
        (
            {**TABLE, "fields": {"en": 1, "de": 3}},
            {"x.csv": b"a,b\n"},
            r"x\.csv: column 3 must be there, but there are 1, 2",
        ),
        (ALIGNED, {"x.en": GOOD}, r"x\.de: no such file"),
        (
            ALIGNED,
            {"x.en": GOOD, "x.de": GOOD + b"more\n"},
            r"number of lines \(9 and 10\) must be equal",
        ),
        (
            {**ALIGNED, "files": {"en": ["x*.en"], "de": ["x*.de"]}},
            {"x1.en": GOOD, "x2.en": GOOD, "x1.de": GOOD},
            r"number of files \(2 en, 1 de\) must be equal",
        ),
        (
            {"kind": "tmx", "files": ["x.tmx"]},
            {"x.tmx": b"<tmx><body><tu></body>"},
            r"x\.tmx: must be TMX \(mismatched tag",
        ),
        (
            {"kind": "tmx", "files": ["x.tmx"]},
            {"x.tmx": b'<!DOCTYPE t [<!ENTITY a "aaa">]><tmx>&a;</tmx>'},
            r"x\.tmx: must be TMX \(EntitiesForbidden in it\)",
        ),
        (
            {"kind": "tmx", "files": ["x.tmx"]},
            {"x.tmx": FRENCH},
            r"units with en and de \(0 of 1\) must be at least 1; it has fr",
        ),
        (
            {"kind": "opus", "files": ["x.zip"]},
            {"x.zip": b"PK no zip"},
            r"x\.zip: cannot be read as a zip",
        ),
        (
            {"kind": "opus", "files": ["x.zip"]},
            {"x.zip": ("a.en", "a.fr")},
            r"x\.zip: must hold two Moses files, \*\.en and \*\.de, but has a\.en, a\.fr",
        ),
    ],
)
def test_what_is_broken_is_refused_in_plain_words(raw, source, files, message):
    for name, data in files.items():
        (raw / name).parent.mkdir(exist_ok=True)
        (raw / name).write_bytes(_zip(*data) if isinstance(data, tuple) else data)
    make = "documents"
    sources = {"web": dict(source)}
    if source["kind"] == "text":  # pairs beside it, so that its own faults are what is told
        (raw / "p.tsv").write_text("".join(f"{en}\t{de}\n" for en, de in PAIRS))
        fields = {"en": 1, "de": 2}
        sources["pairs"] = {
            "kind": "table",
            "files": ["p.tsv"],
            "fields": fields,
            "sentences": "lines",
        }
    params = corpus_params(sources, make=make)
    with pytest.raises(DataError, match=message):
        inspect(params, params.reader)


def test_a_zip_bomb_in_a_zip_is_refused(raw):
    (raw / "x.zip").write_bytes(_zip("a.en", "a.de", data=(b"a b" * 1_000_000 + b"\n") * 40))
    params = corpus_params({"web": {"kind": "opus", "files": ["x.zip"]}})
    with pytest.raises(DataError, match=r"x\.zip/a\.en: unpacks to more than 300 times its size"):
        inspect(params, params.reader)


def test_loops_of_links_are_named_and_links_to_folders_not_followed(raw, read):
    one_file(raw, "")
    (raw / "loop").symlink_to(raw, target_is_directory=True)
    source = {**TEXT, "files": ["**/*.txt"], "language": "de"}
    assert len(read({"d": source}, source="bare", make="pairs").documents["train", "de"]) == 4
    (raw / "self.txt").symlink_to(raw / "self.txt")
    with pytest.raises(DataError, match=r"self\.txt: is a symbolic link that leads back to itself"):
        read({"d": source}, source="bare", make="pairs")


@pytest.mark.parametrize("kind", ["text", "table"])
def test_a_file_that_changes_while_it_is_read_is_refused(raw, kind, monkeypatch):
    rows_of_text(raw, "")
    path = raw / "r.jsonl"
    source = (
        {**TEXT, "files": ["r.jsonl"], "language": "de"}
        if kind == "text"
        else {**TABLE, "files": ["r.jsonl"], "fields": {"de": "text"}}
    )
    params = corpus_params({"d": source}, source="bare", make="pairs")
    from pipelines.corpus.sources import opening

    real = opening.decoded

    def writing(*given: Any, **named: Any) -> Any:
        for line in real(*given, **named):
            path.touch()
            yield line

    monkeypatch.setattr("pipelines.corpus.sources.opening.decoded", writing)
    with pytest.raises(DataError, match=r"r\.jsonl: changed while it was read; run again"):
        inspect(params, params.reader)
