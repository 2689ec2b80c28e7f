"""Which of a training's processes this one is, before torch is imported:
by the rules of Lightning's environments.

Three things start ranks: torchrun, SLURM's srun, and Lightning itself. `launch` decides as
Lightning's Trainer does (a test compares them), and the Trainer is handed the environment of that
choice, so there is one answer in a process.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipelines.frame.errors import ParamsError, broken_rule
from pipelines.frame.hardware import Hardware

_INTERACTIVE = ("bash", "interactive")  # names of SLURM jobs in which somebody types commands


@dataclass(frozen=True)
class Launch:
    """How this process was started.

    Attributes:
        by: what starts the ranks.
        rank: number of this process among them; under Lightning on several devices of several
            machines, more than 0.
        world_size: how many there are, where what started them knows it.
    """

    by: Literal["torchrun", "slurm", "lightning"]
    rank: int
    world_size: int | None


def launch(environ: Mapping[str, str] = os.environ) -> Launch:
    """What started this process, by its environment;
    an interactive SLURM allocation starts nothing.

    Raises:
        ParamsError: a variable that decides it is no number.
    """
    if "TORCHELASTIC_RUN_ID" in environ:
        return Launch("torchrun", _number(environ, "RANK"), _number(environ, "WORLD_SIZE"))
    if "SLURM_NTASKS" in environ and environ.get("SLURM_JOB_NAME") not in _INTERACTIVE:
        return Launch(
            "slurm", _number(environ, "SLURM_PROCID", "0"), _number(environ, "SLURM_NTASKS")
        )
    node, local = _place(environ)
    return Launch("lightning", max(node, local), None)


def _place(environ: Mapping[str, str]) -> tuple[int, int]:
    """Number of the machine and of the process on it, as Lightning tells its ranks."""
    node = "NODE_RANK" if "NODE_RANK" in environ else "GROUP_RANK"
    return _number(environ, node, "0"), _number(environ, "LOCAL_RANK", "0")


def _number(environ: Mapping[str, str], name: str, otherwise: str = "") -> int:
    value = environ.get(name, otherwise)
    if not value.isdecimal():
        remedy = "what starts the ranks sets it; unset it to start them by hardware.devices"
        raise ParamsError(broken_rule("environment", name, value, "be a number", remedy))
    return int(value)


def process_rank() -> int:
    """0 in the process that launches, locks and commits;
    more in those it or a launcher started beside it.
    """
    return launch().rank


def rank_and_world_size(
    hardware: Hardware, environ: Mapping[str, str] = os.environ
) -> tuple[int, int]:
    """This process's number among the ranks that ``hardware`` asks for, and how many there are.

    Raises:
        ParamsError: what started the processes made another number of them.
    """
    found, wanted = launch(environ), hardware.devices * hardware.num_nodes
    # The batch step of a job of several tasks, which starts nothing by srun, is a process alone.
    alone = wanted == 1 and found.rank == 0
    if found.world_size not in (None, wanted) and not alone:
        variable = {"torchrun": "WORLD_SIZE", "slurm": "SLURM_NTASKS"}[found.by]
        rule = (
            f"be hardware.devices x hardware.num_nodes ({hardware.devices} x {hardware.num_nodes})"
        )
        remedy = {
            "torchrun": "start torchrun with --nproc-per-node and --nnodes of that size",
            "slurm": "give srun --ntasks-per-node and --nodes of that size, or start the job as "
            "--job-name=interactive "
            "to let Lightning start the ranks",
        }[found.by]
        raise ParamsError(
            broken_rule(
                "environment", variable, found.world_size, rule, f"{remedy}, or change hardware"
            )
        )
    if wanted == 1:
        return 0, 1
    if found.world_size is not None:
        return found.rank, wanted
    node, local = _place(environ)
    return node * hardware.devices + local, wanted
