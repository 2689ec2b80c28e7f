"""Processes of a flow: none outlives it, none runs longer than it may,
all are asked before they are killed.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

GRACE_S = 60.0  # a training saves its checkpoint within an update


class TimeLimitReached(Exception):
    """A process ran longer than it may, and was ended."""


class FlowStops(RuntimeError):
    """Nothing new is started any more."""


class Children:
    """The processes of one flow; each has a session of its own,
    so it is stopped with all it started.

    Args:
        grace_s: seconds between SIGTERM and SIGKILL.

    Attributes:
        stopping: set once nothing new may start.
    """

    def __init__(self, grace_s: float = GRACE_S) -> None:
        self._grace_s = grace_s
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self.stopping = threading.Event()

    def run(
        self,
        command: Sequence[str],
        on_line: Callable[[str], None],
        environment: Mapping[str, str],
        *,
        folder: Path = Path(),
        limit_s: float | None = None,
    ) -> int:
        """Run a command to its end, handing on each line it prints; its exit code.

        Args:
            command: program and arguments.
            on_line: is given each line; of a progress bar, what it showed last.
            environment: variables to set.
            folder: to run in.
            limit_s: seconds it may run.

        Raises:
            FlowStops: the flow is stopping.
            TimeLimitReached: it took longer than ``limit_s``.
        """
        with self._lock:
            if self.stopping.is_set():
                raise FlowStops("the flow is stopping; nothing new is started")
            process = subprocess.Popen(
                [sys.executable, "-m", "pipelines.frame.processes", *command],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env={**os.environ, **environment},
                cwd=folder,
                start_new_session=True,
            )
            self._running.add(process)
        late = threading.Event()

        def end() -> None:
            late.set()
            self._end([process])

        timer = threading.Timer(limit_s or 0, end)
        if limit_s is not None:
            timer.start()
        assert process.stdout is not None
        try:
            process.stdout.reconfigure(newline="\n")  # type: ignore[attr-defined]
            for line in process.stdout:
                on_line(line.rstrip().rpartition("\r")[2])
            code = process.wait()
        except BaseException:  # of ``on_line``
            threading.Thread(
                target=process.stdout.read, daemon=True
            ).start()  # unread, it could not even save
            self._end([process])
            raise
        finally:
            timer.cancel()
            with self._lock:
                self._running.discard(process)
        if late.is_set():
            raise TimeLimitReached(
                f"{' '.join(command)} ran longer than {limit_s:,.0f} s and was ended"
            )
        return code

    def stop(self) -> None:
        """Ask every child and its children to stop, wait for their checkpoints,
        kill what is left.
        """
        with self._lock:
            self.stopping.set()
            running = list(self._running)
        self._end(running)

    def _end(self, processes: Sequence[subprocess.Popen[str]]) -> None:
        for process in processes:
            signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + self._grace_s
        while time.monotonic() < deadline and any(_alive(process) for process in processes):
            time.sleep(0.1)
        for process in processes:
            signal_group(process, signal.SIGKILL)


def signal_group(process: subprocess.Popen[Any], number: int) -> None:
    """Signal a process that leads a session, and all it started there."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _alive(process: subprocess.Popen[str]) -> bool:
    """Whether anything of the child's process group is left."""
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True
