"""Runs on two machines: torchrun agents on the loopback device, one folder of results."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import enter_copy
from tests.machines import Machine, expected_and_project, same, two

pytestmark = pytest.mark.nodes
_REPRO = (sys.executable, "-m", "flows.repro")
_MINUTE = 60


@pytest.fixture(scope="module")
def prepared(reproduced: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return expected_and_project(reproduced, tmp_path_factory.mktemp("machines"))


@pytest.fixture
def expected(prepared: Path) -> Path:
    return prepared / "expected"


@pytest.fixture
def project(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter_copy(prepared / "project", tmp_path / "project", monkeypatch)


def _both_end(first: Machine, second: Machine, limit_s: float) -> tuple[int, int]:
    deadline = time.monotonic() + limit_s
    try:
        return first.end(limit_s), second.end(deadline - time.monotonic())
    except subprocess.TimeoutExpired:
        raise AssertionError(first.printed + second.printed) from None


def _none_left(pids: list[int]) -> bool:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        left = [pid for pid in pids if psutil.pid_exists(pid)]
        if all(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE for pid in left):
            return True
        time.sleep(0.2)
    return False


def test_second_machine_joins_each_training_and_ends_with_the_run(project, expected, tmp_path):
    first, second = two(project, tmp_path, *_REPRO, "bert", "seq2seq@gru")
    with first, second:
        assert _both_end(first, second, 180) == (0, 0)
    assert "leads 2 machines" in first.printed
    for stage in ("bert", "seq2seq@gru"):
        assert f"{stage}: joins as machine 2 of 2" in second.printed
        assert f"{stage}: left with exit code 0" in second.printed
    assert "update" not in second.printed
    same(expected, "bert", "seq2seq/gru")


def _more(*values: object) -> object:
    """A case for `make test-chaos`."""
    return pytest.param(*values, marks=pytest.mark.chaos)


@pytest.mark.parametrize(
    ("victim", "way"),
    [
        ("second", signal.SIGKILL),
        _more("first", signal.SIGSTOP),
        _more("first", signal.SIGKILL),
        _more("second", signal.SIGSTOP),
    ],
)
def test_a_machine_that_is_gone_ends_the_other_within_a_minute_and_loses_nothing(
    project, expected, tmp_path, victim, way
):
    machines = two(project, tmp_path, *_REPRO, "bert")
    with machines[0], machines[1]:
        machines[0].wait_for("update 12/40")
        gone, other = machines if victim == "first" else machines[::-1]
        trees = {one: one.tree() for one in machines}
        gone.signal_all(way)
        assert other.end(_MINUTE) != 0
        gone.signal_all(signal.SIGKILL)
        assert _none_left([pid for tree in trees.values() for pid in tree]), other.printed
    assert not Path("data/bert").exists()
    assert list(Path(".runs/bert").glob("*/checkpoints/update-*.ckpt"))
    told = {
        ("second", signal.SIGKILL): "its last checkpoint is kept; start again to go on",
        ("second", signal.SIGSTOP): "machine 2 has not answered for 30 s",
        ("first", signal.SIGKILL): "the first machine is gone",
        ("first", signal.SIGSTOP): "the first machine has not answered for 30 s",
    }
    assert told[victim, way] in other.printed
    assert "/flows/nodes/" not in other.printed  # no traceback but torchrun's own
    again = two(project, tmp_path, *_REPRO, "bert")
    with again[0], again[1]:
        assert _both_end(*again, 180) == (0, 0)
    assert "going on after update" in again[0].printed
    same(expected, "bert")


@pytest.mark.parametrize("asked", [_more("first"), _more("second"), "both"])
def test_a_polite_stop_of_one_machine_is_one_of_both(project, expected, tmp_path, asked):
    machines = two(project, tmp_path, *_REPRO, "bert")
    with machines[0], machines[1]:
        machines[0].wait_for("update 12/40")
        for one in {"first": machines[:1], "second": machines[1:], "both": machines}[asked]:
            one.process.send_signal(signal.SIGTERM)
        codes = _both_end(*machines, _MINUTE)
    assert all(codes), codes
    assert "stopped: checkpoint saved after update" in machines[0].printed
    again = two(project, tmp_path, *_REPRO, "bert")
    with again[0], again[1]:
        assert _both_end(*again, 180) == (0, 0)
    same(expected, "bert")


def test_a_flow_goes_on_after_a_lost_process_and_ends_on_both_when_it_is_told_to(
    project, expected, tmp_path
):
    """The training's process on the second machine is killed; later the flow is."""
    flow = (sys.executable, "-m", "flows.pipeline", "--until", "bert")
    first, second = two(project, tmp_path, *flow)
    with first, second:
        first.wait_for("update 12/40")
        (training,) = [
            pid
            for pid in second.tree()
            if "pipelines.bert.pretrain" in psutil.Process(pid).cmdline()
            and psutil.Process(pid).environ().get("NODE_RANK") == "1"
            and psutil.Process(pid).parent().cmdline()[-1] == "flows.nodes"
        ]
        os.kill(training, signal.SIGKILL)
        first.wait_for("its process was lost")
        first.wait_for("going on after update")
        assert second.printed.count("bert: joins as machine 2 of 2") == 2
        trees = first.tree() + second.tree()
        first.process.send_signal(signal.SIGTERM)
        assert all(_both_end(first, second, 2 * _MINUTE))
        assert _none_left(trees), first.printed
    again = two(project, tmp_path, *_REPRO, "bert")
    with again[0], again[1]:
        assert _both_end(*again, 180) == (0, 0)
    same(expected, "bert")


@pytest.mark.chaos
def test_a_flow_whose_machine_is_gone_ends(project, tmp_path):
    flow = (sys.executable, "-m", "flows.pipeline", "--until", "bert")
    first, second = two(project, tmp_path, *flow)
    with first, second:
        first.wait_for("update 12/40")
        trees = first.tree() + second.tree()
        second.signal_all(signal.SIGKILL)
        assert first.end(2 * _MINUTE) != 0
        assert _none_left(trees), first.printed
    assert "machine 2 has not answered for 30 s; the run ends" in first.printed
    assert not Path("data/bert").exists()
