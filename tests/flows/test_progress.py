"""Progress in Prefect's UI: the newest share, the last one surely, and never a wait for the
server.
"""

import threading
import time

import pytest

from flows import progress
from flows.progress import Progress


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the server has been told."""
    shares: list[float] = []
    monkeypatch.setattr(
        progress, "create_progress_artifact", lambda share, **of: shares.append(share) or "id"
    )
    monkeypatch.setattr(
        progress, "update_progress_artifact", lambda id, share: shares.append(share)
    )
    return shares


def test_the_last_share_is_told(told):
    with Progress("seq2seq@gru") as shown:
        for number in range(1, 101):
            shown.update(number / 100)
    assert told[-1] == 100
    assert told == sorted(told)


def test_nothing_is_told_of_a_stage_without_progress(told):
    with Progress("corpus"):
        pass
    assert told == []


def test_a_server_that_does_not_answer_holds_nothing_up(told, monkeypatch):
    answer = threading.Event()
    monkeypatch.setattr(progress, "create_progress_artifact", lambda share, **of: answer.wait(60))
    monkeypatch.setattr(progress, "_PATIENCE_S", 0.2)
    started = time.monotonic()
    with Progress("bert") as shown:
        for number in range(1000):
            shown.update(number / 1000)
    assert time.monotonic() - started < 5
    answer.set()


def test_a_server_that_is_gone_is_said_once(monkeypatch):
    def refuse(share: float, **of: str) -> str:
        raise ConnectionError("gone")

    said: list[str] = []
    logger = type("logger", (), {"warning": lambda self, line: said.append(line)})()
    monkeypatch.setattr(progress, "create_progress_artifact", refuse)
    monkeypatch.setattr(progress, "get_run_logger", lambda: logger)
    with Progress("bert") as shown:
        shown.update(0.1)
        shown.update(0.2)
    assert said == ["bert: progress is not shown any more (ConnectionError)"]
