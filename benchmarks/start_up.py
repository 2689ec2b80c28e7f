"""Seconds from the start of a training to its first update: `benchmarks.gpu`."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.results import Row

_ROOT = Path(__file__).parent.parent
_GOAL_S = 8.0
_BEFORE = ("pipelines.corpus.prepare", "pipelines.tokenizer.train", "pipelines.shards.write")


def first_update(arguments: argparse.Namespace) -> list[Row]:
    """Of bert as shipped, not compiled, in a copy of the project, without DVC."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        (project / "data").mkdir()
        shutil.copytree(_ROOT / "data/raw", project / "data/raw")
        for name in ("pipelines", "recipes"):
            (project / name).symlink_to(_ROOT / name)
        text = (_ROOT / "params.yaml").read_text(encoding="utf-8")
        for key, value in (("log_every", "1"), ("accelerator", arguments.accelerator)):
            text = _with(text, key, value)
        (project / "params.yaml").write_text(text, encoding="utf-8")
        environment = {**os.environ, "WANDB_MODE": "disabled", "PYTHONPATH": str(project)}
        for module in _BEFORE:
            subprocess.run([sys.executable, "-m", module], cwd=project, env=environment, check=True)
        started = time.monotonic()
        training = subprocess.Popen(
            [sys.executable, "-m", "pipelines.bert.pretrain"],
            cwd=project,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert training.stdout is not None
        found = next((True for line in training.stdout if line.startswith("update 1/")), False)
        seconds = time.monotonic() - started
        training.kill()
        training.wait()
    if not found:
        raise RuntimeError("the training ended before its first update")
    return [Row("start to first update", "s", seconds, "goal", _GOAL_S, _GOAL_S / seconds, 1.0)]


def _with(text: str, key: str, value: str) -> str:
    """The params file with all keys of a name set."""
    lines = []
    for line in text.splitlines():
        indent, _, rest = line.partition(f"{key}:")
        lines.append(f"{indent}{key}: {value}" if rest and not indent.strip() else line)
    return "\n".join(lines) + "\n"
