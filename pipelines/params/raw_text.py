"""What a raw file looks like, from its first lines: text or a table, and in which language."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.corpus.sources.opening import unpacked
from pipelines.corpus.sources.paths import PACKED, TABLES

_LINES, _LETTERS = 2_000, 1_000_000  # of a file, at most
_ENOUGH = 200  # characters, to guess a language from
_TABLES = {**TABLES, ".json": "json"}


@dataclass(frozen=True)
class Sample:
    """The first lines of a file that are not blank.

    Attributes:
        path: of the file, plain or gzipped.
        lines: at most 2,000, without their ends.
    """

    path: Path
    lines: tuple[str, ...]

    @classmethod
    def of(cls, path: Path) -> "Sample":
        """Read it; what is no UTF-8 is replaced. Of Parquet the first rows are written as JSON.

        Raises:
            OSError, EOFError, zlib.error, lzma.LZMAError: it cannot be read.
        """
        if path.suffix == ".parquet":
            return cls(path, tuple(_parquet_lines(path)))
        with io.TextIOWrapper(unpacked(path), "utf-8-sig", errors="replace") as file:
            lines = file.read(_LETTERS).split("\n")  # a file may be one endless line
        return cls(path, tuple(line for line in lines if line.strip())[:_LINES])

    @property
    def table(self) -> str | None:
        """``json``, ``csv``, ``tsv`` or ``parquet`` if each line is a record; None for text."""
        suffixes = [suffix for suffix in self.path.suffixes if suffix not in PACKED]
        if suffixes and suffixes[-1].lower() in _TABLES:
            return _TABLES[suffixes[-1].lower()]
        if self.lines and all(map(_record, self.lines[:20])):
            return "json"
        tabs = {line.count("\t") for line in self.lines[:200]}
        return "tsv" if len(tabs) == 1 and tabs != {0} else None

    def languages(self) -> list[str]:
        """Codes of the languages it may be in, the likeliest first; none if there is too little."""
        text = " ".join(self.lines[:300])[:20_000]
        if len(text) < _ENOUGH:
            return []
        import py3langid

        return [code for code, _ in py3langid.rank(text)[:3]]

    def columns(self) -> list[str]:
        """Names of the fields of a table: the keys of its records, or its first row."""
        if self.table in ("json", "parquet"):
            return list(_record(self.lines[0] if self.lines else ""))
        delimiter = "\t" if self.table == "tsv" else self._delimiter()
        return next(csv.reader(self.lines[:1], delimiter=delimiter), [])

    def rows(self) -> list[dict[str, Any]]:
        """The records of a table, as far as the lines tell them."""
        if self.table in ("json", "parquet"):
            return [_record(line) for line in self.lines]
        delimiter = "\t" if self.table == "tsv" else self._delimiter()
        return list(csv.DictReader(self.lines, delimiter=delimiter))

    def _delimiter(self) -> str:
        """A comma, or the semicolon of a European Excel."""
        header = self.lines[0] if self.lines else ""
        return ";" if header.count(";") > header.count(",") else ","


def _parquet_lines(path: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        batch = next(pq.ParquetFile(path).iter_batches(_LINES), None)
    except pa.ArrowException as error:
        raise OSError(str(error)) from None
    return [json.dumps(row, default=str) for row in batch.to_pylist()] if batch else []


def _record(line: str) -> dict[str, Any]:
    """A line as a record; an empty one of what is none."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def share_equal(one: Sequence[str], other: Sequence[str]) -> float:
    """The share of lines that are the same on both sides."""
    pairs = list(zip(one, other, strict=False))
    return sum(left == right for left, right in pairs) / max(1, len(pairs))
