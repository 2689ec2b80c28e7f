"""Many experiments as one flow: ``python -m flows.sweep sweep.yaml``.

Each has a git worktree of its own and shares this checkout's cache, so what they have in common is
computed once and they run side by side without touching each other. An interrupted sweep goes on
where it stood; after a commit or a change of params.yaml its experiments are others. Its results
stand in ``.runs/sweeps/<name>.jsonl``, in Prefect as a table, in W&B as one group, and as branches
``sweep/<name>/…`` for ``dvc exp show --all-branches``.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.futures import PrefectFuture

from flows.experiment import base_of, experiment, record, remove
from flows.graph import ancestors, read_graph
from flows.notify import notify
from flows.pipeline import RUNNER, slots_of
from flows.process import Children
from flows.search_space import Halving, Sweep, nested
from flows.server import temporary_server
from flows.slots import MachineSlots
from flows.stages import planned, submit
from pipelines.frame.errors import MasklineError, ParamsError, broken_rule, exit_code
from pipelines.frame.params_problems import nearest
from pipelines.frame.params_reader import read_params, validate
from pipelines.frame.processes import exclusive
from pipelines.frame.records import Records
from pipelines.frame.run_folder import RUNS
from pipelines.params.recipes import with_overrides, with_recipes
from pipelines.params.rules import problems_of
from pipelines.report.scores import score_names
from pipelines.report.table import render

SWEEPS = RUNS / "sweeps"
_SCORES = Path("data/report/scores.json")
Combination = dict[str, Any]


@flow(
    name="maskline-sweep",
    log_prints=True,
    task_runner=RUNNER,
    on_failure=[notify],
    on_crashed=[notify],
)
def sweep(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Run a sweep to its end; its experiments, best first.

    Args:
        spec: see `flows.search_space.Sweep`.

    Raises:
        BusyError: another sweep of that name is at work.
        ParamsError: the code is not committed, or no such params exist.
    """
    wanted = Sweep.model_validate(spec)
    check_params(wanted)
    children, slots = Children(), slots_of(Path())
    with exclusive(SWEEPS / f"{wanted.name}.lock"):
        try:
            results = _all_rounds(wanted, slots, children)
        finally:
            children.stop()
    table = [
        {**one["overrides"], "value": one["value"], "experiment": one["experiment"]}
        for one in results
    ]
    create_table_artifact(
        table, key=f"sweep-{wanted.name}", description=f"{wanted.target}, best first."
    )
    return results


def check_params(wanted: Sweep) -> None:
    """Every experiment's params, of every round, and the target, before the first one runs.

    Raises:
        ParamsError: some break a rule, as a schedule that is longer than the budget of a round, or
            lead to no such score.
    """
    method, combinations = wanted.method, wanted.combinations()
    if isinstance(method, Halving):
        budgets = [budget for _, budget in method.rounds()]
        combinations = [
            {**one, method.budget: budget} for budget in budgets for one in combinations
        ]
    base = with_recipes(wanted.recipes)
    for one in combinations:
        params = with_overrides(base, nested(one))
        if problems := problems_of(params):
            problem = f"sweep {wanted.name}: params of {one} break rules; nothing was run"
            raise ParamsError("\n".join([problem, *problems]))
        names = score_names(
            list(params.get("seq2seq.architectures")),
            list(params.get("ensembles")),
            params.get("bert.segments.nsp"),
        )
        if wanted.target not in names:
            rule = f"be one of {', '.join(names)}"
            remedy = nearest(wanted.target, names, "correct it; nothing was run")
            raise ParamsError(
                broken_rule(f"sweep {wanted.name}", "target", wanted.target, rule, remedy)
            )


def _all_rounds(wanted: Sweep, slots: MachineSlots, children: Children) -> list[dict[str, Any]]:
    method, combinations, base = wanted.method, wanted.combinations(), base_of(wanted.recipes)
    if not isinstance(method, Halving):
        return _ranked(wanted, _round(wanted, (wanted.name, base), combinations, slots, children))
    everything: list[dict[str, Any]] = []
    for number, (count, budget) in enumerate(method.rounds()):
        chosen = [{**one, method.budget: budget} for one in combinations[:count]]
        ranked = _ranked(
            wanted, _round(wanted, (f"{wanted.name}-r{number}", base), chosen, slots, children)
        )
        combinations = [one["overrides"] for one in ranked]
        everything = [*ranked, *everything]  # later rounds had more to learn from
    return everything


def _round(
    wanted: Sweep,
    named: tuple[str, str],
    combinations: Sequence[Combination],
    slots: MachineSlots,
    children: Children,
) -> list[dict[str, Any]]:
    """Experiments that may run side by side;
    those with a result from the same base are not run again.
    """
    records = Records(SWEEPS / f"{wanted.name}.jsonl")
    records.rewind(0)  # drops a half-written line
    done = {one["experiment"]: one for one in records.read()}
    running: dict[str, tuple[Combination, Path, dict[str, PrefectFuture[Any]]]] = {}
    prefix, base = named
    names = [f"{prefix}-{number}-{base[:8]}" for number in range(len(combinations))]
    for name, combination in zip(names, combinations, strict=True):
        if name in done and _answers(done[name], combination, wanted.target):
            continue
        folder = experiment(name, wanted.recipes, nested(combination))
        nodes = ancestors(read_graph(folder), "report")
        running[name] = (
            combination,
            folder,
            submit(
                nodes,
                folder,
                slots,
                children,
                wanted.name,
                plan=planned(folder, "report"),
                prefix=f"{name}: ",
            ),
        )
    for name, (combination, folder, futures) in running.items():
        for future in futures.values():
            future.wait()
        failed = [one for one, future in futures.items() if not future.state.is_completed()]
        value = None if failed else _value(folder, wanted.target)
        if failed:
            get_run_logger().warning(f"{name}: {failed[0]} failed; the sweep goes on without it")
        done[name] = {
            "experiment": name,
            "overrides": combination,
            "target": wanted.target,
            "value": value,
        }
        records.append(done[name])
        if not failed:
            _keep_branch(f"sweep/{wanted.name}/{name}", folder, f"{name}: {wanted.target} {value}")
    return [done[name] for name in names]


def _answers(found: dict[str, Any], combination: Combination, target: str) -> bool:
    """Whether a recorded experiment is what is asked for; one that failed is tried again."""
    return found["value"] is not None and (found["overrides"], found.get("target")) == (
        combination,
        target,
    )


def _keep_branch(branch: str, folder: Path, message: str) -> None:
    """A branch is for eyes: the result stands, whatever git says."""
    try:
        record(branch, folder, message)
    except MasklineError as error:
        get_run_logger().warning(f"{branch}: no branch was made ({error}); the result is kept")


def _ranked(wanted: Sweep, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    sign = -1 if wanted.goal == "maximize" else 1
    return sorted(results, key=lambda one: (one["value"] is None, sign * (one["value"] or 0.0)))


def _value(folder: Path, target: str) -> float:
    found = json.loads((folder / _SCORES).read_text(encoding="utf-8"))
    for part in target.split("."):
        found = found[part]
    return float(found)


def main() -> int:
    """Run, or remove, the sweep of a file; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="YAML with one key, sweep")
    parser.add_argument(
        "--remove", action="store_true", help="remove its worktrees and branches; its results stay"
    )
    arguments = parser.parse_args()
    wanted = validate(read_params(arguments.file), "sweep", Sweep)
    if arguments.remove:
        with exclusive(SWEEPS / f"{wanted.name}.lock"):
            names = re.compile(rf"{re.escape(wanted.name)}-(r\d+-)?\d+-[0-9a-f]{{8}}")
            print(f"{remove(names, f'sweep/{wanted.name}/*')} experiments removed")
        return 0
    check_params(wanted)
    with temporary_server():
        results = sweep(wanted.model_dump())
    rows = [
        [one["experiment"], "failed" if one["value"] is None else f"{one['value']:g}"]
        + [f"{key}={value}" for key, value in one["overrides"].items()]
        for one in results
    ]
    print(render([["experiment", wanted.target, *[""] * len(rows[0][2:])], *rows]))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
