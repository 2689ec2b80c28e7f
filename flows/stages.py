"""Stages as Prefect's tasks: each waits for those before it and for room, and says how it ended."""

import json
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import TaskRunContext
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Completed, Failed, Pending, Running
from prefect.utilities.engine import emit_task_run_state_change_event

from flows.dvc_words import BUSY
from flows.graph import Node
from flows.outcome import StageFailed, StageInterrupted, failure, statuses
from flows.output import Output
from flows.process import Children, FlowStops, TimeLimitReached
from flows.progress import Progress
from flows.slots import MachineSlots
from pipelines.frame.run_folder import RUNS
from pipelines.params.kept import changes_now

_LOCK_TRIES = 5
# Seconds before the second, third and fourth try of a stage that was interrupted.
_BACK_OFF_S = (5.0, 30.0, 120.0)
_STOPPED = "stopped; what it has done is kept"


def planned(folder: Path, until: str | None = None) -> list[dict[str, Any]]:
    """The plan of a checkout, as `flows.plan` gives it to programs.

    Raises:
        CalledProcessError: there is none.
    """
    command = [sys.executable, "-m", "flows.plan", "--json"]
    command += ["--until", until] if until else []
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@task(cache_policy=NO_CACHE, persist_result=False)
def stage_task(
    node: Node, folder: Path, slots: MachineSlots, children: Children, group: str, foreseen: str
) -> State[Any]:
    """Reproduce one stage; a state that says what it made, and whether it ran or was cached.

    A stage that was told to stop, or whose process was lost, is started again, later each time, and
    goes on from its checkpoint. One whose flow ends is Cancelled, one that cannot go on Failed.
    """
    room = None if foreseen == "cached" else slots
    if foreseen == "waits" and not slots.fits(node) and _is_cached(folder, node.name):
        room = None  # what it waited for came out as it was
    try:
        for wait in (*_BACK_OFF_S, None):
            if children.stopping.is_set():
                break
            try:
                return _try_stage(node, folder, room, children, group)
            except StageInterrupted as error:
                if children.stopping.is_set():
                    break
                if wait is None:
                    raise
                get_run_logger().warning(f"{error}\ngoing on from its checkpoint in {wait:.0f} s")
                if children.stopping.wait(wait):
                    break
    except FlowStops:
        pass  # between two tries
    except (StageFailed, StageInterrupted, TimeLimitReached) as error:
        return Failed(message=str(error))
    return Cancelled(message=f"{node.name}: {_STOPPED}")


def _is_cached(folder: Path, name: str) -> bool:
    """Whether a stage that waited for others is, now that they are there; if nobody knows, no."""
    try:
        return planned(folder, name)[-1]["state"] == "cached"
    except (subprocess.CalledProcessError, ValueError):
        return False


def _try_stage(
    node: Node, folder: Path, slots: MachineSlots | None, children: Children, group: str
) -> State[Any]:
    logger = get_run_logger()
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", node.name]
    path = folder / RUNS / node.name / "output.log"
    for attempt in range(_LOCK_TRIES):
        with (
            _room(node, slots, children) as devices,
            Progress(node.name) as shown,
            Output(path, logger.log, shown.update) as output,
        ):
            before = statuses(folder, node.name)
            environment = {"MASKLINE_GROUP": group, "MASKLINE_ASKED": _asked(folder), **devices}
            code = children.run(command, output, environment, folder=folder, limit_s=node.limit_s)
        if code == 0 and output.cached:
            return Completed(name="Cached", message="nothing it reads has changed")
        if code == 0:
            return Completed(message=output.said(node.name) or "done")
        if not any(BUSY in line for line in output.last):
            break
        time.sleep(2**attempt)
    raise failure(folder, node.name, before, code, output.last)


def _asked(folder: Path) -> str:
    """What W&B's runs are named for: the experiment, or the recipes of this checkout."""
    return folder.name or " ".join(dict.fromkeys(changes_now()[0]))


@contextmanager
def _room(node: Node, slots: MachineSlots | None, children: Children) -> Iterator[dict[str, str]]:
    """Room on the machine, which the task waits for as Pending; none where no slots are given.

    Yields:
        Environment variables, see `MachineSlots.taken`.

    Raises:
        StageInterrupted: the flow ended meanwhile.
    """
    if slots is None:
        yield {}
        return
    cpus, gpus = slots.wanted(node)
    what = f"{cpus} processors" if not gpus else f"{cpus} processors and {gpus} GPUs"
    told = []

    def waits() -> None:
        told.append(what)
        get_run_logger().info(f"waits for {what}")
        _become(Pending(name="Waiting", message=f"for {what}"))

    with slots.taken(node, waits) as devices:
        if children.stopping.is_set():
            raise StageInterrupted(f"{node.name}: {_STOPPED}")
        if told:
            _become(Running())
        yield devices


def _become(state: State[Any]) -> None:
    """Show this task's state before it has ended, as Prefect's own engine does."""
    context = TaskRunContext.get()
    assert context is not None
    emit_task_run_state_change_event(context.task_run, context.task_run.state, state)


def submit(
    nodes: list[Node],
    folder: Path,
    slots: MachineSlots,
    children: Children,
    group: str,
    *,
    plan: Collection[dict[str, Any]],
    prefix: str = "",
) -> dict[str, PrefectFuture[Any]]:
    """A task for each stage of a checkout,
    each waiting for the ones it depends on. To be called inside a flow.

    Args:
        nodes: the stages, each after the ones it depends on.
        folder: the checkout.
        slots: of the machine; stages that DVC has in its cache take none.
        children: of the flow.
        group: of W&B.
        plan: of these stages.
        prefix: of the tasks' names.
    """
    foreseen = {one["name"]: one["state"] for one in plan}
    futures: dict[str, PrefectFuture[Any]] = {}
    for node in nodes:
        upstream = [futures[name] for name in node.depends_on]
        name = f"{prefix}{node.name}"
        stage: Any = stage_task.with_options(name=name, task_run_name=name)
        futures[node.name] = stage.submit(
            node, folder, slots, children, group, foreseen.get(node.name, "run"), wait_for=upstream
        )
    return futures
