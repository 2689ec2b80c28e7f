"""Text of one language: which files, what ends a document, where sentences end; and the recipe."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from pipelines.corpus.assembling import read_corpus
from pipelines.corpus.params import CorpusParams, SourcesReader
from pipelines.corpus.sources.opening import BROKEN
from pipelines.corpus.sources.paths import suffix_of
from pipelines.corpus.sources.plain import HEADING, TITLE
from pipelines.corpus.sources.sentences import split_sentences
from pipelines.formats.corpus.files import Corpus
from pipelines.formats.text import bad_byte, normalise, num_words
from pipelines.frame.errors import DataError
from pipelines.params.new.find import files_of
from pipelines.params.new.pairs import Text
from pipelines.params.new.sizes import MAX_WORDS
from pipelines.params.raw_text import Sample

BARE = "bare"  # what a sentence is without case and punctuation; the language translated from
_TEXT = ("", ".txt", ".text", ".md", ".wiki")
_COLUMNS = ("text", "content", "body", "document", "article", "sentence", "review", "abstract")
_ENDS = tuple('.!?…。！？।؟۔:;"”»’)]')
_SHARES = (0.05, 0.1, 0.2)  # held out, of documents; the first that is enough
_SMALL_FILE = 300_000  # bytes; files below that are documents each


@dataclass(frozen=True)
class Layout:
    """What was guessed of a folder.

    Attributes:
        files: that are used.
        left: files that are not, with the reason.
        source: a source of `SourcesReader`, its files as they stand below ``data/raw/<name>``.
    """

    files: list[Path]
    left: list[tuple[Path, str]]
    source: dict[str, Any]


def layout_of(folder: Path, language: str) -> Layout:
    """Look at all files of a folder.

    Raises:
        DataError: there is no such folder, or no text in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: must be a folder with text; correct --raw")
    left: list[tuple[Path, str]] = []
    samples: dict[Path, Sample] = {}
    for path in files_of(folder):
        try:
            sample = Sample.of(path)
        except BROKEN as error:
            left.append((path, f"cannot be read ({error})"))
            continue
        if "\ufffd" in "".join(sample.lines) or "\0" in "".join(sample.lines):
            left.append((path, f"is no UTF-8 text ({bad_byte(path.read_bytes()[:100_000])})"))
        elif sample.table or suffix_of(path) in _TEXT:
            samples[path] = sample
        else:
            left.append((path, "is neither .txt nor a table"))
    tables = [path for path, sample in samples.items() if sample.table]
    texts = [path for path in samples if path not in tables]
    if not samples:
        seen = "; ".join(f"{path.relative_to(folder)} {why}" for path, why in left[:5])
        raise DataError(
            f"{folder}: must hold text (.txt, or a table with a column of text; packed or not); "
            f"{seen or 'it is empty'}"
        )
    if sum(path.stat().st_size for path in tables) > sum(path.stat().st_size for path in texts):
        column = _column(folder, samples[tables[0]])
        left += [(path, "is no table, as the larger part is") for path in texts]
        source = {"kind": "table", "fields": {language: column}}
        lines = [line for path in tables for line in _values(samples[path], column)]
        return Layout(tables, left, {**source, "sentences": _sentences(language, lines)})
    left += [(path, "is a table, and the larger part is text") for path in tables]
    lines = [line for path in texts[:50] for line in samples[path].lines[:400]]
    source = {"kind": "text", "language": language, "documents": _documents(texts, lines)}
    return Layout(texts, left, {**source, "sentences": _sentences(language, lines)})


def _documents(files: Sequence[Path], lines: Sequence[str]) -> str:
    """What ends a document."""
    if sum(bool(TITLE.fullmatch(line)) for line in lines) >= 3:
        return "headings"
    small = fmean(path.stat().st_size for path in files) < _SMALL_FILE
    return "files" if small and len(files) >= 4 else "blank_lines"


def _sentences(language: str, lines: Sequence[str]) -> str:
    """Whether lines are sentences, hold whole ones, or break them."""
    lines = [line for line in lines[:2000] if not HEADING.fullmatch(line)]
    texts = [text for line in lines if num_words(text := normalise(line)) > 2]
    if not texts:
        return "lines"
    whole = fmean(text.endswith(_ENDS) for text in texts)
    each = fmean(len(split_sentences(language, text)) for text in texts)
    if each > 1.2:
        return "split_lines" if whole > 0.5 else "split_paragraphs"
    wrapped = whole < 0.5 and fmean(text[:1].islower() for text in texts) > 0.3
    return "split_paragraphs" if wrapped else "lines"


def _column(folder: Path, sample: Sample) -> str:
    """The column of a table that holds the text: by its name, else the one with most words."""
    columns = sample.columns()
    for name in _COLUMNS:
        if name in columns:
            return name
    words = {
        column: fmean(map(num_words, values))
        for column in columns
        if (values := _values(sample, column))
    }
    if not words or max(words.values()) < 2:
        raise DataError(
            f"{sample.path}: must have a column of text, but has {', '.join(columns) or 'none'}; "
            f"name it {_COLUMNS[0]}, or take the file out of {folder}"
        )
    return max(words, key=words.__getitem__)


def _values(sample: Sample, column: str) -> list[str]:
    return [value for row in sample.rows() if isinstance(value := row.get(column), str)]


@dataclass(frozen=True)
class Fitting:
    """A reader that gives enough documents.

    Attributes:
        layout: by which files are parted.
        reader: of the recipe.
        text: what it reads, for counting.
        account: of its source.
    """

    layout: Layout
    reader: dict[str, Any]
    text: Text
    account: dict[str, Any]


def fitting(layout: Layout, language: str, name: str, folder: Path, raw: Path) -> Fitting:
    """The first reader that gives enough documents.

    A share of few documents may be none: larger shares are held out then, and at last a blank
    line ends a document rather than its file.

    Raises:
        DataError: none gives two documents to train on and two for validation; see `read_corpus`.
    """
    layouts, problems = [layout], []
    if layout.source.get("documents") == "files":
        by_lines = replace(layout, source={**layout.source, "documents": "blank_lines"})
        layouts.append(by_lines)
    for one in layouts:
        for share in _SHARES:
            reader = reader_of(one, name, folder, share)
            corpus = _read(language, raw, reader)
            try:
                corpus.check()
            except DataError as error:
                problems.append(error)
                continue
            assert corpus.sources is not None
            return Fitting(one, reader, _text(corpus), corpus.sources[name])
    raise DataError(
        f"{folder}: must hold some ten documents (files, or text between blank lines), so that two "
        f"can be held out; add text, or part it by blank lines ({problems[0]})"
    )


def reader_of(layout: Layout, name: str, folder: Path, share: float) -> dict[str, Any]:
    """The reader of a recipe: the source, the filters to begin with, and the share held out."""
    files = sorted(path.relative_to(folder).as_posix() for path in layout.files)
    patterns = files if len(files) <= 4 else ["."]
    filters = [
        {
            "name": "length", "applies_to": "all", "min_characters": 2, "max_characters": 1000,
            "min_words": 1, "max_words": MAX_WORDS,
        },
        {"name": "letters", "applies_to": "all", "min_share": 0.5},
        {"name": "duplicates", "applies_to": "all", "of": "pair"},
    ]  # fmt: skip
    return {
        "kind": "sources",
        "sources": {name: {**layout.source, "files": patterns, "split": "drawn", "weight": 1.0}},
        "filters": filters,
        "splits": {"documents": {"valid": share}, "pairs": {"valid": share, "test": share}},
        "make": "pairs",
    }


def copied(layout: Layout, folder: Path, target: Path) -> None:
    """The files below ``data/raw/<name>``, under the names they have in the folder."""
    for path in layout.files:
        copy = target / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _read(language: str, raw: Path, reader: dict[str, Any]) -> Corpus:
    params = CorpusParams.model_validate(
        {
            "raw": raw.as_posix(),
            "license": None,
            "source_language": BARE,
            "target_language": language,
            "reader": reader,
        }
    )
    assert isinstance(params.reader, SourcesReader)
    return read_corpus(params, params.reader)


def _text(corpus: Corpus) -> Text:
    documents = {
        key: [line for document in found for line in (*document, "")]
        for key, found in corpus.documents.items()
    }
    return Text(corpus.pairs, documents)


def described(found: Fitting) -> Iterator[str]:
    """Lines for people: what was found, and how it is read."""
    layout, text, account = found.layout, found.text, found.account
    dropped = ", ".join(f"{why} {one['count']:,}" for why, one in account["dropped"].items())
    kept = sum(account["kept"].values())
    yield f"  {len(layout.files):,} files, {account['read']:,} sentences, {kept:,} kept"
    yield f"  left out: {dropped or 'nothing'}"
    ends = {
        "files": "each file is one", "blank_lines": "a blank line ends one",
        "headings": "a heading begins one",
    }.get(layout.source.get("documents", ""), "each row is one")  # fmt: skip
    split = {
        "lines": "one on a line", "split_lines": "split, several on a line",
        "split_paragraphs": "split, across line ends",
    }[layout.source["sentences"]]  # fmt: skip
    yield f"  documents: {ends}; sentences: {split}"
    sizes = {split: len(pairs) for split, pairs in text.pairs.items()}
    yield (
        f"  pairs are made of it: a sentence in lower case without punctuation, to be restored "
        f"({sizes['train']:,} to train, {sizes['valid']:,} to validate, {sizes['test']:,} to test)"
    )
