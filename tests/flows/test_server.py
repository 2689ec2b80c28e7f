"""A real server, its worker, deployments and schedules: run, cancel, lose a process. Marked ``reliability``."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import flows.environment  # noqa: F401  (before Prefect is imported)
from tests.conftest import copy_project, run_in

pytestmark = pytest.mark.reliability
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

    @property
    def environment(self) -> dict[str, str]:
        return {"PREFECT_API_URL": f"http://127.0.0.1:{self.port}/api"}

    def ask(self, code: str) -> Any:
        """What a few lines with ``client`` print, as JSON."""
        script = _CLIENT.format(code=code.strip().replace("\n", "\n        "))
        return json.loads(run_in(self.folder, sys.executable, "-c", script, **self.environment).stdout)

    def start(self, **parameters: Any) -> str:
        """Id of a new flow run of the deployment ``on-demand``."""
        return self.ask(
            f"""
deployment = await client.read_deployment_by_name("maskline/on-demand")
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

        _until(reached, patience_s, lambda: f"{found}, not {states}\n{self.log('worker')}")
        return found

    def log(self, name: str) -> str:
        return (self.folder / f".runs/prefect/{name}.log").read_text()[-3000:]


def _until(reached: Callable[[], bool], patience_s: float, told: Callable[[], str]) -> None:
    deadline = time.monotonic() + patience_s
    while not reached():
        assert time.monotonic() < deadline, told()
        time.sleep(0.3)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _processes(folder: Path) -> dict[int, str]:
    """Processes that work in a folder or below it."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if Path(os.readlink(path / "cwd")).is_relative_to(folder):
                found[int(path.name)] = (path / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = copy_project(tmp_path_factory.mktemp("served") / "project")
    environment = {key: value for key, value in os.environ.items() if key != "PREFECT_HOME"}
    command = [sys.executable, "-m", "flows.ui", "--port", str(port := _free_port())]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        assert f"http://127.0.0.1:{port}" in process.stdout.readline()
        yield Server(folder, port, process)
    finally:
        process.terminate()
        process.wait(timeout=60)
    assert _processes(folder) == {}  # the server, the worker, everything


def test_server_listens_on_loopback_alone(server):
    listening = subprocess.run(["ss", "-ltnH"], capture_output=True, text=True, check=True).stdout
    (line,) = [line for line in listening.splitlines() if f":{server.port} " in line]
    assert f"127.0.0.1:{server.port}" in line


def test_deployments_are_there_and_the_schedule_makes_runs(server):
    names = server.ask("print(json.dumps([one.name for one in await client.read_deployments()]))")
    assert sorted(names) == ["nightly", "on-demand", "sweep"]

    def planned() -> bool:
        runs = server.ask(
            """
runs = await client.read_flow_runs(flow_run_filter=FlowRunFilter(state={"type": {"any_": ["SCHEDULED"]}}))
print(json.dumps([str(run.expected_start_time) for run in runs]))
"""
        )
        return len(runs) >= 3 and all("T02:00" in time.replace(" ", "T") for time in runs)

    _until(planned, 120, lambda: server.log("server"))
    limit = server.ask("print((await client.read_work_pool('maskline')).concurrency_limit)")
    assert limit == 1


def test_a_run_from_the_worker_is_whole_and_leaves_its_artifacts(server):
    id = server.start()
    server.wait(id, "Completed")
    tasks = server.ask(
        f"""
found = await client.read_task_runs(flow_run_filter=FlowRunFilter(id={{"any_": ["{id}"]}}))
print(json.dumps({{task.name: task.state.name for task in found}}))
"""
    )
    assert len(tasks) == 18
    assert set(tasks.values()) == {"Completed"}
    artifacts = server.ask(
        "print(json.dumps({one.key: str(one.data) for one in await client.read_latest_artifacts()}))"
    )
    assert {"plan", "graph", "results", "bleu", "progress-bert", "progress-seq2seq-gru"} <= set(artifacts)
    assert "```mermaid" in artifacts["graph"]
    assert "| bert2bert |" in artifacts["results"]
    assert artifacts["bleu"].startswith("![bleu](data:image/png;base64,")
    assert float(artifacts["progress-bert"]) == 100
    assert run_in(server.folder, "dvc", "status").stdout.strip() == "Data and pipelines are up to date."


_LONG = {
    "bert": {"phases": [{"updates": 100_000, "batch_size": 8, "ramp": "none", "max_length": 96, "max_predictions": 20}]}
}


def test_cancelling_in_the_ui_ends_everything_and_keeps_the_checkpoint(server):
    id = server.start(overrides=_LONG)
    name = server.flow_run(id)["name"]
    experiment = server.folder / ".runs/experiments" / name
    _until(lambda: bool(list(experiment.glob(".runs/bert/*/checkpoints/*"))), 240, lambda: server.log("worker"))
    assert any("pipelines.bert.pretrain" in command for command in _processes(experiment).values())
    asked = time.monotonic()
    server.ask(f'await client.set_flow_run_state("{id}", Cancelling()); print(0)')
    server.wait(id, "Cancelled", patience_s=65)
    took = time.monotonic() - asked
    assert _processes(experiment) == {}
    (status,) = experiment.glob(".runs/bert/*/status.json")
    assert json.loads(status.read_text())["state"] == "preempted"
    assert list(experiment.glob(".runs/bert/*/checkpoints/*"))
    assert not (experiment / "data/bert").exists()
    print(f"cancelled after {took:.1f} s")


def test_a_killed_flow_leaves_nothing_and_its_run_crashes(server):
    id = server.start(overrides=_LONG)
    name = server.flow_run(id)["name"]
    experiment = server.folder / ".runs/experiments" / name
    _until(lambda: bool(list(experiment.glob(".runs/bert/*/checkpoints/*"))), 240, lambda: server.log("worker"))
    (pid,) = [pid for pid, command in _processes(server.folder).items() if "flow_run" in command or "engine" in command]
    os.kill(pid, signal.SIGKILL)
    server.wait(id, "Crashed", patience_s=60)
    _until(lambda: _processes(experiment) == {}, 60, lambda: str(_processes(experiment)))
    (status,) = experiment.glob(".runs/bert/*/status.json")
    assert json.loads(status.read_text())["state"] == "preempted"
    assert not (experiment / "data/bert").exists()


def test_the_automation_for_vanished_flow_runs_is_registered(server):
    (found,) = server.ask("print(json.dumps([one.model_dump(mode='json') for one in await client.read_automations()]))")
    assert found["name"] == "maskline-zombies"
    assert found["enabled"]
    assert found["trigger"]["within"] == 180.0
