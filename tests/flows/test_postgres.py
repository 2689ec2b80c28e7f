"""Prefect on PostgreSQL (Debian's package): a flow, and what is left of it in the database. Marked
``reliability``.
"""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.conftest import copy_project, run_in

pytestmark = pytest.mark.reliability


def _binary(name: str) -> str:
    found = shutil.which(name) or next(
        (str(path) for path in Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), ""
    )
    assert found, f"{name} must be installed for this test: apt-get install postgresql"
    return found


@pytest.fixture
def database() -> Iterator[str]:
    """Address of an empty database on the loopback device."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    owner = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    with tempfile.TemporaryDirectory() as folder:
        if owner:
            shutil.chown(folder, owner)
        data = Path(folder, "data")
        common = {
            "user": owner,
            "cwd": folder,
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
        }
        subprocess.run(
            [_binary("initdb"), "-D", data, "-A", "trust", "-U", "prefect"], check=True, **common
        )
        listen = ["-p", str(port), "-k", folder, "-c", "listen_addresses=127.0.0.1"]
        server = subprocess.Popen([_binary("postgres"), "-D", data, *listen], **common)
        try:
            asyncio.run(_create(port))
            yield f"127.0.0.1:{port}/history"
        finally:
            server.terminate()
            server.wait(timeout=60)


async def _create(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            connection = await asyncpg.connect(f"postgresql://prefect@127.0.0.1:{port}/postgres")
            break
        except (OSError, asyncpg.PostgresError):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)
    await connection.execute("create database history")
    await connection.close()


def test_a_flow_leaves_its_history_in_postgresql(database, tmp_path):
    project = copy_project(tmp_path / "project")
    environment = {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://prefect@{database}"
    }
    run_in(project, sys.executable, "-m", "flows.pipeline", "--until", "corpus", **environment)

    async def states() -> list[tuple[str, str]]:
        connection = await asyncpg.connect(f"postgresql://prefect@{database}")
        rows = await connection.fetch("select name, state_name from task_run")
        await connection.close()
        return [(row["name"], row["state_name"]) for row in rows]

    assert sorted(asyncio.run(states())) == [
        ("corpus", "Completed"),
        ("plan", "Completed"),
        ("preflight", "Completed"),
    ]
    assert not (project / ".runs/prefect/prefect.db").exists()
