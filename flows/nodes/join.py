"""A machine that joins: it takes part in every training of the run."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from flows.nodes.child import Child
from flows.nodes.place import COMMAND, MEET_S, Place, without_ranks
from pipelines.frame.errors import (
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    EXIT_PREEMPTED,
    DataError,
    PeerMissing,
    broken_rule,
)
from pipelines.frame.hardware import visible_gpus
from pipelines.frame.nodes import KEY, LEAVE_S, POLL_S, SILENT_S, UPDATE, Offer
from pipelines.frame.processes import PoliteStop
from pipelines.training.nodes import connect


@dataclass
class Joined:
    """A training at work on this machine.

    Attributes:
        name: number of the training and of this machine, as the store's keys have it.
        offer: of the first machine.
        child: its process here.
        closed_at: when the first machine was seen to have ended it.
    """

    name: str
    offer: Offer
    child: Child
    closed_at: float | None = None

    def left(self) -> int | None:
        """Its exit code, said once it has ended; None as long as it works."""
        code = self.child.ended()
        if code is not None:
            print(f"{self.offer.instance}: left with exit code {code}", flush=True)
        return code


def join(here: Place, meeting: Any, stop: PoliteStop) -> int:
    """Take part in every training of the run until it ends; its exit code.

    Raises:
        PeerMissing: no machine leads.
    """
    store = _store_of_lead(meeting, stop)
    if store is None:
        return EXIT_PREEMPTED
    joined: list[Joined] = []
    machine, tried = store.add("come", 1), 0
    print(f"joins the run as machine {machine + 1} of {here.machines}", flush=True)
    try:
        with _alarm(joined) as alive:
            while not store.check(["ended"]):
                alive()
                store.add(f"beat/{machine}", 1)
                tried = _take_offers(store, tried, joined)
                for one in list(joined):
                    _look_after(store, one, joined, stop)
                if stop.requested and not joined:
                    store.set(f"gone/{machine}", "")
                    return EXIT_PREEMPTED
                time.sleep(POLL_S)
            code = int(store.get("ended"))
    except RuntimeError:  # of the store
        print("the first machine is gone; start anew on all", file=sys.stderr, flush=True)
        return EXIT_FAILED
    finally:
        _end(joined)
    with contextlib.suppress(RuntimeError):  # the first machine waits for this word, not for ever
        store.set(f"gone/{machine}", "")
    print(f"the run has ended with exit code {code}", flush=True)
    return code


def _store_of_lead(meeting: Any, stop: PoliteStop) -> Any:
    """The store of the machine that leads, which may still be starting; None if this one was told
    to stop.

    Raises:
        PeerMissing: none does.
    """
    print(f"waits for the machine with the command, at most {MEET_S / 60:.0f} minutes", flush=True)
    deadline = time.monotonic() + MEET_S
    # The store may be of the lead of an earlier round, or the meeting place gone with a lead.
    with contextlib.suppress(RuntimeError):
        while time.monotonic() < deadline:
            if stop.requested:
                return None
            if meeting.check(["lead"]):
                with contextlib.suppress(PeerMissing):
                    return connect(meeting.get("lead").decode())
            time.sleep(POLL_S)
    rule, remedy = "lead", "give one machine a command: torchrun … -m flows.nodes make run"
    raise PeerMissing(broken_rule(COMMAND, "machine", "none", rule, remedy))


def _take_offers(store: Any, tried: int, joined: list[Joined]) -> int:
    """Join what is offered and wants another machine; the number of the last one looked at."""
    while tried < store.add("offers", 0) and store.check([f"offer/{tried + 1}"]):
        tried += 1
        if store.check([f"closed/{tried}"]):
            continue
        offer = Offer.read(store.get(f"offer/{tried}"))
        rank = store.add(f"taken/{tried}", 1)
        if rank < offer.machines:
            print(f"{offer.instance}: joins as machine {rank + 1} of {offer.machines}", flush=True)
            try:
                joined.append(Joined(f"{tried}/{rank}", offer, _start(store, offer, rank)))
            except DataError as error:
                print(f"error: {error}", file=sys.stderr, flush=True)
                store.set(f"left/{tried}/{rank}", str(EXIT_BAD_INPUT))
    return tried


def _start(store: Any, offer: Offer, rank: int) -> Child:
    """The training's process on this machine.

    Raises:
        DataError: this machine has other folders or GPUs than the first one.
    """
    environment = without_ranks(os.environ) | {
        "NODE_RANK": str(rank),
        "MASTER_ADDR": offer.host,
        "MASTER_PORT": str(offer.port),
        "CUDA_VISIBLE_DEVICES": ",".join(_gpus(store.get("gpus").decode(), offer)),
        KEY: offer.key,
        UPDATE: str(offer.update),
    }
    try:
        return Child([sys.executable, "-m", *offer.command], environment, offer.folder)
    except OSError as error:
        rule, remedy = (
            f"be here too ({error.strerror})",
            "show all machines one folder, at one path",
        )
        raise DataError(broken_rule(offer.instance, "folder", offer.folder, rule, remedy)) from None


def _gpus(theirs: str, offer: Offer) -> list[str]:
    """Those in the places of the ones that the first machine uses of its own.

    Raises:
        DataError: they are not here.
    """
    places, mine = theirs.split(","), visible_gpus()
    try:
        return [mine[places.index(name)] for name in offer.gpus]
    except (IndexError, ValueError):
        rule = f"be here what they are on the first machine, {','.join(offer.gpus)} of {theirs}"
        remedy = "start machines with the same GPUs, or set hardware.accelerator to cpu"
        raise DataError(broken_rule(offer.instance, "GPUs", ",".join(mine), rule, remedy)) from None


def _look_after(store: Any, one: Joined, joined: list[Joined], stop: PoliteStop) -> None:
    code = one.left()
    if code is not None:
        store.set(f"left/{one.name}", str(code))
        joined.remove(one)
        return
    if stop.requested:
        one.child.stop()
    if one.closed_at is None and store.check([f"closed/{one.name.partition('/')[0]}"]):
        one.closed_at = time.monotonic()
    if one.closed_at is not None and time.monotonic() - one.closed_at > LEAVE_S:
        one.child.kill()


@contextlib.contextmanager
def _alarm(joined: list[Joined]) -> Iterator[Callable[[], None]]:
    """End everything here when the block has not said for a while that it goes on: a store on a
    machine that has vanished answers nothing, not even an error.
    """
    last, over, parent = [time.monotonic()], threading.Event(), os.getppid()

    def watch() -> None:
        while not over.wait(POLL_S):
            if time.monotonic() - last[0] > SILENT_S:
                print(
                    f"the first machine has not answered for {SILENT_S:.0f} s; start anew on all",
                    file=sys.stderr,
                    flush=True,
                )
                for one in joined:
                    one.child.kill()
                if "TORCHELASTIC_RUN_ID" in os.environ and parent == os.getppid():
                    # torchrun's agent would ask its store on that machine, for minutes.
                    with contextlib.suppress(OSError):
                        os.kill(parent, signal.SIGKILL)
                os._exit(EXIT_FAILED)

    def alive() -> None:
        last[0] = time.monotonic()

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield alive
    finally:
        over.set()


def _end(joined: list[Joined]) -> None:
    """Wait for what is left, which ends by itself without the first machine; then kill it."""
    deadline = time.monotonic() + LEAVE_S
    while left := [one for one in joined if one.left() is None]:
        joined[:] = left
        if time.monotonic() > deadline:
            for one in left:
                one.child.kill()
            return
        time.sleep(POLL_S / 5)
