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

from flows.nodes.child import Child, Stop
from flows.nodes.place import COMMAND, Place, without_ranks
from pipelines.frame.errors import EXIT_PREEMPTED, PeerLost, broken_rule
from pipelines.frame.hardware import visible_gpus
from pipelines.frame.nodes import KEY, LEAVE_S, POLL_S, SILENT_S, Offer
from pipelines.training.nodes import connect

MEET_S = 300.0


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


def join(here: Place, meeting: Any) -> int:
    """Take part in every training of the run until it ends; its exit code."""
    store, stop = _store_of_lead(meeting), Stop()
    joined: list[Joined] = []
    machine, tried = store.add("come", 1), 0
    print(f"joins the run of {here.machines} machines as number {machine}", flush=True)
    with _alarm(joined) as alive:
        try:
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
            store.set(f"gone/{machine}", "")
        except RuntimeError:  # of the store
            print("the first machine is gone; start anew on all", file=sys.stderr, flush=True)
            return EXIT_PREEMPTED
        finally:
            _end(joined)
    return code


def _store_of_lead(meeting: Any) -> Any:
    """The store of the machine that leads, which may still be starting.

    Raises:
        PeerLost: none does.
    """
    deadline = time.monotonic() + MEET_S
    while time.monotonic() < deadline:
        if meeting.check(["lead"]):
            with contextlib.suppress(PeerLost):  # it may be the lead of an earlier round
                return connect(meeting.get("lead").decode())
        time.sleep(POLL_S)
    rule, remedy = "lead", "give one machine a command: torchrun … -m flows.nodes make run"
    raise PeerLost(broken_rule(COMMAND, "machine", "none", rule, remedy))


def _take_offers(store: Any, tried: int, joined: list[Joined]) -> int:
    """Join what is offered and wants another machine; the number of the last one looked at."""
    while tried < store.add("offers", 0) and store.check([f"offer/{tried + 1}"]):
        tried += 1
        if store.check([f"closed/{tried}"]):
            continue
        offer = Offer.read(store.get(f"offer/{tried}"))
        rank = store.add(f"taken/{tried}", 1)
        if rank < offer.machines:
            print(f"{offer.instance}: joins as machine {rank} of {offer.machines}", flush=True)
            joined.append(Joined(f"{tried}/{rank}", offer, _start(store, offer, rank)))
    return tried


def _start(store: Any, offer: Offer, rank: int) -> Child:
    environment = without_ranks(os.environ) | {
        "NODE_RANK": str(rank),
        "MASTER_ADDR": offer.host,
        "MASTER_PORT": str(offer.port),
        KEY: offer.key,
    }
    if offer.gpus:  # as many, and in the same places, as the first machine's
        theirs, mine = store.get("gpus").decode().split(","), visible_gpus()
        wanted = [mine[theirs.index(name)] for name in offer.gpus if theirs.index(name) < len(mine)]
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(wanted)
    return Child([sys.executable, "-m", *offer.command], environment, offer.folder)


def _look_after(store: Any, one: Joined, joined: list[Joined], stop: Stop) -> None:
    code = one.child.ended()
    if code is not None:
        print(f"{one.offer.instance}: left with exit code {code}", flush=True)
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
    last, over = [time.monotonic()], threading.Event()

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
                if "TORCHELASTIC_RUN_ID" in os.environ:
                    # torchrun's agent would ask its store on that machine, for minutes.
                    os.kill(os.getppid(), signal.SIGKILL)
                os._exit(EXIT_PREEMPTED)

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
    while any(one.child.ended() is None for one in joined) and time.monotonic() < deadline:
        time.sleep(POLL_S / 5)
    for one in joined:
        one.child.kill()
