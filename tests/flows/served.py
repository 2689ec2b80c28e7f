"""``make ui`` in a checkout of its own, for tests that ask it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import copy_project, free_port, run_in

_CLIENT = """
import asyncio, json, sys
import flows.environment
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import *
from prefect.client.schemas.sorting import *
from prefect.states import *
async def main():
    async with get_client() as client:
        {code}
asyncio.run(main())
"""


@dataclass
class Server:
    """``make ui`` at work in a checkout."""

    folder: Path
    port: int
    process: subprocess.Popen[str]
    changes: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        return {"PREFECT_API_URL": f"http://127.0.0.1:{self.port}/api", **self.changes}

    def ask(self, code: str) -> Any:
        """What a few lines with ``client`` print, as JSON."""
        script = _CLIENT.format(code=code.strip().replace("\n", "\n        "))
        return json.loads(
            run_in(self.folder, sys.executable, "-c", script, **self.environment).stdout
        )

    def start(self, deployment: str = "on-demand", **parameters: Any) -> str:
        """Id of a new flow run."""
        return self.ask(
            f"""
deployment = await client.read_deployment_by_name("maskline/{deployment}")
run = await client.create_flow_run_from_deployment(deployment.id, parameters={parameters!r})
print(json.dumps(str(run.id)))
"""
        )

    def flow_run(self, id: str) -> dict[str, Any]:
        """Name, state and message."""
        return self.ask(
            f"""
run = await client.read_flow_run("{id}")
print(json.dumps({{"name": run.name, "state": run.state.name, "message": run.state.message}}))
"""
        )

    def wait(self, id: str, *states: str, patience_s: float = 240.0) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def reached() -> bool:
            found.update(self.flow_run(id))
            return found["state"] in states

        until(reached, patience_s, lambda: f"{found}, not {states}\n{self.log('worker')}")
        return found

    def log(self, name: str) -> str:
        return (self.folder / f".runs/prefect/{name}.log").read_text()[-3000:]


def until(reached: Callable[[], bool], patience_s: float, told: Callable[[], str]) -> None:
    deadline = time.monotonic() + patience_s
    while not reached():
        assert time.monotonic() < deadline, told()
        time.sleep(0.3)


def processes_in(folder: Path) -> dict[int, str]:
    """Processes that work in a folder or below it."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if Path(os.readlink(path / "cwd")).is_relative_to(folder):
                found[int(path.name)] = (path / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found


HEARTBEAT_S = 30  # the shortest Prefect takes


def inherited() -> dict[str, str]:
    """This process's environment, without what belongs to its own checkout."""
    kept = {key: value for key, value in os.environ.items() if key != "PREFECT_HOME"}
    return {**kept, "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S)}


@contextmanager
def served(folder: Path, **changes: str) -> Iterator[Server]:
    """A copy of the project with tiny params, its server, worker and deployments, under other
    variables.
    """
    folder = copy_project(folder)
    command = [sys.executable, "-m", "flows.ui", "--port", str(port := free_port())]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, text=True, env={**inherited(), **changes}
    )
    try:
        assert process.stdout is not None
        assert f"http://127.0.0.1:{port}" in process.stdout.readline()
        yield Server(folder, port, process, changes)
    finally:
        process.terminate()
        process.wait(timeout=60)
    assert processes_in(folder) == {}  # the server, the worker, everything
