"""Prefect's server: waiting for one, and one for the time of a single flow."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

_PATIENCE_S, _LAST_WORDS_S = 120.0, 5.0
_APP = ("--factory", "prefect.server.api.server:create_app", "--log-level", "error", "--lifespan", "on")


def wait_until_healthy(url: str, patience_s: float = _PATIENCE_S) -> None:
    """Wait for the server.

    Raises:
        TimeoutError: it does not answer.
    """
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise TimeoutError(f"Prefect's server at {url} must answer within {patience_s:.0f} s; is the port taken?")


@contextlib.contextmanager
def temporary_server() -> Iterator[None]:
    """A server for this process alone, unless PREFECT_API_URL names one; its history stays in PREFECT_HOME.

    Prefect would start one by itself, but that one goes on when this process is killed.
    """
    if PREFECT_API_URL.value():
        yield
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    url, log = f"http://127.0.0.1:{port}/api", Path(os.environ["PREFECT_HOME"], "server.log")
    uvicorn = [sys.executable, "-m", "uvicorn", *_APP, "--host", "127.0.0.1", "--port", port]
    with log.open("w", encoding="utf-8") as file:
        command = [sys.executable, "-m", "pipelines.supervision", *uvicorn]
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
    try:
        wait_until_healthy(url)
        with temporary_settings({PREFECT_API_URL: url}):
            yield
    finally:
        for queue in (EventsWorker, APILogWorker):  # else, at exit, Prefect tries for a minute to reach this server
            queue.drain_all(timeout=_LAST_WORDS_S)
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
