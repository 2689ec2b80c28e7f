"""One server for all tests of a session that need one."""

from collections.abc import Iterator

import pytest

import flows.environment  # noqa: F401  (before Prefect is imported)
from tests.flows.served import Server, served


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("served") / "project") as one:
        yield one
