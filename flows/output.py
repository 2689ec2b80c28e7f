"""What a stage prints: all of it to a file, as much to Prefect as its API takes,
progress as a number.
"""

import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TextIO

from flows.dvc_words import NOISE, RUNNING, UNCHANGED, is_advice

_PROGRESS = re.compile(r"^update (\d+)/(\d+)\b")
_BURST, _PER_SECOND = 60.0, 5.0  # lines
_KEPT = 10  # attempts
_LEVELS = (
    (logging.WARNING, ("warning:", "WARNING:")),
    (logging.ERROR, ("error:", "ERROR:", "Traceback (most recent call last):")),
)


class Output:
    """Takes the lines of one attempt at a stage; a context manager.

    A stage that DVC has in its cache prints nothing of its own and gets no file.

    Args:
        path: of the file; those of the attempts before it become ``output.1.log``,
            ``output.2.log`` …, the oldest goes.
        log: shows a line, at a level of `logging`.
        progress: is told the share that is done, 0 to 1, at most once a second and at the end.
        now: seconds on a clock that never goes back.

    Attributes:
        last: the last lines.
        cached: DVC had the result.
    """

    def __init__(
        self,
        path: Path,
        log: Callable[[int, str], None],
        progress: Callable[[float], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._log, self._progress, self._now = path, log, progress, now
        self._file: TextIO | None = None
        self._before: list[str] = []  # lines until the stage itself runs
        self._allowed, self._refilled, self._dropped = _BURST, now(), 0
        self._told, self._share = float("-inf"), 0.0
        self.last: list[str] = []
        self.cached = False

    def __call__(self, line: str) -> None:
        """A line of output: to the file, to the log as fast as Prefect takes it,
        a bar's share as progress.
        """
        if not line or is_advice(line) or any(words in line for words in NOISE):
            return
        self.cached |= any(words in line for words in UNCHANGED)
        self._before.append(line)
        if self._file or line.startswith(RUNNING):
            self._keep()
        self.last = [*self.last[-19:], line]
        now = self._now()
        self._allowed = min(_BURST, self._allowed + (now - self._refilled) * _PER_SECOND)
        self._refilled = now
        level = level_of(line)
        if self._allowed >= 1 or level > logging.INFO:
            self._tell_dropped()
            self._allowed -= 1
            self._log(level, line)
        else:
            self._dropped += 1
        if found := _PROGRESS.match(line):
            self._share = int(found[1]) / max(1, int(found[2]))
            if now - self._told >= 1:
                self._told = now
                self._progress(self._share)

    def said(self, name: str) -> str:
        """The sentence in which a stage says what it made; empty if it did not come so far."""
        own = (line for line in reversed(self.last) if line.startswith(f"{name}: "))
        return next(own, "").removeprefix(f"{name}: ")

    def __enter__(self) -> "Output":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._tell_dropped()
        if not self.cached:
            self._keep()
        if self._file:
            self._file.close()
        if self._share:
            self._progress(self._share)

    def _keep(self) -> None:
        """Write what has come; the first time, the files of earlier attempts make room."""
        if self._file is None and self._before:
            _make_room(self._path)
            self._file = self._path.open("w", encoding="utf-8")
        if self._file:
            self._file.writelines(f"{line}\n" for line in self._before)
            self._file.flush()
            self._before = []

    def _tell_dropped(self) -> None:
        if self._dropped:
            self._log(logging.INFO, f"({self._dropped} lines are in {self._path} only)")
            self._dropped = 0


def level_of(line: str) -> int:
    """At which level of `logging` a line of a stage is shown, by how it begins."""
    return next((level for level, words in _LEVELS if line.startswith(words)), logging.INFO)


def _make_room(path: Path) -> None:
    """output.log becomes output.1.log, output.1.log output.2.log …; the last but nine goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = [path, *(path.with_suffix(f".{number}.log") for number in range(1, _KEPT))]
    for older, newer in zip(reversed(kept[1:]), reversed(kept[:-1]), strict=True):
        if newer.exists():
            newer.replace(older)
