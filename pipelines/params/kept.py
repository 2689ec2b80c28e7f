"""params.yaml as it was before each change that a command made, so that none is ever lost.

``.runs/params/journal.jsonl`` has a line for each change, ``<number>.yaml`` beside it the file from
before; `back` goes one change back.
"""

import hashlib
import io
import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from pipelines.frame.errors import BusyError, ParamsError
from pipelines.frame.params_reader import PARAMS_FILE
from pipelines.frame.processes import exclusive
from pipelines.frame.records import Records
from pipelines.frame.run_folder import at_work

_KEPT = Path(".runs/params")


def write_params(root: CommentedMap, what: str, target: Path = PARAMS_FILE) -> None:
    """Replace params.yaml, whole or not at all; what it was is kept.

    Args:
        root: as DVC will write it too, when it changes a value (``dvc exp run -S``).
        what: is said of the change, when it is taken back.
        target: the file.

    Raises:
        BusyError: a run is at work here, whose later stages would take other params.
    """
    stream = io.StringIO()
    YAML().dump(root, stream)  # DVC's form: no options, so a change of one value is one line
    folder = target.parent / _KEPT
    _require_nobody_at_work(target.parent, what)
    with exclusive(folder / "changing.lock"):
        journal = Records(folder / "journal.jsonl")
        number = 1 + max((line["number"] for line in journal.read()), default=0)
        (folder / f"{number}.yaml").write_bytes(target.read_bytes())
        journal.append({"number": number, "what": what, "after": _digest(stream.getvalue())})
        journal.sync()
        _replace(target, stream.getvalue())


def back(target: Path = PARAMS_FILE) -> str:
    """Take the last change back; what was done, in a sentence.

    Edits made since then are kept in a file that the sentence names.

    Raises:
        ParamsError: no change is known.
        BusyError: a run is at work here.
    """
    folder = target.parent / _KEPT
    _require_nobody_at_work(target.parent, "going back")
    with exclusive(folder / "changing.lock"):
        journal = Records(folder / "journal.jsonl")
        lines = journal.read()
        if not lines:
            raise ParamsError(
                f"{target}: must have been changed by a recipe to go back; `git checkout {target}` "
                "returns to the last commit"
            )
        last: dict[str, Any] = lines[-1]
        now = target.read_text(encoding="utf-8")
        said = f"{target} is as it was before {last['what']}"
        if _digest(now) != last["after"]:
            time = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
            edited = folder / f"edited-{time}.yaml"
            edited.write_text(now, encoding="utf-8")
            said += f"; your edits since are in {edited}"
        _replace(target, (folder / f"{last['number']}.yaml").read_text(encoding="utf-8"))
        _replace(journal.path, "".join(f"{json.dumps(line)}\n" for line in lines[:-1]))
    return said


def changes_now(target: Path = PARAMS_FILE) -> tuple[list[str], bool]:
    """What the changes were that `back` can take back, oldest first, and whether the file was
    edited since the last one.
    """
    lines = Records(target.parent / _KEPT / "journal.jsonl").read()
    edited = bool(lines) and _digest(target.read_text(encoding="utf-8")) != lines[-1]["after"]
    return [line["what"] for line in lines], edited


def kept_versions(target: Path = PARAMS_FILE) -> Iterator[str]:
    """The texts of all that was kept, newest first."""
    for path in sorted((target.parent / _KEPT).glob("*.yaml"), reverse=True):
        yield path.read_text(encoding="utf-8")


def _require_nobody_at_work(folder: Path, what: str) -> None:
    """Refuse to change params under a run."""
    for _, pid in at_work(folder):
        raise BusyError(
            f"process {pid} works here, and {what} would change what it does; wait for it, or stop "
            f"it (kill {pid}; the next run goes on)"
        )


def _replace(target: Path, text: str) -> None:
    temporary = target.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, target)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
