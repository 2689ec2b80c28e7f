"""Secrets planted wherever a user may have them are in nothing that a flow writes."""

import http.server
import os
import sys
import threading
from pathlib import Path

import pytest

from tests.conftest import copy_project, run_in

pytestmark = pytest.mark.reliability
_SECRET = "planted-5ecret-"
_VARIABLES = (
    "WANDB_API_KEY",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "HF_TOKEN",
    "PREFECT_API_KEY",
    "MY_PASSWORD",
)
_OWN = {".git/config", ".dvc/config.local", ".netrc"}  # where the user has put them


class _Remote(http.server.BaseHTTPRequestHandler):
    """A DVC remote that holds nothing, and a webhook."""

    def do_GET(self) -> None:
        self.send_error(404)

    do_HEAD = do_POST = do_GET

    def log_message(self, *told: object) -> None:
        return


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """After a flow that succeeded and one that failed, with secrets all about."""
    folder = copy_project(tmp_path_factory.mktemp("secrets") / "project")
    remote = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Remote)
    threading.Thread(target=remote.serve_forever, daemon=True).start()
    address = f"user:{_SECRET}url@127.0.0.1:{remote.server_port}"
    run_in(folder, "git", "remote", "add", "origin", f"http://{address}/project.git")
    run_in(
        folder, "dvc", "remote", "add", "--local", "--default", "store", f"http://{address}/store"
    )
    run_in(folder, "dvc", "remote", "modify", "--local", "store", "password", f"{_SECRET}remote")
    environment = {name: f"{_SECRET}{name}" for name in _VARIABLES}
    environment["WANDB_API_KEY"] = f"{_SECRET}{'0' * 40}"[:40]
    environment |= {
        "MASKLINE_WEBHOOK": f"http://{address}/hook?token={_SECRET}hook",
        "WANDB_MODE": "offline",
    }
    run_in(folder, sys.executable, "-m", "pipelines.preflight", "--json", **environment)
    told = run_in(folder, sys.executable, "-m", "flows.pipeline", **environment)
    (folder / "data/raw/embedded/nouns.tsv").write_text("broken")
    failed = run_in(folder, sys.executable, "-m", "flows.pipeline", check=False, **environment)
    assert failed.returncode
    (folder / "told.log").write_text(told.stdout + told.stderr + failed.stdout + failed.stderr)
    remote.shutdown()
    return folder


def test_flows_write_no_secret_into_logs_artifacts_params_or_wandb(project):
    written = [path for path in project.rglob("*") if path.is_file() and not path.is_symlink()]
    names = {path.relative_to(project).as_posix() for path in written}
    assert ".runs/prefect/prefect.db" in names
    assert any(name.endswith(".wandb") for name in names)
    assert any(name.endswith("output.log") for name in names)
    telling = [
        path.relative_to(project).as_posix()
        for path in written
        if _SECRET.encode() in path.read_bytes()
    ]
    assert set(telling) <= _OWN


def test_the_search_finds_a_secret_that_is_there(project):
    assert any(
        _SECRET.encode() in (project / name).read_bytes()
        for name in _OWN
        if (project / name).exists()
    )


def test_wandb_config_holds_params_and_versions_and_no_environment(project):
    runs = (project / ".runs/wandb").glob("offline-run-*/**/*")
    written = b"".join(path.read_bytes() for path in runs if path.is_file())
    assert b"vocab_size" in written
    for name in _VARIABLES:
        assert os.fsencode(name) not in written
