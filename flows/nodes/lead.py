"""The machine that leads: it starts the run and looks after its trainings."""

import contextlib
import os
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import psutil
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from flows.nodes.child import Child, Stop
from flows.nodes.place import COMMAND, Place, without_ranks
from pipelines.frame.errors import EXIT_PREEMPTED, ParamsError, PeerLost, broken_rule
from pipelines.frame.hardware import visible_gpus
from pipelines.frame.nodes import LEAVE_S, MACHINES, POLL_S, SILENT_S, STORE, Offer
from pipelines.training.nodes import connect


def lead(here: Place, meeting: Any, command: list[str]) -> int:
    """Run a command, whose trainings the other machines join; its exit code.

    Raises:
        ParamsError: another machine leads already.
    """
    store = TCPStore("0.0.0.0", 0, is_master=True, wait_for_workers=False)
    address = f"{_own_address(here)}:{store.port}"
    _become_lead(meeting, address)
    store.set("gpus", ",".join(visible_gpus()))
    print(f"leads {here.machines} machines: {' '.join(command)}", flush=True)
    environment = {**without_ranks(os.environ), STORE: address, MACHINES: str(here.machines)}
    stop, trainings, others = Stop(), Trainings(store), Others(store)
    child = Child(command, environment, ".")
    while (code := child.ended()) is None:
        trainings.look()
        if not stop.requested and (told := others.lost()):
            print(
                f"{told}; the run ends: start it again on all to go on", file=sys.stderr, flush=True
            )
            trainings.kill()  # they may wait for it, deaf to signals
            stop.requested = True
        if stop.requested:
            child.stop()
        time.sleep(POLL_S)
    trainings.look()
    code = EXIT_PREEMPTED if stop.requested else abs(code)
    store.set("ended", str(code))
    deadline = time.monotonic() + LEAVE_S
    while others.here() and time.monotonic() < deadline:
        time.sleep(POLL_S / 5)
    return code


def _become_lead(meeting: Any, address: str) -> None:
    before = meeting.get("lead").decode() if meeting.check(["lead"]) else ""
    if not (before and _answers(before)):  # else of an earlier round of torchrun
        now = meeting.compare_set("lead", before, address).decode()
        if now == address:
            return
        before = now
    rule, remedy = "be on one machine alone", "start the others without a command"
    raise ParamsError(broken_rule(COMMAND, "the run", before, rule, remedy))


def _answers(address: str) -> bool:
    try:
        connect(address, timeout_s=5).check(["ended"])
    except (PeerLost, RuntimeError):
        return False
    return True


def _own_address(here: Place) -> str:
    """This machine as the others reach it: the meeting place's name, where it is here; else the
    address from which this one goes there.
    """
    with socket.create_connection((here.host, here.port), timeout=SILENT_S) as way:
        own, other = way.getsockname()[0], way.getpeername()[0]
    return here.host if own == other else str(own)


@dataclass
class Others:
    """The other machines, as long as they are there.

    Args:
        store: of the run.
    """

    store: Any
    _beats: dict[int, tuple[int, float]] = field(default_factory=dict)

    def here(self) -> list[int]:
        """Numbers of those that have come and have neither left nor fallen silent."""
        now, here = time.monotonic(), []
        for machine in range(1, self.store.add("come", 0) + 1):
            beat = self.store.add(f"beat/{machine}", 0)
            last, since = self._beats.get(machine, (-1, now))
            if beat != last:
                since = now
                self._beats[machine] = beat, now
            if now - since <= SILENT_S and not self.store.check([f"gone/{machine}"]):
                here.append(machine)
        return here

    def lost(self) -> str:
        """What one has done that has come and is here no more; empty if all are here."""
        here = self.here()
        for machine in range(1, self.store.add("come", 0) + 1):
            if machine not in here:
                left = self.store.check([f"gone/{machine}"])
                did = "has left" if left else f"has not answered for {SILENT_S:.0f} s"
                return f"machine {machine} {did}"
        return ""


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

    def look(self) -> None:
        """Close trainings that have ended here, and end those that have failed elsewhere."""
        for number in range(self._seen + 1, self.store.add("offers", 0) + 1):
            if not self.store.check([f"offer/{number}"]):  # its process is about to say it
                break
            self._open[number] = Offer.read(self.store.get(f"offer/{number}"))
            self._seen = number
        for number, offer in list(self._open.items()):
            if not _alive(offer.pid):
                self.store.set(f"closed/{number}", "")
                del self._open[number]
                continue
            for rank in range(1, min(self.store.add(f"taken/{number}", 0) + 1, offer.machines)):
                if code := self._failure(f"left/{number}/{rank}"):
                    print(
                        f"{offer.instance}: ended with exit code {code} on machine {rank}, so it "
                        "is ended here; its checkpoint is kept",
                        file=sys.stderr,
                        flush=True,
                    )
                    _kill_tree(offer.pid)
                    break

    def _failure(self, left: str) -> int:
        """The exit code of a process that has failed some time ago, elsewhere; else 0."""
        if not self.store.check([left]):
            return 0
        code, now = int(self.store.get(left)), time.monotonic()
        late = now - self._failed.setdefault(left, now) > LEAVE_S
        return code if late and code != EXIT_PREEMPTED else 0

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
