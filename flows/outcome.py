"""How a stage ended, by what it wrote itself:
DVC tells the same of everything that is not success.
"""

import json
from pathlib import Path

from pipelines.frame.errors import EXIT_BAD_INPUT
from pipelines.frame.run_folder import RUNS


class StageFailed(Exception):
    """A stage ended with an error that another try would meet again."""


class StageInterrupted(Exception):
    """A stage was told to stop, or its process was lost:
    another try goes on from its checkpoint.
    """


def statuses(folder: Path, name: str) -> dict[Path, int]:
    """Files in which runs of a stage instance tell of themselves,
    with the moment of their last change.
    """
    return {path: path.stat().st_mtime_ns for path in (folder / RUNS).glob(f"{name}/*/status.json")}


def failure(
    folder: Path, name: str, before: dict[Path, int], code: int, last: list[str]
) -> StageFailed | StageInterrupted:
    """The error of a stage that did not succeed.

    Args:
        folder: the checkout.
        name: of the stage instance.
        before: its `statuses` before it was started.
        code: DVC's exit code.
        last: its last lines.
    """
    output = "\n".join(last)
    status = _status(folder, name, before)
    state = status.get("state", "not started")
    if state == "preempted":
        return StageInterrupted(f"{name}: was told to stop\n{output}")
    if state in ("running", "lost") or code < 0:
        return StageInterrupted(
            f"{name}: its process was lost (killed, or out of memory), dvc ended with "
            f"{code}\n{output}"
        )
    kind = "bad input" if status.get("exit_code") == EXIT_BAD_INPUT else state
    return StageFailed(f"{name}: {kind}, dvc ended with {code}\n{output}")


def _status(folder: Path, name: str, before: dict[Path, int]) -> dict[str, object]:
    """The one that has changed, whatever the clock says now."""
    for path, changed in statuses(folder, name).items():
        if before.get(path) != changed:
            found: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
            return found
    return {}
