"""A colleague's clone gets every artefact from the remote, folder or S3, without computing. Marked
``reliability``.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.authority import DAY, Authority
from tests.conftest import copy_project, run_in
from tests.tls import BehindTls

pytestmark = pytest.mark.reliability


@pytest.fixture
def s3() -> Iterator[str]:
    """Address of an S3 server on the loopback device, with one bucket."""
    import boto3

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        keys = {
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
            "region_name": "us-east-1",
        }
        client, deadline = boto3.client("s3", endpoint_url=url, **keys), time.monotonic() + 60
        while True:
            try:
                client.create_bucket(Bucket="maskline")
                break
            except Exception:
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=30)


def _share(project: Path, clone: Path, **environment: str) -> None:
    """Push from one, clone with git, pull in the other."""
    run_in(project, "git", "add", "-A")
    run_in(project, "git", "commit", "-qm", "results")
    run_in(project, "dvc", "push", "--quiet", **environment)
    run_in(project.parent, "git", "clone", "-q", str(project), str(clone))
    run_in(clone, "dvc", "pull", "--quiet", **environment)


def _missing(project: Path, clone: Path) -> list[str]:
    """Files of results that the clone has not, or has otherwise."""
    files = [
        path for path in (project / "data").rglob("*") if path.is_file() and "raw" not in path.parts
    ]
    assert len(files) > 50
    names = [path.relative_to(project) for path in files]
    return [
        str(name) for name in names if (clone / name).read_bytes() != (project / name).read_bytes()
    ]


def test_a_clone_pulls_everything_from_a_shared_folder(reproduced_copy, tmp_path):
    clone = tmp_path / "clone"
    run_in(reproduced_copy, "dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    _share(reproduced_copy, clone)
    assert _missing(reproduced_copy, clone) == []
    assert "Running stage" not in run_in(clone, "dvc", "repro").stdout


def test_a_clone_pulls_everything_from_s3(reproduced_copy, tmp_path, s3):
    clone, secret = tmp_path / "clone", "wJalr-a-planted-secret"
    run_in(reproduced_copy, "dvc", "remote", "add", "--default", "store", "s3://maskline/cache")
    run_in(reproduced_copy, "dvc", "remote", "modify", "store", "endpointurl", s3)
    keys = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    _share(reproduced_copy, clone, **keys)
    assert _missing(reproduced_copy, clone) == []
    assert "Running stage" not in run_in(clone, "dvc", "repro").stdout
    result = run_in(
        reproduced_copy, sys.executable, "-m", "pipelines.preflight", check=False, **keys
    )
    assert result.returncode == 0, result.stderr  # the endpoint is reachable
    for folder in (reproduced_copy, clone):
        for root, _, names in os.walk(folder):
            for name in names:
                assert secret.encode() not in Path(root, name).read_bytes()


def test_a_certificate_that_ends_during_a_run_loses_nothing(tmp_path, s3):
    """Training goes to its end, the push is tried until the certificate is renewed."""
    project = copy_project(tmp_path / "project")
    authority = Authority(tmp_path)
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    environment = {key: value for key, value in os.environ.items() if key != "PREFECT_HOME"} | keys
    with BehindTls(s3, authority, DAY, -DAY) as served:
        run_in(project, "dvc", "remote", "add", "--default", "store", "s3://maskline/expiry")
        for key, value in (("endpointurl", served.address), ("ssl_verify", str(authority.path))):
            run_in(project, "dvc", "remote", "modify", "--local", "store", key, value)
        printed = []
        flow = subprocess.Popen(
            [sys.executable, "-m", "flows.pipeline", "--until", "bert", "--push"],
            cwd=project, env=environment, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        for line in flow.stdout or ():
            printed.append(line)
            if "Running stage 'bert'" in line:
                served.renew(timedelta(seconds=1))  # one that has ended by the end of the run
            if "dvc push: " in line and "again in" in line:
                served.renew()
        text = "".join(printed)
        assert flow.wait() == 0, text[-3000:]
        assert "ertificate" in text[text.index("dvc push: ") :], text[-3000:]
        assert (project / "data/bert/model.safetensors").is_file()
        assert "Everything is up to date" in run_in(project, "dvc", "push", **keys).stdout
