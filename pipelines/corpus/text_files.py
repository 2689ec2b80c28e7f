"""Reading text files, plain or gzipped, through the text builder of ``datasets``.

Documents: one sentence per line, a blank line between documents. Pairs: two files of equal length.
"""

import glob
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from pipelines.corpus.params import CorpusParams, FilesReader
from pipelines.formats.corpus.files import Corpus, DocumentList
from pipelines.formats.text import Tally, bad_byte_of, is_blank, normalise, num_words
from pipelines.frame.errors import DataError


@dataclass(frozen=True)
class _Counts:
    """What one pass over a raw file tells.

    Attributes:
        lines: all lines, as `datasets` splits them.
        texts: lines that are not blank.
        documents: blocks between blank lines.
        longest: lines of the longest block.
    """

    lines: int
    texts: int
    documents: int
    longest: int


def inspect(params: CorpusParams, reader: FilesReader) -> None:
    """Read through the raw files without keeping anything: all there, UTF-8, aligned,
    enough documents.

    Raises:
        DataError: as `read_corpus` and `Corpus.check` would.
    """
    for files in (*reader.documents.values(), *reader.pairs.values()):
        for language in params.languages:
            _require(Path(params.raw) / files[language])
            _require_text(Path(params.raw) / files[language])
    for split, files in reader.pairs.items():
        paths = [Path(params.raw) / files[language] for language in params.languages]
        counts = [_count(path) for path in paths]
        _require_aligned(paths, [count.lines for count in counts])
        if not min(count.texts for count in counts):
            raise DataError(
                f"{paths[0]} and {paths[1]}: {split} pairs with text (0) must be at least 1; add "
                "pairs"
            )
    for files in reader.documents.values():
        for language in params.languages:
            path = Path(params.raw) / files[language]
            count = _count(path)
            if count.documents < 2:
                raise DataError(
                    f"{path}: number of documents ({count.documents}) must be at least 2, NSP "
                    "takes its negatives from another document; put a blank line between documents"
                )
            if count.longest < 2:
                raise DataError(
                    f"{path}: longest document (1 sentence) must have at least 2 sentences, NSP "
                    "needs a next one; put one sentence on a line and blank lines between "
                    "documents only"
                )


def _count(path: Path) -> _Counts:
    lines = texts = documents = longest = current = 0
    with _opened(path) as file:
        for line in io.TextIOWrapper(file, encoding="utf-8"):
            lines += 1
            if not is_blank(line):
                texts += 1
                documents += current == 0
                current += 1
                longest = max(longest, current)
            else:
                current = 0
    return _Counts(lines, texts, documents, longest)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A raw file, unpacked if need be.

    Raises:
        DataError: it cannot be read, is damaged, or what is done with it finds that it is not
            UTF-8.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield cast(BinaryIO, file)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error}); check the file") from None


def _require_text(path: Path) -> None:
    """Refuse what is no UTF-8, or holds NULs as UTF-16 does,
    with the place of the first bad byte.
    """
    with _opened(path) as file:
        found = bad_byte_of(file)
    if found:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {found}")


def read_corpus(params: CorpusParams, reader: FilesReader, cache: Path) -> Corpus:
    """Read all files a ``files`` reader names.

    Args:
        params: the corpus section.
        reader: its reader.
        cache: folder for the builder's Arrow files.

    Raises:
        DataError: a file is missing, empty or unreadable, or two sides of a split differ in length.
    """
    inspect(params, reader)
    corpus = Corpus(params.languages, {}, {})
    files = _Files(Path(params.raw), cache, corpus)
    for part, named in reader.documents.items():
        for language in params.languages:
            corpus.documents[part, language] = _documents(files.read(named[language]))
    for split, named in reader.pairs.items():
        sides = [files.read(named[language]) for language in params.languages]
        paths = [Path(params.raw) / named[language] for language in params.languages]
        _require_aligned(paths, [len(side) for side in sides])
        pairs = list(zip(sides[0], sides[1], strict=True))
        dropped = corpus.dropped[split] = Tally()
        corpus.pairs[split] = (
            pairs if split == "test" else _usable(pairs, reader.max_words, paths, dropped)
        )
        assert len(corpus.pairs[split]) + dropped.total() == len(pairs)
    return corpus


@dataclass(frozen=True)
class _Files:
    """The raw files of a corpus, each read and normalised once."""

    raw: Path
    cache: Path
    corpus: Corpus

    def read(self, name: str) -> list[str]:
        """Lines of a file; what normalising changed is counted."""
        return [
            normalise(line, self.corpus.changed.noting(f"{name}:{number}", line))
            for number, line in enumerate(_read_lines(self.raw / name, self.cache), start=1)
        ]


def _require(path: Path) -> None:
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; put it there (docs/own-text.md) or correct corpus.reader in "
            "params.yaml"
        )
    if path.stat().st_size == 0:
        raise DataError(
            f"{path}: is empty; put text into it or take it out of corpus.reader in params.yaml"
        )


def _require_aligned(paths: list[Path], lengths: list[int]) -> None:
    if lengths[0] != lengths[1]:
        raise DataError(
            f"{paths[0]} and {paths[1]}: number of lines ({lengths[0]} and {lengths[1]}) must be "
            "equal, line i of one translates line i of the other; align them"
        )


def _read_lines(path: Path, cache: Path) -> list[str]:
    import datasets

    datasets.disable_progress_bars()
    try:
        # Not by load_dataset, which tells a server of each use, of local files too.
        name = glob.escape(str(path.resolve()))  # brackets in a path are no pattern
        table = datasets.Dataset.from_text(name, cache_dir=str(cache), keep_in_memory=True)
    except Exception as error:
        cause = error.__cause__ or error
        raise DataError(f"{path}: cannot be read as UTF-8 text ({cause}); check the file") from None
    return list(table["text"])


def _documents(lines: list[str]) -> DocumentList:
    documents: DocumentList = [[]]
    for line in lines:
        if line:
            documents[-1].append(line)
        elif documents[-1]:
            documents.append([])
    return [document for document in documents if document]


def _usable(
    pairs: list[tuple[str, str]], max_words: int, paths: list[Path], dropped: Tally
) -> list[tuple[str, str]]:
    kept = []
    for number, pair in enumerate(pairs, start=1):
        if reason := _reason_to_drop(pair, max_words):
            dropped.add(reason, f"{paths[0].name} and {paths[1].name}:{number}", " ||| ".join(pair))
        else:
            kept.append(pair)
    return kept


def _reason_to_drop(pair: tuple[str, str], max_words: int) -> str:
    if not pair[0] or not pair[1]:
        return "pair with an empty side"
    if max(map(num_words, pair)) > max_words:
        return f"pair longer than {max_words} words"
    return ""
