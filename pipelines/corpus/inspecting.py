"""What no corpus can be made of, found by reading through all sources without keeping anything."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.corpus.params import AnyTextReader, CorpusParams
from pipelines.corpus.passages import Document, Pair
from pipelines.corpus.sources.reading import Reader
from pipelines.frame.errors import DataError


def inspect(params: CorpusParams, reader: AnyTextReader) -> None:
    """Read through the raw files: all there, whole, text, aligned, enough.

    Raises:
        DataError: as `read_corpus` would, filters apart.
    """
    for _ in checked(Reader(Path(params.raw), params.languages), params, reader):
        pass


@dataclass
class _Found:
    """Of one kind, language and split.

    Attributes:
        count: documents or pairs.
        longest: sentences of the longest document.
        files: where they stand.
    """

    count: int = 0
    longest: int = 0
    files: dict[str, None] = field(default_factory=dict)


def checked(
    reading: Reader, params: CorpusParams, reader: AnyTextReader
) -> Iterator[Document | Pair]:
    """All that a reader's sources hold; when all is read, whether it is enough.

    Raises:
        DataError: see `Reader.read`; a source holds no text; there are too few documents or pairs.
    """
    found: dict[tuple[str, str, str], _Found] = {}
    for one in reading.read(reader.sources, reader.key):
        if isinstance(one, Pair):
            key, length = ("pairs", "", one.split), 1
        else:
            key, length = ("documents", one.language, one.split), len(one.sentences)
        seen = found.setdefault(key, _Found())
        seen.count += 1
        seen.longest = max(seen.longest, length)
        seen.files[one.file] = None
        yield one
    for name, source in reader.sources.items():
        if not reading.ledger.accounts[name].read:
            raise DataError(
                f"{params.raw}: source {name} ({source.kind}) must hold text, but there is none in "
                f"its files; correct {reader.key(name)} in params.yaml"
            )
    for (kind, language, split), seen in found.items():
        where = params.raw
        if len(seen.files) == 1:
            where = f"{params.raw}/{next(iter(seen.files))}"
        if kind == "pairs":
            _require_pairs(where, split, seen.count)
        else:
            _require_documents(f"{where}, documents in {language}", split, seen)


def _require_pairs(where: str, split: str, count: int) -> None:
    least = 1 if split else 3
    if count < least:
        raise DataError(
            f"{where}: number of pairs ({count}) must be at least {least}, one for each split; add "
            "pairs"
        )


def _require_documents(where: str, split: str, found: _Found) -> None:
    least = 2 if split else 4
    if found.count < least:
        raise DataError(
            f"{where}: number of documents ({found.count}) must be at least {least}, NSP takes its "
            "negatives from another document, in each split; put a blank line between documents, "
            "or read each file or row as one"
        )
    if found.longest < 2:
        raise DataError(
            f"{where}: longest document (1 sentence) must have at least 2 sentences, NSP needs a "
            "next one; put one sentence on a line and blank lines between documents only, or set "
            "sentences: split_lines"
        )
