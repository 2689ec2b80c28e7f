"""A tiny project for the cases of ``tests/gpu.py``, and its stages as processes."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PROJECT = "MASKLINE_GPU_PROJECT"  # variable with the folder that cases copy
_STAGES = (
    ("pipelines.corpus.prepare",),
    ("pipelines.tokenizer.train",),
    ("pipelines.shards.write",),
)


def make_project(folder: Path, device: str) -> Path:
    """Tiny stages of the embedded corpus up to the shards, with all that draws random numbers."""
    from tests.whole_pipeline import checkout

    heads = {"num_heads": 2, "feed_forward_width": 32, "attention_dropout": 0.1}
    blocks: dict[str, Any] = {
        name: {"width": 16, "dropout": 0.1} for name in ("gru_attention", "gru")
    }
    blocks |= {name: {**blocks["gru"], **heads} for name in ("transformer", "rnd2rnd", "bert2bert")}
    overlay = {
        "corpus": {"reader": {"num_documents": 60, "num_validation_documents": 20,
            "num_training_pairs": 60}},
        "tokenizer": {"vocab_size": 300},
        "bert": {
            "model": {"width": 16, "num_heads": 2, "feed_forward_width": 32, "dropout": 0.1,
                "attention_dropout": 0.2},
            "phases": [{"updates": 60, "batch_size": 8, "ramp": "none", "max_length": 96,
                "max_predictions": 20}],
            "training": {"schedule": {"warmup_updates": 2}, "validate_every": 20, "log_every": 5,
                "select": "best"},
        },
        "seq2seq": {
            "common": {"updates": 30, "batch_size": 8, "schedule": {"warmup_updates": 2},
                "validate_every": 10,
                       "log_every": 5, "select": "best", "average": 2},
            "architectures": blocks,
        },
        "decoding": {"max_length": 12, "beam_size": 3, "curve": [2], "num_best": 2},
        "hardware": {"accelerator": "gpu" if device == "cuda" else "cpu", "num_threads": 1,
            "checkpoint_every": 7,
                     "num_workers": 2},
    }  # fmt: skip
    lstm = json.loads(json.dumps(blocks["gru_attention"]))
    base = _block("gru_attention")
    overlay["seq2seq"]["architectures"]["lstm"] = {
        **base,
        **lstm,
        "cell": {"name": "lstm"},
        "scheduled_sampling": 0.3,
    }
    overlay["evaluation"] = {"comparisons": []}
    folder.mkdir(parents=True)
    (folder / "tiny.yaml").write_text(json.dumps(overlay))
    checkout(folder, folder / "tiny.yaml")
    for stage in _STAGES:
        must(folder, *stage)
    return folder


def copy_of_project() -> Path:
    """A project of this case's own."""
    folder = Path(tempfile.mkdtemp()) / "project"
    shutil.copytree(os.environ[PROJECT], folder, symlinks=True)
    return folder


def _block(name: str) -> dict[str, Any]:
    from pipelines.frame.params_reader import plain, read_params

    return dict(plain(read_params(ROOT / "params.yaml").root)["seq2seq"]["architectures"][name])


def start(folder: Path, *command: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "WANDB_MODE": "disabled", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    return subprocess.Popen(
        [sys.executable, "-m", *command], cwd=folder, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip


def must(folder: Path, *command: str) -> str:
    process = start(folder, *command)
    text, _ = process.communicate()
    assert process.returncode == 0, f"{command}\n{text[-3000:]}"
    return text


def interrupt(folder: Path, number: int, update: int, *command: str) -> int:
    process = start(folder, *command)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(f"update {update}/"):
            os.killpg(process.pid, number)
            break
    process.stdout.read()
    return process.wait()


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def clean(folder: Path, stage: str, out: str) -> None:
    subprocess.run(
        ["rm", "-rf", str(folder / "data" / out), str(folder / ".runs" / stage)], check=True
    )
