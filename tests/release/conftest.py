"""A release of the tiny project, signed, and keys."""

import contextlib
import shutil
import subprocess
from pathlib import Path

import pytest

from pipelines.release.__main__ import main


def new_key(folder: Path, name: str = "key") -> tuple[Path, Path]:
    """A private key and its public one, as the docs make them."""
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    for command in (
        f"openssl ecparam -name prime256v1 -genkey -noout -out {private}",
        f"openssl ec -in {private} -pubout -out {public}",
    ):
        subprocess.run(command.split(), check=True, capture_output=True)
    return private, public


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Private, public."""
    return new_key(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def released(
    reproduced: Path, keys: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """``releases/first`` of the tiny project; tests only look at it."""
    out = tmp_path_factory.mktemp("releases")
    with contextlib.chdir(reproduced):
        given = ["first", "--out", str(out), "--key", str(keys[0]), "--ctranslate2", "float32"]
        assert main([*given, "int8"]) == 0
    return out / "first"


@pytest.fixture
def release(released: Path, tmp_path: Path) -> Path:
    """A copy of it, to spoil."""
    return Path(shutil.copytree(released, tmp_path / "release"))
