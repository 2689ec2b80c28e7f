"""Prefect over DVC: the graph, the slots, the processes, and a whole flow against a real ephemeral
server.
"""

import contextlib
import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from flows.graph import Node, read_graph
from flows.slots import MachineSlots
from pipelines.frame.hardware import visible_gpus
from tests.conftest import ROOT, copy_project, run_in


def test_read_graph_is_dvc_yamls_order(monkeypatch):
    monkeypatch.chdir(ROOT)
    nodes = read_graph()
    seen: set[str] = set()
    for node in nodes:
        assert set(node.depends_on) <= seen
        seen.add(node.name)
    by_name = {node.name: node for node in nodes}
    assert by_name["seq2seq@bert2bert"].depends_on == ("bert", "shards", "tokenizer")
    assert by_name["seq2seq@rnd2rnd"].depends_on == ("shards", "tokenizer")
    assert by_name["decoding@gru"].depends_on == ("seq2seq@gru", "shards", "tokenizer")
    assert (by_name["bert"].cpus, by_name["bert"].gpus) == (2, 1)


def _node(name: str, cpus: int, gpus: int = 0, *, alone: bool = False) -> Node:
    return Node(name, (), cpus, gpus, alone)


@pytest.mark.parametrize(
    ("machine", "node", "wanted"),
    [
        ((16, 0), _node("training", 2, 1, alone=True), (16, 0)),  # one CPU training at a time
        ((16, 0), _node("decoding", 2, 1), (2, 0)),
        ((16, 2), _node("training", 2, 1, alone=True), (2, 1)),
        ((16, 0), _node("corpus", 1), (1, 0)),
        (
            (1, 0),
            _node("tokenizer", 2),
            (1, 0),
        ),  # never more than there is, or it would wait for ever
    ],
)
def test_slots_wanted(machine, node, wanted):
    assert MachineSlots(*machine).wanted(node) == wanted


def test_slots_never_give_more_than_there_is_and_let_small_stages_run_together():
    slots, lock = MachineSlots(4, 0), threading.Lock()
    running: dict[str, int] = {}
    peaks: list[int] = []

    def stage(node: Node) -> None:
        with slots.taken(node):
            with lock:
                running[node.name] = slots.wanted(node)[0]
                peaks.append(sum(running.values()))
            time.sleep(0.02)
            with lock:
                del running[node.name]

    nodes = [_node(f"t{i}", 2, 1, alone=True) for i in range(4)] + [
        _node(f"c{i}", 1) for i in range(8)
    ]
    threads = [threading.Thread(target=stage, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert max(peaks) == 4


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("0,1", ["0", "1"]),
        ("3, 1", ["3", "1"]),
        ("", []),
        ("-1", []),
        ("2,-1,3", ["2"]),
        ("NoDevFiles", ["NoDevFiles"]),
        ("GPU-8932f937-d72c,MIG-GPU-1/1/0", ["GPU-8932f937-d72c", "MIG-GPU-1/1/0"]),
    ],
)
def test_an_inherited_choice_of_gpus_is_kept_and_never_widened(monkeypatch, given, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert visible_gpus() == expected
    slots = MachineSlots.of_this_machine("auto")
    nodes = [_node(f"n{number}", 1, 1) for number in range(len(expected))]
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(slots.taken(node)) for node in nodes]
        assert [one["CUDA_VISIBLE_DEVICES"] for one in taken] == expected
    with slots.taken(_node("again", 1, 1)) as again:
        assert again == ({"CUDA_VISIBLE_DEVICES": expected[0]} if expected else {})
    assert MachineSlots.of_this_machine("cpu").wanted(_node("cpu", 1, 1)) == (1, 0)


def test_two_sweeps_of_one_flow_share_the_gpus_that_were_inherited(monkeypatch):
    """Two trainings of two worktrees, one machine, two of its eight GPUs."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,7")
    slots, seen, lock = MachineSlots.of_this_machine("auto"), [], threading.Lock()

    def training(node: Node) -> None:
        with slots.taken(node) as environment:
            with lock:
                seen.append(environment["CUDA_VISIBLE_DEVICES"])
            time.sleep(0.02)

    threads = [
        threading.Thread(target=training, args=(_node(f"bert {number}", 2, 1),))
        for number in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert set(seen) <= {"6", "7"}
    assert len(seen) == 6


@pytest.mark.parametrize("devices", [1, 4, 8])
def test_a_training_takes_hardware_devices_and_a_search_one(tmp_path, devices):
    """As many as its own checkout asks for, so that experiments may differ."""
    project = copy_project(tmp_path / "project")
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("  devices: 1\n", f"  devices: {devices}\n"))
    nodes = {node.name: node for node in read_graph(project)}
    assert {nodes[name].gpus for name in ("bert", "seq2seq@gru", "seq2seq@bert2bert")} == {devices}
    assert nodes["decoding@gru"].gpus == 1
    assert {nodes[name].gpus for name in ("corpus", "shards", "evaluation", "report")} == {0}
    slots = MachineSlots(32, 8)
    trainings = [nodes["bert"], nodes["seq2seq@gru"]]
    with slots.taken(trainings[0]) as first:
        given = first["CUDA_VISIBLE_DEVICES"].split(",")
        assert len(given) == devices
        if devices < 8:  # two trainings of four run side by side
            with slots.taken(trainings[1]) as second:
                others = second["CUDA_VISIBLE_DEVICES"].split(",")
                assert len({*given, *others}) == 2 * devices


def test_a_training_of_all_gpus_waits_for_them_all_and_then_gets_them(monkeypatch):
    names = [f"GPU-{letter}" for letter in "abcdefgh"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(names))
    slots, got = MachineSlots.of_this_machine("auto"), []
    search, training = _node("search", 1, 1), _node("bert", 2, 8, alone=True)

    def train() -> None:
        with slots.taken(training) as environment:
            got.append(environment["CUDA_VISIBLE_DEVICES"])

    with slots.taken(search):
        thread = threading.Thread(target=train)
        thread.start()
        time.sleep(0.1)
        assert got == []
    thread.join(timeout=60)
    assert got == [",".join(names)]


def test_slots_give_each_training_a_gpu_of_its_own():
    slots = MachineSlots(16, 2)
    with slots.taken(_node("a", 2, 1)) as first, slots.taken(_node("b", 2, 1)) as second:
        assert {first["CUDA_VISIBLE_DEVICES"], second["CUDA_VISIBLE_DEVICES"]} == {"0", "1"}
    with slots.taken(_node("c", 2, 0)) as none:
        assert none == {}


SERVER = """
import asyncio, flows.environment, json
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter
async def main():
    found = {"flows": [], "tasks": {}, "logs": []}
    async with get_client() as client:
        for run in await client.read_flow_runs():
            found["flows"].append([run.state_name, run.state.message])
        for run in await client.read_task_runs(limit=50):
            before = [one.name for one in await client.read_task_run_states(run.id)]
            found["tasks"][run.name] = [run.state_name, run.state.message, before]
        for log in await client.read_logs(LogFilter(), limit=200):
            found["logs"].append([log.level, log.message])
    print(json.dumps(found))
asyncio.run(main())
"""


def _shown(project: Path, **environment: str) -> dict[str, Any]:
    """What Prefect has of all runs of a project."""
    printed = run_in(project, sys.executable, "-c", SERVER, **environment).stdout
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def test_flow_shows_what_ran_what_was_cached_and_the_logs(reproduced_copy):
    path = reproduced_copy / "params.yaml"
    path.write_text(path.read_text().replace("  num_samples: 5", "  num_samples: 2"))
    home = reproduced_copy / "home"
    home.mkdir()
    # which nobody answers
    proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy"), "http://127.0.0.1:9")
    result = run_in(
        reproduced_copy, sys.executable, "-m", "flows.pipeline", HOME=str(home), **proxies
    )
    found = _shown(reproduced_copy, HOME=str(home))
    assert not (home / ".prefect").exists()
    states = {name: state for name, (state, _, _) in found["tasks"].items()}
    assert states.pop("report") == "Completed"
    assert states.pop("preflight") == states.pop("plan") == "Completed"
    assert set(states.values()) == {"Cached"}
    assert len(states) == 17
    assert found["flows"][0][0] == "Completed"
    assert found["tasks"]["report"][1].startswith("5 systems, best ")  # its own sentence
    assert found["tasks"]["bert"][1] == "nothing it reads has changed"
    lines = [line for _, line in found["logs"]]
    assert len(lines) > 15
    assert not any("dvc push" in line or "git add" in line for line in lines)
    printed = result.stdout + result.stderr
    assert "Running stage 'report'" in printed
    assert "View at" not in printed
    assert "make ui" in result.stdout
    assert "next sentence (NSP)" in result.stdout  # the results table
    assert (
        run_in(reproduced_copy, "dvc", "status").stdout.strip()
        == "Data and pipelines are up to date."
    )


WAITING = """
import flows.environment
from pathlib import Path
from prefect import flow
from flows.graph import Node
from flows.pipeline import RUNNER
from flows.process import Children
from flows.server import temporary_server
from flows.slots import MachineSlots
from flows.stages import submit
nodes = [Node(name, (), 1, 0, True) for name in ("corpus", "tokenizer", "shards")]
@flow(task_runner=RUNNER)
def three():
    plan = [{"name": "shards", "state": "cached"}]
    futures = submit(nodes, Path(), MachineSlots(1, 0), Children(), "group", plan=plan)
    [future.wait() for future in futures.values()]
with temporary_server():
    three()
"""


def test_a_stage_without_room_waits_as_pending_and_a_cached_one_needs_none(reproduced_copy):
    run_in(reproduced_copy, sys.executable, "-c", WAITING)
    tasks = _shown(reproduced_copy)["tasks"]
    waited = [name for name, (_, _, states) in tasks.items() if "Waiting" in states]
    assert len(waited) == 1
    assert waited[0] in ("corpus", "tokenizer")
    assert tasks[waited[0]][2] == ["Pending", "Running", "Waiting", "Running", "Cached"]
    assert {state for state, _, _ in tasks.values()} == {"Cached"}


HOLDS = """
import sys, time, flows.environment
from flows.experiment import EXPERIMENTS, name_of
from pipelines.frame.processes import exclusive
with exclusive(EXPERIMENTS / (name_of([], {"seed": 2}) + ".lock")):
    print("holds", flush=True)
    time.sleep(600)
"""
ASKS = """
import flows.environment
from flows.pipeline import pipeline
from flows.server import temporary_server
with temporary_server():
    print("state:", pipeline(overrides={"seed": 2}, return_state=True).message)
"""


def test_an_experiment_that_is_at_work_is_told_and_its_worktree_is_not_touched(reproduced_copy):
    """Asked again, from another commit too, when it would be made anew."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS], cwd=reproduced_copy, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holds\n"
        printed = run_in(reproduced_copy, sys.executable, "-c", ASKS).stdout
    finally:
        holder.kill()
        holder.wait()
    assert f"{holder.pid}" in printed.split("state:")[1]
    assert not list((reproduced_copy / ".runs/experiments").glob("*/params.yaml"))


def test_flow_with_bad_params_fails_before_any_stage(reproduced_copy):
    shutil.rmtree(reproduced_copy / ".runs")  # as in a checkout where nothing has run yet
    path = reproduced_copy / "params.yaml"
    path.write_text(path.read_text().replace("  num_samples: 5", "  num_smaples: 5"))
    result = run_in(reproduced_copy, sys.executable, "-m", "flows.pipeline", check=False)
    assert result.returncode != 0
    assert "num_smaples" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert (reproduced_copy / "data/report/findings.json").exists()


def test_flow_failed_stage_fails_the_flow_and_names_it(reproduced_copy):
    path = reproduced_copy / "pipelines/decoding/decode.py"
    path.write_text(
        path.read_text().replace(
            "import sys\n", "import sys\n\nraise RuntimeError('broken on purpose')\n", 1
        )
    )
    result = run_in(reproduced_copy, sys.executable, "-m", "flows.pipeline", check=False)
    printed = result.stdout + result.stderr
    assert result.returncode != 0
    assert "broken on purpose" in printed
    assert "decoding@gru: " in printed
    assert "evaluation: was not started" in result.stderr
    assert "flows/" not in printed  # of a traceback of ours
    assert "dvc ended with 255" in printed
    assert not (reproduced_copy / "data/decoding/gru").exists()
    assert (reproduced_copy / "data/evaluation/metrics.json").exists()
