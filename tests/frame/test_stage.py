"""The frame: check, lock, compute, commit; and what is left after every kind of end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.frame.files import MANIFEST, sha256_of
from pipelines.frame.params_reader import ParamsFile
from pipelines.frame.run_folder import folder_of_out
from pipelines.frame.stage import Stage, StageRun, trial_run
from tests.conftest import ROOT

TOY = """
import os, sys, time
from pathlib import Path
from pipelines.frame.stage import Stage, run_stage

def declare(document):
    return Stage("toy", "pipelines.toy", {"seed": int}, (Path("input.txt"), Path("folder")))

def compute(run):
    mode = os.environ.get("TOY", "")
    if mode == "cooperate":
        with run.stop.cooperative():
            print("working", flush=True)
            while not run.stop.requested:
                time.sleep(0.01)
                print("still working", flush=True)
        from pipelines.frame.errors import Preempted
        raise Preempted("saved")
    if mode == "sleep":
        print("working", flush=True)
        time.sleep(60)
    if mode == "fail":
        raise ZeroDivisionError("boom")
    if mode.startswith("edit|"):
        _, name, old, new = mode.split("|")
        before = Path(name).read_text() if Path(name).exists() else ""
        Path(name).write_text(before.replace(old, new))
    (run.work / "result.txt").write_text(str(run.seed))
    run.log(1, {"loss": 0.5}, {"seconds": 1.0})
    return {"toy": {"answer": 42}}

if __name__ == "__main__":
    sys.exit(run_stage(declare, compute))
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one toy stage in a package `pipelines` that is ours plus the toy."""
    (tmp_path / "pipelines").mkdir()
    for path in (ROOT / "pipelines").iterdir():
        if path.name != "__pycache__":
            (tmp_path / "pipelines" / path.name).symlink_to(path)
    (tmp_path / "pipelines" / "toy.py").write_text(TOY)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "input.txt").write_text("hello\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/one.txt").write_text("one\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _start(mode: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pipelines.toy"]
    environment = {**os.environ, "TOY": mode, "WANDB_MODE": "disabled"}
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def _run(mode: str = "") -> tuple[int, str]:
    process = _start(mode)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def _status() -> dict[str, object]:
    (path,) = Path(".runs/toy").glob("*/status.json")
    return json.loads(path.read_text())


def test_run_stage_success_commits_files_manifest_metrics_and_curves(toy):
    assert _run() == (0, "")
    out = Path("data/toy")
    assert (out / "result.txt").read_text() == "1"
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["toy"] == {"answer": 42}
    assert metrics["origin"]["seed"] == 1
    assert json.loads((out / "curves.json").read_text()) == [{"step": 1, "loss": 0.5}]
    manifest = json.loads((out / MANIFEST).read_text())
    assert manifest == {
        name: sha256_of(out / name) for name in ("curves.json", "metrics.json", "result.txt")
    }
    folder = folder_of_out("toy", out)
    assert folder is not None
    assert not (folder / "work").exists()
    assert "seconds" in (folder / "timings.jsonl").read_text()
    assert "seconds" not in (out / "curves.json").read_text()
    assert _status()["state"] == "finished"


def test_run_stage_failure_leaves_no_out_and_exits_1(toy):
    code, errors = _run("fail")
    assert code == 1
    assert "ZeroDivisionError: boom" in errors
    assert not Path("data/toy").exists()
    assert _status() == {"state": "failed", "error": "boom", "exit_code": 1}


def test_run_stage_bad_params_exits_2_before_anything_is_touched(toy):
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("seed: 1", "seed: one"))
    code, errors = _run()
    assert code == 2
    assert "params.yaml:4: seed ('one')" in errors
    assert not Path(".runs").exists()


def test_run_stage_missing_input_exits_2(toy):
    Path("input.txt").unlink()
    code, errors = _run()
    assert code == 2
    assert "input.txt: no such file" in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("mode", ["sleep", "cooperate"])
def test_run_stage_signal_stops_politely_with_75(toy, mode, number):
    process = _start(mode)
    assert process.stdout.readline() == "working\n"
    process.send_signal(number)
    assert process.wait(timeout=60) == 75
    assert not Path("data/toy").exists()
    assert _status()["state"] == "preempted"


def test_run_stage_whose_reader_is_gone_still_stops_politely(toy):
    process = _start("cooperate")
    assert process.stdout.readline() == "working\n"
    process.stdout.close()
    process.stderr.close()
    time.sleep(0.3)  # some prints into nothing
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 75
    assert _status()["state"] == "preempted"


def test_run_stage_dies_with_its_parent(toy):
    script = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-m', 'pipelines.toy'], "
        "stdout=subprocess.PIPE);"
        "p.stdout.readline(); print(p.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "TOY": "sleep", "WANDB_MODE": "disabled"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _alive(child):
        time.sleep(0.05)
    assert not _alive(child)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_run_stage_second_process_waits_for_the_first(toy):
    first = _start("sleep")
    assert first.stdout.readline() == "working\n"
    second = _start()
    assert f"waiting for process {first.pid}" in second.stdout.readline()
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=60) == 75
    assert second.wait(timeout=60) == 0


def test_key_depends_on_params_input_and_code(toy):
    keys = set()
    for change in ("", "params", "input", "code"):
        if change == "params":
            Path("params.yaml").write_text(
                Path("params.yaml").read_text().replace("seed: 1", "seed: 2")
            )
        elif change == "input":
            Path("input.txt").write_text("other\n")
        elif change == "code":
            Path("pipelines/toy.py").write_text(TOY + "\n# a comment\n")
        assert _run()[0] == 0
        keys |= {path.name for path in Path(".runs/toy").iterdir() if path.is_dir()}
    assert len(keys) == 4


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        ("edit|params.yaml|seed: 1|sede: 1", None),
        ("edit|params.yaml|seed: 1|seed: 2", "params.yaml: seed"),
        ("edit|input.txt|hello|bye", "input.txt"),
        ("edit|pipelines/toy.py|boom|bang", "pipelines/toy.py"),
        ("edit|folder/more.txt||more", "folder/more.txt"),
    ],
)
def test_a_result_of_what_is_no_longer_there_is_not_committed(toy, edit, named):
    """DVC would record what is there in the end as what the result was made of."""
    before = {name: (toy / name).read_text() for name in ("params.yaml", "input.txt")}
    code, errors = _run(edit)
    assert code != 0
    assert not Path("data/toy").exists()
    if named:
        assert f"error: toy: {named} must stay as they are while a stage works" in errors
    for name, text in before.items():
        (toy / name).write_text(text)
    (toy / "pipelines/toy.py").write_text(TOY)
    (toy / "folder/more.txt").unlink(missing_ok=True)
    assert _run()[0] == 0
    assert Path("data/toy/result.txt").read_text() == "1"


def test_what_a_stage_does_not_read_may_change_while_it_works(toy):
    assert _run("edit|params.yaml|num_samples|num_smaples")[0] == 0


def test_a_run_that_was_gone_on_with_took_all_its_attempts(tmp_path, monkeypatch):
    """Also the time after the last checkpoint, which was lost; energy is of no part of it."""
    clock = {"now": 100.0}
    monkeypatch.setattr("pipelines.frame.stage.time.perf_counter", lambda: clock["now"])

    def attempt() -> StageRun:
        stage = Stage("toy", "pipelines.toy", {}, ())
        return trial_run(stage, ParamsFile(tmp_path / "params.yaml", {}), None, tmp_path / "run")

    first = attempt()
    first.resume_at(0)
    for step, now in ((1, 110.0), (2, 130.0)):
        clock["now"] = now
        first.log(step, {"loss": 0.5}, {"tokens_per_s": 1.0})
    clock["now"] = 500.0  # killed; started again much later
    second = attempt()
    second.resume_at(1)
    assert [one["step"] for one in second.timings.read()] == [1]
    clock["now"] = 507.0
    assert second.seconds == 30.0 + 7.0
    second.log(2, {"loss": 0.4}, {"tokens_per_s": 1.0})
    clock["now"] = 900.0
    third = attempt()
    third.resume_at(2)
    assert third.seconds == 37.0
    assert "seconds_so_far" not in third.metrics.read()[-1]
