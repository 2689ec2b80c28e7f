"""The pipeline as one Prefect flow: ``python -m flows.pipeline``.

One task per DVC stage, in the order dvc.yaml gives, as many at once as the machine has room for.
DVC decides what runs and what is cached; Prefect shows it. No server has to be started beforehand.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.experiment import experiment
from flows.graph import Node, ancestors, read_graph
from flows.notify import notify
from flows.outcome import StageFailed, StageInterrupted, failure, statuses
from flows.output import Output
from flows.pictures import show_graph, show_plan, show_results
from flows.process import Children
from flows.progress import Progress
from flows.server import temporary_server
from flows.slots import MachineSlots
from pipelines.frame.hardware import Hardware
from pipelines.frame.left_overs import set_aside
from pipelines.frame.params_reader import read_params, validate
from pipelines.frame.processes import exclusive
from pipelines.frame.run_folder import FLOW_LOCK, RUNS

_BUSY = "is busy"  # DVC's word for a read or write lock another stage holds for a moment
_UNCHANGED = ("didn't change, skipping", "is cached - skipping run")
_LOCK_TRIES = 5
# Seconds before the second, third and fourth try of a stage that was interrupted.
_BACK_OFF_S = (5.0, 30.0, 120.0)
_MOST_TASKS = 64


@task(name="preflight", task_run_name="preflight", cache_policy=NO_CACHE, persist_result=False)
def check(folder: Path) -> None:
    """All that can be known before anything is deleted or computed."""
    command = [sys.executable, "-m", "pipelines.preflight", "--run"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    get_run_logger().info(result.stdout + result.stderr)
    if result.returncode:
        raise ValueError(result.stderr)


@task(name="plan", task_run_name="plan", cache_policy=NO_CACHE, persist_result=False)
def publish_plan(folder: Path, until: str | None) -> None:
    """What will run, and why, as the flow's first artifact."""
    command = [sys.executable, "-m", "flows.plan", "--json"]
    command += ["--until", until] if until else []
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    show_plan(json.loads(result.stdout))


@task(cache_policy=NO_CACHE, persist_result=False)
def stage_task(
    node: Node, folder: Path, slots: MachineSlots, children: Children, group: str
) -> State[Any]:
    """Reproduce one stage; a state that says whether it ran or was cached.

    A stage that was told to stop, or whose process was lost, is started again, later each time, and
    goes on from its checkpoint.

    Raises:
        StageFailed: the stage ended with an error.
        StageInterrupted: it was interrupted once more than there are tries, or the flow is
            stopping.
        TimeLimitReached: it ran longer than its ``meta.hours`` in dvc.yaml.
    """
    for wait in (*_BACK_OFF_S, None):
        try:
            return _try_stage(node, folder, slots, children, group)
        except StageInterrupted as error:
            if wait is None or children.stopping.is_set():
                raise
            get_run_logger().warning(f"{error}\ngoing on from its checkpoint in {wait:.0f} s")
            if children.stopping.wait(wait):
                raise
    raise AssertionError("the last try returns or raises")


def _try_stage(
    node: Node, folder: Path, slots: MachineSlots, children: Children, group: str
) -> State[Any]:
    logger = get_run_logger()
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", node.name]
    path = folder / RUNS / node.name / "output.log"
    for attempt in range(_LOCK_TRIES):
        with (
            slots.taken(node) as devices,
            Progress(node.name) as shown,
            Output(path, logger.info, shown.update) as output,
        ):
            before, environment = statuses(folder, node.name), {"MASKLINE_GROUP": group, **devices}
            code = children.run(command, output, environment, folder=folder, limit_s=node.limit_s)
        if code == 0:
            cached = any(word in line for line in output.last for word in _UNCHANGED)
            return Completed(
                name="Cached" if cached else "Completed", message=(output.last or [""])[-1]
            )
        if not any(_BUSY in line for line in output.last):
            break
        time.sleep(2**attempt)
    raise failure(folder, node.name, before, code, output.last)


def submit(
    nodes: list[Node],
    folder: Path,
    slots: MachineSlots,
    children: Children,
    group: str,
    *,
    prefix: str = "",
) -> dict[str, PrefectFuture[Any]]:
    """A task for each stage of a checkout,
    each waiting for the ones it depends on. To be called inside a flow.

    Args:
        nodes: the stages, each after the ones it depends on.
        folder: the checkout.
        slots: of the machine.
        children: of the flow.
        group: of W&B.
        prefix: of the tasks' names.
    """
    futures: dict[str, PrefectFuture[Any]] = {}
    for node in nodes:
        upstream = [futures[name] for name in node.depends_on]
        name = f"{prefix}{node.name}"
        stage: Any = stage_task.with_options(name=name, task_run_name=name)
        futures[node.name] = stage.submit(node, folder, slots, children, group, wait_for=upstream)
    return futures


def reproduce(
    folder: Path, slots: MachineSlots, children: Children, group: str, until: str | None = None
) -> dict[str, State[Any]]:
    """The stages of a checkout, or those that ``until`` needs;
    the final state of each. To be called inside a flow.

    Raises:
        ParamsError: there is no stage ``until``.
    """
    nodes = read_graph(folder)
    nodes = ancestors(nodes, until) if until else nodes
    futures = submit(nodes, folder, slots, children, group)
    for future in futures.values():
        future.wait()
    states = {name: future.state for name, future in futures.items()}
    show_graph(nodes, {name: state.name or "" for name, state in states.items()})
    return states


def slots_of(folder: Path) -> MachineSlots:
    """The machine's, as ``hardware`` of this checkout sees it."""
    return MachineSlots.of_this_machine(
        validate(read_params(folder / "params.yaml"), "hardware", Hardware).accelerator
    )


RUNNER: Any = ThreadPoolTaskRunner(max_workers=_MOST_TASKS)


@flow(
    name="maskline", log_prints=True, task_runner=RUNNER, on_failure=[notify], on_crashed=[notify]
)
def pipeline(
    recipes: list[str] | None = None,
    overrides: dict[str, Any] | None = None,
    until: str | None = None,
) -> dict[str, str]:
    """Reproduce everything; stage → name of its final state.

    Args:
        recipes: names of files in recipes/, to be laid over params.yaml.
        overrides: parts of params.yaml, laid over it last. With recipes or overrides the flow works
            in a git worktree of its own, ``.runs/experiments/<flow run>``, with this checkout's
            cache; nothing here is changed.
        until: the stage that is wanted, ``evaluation`` or ``seq2seq@gru``; all stages without it.

    Raises:
        BusyError: another flow works in this checkout.
        ParamsError: recipes, overrides or ``until`` name what is not there.
        StageFailed: at least one stage failed.
    """
    name, folder, children = flow_run.name or "flow", Path(), Children()
    if recipes or overrides:
        folder = experiment(name, recipes or [], overrides or {})
        print(f"working in {folder}")
    with exclusive(folder / FLOW_LOCK):
        check(folder)
        if folder == Path():  # an experiment's worktree has only its own
            set_aside(read_params())
        publish_plan(folder, until)
        try:
            states = reproduce(folder, slots_of(folder), children, name, until)
        finally:
            children.stop()
    show_results(folder / "data/report")
    failed = {one: state for one, state in states.items() if not state.is_completed()}
    if failed:
        raise StageFailed(
            "\n".join(f"{one}: {state.name} {state.message or ''}" for one, state in failed.items())
        )
    return {one: state.name or "" for one, state in states.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--until", help="the stage that is wanted; all stages without it")
    arguments = parser.parse_args()
    with temporary_server():
        pipeline(until=arguments.until)
