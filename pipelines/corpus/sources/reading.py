"""Reading any source: files → documents and pairs, normalised, with their places."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pipelines.corpus.ledger import Account, Ledger
from pipelines.corpus.passages import Document, Pair
from pipelines.corpus.sources.memories import opus_pairs, tmx_pairs
from pipelines.corpus.sources.params import (
    AlignedSource,
    AnySource,
    OpusSource,
    TableSource,
    TextSource,
    TmxSource,
    has_documents,
)
from pipelines.corpus.sources.paths import expand
from pipelines.corpus.sources.plain import (
    Heading,
    Line,
    aligned_pairs,
    documents_of,
    sentences_of,
)
from pipelines.corpus.sources.tables import rows_of
from pipelines.formats.text import Tally, normalise

_LINE_END = re.compile(r"\r\n|\r|\n")  # as in files; other separators stand inside lines


class Reader:
    """Reads sources below a folder, and keeps account of it.

    Attributes:
        ledger: what was read, headings and empty pairs among what was dropped.
        changed: lines that normalising changed, by kind.
    """

    def __init__(self, raw: Path, languages: tuple[str, str]) -> None:
        self.ledger, self.changed = Ledger(languages), Tally()
        self._raw, self._languages = raw, languages

    def read(
        self, sources: Mapping[str, AnySource], key_of: Callable[[str], str]
    ) -> Iterator[Document | Pair]:
        """All documents and pairs of some sources, in order.

        Args:
            sources: by name.
            key_of: where a source stands in params.yaml.

        Raises:
            DataError: a file is missing, damaged, no text, or not of the form it was said to be.
        """
        for name, source in sources.items():
            holds = "documents" if has_documents(source) else "pairs"
            self.ledger.accounts[name] = Account(holds)
            key = key_of(name)
            yield from (
                self._documents(name, source, key)
                if isinstance(source, TextSource | TableSource) and has_documents(source)
                else self._pairs(name, source, key)
            )

    def _documents(
        self, name: str, source: TextSource | TableSource, key: str
    ) -> Iterator[Document]:
        language = source.language if isinstance(source, TextSource) else next(iter(source.fields))
        account, split = self.ledger.accounts[name], source.split
        found = (
            documents_of(self._raw, source, key, self._normalised)
            if isinstance(source, TextSource)
            else self._row_documents(source, language, key)
        )
        for file, lines in found:
            account.read += len(lines)
            sentences: list[str | None] = []
            for number, line in lines:
                if isinstance(line, Heading):
                    account.drop("heading", f"{file}:{number}", line)
                sentences.append(None if isinstance(line, Heading) else str(line))
            if any(sentences):
                numbers = [number for number, _ in lines]
                given = "" if split == "drawn" else split
                yield Document(name, given, language, file, numbers, sentences)

    def _row_documents(
        self, source: TableSource, language: str, key: str
    ) -> Iterator[tuple[str, list[Line]]]:
        """Each row is a document; the line ends inside its field are those of text files."""
        column = source.fields[language]
        for path in expand(self._raw, source.files, "table", key):
            name = path.relative_to(self._raw).as_posix()
            for number, (text,) in rows_of(path, [column], f"{key}.fields.{language}"):
                lines = [
                    (number, self._normalised(name, number, line)) for line in _LINE_END.split(text)
                ]
                yield name, sentences_of(lines, language, source.sentences)

    def _pairs(self, name: str, source: AnySource, key: str) -> Iterator[Pair]:
        account = self.ledger.accounts[name]
        given = "" if source.split == "drawn" else source.split
        for file, number, sides in self._raw_pairs(source, key):
            account.read += 1
            one, other = (self._normalised(file, number, side) for side in sides)
            if (one and other) or given == "test":
                yield Pair(name, given, file, number, (one, other))
            else:
                account.drop("empty", f"{file}:{number}", f"{one} ||| {other}")

    def _raw_pairs(self, source: AnySource, key: str) -> Iterator[tuple[str, int, tuple[str, str]]]:
        if isinstance(source, AlignedSource):
            yield from aligned_pairs(self._raw, source, self._languages, key)
            return
        assert isinstance(source, TableSource | TmxSource | OpusSource)
        for path in expand(self._raw, source.files, source.kind, key):
            name = path.relative_to(self._raw).as_posix()
            match source:
                case TableSource():
                    columns = [source.fields[language] for language in self._languages]
                    for number, (one, other) in rows_of(path, columns, f"{key}.fields"):
                        yield name, number, (one, other)
                case TmxSource():
                    for number, sides in tmx_pairs(path, self._languages):
                        yield f"{name}: unit", number, sides
                case OpusSource():
                    for member, (number, sides) in opus_pairs(path, self._languages):
                        yield f"{name}/{member}", number, sides

    def _normalised(self, file: str, number: int, line: str) -> str:
        return normalise(line, self.changed.noting(f"{file}:{number}", line))
