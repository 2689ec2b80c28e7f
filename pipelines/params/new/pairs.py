"""Pairs and documents read from whatever form they have, cleaned of blanks, and split."""

import csv
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.corpus.sources.memories import opus_pairs, tmx_pairs
from pipelines.corpus.sources.opening import BROKEN, unpacked
from pipelines.corpus.sources.paths import suffix_of
from pipelines.corpus.sources.tables import rows_of
from pipelines.formats.text import Tally, normalise
from pipelines.frame.errors import DataError
from pipelines.params.new.find import NAMELESS, Found, PairFiles

Pair = tuple[str, str]
SPLITS = ("train", "valid", "test")
_FEWEST = 40  # pairs of which something can be learnt and tested
_BLOCK = 10  # sentences of a document that is made of training pairs
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass
class Text:
    """What will stand below data/raw.

    Attributes:
        pairs: of each split.
        documents: of (split, language); empty where the folder had none.
        dropped: pairs that are left out, with the reason.
        drawn: splits that were drawn from the others.
        recoded: files that were UTF-16.
    """

    pairs: dict[str, list[Pair]]
    documents: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    dropped: Tally = field(default_factory=Tally)
    drawn: list[str] = field(default_factory=list)
    recoded: list[str] = field(default_factory=list)


def read(found: Found, languages: tuple[str, str]) -> Text:
    """Read all files; pairs with an empty side and repeated ones are left out and counted.

    Raises:
        DataError: a file is no UTF-8, sides differ in length, or there are too few pairs.
    """
    text = Text({split: [] for split in SPLITS})
    seen: set[Pair] = set()
    # Validation and test first: what they have is no training pair.
    for files in sorted(found.pairs, key=lambda files: files.split in ("", "train")):
        for number, (source, target) in enumerate(_pairs_of(files, languages), start=1):
            pair = normalise(source, _forget), normalise(target, _forget)
            if not all(pair):
                text.dropped.add("with an empty side", f"{files.source.name}:{number}", source)
            elif pair in seen:
                text.dropped.add("twice", f"{files.source.name}:{number}", source)
            else:
                seen.add(pair)
                text.pairs[files.split or "train"].append(pair)
    _draw(text)
    for split, language, path in found.documents:
        lines = [normalise(line, _forget) for line in lines_of(path)]
        text.documents.setdefault((split or "train", language), []).extend([*lines, ""])
    _complete_documents(text, languages)
    paths = {path for files in found.pairs for path in (files.source, files.target)}
    paths |= {path for _, _, path in found.documents}
    text.recoded = sorted(path.name for path in paths if _is_utf_16(path))
    return text


def lines_of(path: Path) -> list[str]:
    """Lines of a file in UTF-8, or in UTF-16 with its mark; plain or packed.

    Raises:
        DataError: it is neither.
    """
    try:
        with unpacked(path) as file:
            raw = file.read()
        text = raw.decode("utf-16" if raw.startswith(_UTF_16) else "utf-8-sig")
    except (*BROKEN, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: must be UTF-8 text ({error}); if it is from Windows: "
            f"iconv -f WINDOWS-1252 -t UTF-8 '{path}' > '{path.name}.utf8'"
        ) from None
    # At newlines alone, as every reader of text here: there are other separators inside lines.
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n")


def _is_utf_16(path: Path) -> bool:
    with unpacked(path) as file:
        return file.read(2) in _UTF_16


def _pairs_of(files: PairFiles, languages: tuple[str, str]) -> Iterator[Pair]:
    match suffix_of(files.source):
        case ".tmx":
            yield from (sides for _, sides in tmx_pairs(files.source, languages))
            return
        case ".zip":
            yield from (sides for _, (_, sides) in opus_pairs(files.source, languages))
            return
        case ".parquet":
            rows = rows_of(files.source, files.fields or languages, "--source, --target")
            yield from ((one, other) for _, (one, other) in rows)
            return
    if files.fields is None:
        source, target = lines_of(files.source), lines_of(files.target)
        if len(source) != len(target):
            raise DataError(
                f"{files.source} and {files.target}: number of lines ({len(source):,} and "
                f"{len(target):,}) must be equal, line i of one translates line i of the other; "
                "align them"
            )
        yield from zip(source, target, strict=True)
        return
    one, other = files.fields
    for number, record in enumerate(_records(files), start=1):
        try:
            yield str(record[one] or ""), str(record[other] or "")
        except (KeyError, TypeError):
            raise DataError(
                f"{files.source}:{number}: must be a record with {one} and {other}, not "
                f"{str(record)[:60]}; correct the line"
            ) from None


def _records(files: PairFiles) -> Iterator[Any]:
    """Records of a table: JSON lines, or CSV and TSV with a header, which a table of nameless
    columns has not. Missing fields are None.
    """
    lines = [line for line in lines_of(files.source) if line.strip()]
    if lines[0].lstrip().startswith("{"):
        for line in lines:
            try:
                yield json.loads(line)
            except ValueError:
                yield line
        return
    nameless = files.fields == NAMELESS
    table = csv.DictReader(
        lines,
        list(NAMELESS) if nameless else None,
        delimiter="\t" if "\t" in lines[0] else ",",
        quoting=csv.QUOTE_NONE if nameless else csv.QUOTE_MINIMAL,
    )
    try:
        yield from table
    except csv.Error as error:
        raise DataError(f"{files.source}: must be a table ({error}); correct it") from None


def _draw(text: Text) -> None:
    """Take validation and test pairs from the training pairs where the folder has none."""
    train = text.pairs["train"]
    missing = [split for split in ("valid", "test") if not text.pairs[split]]
    if len(train) < _FEWEST:
        raise DataError(
            f"training pairs ({len(train)}) must be at least {_FEWEST}; add pairs, or name files "
            "for train, valid and test"
        )
    size = max(10, min(len(train) // 10, 1000))
    chosen = random.Random(1).sample(range(len(train)), size * len(missing))
    for number, split in enumerate(missing):
        rows = sorted(chosen[number * size : (number + 1) * size])
        text.pairs[split] = [train[row] for row in rows]
    taken = set(chosen)
    text.pairs["train"] = [pair for row, pair in enumerate(train) if row not in taken]
    text.drawn = missing


def _complete_documents(text: Text, languages: tuple[str, str]) -> None:
    """Documents of both splits in both languages, of pairs where the folder has none."""
    for side, language in enumerate(languages):
        for split in ("train", "valid"):
            if not any(text.documents.get((split, language), ())):
                lines = [pair[side] for pair in text.pairs[split]]
                blocks = [
                    [*lines[start : start + _BLOCK], ""] for start in range(0, len(lines), _BLOCK)
                ]
                text.documents[split, language] = [line for block in blocks for line in block]


def _forget(kind: str) -> None:
    """What normalising changes is counted by stage corpus."""
