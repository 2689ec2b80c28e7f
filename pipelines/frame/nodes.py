"""Machines that train together: the first one offers each training, the others join it.

``python -m flows.nodes`` runs once on each machine, under torchrun or srun. On the first it starts
a run (``make run``), and every training of that run makes its offer before it begins
(`pipelines.training.nodes.ranks`); on the others it starts the same training as a rank. They speak
through a store of PyTorch on the first machine:

| key | value |
|---|---|
| ``offers`` | how many trainings have been offered |
| ``offer/3`` | the third one, an `Offer` as JSON |
| ``taken/3`` | how many machines have joined it: a machine's number is what it counted up to |
| ``left/3/1`` | exit code of machine 1's process |
| ``closed/3`` | there when its process on the first machine has ended |
| ``gpus`` | names of those of the first machine, with commas between |
| ``come`` | how many machines have joined the run |
| ``beat/1`` | counted up by the first of them as long as it is there |
| ``gone/1`` | there when it has left |
| ``ended`` | exit code of the whole run |

Where the machines meet, at the address that torchrun or SLURM gives them, another store has that
one's address, ``lead``, and ``another/<address>`` where a second machine wanted to lead.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from pipelines.frame.errors import ParamsError, broken_rule
from pipelines.frame.hardware import Hardware
from pipelines.frame.ranks import launch

STORE = "MASKLINE_NODES"  # variable: host:port of the store
MACHINES = "MASKLINE_MACHINES"  # variable: how many there are, the first one included
KEY = "MASKLINE_NODE_KEY"  # variable: the key of the run folder that a joining machine must have
UPDATE = "MASKLINE_NODE_UPDATE"  # variable: of the checkpoint it must see, if there is one
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
        update: of its newest checkpoint; 0 without one.
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
    update: int
    gpus: list[str]

    @classmethod
    def read(cls, text: bytes) -> "Offer":
        """The offer in a store's value."""
        return cls(**json.loads(text))


def to_be_joined(hardware: Hardware) -> bool:
    """Whether machines are wanted that nobody else starts."""
    return hardware.num_nodes > 1 and launch().by == "lightning" and "MASTER_ADDR" not in os.environ


def require_machines(hardware: Hardware) -> None:
    """Refuse more machines than this run has.

    Raises:
        ParamsError: there are fewer, or the run was not started on several.
    """
    machines = int(os.environ.get(MACHINES, "1"))
    if to_be_joined(hardware) and hardware.num_nodes > machines:
        rule = f"be at most the machines of this run ({machines})"
        remedy = (
            "lower it, or start as many (--nnodes)"
            if machines > 1
            else "start it on each by torchrun or srun with `-m flows.nodes` (docs/scale.md)"
        )
        raise ParamsError(
            broken_rule("params.yaml", "hardware.num_nodes", hardware.num_nodes, rule, remedy)
        )


def joined() -> bool:
    """Whether this process trains for another machine's run, or was started by one that does."""
    return KEY in os.environ


def require_same_key(key: str) -> None:
    """Refuse to join a training of other params, data or code.

    Raises:
        ParamsError: this machine sees other files than the first one.
    """
    if os.environ.get(KEY, key) != key:
        rule = "be that of the first machine: params, data and code of both"
        remedy = "let all machines work in one shared folder, with the same libraries"
        raise ParamsError(broken_rule(str(Path.cwd()), "key of the run", key, rule, remedy))
