"""Reading text files, plain or gzipped, through the text builder of ``datasets``.

Documents: one sentence per line, a blank line between documents. Pairs: two files of equal length.
"""

import gzip
import unicodedata
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pipelines.corpus.corpus import Corpus, DocumentList
from pipelines.corpus.params import CorpusParams, FilesReader
from pipelines.errors import DataError


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
    """Read through the raw files without keeping anything: all there, UTF-8, aligned, enough documents.

    Raises:
        DataError: as `read_corpus` and `Corpus.check` would.
    """
    for files in (*reader.documents.values(), *reader.pairs.values()):
        for language in params.languages:
            _require(Path(params.raw) / files[language])
    for split, files in reader.pairs.items():
        paths = [Path(params.raw) / files[language] for language in params.languages]
        counts = [_count(path) for path in paths]
        _require_aligned(paths, [count.lines for count in counts])
        if not min(count.texts for count in counts):
            raise DataError(f"{paths[0]} and {paths[1]}: {split} pairs with text (0) must be at least 1; add pairs")
    for files in reader.documents.values():
        for language in params.languages:
            path = Path(params.raw) / files[language]
            count = _count(path)
            if count.documents < 2:
                raise DataError(
                    f"{path}: number of documents ({count.documents}) must be at least 2, NSP takes its negatives "
                    "from another document; put a blank line between documents"
                )
            if count.longest < 2:
                raise DataError(
                    f"{path}: longest document (1 sentence) must have at least 2 sentences, NSP needs a next one; "
                    "put one sentence on a line and blank lines between documents only"
                )


def _count(path: Path) -> _Counts:
    lines = texts = documents = longest = current = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            for line in file:
                lines += 1
                if line.strip():
                    texts += 1
                    documents += current == 0
                    current += 1
                    longest = max(longest, current)
                else:
                    current = 0
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error}); check the file") from None
    return _Counts(lines, texts, documents, longest)


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
    raw = Path(params.raw)
    dropped: Counter[str] = Counter()
    documents: dict[tuple[str, str], DocumentList] = {
        (split, language): _documents(_read_lines(raw / files[language], cache))
        for split, files in reader.documents.items()
        for language in params.languages
    }
    pairs: dict[str, list[tuple[str, str]]] = {}
    for split, files in reader.pairs.items():
        sides = [_read_lines(raw / files[language], cache) for language in params.languages]
        _require_aligned([raw / files[language] for language in params.languages], [len(side) for side in sides])
        all_pairs = list(zip(sides[0], sides[1], strict=True))
        pairs[split] = all_pairs if split == "test" else _without_unusable(all_pairs, reader.max_words, dropped)
    return Corpus(params.languages, documents, pairs, dropped)


def _require(path: Path) -> None:
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; put it there (README, «Your own text») or correct corpus.reader in params.yaml"
        )
    if path.stat().st_size == 0:
        raise DataError(f"{path}: is empty; put text into it or take it out of corpus.reader in params.yaml")


def _require_aligned(paths: list[Path], lengths: list[int]) -> None:
    if lengths[0] != lengths[1]:
        raise DataError(
            f"{paths[0]} and {paths[1]}: number of lines ({lengths[0]} and {lengths[1]}) must be equal, "
            "line i of one translates line i of the other; align them"
        )


def _read_lines(path: Path, cache: Path) -> list[str]:
    import datasets

    datasets.disable_progress_bars()
    try:
        table = datasets.load_dataset(
            "text", data_files=str(path.resolve()), split="train", cache_dir=str(cache), keep_in_memory=True
        )
    except Exception as error:
        cause = error.__cause__ or error
        raise DataError(f"{path}: cannot be read as UTF-8 text ({cause}); check the file") from None
    return [normalised(line) for line in table["text"]]


def normalised(line: str) -> str:
    """One form for one text: NFC, single spaces, no control characters."""
    visible = "".join(" " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char for char in line)
    return " ".join(unicodedata.normalize("NFC", visible).split())


def _documents(lines: list[str]) -> DocumentList:
    documents: DocumentList = [[]]
    for line in lines:
        if line:
            documents[-1].append(line)
        elif documents[-1]:
            documents.append([])
    return [document for document in documents if document]


def _without_unusable(pairs: list[tuple[str, str]], max_words: int, dropped: Counter[str]) -> list[tuple[str, str]]:
    kept = []
    for pair in pairs:
        if reason := _reason_to_drop(pair, max_words):
            dropped[reason] += 1
        else:
            kept.append(pair)
    return kept


def _reason_to_drop(pair: tuple[str, str], max_words: int) -> str:
    if not pair[0] or not pair[1]:
        return "pair with an empty side"
    if max(len(side.split()) for side in pair) > max_words:
        return f"pair longer than {max_words} words"
    return ""
