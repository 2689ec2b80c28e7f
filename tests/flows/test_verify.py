"""Two runs compared: nothing hidden, nothing invented."""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from flows.verify import differences
from tests.conftest import ROOT, copy_project, run_in


def _result(folder: Path, weight: float = 1.0, bleu: float = 20.0, text: str = "b") -> Path:
    folder.mkdir()
    save_file({"a": torch.ones(3), "b": torch.tensor([1.0, weight])}, folder / "model.safetensors")
    (folder / "metrics.json").write_text(json.dumps({"evaluation": {"bleu": [bleu, 1]}}))
    (folder / "beam.txt").write_text(f"a\n{text}\nc\n")
    (folder / "vocab.bin").write_bytes(b"x")
    return folder


def test_equal_results_have_no_differences(tmp_path):
    assert list(differences(_result(tmp_path / "a"), _result(tmp_path / "b"))) == []


def test_differences_are_told_to_the_tensor_the_key_and_the_line(tmp_path):
    one, other = _result(tmp_path / "a"), _result(tmp_path / "b", weight=1.5, bleu=21.0, text="x")
    (other / "vocab.bin").write_bytes(b"y")
    (other / "more").touch()
    assert list(differences(one, other)) == [
        "beam.txt: line 2",
        "metrics.json: key evaluation.bleu[0] (20.0, 21.0)",
        "model.safetensors: tensor b by up to 5.0e-01",
        "more: only in the second",
        "vocab.bin: other bytes",
    ]


@pytest.mark.parametrize("search_path", [None, "/nowhere"], ids=["no checkout", "no git"])
def test_without_a_checkout_or_git_one_line_says_so(tmp_path, search_path):
    environment = {"PYTHONPATH": str(ROOT), "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    environment |= {"PATH": search_path} if search_path else {}
    result = run_in(tmp_path, sys.executable, "-m", "flows.verify", check=False, **environment)
    assert result.returncode == 2
    assert result.stderr.startswith("error: git")
    assert len(result.stderr.splitlines()) == 1


CLOCK = """

_exact = build_model


def build_model(params, vocab_size):
    import time

    model = _exact(params, vocab_size)
    model.output_bias.data += time.time() % 1
    return model
"""


@pytest.mark.reliability
@pytest.mark.parametrize("broken", [False, True])
def test_verify_says_whether_two_runs_are_equal(tmp_path, broken):
    """With a clock in a model's first weights as the control that must fail."""
    project = copy_project(tmp_path / "project")
    if broken:
        path = project / "pipelines/models/protocol/registry.py"
        path.write_text(path.read_text() + CLOCK)
        run_in(project, "git", "commit", "-qam", "a clock")
    result = run_in(project, sys.executable, "-m", "flows.verify", check=False)
    assert "equal    data/bert" in result.stdout
    assert ("differs  data/seq2seq/gru\n" in result.stdout) == broken
    assert ("tensor " in result.stdout) == broken
    assert result.returncode == int(broken)
