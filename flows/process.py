"""Running DVC as a child process that cannot outlive the flow."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping

_GRACE_S = 60.0  # a training saves its checkpoint within an update


class Children:
    """The processes of one flow; each has a session of its own, so it is stopped with all it started."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._stopping = False

    def run(self, command: list[str], on_line: Callable[[str], None], environment: Mapping[str, str]) -> int:
        """Run a command to its end, handing on each line it prints; its exit code.

        Raises:
            RuntimeError: the flow is stopping.
        """
        with self._lock:
            if self._stopping:
                raise RuntimeError("the flow is stopping; nothing new is started")
            process = subprocess.Popen(
                [sys.executable, "-m", "pipelines.supervision", *command],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env={**os.environ, **environment},
                start_new_session=True,
            )
            self._running.add(process)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                on_line(line.rstrip())
            return process.wait()
        finally:
            with self._lock:
                self._running.discard(process)

    def stop(self) -> None:
        """Ask every child and its children to stop, wait for their checkpoints, kill what is left."""
        with self._lock:
            self._stopping = True
            running = list(self._running)
        for process in running:
            _signal(process, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_S
        while time.monotonic() < deadline and any(_alive(process) for process in running):
            time.sleep(0.1)
        for process in running:
            _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[str], number: int) -> None:
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
