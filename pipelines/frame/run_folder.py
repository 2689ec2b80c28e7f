"""Run folders: where a stage works, and how its finished files become an out.

DVC deletes a stage's outs before it starts the stage, so work in progress lives elsewhere, in
``.runs/<stage instance>/<key>/``. The key names everything that determines the result; the same
key finds the same checkpoints again, another key starts clean. ``commit`` is the last act.
"""

import contextlib
import errno
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.frame.errors import MasklineError
from pipelines.frame.files import (
    MANIFEST,
    digest,
    sha256_of,
    sync,
    sync_tree,
    write_manifest,
    write_whole,
)
from pipelines.frame.params_reader import ParamsFile
from pipelines.frame.processes import holder_of
from pipelines.frame.provenance import settings
from pipelines.frame.ranks import process_rank

RUNS = Path(".runs")
EXPERIMENTS = RUNS / "experiments"
RUN_LOCK = RUNS / "run.lock"  # of a whole run, `make run`
FLOW_LOCK = RUNS / "flow.lock"


def home() -> Path:
    """The checkout that an experiment's worktree was made in, which outlives it; else this one.

    Experiments of flows lie in ``.runs/experiments``, those of ``dvc exp run --temp`` and
    ``--queue`` in ``.dvc/tmp/exps``.
    """
    here = Path.cwd()
    for nest in (EXPERIMENTS, Path(".dvc/tmp/exps")):
        for above in here.parents:
            if above.parts[-len(nest.parts) :] == nest.parts:
                return above.parents[len(nest.parts) - 1]
    return Path()


def at_work(root: Path = Path()) -> Iterator[tuple[Path, int]]:
    """Lock and process of every run, flow and stage that works in a checkout now."""
    for lock in (root / RUN_LOCK, root / FLOW_LOCK, *sorted((root / RUNS).glob("*/lock"))):
        if pid := holder_of(lock):
            yield lock, pid


@dataclass(frozen=True)
class RunFolder:
    """The folder of one key of one stage instance."""

    path: Path

    @classmethod
    def open(cls, instance: str, key: str, *, clean: bool = True) -> "RunFolder":
        """Create or find the folder.

        An unfinished out of an earlier try is dropped if ``clean``.
        """
        folder = cls(RUNS / instance / key[:16])
        if clean:
            shutil.rmtree(folder.work, ignore_errors=True)
        folder.work.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def work(self) -> Path:
        """The out under construction."""
        return self.path / "work"

    @property
    def checkpoints(self) -> Path:
        """Resumable state; it stays until DVC has the out (`release`)."""
        return self.path / "checkpoints"

    def write_status(self, state: str, **details: Any) -> None:
        """``status.json``, for the flow: DVC passes no exit code on. Rank 0 speaks for all."""
        if process_rank() > 0:
            return
        write_whole(self.path / "status.json", {"state": state, **details})

    def killed_process(self) -> int | None:
        """The process that worked here and did not live to say how it ended."""
        try:
            status = json.loads((self.path / "status.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return status.get("pid") if status.get("state") == "running" else None

    def commit(self, out: Path) -> None:
        """Make the finished work the stage's out: manifest, fsync, rename.

        Until the rename nothing stands at ``out``; after it all files do.
        """
        write_manifest(self.work)
        sync_tree(self.work)
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.exists():
            shutil.rmtree(out)
        _move(self.work, out)
        sync(out.parent)
        write_whole(
            self.path / "committed.json",
            {"out": out.as_posix(), "manifest": sha256_of(out / MANIFEST)},
        )


def release(out: Path) -> None:
    """Drop the checkpoints behind an out: that a later stage reads it shows that DVC has it.

    Until then DVC may still be killed, or find no room for its copy, and delete the out before the
    next start.
    """
    for folder, record in _commits("*"):
        if record["out"] == out.as_posix():
            shutil.rmtree(RunFolder(folder).checkpoints, ignore_errors=True)


def release_others(instance: str, key: str) -> None:
    """Drop the checkpoints of finished runs of a stage instance with other keys."""
    for folder, _ in _commits(instance):
        if folder.name != key[:16]:
            shutil.rmtree(RunFolder(folder).checkpoints, ignore_errors=True)


def _commits(instances: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """Run folders that have written an out, and its record; of instances that a pattern matches."""
    for path in RUNS.glob(f"{instances}/*/committed.json"):
        with contextlib.suppress(OSError, ValueError):  # gone, or damaged
            yield path.parent, json.loads(path.read_text(encoding="utf-8"))


def folder_of_out(instance: str, out: Path) -> Path | None:
    """The run folder that wrote the files now at ``out``, if it ran in this checkout."""
    if not (out / MANIFEST).is_file():
        return None
    manifest = sha256_of(out / MANIFEST)
    return next(
        (folder for folder, record in _commits(instance) if record["manifest"] == manifest), None
    )


def last_seconds(instance: str) -> float | None:
    """What the last run of a stage instance that committed in this checkout took, or in the one
    that this is an experiment of.
    """
    folders = dict.fromkeys((RUNS.resolve(), (home() / RUNS).resolve()))
    found = [path for one in folders for path in (one / instance).glob("*/committed.json")]
    records = sorted(found, key=lambda path: path.stat().st_mtime)
    for record in reversed(records):
        timings = record.with_name("timings.jsonl")
        lines = timings.read_text(encoding="utf-8").splitlines() if timings.is_file() else []
        if lines and "seconds" in (last := json.loads(lines[-1])):
            return float(last["seconds"])
    return None


def expected_seconds() -> float:
    """What all stages took when they last ran here, one after the other; 0 if they never did."""
    return sum(last_seconds(path.name) or 0.0 for path in RUNS.glob("*"))


def unfinished(instance: str, params_file: ParamsFile) -> int | None:
    """Updates that an interrupted training has done and would go on after; None if it would not.

    It goes on if params, data and code are those it was started with, as `key_of` has them; its
    ``origin.json`` says which those were.
    """
    for folder in (RUNS / instance).glob("*/checkpoints"):
        updates = [int(path.stem.partition("-")[2]) for path in folder.glob("update-*.ckpt")]
        with contextlib.suppress(OSError, ValueError, KeyError, MasklineError):  # it is no more
            origin = json.loads((folder.parent / "origin.json").read_text(encoding="utf-8"))
            files = {**origin["inputs"], **origin["code"]}
            if (
                updates
                and origin["settings"] == settings(params_file, origin["settings"])
                and all(sha256_of(Path(name)) == sha for name, sha in files.items())
            ):
                return max(updates)
    return None


def key_of(
    instance: str, params: Mapping[str, Any], inputs: Mapping[str, str], code: Mapping[str, str]
) -> str:
    """What determines a result: stage, params, input data, code, and the numeric libraries."""
    from importlib.metadata import version

    return digest(
        {
            "instance": instance,
            "params": params,
            "inputs": inputs,
            "code": code,
            "versions": {name: version(name) for name in ("torch", "numpy", "tokenizers")},
        }
    )


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = target.with_name(f".{target.name}.tmp")  # data/ is another file system
        shutil.rmtree(beside, ignore_errors=True)
        shutil.copytree(source, beside)
        sync_tree(beside)
        beside.rename(target)
        shutil.rmtree(source)
