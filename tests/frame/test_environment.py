"""Odd machines: no git, no home, a terminal that knows no Unicode, a path like a pattern, a shallow
clone.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import QUIET, copy_project, run_in
from tests.whole_pipeline import checkout

PREFLIGHT, CORPUS, PLAN = "pipelines.preflight", "pipelines.corpus.prepare", "flows.plan"
ODD = "my proj [1] größe"


def _run(folder: Path, module: str, *arguments: str, without: tuple[str, ...] = (), **changes: str):
    """A module in a folder, with some variables changed and others taken out."""
    inherited = {
        key: value for key, value in os.environ.items() if key not in ("PREFECT_HOME", *without)
    }
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=folder, env={**inherited, **QUIET, "WANDB_MODE": "disabled", **changes},
        capture_output=True, check=False,
        timeout=120,
    )  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout without git, whose corpus is small."""
    (tmp_path / "small.yaml").write_text(
        "corpus: {reader: {num_documents: 20, num_training_pairs: 20}}\n"
    )
    return checkout(tmp_path / ODD, tmp_path / "small.yaml")


@pytest.mark.parametrize(
    ("without", "changes"),
    [
        ((), {"PATH": "/nowhere"}),
        (("HOME",), {}),
        ((), {"HOME": "/proc"}),  # nobody can write there
        ((), {"PYTHONIOENCODING": "ascii"}),
        (
            ("LANG", "LC_ALL", "LC_CTYPE"),
            {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        ),
    ],
    ids=["no git", "no HOME", "read-only HOME", "ASCII terminal", "C locale"],
)
def test_checks_and_a_stage_run_on_an_odd_machine(project, without, changes):
    for module in (PREFLIGHT, CORPUS):
        done = _run(project, module, without=without, **changes)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        assert b"Traceback" not in done.stderr
    told = _run(project, PREFLIGHT, "--run", without=without, **changes).stderr
    assert (b"git must be installed" in told) == (changes.get("PATH") == "/nowhere")
    measured = json.loads((project / "data/corpus/metrics.json").read_text(encoding="utf-8"))
    assert measured["corpus"]["pairs"]["train"] == 20


def test_tables_and_messages_are_shown_on_a_terminal_without_unicode(reproduced):
    table = _run(reproduced, "pipelines.report.table", PYTHONIOENCODING="ascii")
    assert table.returncode == 0
    assert b"masked tokens (MLM)" in table.stdout
    lines = subprocess.run(
        [sys.executable, "-m", "pipelines.translate", "--arch", "gru"],
        cwd=reproduced, env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        input=b"The cow is small.\n",
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    lines.decode("utf-8")  # translations are UTF-8 wherever they go


def _own_text(folder: Path) -> None:
    raw = folder / "data/raw/mine [2]"
    raw.mkdir()
    lines = "".join(f"Word {number} goes.\nWord {number} stays.\n\n" for number in range(9))
    for side in ("x", "y"):
        (raw / f"documents [{side}].txt").write_text(lines)
        (raw / f"pairs [{side}].txt").write_text(lines.replace("\n\n", "\n"))
    documents, pairs = (
        {side: f"{kind} [{side}].txt" for side in ("x", "y")} for kind in ("documents", "pairs")
    )
    reader = {
        "kind": "files", "max_words": 9, "documents": {"train": documents, "valid": documents},
        "pairs": dict.fromkeys(("train", "valid", "test"), pairs),
    }  # fmt: skip
    names = (
        "documents",
        "validation_documents",
        "training_pairs",
        "validation_pairs",
        "test_pairs",
    )
    reader |= {f"num_{name}": None for name in names}
    section = {
        "raw": "data/raw/mine [2]",
        "source_language": "x",
        "target_language": "y",
        "reader": reader,
    }
    (folder / "mine.yaml").write_text(json.dumps({"corpus": section}))


def test_a_path_like_a_pattern_holds_readable_text(project):
    """Libraries take [2] for a pattern, and find no file."""
    _own_text(project)
    assert _run(project, "pipelines.params", "apply", "mine.yaml").returncode == 0
    for module in (PREFLIGHT, CORPUS):
        done = _run(project, module)
        assert done.returncode == 0, done.stderr.decode()
    found = json.loads((project / "data/corpus/metrics.json").read_text())["corpus"]
    assert found["documents"]["train.x"] == {"documents": 9, "sentences": 18, "words": 54}


@pytest.mark.recipes
def test_dvc_in_a_path_like_a_pattern_and_in_a_shallow_clone(tmp_path):
    folder = copy_project(tmp_path / ODD)
    run_in(folder, "dvc", "repro", "shards", WANDB_MODE="disabled")
    run_in(folder, "git", "add", "-A")
    run_in(folder, "git", "commit", "-qm", "shards")
    shallow = tmp_path / "shallow"
    run_in(tmp_path, "git", "clone", "-q", "--depth", "1", f"file://{folder}", str(shallow))
    assert b"may run" in _run(shallow, PLAN).stdout
    assert _run(shallow, PREFLIGHT).returncode == 0
    script = "from flows.experiment import experiment; print(experiment('x', [], {'seed': 3}))"
    made = run_in(shallow, sys.executable, "-c", script).stdout.strip()
    assert "seed: 3 " in (shallow / made / "params.yaml").read_text()


@pytest.mark.recipes
def test_a_temporary_experiment_in_a_path_with_other_letters_needs_what_preflight_says(tmp_path):
    folder = copy_project(tmp_path / ODD)
    run_in(folder, "git", "config", "user.name", "José")
    command = ["dvc", "exp", "run", "--temp", "-S", "seed=3", "corpus"]
    assert (
        "codec can't encode" in run_in(folder, *command, check=False, WANDB_MODE="disabled").stderr
    )
    told = _run(folder, PREFLIGHT).stderr.decode()
    assert told.count("for `dvc exp run --temp` and `--queue`") == 2
    assert "dvc cache dir --local FOLDER" in told
    run_in(folder, "git", "config", "user.name", "Jose")
    run_in(folder, "dvc", "cache", "dir", "--local", str(tmp_path / "cache"))
    assert b"exp run" not in _run(folder, PREFLIGHT).stderr
    assert "Ran experiment" in run_in(folder, *command, WANDB_MODE="disabled").stdout


@pytest.mark.recipes
def test_raw_data_git_does_not_know_reaches_a_temporary_experiment_or_is_missed_in_one_line(
    tmp_path,
):
    folder = copy_project(tmp_path / "project")
    _own_text(folder)
    shutil.move(folder / "data/raw/mine [2]", folder / "data/raw/mine")
    overlay = (folder / "mine.yaml").read_text().replace("mine [2]", "mine")
    (folder / "mine.yaml").write_text(overlay)
    run_in(folder, sys.executable, "-m", "pipelines.params", "apply", "mine.yaml")
    run_in(folder, "dvc", "repro", "corpus", WANDB_MODE="disabled")
    run_in(folder, "git", "add", "-A")
    run_in(folder, "git", "commit", "-qm", "mine")
    command = ["dvc", "exp", "run", "--temp", "-S", "corpus.reader.max_words=8"]
    missed = run_in(folder, *command, "corpus", check=False, WANDB_MODE="disabled")
    assert missed.returncode != 0
    assert "data/raw/mine" in missed.stderr
    assert "Traceback" not in missed.stderr
    run_in(folder, *command, "-C", "data/raw/mine", "corpus", WANDB_MODE="disabled")
