"""Prefect's server: waiting for one, and one for the time of a single flow."""

import contextlib
import http.client
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from pipelines.frame.errors import broken_rule

_PATIENCE_S, _LAST_WORDS_S, _PAUSE_S = 120.0, 30.0, 0.5
_APP = (
    "--factory",
    "prefect.server.api.server:create_app",
    "--log-level",
    "error",
    "--lifespan",
    "on",
)


def wait_until_healthy(url: str, patience_s: float = _PATIENCE_S) -> None:
    """Wait for a server on this machine, without any proxy.

    Raises:
        TimeoutError: it does not answer, or something else does.
    """
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline, last = time.monotonic() + patience_s, "no answer"
    while time.monotonic() < deadline:
        try:
            with direct.open(f"{url}/health", timeout=5) as answer:
                if json.loads(answer.read()) is True:
                    return
                last = "the answer of another server"
        except (ValueError, http.client.HTTPException):
            last = "the answer of another server"
        except OSError as error:
            last = str(error)
        time.sleep(0.2)
    rule = f"be Prefect's within {patience_s:.0f} s"
    remedy = "look into its log in PREFECT_HOME; is the port taken?"
    raise TimeoutError(broken_rule(url, "answer", last, rule, remedy))


@contextlib.contextmanager
def temporary_server() -> Iterator[None]:
    """A server for this process alone, unless PREFECT_API_URL names one;
    its history stays in PREFECT_HOME.

    Prefect would start one by itself, but that one goes on when this process is killed. If ours is
    killed it is started again, at the same address: Prefect's client tries for a minute.
    """
    if PREFECT_API_URL.value():
        yield
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    url, log = f"http://127.0.0.1:{port}/api", Path(os.environ["PREFECT_HOME"], "server.log")
    uvicorn = [sys.executable, "-m", "uvicorn", *_APP, "--host", "127.0.0.1", "--port", port]
    ended, started = threading.Event(), list[subprocess.Popen[bytes]]()

    def keep() -> None:
        while not ended.is_set():
            with log.open("a", encoding="utf-8") as file:
                command = [sys.executable, "-m", "pipelines.frame.processes", *uvicorn]
                started.append(
                    subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
                )
            started[-1].wait()
            ended.wait(_PAUSE_S)

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        wait_until_healthy(url)
        # Prefect says where a flow can be seen: nowhere, once it has ended.
        logging.getLogger("prefect.flow_runs").addFilter(_tells_no_address)
        with temporary_settings({PREFECT_API_URL: url}):
            yield
    finally:
        logging.getLogger("prefect.flow_runs").removeFilter(_tells_no_address)
        _say_last_words()
        ended.set()
        while thread.is_alive():
            started[-1].terminate()
            thread.join(_LAST_WORDS_S)
            started[-1].kill()


def _tells_no_address(entry: logging.LogRecord) -> bool:
    return not entry.getMessage().startswith("View at ")


def _say_last_words() -> None:
    """Empty Prefect's queues of logs and events while there is a server to take them.

    At exit Prefect waits until they are told, for many minutes if their server is gone.
    """
    for queue in (EventsWorker, APILogWorker):
        queue.drain_all(timeout=_LAST_WORDS_S)
