"""`make run`'s way to DVC: what it leaves out, and how it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import run_in

REPRO = [sys.executable, "-m", "flows.repro"]
PHASE = "{updates: 40000, batch_size: 8, ramp: none, max_length: 96, max_predictions: 20}"
LONG = f"bert: {{phases: [{PHASE}]}}\n"


def _started(project: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        REPRO, cwd=project, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def _training(project: Path, run: subprocess.Popen[str], since: int) -> int:
    """The process of BERT's training, once it has saved a checkpoint later than ``since``."""
    deadline = time.monotonic() + 120
    while True:
        assert run.poll() is None, run.stdout and run.stdout.read()
        assert time.monotonic() < deadline
        for path in project.glob(".runs/bert/*/checkpoints/update-*.ckpt"):
            status = json.loads(path.parent.with_name("status.json").read_text())
            if int(path.stem.partition("-")[2]) > since and status["state"] == "running":
                return int(status["pid"])
        time.sleep(0.05)


@pytest.mark.recipes
def test_stopped_killed_and_seen_by_a_second_run(reproduced_copy):
    (reproduced_copy / "long.yaml").write_text(LONG)
    module = [sys.executable, "-m"]
    run_in(reproduced_copy, *module, "pipelines.params", "apply", "long.yaml")
    first = _started(reproduced_copy)
    pid = _training(reproduced_copy, first, 0)
    second = run_in(reproduced_copy, *module, "pipelines.preflight", "--run", check=False)
    assert second.returncode == 2
    assert f"process {first.pid} works here since" in second.stderr
    assert f"kill {first.pid}" in second.stderr
    refused = run_in(reproduced_copy, *REPRO, check=False)
    assert refused.returncode == 1
    assert f"process {first.pid}" in refused.stderr
    os.kill(pid, signal.SIGTERM)
    printed, _ = first.communicate(timeout=60)
    assert first.returncode == 75
    assert "stopped: checkpoint saved after update" in printed
    assert "ERROR" not in printed
    update = int(re.findall(r"saved after update (\d+)", printed)[-1])
    plan = run_in(reproduced_copy, *module, "flows.plan", "--until", "bert").stdout
    assert f"goes on after update {update}" in plan
    killed = _started(reproduced_copy)
    pid = _training(reproduced_copy, killed, update)
    os.kill(pid, signal.SIGKILL)
    printed, _ = killed.communicate(timeout=60)
    assert "ERROR: failed to reproduce 'bert'" in printed
    assert killed.returncode not in (0, 75)
    again = _started(reproduced_copy)
    os.kill(_training(reproduced_copy, again, update + 100), signal.SIGTERM)
    printed, _ = again.communicate(timeout=60)
    assert f"bert: process {pid} was killed; what it saved is gone on with" in printed


def test_dvc_s_advice_is_left_out_and_each_stage_says_what_it_made(reproduced_copy):
    path = reproduced_copy / "params.yaml"
    path.write_text(path.read_text().replace("num_resamples: 100", "num_resamples: 110"))
    printed = run_in(reproduced_copy, *REPRO)
    text = printed.stdout + printed.stderr
    for advice in ("auto staging", "autostage", "git add", "dvc push"):
        assert advice not in text
    assert "evaluation: BLEU on 12 sentences: gru " in text
    assert "report: 5 systems, best " in text
    assert "is cached" not in run_in(reproduced_copy, *REPRO).stdout
