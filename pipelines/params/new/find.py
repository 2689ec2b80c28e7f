"""Which files of a folder hold pairs or documents, by their names and first lines."""

import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.frame.errors import DataError
from pipelines.params.raw_text import Sample

_SPLITS = {
    "train": "train", "training": "train",
    "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid",
    "test": "test", "eval": "test",
}  # fmt: skip
_DOCUMENTS = {"documents", "document", "docs", "doc", "mono", "monolingual", "captions", "articles"}
_MOST_FILES = 10_000
NAMELESS = ("0", "1")  # the fields of a table of two columns without a header


@dataclass(frozen=True)
class PairFiles:
    """Where pairs of one split stand.

    Attributes:
        split: train, valid or test, or an empty string where the name does not say.
        source, target: two files with aligned lines; the same file for a table.
        fields: of a table, the names of its source and target field.
    """

    split: str
    source: Path
    target: Path
    fields: tuple[str, str] | None = None


@dataclass
class Found:
    """What a folder holds.

    Attributes:
        pairs: files with pairs.
        documents: (split, language, file) with one sentence on a line.
        left: files that are neither, with the reason.
    """

    pairs: list[PairFiles] = field(default_factory=list)
    documents: list[tuple[str, str, Path]] = field(default_factory=list)
    left: list[tuple[Path, str]] = field(default_factory=list)


def find(folder: Path, languages: tuple[str, str]) -> Found:
    """Look at all files of a folder.

    Args:
        folder: with text.
        languages: source and target, as files or fields are named.

    Raises:
        DataError: there is no such folder, or nothing in it is of these languages.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: must be a folder with text; correct --raw")
    found = Found()
    sided: dict[tuple[str, ...], dict[str, Path]] = {}
    for path in _files(folder):
        try:
            sample = Sample.of(path)
        except (OSError, EOFError, zlib.error) as error:
            found.left.append((path, f"cannot be read ({error})"))
            continue
        if sample.table:
            _take_table(sample, languages, found)
        elif (named := _language(path.relative_to(folder), languages)) is None:
            found.left.append((path, f"named neither for {languages[0]} nor for {languages[1]}"))
        else:
            sided.setdefault(named[1], {})[named[0]] = path
    for rest, sides in sided.items():
        split = _split_of(rest)
        if _DOCUMENTS & set(rest):
            found.documents += [(split, language, path) for language, path in sides.items()]
        elif len(sides) == 2:
            found.pairs.append(PairFiles(split, sides[languages[0]], sides[languages[1]]))
        else:
            found.left += [(path, "has no other side") for path in sides.values()]
    if not found.pairs:
        raise DataError(_nothing(folder, languages, found))
    return found


def _files(folder: Path) -> Iterator[Path]:
    paths = (path for path in sorted(folder.rglob("*")) if not path.name.startswith("."))
    for number, path in enumerate(path for path in paths if path.is_file()):
        if number == _MOST_FILES:
            raise DataError(
                f"{folder}: number of files must be at most {_MOST_FILES:,}; name the folder with "
                "the text itself"
            )
        yield path


def _language(path: Path, languages: tuple[str, str]) -> tuple[str, tuple[str, ...]] | None:
    """The language a file is named for, and the other parts of its path.

    >>> _language(Path("fr-en/train.en.txt"), ("en", "fr"))
    ('en', ('fr', 'en', 'train', 'txt'))
    """
    parts = _parts(path.as_posix())
    for place in reversed(range(len(parts))):
        if parts[place] in languages:
            return parts[place], (*parts[:place], *parts[place + 1 :])
    return None


def _parts(name: str) -> list[str]:
    """``Train_set.en.txt`` → train, set, en, txt."""
    return re.split(r"[^\w]+|_", name.lower())


def _split_of(parts: Iterable[str]) -> str:
    return next((_SPLITS[part] for part in parts if part in _SPLITS), "")


def _take_table(sample: Sample, languages: tuple[str, str], found: Found) -> None:
    path, columns = sample.path, sample.columns()
    if sample.table == "parquet":
        found.left.append((path, "is Parquet; write its columns as CSV"))
        return
    split = _split_of(_parts(path.name))
    for fields in (languages, ("source", "target"), ("src", "tgt")):
        if set(fields) <= set(columns):
            found.pairs.append(PairFiles(split, path, path, fields))
            return
    if sample.table == "tsv" and len(columns) == 2:
        found.pairs.append(PairFiles(split, path, path, NAMELESS))
        return
    shown = ", ".join(columns[:6]) or "no record on a line of its own"
    found.left.append((path, f"has no fields {languages[0]} and {languages[1]} ({shown})"))


def _nothing(folder: Path, languages: tuple[str, str], found: Found) -> str:
    source, target = languages
    seen = "; ".join(f"{path.relative_to(folder)} {why}" for path, why in found.left[:5])
    return (
        f"{folder}: must hold pairs, two files with aligned lines whose names differ in {source} "
        f"and {target} (train.{source}, train.{target}), or a table (.csv, .tsv, .jsonl) with "
        f"fields {source} and {target}; {seen or 'it is empty'}"
    )
