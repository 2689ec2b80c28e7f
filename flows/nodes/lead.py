"""The machine that leads: it starts the run and looks after its trainings."""

import contextlib
import math
import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psutil
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from flows.nodes.child import Child
from flows.nodes.place import COMMAND, MEET_S, Place, without_ranks
from flows.process import GRACE_S
from pipelines.frame.errors import (
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    EXIT_PREEMPTED,
    ParamsError,
    PeerMissing,
    broken_rule,
)
from pipelines.frame.hardware import visible_gpus
from pipelines.frame.nodes import LEAVE_S, MACHINES, POLL_S, SILENT_S, STORE, Offer
from pipelines.frame.processes import PoliteStop
from pipelines.training.nodes import connect


def lead(here: Place, meeting: Any, command: list[str], stop: PoliteStop) -> int:
    """Run a command, whose trainings the other machines join; its exit code.

    Raises:
        ParamsError: another machine leads already.
        PeerMissing: not all machines have come.
    """
    store = TCPStore("0.0.0.0", 0, is_master=True, wait_for_workers=False)
    address = f"{_own_address(here)}:{store.port}"
    _become_lead(meeting, address)
    store.set("gpus", ",".join(visible_gpus()))
    others = Others(store)
    others.wait_for(here.machines - 1, stop, lambda: meeting.check([f"another/{address}"]))
    code = EXIT_PREEMPTED
    if not stop.requested:
        print(f"leads {here.machines} machines: {' '.join(command)}", flush=True)
        environment = {**without_ranks(os.environ), STORE: address, MACHINES: str(here.machines)}
        code = _supervise(Child(command, environment, "."), Trainings(store), others, stop)
    store.set("ended", str(code))
    deadline = time.monotonic() + LEAVE_S
    while others.here() and time.monotonic() < deadline:
        time.sleep(POLL_S / 5)
    return code


def _supervise(child: Child, trainings: "Trainings", others: "Others", stop: PoliteStop) -> int:
    """A run, until it and all its trainings have ended; its exit code.

    A stop reaches all processes of the command at once, and a training may save long after the
    command itself has ended.
    """
    failed, ended_at = 0, math.inf
    while (code := child.ended()) is None or trainings.at_work:
        if trainings.look():
            failed = failed or EXIT_BAD_INPUT
        if silent := others.silent():
            failed = failed or _say_lost(silent)
            trainings.kill()  # they may wait for it, deaf to signals
        if failed or stop.requested or others.gone():
            child.stop()
        if code is not None:
            ended_at = min(ended_at, time.monotonic())
        if time.monotonic() - ended_at > GRACE_S:
            trainings.kill()
        time.sleep(POLL_S)
    if failed:
        return failed
    if stop.requested or others.gone():
        return EXIT_PREEMPTED
    return code if code >= 0 else EXIT_FAILED


def _say_lost(machines: list[int]) -> int:
    print(
        f"machine {machines[0] + 1} has not answered for {SILENT_S:.0f} s; the run ends: start it "
        "again on all to go on",
        file=sys.stderr,
        flush=True,
    )
    return EXIT_FAILED


def _become_lead(meeting: Any, address: str) -> None:
    before = meeting.get("lead").decode() if meeting.check(["lead"]) else ""
    if not (before and _answers(before)):  # else of an earlier round of torchrun
        now = meeting.compare_set("lead", before, address).decode()
        if now == address:
            return
        before = now
    meeting.set(f"another/{before}", "")
    raise _two_lead(before)


def _two_lead(address: str) -> ParamsError:
    rule, remedy = "be on one machine alone", "start the others without a command"
    return ParamsError(broken_rule(COMMAND, "the run", address, rule, remedy))


def _answers(address: str) -> bool:
    try:
        connect(address, timeout_s=5).check(["ended"])
    except (PeerMissing, RuntimeError):
        return False
    return True


def _own_address(here: Place) -> str:
    """This machine as the others reach it: the meeting place's name, where it is here; else the
    address from which this one goes there.
    """
    with socket.create_connection((here.host, here.port), timeout=SILENT_S) as way:
        own, other = way.getsockname()[0], way.getpeername()[0]
    # Debian gives a host's own name the address 127.0.1.1, and goes there from 127.0.0.1.
    here_too = own == other or own.startswith("127.") or own == "::1"
    return here.host if here_too else str(own)


@dataclass
class Others:
    """The other machines, as long as they are there.

    Args:
        store: of the run.
    """

    store: Any
    _beats: dict[int, tuple[int, float]] = field(default_factory=dict)

    def wait_for(self, number: int, stop: PoliteStop, another: Callable[[], bool]) -> None:
        """Until so many have come, or a stop is asked for.

        Args:
            number: without this one.
            stop: of this process.
            another: says whether a machine that should come leads itself.

        Raises:
            ParamsError: one does.
            PeerMissing: they do not come in five minutes.
        """
        start, said = time.monotonic(), False
        while (come := self.store.add("come", 0)) < number and not stop.requested:
            if another():
                raise _two_lead("here, and on another")
            if not said:
                said = True
                limit = f"at most {MEET_S / 60:.0f} minutes"
                print(f"waits for {number - come} of {number + 1} machines, {limit}", flush=True)
            if time.monotonic() > start + MEET_S:
                rule, remedy = f"be {number}", "look at their terminals, and start anew on all"
                raise PeerMissing(broken_rule(COMMAND, "machines that came", come, rule, remedy))
            time.sleep(POLL_S / 5)

    def gone(self) -> list[int]:
        """Numbers of those that have left."""
        come = range(1, self.store.add("come", 0) + 1)
        return [machine for machine in come if self.store.check([f"gone/{machine}"])]

    def silent(self) -> list[int]:
        """Numbers of those that have come, have not left, and do not answer."""
        now, found, gone = time.monotonic(), [], self.gone()
        for machine in range(1, self.store.add("come", 0) + 1):
            beat = self.store.add(f"beat/{machine}", 0)
            last, since = self._beats.get(machine, (-1, now))
            if beat != last:
                self._beats[machine] = beat, now
            elif now - since > SILENT_S and machine not in gone:
                found.append(machine)
        return found

    def here(self) -> bool:
        """Whether any is."""
        return self.store.add("come", 0) > len(set(self.gone()) | set(self.silent()))


@dataclass
class Trainings:
    """The trainings of a run as the first machine sees them.

    Args:
        store: of the run.
    """

    store: Any
    _open: dict[int, Offer] = field(default_factory=dict)
    _seen: int = 0
    _failed: dict[str, float] = field(default_factory=dict)

    @property
    def at_work(self) -> bool:
        """Whether any is."""
        return bool(self._open)

    def look(self) -> bool:
        """Close trainings that have ended here, and end those that have failed elsewhere.

        Returns:
            Whether one can never run elsewhere, whatever is tried.
        """
        for number in range(self._seen + 1, self.store.add("offers", 0) + 1):
            if not self.store.check([f"offer/{number}"]):  # its process is about to say it
                break
            self._open[number] = Offer.read(self.store.get(f"offer/{number}"))
            self._seen = number
        hopeless = False
        for number, offer in list(self._open.items()):
            if not _alive(offer.pid):
                self.store.set(f"closed/{number}", "")
                del self._open[number]
                continue
            for rank in range(1, min(self.store.add(f"taken/{number}", 0) + 1, offer.machines)):
                if code := self._failure(f"left/{number}/{rank}"):
                    print(
                        f"{offer.instance}: ended with exit code {code} on machine {rank + 1}, "
                        "whose terminal says why, so it is ended here; its checkpoint is kept",
                        file=sys.stderr,
                        flush=True,
                    )
                    _kill_tree(offer.pid)
                    hopeless |= code == EXIT_BAD_INPUT
                    break
        return hopeless

    def _failure(self, left: str) -> int:
        """The exit code of a process that has failed elsewhere, some time ago; else 0."""
        if not self.store.check([left]):
            return 0
        code, now = int(self.store.get(left)), time.monotonic()
        wait = GRACE_S if code == EXIT_PREEMPTED else LEAVE_S  # this one may end by itself
        return code if now - self._failed.setdefault(left, now) > wait else 0

    def kill(self) -> None:
        """End all that are open."""
        for offer in self._open.values():
            _kill_tree(offer.pid)


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _kill_tree(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
