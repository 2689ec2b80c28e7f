"""The machine that leads a run: whom it waits for, whom it misses, and how its run ends."""

import contextlib
import os
from types import SimpleNamespace

import pytest

from flows.nodes import lead as leading
from flows.nodes.place import Place
from flows.process import GRACE_S
from pipelines.frame import nodes
from pipelines.frame.errors import ParamsError, PeerMissing
from tests.conftest import free_port
from tests.machines import offer


def test_a_training_that_has_ended_is_closed(store, process):
    trainings = leading.Trainings(store)
    store.add("offers", 1)
    trainings.look()  # its offer is not yet there
    store.set("offer/1", offer(process))
    trainings.look()
    assert not store.check(["closed/1"])
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
    trainings.look()
    assert store.check(["closed/1"])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(leading.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("code", "waits_s", "result"),
    [
        ("1", nodes.LEAVE_S, False),
        ("2", nodes.LEAVE_S, True),
        ("-9", nodes.LEAVE_S, False),
        ("75", GRACE_S, False),
    ],
)
def test_a_training_that_failed_elsewhere_is_ended(
    store, process, clock, capsys, code, waits_s, result
):
    trainings = leading.Trainings(store)
    store.add("offers", 1)
    store.set("offer/1", offer(process))
    store.add("taken/1", 1)
    trainings.look()
    store.set("left/1/1", code)
    trainings.look()
    clock[0] += waits_s - 1
    trainings.look()
    assert process.poll() is None  # it may notice by itself
    assert trainings.at_work
    clock[0] += 2
    assert trainings.look() is result
    assert process.wait(timeout=20) == -9
    assert f"bert: ended with exit code {code} on machine 2" in capsys.readouterr().err


def test_a_training_that_is_done_elsewhere_is_left_alone(store, process, clock, capsys):
    trainings = leading.Trainings(store)
    store.add("offers", 1)
    store.set("offer/1", offer(process))
    store.add("taken/1", 1)
    store.set("left/1/1", "0")
    for _ in range(3):
        assert not trainings.look()
        clock[0] += 1000
    assert process.poll() is None
    assert capsys.readouterr().err == ""


def test_a_machine_that_is_silent_or_has_left_is_missed(store, clock):
    others = leading.Others(store)
    assert not others.here()
    for _ in range(3):
        store.add("come", 1)
    for _ in range(8):
        for machine in (1, 2, 3):
            store.add(f"beat/{machine}", 1)
        assert (others.silent(), others.gone()) == ([], [])
        clock[0] += nodes.SILENT_S - 1
    store.add("beat/1", 1)
    store.set("gone/2", "")
    assert (others.silent(), others.gone(), others.here()) == ([], [2], True)
    clock[0] += 2
    assert (others.silent(), others.gone(), others.here()) == ([3], [2], True)
    clock[0] += nodes.SILENT_S
    assert (others.silent(), others.gone(), others.here()) == ([1, 3], [2], False)


def test_a_lead_waits_for_the_others_and_says_so_when_they_do_not_come(store, clock, monkeypatch):
    others, stop = leading.Others(store), SimpleNamespace(requested=False)
    store.add("come", 1)
    others.wait_for(1, stop, lambda: False)
    monkeypatch.setattr(leading.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + 10))
    with pytest.raises(PeerMissing) as error:
        others.wait_for(2, stop, lambda: False)
    assert "machines that came (1) must be 2" in str(error.value)
    with pytest.raises(ParamsError, match="must be on one machine alone"):
        others.wait_for(2, stop, lambda: True)
    stop.requested = True
    others.wait_for(2, stop, lambda: False)


class _Command:
    """A command of a run that a test ends."""

    def __init__(self, code: int | None = None) -> None:
        self.code, self.asked = code, 0

    def ended(self) -> int | None:
        return self.code

    def stop(self) -> None:
        self.asked += 1
        self.code = -15


@pytest.mark.parametrize("saves_for_s", [5, 1000])
def test_a_run_that_is_stopped_lasts_until_its_training_has_saved(
    store, process, clock, monkeypatch, saves_for_s
):
    """The command ends at once; a training that does not is ended in the end."""
    store.add("offers", 1)
    store.set("offer/1", offer(process))
    slept = []

    def sleep(seconds: float) -> None:
        clock[0] += 1
        slept.append(seconds)
        if len(slept) == saves_for_s:
            process.kill()
        if len(slept) > GRACE_S + 2:
            process.wait()  # it has been killed

    monkeypatch.setattr(leading.time, "sleep", sleep)
    command, stop = _Command(), SimpleNamespace(requested=True)
    trainings, others = leading.Trainings(store), leading.Others(store)
    trainings.look()
    assert leading._supervise(command, trainings, others, stop) == 75
    assert command.asked
    assert process.wait() == -9
    assert len(slept) == pytest.approx(min(saves_for_s, GRACE_S), abs=4)


@pytest.mark.parametrize(
    ("code", "gone", "expected"), [(0, False, 0), (3, False, 3), (-9, False, 1), (0, True, 75)]
)
def test_a_run_ends_with_its_commands_code(store, code, gone, expected):
    store.add("come", 1)
    if gone:
        store.set("gone/1", "")
    found = leading._supervise(
        _Command(code),
        leading.Trainings(store),
        leading.Others(store),
        SimpleNamespace(requested=False),
    )
    assert found == expected


def test_a_run_without_one_of_its_machines_ends(store, process, clock, monkeypatch, capsys):
    store.add("offers", 1)
    store.set("offer/1", offer(process))
    store.add("come", 1)
    monkeypatch.setattr(leading.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + 1))
    command = _Command()
    found = leading._supervise(
        command, leading.Trainings(store), leading.Others(store), SimpleNamespace(requested=False)
    )
    assert (found, process.wait(), command.asked > 0) == (1, -9, True)
    assert capsys.readouterr().err.count("machine 2 has not answered for 30 s") == 1


@pytest.mark.parametrize(
    ("own", "other", "expected"),
    [
        ("127.0.0.1", "127.0.1.1", "machine1"),  # a host's own name, as Debian has it
        ("10.0.0.2", "10.0.0.2", "machine1"),
        ("10.0.0.2", "10.0.0.1", "10.0.0.2"),
    ],
)
def test_the_lead_gives_an_address_that_others_reach(monkeypatch, own, other, expected):
    way = SimpleNamespace(getsockname=lambda: (own, 1), getpeername=lambda: (other, 2))
    monkeypatch.setattr(
        leading.socket, "create_connection", lambda *_, **__: contextlib.nullcontext(way)
    )
    assert leading._own_address(Place(2, True, "machine1", 29500, False)) == expected


def test_one_machine_leads(store):
    leading._become_lead(store, f"127.0.0.1:{store.port}")
    with pytest.raises(ParamsError) as error:
        leading._become_lead(store, "127.0.0.1:2")
    assert "must be on one machine alone; start the others without a command" in str(error.value)
    assert store.check([f"another/127.0.0.1:{store.port}"])  # the first one will see it
    store.set("lead", f"127.0.0.1:{free_port()}")  # of an earlier round
    leading._become_lead(store, "127.0.0.1:2")
    assert store.get("lead") == b"127.0.0.1:2"
