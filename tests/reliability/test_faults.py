"""Full disks, read-only folders, damaged files, two at once, a clock set back: a clear error or a
right result.
"""

import gzip
import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import run_in

pytestmark = pytest.mark.reliability
LONG = (
    "bert: {phases: [{updates: 60, batch_size: 8, ramp: none, max_length: 96, "
    "max_predictions: 20}]}\n"
)
SOURCES = """
corpus:
  raw: data/raw/mine
  source_language: en
  target_language: de
  reader:
    kind: sources
    sources:
      mine: {kind: table, files: ["*.tsv.gz"], fields: {en: 1, de: 2}, sentences: lines,
        split: drawn, weight: 1.0}
    filters: [{name: duplicates, applies_to: all, of: pair}]
    splits: {documents: {valid: 20}, pairs: {valid: 20, test: 20}}
    make: documents
"""
_FUNCTIONS = """
mkdir -p "$DISK" && mount -t tmpfs -o size=400m tmpfs "$DISK"
cp -a "$PROJECT" "$DISK/project" && cd "$DISK/project"
fill() { cat /dev/zero > ../filler 2>/dev/null || true; }
digest() { (cd "$1" && find . -type f | sort | xargs sha256sum) > "$RESULT"; }
again() { rm -f ../filler; echo "-- again"; dvc repro --single-item "$1"; digest "data/$1"; }
"""


@pytest.fixture
def project(reproduced_copy: Path) -> Path:
    """Reproduced, but for a BERT that trains for some seconds."""
    (reproduced_copy / "long.yaml").write_text(LONG)
    run_in(reproduced_copy, sys.executable, "-m", "pipelines.params", "apply", "long.yaml")
    return reproduced_copy


@pytest.fixture
def expected(project: Path, tmp_path: Path) -> dict[str, str]:
    """BERT of an undisturbed run."""
    calm = tmp_path / "calm"
    shutil.copytree(project, calm, symlinks=True)
    run_in(calm, "dvc", "repro", "bert")
    return _digest(calm / "data/bert")


def _digest(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _in_namespace(project: Path, tmp_path: Path, script: str) -> tuple[str, dict[str, str]]:
    """Run a script in a copy of the project on a disk of 400 MiB; all it printed, and the digest it
    made.
    """
    result = tmp_path / "result"
    told = subprocess.run(
        [
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "bash",
            "-eu",
            "-o",
            "pipefail",
            "-c",
            _FUNCTIONS + script,
        ],
        env={
            **os.environ,
            "PROJECT": str(project),
            "DISK": str(tmp_path / "disk"),
            "RESULT": str(result),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    assert told.returncode == 0, told.stdout
    lines = (line.split() for line in result.read_text().splitlines())
    return told.stdout, {Path(name).name: digest for digest, name in lines}


def test_disk_full_at_a_checkpoint_is_said_and_training_goes_on(project, expected, tmp_path):
    told, found = _in_namespace(
        project,
        tmp_path,
        """
        dvc repro --single-item bert & stage=$!
        until ls .runs/bert/*/checkpoints/update-*.ckpt >/dev/null 2>&1; do sleep 0.01; done
        fill
        if wait $stage; then echo "it should have failed"; exit 1; fi
        test ! -e data/bert/manifest.json
        test -z "$(find .runs -name '*.tmp')"
        again bert
        """,
    )
    first, second = told.split("-- again")
    assert "No space left on device" in first
    assert "make room" in first
    assert "Traceback" not in first
    assert "going on after update" in second
    assert found == expected


def test_disk_full_when_the_model_is_done_costs_no_training(project, expected, tmp_path):
    told, found = _in_namespace(
        project,
        tmp_path,
        """
        rm -r data/bert; cp dvc.lock ../before
        dvc repro --single-item bert & stage=$!
        until [ -e data/bert/manifest.json ]; do :; done
        fill
        wait $stage || true
        # as if DVC had found no room for its part at all
        rm -rf ../filler data/bert .dvc/cache/runs
        cp ../before dvc.lock
        python -m pipelines.preflight || rm .dvc/tmp/rwlock  # as it says
        again bert
        """,
    )
    first, second = told.split("-- again")
    assert "\nupdate 60/60" in first
    assert "error: " not in first or "rm .dvc/tmp/rwlock" in first
    assert "\nupdate " not in second
    assert found == expected


@pytest.mark.parametrize("stage", ["corpus", "shards", "tokenizer", "evaluation"])
def test_disk_full_while_an_out_is_written_leaves_nothing_half_made(reproduced, tmp_path, stage):
    _assert_nothing_half_made(reproduced, tmp_path, stage)


def test_disk_full_while_a_corpus_of_sources_is_written(reproduced_copy, tmp_path):
    raw = reproduced_copy / "data/raw/mine"
    raw.mkdir()
    rows = "".join(
        f"The cat {number} sleeps.\tDie Katze {number} schläft.\n" for number in range(999)
    )
    (raw / "pairs.tsv.gz").write_bytes(gzip.compress(rows.encode()))
    (reproduced_copy / "mine.yaml").write_text(SOURCES)
    run_in(reproduced_copy, sys.executable, "-m", "pipelines.params", "apply", "mine.yaml")
    run_in(reproduced_copy, "dvc", "repro", "corpus")
    _assert_nothing_half_made(reproduced_copy, tmp_path, "corpus")


def _assert_nothing_half_made(project: Path, tmp_path: Path, stage: str) -> None:
    told, found = _in_namespace(
        project,
        tmp_path,
        f"""
        fill
        if dvc repro --force --single-item {stage}; then echo "it should have failed"; exit 1; fi
        test ! -e data/{stage} || test -e data/{stage}/manifest.json
        again {stage}
        """,
    )
    assert "No space left on device" in told.split("-- again")[0]
    assert found == _digest(project / "data" / stage)


def test_read_only_data_folder_is_said_and_loses_nothing(project, expected, tmp_path):
    told, found = _in_namespace(
        project,
        tmp_path,
        """
        rm -r data/bert
        mount --bind data data && mount -o remount,ro,bind data
        if dvc repro --single-item bert; then echo "it should have failed"; exit 1; fi
        umount data
        again bert
        """,
    )
    assert "Read-only file system" in told.split("-- again")[0]
    assert "Traceback" not in told
    # the training was done; only its place could not be written
    assert "\nupdate " not in told.split("-- again")[1]
    assert found == expected


def test_damaged_shard_is_restored_and_nothing_is_trained_on_it(project, expected):
    shard = max(Path("data/shards").rglob("*"), key=lambda path: path.stat().st_size)
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 255
    shard.unlink()
    shard.write_bytes(data)
    run_in(project, "dvc", "repro", "bert")
    assert _digest(Path("data/bert")) == expected


@pytest.mark.parametrize("kept", [0, 100, 3000])
def test_truncated_lock_file_is_an_error_that_loses_nothing_or_is_made_anew(reproduced_copy, kept):
    lock = Path("dvc.lock")
    whole = lock.read_bytes()
    lock.write_bytes(whole[:kept])
    results = [run_in(reproduced_copy, sys.executable, "-m", "flows.plan", check=False)]
    results += [run_in(reproduced_copy, "dvc", "repro", check=False)]
    for result in results:
        assert "Traceback" not in result.stdout + result.stderr
        if result.returncode:
            assert "dvc.lock" in result.stdout + result.stderr
    lock.write_bytes(whole)
    again = run_in(reproduced_copy, "dvc", "repro")
    assert "Running stage" not in again.stdout
    assert lock.read_bytes() == whole


def test_two_at_once_do_not_disturb_each_other(project, expected):
    command = ["dvc", "repro", "bert"]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    told = [process.communicate(timeout=240)[0] for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes[0] == 0, told
    for process, text in zip(both, told, strict=True):
        assert process.returncode == 0 or "lock" in text, text
    assert _digest(Path("data/bert")) == expected
    assert "Running stage" not in run_in(project, "dvc", "repro", "bert").stdout


def test_clock_set_back_a_day_changes_nothing(project, expected):
    process = subprocess.Popen(
        ["dvc", "repro", "bert"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while not list(Path(".runs/bert").glob("*/checkpoints/update-*.ckpt")):
        assert process.poll() is None
        time.sleep(0.01)
    for child in psutil.Process(process.pid).children():
        child.terminate()
    process.communicate(timeout=60)
    tomorrow = time.time() + 86400
    for path in [*Path().rglob("*")]:
        if not path.is_symlink():
            os.utime(path, (tomorrow, tomorrow))
    result = run_in(project, "dvc", "repro", "bert")
    assert "going on after update" in result.stdout
    assert _digest(Path("data/bert")) == expected
    assert "Running stage" not in run_in(project, "dvc", "repro", "bert").stdout


class _Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("owned",)


def test_malicious_pickle_in_a_checkpoints_place_is_refused(project):
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.bert.pretrain"], stdout=subprocess.DEVNULL
    )
    while not (found := list(Path(".runs/bert").glob("*/checkpoints/update-*.ckpt"))):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    newest = max(Path(".runs/bert").glob("*/checkpoints/update-*.ckpt"), default=found[0])
    newest.write_bytes(pickle.dumps(_Malicious()))
    seal = newest.with_suffix(".json")
    forged = {
        **json.loads(seal.read_text()),
        "sha256": hashlib.sha256(newest.read_bytes()).hexdigest(),
    }
    for content in (seal.read_text(), json.dumps(forged)):
        seal.write_text(content)
        result = run_in(project, sys.executable, "-m", "pipelines.bert.pretrain", check=False)
        assert result.returncode == 1
        assert str(newest) in result.stderr
        assert "Traceback" not in result.stderr
        assert not Path("owned").exists()
