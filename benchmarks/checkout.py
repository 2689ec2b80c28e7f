"""A throw-away copy of the checkout to compute in: nothing of yours is touched and nothing is
cached.
"""

import shutil
import subprocess
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_COPIED = (
    "pipelines",
    "data/raw",
    "params.yaml",
    "dvc.yaml",
    "recipes",
    ".gitignore",
    ".dvcignore",
)


def copy_checkout(folder: Path) -> None:
    """Code, raw data and params, as a git and DVC checkout of its own."""
    for name in _COPIED:
        source, target = _ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        subprocess.run(command, cwd=folder, check=True)
