"""A process of a run on this machine, and the wish to stop it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from types import FrameType

from flows.process import GRACE_S


class Stop:
    """SIGTERM, SIGINT and SIGHUP as a request."""

    def __init__(self) -> None:
        self.requested = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.requested = True


class Child:
    """A process in a session of its own, which dies with this one.

    Args:
        command: program and arguments.
        environment: all its variables.
        folder: to run in.
    """

    def __init__(self, command: list[str], environment: Mapping[str, str], folder: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.frame.processes", *command],
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
        )
        self._asked_at: float | None = None

    def ended(self) -> int | None:
        """The exit code; None as long as it works."""
        return self._process.poll()

    def stop(self, grace_s: float = GRACE_S) -> None:
        """Ask it and all it started to stop; kill them when asked again ``grace_s`` later."""
        with contextlib.suppress(ProcessLookupError):
            if self._asked_at is None:
                self._asked_at = time.monotonic()
                os.killpg(self._process.pid, signal.SIGTERM)
            elif time.monotonic() - self._asked_at > grace_s:
                self.kill()

    def kill(self) -> None:
        """End it and all it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
