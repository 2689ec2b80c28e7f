"""Environments that people bring, and shells without one."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, run_in

STUB = """#!/bin/sh
echo "$0 $*" >> '{log}'
case "$*" in "-m pip --version") exit {pip};; esac
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    return tmp_path


def _environment(folder: Path, log: Path, *, has_pip: bool) -> None:
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin/python"
    python.write_text(STUB.format(log=log, pip=0 if has_pip else 1))
    python.chmod(0o755)


@pytest.mark.parametrize("has_pip", [True, False], ids=["conda", "uv"])
@pytest.mark.parametrize("linked", [True, False])
def test_an_environment_that_is_there_is_filled_and_never_made_anew(
    project, tmp_path, has_pip, linked
):
    log = tmp_path / "log"
    _environment(tmp_path / "own env", log, has_pip=has_pip)
    if linked:
        (project / ".venv").symlink_to(tmp_path / "own env")
    else:
        (tmp_path / "own env").rename(project / ".venv")
    run_in(project, "make", "setup", "PYTHON=false")
    calls = log.read_text().splitlines()
    assert any("-m pip install" in call and "--editable .[dev]" in call for call in calls)
    assert any("-m ensurepip" in call for call in calls) is not has_pip
    run_in(project, "make", "setup", "PYTHON=false")
    assert log.read_text().splitlines() == calls  # nothing to do


def test_another_name_for_it(project, tmp_path):
    log = tmp_path / "log"
    _environment(tmp_path / "conda", log, has_pip=True)
    run_in(project, "make", "setup", "PYTHON=false", f"VENV={tmp_path / 'conda'}")
    assert "-m pip install" in log.read_text()
    assert not (project / ".venv").exists()


def test_a_python_without_the_packages_says_which_it_is_and_what_it_lacks():
    command = [sys.executable, "-S", "-m", "pipelines.corpus.prepare"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert f"error: {sys.executable} (Python 3." in result.stderr
    assert "lacks ruamel, pydantic, numpy, torch" in result.stderr
    assert "source .venv/bin/activate" in result.stderr
