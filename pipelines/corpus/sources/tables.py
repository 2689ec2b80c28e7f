"""Tables: CSV, TSV, JSON lines and Parquet, plain or packed; named fields of each row."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelines.corpus.sources.opening import BROKEN, LONGEST_LINE, decoded, lines_of, opened
from pipelines.corpus.sources.paths import TABLES, suffix_of
from pipelines.formats.text import bad_byte_of
from pipelines.frame.errors import DataError
from pipelines.frame.params_problems import nearest

_DELIMITERS = ",;\t|"  # a CSV of a European Excel has semicolons
Column = str | int
csv.field_size_limit(
    LONGEST_LINE
)  # of all readers of this process; 131,072 is too little for a page


def rows_of(path: Path, columns: Sequence[Column], key: str) -> Iterator[tuple[int, list[str]]]:
    """The text of some columns of each row, with the row's line or number; empty where a row has
    none.

    Args:
        path: of the table.
        columns: names, or numbers from 1 of a CSV or TSV without a header.
        key: of the columns in params.yaml.

    Raises:
        DataError: the file is no such table, or a column is missing or no text.
    """
    kind = TABLES.get(suffix_of(path))
    if kind is None:
        raise DataError(
            f"{path}: must be a table ({', '.join(TABLES)}, or packed); correct its name, or "
            "corpus.reader in params.yaml"
        )
    numbers = [column for column in columns if isinstance(column, int)]
    if numbers and kind not in ("csv", "tsv"):
        raise DataError(
            f"params.yaml: {key} ({numbers[0]}) must be a name: {path} has no columns without "
            "names; name it"
        )
    if kind == "parquet":
        return _parquet(path, [str(column) for column in columns], key)
    if kind == "json":
        return _json(path, [str(column) for column in columns], key)
    return _separated(path, columns, kind, key)


def _json(path: Path, columns: list[str], key: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines_of(path), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line.removeprefix("\ufeff"))
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{path}:{number}: must be a JSON record on a line ({error}); correct the line"
            ) from None
        if not isinstance(record, dict):
            raise DataError(
                f"{path}:{number}: must be a JSON record, not {line[:60]!r}; correct the line"
            )
        yield number, [_field(record, column, f"{path}:{number}", key) for column in columns]


def _field(record: dict[str, Any], column: str, where: str, key: str) -> str:
    """A record's field; dots lead into records inside it, if no field has that very name."""
    value: Any = record
    for part in [column] if column in record else column.split("."):
        if not isinstance(value, dict) or part not in value:
            raise _missing(where, column, list(record), key)
        value = value[part]
    return _as_text(value, column, where)


def _as_text(value: Any, column: str, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(
            f"{where}: {column} ({str(value)[:40]}) must be text, not {type(value).__name__}; "
            "name another column, or convert it"
        )
    return value


def _missing(where: str, column: object, there: list[str], key: str) -> DataError:
    listed = ", ".join(there[:8]) or "none"
    remedy = nearest(column, there, "correct it")
    return DataError(
        f"{where}: column {column!r} must be there, but there are {listed}; {key} in params.yaml: "
        f"{remedy}"
    )


def _separated(
    path: Path, columns: Sequence[Column], kind: str, key: str
) -> Iterator[tuple[int, list[str]]]:
    try:
        with opened(path) as file:
            lines = decoded(file, str(path), newline="")
            first = next(lines, "").removeprefix("\ufeff")
            delimiter = "\t" if kind == "tsv" else _delimiter(first, columns)
            table = csv.reader(
                _again(first, lines),
                delimiter=delimiter,
                # Of a TSV every sign counts (IANA, text/tab-separated-values).
                quoting=csv.QUOTE_NONE if kind == "tsv" else csv.QUOTE_MINIMAL,
                strict=True,
            )
            yield from _chosen(path, table, columns, key)
    except csv.Error as error:
        raise DataError(f"{path}: must be a {kind.upper()} table ({error}); correct it") from None
    except UnicodeDecodeError:
        with opened(path) as file:
            found = bad_byte_of(file)
        raise DataError(f"{path}: cannot be read as UTF-8 text: {found}") from None


def _again(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _delimiter(header: str, columns: Sequence[Column]) -> str:
    """The one under which the header has the columns, else the commonest of them."""
    for delimiter in _DELIMITERS:
        names = next(csv.reader([header], delimiter=delimiter), [])
        if {column for column in columns if isinstance(column, str)} <= set(names) and (
            isinstance(columns[0], str) or len(names) > 1
        ):
            return delimiter
    return max(_DELIMITERS, key=header.count)


def _chosen(
    path: Path, table: Any, columns: Sequence[Column], key: str
) -> Iterator[tuple[int, list[str]]]:
    width = 0
    places: list[int] = []
    for row in table:
        where = f"{path}:{table.line_num}"
        if not row:
            continue
        if not width:
            width = len(row)
            places = [_place(row, column, str(path), key) for column in columns]
            if isinstance(columns[0], str):
                continue
        if len(row) != width:
            raise DataError(
                f"{where}: number of columns ({len(row)}) must be {width}, as in the first row; "
                "correct the row"
            )
        yield table.line_num, [row[place] for place in places]


def _place(first: list[str], column: Column, where: str, key: str) -> int:
    if isinstance(column, int):
        if column > len(first):
            raise _missing(where, column, [str(number + 1) for number in range(len(first))], key)
        return column - 1
    if column not in first:
        raise _missing(where, column, first, key)
    return first.index(column)


def _parquet(path: Path, columns: list[str], key: str) -> Iterator[tuple[int, list[str]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with opened(path):  # it has not changed when all is read
            table = pq.ParquetFile(path)
            there = table.schema_arrow.names
            roots = [one if one in there else one.split(".")[0] for one in columns]
            for column, root in zip(columns, roots, strict=True):
                if root not in there:
                    raise _missing(str(path), column, there, key)
            number = 0
            for batch in table.iter_batches(10_000, columns=list(dict.fromkeys(roots))):
                for record in batch.to_pylist():
                    number += 1
                    where = f"{path}: row {number}"
                    yield number, [_field(record, column, where, key) for column in columns]
    except (pa.ArrowException, *BROKEN) as error:
        raise DataError(f"{path}: cannot be read as Parquet ({error}); check the file") from None
