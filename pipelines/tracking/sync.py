"""Offline runs of W&B to a server: ``python -m pipelines.tracking sync``.

A start of a stage writes an offline run of its own, and a resumed one tells all that came before it
again: the newest of an id has everything. One whose process was killed lacks what W&B had not
written yet, so it is made anew of ``metrics.jsonl``, which has every point. What was sent once, and
has not changed, is not sent again; so a step is on the server once.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.frame.errors import MasklineError
from pipelines.frame.files import digest, write_whole
from pipelines.frame.processes import holder_of
from pipelines.frame.records import Records
from pipelines.frame.run_folder import EXPERIMENTS, RUNS, home
from pipelines.frame.tracking import Identity, Tracker, TrackingParams, wait_until_written

_PAUSES_S = (2.0, 10.0, 60.0)  # before the second, third and fourth try


class NotSent(MasklineError):
    """A server did not take a run, however often it was tried."""


def sync(params: TrackingParams) -> Iterator[str]:
    """Send what has not been sent and is not at work; a line for each run.

    Raises:
        NotSent: the server does not take one.
    """
    root = home() / RUNS
    record = root / "wandb/sent.json"
    sent: dict[str, str] = json.loads(record.read_text()) if record.is_file() else {}
    for folder in _run_folders(root):
        identity = Identity(**json.loads((folder / "tracking.json").read_text(encoding="utf-8")))
        state = _state(folder)
        if sent.get(identity.id) == state or holder_of(folder.parent / "lock"):
            continue  # unchanged, or at work
        whole = newest(root, identity.id) if _finished(folder) else None
        told = whole or _made_anew(params, folder, root, identity)
        _send(told)
        sent[identity.id] = state
        write_whole(record, sent)
        yield f"{identity.name}: sent{'' if whole else ', made anew of metrics.jsonl'}"


def _run_folders(root: Path) -> Iterator[Path]:
    """Those of this checkout and of its experiments that W&B was told of, oldest first."""
    places = [root, *(root.parent / EXPERIMENTS).glob(f"*/{RUNS}")]
    files = [path for place in places for path in place.glob("*/*/tracking.json")]
    for path in sorted(files, key=lambda one: one.stat().st_mtime):
        yield path.parent


def _state(folder: Path) -> str:
    """A digest of all that is told of a run."""
    files = ("metrics.jsonl", "samples.jsonl", "status.json")
    return digest([(folder / one).read_text() if (folder / one).is_file() else "" for one in files])


def _status(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _finished(folder: Path) -> bool:
    return _status(folder).get("state") == "finished"


def newest(root: Path, id: str) -> Path | None:
    """The newest offline run of an id."""
    found = sorted((root / "wandb").glob(f"offline-run-*-{id}"))
    return found[-1] if found else None


def _made_anew(params: TrackingParams, folder: Path, root: Path, identity: Identity) -> Path:
    """An offline run of all points that a stage has written."""
    offline = params.model_copy(update={"mode": "offline"})
    tracker = Tracker(offline, root, identity, mode="offline")
    for point in Records(folder / "metrics.jsonl").read():
        tracker.log(point)
    for one in Records(folder / "samples.jsonl").read():
        tracker.log_table(one["step"], "samples", one["samples"])
    tracker.finish({"state": _status(folder).get("state", "unknown")})
    wait_until_written()
    made = newest(root, identity.id)
    if made is None:
        raise NotSent(f"{identity.name}: W&B must be able to write below {root}; see the warning")
    return made


def _wandb_sync(told: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "wandb", "sync", str(told)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _send(told: Path) -> None:
    for pause in (*_PAUSES_S, None):
        done = _wandb_sync(told)
        if done.returncode == 0:
            return
        if pause is None:
            lines = (done.stdout + done.stderr).strip().splitlines()
            said = lines[-1] if lines else f"exit code {done.returncode}"
            raise NotSent(
                f"{told.name}: must be taken by W&B's server ({said}); `wandb login`, or set "
                "WANDB_BASE_URL and WANDB_API_KEY, and start again: what was sent stays sent"
            )
        time.sleep(pause)
