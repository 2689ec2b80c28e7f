"""A run on several machines with one shared folder: once on each, under torchrun or srun.

torchrun … -m flows.nodes make run     on the first machine: starts the run there
torchrun … -m flows.nodes              on each other one: joins every training, ends with the run
srun python -m flows.nodes python -m flows.repro      in a SLURM job, for all machines at once

`pipelines.frame.nodes` has what they say to each other. A machine that is gone ends the run on the
others within a minute; started again, it goes on from its checkpoint.
"""

import sys
from datetime import timedelta

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from flows.nodes.join import join
from flows.nodes.lead import lead
from flows.nodes.place import COMMAND, MEET_S, place
from pipelines.frame.errors import PeerMissing, broken_rule, exit_code
from pipelines.frame.processes import PoliteStop, die_with_parent


def main(command: list[str]) -> int:
    """Lead or join, by what has started this process.

    Raises:
        ParamsError: as `place`.
        PeerMissing: the others are not there.
    """
    die_with_parent()
    here = place(command)
    limit = timedelta(seconds=MEET_S)
    try:
        meeting = TCPStore(
            here.host, here.port, is_master=here.hosts, timeout=limit, wait_for_workers=False
        )
    except RuntimeError as error:
        where, rule = f"{here.host}:{here.port}", f"let machines meet ({error})"
        remedy = "open that port, or set MASTER_ADDR and MASTER_PORT"
        raise PeerMissing(broken_rule(COMMAND, "address", where, rule, remedy)) from None
    stop = PoliteStop()
    stop.install()
    with stop.cooperative():
        return lead(here, meeting, command, stop) if here.leads else join(here, meeting, stop)


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
