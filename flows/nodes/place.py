"""Which machine of a run this is, by the variables of torchrun or SLURM."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from pipelines.frame.errors import ParamsError, broken_rule

COMMAND = "python -m flows.nodes"
MEET_S = 300.0  # until all machines have come
# What torchrun and SLURM tell a process of its rank; a run and its trainings get their own.
_OF_A_RANK = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE"),
    *("ROLE_RANK", "ROLE_NAME", "ROLE_WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT"),
    *("OMP_NUM_THREADS", "SLURM_NTASKS", "SLURM_PROCID"),
)


@dataclass(frozen=True)
class Place:
    """This machine among those of a run.

    Attributes:
        machines: how many there are.
        leads: whether the run is started here.
        host: where they meet, a name or an address.
        port: its port.
        hosts: whether this process is to open the meeting place.
    """

    machines: int
    leads: bool
    host: str
    port: int
    hosts: bool


def place(command: list[str], environ: Mapping[str, str] = os.environ) -> Place:
    """This machine's, by the variables of torchrun or SLURM.

    Raises:
        ParamsError: neither has started it, or it has started several processes on a machine.
    """
    if "TORCHELASTIC_RUN_ID" in environ:
        local, remedy = environ["LOCAL_WORLD_SIZE"], "--nproc-per-node 1 (hardware.devices counts)"
        found = Place(
            machines=int(environ["GROUP_WORLD_SIZE"]),
            leads=bool(command),
            host=environ["MASTER_ADDR"],
            port=int(environ["MASTER_PORT"]),
            hosts=environ["RANK"] == "0"
            and environ.get("TORCHELASTIC_USE_AGENT_STORE") != str(True),
        )
    elif "SLURM_PROCID" in environ and "SLURM_STEP_NODELIST" in environ:
        if not command:
            rule, remedy = "be given", "srun python -m flows.nodes python -m flows.repro"
            raise ParamsError(broken_rule(COMMAND, "the command", "none", rule, remedy))
        local = environ.get("SLURM_STEP_TASKS_PER_NODE", "1").partition("(")[0]
        remedy = "--ntasks-per-node=1 (hardware.devices counts)"
        first = SLURMEnvironment.resolve_root_node_address(environ["SLURM_STEP_NODELIST"])
        # Lightning's rule, so that two jobs on a machine seldom meet.
        port = int(environ["SLURM_JOB_ID"][-4:]) + 15000
        found = Place(
            machines=int(environ["SLURM_NTASKS"]),
            leads=environ["SLURM_PROCID"] == "0",
            host=environ.get("MASTER_ADDR", first),
            port=int(environ.get("MASTER_PORT", port)),
            hosts=environ["SLURM_PROCID"] == "0",
        )
    else:
        rule, remedy = "start it", "docs/scale.md has the commands"
        raise ParamsError(broken_rule(COMMAND, "torchrun or srun", "none", rule, remedy))
    if local != "1":
        rule = "be one on each machine"
        raise ParamsError(broken_rule(COMMAND, "processes", local, rule, remedy))
    return found


def without_ranks(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment that names no rank."""
    return {
        name: value
        for name, value in environ.items()
        if name not in _OF_A_RANK and not name.startswith("TORCHELASTIC_")
    }
