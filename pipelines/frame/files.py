"""Files that stand there whole or not at all: JSON, digests, manifests, fsync."""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.frame.errors import DataError

MANIFEST = "manifest.json"


def finite(value: Any) -> Any:
    """``value`` with NaN and infinities written as strings: JSON has no such numbers."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def write_json(path: Path, value: Any) -> None:
    """Readable JSON, keys in the order given, the same bytes for the same value."""
    path.write_text(
        json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        encoding="utf-8",
    )


def write_whole(path: Path, value: Any) -> None:
    """JSON that stands there whole or as it was."""
    temporary = path.with_suffix(".tmp")
    try:
        write_json(temporary, value)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)  # of a full disk


def write_text_whole(path: Path, text: str) -> None:
    """Text that stands there whole or as it was."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Hex digest of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def describe_input(path: Path) -> dict[str, str]:
    """File name → sha256 of an input: from its manifest if a stage wrote it, else by reading.

    Raises:
        DataError: the input is missing, empty or unreadable.
    """
    if (path / MANIFEST).is_file():
        return {f"{path}/{MANIFEST}": sha256_of(path / MANIFEST)}
    files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
    if not files:
        raise DataError(
            f"{path}: no such file or folder, or it is empty; run the stage that writes it (dvc "
            "repro)"
        )
    try:
        return {file.as_posix(): sha256_of(file) for file in files}
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}); check its permissions") from None


def write_manifest(folder: Path) -> None:
    """``manifest.json``: sha256 of every other file of the folder."""
    files = sorted(item for item in folder.rglob("*") if item.is_file() and item.name != MANIFEST)
    write_json(
        folder / MANIFEST, {file.relative_to(folder).as_posix(): sha256_of(file) for file in files}
    )


def sync(path: Path) -> None:
    """Force a file or a folder's entries onto the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """`sync` of all that lies in a folder, and of itself."""
    for path in [*folder.rglob("*"), folder]:
        sync(path)
