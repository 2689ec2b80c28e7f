"""Killed anywhere, a training gives the bits it would have given: the real stage, in its own
process.
"""

import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._pytree import keystr, tree_flatten_with_path

from pipelines.frame.params_reader import plain, read_params
from tests.conftest import enter_copy, run_in

OTHERS = (
    "gru_attention",
    "lstm_attention",
    "gru_luong",
    "transformer",
    "transformer_post",
    "rnd2rnd",
    "bertshare",
)


@pytest.fixture
def long_project(reproduced_copy: Path) -> Path:
    """The reproduced project with trainings long enough to be hit in the middle."""
    return _lengthen(reproduced_copy)


@pytest.fixture(scope="module")
def copied(reproduced: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A long project for all tests of this file."""
    folder = tmp_path_factory.mktemp("long") / "project"
    shutil.copytree(reproduced, folder, symlinks=True)
    return _lengthen(folder)


@pytest.fixture(scope="module")
def straight_bert(copied: Path) -> dict[str, str]:
    """Digests of a BERT that nothing interrupted."""
    with contextlib.chdir(copied):
        return _straight("bert")


@pytest.fixture(scope="module")
def interrupted(copied: Path, straight_bert: dict[str, str]) -> Path:
    """A long project whose BERT was told to stop at update 30; after the uninterrupted one, which
    cleans up.
    """
    with contextlib.chdir(copied):
        assert _interrupt("bert", signal.SIGTERM, 30) == 75
    return copied


@pytest.fixture
def interrupted_copy(interrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter_copy(interrupted, tmp_path / "project", monkeypatch)


def _lengthen(project: Path) -> Path:
    overlay = (
        "bert: {phases: [{updates: 60, batch_size: 8, ramp: none, max_length: 96, "
        "max_predictions: 20}], training: {snapshots: [10, 50]}}\n"
        "seq2seq:\n"
        "  common: "
        "{updates: 60, batch_unit: tokens, batch_size: 128, select: best, average: 2, "
        "validate_every: 20, snapshots: [10, 50]}\n"
        "  architectures: {gru: {dropout: 0.1, r_drop: 1.0, scheduled_sampling: 0.5}}\n"
        "hardware: {checkpoint_every: 7, watch: full}\n"
    )
    (project / "long.yaml").write_text(overlay)
    run_in(project, sys.executable, "-m", "pipelines.params", "apply", "long.yaml")
    return project


def _entry(out: str) -> tuple[str, ...]:
    """Module and arguments of the stage that writes an out."""
    architecture = out.partition("/")[2]
    return (
        ("pipelines.seq2seq.finetune", architecture)
        if architecture
        else ("pipelines.bert.pretrain",)
    )


def _start(out: str) -> subprocess.Popen[str]:
    shutil.rmtree(Path("data", out), ignore_errors=True)  # as DVC does
    return subprocess.Popen(
        [sys.executable, "-m", *_entry(out)],
        env={**os.environ, "WANDB_MODE": "disabled"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _digest(out: str) -> dict[str, str]:
    """Of all files of an out, snapshots among them, and of what its training was watched doing."""
    folder = Path("data", out)
    watched = Path(".runs").glob(f"{out.replace('/', '@')}/*/learning.jsonl")
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    newest = max(watched, key=lambda path: path.stat().st_mtime)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in [*files, newest]}


def _straight(out: str) -> dict[str, str]:
    process = _start(out)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0, text
    digest = _digest(out)
    shutil.rmtree(Path(".runs", out.replace("/", "@")))
    return digest


def _randomize(project: Path, name: str) -> None:
    """A block, of the recipe with all architectures where it is not there, in small and with all
    that draws numbers.
    """
    blocks: dict[str, Any] = {}
    for file in ("recipes/all_architectures.yaml", "params.yaml"):
        blocks |= plain(read_params(project / file).root)["seq2seq"]["architectures"]
    block = blocks[name]
    block |= {"width": 16, "dropout": 0.1, "r_drop": 1.0, "scheduled_sampling": 0.5}
    if "num_heads" in block:
        block |= {"num_heads": 2, "feed_forward_width": 32, "attention_dropout": 0.1}
    (project / "more.yaml").write_text(json.dumps({"seq2seq": {"architectures": {name: block}}}))
    run_in(project, sys.executable, "-m", "pipelines.params", "apply", "more.yaml")


def _interrupt(out: str, number: int, update: int, *, group: bool = False) -> int:
    """Start, wait for a line of an update, send a signal, to the whole group if asked; the exit
    code.
    """
    process = _start(out)
    for line in process.stdout:
        if line.startswith(f"update {update}/"):
            os.killpg(process.pid, number) if group else process.send_signal(number)
            break
    process.stdout.read()
    return process.wait(timeout=60)


@pytest.mark.parametrize(
    "out",
    [
        "bert",
        "seq2seq/gru",
        *(pytest.param(f"seq2seq/{name}", marks=pytest.mark.chaos) for name in OTHERS),
    ],
)
def test_stage_killed_three_times_gives_the_same_files(out, long_project, request):
    """Straight without loader processes, then with two of them, killed, and signals to the whole
    group.
    """
    if out == "bert":
        expected = request.getfixturevalue("straight_bert")
    else:
        _randomize(long_project, out.partition("/")[2])
        expected = _straight(out)
    _apply("hardware: {num_workers: 2}\n")
    assert _interrupt(out, signal.SIGKILL, 12) == -signal.SIGKILL
    assert not Path("data", out).exists()
    assert _interrupt(out, signal.SIGTERM, 30, group=True) == 75  # as a cancel in Prefect, or SLURM
    assert not Path("data", out).exists()
    assert _interrupt(out, signal.SIGINT, 48, group=True) == 75  # as Ctrl-C
    process = _start(out)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0, text
    assert "going on after update" in text
    assert _digest(out) == expected
    steps = [
        record["step"]
        for record in json.loads(Path("data", out, "curves.json").read_text())
        if "learning_rate" in record
    ]
    assert len(steps) == len(set(steps))


def _apply(overlay: str) -> None:
    Path("overlay.yaml").write_text(overlay)
    run_in(Path.cwd(), sys.executable, "-m", "pipelines.params", "apply", "overlay.yaml")


def _newest(out: str) -> Path:
    return sorted(Path(".runs").glob(f"{out.replace('/', '@')}/*/checkpoints/*.ckpt"))[-1]


@pytest.mark.usefixtures("interrupted_copy")
def test_checkpoint_of_another_machine_is_gone_on_from_and_says_so():
    seal = _newest("bert").with_suffix(".json")
    found = json.loads(seal.read_text())
    assert found["machine"].startswith("1 x ")
    seal.write_text(json.dumps({**found, "machine": "8 x NVIDIA H200"}))
    process = _start("bert")
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0, text
    assert (
        f"it was computed on 8 x NVIDIA H200, goes on on {found['machine']}: last bits may differ"
        in text
    )


def _checkpoint(update: int) -> Path | None:
    """The newest checkpoint from ``update`` on."""
    found = [
        path
        for path in sorted(Path(".runs/bert").glob("*/checkpoints/*.ckpt"))
        if int(path.stem[7:]) >= update
    ]
    return found[-1] if found else None


def _train_until_killed_after(update: int) -> Path:
    """Run to the first checkpoint from ``update`` on, then SIGKILL; the checkpoint."""
    process = _start("bert")
    while not (path := _checkpoint(update)):
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.002)
    process.kill()
    process.communicate()
    return path


def _state(path: Path) -> dict[str, object]:
    """Weights, optimizer, schedule, random states and curves, as bytes."""
    saved = torch.load(path, weights_only=True)
    curves = path.parent.parent.joinpath("metrics.jsonl").read_text().splitlines()
    kept = {
        name: saved[name]
        for name in ("state_dict", "optimizer_states", "lr_schedulers", "callbacks")
    }
    leaves = {keystr(place): leaf for place, leaf in tree_flatten_with_path(kept)[0]}
    return {
        place: leaf.numpy().tobytes() if isinstance(leaf, torch.Tensor) else leaf
        for place, leaf in leaves.items()
    } | {"curves": [line for line in curves if json.loads(line)["step"] <= saved["global_step"]]}


@pytest.mark.chaos
@pytest.mark.usefixtures("long_project")
@pytest.mark.parametrize(
    "moved", [0, 8], ids=["as it was", "negative control: data moved on by a batch"]
)
def test_training_killed_at_random_has_the_state_of_an_unbroken_one(moved):
    expected = _state(_train_until_killed_after(56))
    shutil.rmtree(".runs/bert")
    kills = sorted(random.SystemRandom().sample(range(7, 50), 3))
    for update in kills:
        path = _train_until_killed_after(update)
        seal = path.with_suffix(".json")
        found = json.loads(seal.read_text())
        found["position"]["samples"] += moved
        seal.write_text(json.dumps(found))
    path = _train_until_killed_after(56)
    assert path.stem == "update-00000056"
    same = _state(path) == expected
    assert same == (moved == 0), kills


@pytest.mark.usefixtures("interrupted_copy")
def test_stage_without_its_checkpoint_starts_anew_and_params_of_another_key_do_not_resume():
    _apply("seed: 2\n")
    process = _start("bert")
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0, text
    assert "going on after update" not in text


@pytest.mark.usefixtures("interrupted_copy")
def test_damaged_newest_checkpoint_is_refused_with_the_command_that_recovers():
    newest = sorted(Path(".runs/bert").glob("*/checkpoints/*.ckpt"))[-1]
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 255
    newest.write_bytes(data)
    process = _start("bert")
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "is damaged" in text
    command = text.split("to go on from ")[1].split(": ", 1)[1].split()
    assert command[:1] == ["rm"]
    subprocess.run(command, check=True)
    process = _start("bert")
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0, text
    assert "going on after update" in text


@pytest.mark.usefixtures("long_project")
def test_loss_that_is_not_finite_stops_the_stage_and_keeps_the_checkpoint():
    hot = (
        "learning_rate: 1.0e+30, schedule: {name: constant, final_factor: null}, gradient_clip: "
        "none"
    )
    _apply(f"bert: {{training: {{{hot}}}}}\n")
    process = _start("bert")
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.search(
        r"must be finite; update \d+, on samples from \d+ to \d+ of epoch 0, broke it", text
    )
    assert not Path("data/bert").exists()


@pytest.mark.usefixtures("long_project")
def test_second_start_after_the_last_checkpoint_only_commits(straight_bert):
    """Killed between the last update and the commit: nothing is trained again."""
    process = _start("bert")
    while not list(Path(".runs/bert").glob("*/checkpoints/update-00000060.ckpt")):
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.communicate()
    if not Path("data/bert").exists():
        process = _start("bert")
        text, _ = process.communicate(timeout=60)
        assert process.returncode == 0, text
        assert not [line for line in text.splitlines() if line.startswith("update ")]
    assert _digest("bert") == straight_bert


@pytest.mark.usefixtures("long_project")
def test_training_without_a_better_validation_ends_with_the_weights_of_the_best():
    """A learning rate next to zero: BLEU stays what it was, so the first validation remains the
    best.
    """
    _apply(
        "seq2seq:\n"
        "  common: {select: best, select_by: bleu, average: 1, patience: 2, validate_every: 8}\n"
        "  architectures: {gru: {learning_rate: 1.0e-12}}\n"
    )
    process = _start("seq2seq/gru")
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0, text
    assert "update 24/60" in text
    assert "update 32/60" not in text
    assert "weights of update 8" in text
    assert Path("data/seq2seq/gru/model.safetensors").exists()
