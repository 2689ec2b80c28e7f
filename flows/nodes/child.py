"""A process of a run on this machine."""

import signal
import subprocess
import sys
import time
from collections.abc import Mapping

from flows.process import GRACE_S, signal_group


class Child:
    """A process in a session of its own, which dies with this one.

    Args:
        command: program and arguments.
        environment: all its variables.
        folder: to run in.
    """

    def __init__(self, command: list[str], environment: Mapping[str, str], folder: str) -> None:
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
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
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            signal_group(self._process, signal.SIGTERM)
        elif time.monotonic() - self._asked_at > grace_s:
            self.kill()

    def kill(self) -> None:
        """End it and all it started."""
        signal_group(self._process, signal.SIGKILL)
