"""Kills at random moments, against the uninterrupted run: ``python -m tests.reliability.chaos
--trials 50``.

Each trial starts the flow for BERT, on one process or two gloo ranks, sends SIGKILL or SIGTERM to
one of {trainer, rank 0, rank 1, dvc, flow, server, whole group} at a random moment, and starts the
flow again until it is through. Then data/bert (weights, curves, manifest), dvc.lock and the
optimizer have to be, byte for byte, those of the uninterrupted run. One line per trial, last the
totals.
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch.utils._pytree import keystr, tree_flatten_with_path

from tests.conftest import copy_project, run_in

TARGETS = ("trainer", "rank 0", "rank 1", "dvc", "flow", "server", "group")
_UPDATES, _INTERVAL = 300, 4
_PHASE = "batch_size: 8, ramp: none, max_length: 96, max_predictions: 20"
_ORPHANS_S = 75.0  # the grace before SIGKILL, and a little
_STARTS = 6
_FLOW = (sys.executable, "-m", "flows.pipeline", "--until", "bert")


@dataclass
class Trial:
    """What one trial found; all problems empty is as it should be."""

    target: str
    signal: signal.Signals
    delay_s: float
    hit: bool = False
    starts: int = 0
    lost_updates: int = 0
    orphans: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        told = (
            "; ".join([*self.problems, *(f"orphan: {one}" for one in self.orphans)])
            or "as uninterrupted"
        )
        hit = f"after {self.delay_s:4.1f} s" if self.hit else "not there    "
        cost = f"{self.starts} starts  {self.lost_updates:2} updates lost"
        return f"{self.signal.name:8}{self.target:8} {hit}  {cost}  {told}"


class Chaos:
    """Trials in a folder; projects of one process and of two ranks, and their uninterrupted
    results, are made once.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ready, self._expected, self._seconds = {}, {}, {}

    def _prepare(self, ranks: int) -> None:
        """A project ready for BERT, and what an uninterrupted run makes of it."""
        project = copy_project(self._folder / f"ready{ranks}")
        overlay = f"bert: {{phases: [{{updates: {_UPDATES}, {_PHASE}}}]}}\n"
        if ranks > 1:
            overlay += "hardware: {devices: 2, strategy: ddp}\n"
        (project / "overlay.yaml").write_text(overlay)
        run_in(project, sys.executable, "-m", "pipelines.params", "apply", "overlay.yaml")
        run_in(project, "git", "add", "-A")
        run_in(project, "git", "commit", "-qm", "ready")
        run_in(project, "dvc", "repro", "shards")
        whole = self._folder / f"whole{ranks}"
        shutil.copytree(project, whole, symlinks=True)
        flow = self._flow(whole)
        _wait_for_stage(whole, flow)
        started = time.monotonic()
        while not (whole / "data/bert").exists() and flow.poll() is None:
            time.sleep(0.05)
        self._seconds[ranks] = time.monotonic() - started
        flow.wait()
        self._ready[ranks], self._expected[ranks] = project, _contents(whole)
        assert f"optimizer_states after update {_UPDATES}" in self._expected[ranks], (
            "the uninterrupted run failed"
        )

    def _flow(self, project: Path) -> subprocess.Popen[bytes]:
        environment = {key: value for key, value in os.environ.items() if key != "PREFECT_HOME"}
        with (project / "flow.log").open("ab") as log:
            return subprocess.Popen(
                _FLOW, cwd=project, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def trial(self, target: str, number: signal.Signals, moment: float) -> Trial:
        """One trial.

        Args:
            target: of `TARGETS`.
            number: the signal.
            moment: when, 0 to 1 of the uninterrupted training; somewhat more meets the commit.
        """
        ranks = 2 if target.startswith("rank") else 1
        if ranks not in self._ready:
            self._prepare(ranks)
        found = Trial(target, number, moment * self._seconds[ranks])
        project = Path(tempfile.mkdtemp(dir=self._folder)) / "project"
        shutil.copytree(self._ready[ranks], project, symlinks=True)
        flow = self._flow(project)
        _wait_for_stage(project, flow)
        time.sleep(found.delay_s)
        before = _last_update(project)
        found.hit = _hit(project, target, number, flow)
        found.starts = 1
        while flow.wait() != 0 and found.starts < _STARTS:
            self._look_around(project, found)
            flow = self._flow(project)
            found.starts += 1
        self._look_around(project, found)
        resumed = _resumed_at(project)
        if resumed is not None and found.hit:
            found.lost_updates = max(0, before - resumed)
        if found.lost_updates > _INTERVAL:
            found.problems.append(f"lost {found.lost_updates} updates")
        differ = _differing(_contents(project), self._expected[ranks])
        if differ:
            found.problems.append(f"differs: {', '.join(differ)}")
        if not found.problems and not found.orphans:
            shutil.rmtree(project.parent)
        return found

    def _look_around(self, project: Path, found: Trial) -> None:
        """After a flow has ended: no process left, no half-made out."""
        deadline = time.monotonic() + _ORPHANS_S
        while (left := _processes(project)) and time.monotonic() < deadline:
            time.sleep(0.2)
        found.orphans += left.values()
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        out = project / "data/bert"
        if out.exists() and not (out / "manifest.json").exists():
            found.problems.append("data/bert is half made")


def _wait_for_stage(project: Path, flow: subprocess.Popen[bytes]) -> None:
    """Until BERT's first updates are made."""
    while not _last_update(project) and flow.poll() is None:
        time.sleep(0.05)


def _contents(project: Path) -> dict[str, bytes]:
    paths = [project / "dvc.lock", *sorted((project / "data/bert").rglob("*"))]
    found = {
        path.relative_to(project).as_posix(): path.read_bytes() for path in paths if path.is_file()
    }
    # there until its out is read
    for path in sorted(project.glob(".runs/bert/*/checkpoints/update-*.ckpt"))[-1:]:
        saved = torch.load(path, weights_only=True)
        for name in ("optimizer_states", "lr_schedulers"):
            leaves = tree_flatten_with_path(saved[name])[0]
            told = [
                (keystr(at), leaf.numpy().tobytes() if hasattr(leaf, "numpy") else leaf)
                for at, leaf in leaves
            ]
            found[f"{name} after update {saved['global_step']}"] = repr(told).encode()
    return found


def _differing(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def _processes(project: Path) -> dict[int, str]:
    """Processes that work in a project."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if Path(os.readlink(path / "cwd")).is_relative_to(project):
                command = (path / "cmdline").read_text().replace("\0", " ").strip()
                if command:  # else a zombie
                    found[int(path.name)] = command
        except OSError:
            continue
    return found


def _hit(project: Path, target: str, number: signal.Signals, flow: subprocess.Popen[bytes]) -> bool:
    """Send the signal, if the target is there."""
    running = _processes(project)
    trainers = sorted(
        pid for pid, command in running.items() if "-m pipelines.bert.pretrain" in command
    )
    second = [
        pid for pid in trainers if b"LOCAL_RANK=1" in Path(f"/proc/{pid}/environ").read_bytes()
    ]
    first = [pid for pid in trainers if pid not in second]
    chosen = {
        "trainer": first,
        "rank 0": first,
        "rank 1": second,
        "group": first,
        "dvc": [pid for pid, command in running.items() if "-m dvc" in command],
        "flow": [flow.pid],
        "server": [
            pid
            for pid, command in running.items()
            if "uvicorn" in command or "prefect.server" in command
        ],
    }[target][:1]
    for pid in chosen:
        try:
            os.killpg(os.getpgid(pid), number) if target == "group" else os.kill(pid, number)
        except ProcessLookupError:
            return False
    return bool(chosen)


def _output(project: Path) -> str:
    path = project / ".runs/bert/output.log"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _last_update(project: Path) -> int:
    found = re.findall(r"^update (\d+)/", _output(project), re.MULTILINE)
    return int(found[-1]) if found else 0


def _resumed_at(project: Path) -> int | None:
    found = re.findall(r"^going on after update (\d+)", _output(project), re.MULTILINE)
    return int(found[-1]) if found else None


def main() -> int:
    """The command line; 0 if nothing was lost or left."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    generator, totals = random.Random(arguments.seed), Counter()
    with tempfile.TemporaryDirectory() as folder:
        chaos = Chaos(Path(folder))
        for number in range(arguments.trials):
            chosen = generator.choice([signal.SIGKILL, signal.SIGTERM])
            trial = chaos.trial(TARGETS[number % len(TARGETS)], chosen, generator.uniform(0.1, 1.1))
            totals.update(
                trials=1, hits=trial.hit, orphans=len(trial.orphans), problems=len(trial.problems)
            )
            print(f"{number + 1:3}  {trial}", flush=True)
    print(", ".join(f"{count} {name}" for name, count in totals.items()))
    return 1 if totals["orphans"] or totals["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
