"""A release of the tiny project, signed, and keys."""

import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.release.__main__ import main
from pipelines.release.checking import write_sums


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


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """An S3 server on the loopback device."""
    from moto.server import ThreadedMotoServer

    found = ThreadedMotoServer("127.0.0.1", 0)
    found.start()
    host, port = found.get_host_and_port()
    yield f"http://{host}:{port}"
    found.stop()


@pytest.fixture(params=["folder", "bucket"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty place."""
    if request.param == "folder":
        (tmp_path / "place").mkdir()
        return str(tmp_path / "place")
    return bucket(request.getfixturevalue("server"), tmp_path, monkeypatch)


def bucket(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    import boto3

    for key, value in {
        "AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(key, value)
    name = f"b{abs(hash(str(tmp_path)))}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}/models"


@pytest.fixture
def small(tmp_path: Path, released: Path) -> Path:
    """A release of one model, unsigned."""
    return renamed(released, tmp_path / "made", "one")


def renamed(released: Path, out: Path, name: str) -> Path:
    """A release like another, of the recurrent model alone, with its own time."""
    folder = out / name
    shutil.copytree(released, folder, ignore=shutil.ignore_patterns("*bert*", "tran*", "rnd*"))
    shutil.rmtree(folder / "gru_attention")
    (folder / "model.sig").unlink()
    facts = json.loads((folder / "release.json").read_text())
    time.sleep(0.01)
    facts |= {"name": name, "made": f"2026-01-01T{time.monotonic_ns():020}"}
    (folder / "release.json").write_text(json.dumps(facts))
    write_sums(folder)
    return folder
