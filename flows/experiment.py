"""Experiments: a git worktree each, with params of its own and the cache of this checkout."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from configobj import ConfigObj

from pipelines.frame.errors import ParamsError
from pipelines.frame.run_folder import EXPERIMENTS
from pipelines.params.recipes import recipe_file
from pipelines.preflight import dvc_files

_LONGEST = 60  # letters of a name
_CODE = ("pipelines", "flows", "dvc.yaml")


def base_of(recipes: Sequence[str]) -> str:
    """What experiments here begin from: a digest of the commit,
    this checkout's params.yaml, recipes and raw data.

    Raw data that git does not know counts by name, size and time of change.
    """
    files = [Path("params.yaml"), *map(recipe_file, recipes)]
    parts = [
        git("rev-parse", "HEAD").encode(),
        *(path.read_bytes() for path in files if path.is_file()),
    ]
    known = set(git("ls-files", "-z", "data/raw").split("\0"))
    for path in sorted(Path("data/raw").rglob("*")):
        if path.is_file() and path.as_posix() not in known:
            stat = path.stat()
            parts.append(f"{path} {stat.st_size} {stat.st_mtime_ns}".encode())
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def name_of(recipes: Sequence[str], overrides: Mapping[str, Any]) -> str:
    """The name of what a flow is asked for: the same for the same, so that it goes on.

    >>> name_of(["multi30k"], {"bert": {"seed": 3}})
    'multi30k-seed-3-30d07055'
    """
    leaf: Any = overrides
    words = [*recipes]
    while isinstance(leaf, Mapping) and leaf:
        key = next(iter(leaf))
        words, leaf = [*words[: len(recipes)], str(key)], leaf[key]
    words += [] if isinstance(leaf, Mapping | list) else [str(leaf)]
    asked = json.dumps([list(recipes), overrides], sort_keys=True)
    words.append(hashlib.sha256(asked.encode()).hexdigest()[:8])
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(words))[-_LONGEST:].lstrip("-.")


def experiment(name: str, recipes: Sequence[str], overrides: Mapping[str, Any]) -> Path:
    """The worktree of an experiment: made,
    or found if it was made before from the same base with the same overrides.

    It has the commit this checkout stands at, this checkout's params.yaml with the recipes and
    overrides laid over it, and links to raw data that git does not know. What it computes is in
    this checkout's cache.

    Raises:
        ParamsError: the code here is not committed, or the params are not valid.
    """
    folder = EXPERIMENTS / name
    made = json.dumps({"recipes": list(recipes), "overrides": overrides, "base": base_of(recipes)})
    whole = folder / "experiment.json"
    if whole.is_file() and whole.read_text(encoding="utf-8") == made:
        return folder
    if changed := git("status", "--porcelain", "--", *_CODE).strip():
        raise ParamsError(
            f"experiment {name}: the code ({changed.split()[-1]}) must be committed; git commit it "
            "first"
        )
    if folder.exists():  # of other params, or half made by a process that was killed
        git("worktree", "remove", "--force", "--force", str(folder))
    git("worktree", "prune")
    git("worktree", "add", "--detach", "--force", str(folder), "HEAD")
    share_cache(folder)
    take_inputs(folder)
    (folder / "overrides.yaml").write_text(json.dumps(overrides), encoding="utf-8")  # JSON is YAML
    # The recipes of this checkout, edited or not, rather than those of the commit.
    overlays = [str(recipe_file(recipe).resolve()) for recipe in recipes]
    overlays += ["overrides.yaml"] if overrides else []
    command = [sys.executable, "-m", "pipelines.params", "apply", *overlays]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ParamsError(f"experiment {name}: {result.stderr.strip()}")
    whole.write_text(made, encoding="utf-8")  # the last: now it is
    return folder


def remove(names: re.Pattern[str], branches: str) -> int:
    """Remove the worktrees of all experiments with such names, and their branches;
    how many worktrees.

    Args:
        names: matches whole names.
        branches: as git lists them, ``sweep/rates/*``.

    Raises:
        ParamsError: a branch is checked out elsewhere.
    """
    folders = [folder for folder in EXPERIMENTS.glob("*") if names.fullmatch(folder.name)]
    for folder in folders:
        shutil.rmtree(folder)
    git("worktree", "prune")
    if found := git("branch", "--list", "--format=%(refname:short)", branches).split():
        git("branch", "--delete", "--force", *found)
    return len(folders)


def take_inputs(folder: Path) -> None:
    """Give another checkout this one's params.yaml,
    and links to raw data that git does not know.
    """
    (folder / "params.yaml").write_bytes(Path("params.yaml").read_bytes())
    for path in sorted(Path("data/raw").iterdir()):
        if not (folder / path).exists():
            (folder / path).symlink_to(path.resolve())


def share_cache(folder: Path) -> None:
    """Give a worktree the cache of this checkout, and its own settings of DVC: remotes, keys.

    A remote that is a folder, named from here, is the same from there.
    """
    settings = ConfigObj(".dvc/config.local", encoding="utf-8", interpolation=False)
    settings.setdefault("cache", {})["dir"] = str(_cache())
    for name, section in dvc_files.config()["remote"].items():
        url = str(section.get("url", ""))
        if url and "://" not in url:
            own = settings.setdefault(f'remote "{name}"', {})
            own["url"] = str((Path(".dvc") / url).resolve())
    path = folder / ".dvc/config.local"
    path.touch(mode=0o600)  # there may be keys in it
    settings.filename = str(path)
    settings.write()


def _cache() -> Path:
    result = subprocess.run(
        [sys.executable, "-m", "dvc", "cache", "dir"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return Path(result).resolve()


def record(branch: str, folder: Path, message: str) -> None:
    """An experiment's params and results as a branch, for git and ``dvc exp show --all-branches``.

    Raises:
        ParamsError: git does not make it.
    """
    git("add", "params.yaml", "dvc.lock", folder=folder)
    author = (
        "-c",
        "user.name=maskline",
        "-c",
        "user.email=maskline@localhost",
        "-c",
        "commit.gpgSign=false",
    )
    git(
        *author,
        "commit",
        "--quiet",
        "--no-verify",
        "--allow-empty",
        "--message",
        message,
        folder=folder,
    )
    git("branch", "--force", branch, folder=folder)


def git(*arguments: str, folder: Path = Path()) -> str:
    """What git prints, run without anybody's hooks: these are our worktrees and branches,
    not a user's commits.

    Raises:
        ParamsError: git is not installed, or refuses.
    """
    command = ["git", "-c", f"core.hooksPath={os.devnull}", *arguments]
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ParamsError(
            "git: must be installed, experiments are worktrees of it; install it"
        ) from None
    if result.returncode:
        raise ParamsError(f"git {' '.join(arguments)}: {result.stderr.strip()}")
    return result.stdout
