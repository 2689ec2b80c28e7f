"""DVC's own files and settings."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dvc.config import Config, ConfigError

from pipelines.frame.errors import ParamsError, broken_rule
from pipelines.frame.params_reader import plain, read_params
from pipelines.preflight.finding import Finding

_TRIES, _MOMENT_S = 3, 0.2


def config(folder: Path = Path()) -> Config:
    """The settings of a checkout, its user and this machine, read and checked by DVC itself.

    Raises:
        ParamsError: they are damaged; DVC would start nothing.
    """
    path = folder / ".dvc"
    try:
        # Each file by itself, for DVC does not say which one is damaged.
        for name in (
            "config",
            "config.local",
        ):
            path = folder / ".dvc" / name
            if path.is_file():
                Config.load_file(str(path))
        path = folder / ".dvc"
        return Config(str(path))
    except ConfigError as error:
        rule = f"be settings that DVC knows ({error})"
        remedy = "correct the line, or git checkout the file"
        raise ParamsError(broken_rule(str(path), "content", "damaged", rule, remedy)) from None


def files(folder: Path = Path()) -> Iterator[Finding]:
    """Files of DVC's own that a full disk or a crash may have cut short, or an editor spoilt."""
    try:
        config(folder)
    except ParamsError as error:
        yield Finding("error", "dvc", str(error))
    try:
        whole = all({"cmd", "deps", "outs"} <= stage.keys() for stage in _stages(folder).values())
        size_of_outs(folder)
    except (ParamsError, AttributeError, TypeError, ValueError):
        whole = False
    if not whole:
        rule = "be whole; DVC writes it"
        remedy = "git checkout dvc.lock, or delete it: DVC's cache knows what has run"
        yield Finding(
            "error",
            "dvc",
            broken_rule(str(folder / "dvc.lock"), "content", "damaged", rule, remedy),
        )
    path = folder / ".dvc/tmp/rwlock"
    for _ in range(_TRIES):
        if _is_json(path):
            return
        time.sleep(_MOMENT_S)  # DVC may be writing it
    rule, remedy = "be JSON: DVC will not start", f"rm {path}, while no dvc is running"
    yield Finding("error", "dvc", broken_rule(str(path), "content", "damaged", rule, remedy))


def temporary_experiments(folder: Path = Path()) -> Iterator[Finding]:
    """What ends ``dvc exp run --temp`` and ``--queue``: DVC writes settings anew for them,
    in ASCII alone.
    """
    rule = (
        "be ASCII for `dvc exp run --temp` and `--queue`, which DVC ends with an error; all else "
        "works"
    )
    for path, remedy in (
        (
            folder / ".git/config",
            "keep names in your own settings (git config --global), name remotes in ASCII",
        ),
        (folder / ".dvc/config.local", "name folders in ASCII there"),
    ):
        if path.is_file() and not path.read_bytes().isascii():
            yield Finding(
                "warning", "dvc", broken_rule(str(path), "content", "other letters", rule, remedy)
            )
    cache = str(config(folder)["cache"].get("dir", folder.resolve() / ".dvc/cache"))
    if not cache.isascii():
        remedy = "dvc cache dir --local FOLDER, in ASCII"
        yield Finding("warning", "dvc", broken_rule("DVC's cache", "folder", cache, rule, remedy))


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8") if path.is_file() else "{}")
    except ValueError:
        return False
    return True


def _stages(folder: Path) -> dict[str, Any]:
    """What dvc.lock holds; nothing before the first run."""
    path = folder / "dvc.lock"
    found: dict[str, Any] = (
        plain(read_params(path).root).get("stages", {}) if path.is_file() else {}
    )
    return found


def size_of_outs(folder: Path) -> int:
    """Bytes of all outs, by dvc.lock."""
    stages = _stages(folder)
    return sum(
        int(out.get("size", 0)) for stage in stages.values() for out in stage.get("outs", [])
    )
