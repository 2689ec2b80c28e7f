"""The pipeline as one Prefect flow: ``python -m flows.pipeline``.

One task per DVC stage, in the order dvc.yaml gives, as many at once as the machine has room for.
DVC decides what runs and what is cached; Prefect shows it. No server has to be started beforehand.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.experiment import experiment, name_of
from flows.graph import ancestors, read_graph
from flows.notify import notify
from flows.output import level_of
from flows.pictures import show_graph, show_plan, show_results
from flows.process import Children
from flows.push import push as push_to_remote
from flows.results import results
from flows.server import temporary_server
from flows.slots import MachineSlots
from flows.stages import planned, submit
from pipelines.frame.errors import EXIT_FAILED, MasklineError, exit_code
from pipelines.frame.hardware import Hardware
from pipelines.frame.left_overs import set_aside
from pipelines.frame.params_reader import read_params, validate
from pipelines.frame.processes import exclusive
from pipelines.frame.run_folder import EXPERIMENTS, FLOW_LOCK

_MOST_TASKS = 64


@task(name="preflight", task_run_name="preflight", cache_policy=NO_CACHE, persist_result=False)
def check(folder: Path) -> State[Any]:
    """All that can be known before anything is deleted or computed."""
    command = [sys.executable, "-m", "pipelines.preflight", "--run"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    logger = get_run_logger()
    for line in (result.stdout + result.stderr).splitlines():
        logger.log(level_of(line), line)
    if result.returncode:
        return Failed(message=result.stderr.strip())
    return Completed(message="params, raw data and machine are all right")


@task(name="push", task_run_name="push", cache_policy=NO_CACHE, persist_result=False)
def push_outs(folder: Path) -> State[Any]:
    """Outs to DVC's remote, whatever has ended meanwhile and is renewed."""
    try:
        return Completed(message=push_to_remote(folder))
    except MasklineError as error:
        return Failed(message=str(error))


@task(name="plan", task_run_name="plan", cache_policy=NO_CACHE, persist_result=False)
def publish_plan(folder: Path, until: str | None) -> list[dict[str, Any]]:
    """What will run, and why, as the flow's first artifact; see `planned`."""
    found = planned(folder, until)
    show_plan(found)
    return found


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
    plan = publish_plan(folder, until)
    futures = submit(nodes, folder, slots, children, group, plan=plan)
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
    push: bool = False,
) -> dict[str, str] | State[Any]:
    """Reproduce everything; stage → name of its final state, or a failed state.

    Args:
        recipes: names of files in recipes/, to be laid over params.yaml.
        overrides: parts of params.yaml, laid over it last. With recipes or overrides the flow works
            in a git worktree of its own, ``.runs/experiments/<name>``, named for them, with this
            checkout's cache; nothing here is changed. The same ones find it again.
        until: the stage that is wanted, ``evaluation`` or ``seq2seq@gru``; all stages without it.
        push: bring outs to DVC's remote at the end, tried for an hour.
    """
    try:
        if not (recipes or overrides):
            return _work(Path(), until, push=push)
        name = name_of(recipes or [], overrides or {})
        # Before its worktree is touched: the same may be at work there, of an older commit.
        with exclusive(EXPERIMENTS / f"{name}.lock", patience_s=0):
            folder = experiment(name, recipes or [], overrides or {})
            print(f"working in {folder}")
            return _work(folder, until, push=push)
    except MasklineError as error:
        return Failed(message=str(error))


def _work(folder: Path, until: str | None, *, push: bool) -> dict[str, str] | State[Any]:
    """All that is done in one checkout; see `pipeline`."""
    children = Children()
    with exclusive(folder / FLOW_LOCK):
        if (checked := check(folder, return_state=True)).is_failed():
            return Failed(message=checked.message)
        if folder == Path():  # an experiment's worktree has only its own
            set_aside(read_params())
        try:
            states = reproduce(folder, slots_of(folder), children, flow_run.name or "flow", until)
        finally:
            children.stop()  # while the lock is held
    if failed := {one: state for one, state in states.items() if not state.is_completed()}:
        return Failed(message="\n".join(_told(one, state) for one, state in failed.items()))
    if not until:
        command = [sys.executable, "-m", "pipelines.report.page"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    show_results(folder / "data/report")
    if push and (pushed := push_outs(folder, return_state=True)).is_failed():
        return Failed(message=pushed.message)
    return {one: state.name or "" for one, state in states.items()}


def _told(stage: str, state: State[Any]) -> str:
    """What is said of a stage that was not completed."""
    if state.is_pending():  # a stage before it has failed
        return f"{stage}: was not started"
    message = state.message or ""
    return message if message.startswith(f"{stage}: ") else f"{stage}: {state.name} {message}"


def main(until: str | None, *, push: bool = False) -> int:
    """Run the flow with a server of its own, and print the results table; the exit code."""
    with temporary_server():
        state: State[Any] = pipeline(until=until, push=push, return_state=True)
    if not state.is_completed():
        print(f"error: {state.message}", file=sys.stderr)
        return EXIT_FAILED
    print("\nThe flow run, its logs and pictures: `make ui`, then Runs")
    return 0 if until else results()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--until", help="the stage that is wanted; all stages without it")
    parser.add_argument("--push", action="store_true", help="bring outs to DVC's remote at the end")
    options = parser.parse_args()
    sys.exit(exit_code(lambda: main(options.until, push=options.push)))
