"""Document and pair files of users, good and bad."""

import gzip
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipelines.corpus.assembling import read_corpus
from pipelines.corpus.inspecting import inspect
from pipelines.corpus.params import CorpusParams, FilesReader
from pipelines.formats.corpus.files import Corpus, read_documents
from pipelines.frame.errors import DataError

GOOD = {
    "docs.en.txt": "One a.\nOne b.\n\n\nTwo a.\nTwo b.\n",
    "docs.de.txt.gz": "Eins a.\nEins b.\n\nZwei a.\n",
    "train.en": "A  dog\u2028barks.\nCafe\u0301.\nLong word word word word word.\n\n",
    "train.de": "Ein Hund bellt.\nCafé.\nLang.\nLeer.\n",
    "test.en.gz": "A test.\n",
    "test.de": "Ein Test.\n",
}


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data/raw/mine"
    folder.mkdir(parents=True)
    for name, text in GOOD.items():
        data = text.encode()
        (folder / name).write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
    return folder


def _params() -> tuple[CorpusParams, FilesReader]:
    documents = {"en": "docs.en.txt", "de": "docs.de.txt.gz"}
    pairs = {"en": "train.en", "de": "train.de"}
    reader = FilesReader(
        kind="files",
        documents={"train": documents, "valid": documents},
        pairs={"train": pairs, "valid": pairs, "test": {"en": "test.en.gz", "de": "test.de"}},
        max_words=5,
    )
    params = CorpusParams(
        raw="data/raw/mine", license=None, source_language="en", target_language="de", reader=reader
    )
    return params, reader


def _read() -> Corpus:
    return read_corpus(*_params())


def test_read_corpus_documents_are_split_at_blank_lines(raw, tmp_path):
    corpus = _read()
    assert corpus.documents["train", "en"] == [["One a.", "One b."], ["Two a.", "Two b."]]
    assert corpus.documents["train", "de"] == [["Eins a.", "Eins b."], ["Zwei a."]]


def test_read_corpus_of_any_pair_task(raw, tmp_path):
    (raw / "questions.txt").write_text("Who barks?\nWhere?\n\nWhen?\n")
    (raw / "answers.txt").write_text("The dog.\nHere.\n\nNow.\n")
    files = {"question": "questions.txt", "answer": "answers.txt"}
    splits = {"train": files, "valid": files}
    reader = FilesReader(
        kind="files", documents=splits, pairs={**splits, "test": files}, max_words=5
    )
    params = CorpusParams(
        raw="data/raw/mine",
        license=None,
        source_language="question",
        target_language="answer",
        reader=reader,
    )
    corpus = read_corpus(params, reader)
    corpus.write(tmp_path)
    assert corpus.pairs["train"] == [
        ("Who barks?", "The dog."),
        ("Where?", "Here."),
        ("When?", "Now."),
    ]
    assert read_documents(tmp_path, "train", "answer") == [["The dog.", "Here."], ["Now."]]


@pytest.mark.parametrize("name", ["", "EN", "../en", "en.de", "1", "a b", "a" * 41])
def test_language_that_makes_no_file_name_is_refused(raw, name):
    params, _ = _params()
    with pytest.raises(ValidationError, match="source_language"):
        CorpusParams.model_validate({**params.model_dump(), "source_language": name})


def test_read_corpus_normalises_drops_and_reports(raw, tmp_path):
    corpus = _read()
    assert corpus.pairs["train"] == [("A dog barks.", "Ein Hund bellt."), ("Café.", "Café.")]
    sources = corpus.report()["sources"]
    for split in ("train", "valid"):
        account = sources[f"pairs.{split}"]
        assert account["read"] == 4
        assert account["dropped"] == {
            "empty": {
                "count": 1,
                "samples": [{"where": "train.en and train.de:4", "text": " ||| Leer."}],
            },
            "length": {
                "count": 1,
                "samples": [
                    {
                        "where": "train.en and train.de:3",
                        "text": "Long word word word word word. ||| Lang.",
                    }
                ],
            },
        }
    assert sources["pairs.test"]["dropped"] == {}


def test_write_and_read_documents_round_trip(raw, tmp_path):
    corpus = _read()
    corpus.write(tmp_path)
    assert read_documents(tmp_path, "train", "en") == corpus.documents["train", "en"]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("train.de", None, r"train\.de: no such file"),
        ("train.de", b"", r"train\.de: is empty"),
        ("train.de", b"One line.\n", r"number of lines \(4 and 1\) must be equal"),
        ("test.en.gz", b"no gzip at all", r"test\.en\.gz: cannot be read"),
        (
            "test.en.gz",
            gzip.compress(b"cut short" * 50, mtime=0)[:-12],
            r"test\.en\.gz: cannot be read",
        ),
        ("docs.en.txt", b"Only.\nOne document.\n", r"number of documents \(1\) must be at least 2"),
        ("docs.en.txt", b"\n\n\n", r"source documents\.train\.en \(text\) must hold text"),
        ("docs.en.txt", b"One.\n\nTwo.\n", r"longest document .* at least 2 sentences"),
        (
            "docs.en.txt",
            "Gr\u00f6\u00dfe.\nZwei.\n\nDrei.\n".encode("latin-1"),
            r"docs\.en\.txt: cannot be read as UTF-8",
        ),
        (
            "docs.de.txt.gz",
            gzip.compress(b"One.\nTwo.\n\n" * 50, mtime=0)[:-12],
            r"docs\.de\.txt\.gz: cannot be read",
        ),
    ],
)
def test_inspect_and_read_refuse_bad_files_alike(raw, tmp_path, name, data, message):
    (raw / name).unlink()
    if data is not None:
        (raw / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        inspect(*_params())
    with pytest.raises(DataError, match=message):
        _read()


def test_inspect_counts_lines_as_datasets_does(raw, tmp_path):
    """A lone carriage return ends a line for both; a Unicode line separator for neither."""
    for name in ("train.en", "train.de"):
        (raw / name).write_bytes("One\rtwo.\nThree\u2028four.\n".encode())
    assert len(_read().pairs["train"]) == 3
    (raw / "train.de").write_bytes(b"One two.\nThree four.\n")
    with pytest.raises(DataError, match=r"number of lines \(3 and 2\)"):
        inspect(*_params())


@pytest.mark.parametrize("name", ["/etc/passwd", "../other/train.en"])
def test_files_outside_the_raw_folder_are_refused(name):
    files = {"en": name, "de": "x"}
    with pytest.raises(ValueError, match=r"must lie in corpus\.raw"):
        FilesReader(
            kind="files",
            documents={"train": files, "valid": files},
            pairs={"train": files, "valid": files, "test": files},
            max_words=5,
        )


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([["a", "b"]], "must be at least 2"),
        ([["a"], ["b"]], "hold a document of at least 2 sentences"),
    ],
)
def test_check_documents_without_nsp_material_are_refused(documents, message):
    corpus = Corpus(("en", "de"), {("train", "en"): documents}, {})
    with pytest.raises(DataError, match=message):
        corpus.check()


def test_check_no_pairs_are_refused():
    with pytest.raises(DataError, match="number of pairs"):
        Corpus(("en", "de"), {}, {"train": []}).check()
