"""What a stage prints: all of it to a file, as much to Prefect as its API takes,
progress as a number.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

_PROGRESS = re.compile(r"^update (\d+)/(\d+)\b")
_BURST, _PER_SECOND = 60.0, 5.0  # lines


class Output:
    """Takes the lines of one stage; a context manager.

    Args:
        path: of the file; each start begins a new one.
        log: shows a line.
        progress: is told the share that is done, 0 to 1, at most once a second and at the end.
        now: seconds on a clock that never goes back.
    """

    def __init__(
        self,
        path: Path,
        log: Callable[[str], None],
        progress: Callable[[float], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._file = path, path.open("w", encoding="utf-8")
        self._log, self._progress, self._now = log, progress, now
        self._allowed, self._refilled, self._dropped = _BURST, now(), 0
        self._told, self._share = float("-inf"), 0.0
        self.last: list[str] = []

    def __call__(self, line: str) -> None:
        """A line of output: to the file, to the log as fast as Prefect takes it,
        a bar's share as progress.
        """
        if not line:
            return
        self._file.write(f"{line}\n")
        self._file.flush()
        self.last = [*self.last[-19:], line]
        now = self._now()
        self._allowed = min(_BURST, self._allowed + (now - self._refilled) * _PER_SECOND)
        self._refilled = now
        if self._allowed >= 1:
            self._tell_dropped()
            self._allowed -= 1
            self._log(line)
        else:
            self._dropped += 1
        if found := _PROGRESS.match(line):
            self._share = int(found[1]) / max(1, int(found[2]))
            if now - self._told >= 1:
                self._told = now
                self._progress(self._share)

    def __enter__(self) -> "Output":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._tell_dropped()
        self._file.close()
        if self._share:
            self._progress(self._share)

    def _tell_dropped(self) -> None:
        if self._dropped:
            self._log(f"({self._dropped} lines are in {self._path} only)")
            self._dropped = 0
