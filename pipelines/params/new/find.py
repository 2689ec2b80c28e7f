"""Which files of a folder hold pairs or documents, by their names and first lines."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.corpus.sources.opening import BROKEN
from pipelines.corpus.sources.paths import suffix_of
from pipelines.frame.errors import DataError
from pipelines.params.raw_text import Sample

_SPLITS = {
    "train": "train", "training": "train",
    "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid",
    "test": "test", "eval": "test",
}  # fmt: skip
_DOCUMENTS = {"documents", "document", "docs", "doc", "mono", "monolingual", "captions", "articles"}
_MOST_FILES = 10_000
NAMED_INSIDE = (".tmx", ".zip")  # what has its languages in it
NAMELESS = ("0", "1")  # the fields of a table of two columns without a header


@dataclass(frozen=True)
class PairFiles:
    """Where pairs of one split stand.

    Attributes:
        split: train, valid or test, or an empty string where the name does not say.
        source, target: two files with aligned lines; the same file for a table.
        fields: of a table, the names of its source and target field; None too of a translation
            memory and of a zip, which name their languages themselves.
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
    for path in files_of(folder):
        _take(path, path.relative_to(folder), languages, found, sided)
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


def _take(
    path: Path,
    shown: Path,
    languages: tuple[str, str],
    found: Found,
    sided: dict[tuple[str, ...], dict[str, Path]],
) -> None:
    """Put one file where it belongs; one side of a pair of files under the rest of its name."""
    if suffix_of(path) in NAMED_INSIDE:
        found.pairs.append(PairFiles(_split_of(_parts(path.name)), path, path))
        return
    try:
        sample = Sample.of(path)
    except BROKEN as error:
        found.left.append((path, f"cannot be read ({error})"))
        return
    if sample.table:
        _take_table(sample, languages, found)
    elif (named := _language(shown, languages)) is None:
        found.left.append((path, f"named neither for {languages[0]} nor for {languages[1]}"))
    else:
        sided.setdefault(named[1], {})[named[0]] = path


def files_of(folder: Path) -> Iterator[Path]:
    """All files of a folder that are not hidden.

    Raises:
        DataError: they are too many to be a text.
    """
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
        f"and {target} (train.{source}, train.{target}), or a table (.csv, .tsv, .jsonl, "
        f".parquet) with fields {source} and {target}, a .tmx, "
        f"or a .zip of OPUS; {seen or 'it is empty'}"
    )
