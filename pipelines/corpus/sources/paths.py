"""Which files below ``corpus.raw`` a source's patterns name."""

import errno
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines.frame.errors import DataError
from pipelines.frame.params_problems import nearest

PACKED = (".gz", ".bz2", ".xz", ".zst")
TABLES = {".csv": "csv", ".tsv": "tsv", ".jsonl": "json", ".ndjson": "json", ".parquet": "parquet"}
_OF_KIND = {"table": tuple(TABLES), "tmx": (".tmx",), "opus": (".zip",)}
_NO_TEXT = {*TABLES, ".json", ".tmx", ".zip", ".xml", ".py", ".yaml", ".pdf", ".docx", ".html"}


def suffix_of(path: Path) -> str:
    """What a file is once unpacked: ``a.csv.gz`` is ``.csv``."""
    name = path.with_suffix("") if path.suffix in PACKED else path
    return name.suffix.lower()


def expand(raw: Path, patterns: Sequence[str], kind: str, key: str) -> list[Path]:
    """The files of a source, each once, in the order of their names.

    A path that is there is taken as it is, whatever signs are in it. Of a folder all files are
    taken whose names fit the kind; hidden ones never are, and symbolic links to folders are not
    followed.

    Args:
        raw: the folder of all sources.
        patterns: paths, globs or folders below it.
        kind: of source.
        key: of the source in params.yaml.

    Raises:
        DataError: a pattern names nothing, or a link leads nowhere.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = raw / pattern
        if _is_loop(path):
            raise DataError(
                f"{path}: is a symbolic link that leads back to itself; put the file there"
            )
        if path.is_file():
            taken = [path]
        elif path.is_dir():
            taken = [one for one in _files(raw, path.rglob("*")) if _fits(one, kind)]
            if not taken:
                raise DataError(
                    f"{path}: has no files for a source of kind {kind}; put them there, or correct "
                    f"{key} in params.yaml"
                )
        else:
            taken = _matches(raw, pattern, key)
        found.update(dict.fromkeys(taken))
    for path in found:
        if path.stat().st_size == 0:
            raise DataError(
                f"{path}: is empty; put text into it or take it out of corpus.reader in params.yaml"
            )
    return list(found)


def _matches(raw: Path, pattern: str, key: str) -> list[Path]:
    try:
        taken = list(_files(raw, raw.glob(pattern)))
    except (ValueError, NotImplementedError) as error:
        raise DataError(
            f"params.yaml: {key} ({pattern!r}) must be a path or a glob ({error}); correct it"
        ) from None
    if taken:
        return taken
    if any(sign in pattern for sign in "*?["):
        raise DataError(
            f"{raw}: {pattern!r} matches no file; correct {key} in params.yaml, or put files there"
        )
    there = [one.relative_to(raw).as_posix() for one in _files(raw, raw.rglob("*"))]
    near = nearest(pattern, there, "")
    raise DataError(
        f"{raw / pattern}: no such file; put it there (docs/own-text.md) or correct corpus.reader "
        f"in params.yaml{near and f'; {near}'}"
    )


def _files(raw: Path, paths: Iterator[Path]) -> Iterator[Path]:
    for path in sorted(paths):
        if any(part.startswith(".") for part in path.relative_to(raw).parts):
            continue
        if _is_loop(path):
            raise DataError(f"{path}: is a symbolic link that leads back to itself; take it away")
        if path.is_file():
            yield path


def _fits(path: Path, kind: str) -> bool:
    wanted = _OF_KIND.get(kind)
    return suffix_of(path) in wanted if wanted else suffix_of(path) not in _NO_TEXT


def _is_loop(path: Path) -> bool:
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False
