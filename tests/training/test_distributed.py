"""Two processes with gloo: the losses of one, and no survivor, nothing half and no loss of work
when one is killed. Batches of seven rows, in micro-batches of two, leave remainders on both.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import run_in

_OVERLAY = """
bert:
  model: {dropout: 0.0, attention_dropout: 0.0}
  segments: {packed: PACKED}
  phases: [{updates: 24, batch_size: 7, ramp: none, max_length: 96, max_predictions: 20}]
  training: {log_every: 1, validate_every: 6, select: best, average: 2}
hardware: {devices: 1, strategy: auto, checkpoint_every: 5, num_threads: 1, micro_batch_size: 2}
"""


@pytest.fixture(
    params=[pytest.param("false", marks=pytest.mark.chaos), "true"], ids=["unpacked", "packed"]
)
def project(request: pytest.FixtureRequest, reproduced_copy: Path) -> Path:
    """A reproduced project with a short training that logs every update."""
    _apply(reproduced_copy, _OVERLAY.replace("PACKED", request.param))
    return reproduced_copy


def _apply(folder: Path, overlay: str) -> None:
    (folder / "overlay.yaml").write_text(overlay)
    run_in(folder, sys.executable, "-m", "pipelines.params", "apply", "overlay.yaml")


def _start() -> subprocess.Popen[str]:
    shutil.rmtree("data/bert", ignore_errors=True)
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.bert.pretrain"],
        env={**os.environ, "WANDB_MODE": "disabled"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _curves(seconds: float = 180) -> list[dict[str, float]]:
    process = _start()
    text, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, text
    return json.loads(Path("data/bert/curves.json").read_text())


def test_two_ranks_have_the_losses_of_one(project):
    alone = _curves()
    shutil.rmtree(".runs/bert")
    _apply(project, "hardware: {devices: 2, strategy: ddp}\n")
    together = _curves()
    assert [record["step"] for record in together] == [record["step"] for record in alone]
    for ours, theirs in zip(together, alone, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-6)


@pytest.mark.chaos  # minutes of compiling
@pytest.mark.parametrize("project", ["true"], indirect=True)
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_compiled_step_learns_as_an_eager_one_and_the_same_after_a_kill(project, ranks):
    expected = _curves()
    shutil.rmtree(".runs/bert")
    _apply(project, f"hardware: {{devices: {ranks}, compile: true}}\n")
    compiled = _curves(seconds=600)
    for ours, theirs in zip(compiled, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4)
    shutil.rmtree(".runs/bert")
    process = _start_and_wait_for_update_8()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert _curves() == compiled
    assert any(Path(".runs/compiled").iterdir())  # the second start compiled nothing anew


@pytest.mark.nodes
@pytest.mark.parametrize("project", ["true"], indirect=True)
def test_any_number_of_ranks_stops_at_the_same_validation(project):
    """Nothing is learnt here, so no validation is better than the first one."""
    _apply(project, "bert: {training: {patience: 2, learning_rate: 1.0e-12, select: best}}\n")
    found = {}
    for ranks in (1, 2, 4):
        shutil.rmtree(".runs/bert", ignore_errors=True)
        _apply(project, f"hardware: {{devices: {ranks}, strategy: auto}}\n")
        curves = _curves()
        found[ranks] = [
            {name: value for name, value in record.items() if name.startswith("valid_")}
            for record in curves
        ]
        assert curves[-1]["step"] == 18
    assert found[1] == found[2] == found[4]
    assert sum(bool(record) for record in found[1]) == 3


@pytest.mark.nodes
@pytest.mark.parametrize("project", ["true"], indirect=True)
def test_a_training_goes_on_with_another_number_of_ranks(project):
    expected = _curves()
    for before, after in ((2, 1), (1, 3)):
        shutil.rmtree(".runs/bert")
        _apply(project, f"hardware: {{devices: {before}, strategy: auto}}\n")
        process = _start_and_wait_for_update_8()
        process.send_signal(signal.SIGTERM)
        text, _ = process.communicate(timeout=120)
        assert process.returncode == 75, text
        _apply(project, f"hardware: {{devices: {after}, strategy: auto}}\n")
        found = _curves()
        assert [record["step"] for record in found] == [record["step"] for record in expected]
        for ours, theirs in zip(found, expected, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-6)


def _start_and_wait_for_update_8() -> subprocess.Popen[str]:
    process = _start()
    for line in process.stdout:
        if line.startswith("update 8/"):
            break
    return process


def _children_of(pid: int) -> list[int]:
    return [
        int(word)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for word in (task / "children").read_text().split()
    ]


def _gone(pid: int) -> bool:
    for _ in range(100):
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("project", ["true"], indirect=True)
@pytest.mark.parametrize("victim", [pytest.param("first", marks=pytest.mark.chaos), "second"])
def test_killed_rank_ends_all_saves_nothing_half_and_goes_on(project, victim):
    _apply(project, "hardware: {devices: 2, strategy: ddp}\n")
    expected = _curves()
    shutil.rmtree(".runs/bert")
    process = _start_and_wait_for_update_8()
    (second,) = [
        child
        for child in _children_of(process.pid)
        if b"pretrain" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
    os.kill(process.pid if victim == "first" else second, signal.SIGKILL)
    text, _ = process.communicate(timeout=120)
    assert process.returncode != 0, text
    assert _gone(second)
    assert not Path("data/bert").exists()
    assert _curves() == expected


@pytest.mark.chaos
@pytest.mark.parametrize("project", ["true"], indirect=True)
@pytest.mark.parametrize("group", [False, True], ids=["first rank", "ranks and loader processes"])
def test_stop_of_one_rank_or_of_all_processes_is_a_polite_stop_of_both(project, group):
    _apply(project, "hardware: {devices: 2, strategy: ddp, num_workers: 2}\n")
    expected = _curves()
    shutil.rmtree(".runs/bert")
    process = _start_and_wait_for_update_8()
    os.killpg(process.pid, signal.SIGTERM) if group else process.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 75, text
    assert _curves() == expected
