"""Two machines on this one: torchrun agents that meet on the loopback device, in one checkout."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import enter_copy, free_port, run_in

OVERLAY = """
bert:
  model: {dropout: 0.1, attention_dropout: 0.1}
  phases: [{updates: 40, batch_size: 6, ramp: none, max_length: 96, max_predictions: 20}]
  training: {log_every: 1, validate_every: 20}
seq2seq:
  common: {updates: 20, batch_size: 9, batch_unit: pairs, log_every: 1, validate_every: 10,
    select: best, average: 2}
hardware: {num_nodes: 2, devices: 1, checkpoint_every: 5, num_threads: 1, accelerator: cpu,
  num_workers: 1}
"""


def apply(folder: Path, overlay: str) -> None:
    """Lay settings over a project's params, and commit them."""
    (folder / "overlay.yaml").write_text(overlay)
    run_in(folder, sys.executable, "-m", "pipelines.params", "apply", "overlay.yaml")
    run_in(folder, "git", "add", "-A")
    run_in(folder, "git", "commit", "-qm", "overlay")


def expected_and_project(reproduced: Path, folder: Path) -> Path:
    """``project``, whose trainings want two machines, and ``expected``, what they make of two
    processes on one.
    """
    with pytest.MonkeyPatch.context() as patch:
        enter_copy(reproduced, folder / "expected", patch)
        apply(Path(), OVERLAY.replace("num_nodes: 2, devices: 1", "num_nodes: 1, devices: 2"))
        for command in (("pipelines.bert.pretrain",), ("pipelines.seq2seq.finetune", "gru")):
            run_in(Path(), sys.executable, "-m", *command, WANDB_MODE="disabled")
        enter_copy(reproduced, folder / "project", patch)
        apply(Path(), OVERLAY)
        for name in ("bert", "seq2seq@gru"):
            shutil.rmtree(Path(".runs", name), ignore_errors=True)
    return folder


def same(expected: Path, *names: str) -> None:
    """Require that outs here are those of another project, byte for byte."""
    for name in names:
        ours, theirs = (
            {path.name: path.read_bytes() for path in sorted((base / "data" / name).iterdir())}
            for base in (Path(), expected)
        )
        assert ours == theirs, name


def offer(process: subprocess.Popen[Any], **more: Any) -> str:
    """What a training whose process this is would offer, as a store has it."""
    offer = {
        "instance": "bert", "command": ["m"], "folder": ".", "key": "k", "pid": process.pid,
        "host": "127.0.0.1", "port": 1, "machines": 2, "update": 0, "gpus": [],
    }  # fmt: skip
    return json.dumps({**offer, **more})


class Machine:
    """A torchrun agent with one process, and what it prints.

    Args:
        folder: the checkout.
        port: where the agents meet.
        log: file for what is printed.
        command: of the run, on the first machine.
    """

    def __init__(self, folder: Path, port: int, log: Path, *command: str) -> None:
        agent = ["torchrun", "--nnodes", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint"]
        agent += [f"127.0.0.1:{port}", "--local-addr", "127.0.0.1", "--rdzv-conf"]
        agent += [f"is_host={bool(command)}", "-m", "flows.nodes", *command]
        self._log, self.port = log, port
        with log.open("w") as file:
            self.process = subprocess.Popen(
                agent, cwd=folder, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
                env={**os.environ, "WANDB_MODE": "disabled", "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip

    @property
    def printed(self) -> str:
        """All so far."""
        return self._log.read_text()

    def wait_for(self, text: str, limit_s: float = 180) -> None:
        """Until it is printed."""
        deadline = time.monotonic() + limit_s
        while text not in self.printed:
            assert self.process.poll() is None, self.printed
            assert time.monotonic() < deadline, f"no {text!r} in:\n{self.printed}"
            time.sleep(0.05)

    def tree(self) -> list[int]:
        """Every process of the machine, whatever its session."""
        top = psutil.Process(self.process.pid)
        return [one.pid for one in (top, *top.children(recursive=True))]

    def signal_all(self, number: int) -> list[int]:
        """What becomes of a machine that is switched off (SIGKILL) or cut off (SIGSTOP)."""
        tree = self.tree()
        for pid in tree:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        return tree

    def end(self, limit_s: float = 180) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait(timeout=limit_s)

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.signal_all(signal.SIGKILL)
            self.process.wait()


def two(folder: Path, logs: Path, *command: str) -> tuple[Machine, Machine]:
    """The machine that starts a run, and the one that joins it."""
    port = free_port()
    return (
        Machine(folder, port, logs / "first.log", *command),
        Machine(folder, port, logs / "second.log"),
    )
