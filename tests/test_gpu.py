"""What only a GPU can show, one test per case of ``tests/gpu.py``: ``make test-gpu``."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from tests.gpu import CASES
from tests.gpu_project import PROJECT, make_project

_HAS_GPU = torch.cuda.is_available()


@pytest.fixture(scope="module")
def project() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield make_project(Path(folder) / "project", "cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not _HAS_GPU, reason="torch finds no CUDA device here")
@pytest.mark.parametrize("case", CASES)
def test_on_a_gpu(project, case):
    command = [sys.executable, "-m", "tests.gpu", "--device", "cuda", "--case", case]
    environment = {**os.environ, PROJECT: str(project)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True,
        timeout=CASES[case][1], check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.recipes
def test_the_script_itself_runs_on_a_cpu():
    """Its quicker cases, so that it does not rot where there is no GPU."""
    cases = ["update_of_every_family", "pretraining_and_classifier", "out_of_memory_names_the_key"]
    cases += ["kernel_of_rows_without_padding"]
    command = [sys.executable, "-m", "tests.gpu", "--device", "cpu", "--only", *cases]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("passed  ") == len(cases)
