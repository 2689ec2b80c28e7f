"""Opening files of unknown origin: unpacked, watched for bombs and changes, line by line.

Every way to read text passes here, so that what is broken is refused in the same words.
"""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from pipelines.formats.text import bad_byte_of
from pipelines.frame.errors import DataError

LONGEST_LINE = 10_000_000  # characters; longer ones are no text anybody wrote
_BOMB_BYTES, _BOMB_RATIO = 100_000_000, 300  # text packs to a tenth, seldom to a fiftieth
_UNPACK: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError)


class _Watched(io.RawIOBase):
    """An unpacked stream that ends when far more comes out than its file can honestly hold."""

    def __init__(self, stream: BinaryIO, path: str, packed_size: int) -> None:
        self._stream, self._path = stream, path
        self._most = max(_BOMB_BYTES, _BOMB_RATIO * packed_size)
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._count += len(data)
        if self._count > self._most:
            raise DataError(
                f"{self._path}: unpacks to more than {_BOMB_RATIO} times its size; it must be "
                "text, or unpacked by you"
            )
        return len(data)


def watched(stream: BinaryIO, name: str, packed_size: int) -> BinaryIO:
    """A stream that refuses to be a bomb; ``packed_size`` are the bytes it comes from."""
    return cast(BinaryIO, io.BufferedReader(_Watched(stream, name, packed_size), 2**18))


def unpacked(path: Path) -> BinaryIO:
    """A file's bytes as they are, or unpacked if its name says that they are packed."""
    if path.suffix == ".zst":
        import pyarrow as pa  # finds out that a stream is cut short, which zstandard does not

        stream: Any = pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")
    elif path.suffix in _UNPACK:
        stream = _UNPACK[path.suffix](path)
    else:
        return path.open("rb")
    return watched(stream, str(path), path.stat().st_size)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file's bytes, unpacked if its name says so.

    Raises:
        DataError: it is missing, damaged, cut short, a bomb, or changed while it was read.
    """
    try:
        before = path.stat()
        with unpacked(path) as file:
            yield file
        after = path.stat()
    except BROKEN as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error}); check the file") from None
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise DataError(
            f"{path}: changed while it was read; run again when nobody writes to it any more"
        )


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a text file without their ends: LF, CRLF or a lone CR.

    Raises:
        DataError: see `opened`; it is no UTF-8, holds NULs as UTF-16 does, or one line is longer
            than `LONGEST_LINE`.
    """
    try:
        with opened(path) as file:
            yield from decoded(file, str(path))
    except UnicodeDecodeError:
        with opened(path) as file:
            found = bad_byte_of(file)
        raise DataError(f"{path}: cannot be read as UTF-8 text: {found}") from None


def decoded(file: BinaryIO, name: str, newline: str | None = None) -> Iterator[str]:
    """The lines of a stream, without their ends.

    Args:
        file: of bytes.
        name: of it, for messages.
        newline: None: any end of line; an empty string: as they are, at their ends, as CSV needs.

    Raises:
        DataError: a line is too long.
        UnicodeDecodeError: it is no UTF-8, or holds NULs.
    """
    text = io.TextIOWrapper(file, encoding="utf-8", newline=newline)
    number = 0
    while line := text.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise DataError(
                f"{name}:{number}: length of the line (more than {LONGEST_LINE:,} characters) must "
                "be that of a text; break it into lines"
            )
        if "\0" in line:
            raise UnicodeDecodeError("utf-8", b"\0", 0, 1, "NUL")
        yield line if newline == "" else line.removesuffix("\n")
