"""A real server, its worker, deployments and schedules: run, cancel, lose a process. Marked
``reliability``.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.experiment import name_of
from flows.process import GRACE_S
from tests.conftest import run_in
from tests.flows.served import HEARTBEAT_S, Server, inherited, processes_in, until

pytestmark = pytest.mark.reliability


def test_server_listens_on_loopback_alone(server):
    listening = subprocess.run(["ss", "-ltnH"], capture_output=True, text=True, check=True).stdout
    (line,) = [line for line in listening.splitlines() if f":{server.port} " in line]
    assert f"127.0.0.1:{server.port}" in line


def test_deployments_are_there_and_the_schedule_makes_runs(server):
    names = server.ask("print(json.dumps([one.name for one in await client.read_deployments()]))")
    assert sorted(names) == ["nightly", "on-demand", "sweep", "watch"]

    def planned() -> bool:
        runs = server.ask(
            """
only = FlowRunFilter(state={"type": {"any_": ["SCHEDULED"]}})
runs = await client.read_flow_runs(flow_run_filter=only)
print(json.dumps([str(run.expected_start_time) for run in runs]))
"""
        )
        hours = {time.replace(" ", "T").partition("T")[2][:5] for time in runs}
        return len(runs) >= 4 and hours == {"02:00", "06:00"}  # nightly, watch

    until(planned, 120, lambda: server.log("server"))
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
    assert len(tasks) == 20
    assert set(tasks.values()) <= {"Completed", "Cached"}
    artifacts = server.ask(
        "print(json.dumps({one.key: str(one.data)"
        " for one in await client.read_latest_artifacts()}))"
    )
    assert {"plan", "graph", "results", "scores", "progress-bert", "progress-seq2seq-gru"} <= set(
        artifacts
    )
    assert "![graph](data:image/svg+xml;base64," in artifacts["graph"]
    assert "| bert2bert |" in artifacts["results"]
    assert artifacts["scores"].startswith("![scores](data:image/svg+xml;base64,")
    assert float(artifacts["progress-bert"]) == 100
    assert (
        run_in(server.folder, "dvc", "status").stdout.strip()
        == "Data and pipelines are up to date."
    )


def _long(seed: int) -> dict[str, Any]:
    """Overrides under which BERT trains for longer than any test; another seed is another
    experiment.
    """
    return {"seed": seed, **_LONG}


_LONG = {
    "bert": {
        "phases": [
            {
                "updates": 100_000,
                "batch_size": 8,
                "ramp": "none",
                "max_length": 96,
                "max_predictions": 20,
            }
        ]
    }
}


def _training(server: Server, overrides: dict[str, Any]) -> Path:
    """The experiment of a flow run, once its BERT has a checkpoint."""
    experiment = server.folder / ".runs/experiments" / name_of([], overrides)
    until(
        lambda: bool(list(experiment.glob(".runs/bert/*/checkpoints/*.ckpt"))),
        240,
        lambda: server.log("worker"),
    )
    return experiment


_WELL = {"state": "preempted", "checkpoint": True, "out": False, "processes": {}}


def _left(experiment: Path) -> dict[str, object]:
    """What a flow that was stopped in BERT has left; `_WELL` if all is as it should be."""
    (status,) = experiment.glob(".runs/bert/*/status.json")
    return {
        "state": json.loads(status.read_text())["state"],
        "checkpoint": bool(list(experiment.glob(".runs/bert/*/checkpoints/*.ckpt"))),
        "out": (experiment / "data/bert").exists(),
        "processes": processes_in(experiment),
    }


def _seconds_to_cancel(server: Server, id: str, experiment: Path) -> float:
    """Cancel a flow run in BERT as the UI does, until it is Cancelled."""
    assert any(
        "pipelines.bert.pretrain" in command for command in processes_in(experiment).values()
    )
    asked = time.monotonic()
    server.ask(f'await client.set_flow_run_state("{id}", Cancelling()); print(0)')
    server.wait(id, "Cancelled", patience_s=2 * GRACE_S)
    return time.monotonic() - asked


def test_cancelling_in_the_ui_ends_everything_and_keeps_the_checkpoint(server):
    id = server.start(overrides=(asked := _long(2)))
    experiment = _training(server, asked)
    assert _seconds_to_cancel(server, id, experiment) < GRACE_S + 5
    assert _left(experiment) == _WELL
    told = server.ask(
        f"found = FlowRunFilter(id={{'any_': ['{id}']}})\n"
        "runs = await client.read_task_runs(flow_run_filter=found)\n"
        "print(json.dumps({one.name: [one.state_name, one.state.message] for one in runs}))"
    )
    assert told["bert"] == ["Cancelled", "bert: stopped; what it has done is kept"]
    # The same again is the same experiment, and goes on where it stood.
    id = server.start(overrides=asked)
    until(
        lambda: "going on after update" in (experiment / ".runs/bert/output.log").read_text(),
        120,
        lambda: server.log("worker"),
    )
    assert _seconds_to_cancel(server, id, experiment) < GRACE_S + 5
    assert (experiment / ".runs/bert/output.1.log").exists()


@contextmanager
def _serving(server: Server) -> Iterator[subprocess.Popen[bytes]]:
    """A process of ``pipeline.serve()``, without any worker."""
    script = (
        "import os, flows.environment\nfrom flows.pipeline import pipeline\n"
        "pipeline.serve('served', description=f'pid {os.getpid()}')"
    )
    environment = {**inherited(), **server.environment}
    with (server.folder / ".runs/serve.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", script], cwd=server.folder, env=environment, stdout=log
        )
    try:
        until(lambda: f"pid {process.pid}" in _served(server), 60, lambda: server.log("server"))
        yield process
    finally:
        process.kill()
        process.wait()


def _served(server: Server) -> str:
    """What the deployments say of themselves."""
    return str(
        server.ask(
            "print(json.dumps([one.description for one in await client.read_deployments()]))"
        )
    )


def test_cancelling_a_run_that_is_served_ends_everything_and_keeps_the_checkpoint(server):
    with _serving(server):
        id = server.start("served", overrides=(asked := _long(3)))
        experiment = _training(server, asked)
        assert _seconds_to_cancel(server, id, experiment) < GRACE_S + 5
        assert _left(experiment) == _WELL


def test_a_flow_killed_with_all_who_could_tell_crashes_when_nothing_is_heard_of_it(server):
    with _serving(server) as serving:
        id = server.start("served", overrides=(asked := _long(4)))
        experiment = _training(server, asked)
        time.sleep(HEARTBEAT_S)  # so that it has been heard of
        for child in (*psutil.Process(serving.pid).children(), serving):
            child.kill()
        assert server.flow_run(id)["state"] == "Running"
        found = server.wait(id, "Crashed", patience_s=5 * HEARTBEAT_S + 60)
    assert found["message"] == "Its process has vanished."
    until(lambda: processes_in(experiment) == {}, 60, lambda: str(processes_in(experiment)))
    assert _left(experiment) == _WELL


def test_a_killed_flow_leaves_nothing_and_its_run_crashes(server):
    id = server.start(overrides=(asked := _long(5)))
    experiment = _training(server, asked)
    running = processes_in(server.folder)
    (pid,) = [
        pid for pid, command in running.items() if "flow_run" in command or "engine" in command
    ]
    os.kill(pid, signal.SIGKILL)
    server.wait(id, "Crashed", patience_s=60)
    until(lambda: processes_in(experiment) == {}, 60, lambda: str(processes_in(experiment)))
    assert _left(experiment) == _WELL


def test_the_automation_for_vanished_flow_runs_is_registered(server):
    (found,) = server.ask(
        "print(json.dumps([one.model_dump(mode='json') for one in await "
        "client.read_automations()]))"
    )
    assert found["name"] == "maskline-zombies"
    assert found["enabled"]
    assert found["trigger"]["within"] == 3 * HEARTBEAT_S
