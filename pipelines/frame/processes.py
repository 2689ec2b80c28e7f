"""One process tree: die with the parent, stop politely, run once.

DVC starts a stage through a shell and has no SIGTERM handler: killed, it would leave the stage
running and a second one could start beside it. So every stage arms itself (PR_SET_PDEATHSIG,
prctl(2)), holds a kernel lock while it works, and turns SIGTERM, SIGINT and SIGHUP into one polite
stop with exit code 75.
"""

import contextlib
import ctypes
import fcntl
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from pipelines.frame.errors import BusyError, Preempted

_PR_SET_PDEATHSIG = 1


def die_with_parent(signal_number: int = signal.SIGTERM) -> None:
    """Ask the kernel to signal this process when the thread that started it ends."""
    if not sys.platform.startswith("linux"):
        print(
            "warning: no parent-death signal on this system; a killed dvc leaves its stage running",
            file=sys.stderr,
        )
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    if os.getppid() != parent:  # the parent died between the two calls
        os.kill(os.getpid(), signal_number)


class _Lasting:
    """A stream that goes on into nothing when nobody reads it any more."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except BrokenPipeError:
            self._mute()
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._mute()

    def _mute(self) -> None:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self._stream.fileno())
        os.close(nothing)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def outlive_readers() -> None:
    """A flow that is killed takes the pipe with it:
    no print may then keep a stage from saving its checkpoint.
    """
    sys.stdout, sys.stderr = _Lasting(sys.stdout), _Lasting(sys.stderr)


def leave_rank(exit_code: int) -> int:
    """End this process at once if it is one of several ranks that talk by gloo; else the code.

    All that it had to do is done. Python's own shutdown stops torch's threads wherever they are,
    and then the process may end with SIGABRT ("terminate called without an active exception"): seen
    twice in some hundred ranks on a busy machine, after everything was saved.
    """
    group: Any = sys.modules.get("torch.distributed")  # the frame imports no torch
    if group is None or not group.is_available() or not group.is_initialized():
        return exit_code
    if group.get_world_size() == 1 or group.get_backend() != "gloo":
        return exit_code
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(exit_code)


class PoliteStop:
    """SIGTERM, SIGINT and SIGHUP (a closed terminal) as a request to stop.

    Outside ``cooperative()`` the request raises :class:`Preempted` at once. Inside it the signal
    only sets ``requested``: a training loop looks at it at a batch end, saves, and stops by itself.
    """

    def __init__(self) -> None:
        self.requested = False
        self._cooperative = False

    def install(self) -> None:
        """Take over the three signals; again after a library has replaced the handlers."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> Any:
        self.requested = True
        if not self._cooperative:
            raise Preempted(f"told to stop by {signal.Signals(number).name}; start again to go on")

    @contextlib.contextmanager
    def cooperative(self) -> Iterator[None]:
        """Within this block a signal sets ``requested`` and raises nothing."""
        self._cooperative = True
        try:
            yield
        finally:
            self._cooperative = False


@contextlib.contextmanager
def exclusive(path: Path, patience_s: float = 20.0, *, told: bool = True) -> Iterator[None]:
    """Hold the kernel lock of ``path``; it is released however the process ends.

    Args:
        path: a file; made if it is not there.
        patience_s: seconds to wait for it.
        told: whether waiting is worth a line.

    Raises:
        BusyError: another process still holds the lock after ``patience_s`` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _acquire(handle, path, patience_s, told=told)
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


def holder_of(path: Path) -> int | None:
    """The process that holds the kernel lock of ``path`` now; None if nobody does."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:  # there is none
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        written = os.pread(handle, 32, 0)
        return int(written) if written.isdigit() else None
    finally:
        os.close(handle)
    return None


def _acquire(handle: int, path: Path, patience_s: float, *, told: bool) -> None:
    deadline = time.monotonic() + patience_s
    said = not told
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError:
            holder = os.pread(handle, 32, 0).decode(errors="replace") or "unknown"
        if time.monotonic() > deadline:
            raise BusyError(
                f"{path}: process {holder} is running this stage in this checkout; wait for it or "
                f"stop it (kill {holder})"
            )
        if not said:
            print(f"waiting for process {holder}, which holds {path}", flush=True)
            said = True
        time.sleep(0.2)


# python -m pipelines.frame.processes COMMAND …: run a command that dies with who started it.
if __name__ == "__main__":
    die_with_parent()
    os.execvp(sys.argv[1], sys.argv[1:])
