"""One server for all tests of a session that need one; what tests of machines share."""

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

import flows.environment  # noqa: F401  (before Prefect is imported)
from tests.flows.served import Server, served


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("served") / "project") as one:
        yield one


@pytest.fixture
def store() -> Any:
    """A real store of PyTorch, as the first machine of a run has it."""
    from torch.distributed import TCPStore

    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """One that stands for a training's."""
    with subprocess.Popen(["sleep", "600"]) as one:
        yield one
        one.kill()
