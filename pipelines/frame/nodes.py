"""Machines that train together: the first one offers each training, the others join it.

``python -m flows.nodes`` runs once on each machine, under torchrun or srun. On the first it starts
a run (``make run``), and every training of that run calls `offer_training` before it begins; on the
others it starts the same training as a rank. They speak through a store of PyTorch on the first
machine:

| key | value |
|---|---|
| ``offers`` | how many trainings have been offered |
| ``offer/3`` | the third one, an `Offer` as JSON |
| ``taken/3`` | how many machines have joined it: a machine's number is what it counted up to |
| ``beat/3/1`` | counted up every second by machine 1 as long as it works on it |
| ``left/3/1`` | exit code of machine 1's process |
| ``closed/3`` | there when its process on the first machine has ended |
| ``ended`` | exit code of the whole run |
"""

import json
import os
import socket
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.frame.errors import ParamsError, PeerLost, broken_rule
from pipelines.frame.hardware import Hardware, visible_gpus
from pipelines.frame.ranks import launch

STORE = "MASKLINE_NODES"  # variable: host:port of the store
MACHINES = "MASKLINE_MACHINES"  # variable: how many there are, the first one included
KEY = "MASKLINE_NODE_KEY"  # variable: the key of the run folder that a joining machine must have
PATIENCE_S = 600.0
POLL_S = 0.5
SILENT_S = 30.0  # without a beat, a machine is gone
LEAVE_S = 15.0  # a process that lost the others ends by itself; this long is waited for it


@dataclass(frozen=True)
class Offer:
    """One training that machines may join.

    Attributes:
        instance: the stage instance, ``seq2seq@gru``.
        command: module and arguments.
        folder: the checkout, which all machines share.
        key: of the run folder: what the training is made of.
        pid: its process on the first machine.
        host: the first machine.
        port: where its ranks meet.
        machines: how many are to train, the first one included.
        gpus: names of those the process on the first machine uses.
    """

    instance: str
    command: list[str]
    folder: str
    key: str
    pid: int
    host: str
    port: int
    machines: int
    gpus: list[str]

    @classmethod
    def read(cls, text: bytes) -> "Offer":
        """The offer in a store's value."""
        return cls(**json.loads(text))


def connect(address: str, timeout_s: float = 30.0) -> Any:
    """A client of the store at ``host:port``.

    Raises:
        PeerLost: nobody answers there.
    """
    from datetime import timedelta

    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    host, _, port = address.rpartition(":")
    try:  # first, for the store tries for long and prints much where nobody answers
        socket.create_connection((host, int(port)), timeout=timeout_s).close()
        return TCPStore(host, int(port), is_master=False, timeout=timedelta(seconds=timeout_s))
    except (OSError, RuntimeError, ValueError):
        rule = "be the address of the first machine's store"
        remedy = "start `python -m flows.nodes` anew on all machines"
        raise PeerLost(broken_rule("environment", STORE, address, rule, remedy)) from None


def _to_be_joined(hardware: Hardware) -> bool:
    """Whether machines are wanted that nobody else starts."""
    return hardware.num_nodes > 1 and launch().by == "lightning" and "MASTER_ADDR" not in os.environ


def require_machines(hardware: Hardware) -> None:
    """Refuse more machines than this run has.

    Raises:
        ParamsError: there are fewer, or the run was not started on several.
    """
    machines = int(os.environ.get(MACHINES, "1"))
    if _to_be_joined(hardware) and hardware.num_nodes > machines:
        rule = f"be at most the machines of this run ({machines})"
        remedy = "start it on each by torchrun or srun with `-m flows.nodes` (docs/scale.md)"
        raise ParamsError(
            broken_rule("params.yaml", "hardware.num_nodes", hardware.num_nodes, rule, remedy)
        )


def offer_training(instance: str, module: str, key: str, hardware: Hardware) -> None:
    """Ask the other machines to join this training, and wait until they do.

    Afterwards the environment tells Lightning where the ranks meet. Nothing is done where one
    machine trains, or where somebody else starts the ranks.

    Raises:
        ParamsError: as `require_machines`.
        PeerLost: too few have come in ten minutes.
    """
    require_machines(hardware)
    if not _to_be_joined(hardware):
        return
    store, host = connect(os.environ[STORE]), os.environ[STORE].rpartition(":")[0]
    training = Offer(
        instance, [module, *sys.argv[1:]], str(Path.cwd()), key, os.getpid(), host, _free_port(),
        hardware.num_nodes, visible_gpus() if hardware.accelerator != "cpu" else [],
    )  # fmt: skip
    number = store.add("offers", 1)
    store.set(f"offer/{number}", json.dumps(asdict(training)))
    others, deadline, said = hardware.num_nodes - 1, time.monotonic() + PATIENCE_S, False
    while (come := store.add(f"taken/{number}", 0)) < others:
        if time.monotonic() > deadline:
            rule = f"come within {PATIENCE_S / 60:.0f} minutes"
            remedy = "look at their terminals, and start anew on all machines"
            raise PeerLost(broken_rule(instance, "machines", others - come, rule, remedy))
        if not said and time.monotonic() > deadline - PATIENCE_S + 2:
            said = True
            print(f"{instance}: waits for {others - come} more machines", flush=True)
        time.sleep(0.1)
    os.environ |= {"MASTER_ADDR": host, "MASTER_PORT": str(training.port), "NODE_RANK": "0"}


def require_same_key(key: str) -> None:
    """Refuse to join a training of other params, data or code.

    Raises:
        ParamsError: this machine sees other files than the first one.
    """
    if os.environ.get(KEY, key) != key:
        rule = "be that of the first machine: params, data and code of both"
        remedy = "let all machines work in one shared folder, with the same libraries"
        raise ParamsError(broken_rule(str(Path.cwd()), "key of the run", key, rule, remedy))


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("", 0))
        return int(one.getsockname()[1])
