"""How a training asks other machines to join it; `pipelines.frame.nodes` has what is said."""

import json
import os
import socket
import sys
import time
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from lightning.fabric.plugins.environments.lightning import find_free_network_port
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from pipelines.frame.errors import CheckpointError, PeerMissing, broken_rule
from pipelines.frame.hardware import Hardware, visible_gpus
from pipelines.frame.nodes import (
    PATIENCE_S,
    STORE,
    UPDATE,
    Offer,
    require_machines,
    require_same_key,
    to_be_joined,
)
from pipelines.frame.ranks import rank_and_world_size
from pipelines.frame.stage import StageRun
from pipelines.training.checkpoints import update_of

_SEEN_S = 120.0  # until a network file system shows what another machine has written


def ranks(run: StageRun) -> tuple[int, int]:
    """This process's number among those that train, and how many there are; other machines are
    asked to join first.

    Raises:
        ParamsError: other numbers of them were started, or other files are seen here.
        CheckpointError: this machine does not see the newest one.
        PeerMissing: the other machines do not come.
    """
    key = run.folder.path.name
    require_same_key(key)
    await_checkpoint(run.folder.checkpoints)
    update = newest_update(run.folder.checkpoints)
    offer_training(run.stage.instance, run.stage.entry, key, update, run.hardware)
    return rank_and_world_size(run.hardware)


def newest_update(checkpoints: Path) -> int:
    """Of the newest checkpoint in a folder; 0 without one."""
    return max((update_of(path) for path in checkpoints.glob("update-*.ckpt")), default=0)


def await_checkpoint(checkpoints: Path) -> None:
    """On a machine that has joined, wait until it sees the checkpoint that the first one goes on
    from: network file systems show a folder as it was some seconds ago.

    Raises:
        CheckpointError: it does not come.
    """
    wanted, deadline = int(os.environ.get(UPDATE, "0")), time.monotonic() + _SEEN_S
    while newest_update(checkpoints) < wanted:
        if time.monotonic() > deadline:
            rule, remedy = f"hold update {wanted}", "let all machines see one folder"
            raise CheckpointError(
                broken_rule(str(checkpoints), "newest", newest_update(checkpoints), rule, remedy)
            )
        time.sleep(0.5)


def connect(address: str, timeout_s: float = 30.0) -> Any:
    """A client of the store at ``host:port``.

    Raises:
        PeerMissing: nobody answers there.
    """
    host, _, port = address.rpartition(":")
    try:  # first, for the store tries for long and prints much where nobody answers
        socket.create_connection((host, int(port)), timeout=timeout_s).close()
        return TCPStore(host, int(port), is_master=False, timeout=timedelta(seconds=timeout_s))
    except (OSError, RuntimeError, ValueError):
        rule = "be the address of the first machine's store"
        remedy = "start `python -m flows.nodes` anew on all machines"
        raise PeerMissing(broken_rule("environment", STORE, address, rule, remedy)) from None


def offer_training(instance: str, module: str, key: str, update: int, hardware: Hardware) -> None:
    """Ask the other machines to join this training, and wait until they do.

    Afterwards the environment tells Lightning where the ranks meet. Nothing is done where one
    machine trains, or where somebody else starts the ranks.

    Args:
        instance: the stage instance.
        module: its verb module, which the other machines start with the arguments of this process.
        key: of the run folder.
        update: of its newest checkpoint.
        hardware: how many machines.

    Raises:
        ParamsError: as `pipelines.frame.nodes.require_machines`.
        PeerMissing: too few have come in ten minutes.
    """
    require_machines(hardware)
    if not to_be_joined(hardware):
        return
    store, host = connect(os.environ[STORE]), os.environ[STORE].rpartition(":")[0]
    gpus = visible_gpus()[: hardware.devices] if hardware.accelerator != "cpu" else []
    training = Offer(
        instance, [module, *sys.argv[1:]], str(Path.cwd()), key, os.getpid(), host,
        find_free_network_port(), hardware.num_nodes, update, gpus,
    )  # fmt: skip
    number = store.add("offers", 1)
    store.set(f"offer/{number}", json.dumps(asdict(training)))
    others, deadline, said = hardware.num_nodes - 1, time.monotonic() + PATIENCE_S, False
    while (come := store.add(f"taken/{number}", 0)) < others:
        if time.monotonic() > deadline:
            rule = f"come within {PATIENCE_S / 60:.0f} minutes"
            remedy = "look at their terminals, and start anew on all machines"
            raise PeerMissing(broken_rule(instance, "machines", others - come, rule, remedy))
        if not said and time.monotonic() > deadline - PATIENCE_S + 2:
            said = True
            print(f"{instance}: waits for {others - come} more machines", flush=True)
        time.sleep(0.1)
    os.environ |= {"MASTER_ADDR": host, "MASTER_PORT": str(training.port), "NODE_RANK": "0"}
