"""Every stage in a minute, in a worktree of its own: ``python -m flows.quick``.

For a first look, and for whoever changes code: the worktree has the files of this checkout as they
are, committed or not, and its params.yaml under ``recipes/quick.yaml``. Nothing here is changed.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from flows.experiment import git, share_cache
from pipelines.frame.errors import ParamsError, exit_code
from pipelines.frame.params_reader import PARAMS_FILE, read_params
from pipelines.frame.processes import exclusive
from pipelines.frame.run_folder import EXPERIMENTS
from pipelines.params.kept import write_params
from pipelines.params.overlay import laid_over
from pipelines.params.recipes import recipe_file
from pipelines.params.rules import problems_of

FOLDER = EXPERIMENTS / "quick"
_LISTING = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")


def worktree() -> Path:
    """The worktree, with this checkout's files and the quick params.

    Raises:
        ParamsError: git refuses, or the params are not valid.
    """
    if not (FOLDER / ".git").exists():
        git("worktree", "prune")
        git("worktree", "add", "--detach", "--force", str(FOLDER), "HEAD")
    listed = git(*_LISTING).split("\0")
    here = {path for path in map(Path, filter(None, listed)) if path.is_file()}
    there = git(*_LISTING, folder=FOLDER).split("\0")
    for path in {*map(Path, filter(None, there))} - here:
        (FOLDER / path).unlink(missing_ok=True)
    for path in here:
        _copy_changed(path, FOLDER / path)
    share_cache(FOLDER)
    params, recipe = read_params(FOLDER / PARAMS_FILE), read_params(recipe_file("quick"))
    for name in ("seq2seq.architectures", "classification.tasks", "ensembles", "diagnosis.models"):
        params.get(name).clear()
    laid = laid_over(params, recipe.root, recipe.place)
    if problems := problems_of(laid):
        raise ParamsError("\n".join(problems))
    write_params(laid.root, "make quick", FOLDER / PARAMS_FILE)
    return FOLDER


def _copy_changed(path: Path, target: Path) -> None:
    """Copy a file that differs; what is equal keeps its time, and DVC need not read it again."""
    if target.is_file() and target.read_bytes() == path.read_bytes():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)


def quick() -> int:
    """Run all stages there and print the table; the exit code."""
    with exclusive(EXPERIMENTS / "quick.lock", patience_s=0):
        folder = worktree()
        print(f"working in {folder}", flush=True)
        for module in ("flows.repro", "flows.results"):
            command = [sys.executable, "-m", module]
            quiet = {**os.environ, "WANDB_MODE": "disabled"}
            result = subprocess.run(command, cwd=folder, env=quiet, check=False)
            if result.returncode:
                return result.returncode
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(quick))
