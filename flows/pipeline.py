"""The pipeline as one Prefect flow: ``python -m flows.pipeline``.

One task per DVC stage, in the order dvc.yaml gives, as many at once as the machine has room for. DVC decides
what runs and what is cached; Prefect shows it. No server has to be started beforehand.
"""

import json
import sys
import time
from collections import deque
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.graph import Node, read_graph
from flows.process import Children
from flows.slots import Slots
from pipelines import preflight
from pipelines.hardware import Hardware
from pipelines.runfolder import RUNS
from pipelines.sections import read_document, validate

_BUSY = "is busy"  # DVC's word for a read or write lock another stage holds for a moment
_UNCHANGED = ("didn't change, skipping", "is cached - skipping run")
_TRIES = 5


class StageFailed(Exception):
    """A stage ended with an error; its last lines are the message."""


@task(name="preflight", task_run_name="preflight", cache_policy=NO_CACHE, persist_result=False)
def check() -> None:
    """Params and raw data, before anything is deleted or computed."""
    if found := preflight.problems():
        raise ValueError("\n".join(found))


@task(cache_policy=NO_CACHE, persist_result=False)
def run_stage(node: Node, slots: Slots, children: Children, group: str) -> State[Any]:
    """Reproduce one stage; a state that says whether it ran or was cached.

    Raises:
        StageFailed: the stage ended with an error.
    """
    logger = get_run_logger()
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", node.name]
    for attempt in range(_TRIES):
        last: deque[str] = deque(maxlen=20)

        def show(line: str, last: deque[str] = last) -> None:
            if line:
                last.append(line)
                logger.info(line)

        with slots.taken(node) as devices:
            code = children.run(command, show, {"MASKLINE_GROUP": group, **devices})
        if code == 0:
            cached = any(word in line for line in last for word in _UNCHANGED)
            return Completed(name="Cached" if cached else "Completed", message=last[-1] if last else "")
        if not any(_BUSY in line for line in last):
            break
        time.sleep(2**attempt)
    raise StageFailed(f"{node.name}: {_end_of(node)}, dvc ended with {code}\n" + "\n".join(last))


def _end_of(node: Node) -> str:
    """What the stage itself wrote last: ``failed``, ``preempted``; DVC tells the same of both."""
    records = sorted(RUNS.glob(f"{node.name}/*/status.json"), key=lambda path: path.stat().st_mtime)
    return str(json.loads(records[-1].read_text(encoding="utf-8"))["state"]) if records else "not started"


@flow(name="maskline", log_prints=True)
def pipeline() -> dict[str, str]:
    """Reproduce everything; stage → name of its final state.

    Raises:
        StageFailed: at least one stage failed.
    """
    check()
    accelerator = validate(read_document(), "hardware", Hardware).accelerator
    nodes, slots, children = read_graph(), Slots.of_this_machine(accelerator), Children()
    futures: dict[str, PrefectFuture[Any]] = {}
    try:
        for node in nodes:
            upstream = [futures[name] for name in node.depends_on]
            stage: Any = run_stage.with_options(name=node.name, task_run_name=node.name)
            futures[node.name] = stage.submit(node, slots, children, flow_run.name or "flow", wait_for=upstream)
        for future in futures.values():
            future.wait()
    finally:
        children.stop()
    states = {name: future.state for name, future in futures.items()}
    failed = [
        f"{name}: {state.name} {state.message or ''}" for name, state in states.items() if not state.is_completed()
    ]
    if failed:
        raise StageFailed("\n".join(failed))
    return {name: state.name or "" for name, state in states.items()}


if __name__ == "__main__":
    runner: Any = ThreadPoolTaskRunner(max_workers=len(read_graph()) + 1)
    pipeline.with_options(task_runner=runner)()
