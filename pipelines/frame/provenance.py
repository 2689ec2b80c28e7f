"""What a result is made of, and where and with what it is computed."""

import platform
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipelines.frame.errors import CheckFailed
from pipelines.frame.files import describe_input, digest, sha256_of
from pipelines.frame.hardware import Hardware, cpu_name
from pipelines.frame.params_reader import ParamsFile, plain

MadeOf = Mapping[str, Mapping[str, str]]


def made_of(
    params_file: ParamsFile, sections: Iterable[str], inputs: Iterable[Path], code: Iterable[Path]
) -> dict[str, dict[str, str]]:
    """Digests of ``settings`` by section, of ``inputs`` and ``code`` by file."""
    return {
        "settings": settings(params_file, sections),
        "inputs": {name: sha for path in inputs for name, sha in describe_input(path).items()},
        "code": {path.as_posix(): sha256_of(path) for path in code},
    }


def settings(params_file: ParamsFile, sections: Iterable[str]) -> dict[str, str]:
    """A digest of each of these sections."""
    return {path: digest(plain(params_file.get(path))) for path in sections}


def require_unchanged(instance: str, start: MadeOf, now: MadeOf) -> None:
    """Refuse to commit a result of other params, data or code than are there now.

    DVC takes the digests of deps when a stage is done: it would record what is there now as what
    the result was made of, and never make it again.

    Raises:
        CheckFailed: with what has changed.
    """
    changed = [
        f"params.yaml: {name}" if kind == "settings" else name
        for kind in start
        for name in dict.fromkeys([*start[kind], *now[kind]])
        if start[kind].get(name) != now[kind].get(name)
    ]
    if changed:
        some = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if changed[3:] else "")
        raise CheckFailed(
            f"{instance}: {some} must stay as they are while a stage works; put them back and "
            "start again, which only commits, or start again as they are now"
        )


def environment_of(hardware: Hardware) -> dict[str, Any]:
    """Where and with what a result was computed; for the run folder and W&B, never for an out."""
    return {
        "commit": _git_commit(),
        "cpu": cpu_name(),
        "python": platform.python_version(),
        "versions": {
            name: version(name)
            for name in ("torch", "numpy", "tokenizers", "lightning", "transformers")
        },
        "hardware": hardware.model_dump(),
    }


def _git_commit() -> str:
    try:
        result = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:  # no git on this machine
        return "no-commit"
    return result.stdout.strip() or "no-commit"
